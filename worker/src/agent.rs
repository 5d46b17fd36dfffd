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

#[cfg(test)]
mod tests {
    use super::*;

    fn agent(folder: &tempfile::TempDir) -> Agent {
        let spec = serde_json::from_str(r#"{"kind":"echo"}"#).unwrap();
        let below = |name| folder.path().join(name);
        std::fs::create_dir(below("cwd")).unwrap();
        Agent::new(spec, below("cwd"), below("home"), below("keep"))
    }

    fn run(prompt: &str) -> AgentCommand {
        AgentCommand::RunTurn {
            prompt: prompt.to_owned(),
        }
    }

    async fn hear_until(agent: &mut Agent, wanted: impl Fn(&AgentEvent) -> bool) {
        loop {
            match agent.hear(true, false).await {
                Heard::Event(event) if wanted(&event) => return,
                Heard::Event(_) => {}
                other => panic!("{other:?}"),
            }
        }
    }

    #[tokio::test]
    async fn a_command_that_finds_no_room_waits_until_there_is_some() {
        let folder = tempfile::tempdir().unwrap();
        let mut agent = agent(&folder);
        agent.open(None);
        // The session takes none before this test waits for something.
        let mut given = 0;
        while !agent.pass_on(Seq(0)) {
            agent.command(AgentCommand::Interrupt, Seq(0), Duration::ZERO);
            given += 1;
            assert!(given < 10_000, "commands without an end may wait");
        }
        assert!(given > 1);
        agent.command(run("hello"), Seq(0), Duration::ZERO);
        while agent.pass_on(Seq(0)) {
            let heard = agent.hear(false, true).await;
            assert!(matches!(heard, Heard::Room), "{heard:?}");
        }
        hear_until(&mut agent, |event| matches!(event, AgentEvent::TurnEnded { .. })).await;
    }

    #[tokio::test]
    async fn p11_a_command_for_a_session_that_has_ended_does_not_reach_the_next_one() {
        let folder = tempfile::tempdir().unwrap();
        let mut agent = agent(&folder);
        agent.open(None);
        agent.command(AgentCommand::Stop, Seq(0), Duration::ZERO);
        assert!(!agent.pass_on(Seq(0)));
        agent.session.as_ref().unwrap().commands.closed().await;
        agent.command(run("late"), Seq(0), Duration::ZERO);
        assert!(!agent.pass_on(Seq(0)));
        agent.open(None);
        assert!(!agent.pass_on(Seq(0)));
        agent.command(run("in time"), Seq(0), Duration::ZERO);
        assert!(!agent.pass_on(Seq(0)));
        let said = |event: &AgentEvent, text: &str| format!("{event:?}").contains(text);
        hear_until(&mut agent, |event| {
            assert!(!said(event, "late"), "{event:?}");
            said(event, "in time")
        })
        .await;
    }
}
