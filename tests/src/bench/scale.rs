//! `scale`: a thousand nodes that all talk, through the real follower and router.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::figures::{Figures, Unit};
use super::listener::Listener;
use super::played::{JOB, PlayedSwarm};
use super::remote::RemoteSwarm;
use super::report::{Cell, Report, Table};
use super::usage::{Killed, Usage, raise_open_files};
use super::{Experiment, Lab};
use crate::requires::Requirement;

pub(super) const EXPERIMENT: Experiment = Experiment {
    name: "scale",
    about: "1,024 nodes of 20 deltas a second each for 5 minutes through the real follower and router; then 10,000 nodes of 2",
    cluster: false,
    run,
};

/// What is played.
#[derive(Clone, Copy)]
struct Size {
    nodes: u32,
    rate: f64,
    seconds: f64,
}

/// What came of it.
struct Played {
    latencies: Vec<f64>,
    said: Value,
    records: u64,
    missed: u64,
    repeated: u64,
    router: Usage,
    follower: Option<Usage>,
    seconds: f64,
}

fn run(lab: &Lab) -> Report {
    let sizes = lab.size(
        [
            Size {
                nodes: 1024,
                rate: 20.0,
                seconds: 300.0,
            },
            Size {
                nodes: 10_000,
                rate: 2.0,
                seconds: 60.0,
            },
        ],
        [
            Size {
                nodes: 32,
                rate: 10.0,
                seconds: 2.0,
            },
            Size {
                nodes: 64,
                rate: 5.0,
                seconds: 2.0,
            },
        ],
    );
    raise_open_files();
    let mut report = Report::default();
    let mut table = Table::new(
        "Each row is one run. A latency is from the moment before the delta is written to the moment when the client has read its event.",
        &[
            "nodes",
            "way",
            "deltas a second",
            "median",
            "99 %",
            "most",
            "lost",
            "twice",
            "router",
            "follower",
            "router's processor",
        ],
    );
    for (at, size) in sizes.into_iter().enumerate() {
        for way in ["beside the files", "over ssh"] {
            let nodes = size.nodes.to_string();
            if way == "over ssh" && (lab.quick || Requirement::Cluster.find().is_none()) {
                table.row([nodes.into(), way.into(), Cell::Missing(missing(lab.quick).to_owned())]);
                continue;
            }
            lab.tell(&format!("{nodes} nodes of {} deltas a second, {way}", size.rate));
            let played = play(lab, size, way == "over ssh");
            row(&mut table, way, size, &played);
            if at == 0 {
                targets(&mut report, way, &played);
            }
        }
    }
    report.table(table);
    report.note(
        "The workers are played by `codeswarm-swarm-simulator` with the worker's own numbering and appending; simulator, follower, \
         router and client share the machine. Memory is the most that was held at once; beside the files the follower is a \
         part of the router's process.",
    );
    report
}

fn missing(quick: bool) -> &'static str {
    if quick {
        "left out with --quick"
    } else {
        "no sshd and Slurm, see tests/run --install"
    }
}

fn row(table: &mut Table, way: &str, size: Size, played: &Played) {
    let latencies = Figures::new(played.latencies.clone(), Unit::Seconds);
    let one = |value: f64, unit| Cell::from(Figures::new(vec![value], unit));
    let marked = played.said["marked"].as_f64().unwrap_or(0.0);
    let lost = played.said["records"]
        .as_u64()
        .unwrap_or(0)
        .saturating_sub(played.records)
        + played.missed;
    table.row([
        size.nodes.to_string().into(),
        way.into(),
        one(marked / played.seconds, Unit::PerSecond),
        one(latencies.median(), Unit::Seconds),
        one(latencies.quantile(0.99), Unit::Seconds),
        one(latencies.range().1, Unit::Seconds),
        lost.to_string().into(),
        played.repeated.to_string().into(),
        one(played.router.peak, Unit::Memory),
        match played.follower {
            Some(follower) => one(follower.peak, Unit::Memory),
            None => "in the router".into(),
        },
        one(played.router.processor / played.seconds * 100.0, Unit::Percent),
    ]);
}

