//! The client: a program that has a router as its child, keeps books of what it says, and comes back where its copy ended
//! when that router dies.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use serde_json::{Value, json};

use super::books::Books;
use crate::workspace::Workspace;

/// What the client's threads share.
pub type SharedBooks = Arc<Mutex<Books>>;

/// Looks into the books.
pub fn open(books: &SharedBooks) -> MutexGuard<'_, Books> {
    books.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A router with the client's end of its pipes.
pub struct Client {
    child: Child,
    stdin: ChildStdin,
    reader: JoinHandle<()>,
    paused: Arc<AtomicBool>,
    enveloped: bool,
}

impl Client {
    /// Starts a router, and follows what the books follow from where they end; prompts that are not acknowledged are
    /// sent again.
    pub fn start(workspace: &Workspace, books: &SharedBooks) -> Self {
        let mut command = workspace.command(&["router", "--daemon"]);
        let log = File::options()
            .append(true)
            .create(true)
            .open(workspace.path().join("routers.log"))
            .unwrap_or_else(|error| panic!("routers.log: {error}"));
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(log);
        let mut child = command
            .spawn()
            .unwrap_or_else(|error| panic!("no router ({command:?}): {error}"));
        let (Some(stdin), Some(stdout)) = (child.stdin.take(), child.stdout.take()) else {
            panic!("a router without pipes");
        };
        let (theirs, paused) = (Arc::clone(books), Arc::new(AtomicBool::new(false)));
        let pause = Arc::clone(&paused);
        let stdout = BufReader::with_capacity(1 << 16, stdout);
        let reader = std::thread::spawn(move || read(stdout, &theirs, &pause));
        let mut client = Self {
            child,
            stdin,
            reader,
            paused,
            // So that both spellings are spoken.
            enveloped: open(books).follows_all,
        };
        client.go_on(books);
        client
    }

    fn go_on(&mut self, books: &SharedBooks) {
        let mut commands = open(books).subscriptions();
        for swarm in &open(books).swarms {
            if swarm.ended.is_none() {
                // How the swarm is may have changed meanwhile, and is not said again.
                commands.push(json!({"command": "swarm_status", "swarm_id": swarm.swarm_id}));
            }
            commands.extend(swarm.unanswered());
        }
        for command in commands {
            self.send(&command);
        }
    }

    /// Sends a command; a router that is gone does not get it, which its reader will tell.
    pub fn send(&mut self, command: &Value) {
        let line = match self.enveloped {
            true => enveloped(command).to_string(),
            false => command.to_string(),
        };
        let _ = self.stdin.write_all(format!("{line}\n").as_bytes());
    }

    /// The router.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Whether it has ended and all that it said is in the books.
    pub fn is_over(&mut self) -> bool {
        self.child.try_wait().is_ok_and(|status| status.is_some()) && self.reader.is_finished()
    }

    /// Reads nothing, or reads on.
    pub fn pause(&self, pause: bool) {
        self.paused.store(pause, Ordering::Relaxed);
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A flat command in the other spelling.
fn enveloped(command: &Value) -> Value {
    let mut payload = command.clone();
    let mut envelope = json!({"protocol": "codeswarm.router.v1", "type": "command"});
    for name in ["command", "request_id"] {
        if let Some(value) = payload.as_object_mut().and_then(|fields| fields.remove(name)) {
            envelope[name] = value;
        }
    }
    envelope["payload"] = payload;
    envelope
}

/// An event as it is spelled flat.
fn flat(mut event: Value) -> Value {
    if event["type"] != "event" {
        return event;
    }
    let kind = event["event"].take();
    let mut data = event["data"].take();
    data["type"] = kind;
    data
}

fn read(mut stdout: impl BufRead, books: &SharedBooks, paused: &AtomicBool) {
    let mut line = Vec::new();
    loop {
        while paused.load(Ordering::Relaxed) {
            std::thread::sleep(Duration::from_millis(10));
        }
        line.clear();
        if !matches!(stdout.read_until(b'\n', &mut line), Ok(1..)) {
            return;
        }
        // The beginning of a line that was cut is no event.
        if !line.ends_with(b"\n") {
            return;
        }
        match serde_json::from_slice::<Value>(&line) {
            Ok(event) => open(books).take(&flat(event)),
            Err(error) => {
                let text = String::from_utf8_lossy(&line).into_owned();
                open(books).complain(format!("no event: {error}: {text}"));
            }
        }
    }
}
