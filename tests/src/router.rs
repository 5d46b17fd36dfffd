//! A router as a child process with pipes, the way that OpenClaw runs it.

use std::ops::{Deref, DerefMut};
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::json_process::JsonProcess;
use crate::workspace::Workspace;

/// `codeswarm router`, spoken to in the flat spelling. It can do all that a [`JsonProcess`] can.
pub struct RouterProcess {
    process: JsonProcess,
    name: String,
    requests: u32,
}

/// A swarm that was launched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Swarm {
    /// Its id.
    pub swarm_id: String,
    /// Its job.
    pub job_id: String,
    /// How many nodes it has.
    pub nodes: u32,
}

impl Swarm {
    /// A swarm whose nodes are ready, launched by a router that has left again.
    pub fn left_running(workspace: &Workspace, nodes: u32) -> Self {
        let mut router = RouterProcess::daemon(workspace);
        let swarm = router.launch_ready(nodes);
        router.leave();
        swarm
    }
}

impl RouterProcess {
    /// `codeswarm router --config FILE --daemon`.
    pub fn daemon(workspace: &Workspace) -> Self {
        Self::spawn(workspace, &["--daemon"])
    }

    /// `codeswarm router --config FILE` with further arguments.
    pub fn spawn(workspace: &Workspace, arguments: &[&str]) -> Self {
        Self::start(workspace.command(&[&["router"], arguments].concat()))
    }

    /// The same, spelled out by the caller, who may have changed the environment.
    pub fn start(command: Command) -> Self {
        let process = JsonProcess::spawn("codeswarm router", command);
        // A request id is remembered across routers, so each process needs its own.
        let name = format!("r{}", process.pid());
        Self {
            process,
            name,
            requests: 0,
        }
    }

    /// Sends a command, with a `request_id` of its own unless it has one, and returns that.
    pub fn ask(&mut self, mut command: Value) -> String {
        if command.get("request_id").is_none() {
            self.requests += 1;
            command["request_id"] = json!(format!("{}-{}", self.name, self.requests));
        }
        self.process.send(&command);
        command["request_id"].as_str().unwrap_or_default().to_owned()
    }

    /// Waits for the first event of a type that a request caused; a refusal of the request fails the test at once.
    pub fn answer(&self, request: &str, kind: &str) -> Value {
        let what = format!("{kind} for {request}");
        let event = self.wait_for(&what, |event| {
            event["request_id"] == request && (event["type"] == kind || event["type"] == "command_rejected")
        });
        if event["type"] != kind {
            self.fail(&format!("refused {request}: {event}"));
        }
        event
    }

    /// Waits for the refusal of a request.
    pub fn refusal(&self, request: &str) -> Value {
        self.wait_for(&format!("the refusal of {request}"), |event| {
            event["request_id"] == request && event["type"] == "command_rejected"
        })
    }

    /// Sends a command and waits for its answer.
    pub fn asked(&mut self, command: Value, kind: &str) -> Value {
        let request = self.ask(command);
        self.answer(&request, kind)
    }

    /// Follows everything that happens from now on.
    pub fn follow_all(&mut self) {
        self.asked(json!({"command": "subscribe"}), "caught_up");
    }

    /// Launches a swarm with what the configuration says.
    pub fn launch(&mut self, nodes: u32) -> Swarm {
        let launched = self.asked(json!({"command": "swarm_launch", "nodes": nodes}), "swarm_launched");
        Swarm {
            swarm_id: text(&launched, "swarm_id"),
            job_id: text(&launched, "job_id"),
            nodes,
        }
    }

    /// Launches a swarm and waits until all its nodes are ready.
    pub fn launch_ready(&mut self, nodes: u32) -> Swarm {
        let swarm = self.launch(nodes);
        self.wait_for("the swarm to run", |event| {
            event["type"] == "swarm_status"
                && event["status"] == "running"
                && event["swarm_id"] == swarm.swarm_id.as_str()
        });
        swarm
    }

    /// Waits until it answers, and returns what it says: a `pong`.
    pub fn ping(&mut self) -> Value {
        self.asked(json!({"command": "ping"}), "pong")
    }

    /// Ends standard input and waits for the router to leave; returns how long it took.
    pub fn leave(&mut self) -> Duration {
        let began = Instant::now();
        self.close_stdin();
        let status = self.wait_exit();
        if !status.success() {
            self.fail(&format!("left with {status}"));
        }
        began.elapsed()
    }

    /// Sends a prompt to one node and returns its injection id, once the prompt is accepted.
    pub fn inject(&mut self, swarm: &Swarm, node: u32, content: &str) -> String {
        let command = json!({"command": "inject", "swarm_id": swarm.swarm_id, "nodes": node, "content": content});
        text(&self.asked(command, "inject_ack"), "injection_id")
    }

    /// Sends a prompt to all nodes and returns the injection ids, by node.
    pub fn inject_all(&mut self, swarm: &Swarm, content: &str) -> Vec<String> {
        let command = json!({"command": "inject", "swarm_id": swarm.swarm_id, "nodes": "all", "content": content});
        let request = self.ask(command);
        self.answer(&request, "inject_ack");
        (0..swarm.nodes)
            .map(|node| {
                let ack = self.wait_for(&format!("inject_ack for node {node}"), |event| {
                    event["request_id"] == request.as_str() && event["type"] == "inject_ack" && event["node_id"] == node
                });
                text(&ack, "injection_id")
            })
            .collect()
    }

    /// Waits for an event of an injection.
    pub fn event_of(&self, injection: &str, kind: &str) -> Value {
        self.wait_for(&format!("{kind} of {injection}"), |event| {
            event["injection_id"] == injection && event["type"] == kind
        })
    }

    /// All events of an injection so far, in the order in which they came.
    pub fn events_of(&self, injection: &str) -> Vec<Value> {
        let mut events = self.lines();
        events.retain(|event| event["injection_id"] == injection);
        events
    }

    /// Sends a prompt to one node and waits for the end of its turn, which is returned.
    pub fn turn(&mut self, swarm: &Swarm, node: u32, content: &str) -> Value {
        let injection = self.inject(swarm, node, content);
        self.event_of(&injection, "turn_complete")
    }

    /// Ends a swarm and waits until it has ended.
    pub fn terminate(&mut self, swarm: &Swarm) {
        self.ask(json!({"command": "swarm_terminate", "swarm_id": swarm.swarm_id}));
        self.wait_for("swarm_terminated", |event| {
            event["type"] == "swarm_terminated" && event["swarm_id"] == swarm.swarm_id.as_str()
        });
    }
}

impl Deref for RouterProcess {
    type Target = JsonProcess;

    fn deref(&self) -> &JsonProcess {
        &self.process
    }
}

impl DerefMut for RouterProcess {
    fn deref_mut(&mut self) -> &mut JsonProcess {
        &mut self.process
    }
}

/// A field that must be a string.
#[track_caller]
fn text(event: &Value, field: &str) -> String {
    match event[field].as_str() {
        Some(text) => text.to_owned(),
        None => panic!("an event without {field}: {event}"),
    }
}
