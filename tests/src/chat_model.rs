//! A model server on loopback for OpenClaw: the Chat Completions API, streamed.
//!
//! What the model does is decided by a function of the conversation so far ([`ChatRequest`]), which a test hands in: it says something or
//! calls a tool. Nothing is remembered between requests, so several sessions may talk to one server. Requests are kept for the test to look at.

mod request;
mod wire;

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::Value;

pub use request::{ChatRequest, ToolResult};

/// The name of the model that the server answers for.
pub const CHAT_MODEL: &str = "mock-model";

/// What the model does next.
#[derive(Debug, Clone)]
pub enum Move {
    /// It answers, and its turn ends.
    Say(String),
    /// It calls a tool, and hears its result in the next request.
    Call {
        /// The tool, by the name under which the request offers it.
        tool: String,
        /// Its arguments.
        arguments: Value,
    },
}

type Script = dyn Fn(&ChatRequest) -> Move + Send + Sync;

/// A running server. It stops when this value is dropped.
pub struct ChatModel {
    address: SocketAddr,
    state: Arc<State>,
    thread: Option<JoinHandle<()>>,
}

/// What the connections share.
struct State {
    script: Box<Script>,
    requests: Mutex<Vec<Arc<ChatRequest>>>,
    grown: Condvar,
    stopping: AtomicBool,
}

impl ChatModel {
    /// Starts a server on a free port of 127.0.0.1 whose model does what `script` says.
    pub fn playing(script: impl Fn(&ChatRequest) -> Move + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap_or_else(|error| panic!("no model server: {error}"));
        let address = listener
            .local_addr()
            .unwrap_or_else(|error| panic!("no address: {error}"));
        let state = Arc::new(State {
            script: Box::new(script),
            requests: Mutex::default(),
            grown: Condvar::new(),
            stopping: AtomicBool::new(false),
        });
        let shared = Arc::clone(&state);
        let thread = std::thread::spawn(move || {
            for connection in listener.incoming() {
                if shared.stopping.load(Ordering::Acquire) {
                    return;
                }
                let (Ok(connection), state) = (connection, Arc::clone(&shared)) else {
                    continue;
                };
                // It ends with its client, which a test ends before the server.
                std::thread::spawn(move || wire::serve(connection, &state));
            }
        });
        Self {
            address,
            state,
            thread: Some(thread),
        }
    }

    /// Where a client finds it: `http://127.0.0.1:PORT/v1`.
    pub fn base_url(&self) -> String {
        format!("http://{}/v1", self.address)
    }

    /// The requests so far, oldest first.
    pub fn requests(&self) -> Vec<Arc<ChatRequest>> {
        self.state.lock().clone()
    }

    /// Waits until one of the requests, earlier or later ones, satisfies `wanted`, and returns it.
    pub fn wait_for_request(
        &self,
        what: &str,
        patience: Duration,
        wanted: impl Fn(&ChatRequest) -> bool,
    ) -> Arc<ChatRequest> {
        let deadline = Instant::now() + patience;
        let mut requests = self.state.lock();
        loop {
            if let Some(found) = requests.iter().find(|request| wanted(request)) {
                return Arc::clone(found);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                let prompts: Vec<_> = requests.iter().map(|request| request.prompt()).collect();
                panic!("no request with {what} within {patience:?}; prompts so far: {prompts:#?}");
            }
            requests = match self.state.grown.wait_timeout(requests, left) {
                Ok((guard, _)) => guard,
                Err(poisoned) => poisoned.into_inner().0,
            };
        }
    }
}

impl Drop for ChatModel {
    fn drop(&mut self) {
        self.state.stopping.store(true, Ordering::Release);
        // Wakes the thread that accepts.
        let _ = TcpStream::connect(self.address);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl State {
    fn lock(&self) -> MutexGuard<'_, Vec<Arc<ChatRequest>>> {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps a request, and says what the model does.
    fn answer(&self, body: Value) -> Move {
        let request = Arc::new(ChatRequest { body });
        self.lock().push(Arc::clone(&request));
        self.grown.notify_all();
        (self.script)(&request)
    }
}
