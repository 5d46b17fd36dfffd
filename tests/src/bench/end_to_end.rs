//! `end-to-end`: full outboxes, translated into events on the router's standard output.

use std::process::{Command, Stdio};
use std::time::Instant;

use serde_json::json;

use super::figures::{Figures, Unit};
use super::outboxes;
use super::played::{JOB, PlayedSwarm};
use super::report::{Report, Table};
use super::usage::Usage;
use super::{Experiment, Lab};

pub(super) const EXPERIMENT: Experiment = Experiment {
    name: "end-to-end",
    about: "64 full outboxes, 512 MB in all, to translated events on the router's standard output",
    cluster: false,
    run,
};

/// The least that one would write oneself: each line parsed and written again.
const PYTHON: &str = "import sys, json
for line in sys.stdin.buffer:
    event = json.loads(line)
    event['swarm_id'] = 's'
    print(json.dumps(event))";

struct Run {
    seconds: f64,
    processor: f64,
    bytes: f64,
}

fn run(lab: &Lab) -> Report {
    let (nodes, bytes) = lab.size((64, 8_000_000), (4, 200_000));
    let swarm = PlayedSwarm::new(nodes, "inotify");
    let mailbox = swarm.mailbox();
    mailbox.create().unwrap_or_else(|error| panic!("{error}"));
    mailbox
        .prepare(&swarm.job_id(), nodes)
        .unwrap_or_else(|error| panic!("{error}"));
    lab.tell("writing outboxes");
    let (mut size, mut records) = (0, 0);
    for place in swarm.places() {
        let written = outboxes::write(&mailbox.outbox(&place), place, bytes);
        size += written.bytes;
        records += written.records;
    }
    let folder = mailbox.outbox_folder();
    let mut python_runs = Vec::new();
    let mut runs: [Vec<Run>; 3] = Default::default();
    for _ in 0..lab.runs {
        runs[0].push(through_the_router(&swarm, records, false));
        runs[1].push(through_the_router(&swarm, records, true));
        let cat = format!("cat {}/*.jsonl | wc -l", folder.display());
        let began = Instant::now();
        let counted = Command::new("sh").args(["-c", &cat]).stdout(Stdio::null()).status();
        assert!(counted.is_ok_and(|status| status.success()), "{cat}");
        let seconds = began.elapsed().as_secs_f64();
        runs[2].push(Run {
            seconds,
            processor: 0.0,
            bytes: size as f64,
        });
        python_runs.extend(through_python(&swarm));
        lab.tell(&format!(
            "the router: {:.2} s",
            runs[0].last().map_or(0.0, |run| run.seconds)
        ));
    }
    let title = format!("{nodes} outboxes with {records} records, {:.0} MB.", size as f64 / 1e6);
    let mut table = Table::new(
        title,
        &[
            "program",
            "from the files",
            "records a second",
            "processor time",
            "a second of one core",
            "records a second of one core",
        ],
    );
    let names = [
        "router, one client, flat spelling",
        "the same, from its history (`since` 0)",
        "cat | wc -l",
    ];
    let mut one_core = (0.0, 0.0);
    for ((name, runs), first) in names.iter().zip(&runs).zip([true, false, false]) {
        let figures = |unit, of: &dyn Fn(&Run) -> f64| Figures::new(runs.iter().map(of).collect(), unit);
        let speed = figures(Unit::BytesPerSecond, &|run| size as f64 / run.seconds);
        let rate = figures(Unit::PerSecond, &|run| records as f64 / run.seconds);
        if runs[0].processor == 0.0 {
            table.row([(*name).into(), speed.into(), rate.into()]);
            continue;
        }
        let processor = figures(Unit::Seconds, &|run| run.processor);
        let per_core = figures(Unit::BytesPerSecond, &|run| size as f64 / run.processor);
        let records_per_core = figures(Unit::PerSecond, &|run| records as f64 / run.processor);
        if first {
            one_core = (per_core.median(), records_per_core.median());
        }
        table.row([
            (*name).into(),
            speed.into(),
            rate.into(),
            processor.into(),
            per_core.into(),
            records_per_core.into(),
        ]);
    }
    let python = "python3, json.loads and json.dumps of each line (one outbox)";
    match python_runs.is_empty() {
        true => table.missing(python, "no python3 on the PATH"),
        false => {
            let share = size as f64 / f64::from(nodes);
            let rates = python_runs
                .iter()
                .map(|seconds| records as f64 / f64::from(nodes) / seconds)
                .collect();
            let speeds = python_runs.iter().map(|seconds| share / seconds).collect();
            table.row([
                python.into(),
                Figures::new(speeds, Unit::BytesPerSecond).into(),
                Figures::new(rates, Unit::PerSecond).into(),
            ]);
        }
    }
    table.missing("the earlier Python router", "it is no part of this repository");
    report_of(table, one_core, &runs[0])
}

