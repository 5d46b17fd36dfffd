//! A temporary folder in which one test runs Codeswarm: configuration, state, mailbox and home are all in it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::{Map, Value, json};
use tempfile::TempDir;

use crate::model_server::{KEY, KEY_VARIABLE, MODEL, ModelServer, PROVIDER};
use crate::processes::{self, Process};
use crate::{PATIENCE, requires};

/// The folder. When it is dropped, every process that was started in it is killed, then it is removed.
///
/// Declare it before the processes that use it: Rust drops in the opposite order.
pub struct Workspace {
    folder: TempDir,
    config: Value,
}

impl Workspace {
    /// With the built-in agent.
    pub fn echo() -> Self {
        Self::with_agent(json!({"kind": "echo"}))
    }

    /// With the real Codex, talking to a model server of the test.
    pub fn codex(codex: &Path, model: &ModelServer) -> Self {
        let mut env = Map::new();
        env.insert(KEY_VARIABLE.into(), json!(format!("${{{KEY_VARIABLE}}}")));
        Self::with_agent(json!({
            "kind": "codex",
            "command": [codex],
            "model": MODEL,
            "model_provider": PROVIDER,
            "sandbox": "danger-full-access",
            "approval_policy": "never",
            "env": env,
            "config": model.codex_settings(),
        }))
    }

    fn with_agent(agent: Value) -> Self {
        // A short name: the path of the router's socket has a limit of about 100 bytes.
        let folder = tempfile::Builder::new()
            .prefix("cs-")
            .tempdir()
            .unwrap_or_else(|error| panic!("no temporary folder: {error}"));
        for name in ["home", "tmp", "shared"] {
            std::fs::create_dir(folder.path().join(name))
                .unwrap_or_else(|error| panic!("no folder {name} in {}: {error}", folder.path().display()));
        }
        let config = json!({
            "cluster": {
                "backend": "local",
                "workspace_root": folder.path().join("shared"),
                "cluster_subdir": "codeswarm",
            },
            "router": {"state_dir": folder.path().join("state")},
            "agent": agent,
            "worker": {"heartbeat_seconds": 1},
        });
        let workspace = Self { folder, config };
        workspace.write_config();
        workspace
    }

    /// Changes the configuration before anything is started.
    #[must_use]
    pub fn configured(mut self, change: impl FnOnce(&mut Value)) -> Self {
        change(&mut self.config);
        self.write_config();
        self
    }

    fn write_config(&self) {
        let text = format!("{:#}\n", self.config);
        std::fs::write(self.config_path(), text)
            .unwrap_or_else(|error| panic!("{} cannot be written: {error}", self.config_path().display()));
    }

    /// The folder itself.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// The configuration file.
    pub fn config_path(&self) -> PathBuf {
        self.path().join("config.json")
    }

    /// The router's state.
    pub fn state_dir(&self) -> PathBuf {
        self.path().join("state")
    }

    /// A folder of the mailbox: `inbox`, `outbox` or `archive`.
    pub fn mailbox(&self, folder: &str) -> PathBuf {
        self.path().join("shared/codeswarm/mailbox").join(folder)
    }

    /// The working directory of a node's agent.
    pub fn node_dir(&self, job_id: &str, node: u32) -> PathBuf {
        self.path()
            .join("shared/codeswarm/runs")
            .join(job_id)
            .join(format!("node_{node:02}"))
    }

    /// The records of a node, from its outbox or, once that has been renamed, from the archive.
    pub fn records(&self, job_id: &str, node: u32) -> Vec<Value> {
        self.records_if_any(job_id, node)
            .unwrap_or_else(|| panic!("{job_id}_{node:02}.jsonl is neither in outbox nor in archive"))
    }

    /// The same; `None` while its outbox has not been made, which a launch may come before.
    pub fn records_if_any(&self, job_id: &str, node: u32) -> Option<Vec<Value>> {
        let name = format!("{job_id}_{node:02}.jsonl");
        // The archive is looked at last, so that a rename in between is not missed.
        let text = ["outbox", "archive"]
            .iter()
            .find_map(|folder| std::fs::read_to_string(self.mailbox(folder).join(&name)).ok())?;
        let record = |line: &str| serde_json::from_str(line).unwrap_or_else(|error| panic!("{name}: {error}: {line}"));
        // A line without its newline is not there yet.
        let whole = text.split_inclusive('\n').filter(|line| line.ends_with('\n'));
        Some(whole.map(record).collect())
    }

