//! A user with an empty home, who types `codeswarm`.

use std::io::{BufRead, BufReader, Read};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::Pid;
use serde_json::Value;

/// Nothing here takes nearly as long; it keeps a fault from hanging the tests.
pub const DEADLINE: Duration = Duration::from_secs(60);

pub struct User {
    folder: tempfile::TempDir,
}

impl User {
    pub fn new() -> Self {
        let folder = tempfile::Builder::new().prefix("codeswarm-cli-").tempdir().unwrap();
        let user = Self { folder };
        user.configure(&serde_json::json!({}));
        user
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn config(&self) -> PathBuf {
        self.path("config.json")
    }

    /// Writes the configuration: everything in this user's folder, and `more` at the top level.
    pub fn configure(&self, more: &Value) {
        let mut config = serde_json::json!({
            "cluster": {"backend": "local", "workspace_root": self.path("workspace")},
            "router": {"state_dir": self.path("state"), "idle_exit_seconds": 20},
        });
        for (key, value) in more.as_object().unwrap() {
            config[key] = value.clone();
        }
        std::fs::write(self.config(), config.to_string()).unwrap();
    }

    /// `codeswarm ARGS --config <this user's>`, not started yet.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_codeswarm"));
        command.args(args).arg("--config").arg(self.config());
        command
            .env_clear()
            .env("HOME", self.folder.path())
            .env("PATH", std::env::var_os("PATH").unwrap());
        command.env("TMPDIR", std::env::temp_dir());
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// Runs it to its end.
    pub fn run(&self, args: &[&str]) -> Ended {
        Running::start(&mut self.command(args)).end()
    }

    /// Runs it to its end, which must be 0, and returns its output.
    pub fn ok(&self, args: &[&str]) -> String {
        let ended = self.run(args);
        assert_eq!(ended.code, Some(0), "{args:?}: {ended:?}");
        ended.stdout
    }

    pub fn start(&self, args: &[&str]) -> Running {
        Running::start(&mut self.command(args))
    }

    /// The router's pid.
    pub fn router(&self) -> Pid {
        pid_in(&self.ok(&["ping", "--json"]))
    }

    /// The pid of the router that somebody starts in the place of one that was killed. What a command prints meanwhile may still be that
    /// one's.
    pub fn router_after(&self, killed: Pid) -> Pid {
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            let pong = self.run(&["ping", "--json"]);
            let pid = (pong.code == Some(0)).then(|| pid_in(&pong.stdout));
            if let Some(pid) = pid.filter(|pid| *pid != killed) {
                return pid;
            }
            assert!(Instant::now() < deadline, "no router after {killed:?}: {pong:?}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// The swarm whose id a launch printed.
    pub fn launch(&self, args: &[&str]) -> String {
        let stdout = self.ok(&[&["launch"], args].concat());
        stdout.trim().to_owned()
    }

    /// The swarms, by id, as `list --json` tells.
    pub fn swarms(&self) -> serde_json::Map<String, Value> {
        let list: Value = serde_json::from_str(&self.ok(&["list", "--json"])).unwrap();
        list["swarms"].as_object().unwrap().clone()
    }
}

fn pid_in(pong: &str) -> Pid {
    let pong: Value = serde_json::from_str(pong).unwrap();
    let pid = pong["pid"].as_i64().unwrap();
    Pid::from_raw(i32::try_from(pid).unwrap()).unwrap()
}

impl Drop for User {
    /// Leaves nothing running: ends what the test left, then the router.
    fn drop(&mut self) {
        if !self.path("state/router.lock").exists() {
            return;
        }
        let list = Running::start(&mut self.command(&["list", "--json"])).end();
        if let Ok(list) = serde_json::from_str::<Value>(&list.stdout) {
            for id in list["swarms"].as_object().into_iter().flatten().map(|(id, _)| id) {
                Running::start(&mut self.command(&["terminate", id])).end();
            }
        }
        Running::start(&mut self.command(&["shutdown"])).end();
    }
}

#[derive(Debug)]
pub struct Ended {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Ended {
    /// Standard output as JSON lines, nothing else on it.
    pub fn events(&self) -> Vec<Value> {
        self.stdout
            .lines()
            .map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("{line}")))
            .collect()
    }
}

pub struct Running {
    child: Child,
    stdout: BufReader<std::process::ChildStdout>,
    /// What was read of standard output so far.
    read: String,
    watchdog: Watchdog,
}

/// Kills a process that takes far too long, so that the test that reads from it fails instead of hanging.
struct Watchdog(#[expect(dead_code, reason = "its drop is the sign of life")] std::sync::mpsc::Sender<()>);

impl Watchdog {
    fn of(child: &Child) -> Self {
        let pid = rustix::process::Pid::from_child(child);
        let (alive, over) = std::sync::mpsc::channel::<()>();
        std::thread::spawn(move || {
            if over.recv_timeout(DEADLINE) == Err(std::sync::mpsc::RecvTimeoutError::Timeout) {
                let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
            }
        });
        Self(alive)
    }
}

impl Running {
    pub fn start(command: &mut Command) -> Self {
        let mut child = command.spawn().unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let watchdog = Watchdog::of(&child);
        Self {
            child,
            stdout,
            read: String::new(),
            watchdog,
        }
    }

    pub fn pid(&self) -> rustix::process::Pid {
        rustix::process::Pid::from_child(&self.child)
    }

    pub fn signal(&self, signal: rustix::process::Signal) {
        rustix::process::kill_process(self.pid(), signal).unwrap();
    }

    /// Reads lines until one contains `text`.
    pub fn wait_for(&mut self, text: &str) -> String {
        loop {
            let mut line = String::new();
            let length = self.stdout.read_line(&mut line).unwrap();
            self.read += &line;
            assert!(length > 0, "the output ended before {text:?} came:\n{}", self.read);
            if line.contains(text) {
                return line;
            }
        }
    }

    /// Closes our end of its standard output and waits for its end.
    pub fn close_stdout(mut self) -> std::process::ExitStatus {
        drop(self.stdout);
        let status = self.child.wait().unwrap();
        drop(self.watchdog);
        status
    }

    pub fn end(mut self) -> Ended {
        let errors = self.child.stderr.take().map(|mut stderr| {
            std::thread::spawn(move || {
                let mut text = String::new();
                stderr.read_to_string(&mut text).unwrap();
                text
            })
        });
        self.stdout.read_to_string(&mut self.read).unwrap();
        let status = self.child.wait().unwrap();
        drop(self.watchdog);
        Ended {
            code: status.code(),
            stdout: self.read,
            stderr: errors.map(|errors| errors.join().unwrap()).unwrap_or_default(),
        }
    }
}

/// Looks until it is so.
pub fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + DEADLINE;
    while !is_so() {
        assert!(Instant::now() < deadline, "not within {DEADLINE:?}: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}
