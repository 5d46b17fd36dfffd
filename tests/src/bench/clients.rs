//! `clients`: many clients of one router, one of which does not read.

use std::process::{Command, Stdio};

use serde_json::json;

use super::figures::{Figures, Unit};
use super::listener::Listener;
use super::played::{JOB, PlayedSwarm};
use super::report::{Cell, Report, Table};
use super::usage::{Killed, Usage};
use super::{Experiment, Lab};

pub(super) const EXPERIMENT: Experiment = Experiment {
    name: "clients",
    about: "1, 8 and 64 attached clients, one of which does not read, beside 64 nodes of 20 deltas a second",
    cluster: false,
    run,
};

fn run(lab: &Lab) -> Report {
    let (nodes, rate, seconds) = lab.size((64, 20, 6), (8, 20, 1));
    let counts: &[usize] = lab.size(&[1, 8, 64], &[1, 4]);
    let mut table = Table::new(
        format!(
            "{nodes} nodes, {} deltas a second in all, each to every client.",
            nodes * rate
        ),
        &[
            "clients",
            "one does not read",
            "latency, median",
            "99 % of a run",
            "events a second",
            "router's processor",
            "router's memory, peak",
        ],
    );
    let mut late = Vec::new();
    for &count in counts {
        for deaf in [false, true] {
            let (mut medians, mut tails, mut rates, mut processor, mut memory) =
                (Vec::new(), Vec::new(), Vec::new(), Vec::new(), Vec::new());
            for _ in 0..lab.runs {
                lab.tell(&format!(
                    "{count} clients, {}",
                    if deaf { "one more is deaf" } else { "all read" }
                ));
                let run = one_run(lab, nodes, rate, seconds, count, deaf);
                medians.push(run.latencies.median());
                tails.push(run.latencies.quantile(0.99));
                rates.push(run.latencies.count() as f64 / f64::from(seconds));
                processor.push(run.processor / f64::from(seconds) * 100.0);
                memory.push(run.memory);
            }
            let figures = |values: Vec<f64>, unit| Figures::new(values, unit);
            let tails = figures(tails, Unit::Seconds);
            late.push(tails.median());
            let medians = figures(medians, Unit::Seconds);
            table.row([
                count.to_string().into(),
                if deaf { "yes" } else { "no" }.into(),
                Cell::from(medians),
                tails.into(),
                figures(rates, Unit::PerSecond).into(),
                figures(processor, Unit::Percent).into(),
                figures(memory, Unit::Memory).into(),
            ]);
        }
    }
    let mut report = Report::default();
    report.table(table);
    // With and without a deaf one, of the largest number.
    let ratio = late[late.len() - 1] / late[late.len() - 2];
    report.target(
        "a client that does not read makes the others wait no longer (99 %, at most 1.5 times)",
        ratio,
        Unit::Times,
        ratio <= 1.5,
        "Its own stream stops when its socket and its buffer are full; until then it costs what a client costs.",
    );
    report.note(
        "The deaf client is one more than the number, has subscribed, and never reads. Its events are not counted.",
    );
    report
}

struct Run {
    latencies: Figures,
    processor: f64,
    memory: f64,
}

fn one_run(lab: &Lab, nodes: u32, rate: u32, seconds: u32, count: usize, deaf: bool) -> Run {
    let swarm = PlayedSwarm::new(nodes, "inotify");
    let mut router = swarm.router();
    swarm.adopt(&mut router);
    let socket = swarm.workspace().socket();
    // The router's own child is the first client.
    let mut others: Vec<Listener> = (1..count).map(|_| Listener::attach(&socket, false)).collect();
    for client in &mut others {
        client.asked(json!({"command": "subscribe"}), "caught_up");
    }
    let mut deaf = deaf.then(|| Listener::attach(&socket, true));
    if let Some(deaf) = &mut deaf {
        deaf.ask(json!({"command": "subscribe"}));
    }
    let before = Usage::of(router.pid()).processor;
    let mut command = Command::new(lab.simulator());
    command.arg("--root").arg(swarm.root()).args(["--job-id", JOB]);
    command.args([
        "--nodes",
        &nodes.to_string(),
        "--rate",
        &rate.to_string(),
        "--seconds",
        &seconds.to_string(),
    ]);
    let mut simulator = Killed::spawn(command.stdin(Stdio::null()).stdout(Stdio::piped()));
    let said = simulator.0.stdout.take().map(std::io::read_to_string);
    let said = said.and_then(Result::ok).unwrap_or_default();
    let said: serde_json::Value = said
        .lines()
        .last()
        .map_or(json!({}), |line| serde_json::from_str(line).unwrap_or_default());
    let marked = said["marked"].as_u64().and_then(|marked| usize::try_from(marked).ok());
    let marked = marked.unwrap_or_else(|| panic!("the simulator said {said}"));
    let mut latencies = Vec::new();
    for client in others.iter().chain([&router]) {
        client.wait("all deltas", |heard| (heard.latencies.len() >= marked).then_some(()));
        latencies.extend(client.take_latencies());
    }
    let usage = Usage::of(router.pid());
    router.leave();
    Run {
        latencies: Figures::new(latencies, Unit::Seconds),
        processor: usage.processor - before,
        memory: usage.peak,
    }
}