fn targets(report: &mut Report, way: &str, played: &Played) {
    let late = Figures::new(played.latencies.clone(), Unit::Seconds).quantile(0.99);
    let lost = played.said["records"]
        .as_u64()
        .unwrap_or(0)
        .saturating_sub(played.records)
        + played.missed;
    let mib = f64::from(1 << 20);
    report.target(
        &format!("99 % of the deltas within 250 ms, {way}"),
        late,
        Unit::Seconds,
        late <= 0.25,
        "Each delta comes alone in its file: six system calls to look at it, and a row of the router's state. What has gathered is \
         handled together, so this is a machine that had no processor left for a while.",
    );
    report.target(
        &format!("nothing lost, {way}"),
        lost as f64,
        Unit::Count,
        lost == 0 && played.repeated == 0,
        "A fault: the records that are missing stand in the outboxes.",
    );
    let router = played.router.peak;
    let why = "What is held by node is in `router/src/core/model.rs` and in the follower's tails.";
    report.target(
        &format!("a router of at most 128 MiB, {way}"),
        router,
        Unit::Memory,
        router <= 128.0 * mib,
        why,
    );
    if let Some(follower) = played.follower {
        let peak = follower.peak;
        report.target(
            &format!("a follower of at most 32 MiB, {way}"),
            peak,
            Unit::Memory,
            peak <= 32.0 * mib,
            why,
        );
    }
}

fn play(lab: &Lab, size: Size, remote: bool) -> Played {
    let (swarm, login);
    if remote {
        let over = RemoteSwarm::new(size.nodes);
        (swarm, login) = (over.swarm, Some(over.login));
    } else {
        (swarm, login) = (PlayedSwarm::new(size.nodes, "inotify"), None);
    }
    let mut router = swarm.router();
    swarm.adopt(&mut router);
    let before = Usage::of(router.pid()).processor;
    let began = Instant::now();
    let said = simulate(lab, &swarm, size, &router);
    let seconds = size.seconds;
    // What is still on its way may come; what does not within this time is lost.
    let records = said["records"].as_u64().unwrap_or_default();
    let deadline = Instant::now() + Duration::from_secs(30);
    while router.heard().records < records && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(50));
    }
    lab.tell(&format!("played in {:.1} s: {said}", began.elapsed().as_secs_f64()));
    let mut usage = Usage::of(router.pid());
    usage.processor -= before;
    let follower = login.as_ref().map(|login| {
        let found = login.processes_named("follower --root");
        let pid = found.first().and_then(|process| u32::try_from(process.pid).ok());
        Usage::of(pid.unwrap_or_else(|| panic!("no follower among {:#?}", login.processes())))
    });
    let latencies = router.take_latencies();
    let played = {
        let heard = router.heard();
        Played {
            latencies,
            said,
            records: heard.records,
            missed: heard.missed,
            repeated: heard.repeated,
            router: usage,
            follower,
            seconds,
        }
    };
    router.leave();
    played
}

/// Runs the simulator to its end; what it said.
fn simulate(lab: &Lab, swarm: &PlayedSwarm, size: Size, router: &Listener) -> Value {
    let program = lab.simulator();
    let mut command = Command::new(&program);
    command.arg("--root").arg(swarm.root()).args(["--job-id", JOB]);
    for (name, value) in [
        ("--nodes", f64::from(size.nodes)),
        ("--rate", size.rate),
        ("--seconds", size.seconds),
    ] {
        command.args([name, &value.to_string()]);
    }
    let mut child = Killed::spawn(command.stdin(Stdio::null()).stdout(Stdio::piped()));
    let Some(stdout) = child.0.stdout.take() else {
        panic!("{command:?} has no standard output")
    };
    let mut lines = BufReader::new(stdout).lines();
    let mut next = || match lines.next() {
        Some(Ok(line)) => line,
        other => panic!("{command:?} ended too soon: {other:?}"),
    };
    assert_eq!(next(), "started");
    router.wait("word of every node", |heard| {
        (heard.nodes() >= size.nodes as usize).then_some(())
    });
    let last = next();
    serde_json::from_str(&last).unwrap_or_else(|error| json!({"unreadable": format!("{error}: {last}")}))
}
