//! Idle workers that are connected: what they cost the follower, which begins with the 1,024 open files that most systems give.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use codeswarm_mailbox::Mailbox;
use rustix::process::{Resource, getrlimit};

use super::one;
use crate::bench::Lab;
use crate::bench::figures::{Figures, Unit};
use crate::bench::follow_idle::{METADATA, calls_of};
use crate::bench::idle_follower::Watching;
use crate::bench::outboxes::place;
use crate::bench::report::{Cell, Report, Table};
use crate::bench::usage::{Killed, Usage, raise_open_files};

const JOB: &str = "7";

/// Each file is looked at once when its worker has connected, and swept from then on.
const SETTLED: f64 = 150.0;

struct Connected {
    within: Option<f64>,
    at_most: usize,
    memory: (f64, f64),
    processor: Vec<f64>,
    looks: Option<f64>,
}

pub(super) fn measure(lab: &Lab, report: &mut Report) {
    raise_open_files();
    let mut table = Table::new(
        "`follower --root --watch poll`, started with a soft limit of 1,024 open files; all workers connect at once and then say nothing.",
        &[
            "workers",
            "connected",
            "within",
            "memory before, peak",
            "memory then, peak",
            "processor, of one core",
            "metadata calls a second",
        ],
    );
    for workers in lab.size([1_024, 10_000], [32, 64]) {
        lab.tell(&format!("{workers} connections"));
        let connected = connect(lab, workers);
        let within = match connected.within {
            Some(seconds) => one(seconds, Unit::Seconds),
            None => "not all".into(),
        };
        table.row([
            workers.to_string().into(),
            connected.at_most.to_string().into(),
            within,
            one(connected.memory.0, Unit::Memory),
            one(connected.memory.1, Unit::Memory),
            Figures::new(connected.processor.clone(), Unit::Percent).into(),
            connected.looks.map_or_else(
                || Cell::Missing("counted for 1,024 alone, where there is strace".to_owned()),
                |looks| one(looks, Unit::PerSecond),
            ),
        ]);
        targets(report, workers, &connected);
    }
    report.table(table);
    report.note(
        "Connections are those of the worker's own code (`codeswarm-swarm-simulator --doorbell`), all in one process, or in a few where that may not \
         open so many files. `tests/bench look-ups` has the looks at 10,000 files.",
    );
}

fn targets(report: &mut Report, workers: u32, connected: &Connected) {
    report.target(
        &format!("{workers} workers are connected at once"),
        connected.at_most as f64,
        Unit::Count,
        connected.at_most >= workers as usize,
        "The hard limit of open files (`ulimit -Hn`) is lower than that; the rest is polled.",
    );
    if let Some(looks) = connected.looks {
        report.target(
            &format!("{workers} idle workers: at most 5 look-ups a second"),
            looks,
            Unit::PerSecond,
            looks <= 5.0,
            "The sweep is one look at each file in 300 s, and the lease costs 1.3 a second besides.",
        );
    }
}

