//! `fan-out`: one prompt to a thousand nodes, until it is durable in every inbox.

use std::process::{Command, Stdio};
use std::time::Instant;

use serde_json::json;

use super::figures::{Figures, Unit};
use super::played::PlayedSwarm;
use super::report::{Report, Table};
use super::{Experiment, Lab};

pub(super) const EXPERIMENT: Experiment = Experiment {
    name: "fan-out",
    about: "`inject` to all of 1,024 nodes, until every prompt is durable in its inbox",
    cluster: false,
    run,
};

/// What a shell script would do, an append to each inbox; with and without a sync of each.
const PYTHON: &str = "import os, sys
line = b'{\"type\":\"user\",\"content\":\"Hello\",\"injection_id\":\"i\"}\\n'
for name in sorted(os.listdir(sys.argv[1])):
    fd = os.open(os.path.join(sys.argv[1], name), os.O_WRONLY | os.O_APPEND)
    os.write(fd, line)
    if sys.argv[2] == 'sync':
        os.fdatasync(fd)
    os.close(fd)";

fn run(lab: &Lab) -> Report {
    let nodes = lab.size(1024, 32);
    let swarm = PlayedSwarm::new(nodes, "inotify");
    let mut router = swarm.router();
    let swarm_id = swarm.adopt(&mut router);
    // Workers that say no more than that they are there.
    let workers = swarm.workers();
    swarm.wait_until_running(&router);
    let (mut acknowledged, mut delivered) = (Vec::new(), Vec::new());
    let mut others: [Vec<f64>; 3] = Default::default();
    for round in 0..lab.runs {
        let expected = router.heard().delivered + u64::from(nodes);
        let began = Instant::now();
        let request = router.ask(
            json!({"command": "inject", "swarm_id": swarm_id, "nodes": "all", "content": format!("Hello {round}")}),
        );
        router.wait("acknowledgement", |heard| {
            (heard.acknowledged(&request) >= u64::from(nodes)).then_some(())
        });
        acknowledged.push(began.elapsed().as_secs_f64());
        router.wait("delivery", |heard| (heard.delivered >= expected).then_some(()));
        delivered.push(began.elapsed().as_secs_f64());
        lab.tell(&format!(
            "delivered in {:.3} s",
            delivered.last().copied().unwrap_or_default()
        ));
        for (way, times) in others.iter_mut().enumerate() {
            times.extend(another_way(lab, nodes, way));
        }
    }
    let mut table = Table::new(
        format!("One prompt to {nodes} nodes."),
        &["way", "time", "prompts a second"],
    );
    let all = f64::from(nodes);
    let mut row = |name: &str, times: Vec<f64>, missing: &str| {
        if times.is_empty() {
            return table.missing(name, missing);
        }
        let rate = times.iter().map(|seconds| all / seconds).collect();
        table.row([
            name.into(),
            Figures::new(times, Unit::Seconds).into(),
            Figures::new(rate, Unit::PerSecond).into(),
        ]);
    };
    let median = Figures::new(delivered.clone(), Unit::Seconds).median();
    row(
        "router, to the last `inject_ack` (durable in its state, synced)",
        acknowledged,
        "",
    );
    row(
        "router, to the last `inject_delivered` (durable in the inbox)",
        delivered,
        "",
    );
    let [sh, plain, synced] = others;
    row("sh, `echo >>` to each inbox", sh, "no sh");
    row("python3, an append to each inbox", plain, "no python3 on the PATH");
    row("the same with fdatasync of each", synced, "no python3 on the PATH");
    drop(workers);
    router.leave();
    let mut report = Report::default();
    report.table(table);
    report.target(
        &format!("{nodes} prompts durable in their inboxes within a second on a local filesystem"),
        median,
        Unit::Seconds,
        median <= 1.0,
        "The follower appends one inbox after the other.",
    );
    report.note(
        "On a local filesystem a line counts as durable when the kernel has it, so that it outlives every process; on a shared one it \
         is synced.",
    );
    report
}

/// The other ways, into inboxes of their own.
fn another_way(lab: &Lab, nodes: u32, way: usize) -> Option<f64> {
    let folder = lab.folder();
    for node in 0..nodes {
        std::fs::write(folder.path().join(format!("7_{node:02}.jsonl")), "").ok()?;
    }
    let mut command = match way {
        0 => {
            let mut command = Command::new("sh");
            let script = "for file in \"$1\"/*; do echo '{\"type\":\"user\",\"content\":\"Hello\",\"injection_id\":\"i\"}' >> \"$file\"; done";
            command.args(["-c", script, "sh"]).arg(folder.path());
            command
        }
        _ => {
            let mut command = Command::new("python3");
            command
                .args(["-c", PYTHON])
                .arg(folder.path())
                .arg(if way == 2 { "sync" } else { "plain" });
            command
        }
    };
    let began = Instant::now();
    let done = command.stdin(Stdio::null()).status().ok()?;
    done.success().then(|| began.elapsed().as_secs_f64())
}