fn report_of(table: Table, one_core: (f64, f64), runs: &[Run]) -> Report {
    let mut report = Report::default();
    report.table(table);
    let (bytes, records) = one_core;
    report.target(
        "200 MB or 500,000 records a second of one core",
        records,
        Unit::PerSecond,
        bytes >= 200e6 || records >= 500_000.0,
        "Each record's head is parsed once, its whole when it is not a delta, and its bytes are copied into the client's \
         buffer; a profile says which of these to save.",
    );
    let events = runs.iter().map(|run| run.bytes).fold(0.0, f64::max);
    report.note(format!(
        "Time is from the adoption of the job to the last event; events are {:.0} MB, since the router adds the swarm's id to \
         each. Processor time is the router's alone, with its follower; the client that reads has a core of its own.",
        events / 1e6
    ));
    report
}

/// A new state reads all outboxes; a client follows live, or asks for everything from the beginning once the state has it.
fn through_the_router(swarm: &PlayedSwarm, records: u64, history: bool) -> Run {
    let _ = std::fs::remove_dir_all(swarm.workspace().state_dir());
    let mut router = swarm.router();
    if history {
        swarm.adopt(&mut router);
        router.wait("all records", |heard| (heard.records >= records).then_some(()));
    }
    let before = Usage::of(router.pid()).processor;
    let bytes_before = router.heard().bytes;
    let records_before = router.heard().records;
    let began = Instant::now();
    if history {
        let mut second = super::listener::Listener::attach(&swarm.workspace().socket(), false);
        second.ask(json!({"command": "subscribe", "since": 0}));
        let last = second.wait("all records", |heard| {
            (heard.records >= records).then_some(heard.last)?
        });
        let processor = Usage::of(router.pid()).processor - before;
        let bytes = second.heard().bytes as f64;
        router.leave();
        return Run {
            seconds: (last - began).as_secs_f64(),
            processor,
            bytes,
        };
    }
    router.ask(json!({"command": "swarm_adopt", "job_id": JOB}));
    let all = records_before + records;
    let last = router.wait("all records", |heard| (heard.records >= all).then_some(heard.last)?);
    let processor = Usage::of(router.pid()).processor - before;
    let (bytes, missed, repeated) = {
        let heard = router.heard();
        (heard.bytes - bytes_before, heard.missed, heard.repeated)
    };
    assert_eq!((missed, repeated), (0, 0), "records were lost or came twice");
    router.leave();
    Run {
        seconds: (last - began).as_secs_f64(),
        processor,
        bytes: bytes as f64,
    }
}

fn through_python(swarm: &PlayedSwarm) -> Option<f64> {
    let place = swarm.places().into_iter().next()?;
    let file = std::fs::File::open(swarm.mailbox().outbox(&place)).ok()?;
    let began = Instant::now();
    let mut command = Command::new("python3");
    command.args(["-c", PYTHON]).stdin(file).stdout(Stdio::null());
    command.status().ok().filter(std::process::ExitStatus::success)?;
    Some(began.elapsed().as_secs_f64())
}
