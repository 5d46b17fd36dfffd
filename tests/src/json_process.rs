//! A child process that speaks JSON lines on its standard input and output.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::{Errno, ioctl_fionread};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::PATIENCE;

/// How much of the end of standard error is kept, in bytes.
const STDERR_KEPT: usize = 64 << 10;
/// How many of the last lines a failure shows, and how much of each.
const LINES_SHOWN: usize = 200;
const CHARS_SHOWN: usize = 400;

/// The process. It is killed when this value is dropped; what it has left behind is not.
///
/// Every line of its standard output must be a JSON object: the first that is not fails the test at its next wait, at
/// [`JsonProcess::wait_exit`], or at the end. Half a line at the end is one of these, unless the process was killed.
pub struct JsonProcess {
    name: String,
    child: Child,
    stdin: Option<ChildStdin>,
    seen: Arc<Seen>,
    /// The reading end of its standard error, once more.
    unread: Option<OwnedFd>,
    exited: Option<ExitStatus>,
    killed: bool,
}

#[derive(Default)]
struct Seen {
    state: Mutex<Output>,
    changed: Condvar,
}

#[derive(Default)]
struct Output {
    lines: Vec<Value>,
    not_an_object: Option<String>,
    /// What stood behind the last newline.
    unfinished: Option<String>,
    stdout_ended: bool,
    stderr: Vec<u8>,
}