fn connect(lab: &Lab, workers: u32) -> Connected {
    let folder = lab.folder();
    let mailbox = Mailbox::at(folder.path().join("root"));
    let job = place(JOB, 0).job_id;
    let made = mailbox.create().and_then(|()| mailbox.prepare(&job, workers));
    made.unwrap_or_else(|error| panic!("{error}"));
    let mut follower = Watching::rung(lab, &mailbox, workers);
    let deadline = Instant::now() + Duration::from_secs(30);
    while mailbox.doorbell_file().metadata().map_or(0, |file| file.len()) == 0 {
        assert!(Instant::now() < deadline, "the follower does not listen");
        std::thread::sleep(Duration::from_millis(10));
    }
    rest(&mut follower, lab.size(2.0, 0.2));
    let before = Usage::of(follower.pid());
    let descriptors = format!("/proc/{}/fd", follower.pid());
    let open = || std::fs::read_dir(&descriptors).map_or(0, Iterator::count);
    let idle = open();
    let simulators = play_all(lab, mailbox.root(), workers);
    let began = Instant::now();
    let (mut within, mut at_most) = (None, 0);
    let mut pinged = Instant::now();
    while began.elapsed().as_secs_f64() < lab.size(120.0, 20.0) {
        at_most = at_most.max(open().saturating_sub(idle));
        if at_most >= workers as usize {
            within = Some(began.elapsed().as_secs_f64());
            break;
        }
        if pinged.elapsed() > Duration::from_secs(5) {
            pinged = Instant::now();
            follower.ping();
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    lab.tell(&format!("{at_most} are connected"));
    let counted = workers <= 1_024 && Command::new("strace").arg("-V").stdout(Stdio::null()).status().is_ok();
    rest(&mut follower, lab.size(if counted { SETTLED } else { 30.0 }, 0.5));
    let mut processor = Vec::new();
    for _ in 0..5 {
        let (since, used) = (Instant::now(), Usage::of(follower.pid()).processor);
        rest(&mut follower, lab.size(6.0, 0.2));
        let used = Usage::of(follower.pid()).processor - used;
        processor.push(used / since.elapsed().as_secs_f64() * 100.0);
    }
    let memory = (before.peak, Usage::of(follower.pid()).peak);
    let looks = counted.then(|| looks_a_second(lab, follower, folder.path()));
    drop(simulators);
    Connected {
        within,
        at_most,
        memory,
        processor,
        looks,
    }
}

/// All workers of the job, who have started when this returns. A process that plays some holds an outbox and a connection for
/// each, so there may be more of these than one.
fn play_all(lab: &Lab, root: &Path, workers: u32) -> Vec<Killed> {
    let most = getrlimit(Resource::Nofile).maximum.unwrap_or(u64::MAX);
    let each = u32::try_from(most.saturating_sub(200) / 2).unwrap_or(u32::MAX).max(1);
    let firsts = (0..workers).step_by(each as usize);
    firsts
        .map(|first| play(lab, root, first, each.min(workers - first)))
        .collect()
}

fn play(lab: &Lab, root: &Path, first: u32, workers: u32) -> Killed {
    let mut command = Command::new(lab.simulator());
    command
        .arg("--root")
        .arg(root)
        .args(["--job-id", JOB, "--doorbell", "--rate", "0"]);
    command.args(["--first-node", &first.to_string(), "--nodes", &workers.to_string()]);
    command.args(["--seconds", "3600"]);
    let mut child = Killed::spawn(command.stdin(Stdio::null()).stdout(Stdio::piped()));
    let mut started = String::new();
    if let Some(stdout) = child.0.stdout.take() {
        let read = BufReader::new(stdout).read_line(&mut started);
        assert!(read.is_ok() && started == "started\n", "{command:?} said {started:?}");
    }
    child
}

fn looks_a_second(lab: &Lab, mut follower: Watching, folder: &Path) -> f64 {
    let file = folder.join("strace");
    let mut command = Command::new("strace");
    command.args(["-f", "-c", "-U", "calls,name", "-o"]).arg(&file);
    command.args(["-p", &follower.pid().to_string()]).stderr(Stdio::null());
    let mut trace = Killed::spawn(&mut command);
    let began = Instant::now();
    rest(&mut follower, lab.size(60.0, 1.0));
    let length = began.elapsed().as_secs_f64();
    // strace writes its sums when what it traces has ended.
    drop(follower);
    let _ = trace.0.wait();
    let text = std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    let calls = calls_of(&text, length);
    METADATA
        .iter()
        .filter_map(|name| calls.get(*name))
        .fold(0.0, |sum, rate| sum + rate)
}

fn rest(follower: &mut Watching, seconds: f64) {
    let until = Instant::now() + Duration::from_secs_f64(seconds);
    while let Some(left) = until.checked_duration_since(Instant::now()) {
        follower.ping();
        std::thread::sleep(left.min(Duration::from_secs(5)));
    }
}
