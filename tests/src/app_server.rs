//! The real `codex app-server`, driven with raw lines and against a model server: what Codex itself does, with nothing of
//! Codeswarm in between.

use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::json_process::JsonProcess;
use crate::model_server::{KEY_VARIABLE, ModelServer};

/// An app-server with one thread, in a home and a working directory of its own.
pub struct AppServer {
    /// The process.
    pub process: JsonProcess,
    /// Its model.
    pub model: ModelServer,
    thread: String,
    next_id: u64,
    home: TempDir,
    work: TempDir,
}

impl AppServer {
    /// Starts it with a thread that uses the model of this name, and the key for the model server.
    pub fn start(codex: &Path, model_name: &str, key: &str) -> Self {
        let model = ModelServer::start();
        let (home, work) = (TempDir::new().unwrap(), TempDir::new().unwrap());
        std::fs::write(home.path().join("config.toml"), model.codex_config_toml()).unwrap();
        let mut server = Self {
            process: spawn(codex, home.path(), key),
            model,
            thread: String::new(),
            next_id: 1,
            home,
            work,
        };
        server.handshake();
        let (sandbox, policy) = ("danger-full-access", "never");
        let thread = json!({"cwd": server.cwd(), "model": model_name, "sandbox": sandbox, "approvalPolicy": policy});
        let started = server.request("thread/start", thread);
        server.thread = started["thread"]["id"].as_str().unwrap().to_owned();
        server
    }

    /// The working directory of the thread.
    pub fn cwd(&self) -> &Path {
        self.work.path()
    }

    fn handshake(&mut self) {
        let client = json!({"name": "codeswarm-tests", "title": "tests", "version": "0"});
        self.request("initialize", json!({"clientInfo": client}));
        self.process.send(&json!({"method": "initialized"}));
    }

    fn request(&mut self, method: &str, params: Value) -> Value {
        let id = self.next_id;
        self.next_id += 1;
        let message = json!({"id": id, "method": method, "params": params});
        self.process.send(&message);
        // Codex numbers its own requests too, so an id alone does not make an answer.
        let answered = |line: &Value| line["id"] == id && line.get("method").is_none();
        let answer = self.process.wait_for(&format!("the answer to {method}"), answered);
        assert_eq!(answer.get("error"), None, "{method} was refused");
        answer["result"].clone()
    }

    /// Starts a turn and returns its id.
    pub fn begin_turn(&mut self, prompt: &str) -> String {
        let input = json!([{"type": "text", "text": prompt}]);
        let begun = self.request("turn/start", json!({"threadId": self.thread, "input": input}));
        begun["turn"]["id"].as_str().unwrap().to_owned()
    }

    /// Waits for the end of a turn.
    pub fn end_of_turn(&self, id: String) -> Turn {
        let ended = |line: &Value| line["method"] == "turn/completed" && line["params"]["turn"]["id"] == id.as_str();
        let end = self.process.wait_for("turn/completed", ended)["params"]["turn"].clone();
        let lines = self.process.lines();
        Turn { id, end, lines }
    }

    /// Runs a turn to its end.
    pub fn turn(&mut self, prompt: &str) -> Turn {
        let id = self.begin_turn(prompt);
        self.end_of_turn(id)
    }

    /// Interrupts a turn.
    pub fn interrupt(&mut self, turn: &str) {
        self.request("turn/interrupt", json!({"threadId": self.thread, "turnId": turn}));
    }

    /// Ends the process as a crash does and resumes the thread in a new one.
    pub fn crash_and_resume(&mut self, codex: &Path, key: &str) {
        self.process.kill();
        self.process = spawn(codex, self.home.path(), key);
        self.handshake();
        let resumed = self.request("thread/resume", json!({"threadId": self.thread, "excludeTurns": true}));
        assert_eq!(resumed["thread"]["id"], self.thread.as_str());
    }
}

fn spawn(codex: &Path, home: &Path, key: &str) -> JsonProcess {
    let mut command = Command::new(codex);
    command
        .args(["app-server", "--listen", "stdio://"])
        .env("CODEX_HOME", home)
        .env("HOME", home)
        .env(KEY_VARIABLE, key);
    JsonProcess::spawn("codex app-server", command)
}

/// A turn that has ended.
pub struct Turn {
    id: String,
    /// What `turn/completed` says of it.
    pub end: Value,
    lines: Vec<Value>,
}

impl Turn {
    /// How it ended: `completed`, `interrupted` or `failed`.
    pub fn status(&self) -> &str {
        self.end["status"].as_str().unwrap()
    }

    /// The parameters of its notifications of one kind, in order.
    pub fn notifications<'a>(&'a self, method: &'a str) -> impl Iterator<Item = &'a Value> {
        let ours = move |line: &&Value| line["method"] == method && line["params"]["turnId"] == self.id.as_str();
        self.lines.iter().filter(ours).map(|line| &line["params"])
    }

    /// Its completed items of one type, in order.
    pub fn items(&self, kind: &str) -> Vec<Value> {
        self.notifications("item/completed")
            .map(|params| params["item"].clone())
            .filter(|item| item["type"] == kind)
            .collect()
    }

    /// The last message of the answer; empty when there is none.
    pub fn answer(&self) -> String {
        let messages = self.items("agentMessage");
        messages
            .last()
            .map_or("", |item| item["text"].as_str().unwrap())
            .to_owned()
    }

    /// All deltas of messages, in order.
    pub fn deltas(&self) -> Vec<&str> {
        let deltas = self.notifications("item/agentMessage/delta");
        deltas.map(|params| params["delta"].as_str().unwrap()).collect()
    }

    /// The thread's tokens after this turn.
    pub fn total_tokens(&self) -> u64 {
        let last = self.notifications("thread/tokenUsage/updated").last().unwrap();
        last["tokenUsage"]["total"]["totalTokens"].as_u64().unwrap()
    }
}
