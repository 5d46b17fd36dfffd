//! `delta-latency`: a worker writes a delta; when has the client read it?

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use codeswarm_protocol::record::Word;

use super::figures::{Figures, Unit};
use super::listener::Listener;
use super::played::PlayedSwarm;
use super::report::{Cell, Report, Table};
use super::usage::Killed;
use super::{Experiment, Lab};
use crate::swarm_simulator::marks;
use crate::swarm_simulator::worker::PlayedWorker;

pub(super) const EXPERIMENT: Experiment = Experiment {
    name: "delta-latency",
    about: "a worker writes a delta, a client of the router reads it: inotify and polling; 1, 64, 1,024 files of which one or all move",
    cluster: false,
    run,
};

/// The interval at which a hot file is polled in the end: mailbox/src/schedule.rs.
const HOT: f64 = 0.010;

fn run(lab: &Lab) -> Report {
    let mut report = Report::default();
    let sizes: &[u32] = lab.size(&[1, 64, 1024], &[1, 8]);
    for watch in ["inotify", "poll"] {
        let mut table = Table::new(
            format!(
                "`cluster.watch: {watch}`. The medians of the runs, and the worst 99 % of a run; tail reads the same files at the same time."
            ),
            &[
                "files",
                "that move",
                "deltas a second",
                "router",
                "router, 99 %",
                "tail",
                "tail, 99 %",
            ],
        );
        for &files in sizes {
            for moving in if files == 1 { vec![1] } else { vec![1, files] } {
                lab.tell(&format!("{watch}: {moving} of {files} files move"));
                let measured = measure(lab, watch, files, moving);
                if files == 1 {
                    target(&mut report, watch, &measured);
                }
                let figures = |values: &[f64]| Cell::from(Figures::new(values.to_vec(), Unit::Seconds));
                table.row([
                    files.to_string().into(),
                    moving.to_string().into(),
                    Figures::new(vec![rate(moving)], Unit::PerSecond).into(),
                    figures(&measured.router),
                    figures(&measured.router_late),
                    figures(&measured.tail),
                    figures(&measured.tail_late),
                ]);
            }
        }
        report.table(table);
    }
    report.note(
        "The agent's write, the worker's group commit and the agent's own time are not in it: a delta is appended with one write, \
         its text being the time just before. tail is `tail -q -n 0 -F` on all files, with `---disable-inotify -s 0.01` where \
         the router polls: that is 100 look-ups a second of each file, 100,000 for 1,024 of them, where the router makes 50 that find \
         nothing in all.",
    );
    report.note(
        "Each run lasts three seconds and then waits for what was not seen yet. Polled, where more files move than 50 look-ups \
         a second can follow, the 99 % are a run's end: about half of the files have said one word more since they were looked \
         at, nobody knows which, and each of the others costs one of the 40 looks a second that may find nothing there. \
         Reckoned for looks a second apart that is 7 s for 99 % of 1,024; of runs of thirty seconds 99 % are seen within 1.7 s \
         (played). What would do it: the doorbell. A file that nobody hinted at and that is the first to move of 1,024 is found \
         in its turn, after about 34 s at most: that is the worst of one file of 1,024.",
    );
    report
}

fn target(report: &mut Report, watch: &str, measured: &Measured) {
    let found = Figures::new(measured.router.clone(), Unit::Seconds).median();
    let (what, bound) = match watch {
        "inotify" => ("one file, inotify: a median of at most 3 ms", 0.003),
        _ => (
            "one file, polled: at most half the interval of a hot file (10 ms) and 3 ms",
            HOT / 2.0 + 0.003,
        ),
    };
    let why = "A polled file that moves is looked at more and more often, from 40 ms down to every 10 ms, within 50 looks a second that find nothing.";
    report.target(what, found, Unit::Seconds, found <= bound, why);
}

/// Deltas a second, over all files that move.
fn rate(moving: u32) -> f64 {
    f64::from(moving.min(64)) * if moving == 1 { 50.0 } else { 16.0 }
}

#[derive(Default)]
struct Measured {
    router: Vec<f64>,
    router_late: Vec<f64>,
    tail: Vec<f64>,
    tail_late: Vec<f64>,
}

