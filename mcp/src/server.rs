//! The protocol's side: which tool is called, and how its reply is told.

use std::sync::Arc;

use rmcp::model::{
    CallToolRequestParams, CallToolResponse, CallToolResult, ContentBlock, Implementation, ListToolsResult,
    PaginatedRequestParams, ProgressNotificationParam, ProgressToken, ServerCapabilities, ServerConfig,
};
use rmcp::service::{Peer, RequestContext};
use rmcp::{ErrorData, RoleServer, ServerHandler};
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::sync::{mpsc, watch};

use crate::asking::Desk;
use crate::reply::{Reply, text};
use crate::{control, doctor, launch, output, prompt, status, tools, wait};

/// Words about progress that wait for a client; more are left out.
const PROGRESS: usize = 16;

/// Serves tools.
#[derive(Debug, Clone)]
pub struct Server {
    desk: Arc<Desk>,
    /// The client has gone: nobody waits for replies.
    gone: watch::Receiver<bool>,
}

/// How far a wait is.
type Step = (usize, usize, String);

impl Server {
    pub fn new(desk: Arc<Desk>, gone: watch::Receiver<bool>) -> Self {
        Self { desk, gone }
    }

    async fn call(&self, name: &str, arguments: Value, steps: mpsc::Sender<Step>) -> Reply {
        let desk = &*self.desk;
        match name {
            "launch" => launch::launch(desk, taken(name, arguments)?).await,
            "prompt" => prompt::prompt(desk, taken(name, arguments)?).await,
            "wait" => {
                let mut progress = |ended: usize, of: usize, words: String| {
                    let _is_full = steps.try_send((ended, of, words));
                };
                wait::wait(desk, taken(name, arguments)?, &mut progress).await
            }
            "status" => status::status(desk, taken(name, arguments)?).await,
            "output" => output::output(desk, taken(name, arguments)?).await,
            "steer" => prompt::steer(desk, taken(name, arguments)?).await,
            "interrupt" => control::interrupt(desk, taken(name, arguments)?).await,
            "approve" => control::approve(desk, taken(name, arguments)?).await,
            "terminate" => control::terminate(desk, taken(name, arguments)?).await,
            "doctor" => doctor::doctor(desk, taken(name, arguments)?).await,
            _ => {
                let known: Vec<String> = tools::definitions()
                    .into_iter()
                    .map(|tool| tool.name.into_owned())
                    .collect();
                Err(format!("there is no tool {name:?}; there are {}", known.join(", ")))
            }
        }
    }
}

/// The arguments of a tool.
fn taken<T: DeserializeOwned>(tool: &str, arguments: Value) -> Result<T, String> {
    serde_json::from_value(arguments).map_err(|error| format!("{tool}: {error}"))
}

impl ServerHandler for Server {
    fn get_info(&self) -> ServerConfig {
        let capabilities = ServerCapabilities::builder().enable_tools().build();
        let this = Implementation::new("codeswarm", env!("CARGO_PKG_VERSION"));
        ServerConfig::new(capabilities).with_server_info(this)
    }

    async fn list_tools(
        &self,
        _page: Option<PaginatedRequestParams>,
        _context: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        Ok(ListToolsResult::with_all_items(tools::definitions()))
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let arguments = Value::Object(request.arguments.unwrap_or_default());
        let (steps, taken) = mpsc::channel(PROGRESS);
        let telling = tell(context.peer.clone(), context.meta.get_progress_token(), taken);
        let mut gone = self.gone.clone();
        let reply = tokio::select! {
            reply = self.call(&request.name, arguments, steps) => reply,
            () = telling => Err("a wait that cannot end has ended".to_owned()),
            // Only the waiting ends: what was asked for is the router's.
            () = context.ct.cancelled() => Err("cancelled; what was asked for goes on".to_owned()),
            _ = gone.wait_for(|gone| *gone) => Err("the client has gone; what was asked for goes on".to_owned()),
        };
        Ok(CallToolResponse::from(told(reply)))
    }
}

/// Tells a client that wants to know how far a wait is.
async fn tell(client: Peer<RoleServer>, token: Option<ProgressToken>, mut steps: mpsc::Receiver<Step>) {
    let mut told = 0.0;
    while let (Some((ended, of, words)), Some(token)) = (steps.recv().await, token.clone()) {
        // It must grow, also while no turn ends.
        told = f64::max(told + 0.001, u32::try_from(ended).unwrap_or(u32::MAX).into());
        let mut step = ProgressNotificationParam::new(token, told);
        step.total = Some(u32::try_from(of).unwrap_or(u32::MAX).into());
        step.message = Some(words);
        let _client_has_gone = client.notify_progress(step).await;
    }
    std::future::pending::<()>().await;
}

fn told(reply: Reply) -> CallToolResult {
    match reply {
        Ok(value) => {
            let mut result = CallToolResult::success(vec![ContentBlock::text(text(&value))]);
            result.structured_content = Some(value);
            result
        }
        Err(sentence) => CallToolResult::error(vec![ContentBlock::text(sentence)]),
    }
}
