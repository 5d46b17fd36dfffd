//! Why a command was not carried out: one code for programs, one sentence for people.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The kinds of refusal. A refused command has changed nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RejectionCode {
    /// The line is not a JSON object.
    NotJson,
    /// The line is longer than the limit.
    LineTooLong,
    /// No such command.
    UnknownCommand,
    /// A field is missing.
    MissingField,
    /// A field has the wrong type, spelling or range.
    BadField,
    /// No such swarm.
    UnknownSwarm,
    /// No such job.
    UnknownJob,
    /// No such request, or none that is kept.
    UnknownRequest,
    /// The swarm has no such node.
    NodeOutOfRange,
    /// The prompt is empty.
    EmptyPrompt,
    /// The prompt is longer than `router.max_prompt_bytes`.
    PromptTooLong,
    /// The swarm has ended or is ending.
    SwarmEnded,
    /// The same `request_id` was used for another command.
    RequestIdReused,
    /// No such provider, or it cannot do this.
    Provider,
    /// The launch failed.
    LaunchFailed,
    /// The login node cannot be reached, and somebody must do something about it first.
    Link,
    /// The node's inbox could not be written; nothing was delivered.
    NotDelivered,
    /// Too much is waiting; try again when some of it is done.
    Overloaded,
    /// The router could not store the command; nothing was done.
    State,
}

/// A refusal.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct Rejection {
    /// For programs.
    pub code: RejectionCode,
    /// The field that is wrong, dotted, where one is.
    pub field: Option<String>,
    /// For people: what is wrong and what would be right.
    pub reason: String,
}

impl Rejection {
    /// A refusal that is not about one field.
    pub fn new(code: RejectionCode, reason: impl Into<String>) -> Self {
        Self {
            code,
            field: None,
            reason: reason.into(),
        }
    }

    /// A refusal of one field; the reason starts with its name.
    pub fn field(code: RejectionCode, field: &str, reason: impl std::fmt::Display) -> Self {
        Self {
            code,
            field: Some(field.to_owned()),
            reason: format!("{field}: {reason}"),
        }
    }
}
