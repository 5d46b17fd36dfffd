//! A mailbox in a temporary folder, and real workers in it.

use std::fs;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use codeswarm_mailbox::Mailbox;
use codeswarm_protocol::record::{Word, WorkerRecord};
use codeswarm_protocol::{InjectionId, JobId, NodeId, Place, VERSION};
use serde_json::{Value, json};

/// How long anything may take on a machine that is busy with other things.
const PATIENCE: Duration = Duration::from_secs(60);

/// One node's place.
pub struct Node {
    folder: tempfile::TempDir,
    pub mailbox: Mailbox,
    pub place: Place,
}

/// A worker's process; killed when the test is over.
pub struct Worker {
    process: Child,
    log: PathBuf,
}

impl Node {
    pub fn new() -> Self {
        Self::with(json!({}))
    }

    /// `changes` are merged into the launch file's top level.
    pub fn with(changes: Value) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mailbox = Mailbox::at(folder.path().join("swarm"));
        let place = Place::new(JobId::new("7").unwrap(), NodeId::new(0).unwrap());
        mailbox.create().unwrap();
        mailbox.prepare(&place.job_id, 1).unwrap();
        let mut launch = json!({"version": VERSION, "job_id": "7", "node_count": 1, "agent": {"kind": "echo"}});
        for (key, value) in changes.as_object().unwrap() {
            launch[key] = value.clone();
        }
        fs::write(mailbox.launch_file(&place.job_id), launch.to_string()).unwrap();
        fs::create_dir(folder.path().join("tmp")).unwrap();
        Self { folder, mailbox, place }
    }

    pub fn temporary(&self) -> PathBuf {
        self.folder.path().join("tmp")
    }

    pub fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_codeswarm-worker"));
        command
            .env("SLURM_JOB_ID", "7")
            .env("SLURM_PROCID", "0")
            .env("CODESWARM_ROOT", self.mailbox.root())
            .env("TMPDIR", self.temporary())
            .env("RUST_LOG", "warn");
        command
    }

    pub fn start(&self) -> Worker {
        self.spawn(self.command())
    }

    pub fn spawn(&self, mut command: Command) -> Worker {
        let log = self.folder.path().join("log");
        let to_log = fs::OpenOptions::new().create(true).append(true).open(&log).unwrap();
        let command = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(to_log);
        Worker {
            process: command.spawn().unwrap(),
            log,
        }
    }

    /// Appends a line to the inbox as the follower would.
    pub fn append(&self, line: &str) {
        let mut inbox = fs::OpenOptions::new()
            .append(true)
            .open(self.mailbox.inbox(&self.place))
            .unwrap();
        inbox.write_all(format!("{line}\n").as_bytes()).unwrap();
    }

    pub fn prompt(&self, injection: &str, content: &str) {
        self.append(&json!({"type": "user", "injection_id": injection, "content": content}).to_string());
    }

    /// Every whole record so far, wherever the outbox is. Their numbers must have no gap at any moment.
    pub fn records(&self) -> Vec<WorkerRecord> {
        let outbox = || fs::read(self.mailbox.outbox(&self.place));
        // It may be renamed between two looks, either way.
        let text = outbox()
            .or_else(|_| fs::read(self.mailbox.archive(&self.place)))
            .or_else(|_| outbox())
            .unwrap();
        let whole = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        // A line that a life has left unfinished is no record; it is ended by the next life.
        let lines = || text[..whole].split_inclusive(|byte| *byte == b'\n');
        let records: Vec<WorkerRecord> = lines().filter_map(|line| serde_json::from_slice(line).ok()).collect();
        let lives = records.last().map_or(0, |record| record.epoch.0);
        let torn = u32::try_from(lines().count() - records.len()).unwrap();
        assert!(torn < lives.max(1), "{torn} lines of {lives} lives are no records");
        for (at, record) in records.iter().enumerate() {
            assert_eq!(record.seq.0, u64::try_from(at + 1).unwrap(), "{record:?}");
        }
        records
    }

    /// Waits until the records satisfy `enough`.
    pub fn wait(&self, what: &str, enough: impl Fn(&[WorkerRecord]) -> bool) -> Vec<WorkerRecord> {
        let since = Instant::now();
        loop {
            let records = self.records();
            if enough(&records) {
                return records;
            }
            assert!(
                since.elapsed() < PATIENCE,
                "{what} did not come; there are {records:#?}"
            );
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    pub fn wait_for(&self, what: &str, wanted: impl Fn(&WorkerRecord) -> bool) -> Vec<WorkerRecord> {
        self.wait(what, |records| records.iter().any(&wanted))
    }

    pub fn is_archived(&self) -> bool {
        exists(&self.mailbox.archive(&self.place)) && !exists(&self.mailbox.outbox(&self.place))
    }
}

fn exists(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok()
}

impl Worker {
    pub fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_raw(i32::try_from(self.process.id()).unwrap()).unwrap();
        rustix::process::kill_process(pid, signal).unwrap();
    }

    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// What this worker and those before it in this place have logged.
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap()
    }

    /// Waits for its end and answers with its status, its standard output and its log.
    pub fn end(mut self) -> (ExitStatus, String, String) {
        let since = Instant::now();
        while self.process.try_wait().unwrap().is_none() {
            assert!(since.elapsed() < PATIENCE, "the worker does not end");
            std::thread::sleep(Duration::from_millis(10));
        }
        let mut out = String::new();
        self.process.stdout.take().unwrap().read_to_string(&mut out).unwrap();
        (self.process.wait().unwrap(), out, self.log())
    }

    /// Ends it in order; it must exit 0 and have printed nothing.
    pub fn terminate(self) {
        self.signal(rustix::process::Signal::TERM);
        let (status, out, log) = self.end();
        assert_eq!((status.code(), out.as_str()), (Some(0), ""), "{log}");
    }

    pub fn kill(self) {
        self.signal(rustix::process::Signal::KILL);
        let (status, _, _) = self.end();
        assert_eq!(status.code(), None);
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // A test that failed leaves nothing behind; one that ended has nothing to kill.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

pub fn about(record: &WorkerRecord, injection: &str) -> bool {
    record.injection_id == InjectionId::new(injection).ok()
}

/// Whether this record is the end of that injection.
pub fn ends(record: &WorkerRecord, injection: &str) -> bool {
    about(record, injection) && matches!(record.word, Word::TurnComplete { .. } | Word::InjectFailed { .. })
}

/// The kinds of the records about one injection, in order, deltas as one.
pub fn story(records: &[WorkerRecord], injection: &str) -> Vec<String> {
    let mut kinds: Vec<String> = records
        .iter()
        .filter(|record| about(record, injection))
        .map(|record| {
            serde_json::to_value(record).unwrap()["type"]
                .as_str()
                .unwrap()
                .to_owned()
        })
        .collect();
    kinds.dedup();
    kinds
}
