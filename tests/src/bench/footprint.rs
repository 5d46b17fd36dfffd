//! `footprint`: how large the program is, how soon it is there, and what it holds while nothing happens.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::json;

use super::figures::{Figures, Unit};
use super::report::{Cell, Report, Table};
use super::usage::{Killed, Usage};
use super::{Experiment, Lab};
use crate::router::RouterProcess;
use crate::workspace::{Workspace, wait_until};

pub(super) const EXPERIMENT: Experiment = Experiment {
    name: "footprint",
    about: "the size of the programs, how long they take to start, and what they hold in memory",
    cluster: false,
    run,
};

/// How long a process is left alone before its memory is read.
const SETTLE: Duration = Duration::from_secs(1);

fn run(lab: &Lab) -> Report {
    let mut report = Report::default();
    report.table(sizes(lab));
    report.table(starts(lab));
    memory(lab, &mut report);
    report.note(
        "Memory of a process that has done nothing but start. `scale` and `follow-idle` have it for a thousand nodes.",
    );
    report
}

fn sizes(lab: &Lab) -> Table {
    let mut table = Table::new(
        "Size of the programs. The first one is a whole installation.",
        &["program", "size"],
    );
    for name in [
        "codeswarm",
        "codeswarm-worker",
        "codeswarm-follower",
        "codeswarm-router",
    ] {
        let path = if name == "codeswarm" {
            lab.codeswarm.clone()
        } else {
            lab.codeswarm.with_file_name(name)
        };
        match std::fs::metadata(&path) {
            Ok(metadata) => table.row([
                name.into(),
                Figures::new(vec![metadata.len() as f64], Unit::Bytes).into(),
            ]),
            Err(_) => table.missing(
                name,
                format!("`cargo build --release --workspace --bin {name}` was not run"),
            ),
        }
    }
    match on_path("ssh") {
        Some(size) => table.row(["ssh".into(), Figures::new(vec![size as f64], Unit::Bytes).into()]),
        None => table.missing("ssh", "not on the PATH"),
    }
    table
}

fn on_path(name: &str) -> Option<u64> {
    let path = std::env::var_os("PATH")?;
    let found = std::env::split_paths(&path).find_map(|folder| std::fs::metadata(folder.join(name)).ok());
    found.map(|metadata| metadata.len())
}

fn starts(lab: &Lab) -> Table {
    let mut table = Table::new(
        "From the start of a process to its end, or to its first answer.",
        &["what", "time"],
    );
    let empty = lab.folder();
    let path = |path: &Path| path.display().to_string();
    let codeswarm = path(&lab.codeswarm);
    let folder = path(empty.path());
    let commands: [(&str, Vec<&str>); 5] = [
        ("codeswarm --version", vec![&codeswarm, "--version"]),
        (
            "codeswarm follower --lines, an empty folder",
            vec![&codeswarm, "follower", "--lines", &folder, "--once"],
        ),
        ("true", vec!["true"]),
        ("python3 -c pass", vec!["python3", "-c", "pass"]),
        ("node -e 0", vec!["node", "-e", "0"]),
    ];
    for (name, words) in commands {
        if Command::new(words[0])
            .args(&words[1..])
            .stdout(Stdio::null())
            .status()
            .is_err()
        {
            table.missing(name, "not on the PATH");
            continue;
        }
        let times = (0..lab.runs * 4).map(|_| {
            let began = Instant::now();
            let status = Command::new(words[0]).args(&words[1..]).stdout(Stdio::null()).status();
            assert!(status.is_ok_and(|status| status.success()), "{words:?} failed");
            began.elapsed().as_secs_f64()
        });
        table.row([name.into(), Figures::new(times.collect(), Unit::Seconds).into()]);
    }
    let (mut pong, mut ready) = (Vec::new(), Vec::new());
    for _ in 0..lab.runs {
        let workspace = Workspace::echo();
        let began = Instant::now();
        let mut router = RouterProcess::daemon(&workspace);
        router.ping();
        pong.push(began.elapsed().as_secs_f64());
        let began = Instant::now();
        let swarm = router.launch_ready(1);
        ready.push(began.elapsed().as_secs_f64());
        router.terminate(&swarm);
        router.leave();
    }
    table.row([
        "codeswarm router, new state, to its first pong".into(),
        Figures::new(pong, Unit::Seconds).into(),
    ]);
    table.row([
        "a local swarm of one node, to `running`".into(),
        Figures::new(ready, Unit::Seconds).into(),
    ]);
    table
}

