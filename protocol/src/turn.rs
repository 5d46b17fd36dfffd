//! The neutral words about an agent's turn, whichever agent it is.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How a turn ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TurnStatus {
    /// The agent finished its answer.
    Completed,
    /// Someone asked for its end: a client, or the worker's own SIGTERM.
    Interrupted,
    /// It ended otherwise: the error says how.
    Failed,
}

/// What kind of trouble an agent had, whatever it calls it; tells whether trying again can help.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ErrorClass {
    /// The conversation no longer fits the model's context window.
    ContextFull,
    /// An account's quota is used up.
    Quota,
    /// Too many requests for now.
    RateLimit,
    /// No valid credentials.
    Auth,
    /// The model does not exist or may not be used.
    Model,
    /// The model server failed or is overloaded.
    Overloaded,
    /// The model server was not reached, or the connection broke.
    Network,
    /// The model declined on policy.
    Refused,
    /// The agent or the model server did not accept the request.
    BadRequest,
    /// The agent's configuration is wrong.
    Config,
    /// The agent's process ended in mid-turn.
    AgentDied,
    /// The turn's deadline passed.
    Timeout,
    /// The worker ended or restarted in mid-turn.
    WorkerDied,
    /// Something else; also a word of a later version.
    #[serde(other)]
    Other,
}

impl ErrorClass {
    /// Whether the same prompt may succeed later without anyone's help.
    pub fn may_pass(self) -> bool {
        matches!(self, Self::RateLimit | Self::Overloaded | Self::Network)
    }
}

/// An error of an agent or a turn.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TurnError {
    /// The kind of trouble.
    pub class: ErrorClass,
    /// The agent's own words, or ours.
    pub message: String,
    /// The model server's HTTP status, where the agent told it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http_status: Option<u16>,
    /// The last lines of the agent's standard error, where they may help.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stderr_tail: Option<String>,
}

impl TurnError {
    /// An error with only a class and a message.
    pub fn new(class: ErrorClass, message: impl Into<String>) -> Self {
        Self {
            class,
            message: message.into(),
            http_status: None,
            stderr_tail: None,
        }
    }
}

/// Tokens of one turn, as a difference of the thread's totals.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub struct Usage {
    /// All tokens.
    pub total_tokens: u64,
    /// Tokens read by the model, cached ones included.
    pub input_tokens: u64,
    /// Of these, the ones taken from a cache.
    pub cached_input_tokens: u64,
    /// Tokens written by the model, reasoning included.
    pub output_tokens: u64,
    /// Of these, reasoning.
    pub reasoning_output_tokens: u64,
    /// The model's context window, where the agent told it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model_context_window: Option<u64>,
}

/// An answer to an agent's request for approval.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Decision {
    /// This once.
    Accept,
    /// This, and the like of it for the rest of the session.
    AcceptForSession,
    /// Not this; the turn goes on.
    Decline,
    /// Not this, and the turn ends.
    Cancel,
}

impl Decision {
    /// Whether it is a yes.
    pub fn allows(self) -> bool {
        matches!(self, Self::Accept | Self::AcceptForSession)
    }
}

/// How a command or tool call of an agent ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CallStatus {
    /// It ran and reported success.
    Completed,
    /// It ran and reported failure (an exit code other than 0, say).
    Failed,
    /// It was not allowed to run.
    Declined,
    /// It was stopped.
    Aborted,
}

/// What was done to a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum FileOperation {
    /// A new file.
    Add,
    /// Another content.
    Update,
    /// No longer there.
    Delete,
    /// Another name.
    Move,
}

/// One file that an agent changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FileEdit {
    /// Its path, as the agent gives it.
    pub path: String,
    /// What was done.
    pub operation: FileOperation,
    /// The new path of a moved file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub moved_to: Option<String>,
    /// The change as a diff, where the agent gives one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub diff: Option<String>,
}