    /// Every file in the mailbox's inboxes, outboxes and archive, with what is in it.
    pub fn mailbox_files(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let mut files = BTreeMap::new();
        for folder in ["inbox", "outbox", "archive"] {
            let folder = self.mailbox(folder);
            let entries = std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
            for entry in entries.flatten() {
                let content =
                    std::fs::read(entry.path()).unwrap_or_else(|error| panic!("{}: {error}", entry.path().display()));
                files.insert(entry.path(), content);
            }
        }
        files
    }

    /// The router's socket, where a test can be a client that does not behave.
    pub fn socket(&self) -> PathBuf {
        self.state_dir().join("router.sock")
    }

    /// The `codeswarm` program with these arguments and this configuration, in an environment of its own.
    ///
    /// `--config FILE` is put behind the first argument, the subcommand.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.bare_command();
        if let Some((subcommand, rest)) = arguments.split_first() {
            command
                .arg(subcommand)
                .arg("--config")
                .arg(self.config_path())
                .args(rest);
        }
        command
    }

    /// The `codeswarm` program without arguments, in the same environment.
    pub fn bare_command(&self) -> Command {
        let mut command = Command::new(requires::codeswarm());
        self.set_environment(&mut command);
        command
    }

    /// Gives any command the environment in which [`Workspace::processes`] finds it and its children.
    pub fn set_environment(&self, command: &mut Command) {
        const FOREIGN: [&str; 4] = ["CODESWARM_", "SLURM_", "CODEX_", "XDG_"];
        for (name, _) in std::env::vars_os() {
            if FOREIGN
                .iter()
                .any(|prefix| name.as_encoded_bytes().starts_with(prefix.as_bytes()))
            {
                command.env_remove(name);
            }
        }
        command
            .current_dir(self.path())
            .env("HOME", self.path().join("home"))
            .env("TMPDIR", self.path().join("tmp"))
            // Stays also where an agent is given a home of its own.
            .env("WORKSPACE_OF_TEST", self.path())
            .env(KEY_VARIABLE, KEY);
    }

    /// The processes that run in this workspace.
    pub fn processes(&self) -> Vec<Process> {
        processes::of(self.path())
    }

    /// The processes whose command line contains `part`.
    pub fn processes_named(&self, part: &str) -> Vec<Process> {
        let mut found = self.processes();
        found.retain(|process| process.command_line.contains(part));
        found
    }

    /// Sends a signal to a process of this workspace.
    pub fn signal(&self, process: &Process, signal: Signal) {
        processes::signal(process, self.path(), signal);
    }

    /// Waits until nothing runs in this workspace any more.
    pub fn wait_until_quiet(&self) {
        wait_until("nothing runs in the workspace", || match self.processes() {
            running if running.is_empty() => Ok(()),
            running => Err(format!("still running: {running:#?}")),
        });
    }

    /// Waits until only this process runs in this workspace.
    pub fn wait_until_quiet_but_for(&self, pid: u32) {
        wait_until("nothing else runs in the workspace", || {
            let mut running = self.processes();
            running.retain(|process| u32::try_from(process.pid) != Ok(pid));
            if running.is_empty() {
                Ok(())
            } else {
                Err(format!("still running: {running:#?}"))
            }
        });
    }

    fn kill_everything(&self) {
        // A process that is just being started may be missed in one round.
        for _ in 0..100 {
            let running = self.processes();
            if running.is_empty() {
                return;
            }
            for process in &running {
                self.signal(process, Signal::KILL);
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Workspace {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let running = self.processes();
            let log = std::fs::read_to_string(self.state_dir().join("router.log")).unwrap_or_default();
            let shown: Vec<_> = log.lines().rev().take(40).collect();
            eprintln!(
                "-- running in {}: {running:#?}\n-- end of router.log:",
                self.path().display()
            );
            for line in shown.iter().rev() {
                eprintln!("{line}");
            }
        }
        self.kill_everything();
    }
}

/// Waits until `look` returns `Ok`, and returns what is in it; what the last `Err` said is in the message otherwise.
pub fn wait_until<T>(what: &str, mut look: impl FnMut() -> Result<T, String>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match look() {
            Ok(found) => return found,
            Err(state) if Instant::now() >= deadline => panic!("not within {PATIENCE:?}: {what}; {state}"),
            Err(_) => std::thread::sleep(Duration::from_millis(10)),
        }
    }
}
