//! One agent at work: its process (if it has one), its driver, and the channels to its worker.

use std::path::PathBuf;
use std::time::Duration;

use codeswarm_protocol::launch::AgentSpec;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use crate::conversation::{self, Line};
use crate::driver::{AgentCommand, AgentEvent};

/// How long an agent may take to end by itself when nothing else is said.
pub const GRACE: Duration = Duration::from_secs(5);

/// Commands that may wait; a worker sends few.
const COMMANDS: usize = 32;

/// Events that may wait. When the worker takes none, no more of the agent's output is read.
const EVENTS: usize = 256;

/// What an agent is started with.
#[derive(Debug, Clone, PartialEq)]
pub struct SessionSpec {
    /// Which agent, and how.
    pub agent: AgentSpec,
    /// Its working directory: absolute, and there already.
    pub cwd: PathBuf,
    /// A private folder for the agent's own files, on a disk of this node; made here, mode 0700.
    pub home: PathBuf,
    /// A folder on the shared filesystem, where what a resume needs is copied to after each turn and taken from.
    pub keep: PathBuf,
    /// The thread to go on with.
    pub resume: Option<String>,
}

/// A session with an agent. Dropping it kills the agent and everything that the agent has started.
///
/// The events are to be read until [`AgentEvent::Exited`], which always comes, also when the agent could not be started.
/// Dropping `commands` alone is the same as [`AgentCommand::Stop`].
#[derive(Debug)]
pub struct Session {
    /// What the worker asks; bounded. Closed once the agent has ended.
    pub commands: mpsc::Sender<AgentCommand>,
    /// What the agent says; bounded.
    pub events: mpsc::Receiver<AgentEvent>,
    grace: watch::Sender<Duration>,
    _task: Task,
}

impl Session {
    /// How long the agent may take to end by itself after [`AgentCommand::Stop`] ([`GRACE`] otherwise). It is then asked
    /// by SIGTERM, and killed two seconds (or the same time, if shorter) after that.
    pub fn set_grace(&self, grace: Duration) {
        self.grace.send_replace(grace);
    }
}

/// Opens a session. Must be called within a Tokio runtime. Whatever goes wrong is told by [`AgentEvent::Exited`].
pub fn open(spec: SessionSpec) -> Session {
    let (commands, command_queue) = mpsc::channel(COMMANDS);
    let (event_queue, events) = mpsc::channel(EVENTS);
    let (grace, shorter) = watch::channel(GRACE);
    let line = Line {
        commands: command_queue,
        events: event_queue,
        grace: shorter,
    };
    let task = Task(tokio::spawn(conversation::run(spec, line)));
    Session {
        commands,
        events,
        grace,
        _task: task,
    }
}

/// The session's one task; ends with its owner. The process's own drop then kills the tree.
#[derive(Debug)]
struct Task(JoinHandle<()>);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}
