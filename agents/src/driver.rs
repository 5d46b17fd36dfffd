//! The verbs that every coding agent has, and what it says back, whichever agent it is.
//!
//! A driver is a pure state machine that speaks one agent's wire protocol: commands and the agent's lines go in, bytes to
//! write and neutral events come out. It never starts a process, reads a clock or writes a file; `session` does.

use std::path::PathBuf;
use std::time::Duration;

use codeswarm_protocol::record::Word;
use codeswarm_protocol::turn::{Decision, ErrorClass, TurnError, TurnStatus, Usage};

/// A moment on a clock that only goes forward, handed in with every step; counted from an arbitrary start. It stands
/// still while the worker takes no events, so that a deadline never passes over an answer that lies there unread.
pub type Now = Duration;

/// What a worker asks of its agent. At most one turn is under way at a time; the worker sees to that.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AgentCommand {
    /// Run one turn with this prompt.
    RunTurn {
        /// The prompt.
        prompt: String,
    },
    /// Add this text to the running turn; answered by [`AgentEvent::Steered`].
    Steer {
        /// Echoed in the answer.
        token: u64,
        /// The text.
        prompt: String,
    },
    /// End the running turn; it ends with [`AgentEvent::TurnEnded`], `interrupted` unless it was over already.
    Interrupt,
    /// Answer an approval; a `call_id` that is not open changes nothing and is answered by [`AgentEvent::ApprovalUnknown`].
    Approve {
        /// The question's name.
        call_id: String,
        /// The answer.
        decision: Decision,
        /// Who answered: `policy`, `client` or `timeout`.
        by: &'static str,
    },
    /// End the session in order: the agent's process is told to end, and everything of its tree is gone afterwards.
    Stop,
}

/// What an agent says to its worker.
#[derive(Debug, Clone, PartialEq)]
pub enum AgentEvent {
    /// The session is open; the first event of every session that comes up.
    Ready {
        /// What a resume needs.
        thread_id: String,
        /// Whether the thread asked for was resumed.
        resumed: bool,
        /// The agent's version.
        agent_version: Option<String>,
        /// The model.
        model: Option<String>,
        /// The working directory that the agent uses.
        cwd: String,
    },
    /// The turn asked for has begun; `turn_id` is the agent's own name for it.
    TurnStarted {
        /// The agent's own name for the turn.
        turn_id: Option<String>,
    },
    /// Something to record, within a turn or outside one.
    Said(Word),
    /// A message of the agent as it came (only when raw events are asked for).
    Raw(serde_json::Value),
    /// The turn asked for is over: exactly one for each [`AgentCommand::RunTurn`], also when the agent dies.
    TurnEnded {
        /// How.
        status: TurnStatus,
        /// Why, unless `completed`.
        error: Option<TurnError>,
        /// Its tokens.
        usage: Option<Usage>,
    },
    /// A steering text was taken into the running turn, or not.
    Steered {
        /// Of which command.
        token: u64,
        /// Why it was not taken: the caller then queues it as a turn of its own.
        refused: Option<String>,
    },
    /// An answer came for an approval that is not open.
    ApprovalUnknown {
        /// Its name.
        call_id: String,
    },
    /// The session ends, whoever wants it to: no further turn is taken. The end of a turn under way and
    /// [`AgentEvent::Exited`] follow.
    Ending,
    /// The session is over. The last event of every session.
    Exited {
        /// The process's exit code.
        code: Option<i32>,
        /// The signal that ended it.
        signal: Option<i32>,
        /// Whether it was asked to stop.
        asked: bool,
        /// What is known of the reason.
        message: String,
        /// The last lines of its standard error.
        stderr_tail: Option<String>,
        /// Whether starting it again can help (`false`: the configuration or the installation is wrong).
        may_restart: bool,
    },
}

/// What a driver wants done, in this order.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    /// Write these bytes to the agent's standard input.
    Write(Vec<u8>),
    /// Tell the worker.
    Tell(AgentEvent),
    /// Keep this file for a resume: copy it from the agent's home to `session/` on the shared filesystem, same relative path.
    Keep(PathBuf),
    /// Close the agent's standard input and end the process; the reason is for the record.
    End {
        /// Why.
        reason: String,
        /// Whether starting again can help.
        may_restart: bool,
    },
}

/// How an agent's process ended, as far as its parent can tell. All empty for an agent without a process.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Death {
    /// Its exit code.
    pub code: Option<i32>,
    /// The signal that ended it.
    pub signal: Option<i32>,
    /// The last lines of its standard error.
    pub stderr_tail: Option<String>,
}

impl std::fmt::Display for Death {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (self.code, self.signal) {
            (Some(code), _) => write!(f, "the agent's process ended with exit code {code}"),
            (None, Some(signal)) => write!(f, "the agent's process was ended by signal {signal}"),
            (None, None) => write!(f, "the agent ended"),
        }
    }
}

/// One agent's wire protocol as a state machine. Everything it is given is answered by effects.
pub trait Driver: Send {
    /// The process is up (or, for an agent without one, the session begins).
    fn open(&mut self, now: Now) -> Vec<Effect>;
    /// A command of the worker's.
    fn command(&mut self, command: AgentCommand, now: Now) -> Vec<Effect>;
    /// One line of the agent's standard output, without its newline.
    fn line(&mut self, line: &[u8], now: Now) -> Vec<Effect>;
    /// When [`Driver::tick`] wants to be called next, if at all.
    fn deadline(&self) -> Option<Now>;
    /// That moment has come.
    fn tick(&mut self, now: Now) -> Vec<Effect>;
    /// The process has ended, and its output was read to the end: what is still open is ended here (a running turn as
    /// `failed` with class `agent_died`, or `interrupted` when a stop was asked for). The caller adds
    /// [`AgentEvent::Exited`] itself; an [`Effect::End`] among the answers gives it a better reason. Commands that come
    /// later are still answered: a prompt with a failed turn.
    fn gone(&mut self, death: &Death, now: Now) -> Vec<Effect>;
}

/// What is answered to a command that comes when the session is over: a prompt ends as failed, nothing is lost silently.
pub fn answer_after_end(command: AgentCommand, class: ErrorClass, why: &str) -> Option<AgentEvent> {
    match command {
        AgentCommand::RunTurn { .. } => Some(AgentEvent::TurnEnded {
            status: TurnStatus::Failed,
            error: Some(TurnError::new(class, why)),
            usage: None,
        }),
        AgentCommand::Steer { token, .. } => Some(AgentEvent::Steered {
            token,
            refused: Some(why.to_owned()),
        }),
        AgentCommand::Approve { call_id, .. } => Some(AgentEvent::ApprovalUnknown { call_id }),
        AgentCommand::Interrupt | AgentCommand::Stop => None,
    }
}
