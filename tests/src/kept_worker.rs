//! A worker as a Slurm job has it: under a keeper, with its swarm's launch file, and nobody else on the mailbox.

use std::io::Write;
use std::path::PathBuf;
use std::process::Command;

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::json_process::JsonProcess;
use crate::processes::Process;
use crate::workspace::{Workspace, wait_until};

/// The job of these tests, and its only node.
pub const JOB: &str = "272900";

/// The place of one worker.
pub struct KeptWorker<'w> {
    workspace: &'w Workspace,
    flags: Vec<String>,
}

impl<'w> KeptWorker<'w> {
    /// With a launch file for one node with the `echo` agent.
    pub fn new(workspace: &'w Workspace) -> Self {
        let worker = Self {
            workspace,
            flags: Vec::new(),
        };
        worker.launch(json!({"version": version(workspace), "node_count": 1, "agent": {"kind": "echo"}}));
        worker
    }

    /// With further flags.
    #[must_use]
    pub fn with(mut self, flags: &[&str]) -> Self {
        self.flags.extend(flags.iter().map(|flag| (*flag).to_owned()));
        self
    }

    /// The swarm's launch file.
    pub fn launch_file(&self) -> PathBuf {
        self.root().join("launch/s-1.json")
    }

    /// The mailbox's root.
    pub fn root(&self) -> PathBuf {
        self.workspace.path().join("shared/codeswarm")
    }

    /// Writes the launch file.
    pub fn launch(&self, spec: Value) {
        use std::os::unix::fs::DirBuilderExt;
        let folder = self.root().join("launch");
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&folder)
            .unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
        std::fs::write(self.launch_file(), spec.to_string())
            .unwrap_or_else(|error| panic!("{}: {error}", self.launch_file().display()));
    }

    /// Starts the keeper, or with `kept` false the worker alone. Its place comes from Slurm's variables.
    pub fn start(&self, kept: bool) -> JsonProcess {
        let flags: &[&str] = if kept { &["--keep"] } else { &[] };
        JsonProcess::spawn("keeper", self.command(flags))
    }

    /// What Slurm runs after the task, to its end; it must be content.
    pub fn end_task(&self) {
        let output = self
            .command(&["--task-ended"])
            .output()
            .unwrap_or_else(|error| panic!("codeswarm worker --task-ended: {error}"));
        assert!(output.status.success() && output.stdout.is_empty(), "{output:?}");
    }

    fn command(&self, flags: &[&str]) -> Command {
        let mut command: Command = self.workspace.bare_command();
        command
            .args(["worker", "--launch"])
            .arg(self.launch_file())
            .args(&self.flags)
            .args(flags)
            .env("SLURM_JOB_ID", JOB)
            .env("SLURM_PROCID", "0")
            .env("SLURMD_NODENAME", "node0")
            .env("CODESWARM_ROOT", self.root());
        command
    }

    /// The worker below the keeper.
    pub fn worker(&self) -> Process {
        wait_until("a kept worker", || {
            let found = self.workspace.processes_named("--kept-by").pop();
            found.ok_or_else(|| format!("{:?}", self.workspace.processes()))
        })
    }

    /// Kills the worker of this life.
    pub fn kill_worker(&self) {
        self.workspace.signal(&self.worker(), Signal::KILL);
    }

    /// Appends a prompt to the inbox, as a follower does.
    pub fn prompt(&self, injection: &str, content: &str) {
        let record = json!({"type": "user", "injection_id": injection, "content": content});
        let path = self.workspace.mailbox("inbox").join(format!("{JOB}_00.jsonl"));
        let mut inbox = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(&path)
            .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        writeln!(inbox, "{record}").unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    }

    /// What the outbox says; empty where there is none yet.
    pub fn records(&self) -> Vec<Value> {
        let name = format!("{JOB}_00.jsonl");
        let there = ["outbox", "archive"]
            .iter()
            .any(|folder| self.workspace.mailbox(folder).join(&name).exists());
        if there {
            self.workspace.records(JOB, 0)
        } else {
            Vec::new()
        }
    }

    /// Waits for a record of this type in this epoch.
    pub fn wait_for(&self, kind: &str, epoch: u64) -> Value {
        wait_until(&format!("{kind} in epoch {epoch}"), || {
            let records = self.records();
            let found = records
                .iter()
                .find(|record| record["type"] == kind && record["epoch"] == epoch);
            found.cloned().ok_or_else(|| format!("{records:#?}"))
        })
    }

    /// Waits for the start of an injection's turn.
    pub fn wait_for_turn(&self, injection: &str) {
        wait_until(&format!("the turn of {injection}"), || {
            let records = self.records();
            let started = |record: &Value| record["injection_id"] == injection && record["type"] == "turn_started";
            if records.iter().any(started) {
                Ok(())
            } else {
                Err(format!("{records:#?}"))
            }
        });
    }

    /// Waits for the end of an injection.
    pub fn end_of(&self, injection: &str) -> Value {
        wait_until(&format!("the end of {injection}"), || {
            let records = self.records();
            ends_of(&records, injection)
                .pop()
                .ok_or_else(|| format!("{records:#?}"))
        })
    }

    /// Holds the whole outbox: archived, numbers without gaps, epochs that never go back, one end for each injection, and
    /// `worker_exit` last. Returns its records.
    pub fn assert_whole(&self, injections: &[&str]) -> Vec<Value> {
        let archive = self.workspace.mailbox("archive").join(format!("{JOB}_00.jsonl"));
        assert!(archive.exists(), "{:?}", self.workspace.mailbox_files().keys());
        let records = self.records();
        for (record, seq) in records.iter().zip(1_u64..) {
            assert_eq!(record["seq"], seq, "{records:#?}");
        }
        assert!(
            records.is_sorted_by_key(|record| record["epoch"].as_u64()),
            "{records:#?}"
        );
        assert_eq!(records.last().map(|last| &last["type"]), Some(&json!("worker_exit")));
        for injection in injections {
            assert_eq!(ends_of(&records, injection).len(), 1, "{records:#?}");
        }
        records
    }
}

fn ends_of(records: &[Value], injection: &str) -> Vec<Value> {
    records
        .iter()
        .filter(|record| record["injection_id"] == injection)
        .filter(|record| record["type"] == "turn_complete" || record["type"] == "inject_failed")
        .cloned()
        .collect()
}

/// The version that the program says of itself.
pub fn version(workspace: &Workspace) -> String {
    let output = workspace
        .bare_command()
        .arg("--version")
        .output()
        .unwrap_or_else(|error| panic!("codeswarm --version: {error}"));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.split_whitespace()
        .last()
        .unwrap_or_else(|| panic!("codeswarm --version said {text:?}"))
        .to_owned()
}
