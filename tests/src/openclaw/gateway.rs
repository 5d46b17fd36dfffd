//! The Gateway: the process of OpenClaw that holds sessions, plugins and automations.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Child, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use super::{OPENCLAW_PATIENCE, OpenClaw, TOKEN};

/// A running Gateway. It is killed when this value is dropped.
pub struct Gateway<'o, 'w> {
    openclaw: &'o OpenClaw<'w>,
    child: Child,
}

/// How a Gateway ended that was asked to.
#[derive(Debug)]
pub struct GatewayEnd {
    /// Its exit status.
    pub status: ExitStatus,
    /// How long it was waited for.
    pub took: Duration,
    /// It gave up at its own deadline, 325 s, with something unfinished.
    pub gave_up: bool,
}

impl<'o, 'w> Gateway<'o, 'w> {
    pub(super) fn start(openclaw: &'o OpenClaw<'w>) -> Self {
        let port = openclaw.port().to_string();
        let mut command = openclaw.command(&["gateway", "run", "--port", &port, "--bind", "loopback"]);
        let log = std::fs::File::options()
            .create(true)
            .append(true)
            .open(openclaw.log_path());
        let log = log.unwrap_or_else(|error| panic!("no log: {error}"));
        let for_stderr = log.try_clone().unwrap_or_else(|error| panic!("no log: {error}"));
        command.stdin(Stdio::null()).stdout(log).stderr(for_stderr);
        let child = command.spawn().unwrap_or_else(|error| panic!("no Gateway: {error}"));
        let mut gateway = Self { openclaw, child };
        gateway.wait_until_ready();
        gateway
    }

    fn wait_until_ready(&mut self) {
        let deadline = Instant::now() + OPENCLAW_PATIENCE;
        while self.get("/readyz").is_none_or(|(status, _)| status != 200) {
            if let Ok(Some(status)) = self.child.try_wait() {
                panic!("the Gateway ended with {status}:\n{}", self.log());
            }
            assert!(Instant::now() < deadline, "the Gateway is not ready:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// What it has logged so far, earlier runs included.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.openclaw.log_path()).unwrap_or_default()
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends a message to a session of the main agent and waits for the end of its turn; what `openclaw agent --json` prints.
    pub fn ask(&self, session: &str, message: &str) -> Value {
        let session = format!("agent:main:{session}");
        let arguments = [
            "agent",
            "--agent",
            "main",
            "--session-key",
            &session,
            "--message",
            message,
            "--json",
        ];
        self.openclaw.run_json(&arguments)
    }

    /// The transcript of a session of the main agent, message by message.
    pub fn transcript(&self, session: &str) -> Vec<Value> {
        let session = json!({"sessionKey": format!("agent:main:{session}"), "limit": 500}).to_string();
        let history = self
            .openclaw
            .run_json(&["gateway", "call", "chat.history", "--params", &session, "--json"]);
        let messages = history["messages"].as_array();
        messages.unwrap_or_else(|| panic!("no messages: {history:#}")).clone()
    }

    /// Calls a plugin's tool without a model, as `POST /tools/invoke` does: the status and the body.
    pub fn invoke(&self, tool: &str, arguments: &Value) -> (u16, Value) {
        let body = json!({"tool": tool, "args": arguments, "sessionKey": "agent:main:main"}).to_string();
        let head = format!("content-type: application/json\r\ncontent-length: {}\r\n", body.len());
        match self.http("POST", "/tools/invoke", &head, &body) {
            Some((status, body)) => (status, serde_json::from_str(&body).unwrap_or(Value::String(body))),
            None => panic!("the Gateway does not answer:\n{}", self.log()),
        }
    }

    /// Asks for a page: its status and its body, if the Gateway listens.
    pub fn get(&self, path: &str) -> Option<(u16, String)> {
        self.http("GET", path, "", "")
    }

    fn http(&self, method: &str, path: &str, head: &str, body: &str) -> Option<(u16, String)> {
        let mut connection = TcpStream::connect(("127.0.0.1", self.openclaw.port())).ok()?;
        connection.set_read_timeout(Some(OPENCLAW_PATIENCE)).ok()?;
        let request = format!(
            "{method} {path} HTTP/1.1\r\nhost: 127.0.0.1\r\nauthorization: Bearer {TOKEN}\r\nconnection: close\r\n{head}\r\n{body}"
        );
        connection.write_all(request.as_bytes()).ok()?;
        let mut bytes = Vec::new();
        connection.read_to_end(&mut bytes).ok()?;
        let text = String::from_utf8_lossy(&bytes);
        let (head, body) = text.split_once("\r\n\r\n")?;
        let status = head.split(' ').nth(1)?.parse().ok()?;
        let chunked = head.to_ascii_lowercase().contains("transfer-encoding: chunked");
        Some((status, if chunked { unchunked(body) } else { body.to_owned() }))
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        if let Some(pid) = i32::try_from(self.pid()).ok().and_then(Pid::from_raw) {
            let _ = kill_process(pid, signal);
        }
    }

    /// Shows the end of its log on standard error.
    fn show_log(&self) {
        let log = self.log();
        let shown: Vec<&str> = log.lines().rev().take(60).collect();
        eprintln!("-- end of the Gateway's log:");
        shown.iter().rev().for_each(|line| eprintln!("{line}"));
    }

    /// Asks it to end, and waits until it has.
    pub fn stop(self) -> GatewayEnd {
        self.signal(Signal::TERM);
        self.wait_for_end()
    }

    /// Waits for its end, which was asked for already. The log of one that does not end well is shown.
    pub fn wait_for_end(mut self) -> GatewayEnd {
        let asked = Instant::now();
        loop {
            match self.child.try_wait() {
                Ok(Some(status)) => {
                    if !status.success() {
                        self.show_log();
                    }
                    return GatewayEnd {
                        status,
                        took: asked.elapsed(),
                        gave_up: self.log().contains("shutdown deadline reached"),
                    };
                }
                Ok(None) => {}
                Err(error) => panic!("the Gateway cannot be waited for: {error}"),
            }
            assert!(
                asked.elapsed() < OPENCLAW_PATIENCE,
                "the Gateway does not end:\n{}",
                self.log()
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Kills it, as `kill -9` does.
    pub fn kill(mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Gateway<'_, '_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.show_log();
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The body of a chunked response.
fn unchunked(mut rest: &str) -> String {
    let mut body = String::new();
    while let Some((size, after)) = rest.split_once("\r\n") {
        let size = usize::from_str_radix(size.split(';').next().unwrap_or_default().trim(), 16).unwrap_or(0);
        let (Some(chunk), true) = (after.get(..size), size > 0) else {
            break;
        };
        body.push_str(chunk);
        rest = after.get(size + 2..).unwrap_or_default();
    }
    body
}
