//! Each client command: what it asks of the router, and what it shows.

mod adopt;
mod attach;
mod control;
pub mod doctor;
pub mod events;
mod inject;
mod launch;
mod look;
pub mod mcp;
mod router;

use std::time::Duration;

use codeswarm_protocol::command::{Command as Asked, SwarmStatus};
use codeswarm_protocol::event::{NodeStatus, RouterWord, SwarmState};
use codeswarm_protocol::{NodeId, Position, SwarmId};

use crate::args::{Client, Options};
use crate::event::{Event, Said};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::prompt;
use crate::session::{Answer, Session};

/// How long the router may be silent before an answer to a simple question.
const ANSWER_PATIENCE: Duration = Duration::from_secs(30);

/// Carries out a client command; `options` stood before it.
pub async fn run(command: Client, options: Options) -> Result<Exit, Failure> {
    let session = |mine: Options| Session::open(mine.over(options));
    match command {
        // Prompts are read before signals are listened to, so that Ctrl-C ends a prompt that is typed.
        Client::Run(args) => {
            let prompt = prompt::required(&args.prompt)?;
            launch::run(session(args.options)?, args.launch, prompt).await
        }
        Client::Launch(args) => {
            let prompt = prompt::given(&args.prompt)?;
            launch::launch(session(args.options)?, args.launch, prompt, args.wait).await
        }
        Client::Adopt(args) => adopt::adopt(session(args.options)?, args.job_id).await,
        Client::List(args) => look::list(session(args.options)?).await,
        Client::Status(args) => look::status(session(args.options)?, args.swarm_id).await,
        Client::Inject(args) => {
            let prompt = prompt::required(&args.prompt)?;
            inject::inject(session(args.options.clone())?, args, prompt).await
        }
        Client::Attach(args) => attach::attach(session(args.options.clone())?, args).await,
        Client::Interrupt(args) => control::interrupt(session(args.options.clone())?, args).await,
        Client::Approve(args) => control::approve(session(args.options.clone())?, args).await,
        Client::Terminate(args) => control::terminate(session(args.options.clone())?, args).await,
        Client::Ping(args) => router::ping(session(args.options)?).await,
        Client::Shutdown(args) => router::shutdown(session(args.options)?).await,
    }
}

/// A swarm as the router knows it now.
struct SwarmNow {
    event: Event,
    status: SwarmState,
    provider_state: Option<String>,
    reason: Option<String>,
    node_count: u32,
    nodes: Vec<NodeStatus>,
}

impl SwarmNow {
    /// Asks for it, without printing the answer.
    async fn ask(session: &mut Session, swarm_id: &SwarmId) -> Result<Self, Failure> {
        let request = session.request(Asked::SwarmStatus(SwarmStatus {
            swarm_id: swarm_id.clone(),
        }));
        let id = request.id.clone();
        let is_status = |event: &Event| match event.head.kind.as_str() {
            "swarm_status" if event.head.answers(&id) => Answer::LastUnprinted,
            _ => Answer::None,
        };
        let mut answers = session
            .ask(&[request], "asking how the swarm is", ANSWER_PATIENCE, is_status)
            .await?;
        answers
            .pop()
            .and_then(Self::of)
            .ok_or_else(|| misunderstood("swarm_status"))
    }

    fn of(event: Event) -> Option<Self> {
        match event.said() {
            Said::Router(RouterWord::SwarmStatus {
                node_count,
                status,
                slurm_state,
                reason,
                nodes,
            }) => Some(Self {
                event,
                status,
                provider_state: slurm_state,
                reason,
                node_count,
                nodes,
            }),
            _ => None,
        }
    }

    fn ranks(&self) -> impl Iterator<Item = NodeId> + use<> {
        (0..self.node_count).filter_map(|rank| NodeId::new(rank).ok())
    }

    /// Where each node's stream stands.
    fn positions(&self) -> impl Iterator<Item = (NodeId, Position)> {
        self.nodes.iter().map(|node| (node.node_id, Position::at(node.seq)))
    }
}

/// What an interrupted command tells besides.
fn if_interrupted(failure: Failure, advice: impl FnOnce() -> String) -> Failure {
    if failure.exit == Exit::Interrupted {
        Failure {
            advice: advice(),
            ..failure
        }
    } else {
        failure
    }
}

/// The router answered in words of another version.
fn misunderstood(what: &str) -> Failure {
    Failure::new(
        Exit::Internal,
        format!("the router's {what} cannot be read"),
        "the router may be of another version: codeswarm ping tells, codeswarm shutdown ends it",
    )
}