fn memory(lab: &Lab, report: &mut Report) {
    let mut table = Table::new(
        "Memory of a process while nothing happens: resident now, and the most so far.",
        &["process", "resident", "peak"],
    );
    let (mut worker, mut router, mut follower) = (Samples::default(), Samples::default(), Samples::default());
    let (mut tail, mut python) = (Samples::default(), Samples::default());
    for _ in 0..lab.runs {
        let workspace = Workspace::echo();
        let mut process = RouterProcess::daemon(&workspace);
        let swarm = process.launch_ready(4);
        let alone = lab.folder();
        let mut command = Command::new(&lab.codeswarm);
        command.args(["follower", "--root"]).arg(mailbox_in(alone.path()));
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let followed = Killed::spawn(&mut command);
        let file = alone.path().join("file");
        std::fs::write(&file, "").unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        let tailing = Killed::spawn(Command::new("tail").arg("-F").arg(&file));
        let sleeping = Command::new("python3")
            .args(["-c", "import time, json, asyncio; time.sleep(600)"])
            .spawn();
        let sleeping = sleeping.ok().map(Killed);
        std::thread::sleep(SETTLE);
        router.add(process.pid());
        follower.add(followed.0.id());
        tail.add(tailing.0.id());
        if let Some(sleeping) = &sleeping {
            python.add(sleeping.0.id());
        }
        let workers = workspace.processes_named("worker --root");
        assert_eq!(workers.len(), 4, "{workers:?}");
        for process in workers {
            worker.add(u32::try_from(process.pid).unwrap_or_default());
        }
        process.asked(
            json!({"command": "swarm_status", "swarm_id": swarm.swarm_id}),
            "swarm_status",
        );
        process.terminate(&swarm);
        process.leave();
        wait_until("the workers are gone", || match workspace.processes() {
            left if left.is_empty() => Ok(()),
            left => Err(format!("{left:?}")),
        });
    }
    let worker_peak = worker.peak.iter().copied().fold(0.0, f64::max);
    let follower_peak = follower.peak.iter().copied().fold(0.0, f64::max);
    worker.row(&mut table, "worker with the echo agent");
    follower.row(&mut table, "follower --root, no outbox");
    router.row(&mut table, "router, a local swarm of 4 (its follower is in it)");
    tail.row(&mut table, "tail -F of one file");
    python.row(&mut table, "python3 with json and asyncio, asleep");
    report.table(table);
    let mib = f64::from(1 << 20);
    let why = "What it holds at its start is the program's own pages.";
    report.target(
        "a worker of at most 12 MiB",
        worker_peak,
        Unit::Memory,
        worker_peak <= 12.0 * mib,
        why,
    );
    report.target(
        "a follower of at most 16 MiB",
        follower_peak,
        Unit::Memory,
        follower_peak <= 16.0 * mib,
        why,
    );
}

fn mailbox_in(folder: &Path) -> PathBuf {
    folder.join("root")
}

#[derive(Default)]
struct Samples {
    resident: Vec<f64>,
    peak: Vec<f64>,
}

impl Samples {
    fn add(&mut self, pid: u32) {
        let usage = Usage::of(pid);
        self.resident.push(usage.resident);
        self.peak.push(usage.peak);
    }

    fn row(self, table: &mut Table, name: &str) {
        if self.resident.is_empty() {
            return table.missing(name, "not on the PATH");
        }
        let figures = |values| Cell::from(Figures::new(values, Unit::Memory));
        table.row([name.into(), figures(self.resident), figures(self.peak)]);
    }
}
