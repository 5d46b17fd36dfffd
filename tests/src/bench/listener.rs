//! A client that measures: of most lines it looks at a few bytes, so that it keeps up with the router.
//!
//! Marked deltas (see [`marks`]) become latencies; the numbers of each node's records are checked for gaps and repeats; only
//! answers and the router's own words about swarms are parsed and kept.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{ChildStdin, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use serde_json::{Value, json};

use super::usage::Killed;
use crate::swarm_simulator::marks;

/// How long something is waited for that must come.
const PATIENCE: Duration = Duration::from_secs(180);

/// What has come so far.
#[derive(Debug, Default)]
pub struct Heard {
    /// Lines.
    pub lines: u64,
    /// Bytes.
    pub bytes: u64,
    /// Turns that are complete.
    pub turns: u64,
    /// Prompts that are in their inboxes.
    pub delivered: u64,
    /// Pieces of answers.
    pub deltas: u64,
    /// How old each marked delta was, in seconds.
    pub latencies: Vec<f64>,
    /// Records of workers.
    pub records: u64,
    /// Records that were missing when a later one came.
    pub missed: u64,
    /// Records that came again, or late.
    pub repeated: u64,
    /// When the last line came.
    pub last: Option<Instant>,
    /// The last record's number, by node.
    last_seq: HashMap<u64, u64>,
    /// Acknowledged prompts of the request that was acknowledged last.
    acknowledged: (Vec<u8>, u64),
    kept: Vec<Value>,
    ended: bool,
}

#[derive(Default)]
struct Shared {
    heard: Mutex<Heard>,
    changed: Condvar,
}

/// The client: of a router that is its child, or attached to the socket of one.
pub struct Listener {
    shared: Arc<Shared>,
    way: Way,
    requests: u32,
}

enum Way {
    Child(Killed, Option<ChildStdin>),
    Socket(UnixStream),
}

impl Listener {
    /// Starts a router.
    #[track_caller]
    pub fn start(mut command: Command) -> Self {
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit());
        let mut child = Killed::spawn(&mut command);
        let shared = Arc::new(Shared::default());
        let stdin = child.0.stdin.take();
        if let Some(stdout) = child.0.stdout.take() {
            listen(Arc::clone(&shared), stdout);
        }
        Self {
            shared,
            way: Way::Child(child, stdin),
            requests: 0,
        }
    }

    /// Attaches to a router's socket. One that is deaf never reads.
    #[track_caller]
    pub fn attach(socket: &Path, deaf: bool) -> Self {
        let stream = UnixStream::connect(socket).unwrap_or_else(|error| panic!("{}: {error}", socket.display()));
        let shared = Arc::new(Shared::default());
        if !deaf {
            let reading = stream
                .try_clone()
                .unwrap_or_else(|error| panic!("{}: {error}", socket.display()));
            listen(Arc::clone(&shared), reading);
        }
        Self {
            shared,
            way: Way::Socket(stream),
            requests: 0,
        }
    }

    /// The router's process, if it is this client's child.
    #[track_caller]
    pub fn pid(&self) -> u32 {
        match &self.way {
            Way::Child(child, _) => child.0.id(),
            Way::Socket(_) => panic!("a client on a socket has no child"),
        }
    }

    /// Sends a command; its request id.
    #[track_caller]
    pub fn ask(&mut self, mut command: Value) -> String {
        self.requests += 1;
        let request = format!(
            "bench-{}-{:p}-{}",
            std::process::id(),
            Arc::as_ptr(&self.shared),
            self.requests
        );
        command["request_id"] = json!(request);
        let line = format!("{command}\n");
        let sent = match &mut self.way {
            Way::Child(_, Some(stdin)) => stdin.write_all(line.as_bytes()),
            Way::Child(_, None) => panic!("its standard input was closed"),
            Way::Socket(stream) => stream.write_all(line.as_bytes()),
        };
        sent.unwrap_or_else(|error| panic!("{command} could not be sent: {error}"));
        request
    }

    /// Sends a command and waits for its answer.
    #[track_caller]
    pub fn asked(&mut self, command: Value, kind: &str) -> Value {
        let request = self.ask(command);
        let answer = self.wait_for(kind, |event| {
            event["request_id"] == *request && (event["type"] == kind || event["type"] == "command_rejected")
        });
        assert_eq!(answer["type"], kind, "{answer}");
        answer
    }

    /// Waits for a line that is kept.
    #[track_caller]
    pub fn wait_for(&self, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        self.wait(what, |heard| heard.kept.iter().find(|event| wanted(event)).cloned())
    }

    /// Waits until something can be said of what was heard.
    #[track_caller]
    pub fn wait<T>(&self, what: &str, look: impl Fn(&Heard) -> Option<T>) -> T {
        let deadline = Instant::now() + PATIENCE;
        let mut heard = self.heard();
        loop {
            if let Some(found) = look(&heard) {
                return found;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() || heard.ended {
                let kept: Vec<_> = heard.kept.iter().rev().take(5).map(Value::to_string).collect();
                let (lines, ended) = (heard.lines, heard.ended);
                drop(heard);
                panic!("no {what}: {lines} lines came, ended: {ended}; the last ones kept: {kept:#?}");
            }
            heard = match self.shared.changed.wait_timeout(heard, left) {
                Ok((guard, _)) => guard,
                Err(poisoned) => poisoned.into_inner().0,
            };
        }
    }

    /// What was heard, under its lock: it is not to be held.
    pub fn heard(&self) -> MutexGuard<'_, Heard> {
        self.shared.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the latencies so far.
    pub fn take_latencies(&self) -> Vec<f64> {
        std::mem::take(&mut self.heard().latencies)
    }

    /// Ends the router by ending its input, and waits for it.
    pub fn leave(mut self) {
        if let Way::Child(child, stdin) = &mut self.way {
            stdin.take();
            let _ = child.0.wait();
        }
    }
}

