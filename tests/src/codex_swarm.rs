//! A swarm of real Codexes behind a router, with the model server that they talk to: the whole way from a client's prompt
//! to the agent and back.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::model_server::ModelServer;
use crate::processes::Process;
use crate::router::{RouterProcess, Swarm};
use crate::workspace::{Workspace, wait_until};

/// The swarm, ready for prompts. Everything is ended when it is dropped.
pub struct CodexSwarm {
    // Dropped in this order: whoever talks first, the folder with all its processes next, the model last.
    /// A client's end of the router.
    pub router: RouterProcess,
    /// What was launched.
    pub swarm: Swarm,
    /// Where it runs.
    pub workspace: Workspace,
    /// What the agents hear.
    pub model: ModelServer,
}

impl CodexSwarm {
    /// Launches this many nodes.
    pub fn launch(codex: &Path, nodes: u32) -> Self {
        Self::configured(codex, nodes, |_| {})
    }

    /// The same with a change of the configuration.
    pub fn configured(codex: &Path, nodes: u32, change: impl FnOnce(&mut Value)) -> Self {
        let model = ModelServer::start();
        let workspace = Workspace::codex(codex, &model).configured(change);
        let mut router = RouterProcess::daemon(&workspace);
        let swarm = router.launch_ready(nodes);
        Self {
            router,
            swarm,
            workspace,
            model,
        }
    }

    /// Sends a prompt to node 0; answers with its injection.
    pub fn inject(&mut self, prompt: &str) -> String {
        self.router.inject(&self.swarm, 0, prompt)
    }

    /// Sends node 0 a prompt that joins the running turn; answers with its injection.
    pub fn steer(&mut self, prompt: &str) -> String {
        let command =
            json!({"command": "inject", "swarm_id": self.swarm.swarm_id, "nodes": 0, "content": prompt, "steer": true});
        let ack = self.router.asked(command, "inject_ack");
        ack["injection_id"].as_str().unwrap_or_default().to_owned()
    }

    /// Interrupts node 0's turn.
    pub fn interrupt(&mut self) {
        let command = json!({"command": "interrupt", "swarm_id": self.swarm.swarm_id, "nodes": 0});
        self.router.asked(command, "interrupt_ack");
    }

    /// Answers a question of node 0.
    pub fn approve(&mut self, call_id: &Value, approved: bool) {
        let command = json!({
            "command": "approve_execution",
            "swarm_id": self.swarm.swarm_id,
            "nodes": 0,
            "call_id": call_id,
            "approved": approved,
        });
        self.router.asked(command, "approval_ack");
    }

    /// Waits for an injection's end, its tokens included where they were counted.
    pub fn end_of(&self, injection: &str) -> Turn {
        let end = self.router.event_of(injection, "turn_complete");
        if end["usage"].is_object() {
            self.router.event_of(injection, "usage");
        }
        Turn {
            injection: injection.to_owned(),
            events: self.router.events_of(injection),
            end,
        }
    }

    /// Runs a turn on node 0 to its end.
    pub fn turn(&mut self, prompt: &str) -> Turn {
        let injection = self.inject(prompt);
        self.end_of(&injection)
    }

    /// The working directory of node 0's agent.
    pub fn work(&self) -> PathBuf {
        self.workspace.node_dir(&self.swarm.job_id, 0)
    }

    /// The Codex of the only node.
    pub fn agent(&self) -> Process {
        self.only("app-server --listen")
    }

    /// The worker of the only node.
    pub fn worker(&self) -> Process {
        self.only(" worker --root ")
    }

    fn only(&self, part: &str) -> Process {
        let mut found = self.workspace.processes_named(part);
        match (found.pop(), found.len()) {
            (Some(process), 0) => process,
            (last, more) => panic!("not one process with {part:?} but {last:?} and {more} more"),
        }
    }

    /// Waits for a record of node 0, wherever its file is then.
    pub fn wait_for_record(&self, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        wait_until(what, || {
            let records = self.records();
            let found = records.iter().find(|record| wanted(record)).cloned();
            found.ok_or_else(|| format!("records so far: {records:#?}"))
        })
    }

    /// Waits until a process with exactly this command line runs.
    pub fn wait_for_process(&self, command_line: &str) -> Process {
        wait_until(command_line, || {
            let mut running = self.workspace.processes();
            running.retain(|process| process.command_line == command_line);
            running.pop().ok_or_else(|| "it does not run".to_owned())
        })
    }

    /// Waits until no process of the swarm has `part` in its command line.
    pub fn wait_until_gone(&self, part: &str) {
        wait_until("its end", || match self.workspace.processes_named(part) {
            left if left.is_empty() => Ok(()),
            left => Err(format!("still running: {left:?}")),
        });
    }

    /// The records of node 0, wherever its file is now.
    pub fn records(&self) -> Vec<Value> {
        self.workspace.records(&self.swarm.job_id, 0)
    }
}

/// One injection that has ended, as the client heard of it.
#[derive(Debug)]
pub struct Turn {
    /// Its id.
    pub injection: String,
    /// All its events.
    pub events: Vec<Value>,
    /// The last of them but `usage`.
    pub end: Value,
}

impl Turn {
    /// `completed`, `interrupted` or `failed`.
    pub fn status(&self) -> &str {
        self.end["status"].as_str().unwrap_or_default()
    }

    /// The class of its error; empty without one.
    pub fn class(&self) -> &str {
        self.end["error"]["class"].as_str().unwrap_or_default()
    }

    /// What its error says; empty without one.
    pub fn message(&self) -> &str {
        self.end["error"]["message"].as_str().unwrap_or_default()
    }

    /// Its events of one type, in order.
    pub fn of(&self, kind: &str) -> Vec<&Value> {
        self.events.iter().filter(|event| event["type"] == kind).collect()
    }

    /// Its one event of a type.
    #[track_caller]
    pub fn one(&self, kind: &str) -> &Value {
        match self.of(kind)[..] {
            [event] => event,
            _ => panic!("not one {kind}: {:#?}", self.events),
        }
    }

    /// The types of its events in order, neighbours of the same type as one.
    pub fn kinds(&self) -> Vec<&str> {
        let mut kinds: Vec<_> = self.events.iter().filter_map(|event| event["type"].as_str()).collect();
        kinds.dedup();
        kinds
    }

    /// The last message; empty without one.
    pub fn answer(&self) -> &str {
        self.of("assistant")
            .last()
            .and_then(|event| event["content"].as_str())
            .unwrap_or_default()
    }

    /// All pieces of messages, joined.
    pub fn deltas(&self) -> String {
        let deltas = self.of("assistant_delta");
        deltas.iter().filter_map(|event| event["content"].as_str()).collect()
    }

    /// Fails unless it completed.
    #[track_caller]
    pub fn completed(self) -> Self {
        assert_eq!(self.status(), "completed", "{:#?}", self.events);
        self
    }
}
