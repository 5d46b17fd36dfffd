//! A client of `codeswarm mcp`, which speaks as OpenClaw does: ids from 0, no capabilities, one process a session.

use std::ops::{Deref, DerefMut};
use std::process::Command;

use serde_json::{Value, json};

use crate::json_process::JsonProcess;
use crate::workspace::Workspace;

/// The longest reply that a model is shown whole by every client, in characters.
const LONGEST_REPLY: usize = 12_000;

/// A session. It can do all that a [`JsonProcess`] can.
pub struct McpSession {
    process: JsonProcess,
    next: u64,
}

impl McpSession {
    /// A session that is initialized.
    pub fn open(workspace: &Workspace) -> Self {
        Self::start(workspace.command(&["mcp"]))
    }

    /// The same, spelled out by the caller.
    pub fn start(command: Command) -> Self {
        let process = JsonProcess::spawn("codeswarm mcp", command);
        let mut session = Self { process, next: 0 };
        let initialized = session.request(
            "initialize",
            json!({"protocolVersion": "2025-11-25", "capabilities": {},
                "clientInfo": {"name": "openclaw-bundle-mcp", "version": "0.0.0"}}),
        );
        assert_eq!(initialized["id"], 0, "{initialized}");
        assert_eq!(initialized["result"]["protocolVersion"], "2025-11-25", "{initialized}");
        assert!(
            initialized["result"]["capabilities"]["tools"].is_object(),
            "{initialized}"
        );
        session.notify("notifications/initialized", json!({}));
        session
    }

    /// Sends a request and returns its id.
    pub fn ask(&mut self, method: &str, params: Value) -> u64 {
        let id = self.next;
        self.next += 1;
        self.send(&json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params}));
        id
    }

    /// Sends a request and returns the response.
    pub fn request(&mut self, method: &str, params: Value) -> Value {
        let id = self.ask(method, params);
        self.response(id)
    }

    /// The response to a request.
    pub fn response(&self, id: u64) -> Value {
        self.wait_for(&format!("the response {id}"), |line| {
            line["id"] == id && line.get("method").is_none()
        })
    }

    /// Sends a notification.
    pub fn notify(&mut self, method: &str, params: Value) {
        self.send(&json!({"jsonrpc": "2.0", "method": method, "params": params}));
    }

    /// Begins a call of a tool.
    pub fn begin(&mut self, tool: &str, arguments: Value) -> u64 {
        self.ask("tools/call", json!({"name": tool, "arguments": arguments}))
    }

    /// Calls a tool: its reply, whether it is an error or not, as text; nothing but a result may come.
    pub fn reply(&mut self, tool: &str, arguments: Value) -> (String, bool) {
        let id = self.begin(tool, arguments);
        let response = self.response(id);
        let result = &response["result"];
        let text = result["content"][0]["text"].as_str();
        let text = text.unwrap_or_else(|| panic!("no result: {response:#}")).to_owned();
        assert!(
            text.chars().count() <= LONGEST_REPLY,
            "{tool}: {} characters",
            text.chars().count()
        );
        if let Some(structured) = result.get("structuredContent") {
            assert_eq!(&serde_json::from_str::<Value>(&text).unwrap(), structured);
        }
        (text, result["isError"] == true)
    }

    /// Calls a tool that must succeed.
    pub fn call(&mut self, tool: &str, arguments: Value) -> Value {
        let (text, is_error) = self.reply(tool, arguments);
        assert!(!is_error, "{tool}: {text}");
        serde_json::from_str(&text).unwrap()
    }

    /// Calls a tool that must fail, and returns the sentence.
    pub fn failed(&mut self, tool: &str, arguments: Value) -> String {
        let (text, is_error) = self.reply(tool, arguments);
        assert!(is_error, "{tool}: {text}");
        text
    }

    /// Launches a swarm and waits until it runs.
    pub fn launch(&mut self, nodes: u32, key: &str) -> String {
        let launched = self.call("launch", json!({"nodes": nodes, "idempotency_key": key}));
        let swarm_id = launched["swarm_id"].as_str().unwrap().to_owned();
        let mut cursor = Value::Null;
        loop {
            let wait = self.call("wait", json!({"swarm_id": swarm_id, "cursor": cursor}));
            if wait["status"] == "running" {
                return swarm_id;
            }
            cursor = wait["cursor"].clone();
        }
    }

    /// Waits until all turns of a prompt have ended; the news, in the order in which they were told.
    pub fn wait_until_done(&mut self, prompt: &str) -> Vec<Value> {
        let (mut news, mut cursor) = (Vec::new(), Value::Null);
        loop {
            let wait = self.call("wait", json!({"prompt": prompt, "cursor": cursor}));
            news.extend(wait["news"].as_array().unwrap().iter().cloned());
            cursor = wait["cursor"].clone();
            let covered = wait["next"].as_str().unwrap().starts_with("all turns have ended");
            if wait["done"] == true && covered {
                return news;
            }
        }
    }
}

impl Deref for McpSession {
    type Target = JsonProcess;
    fn deref(&self) -> &JsonProcess {
        &self.process
    }
}

impl DerefMut for McpSession {
    fn deref_mut(&mut self) -> &mut JsonProcess {
        &mut self.process
    }
}