fn listen(shared: Arc<Shared>, stream: impl Read + Send + 'static) {
    std::thread::spawn(move || {
        let mut stream = BufReader::with_capacity(1 << 20, stream);
        // All whole lines of a buffer under one lock.
        while let Ok(piece) = stream.fill_buf() {
            if piece.is_empty() {
                break;
            }
            let Some(end) = memchr::memrchr(b'\n', piece) else {
                let mut line = Vec::new();
                match stream.read_until(b'\n', &mut line) {
                    Ok(1..) => shared.take(&line),
                    _ => break,
                }
                continue;
            };
            shared.take(&piece[..=end]);
            stream.consume(end + 1);
        }
        let mut heard = shared.heard.lock().unwrap_or_else(PoisonError::into_inner);
        heard.ended = true;
        shared.changed.notify_all();
    });
}

impl Shared {
    fn take(&self, lines: &[u8]) {
        let (now, wall) = (Instant::now(), SystemTime::now());
        let mut heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        heard.bytes += lines.len() as u64;
        heard.last = Some(now);
        for line in lines.split_inclusive(|byte| *byte == b'\n') {
            heard.line(line, wall);
        }
        drop(heard);
        self.changed.notify_all();
    }
}

impl Heard {
    fn line(&mut self, line: &[u8], wall: SystemTime) {
        self.lines += 1;
        let kind = line.strip_prefix(b"{\"type\":\"").unwrap_or_default();
        if kind.starts_with(b"assistant_delta\"") {
            self.deltas += 1;
            if let Some(written) = marks::find(line) {
                let age = wall.duration_since(written).unwrap_or_default();
                self.latencies.push(age.as_secs_f64());
            }
        } else if kind.starts_with(b"turn_complete\"") {
            self.turns += 1;
        } else if kind.starts_with(b"inject_delivered\"") {
            self.delivered += 1;
        } else if kind.starts_with(b"inject_ack\"") {
            self.acknowledgement(line);
        } else if let Some(kept) = Self::is_kept(kind).then(|| serde_json::from_slice(line)) {
            self.kept.extend(kept.ok());
        }
        let number = |key: &[u8]| marks::number_behind(line, key);
        // The router's own words stand behind a record and have a second number.
        if number(b"\"sub\":").is_some() {
            return;
        }
        if let (Some(seq), Some(node)) = (number(b"\"seq\":"), number(b"\"node_id\":")) {
            let last = self.last_seq.entry(node).or_default();
            self.records += 1;
            if seq <= *last {
                self.repeated += 1;
            } else {
                self.missed += seq - *last - 1;
                *last = seq;
            }
        }
    }

    fn acknowledgement(&mut self, line: &[u8]) {
        const KEY: &[u8] = b"\"request_id\":\"";
        let Some(at) = memchr::memmem::find(line, KEY) else {
            return;
        };
        let request = line[at + KEY.len()..]
            .split(|byte| *byte == b'"')
            .next()
            .unwrap_or_default();
        if self.acknowledged.0 != request {
            self.acknowledged = (request.to_vec(), 0);
        }
        self.acknowledged.1 += 1;
    }

    /// How many prompts of this request, if it is the last one, are acknowledged.
    pub fn acknowledged(&self, request: &str) -> u64 {
        let (last, count) = &self.acknowledged;
        if last == request.as_bytes() { *count } else { 0 }
    }

    fn is_kept(kind: &[u8]) -> bool {
        const KEPT: [&[u8]; 8] = [
            b"swarm_",
            b"pong",
            b"subscribed",
            b"caught_up",
            b"command_rejected",
            b"link",
            b"inject_failed",
            b"router_",
        ];
        KEPT.iter().any(|kept| kind.starts_with(kept))
    }

    /// Forgets the answers that were kept, where many come.
    pub fn forget_answers(&mut self) {
        self.kept.clear();
    }

    /// How many nodes have been heard of.
    pub fn nodes(&self) -> usize {
        self.last_seq.len()
    }
}
