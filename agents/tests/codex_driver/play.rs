//! A driver and a server that says what a test wants, in simulated time.

use std::time::Duration;

use codeswarm_agents::codex::{CodexDriver, CodexSettings};
use codeswarm_agents::{AgentCommand, AgentEvent, Death, Driver, Effect, Now};
use codeswarm_protocol::launch::AgentSpec;
use codeswarm_protocol::record::Word;
use codeswarm_protocol::turn::{ErrorClass, TurnStatus};
use serde_json::{Value, json};

/// A driver, the messages that it has written and not been answered, and all that it has told.
pub struct Play {
    pub driver: CodexDriver,
    pub now: Now,
    pub written: Vec<Value>,
    pub events: Vec<AgentEvent>,
    pub kept: usize,
    pub end: Option<(String, bool)>,
}

impl Play {
    pub fn start(agent: AgentSpec, resume: Option<&str>) -> Self {
        let mut driver = CodexDriver::new(CodexSettings {
            agent,
            cwd: "/w".into(),
            resume: resume.map(str::to_owned),
            api_key: None,
        });
        let effects = driver.open(Now::ZERO);
        let mut play = Self {
            driver,
            now: Now::ZERO,
            written: Vec::new(),
            events: Vec::new(),
            kept: 0,
            end: None,
        };
        play.take(effects);
        play
    }

    /// With its thread open.
    pub fn open(agent: AgentSpec) -> Self {
        let mut play = Self::start(agent, None);
        play.answer("initialize", json!({}));
        play.answer("thread/start", opened("t1"));
        assert!(
            matches!(play.events[..], [AgentEvent::Ready { .. }]),
            "{:?}",
            play.events
        );
        play.events.clear();
        play.written.clear();
        play
    }

    /// With the turn `u1` running.
    pub fn running() -> Self {
        let mut play = Self::open(AgentSpec::default());
        play.prompt("x");
        play.answer("turn/start", json!({"turn": {"id": "u1"}}));
        play.events.clear();
        play
    }

    pub fn take(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Write(line) => self.written.push(serde_json::from_slice(&line).unwrap()),
                Effect::Tell(event) => self.events.push(event),
                Effect::Keep(_) => self.kept += 1,
                Effect::End { reason, may_restart } => self.end = Some((reason, may_restart)),
            }
        }
    }

    pub fn command(&mut self, command: AgentCommand) {
        let effects = self.driver.command(command, self.now);
        self.take(effects);
    }

    pub fn prompt(&mut self, prompt: &str) {
        self.command(AgentCommand::RunTurn { prompt: prompt.into() });
    }

    pub fn steer(&mut self, token: u64) {
        self.command(AgentCommand::Steer {
            token,
            prompt: "more".into(),
        });
    }

    pub fn says(&mut self, message: Value) {
        let effects = self.driver.line(message.to_string().as_bytes(), self.now);
        self.take(effects);
    }

    /// Says something about the thread `t1`.
    pub fn news(&mut self, method: &str, mut params: Value) {
        params["threadId"] = "t1".into();
        self.says(json!({"method": method, "params": params}));
    }

    pub fn item(&mut self, method: &str, turn: &str, item: Value) {
        self.news(method, json!({"turnId": turn, "item": item}));
    }

    pub fn turn_over(&mut self, turn: &str, status: &str) {
        self.news("turn/completed", json!({"turn": {"id": turn, "status": status}}));
    }

    /// The oldest request for this method that was not answered.
    pub fn asked(&mut self, method: &str) -> Value {
        let at = self.written.iter().position(|message| message["method"] == method);
        let at = at.unwrap_or_else(|| panic!("{method} was not asked: {:?}", self.written));
        self.written.remove(at)
    }

    pub fn answer(&mut self, method: &str, result: Value) {
        let id = self.asked(method)["id"].clone();
        self.says(json!({"id": id, "result": result}));
    }

    pub fn refuse(&mut self, method: &str, code: i64, message: &str) {
        let id = self.asked(method)["id"].clone();
        self.says(json!({"id": id, "error": {"code": code, "message": message}}));
    }

    /// Lets time pass, from deadline to deadline.
    pub fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(due) = self.driver.deadline().filter(|due| *due <= end) {
            self.now = self.now.max(due);
            let effects = self.driver.tick(self.now);
            self.take(effects);
        }
        self.now = end;
    }

    pub fn gone(&mut self, death: &Death) {
        let effects = self.driver.gone(death, self.now);
        self.take(effects);
    }

    pub fn ends(&self) -> Vec<(TurnStatus, Option<ErrorClass>)> {
        self.events
            .iter()
            .filter_map(|event| match event {
                AgentEvent::TurnEnded { status, error, .. } => Some((*status, error.as_ref().map(|error| error.class))),
                _ => None,
            })
            .collect()
    }

    pub fn steers(&self) -> Vec<(u64, Option<&str>)> {
        self.events
            .iter()
            .filter_map(|event| match event {
                AgentEvent::Steered { token, refused } => Some((*token, refused.as_deref())),
                _ => None,
            })
            .collect()
    }

    pub fn notices(&self) -> Vec<&str> {
        self.events
            .iter()
            .filter_map(|event| match event {
                AgentEvent::Said(Word::Notice { message }) => Some(message.as_str()),
                _ => None,
            })
            .collect()
    }
}

pub fn opened(thread: &str) -> Value {
    json!({
        "thread": {"id": thread, "path": "/h/sessions/r.jsonl", "cliVersion": "0.169.0"},
        "model": "m",
        "cwd": "/w",
        "approvalPolicy": "never",
        "sandbox": {"type": "workspaceWrite"},
    })
}

pub fn running_command(id: &str, terminal: Option<&str>) -> Value {
    json!({"type": "commandExecution", "id": id, "command": "sleep 9", "status": "inProgress", "processId": terminal})
}

pub fn died() -> Death {
    Death {
        code: None,
        signal: Some(9),
        stderr_tail: None,
    }
}