impl JsonProcess {
    /// Starts a command with pipes for all three streams; `name` is for messages.
    pub fn spawn(name: &str, mut command: Command) -> Self {
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command
            .spawn()
            .unwrap_or_else(|error| panic!("{name} did not start ({command:?}): {error}"));
        let seen = Arc::new(Seen::default());
        // These threads end with the pipes. They are not joined: a process that the child left behind may hold a pipe.
        if let Some(stdout) = child.stdout.take() {
            let seen = Arc::clone(&seen);
            std::thread::spawn(move || seen.read_stdout(stdout));
        }
        let mut unread = None;
        if let Some(stderr) = child.stderr.take() {
            unread = stderr.as_fd().try_clone_to_owned().ok();
            let seen = Arc::clone(&seen);
            std::thread::spawn(move || seen.read_stderr(stderr));
        }
        Self {
            name: name.to_owned(),
            stdin: child.stdin.take(),
            child,
            seen,
            unread,
            exited: None,
            killed: false,
        }
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Writes one message as a line.
    pub fn send(&mut self, message: &Value) {
        self.send_raw(format!("{message}\n").as_bytes());
    }

    /// Writes bytes as they are.
    pub fn send_raw(&mut self, bytes: &[u8]) {
        let outcome = match &mut self.stdin {
            Some(stdin) => stdin.write_all(bytes).and_then(|()| stdin.flush()),
            None => panic!("{}: its standard input has been closed", self.name),
        };
        if let Err(error) = outcome {
            self.fail(&format!("does not read its standard input: {error}"));
        }
    }

    /// Ends its standard input.
    pub fn close_stdin(&mut self) {
        self.stdin.take();
    }

    /// All lines so far.
    pub fn lines(&self) -> Vec<Value> {
        self.seen.lock().lines.clone()
    }

    /// How many lines have come so far; for [`JsonProcess::wait_after`].
    pub fn mark(&self) -> usize {
        self.seen.lock().lines.len()
    }

    /// The end of its standard error so far.
    pub fn stderr(&self) -> String {
        String::from_utf8_lossy(&self.seen.lock().stderr).into_owned()
    }

    /// Waits for the first line, from the very first on, that satisfies `wanted`.
    pub fn wait_for(&self, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        self.wait_after(0, what, wanted)
    }

    /// The same among the lines after the first `mark`.
    pub fn wait_after(&self, mark: usize, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let deadline = Instant::now() + PATIENCE;
        let mut looked_at = mark;
        let mut output = self.seen.lock();
        loop {
            if let Some(line) = &output.not_an_object {
                let complaint = format!("wrote a line that is no JSON object: {}", shortened(line));
                drop(output);
                self.fail(&complaint);
            }
            let found = output.lines.iter().skip(looked_at).find(|line| wanted(line));
            if let Some(line) = found {
                return line.clone();
            }
            looked_at = output.lines.len().max(mark);
            let left = deadline.saturating_duration_since(Instant::now());
            if output.stdout_ended || left.is_zero() {
                let ended = output.stdout_ended;
                drop(output);
                self.fail(&match ended {
                    true => format!("ended its standard output before {what}"),
                    false => format!("has not sent {what} within {PATIENCE:?}"),
                });
            }
            output = match self.seen.changed.wait_timeout(output, left) {
                Ok((guard, _)) => guard,
                Err(poisoned) => poisoned.into_inner().0,
            };
        }
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        if let Some(pid) = i32::try_from(self.pid()).ok().and_then(Pid::from_raw)
            && self.exited.is_none()
        {
            // It may have ended just now, which the wait for its exit will tell.
            let _ = kill_process(pid, signal);
        }
    }

    /// Waits until it has exited and everything it wrote has been read.
    pub fn wait_exit(&mut self) -> ExitStatus {
        let deadline = Instant::now() + PATIENCE;
        let status = loop {
            match self.child.try_wait() {
                Ok(Some(status)) => break status,
                Ok(None) if Instant::now() < deadline => std::thread::sleep(Duration::from_millis(5)),
                Ok(None) => self.fail(&format!("has not exited within {PATIENCE:?}")),
                Err(error) => self.fail(&format!("cannot be waited for: {error}")),
            }
        };
        self.exited = Some(status);
        self.stdin.take();
        while !self.seen.lock().stdout_ended {
            if Instant::now() >= deadline {
                self.fail("exited, but something that it left behind holds its standard output open");
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        // Its standard error may be held open; what it wrote itself is in the pipe by now, or read.
        while self.has_unread() {
            if Instant::now() >= deadline {
                self.fail("exited, and something that it left behind goes on writing to its standard error");
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        self.check_lines();
        status
    }

    /// Kills it, as `kill -9` does, and waits until it is gone.
    pub fn kill(&mut self) {
        if self.exited.is_none() {
            self.killed = true;
            let _ = self.child.kill();
            self.exited = self.child.wait().ok();
        }
    }

    /// Fails the test with everything that was seen.
    #[track_caller]
    pub fn fail(&self, complaint: &str) -> ! {
        let output = self.seen.lock();
        let skipped = output.lines.len().saturating_sub(LINES_SHOWN);
        let mut report = format!("{} (pid {}) {complaint}\n", self.name, self.pid());
        report.push_str(&format!("-- its lines ({} earlier ones not shown):\n", skipped));
        for line in output.lines.iter().skip(skipped) {
            report.push_str(&shortened(&line.to_string()));
            report.push('\n');
        }
        report.push_str("-- its standard error:\n");
        report.push_str(&String::from_utf8_lossy(&output.stderr));
        drop(output);
        panic!("{report}");
    }

    /// Whether something stands in the pipe of its standard error. Under the lock, since it is read under it.
    fn has_unread(&self) -> bool {
        let _nothing_is_being_read = self.seen.lock();
        let unread = self.unread.as_ref().map(ioctl_fionread);
        unread.is_some_and(|bytes| bytes.is_ok_and(|bytes| bytes > 0))
    }

    fn check_lines(&self) {
        let output = self.seen.lock();
        let unfinished = output.unfinished.clone().filter(|_| !self.killed);
        let bad = output.not_an_object.clone().or(unfinished);
        drop(output);
        if let Some(line) = bad {
            self.fail(&format!("wrote a line that is no JSON object: {}", shortened(&line)));
        }
    }
}

impl Drop for JsonProcess {
    fn drop(&mut self) {
        self.kill();
        if !std::thread::panicking() {
            self.check_lines();
        }
    }
}

impl Seen {
    fn lock(&self) -> MutexGuard<'_, Output> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn read_stdout(&self, stdout: impl Read) {
        let mut stdout = BufReader::new(stdout);
        let mut line = Vec::new();
        loop {
            line.clear();
            let ended = !matches!(stdout.read_until(b'\n', &mut line), Ok(1..));
            let mut output = self.lock();
            if ended {
                output.stdout_ended = true;
            } else {
                let text = || String::from_utf8_lossy(&line).into_owned();
                match serde_json::from_slice::<Value>(&line) {
                    _ if !line.ends_with(b"\n") => output.unfinished = Some(text()),
                    Ok(value) if value.is_object() => output.lines.push(value),
                    _ => drop(output.not_an_object.get_or_insert_with(text)),
                }
            }
            self.changed.notify_all();
            if ended {
                return;
            }
        }
    }

    fn read_stderr(&self, mut stderr: impl Read + AsFd) {
        let mut piece = [0; 4096];
        loop {
            // It is read under the lock: what is no longer in the pipe is known.
            while let Err(error) = poll(&mut [PollFd::new(&stderr, PollFlags::IN)], None) {
                assert_eq!(error, Errno::INTR);
            }
            let kept = &mut self.lock().stderr;
            let Ok(length @ 1..) = stderr.read(&mut piece) else {
                return;
            };
            kept.extend_from_slice(&piece[..length]);
            let excess = kept.len().saturating_sub(STDERR_KEPT);
            kept.drain(..excess);
        }
    }
}

fn shortened(line: &str) -> String {
    match line.char_indices().nth(CHARS_SHOWN) {
        Some((end, _)) => format!("{}… ({} bytes)", &line[..end], line.len()),
        None => line.to_owned(),
    }
}
