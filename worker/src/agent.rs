//! The agent's session as the worker's loop sees it: open or not, its words, and the commands on their way to it.

use std::path::PathBuf;
use std::time::Duration;

use codeswarm_agents::{AgentCommand, AgentEvent, Session, SessionSpec};
use codeswarm_protocol::Seq;
use codeswarm_protocol::launch::AgentSpec;
use tokio::sync::mpsc::error::TrySendError;

use crate::core::gate::Gate;

/// The agent of this life: one session at a time.
#[derive(Debug)]
pub struct Agent {
    spec: AgentSpec,
    cwd: PathBuf,
    home: PathBuf,
    keep: PathBuf,
    session: Option<Session>,
    gate: Gate,
}

/// What a session says next.
#[derive(Debug)]
pub enum Heard {
    /// A word.
    Event(AgentEvent),
    /// Nothing more.
    Closed,
    /// Another command may go.
    Room,
}

impl Agent {
    /// No session yet.
    pub fn new(spec: AgentSpec, cwd: PathBuf, home: PathBuf, keep: PathBuf) -> Self {
        Self {
            spec,
            cwd,
            home,
            keep,
            session: None,
            gate: Gate::default(),
        }
    }

    /// Opens a session. Needs a Tokio runtime.
    pub fn open(&mut self, resume: Option<String>) {
        self.gate.clear();
        self.session = Some(codeswarm_agents::open(SessionSpec {
            agent: self.spec.clone(),
            cwd: self.cwd.clone(),
            home: self.home.clone(),
            keep: self.keep.clone(),
            resume,
        }));
    }

    /// Takes a command in; `said` is the last record before it. `grace` is what the agent may take to end when it is told to.
    pub fn command(&mut self, command: AgentCommand, said: Seq, grace: Duration) {
        if let (AgentCommand::Stop, Some(session)) = (&command, &self.session) {
            session.set_grace(grace);
        }
        self.gate.hold(command, said);
    }

    /// Passes on the commands that may go; answers whether the session's queue is full and one still waits.
    pub fn pass_on(&mut self, durable: Seq) -> bool {
        let Some(session) = &self.session else {
            self.gate.clear();
            return false;
        };
        while self.gate.open(durable) {
            match session.commands.try_reserve() {
                Ok(place) => {
                    if let Some(command) = self.gate.pop(durable) {
                        place.send(command);
                    }
                }
                Err(TrySendError::Full(())) => return true,
                // The session is ending; its last word is on the way.
                Err(TrySendError::Closed(())) => {
                    self.gate.clear();
                    return false;
                }
            }
        }
        false
    }

    /// The session's next word, if one is listened to, or its readiness for a command, if one waits. Never comes back
    /// without a session. May be dropped and called again.
    pub async fn hear(&mut self, listens: bool, command_waits: bool) -> Heard {
        let Some(session) = &mut self.session else {
            return std::future::pending().await;
        };
        let heard = tokio::select! {
            biased;
            // Closed is news too: the next try to pass on finds it.
            _ = session.commands.reserve(), if command_waits => return Heard::Room,
            heard = session.events.recv(), if listens => heard,
            else => return std::future::pending().await,
        };
        match heard {
            Some(event) => {
                // What waits was meant for the session that is over.
                if matches!(event, AgentEvent::Exited { .. }) {
                    self.gate.clear();
                }
                Heard::Event(event)
            }
            None => {
                self.kill();
                Heard::Closed
            }
        }
    }

    /// Kills the session, if there is one, with everything that it has started.
    pub fn kill(&mut self) {
        self.gate.clear();
        self.session = None;
    }
}
