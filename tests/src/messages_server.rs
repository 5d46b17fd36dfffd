//! A model server on loopback that the real Claude Code accepts: Anthropic's Messages API as far as Claude Code uses it. The model
//! calls the tools that a test names, one after the other, each when it has the result of the one before, and then says its answer.

use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use serde_json::{Value, json};
use tokio::sync::oneshot;

use crate::model_server::http::{self, Reply, Request};
use crate::model_server::response::Step;

/// A running server. It stops, and closes its connections, when this value is dropped.
pub struct MessagesServer {
    address: SocketAddr,
    requests: Arc<Mutex<Vec<Value>>>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl MessagesServer {
    /// Starts a server on a free port of 127.0.0.1, whose model calls these tools and then says `answer`.
    pub fn start(calls: &[(&str, Value)], answer: &str) -> Self {
        let failed = |error: std::io::Error| panic!("no model server on a free port of 127.0.0.1: {error}");
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap_or_else(failed);
        listener
            .set_nonblocking(true)
            .unwrap_or_else(|error| panic!("the listening socket cannot be used: {error}"));
        let address = listener
            .local_addr()
            .unwrap_or_else(|error| panic!("the listening socket has no address: {error}"));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.unwrap_or_else(|error| panic!("no event queue: {error}"));
        let requests: Arc<Mutex<Vec<Value>>> = Arc::default();
        let kept = Arc::clone(&requests);
        let calls: Vec<(String, Value)> = calls
            .iter()
            .map(|(tool, input)| ((*tool).to_owned(), input.clone()))
            .collect();
        let answer = answer.to_owned();
        let route: http::Route = Arc::new(move |request| reply(&request, &kept, &calls, &answer));
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::spawn(move || runtime.block_on(http::serve(listener, route, stopped)));
        Self {
            address,
            requests,
            stop: Some(stop),
            thread: Some(thread),
        }
    }

    /// What `ANTHROPIC_BASE_URL` is to be.
    pub fn base_url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The bodies of the requests so far, oldest first.
    pub fn requests(&self) -> Vec<Value> {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for MessagesServer {
    fn drop(&mut self) {
        self.stop.take();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
            && !std::thread::panicking()
        {
            panic!("the model server's thread panicked; its message is above");
        }
    }
}

/// The texts of the tool results in a request, oldest first.
pub fn tool_results(request: &Value) -> Vec<String> {
    let messages = request["messages"].as_array().into_iter().flatten();
    let parts = messages.filter_map(|message| message["content"].as_array()).flatten();
    let text = |part: &Value| match &part["content"] {
        Value::String(text) => text.clone(),
        content => content.to_string(),
    };
    parts.filter(|part| part["type"] == "tool_result").map(text).collect()
}

fn reply(request: &Request, kept: &Mutex<Vec<Value>>, calls: &[(String, Value)], answer: &str) -> Reply {
    if request.method != "POST" || !request.path.starts_with("/v1/messages") {
        return Reply::Json(
            404,
            None,
            json!({"type": "error", "error": {"type": "not_found_error", "message": "nothing answers that"}}),
        );
    }
    let Ok(body) = serde_json::from_slice::<Value>(&request.body) else {
        return Reply::Json(
            400,
            None,
            json!({"type": "error", "error": {"type": "invalid_request_error", "message": "not JSON"}}),
        );
    };
    kept.lock().unwrap_or_else(PoisonError::into_inner).push(body.clone());
    // Without tools it is asked for something beside the conversation, such as a title.
    let answered = tool_results(&body).len();
    let call = calls
        .get(answered)
        .filter(|_| body["tools"].as_array().is_some_and(|tools| !tools.is_empty()));
    let (block, delta, stop) = match call {
        Some((tool, input)) => (
            json!({"type": "tool_use", "id": format!("toolu_{answered}"), "name": tool, "input": {}}),
            json!({"type": "input_json_delta", "partial_json": input.to_string()}),
            "tool_use",
        ),
        None => (
            json!({"type": "text", "text": ""}),
            json!({"type": "text_delta", "text": answer}),
            "end_turn",
        ),
    };
    let message = json!({"id": format!("msg_{answered}"), "type": "message", "role": "assistant", "model": body["model"],
        "content": [], "stop_reason": null, "stop_sequence": null, "usage": {"input_tokens": 1, "output_tokens": 1}});
    let events = [
        json!({"type": "message_start", "message": message}),
        json!({"type": "content_block_start", "index": 0, "content_block": block}),
        json!({"type": "content_block_delta", "index": 0, "delta": delta}),
        json!({"type": "content_block_stop", "index": 0}),
        json!({"type": "message_delta", "delta": {"stop_reason": stop, "stop_sequence": null}, "usage": {"output_tokens": 1}}),
        json!({"type": "message_stop"}),
    ];
    Reply::Stream(events.into_iter().map(Step::Event).collect())
}