fn measure(lab: &Lab, watch: &str, files: u32, moving: u32) -> Measured {
    let swarm = PlayedSwarm::new(files, watch);
    let mut router = swarm.router();
    swarm.adopt(&mut router);
    let mut workers = swarm.workers();
    swarm.wait_until_running(&router);
    let mut measured = Measured::default();
    for _ in 0..lab.runs {
        let tail = Tail::start(&swarm, watch);
        let (from_router, from_tail) = one_run(lab, &router, &tail, &mut workers, moving);
        for (late, medians, latencies) in [
            (&mut measured.router_late, &mut measured.router, from_router),
            (&mut measured.tail_late, &mut measured.tail, from_tail),
        ] {
            let latencies = Figures::new(latencies, Unit::Seconds);
            medians.push(latencies.median());
            late.push(latencies.quantile(0.99));
        }
    }
    router.leave();
    measured
}

/// Writes at a steady pace and waits until both have read all.
fn one_run(
    lab: &Lab,
    router: &Listener,
    tail: &Tail,
    workers: &mut [PlayedWorker],
    moving: u32,
) -> (Vec<f64>, Vec<f64>) {
    let pause = Duration::from_secs_f64(1.0 / rate(moving));
    let count = (rate(moving) * lab.size(3.0, 0.5)) as u32;
    router.take_latencies();
    tail.take();
    let began = Instant::now();
    for number in 0..count {
        let due = began + pause * number;
        if let Some(left) = due.checked_duration_since(Instant::now()) {
            std::thread::sleep(left);
        }
        say_marked(&mut workers[(number % moving) as usize]);
    }
    let all = count as usize;
    router.wait("all deltas", |heard| (heard.latencies.len() >= all).then_some(()));
    tail.wait(all);
    (router.take_latencies(), tail.take())
}

/// A delta whose text is now.
#[track_caller]
pub(super) fn say_marked(worker: &mut PlayedWorker) {
    let content = marks::mark(SystemTime::now());
    let said = worker.say(Word::AssistantDelta { content, item_id: None }, None);
    said.unwrap_or_else(|error| panic!("a played worker: {error}"));
}

/// `tail -F` over the same files, and how old the deltas are that it prints.
struct Tail {
    _process: Killed,
    latencies: Arc<Mutex<Vec<f64>>>,
}

impl Tail {
    fn start(swarm: &PlayedSwarm, watch: &str) -> Self {
        let mailbox = swarm.mailbox();
        let paths: Vec<PathBuf> = swarm.places().iter().map(|place| mailbox.outbox(place)).collect();
        let mut command = Command::new("tail");
        // One line that is there already, so that it is known when tail has come to follow the last file.
        command.args(["-q", "-n", "1", "-F"]);
        if watch == "poll" {
            command.args(["---disable-inotify", "-s", "0.01"]);
        }
        let files = paths.len();
        let mut process = Killed::spawn(command.args(&paths).stdin(Stdio::null()).stdout(Stdio::piped()));
        let latencies = Arc::new(Mutex::new(Vec::new()));
        let (ready, is_ready) = std::sync::mpsc::sync_channel(1);
        if let Some(stdout) = process.0.stdout.take() {
            let latencies = Arc::clone(&latencies);
            std::thread::spawn(move || {
                let mut stdout = BufReader::new(stdout);
                let mut line = Vec::new();
                let mut lines = 0;
                while matches!(stdout.read_until(b'\n', &mut line), Ok(1..)) {
                    let now = SystemTime::now();
                    if let Some(written) = marks::find(&line) {
                        let age = now.duration_since(written).unwrap_or_default();
                        latencies
                            .lock()
                            .unwrap_or_else(PoisonError::into_inner)
                            .push(age.as_secs_f64());
                    }
                    line.clear();
                    lines += 1;
                    if lines == files {
                        let _ = ready.send(());
                    }
                }
            });
        }
        if is_ready.recv_timeout(Duration::from_secs(60)).is_err() {
            panic!("{command:?} did not print the last line of each file");
        }
        // It watches only after it has printed, and does not say when.
        std::thread::sleep(Duration::from_millis(300));
        Self {
            _process: process,
            latencies,
        }
    }

    fn take(&self) -> Vec<f64> {
        std::mem::take(&mut self.latencies.lock().unwrap_or_else(PoisonError::into_inner))
    }

    #[track_caller]
    fn wait(&self, count: usize) {
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            let now = self.latencies.lock().unwrap_or_else(PoisonError::into_inner).len();
            if now >= count {
                return;
            }
            assert!(Instant::now() < deadline, "tail printed {now} of {count} deltas");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}
