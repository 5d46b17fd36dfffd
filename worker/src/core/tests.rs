//! The core's rules, one by one: a worker driven by hand.

mod agent_life;
mod ends;
mod prompts;

use std::time::Duration;

use codeswarm_agents::{AgentCommand, AgentEvent};
use codeswarm_protocol::InjectionId;
use codeswarm_protocol::inbox::{Control, InboxRecord};
use codeswarm_protocol::record::Word;
use codeswarm_protocol::turn::{ErrorClass, TurnError, TurnStatus};

use super::recovery::Recovered;
use super::*;

/// A worker, driven by hand; what it does is kept as short texts.
struct Play {
    core: Core,
    now: Duration,
    inbox: u64,
    did: Vec<String>,
}

fn settings() -> Settings {
    Settings {
        agent: "echo",
        turn_timeout: Duration::from_secs(100),
        start_timeout: Duration::from_secs(20),
        shutdown_grace: Duration::from_secs(20),
        queue_limit: 2,
    }
}

fn identity() -> Identity {
    Identity {
        version: "1".to_owned(),
        host: "h".to_owned(),
        pid: 1,
        pid_started: None,
    }
}

fn id(name: &str) -> InjectionId {
    InjectionId::new(name).unwrap()
}

impl Play {
    fn new() -> Self {
        Self {
            core: Core::new(settings()),
            now: Duration::from_secs(1),
            inbox: 0,
            did: Vec::new(),
        }
    }

    fn begin(recovered: Recovered, inbox_length: u64) -> Self {
        let mut play = Self::new();
        play.input(Input::Started {
            identity: identity(),
            recovered,
            inbox_length,
        });
        play
    }

    /// A last life, which has no agent.
    fn given_up(recovered: Recovered, inbox_length: u64) -> Self {
        let mut play = Self::new();
        play.input(Input::GivenUp {
            identity: identity(),
            recovered,
            inbox_length,
            given_up: GivenUp {
                reason: "worker_crashed",
                message: "it died".to_owned(),
            },
        });
        play
    }

    /// A first life, its agent up.
    fn up() -> Self {
        let mut play = Self::begin(Recovered::default(), 0);
        play.ready();
        play.did();
        play
    }

    fn input(&mut self, input: Input) {
        let effects = self.core.step(input, self.now);
        self.did.extend(effects.iter().map(short));
    }

    fn agent(&mut self, event: AgentEvent) {
        self.input(Input::Agent(event));
    }

    fn ready(&mut self) {
        self.agent(AgentEvent::Ready {
            thread_id: "thread".to_owned(),
            resumed: false,
            agent_version: None,
            model: None,
            cwd: "/".to_owned(),
        });
    }

    fn line(&mut self, record: InboxRecord) {
        self.inbox += 10;
        let end = self.inbox;
        self.input(Input::Inbox { record, end });
    }

    fn prompt(&mut self, name: &str) {
        self.prompt_saying(name, name, false);
    }

    fn steer(&mut self, name: &str) {
        self.prompt_saying(name, name, true);
    }

    fn prompt_saying(&mut self, name: &str, content: &str, steer: bool) {
        self.line(InboxRecord::User {
            injection_id: id(name),
            content: content.to_owned(),
            steer,
        });
    }

    fn interrupt(&mut self, name: Option<&str>) {
        self.line(InboxRecord::Control {
            payload: Control::Interrupt {
                injection_id: name.map(id),
            },
        });
    }

    fn turn_started(&mut self) {
        self.agent(AgentEvent::TurnStarted {
            turn_id: Some("t1".to_owned()),
        });
    }

    fn turn_ended(&mut self, status: TurnStatus) {
        let error = (status != TurnStatus::Completed).then(|| TurnError::new(ErrorClass::Other, "so"));
        self.agent(AgentEvent::TurnEnded {
            status,
            error,
            usage: None,
        });
    }

    fn exited(&mut self, may_restart: bool) {
        self.agent(AgentEvent::Exited {
            code: Some(1),
            signal: None,
            asked: false,
            message: "gone".to_owned(),
            stderr_tail: None,
            may_restart,
        });
    }

    /// Lets the time come that the core waits for; answers how long that was, in seconds.
    fn until_due(&mut self) -> u64 {
        let due = self.core.deadline().unwrap();
        let waited = due - self.now;
        self.now = due;
        self.input(Input::Tick);
        waited.as_secs()
    }

    /// What was done since the last time.
    fn did(&mut self) -> Vec<String> {
        std::mem::take(&mut self.did)
    }
}

fn short(effect: &Effect) -> String {
    match effect {
        Effect::Record(word, injection) => {
            let about = injection
                .as_ref()
                .map(|injection| format!("{injection}: "))
                .unwrap_or_default();
            format!("{about}{}", short_word(word))
        }
        Effect::StartAgent { resume: None } => "> start".to_owned(),
        Effect::StartAgent { resume: Some(thread) } => format!("> resume {thread}"),
        Effect::Command(AgentCommand::RunTurn { prompt }) => format!("> run {prompt}"),
        Effect::Command(AgentCommand::Steer { token, prompt }) => format!("> steer {token} {prompt}"),
        Effect::Command(command) => format!("> {command:?}"),
        Effect::KillAgent => "> kill".to_owned(),
        Effect::ReadInboxToEnd => "> read to end".to_owned(),
        Effect::Finish { reason } => format!("> finish {reason}"),
    }
}

fn short_word(word: &Word) -> String {
    let class = |error: &Option<TurnError>| match error {
        Some(error) => format!(" {:?}", error.class),
        None => String::new(),
    };
    match word {
        Word::WorkerStart { recovered, .. } => format!("start, recovered {}", recovered.len()),
        Word::AgentReady { .. } => "ready".to_owned(),
        Word::AgentExit { restart_in_ms, .. } => format!("agent exit, restart in {restart_in_ms:?}"),
        Word::InjectReceived { queued_behind } => format!("received behind {queued_behind}"),
        Word::TurnStarted { steered_into: None, .. } => "started".to_owned(),
        Word::TurnStarted {
            steered_into: Some(into),
            turn_id,
        } => format!("joined {into} in {turn_id:?}"),
        Word::TurnComplete {
            status,
            error,
            steered_into,
            usage,
            ..
        } => {
            let with = steered_into
                .as_ref()
                .map(|into| format!(" with {into}"))
                .unwrap_or_default();
            let counted = if usage.is_some() { " counted" } else { "" };
            format!("{status:?}{}{with}{counted}", class(error))
        }
        Word::Usage { .. } => "usage".to_owned(),
        Word::InjectFailed { error, .. } => format!("failed {error}"),
        Word::ControlIgnored { .. } => "ignored".to_owned(),
        Word::WorkerError { .. } => "worker error".to_owned(),
        Word::WorkerExit { reason, inbox_offset } => format!("exit {reason} at {inbox_offset}"),
        other => format!("{other:?}"),
    }
}
