//! A model server on loopback that the real Codex accepts: the Responses API as far as Codex uses it.
//!
//! `POST /v1/responses` answers with a stream of server-sent events, `GET /v1/models` with a list. What the model
//! "says" is decided by the markers in the last user message, which `script.rs` lists; a prompt without markers gets
//! an answer that quotes it ([`answer_to`]). Each response counts the same tokens ([`Usage::default`]), so that a test
//! can say how many a turn must have.
//!
//! What each module knows: `conversation` what a request holds, `script` what a prompt asks for, `answer` what comes
//! of both, `response` how the API spells it; `http` and this file carry it over TCP.

mod answer;
mod conversation;
pub(crate) mod http;
mod options;
pub(crate) mod response;
mod script;

use std::collections::HashMap;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};
use tokio::sync::oneshot;

use answer::{answer, refusal};
use http::Reply;

pub use answer::{answer_to, big_text, stream_text};
pub use conversation::{ModelRequest, ToolOutput};
pub use script::Usage;

/// The name of the model that the server answers for.
pub const MODEL: &str = "mock-model";
/// The name of the provider in Codex's configuration.
pub const PROVIDER: &str = "mock";
/// The variable of Codex's environment that holds the key.
pub const KEY_VARIABLE: &str = "LOOPBACK_MODEL_KEY";
/// The key; a request without it is answered with 401, as the real service does.
pub const KEY: &str = "loopback-key";

/// A running server. It stops, and closes its connections, when this value is dropped.
pub struct ModelServer {
    address: SocketAddr,
    state: Arc<State>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// What the connections share.
#[derive(Default)]
struct State {
    requests: Mutex<Vec<Arc<ModelRequest>>>,
    grown: Condvar,
    /// How often each point of each conversation was asked for.
    attempts: Mutex<HashMap<String, u32>>,
}

impl ModelServer {
    /// Starts a server on a free port of 127.0.0.1.
    pub fn start() -> Self {
        Self::bind(0).unwrap_or_else(|error| panic!("no model server on a free port of 127.0.0.1: {error}"))
    }

    /// Starts a server on a given port of 127.0.0.1; 0 takes a free one.
    pub fn bind(port: u16) -> io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", port))?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let state = Arc::new(State::default());
        let (stop, stopped) = oneshot::channel();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (shared, ids) = (Arc::clone(&state), AtomicU64::new(1));
        let routes: http::Route = Arc::new(move |request| route(request, &shared, &ids));
        let thread = std::thread::Builder::new()
            .name("model-server".into())
            .spawn(move || runtime.block_on(http::serve(listener, routes, stopped)))?;
        Ok(Self {
            address,
            state,
            stop: Some(stop),
            thread: Some(thread),
        })
    }

    /// Where Codex finds it: `http://127.0.0.1:PORT/v1`.
    pub fn base_url(&self) -> String {
        format!("http://{}/v1", self.address)
    }

    /// The settings that make Codex use this server, with dotted keys; small retry limits, so that a failing turn ends
    /// soon, and nothing that would look for a network.
    pub fn codex_settings(&self) -> Map<String, Value> {
        let provider = |key: &str| format!("model_providers.{PROVIDER}.{key}");
        [
            ("features.plugins".to_owned(), json!(false)),
            ("features.unbounded_connection_retries".to_owned(), json!(false)),
            (provider("name"), json!("loopback model server")),
            (provider("base_url"), json!(self.base_url())),
            (provider("wire_api"), json!("responses")),
            (provider("env_key"), json!(KEY_VARIABLE)),
            (provider("request_max_retries"), json!(0)),
            (provider("stream_max_retries"), json!(1)),
            (provider("stream_idle_timeout_ms"), json!(60_000)),
        ]
        .into_iter()
        .collect()
    }

    /// The same settings, with model and provider chosen, as the text of a `config.toml`.
    pub fn codex_config_toml(&self) -> String {
        let mut text = format!("model = \"{MODEL}\"\nmodel_provider = \"{PROVIDER}\"\n");
        for (key, value) in self.codex_settings() {
            // Strings, numbers and booleans are written alike in JSON and TOML.
            text.push_str(&format!("{key} = {value}\n"));
        }
        text
    }

    /// The requests for responses so far, oldest first.
    pub fn requests(&self) -> Vec<Arc<ModelRequest>> {
        lock(&self.state.requests).clone()
    }

    /// Waits until one of the requests, earlier or later ones, satisfies `wanted`, and returns it.
    pub fn wait_for_request(&self, what: &str, wanted: impl Fn(&ModelRequest) -> bool) -> Arc<ModelRequest> {
        let deadline = Instant::now() + crate::PATIENCE;
        let mut requests = lock(&self.state.requests);
        loop {
            if let Some(found) = requests.iter().find(|request| wanted(request)) {
                return Arc::clone(found);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left == Duration::ZERO {
                let prompts: Vec<_> = requests.iter().map(|request| request.prompt()).collect();
                panic!(
                    "no request with {what} within {:?}; prompts so far: {prompts:?}",
                    crate::PATIENCE
                );
            }
            requests = match self.state.grown.wait_timeout(requests, left) {
                Ok((guard, _)) => guard,
                Err(poisoned) => poisoned.into_inner().0,
            };
        }
    }
}

fn route(request: http::Request, state: &State, ids: &AtomicU64) -> Reply {
    if request.authorization.as_deref() != Some(&format!("Bearer {KEY}")) {
        return refusal(401, "invalid_api_key", "the key is not the model server's", None).into();
    }
    // Codex adds the version of its client to the query.
    let path = request.path.split('?').next().unwrap_or_default();
    match (request.method.as_str(), path) {
        ("GET", "/v1/models") => {
            let models = json!([{"id": MODEL, "object": "model", "owned_by": "codeswarm-tests"}]);
            Reply::Json(200, None, json!({"object": "list", "data": models, "models": []}))
        }
        ("POST", "/v1/responses") => match serde_json::from_slice(&request.body) {
            Ok(body) => {
                let request = Arc::new(ModelRequest { body });
                let attempt = state.record(Arc::clone(&request));
                answer(&request, attempt, ids.fetch_add(1, Ordering::Relaxed)).into()
            }
            Err(error) => refusal(400, "bad_json", &format!("the body is not JSON: {error}"), None).into(),
        },
        (method, path) => refusal(404, "not_found", &format!("nothing answers {method} {path}"), None).into(),
    }
}

impl Drop for ModelServer {
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

impl State {
    /// Keeps a request and tells how often its point of the conversation was asked for before.
    fn record(&self, request: Arc<ModelRequest>) -> u32 {
        let point = request.point();
        lock(&self.requests).push(request);
        self.grown.notify_all();
        let mut attempts = lock(&self.attempts);
        let count = attempts.entry(point).or_insert(0);
        *count += 1;
        *count - 1
    }
}

/// A test that panics while it holds a lock has said why; the others go on.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
