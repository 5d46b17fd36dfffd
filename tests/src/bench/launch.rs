//! `launch`: a swarm from its command until all its workers are up, beside what Slurm itself needs.

use std::path::Path;
use std::time::Instant;

use serde_json::json;

use super::figures::{Figures, Unit};
use super::listener::Listener;
use super::report::{Report, Table};
use super::{Experiment, Lab};
use crate::cluster::TestCluster;
use crate::slurm_workspace::SlurmWorkspace;
use crate::workspace::wait_until;

pub(super) const EXPERIMENT: Experiment = Experiment {
    name: "launch",
    about: "`swarm_launch` of 4 and of 32 nodes on a test cluster, beside Slurm's own time",
    cluster: true,
    run,
};

#[derive(Default)]
struct Times {
    srun: Vec<f64>,
    batch: Vec<f64>,
    launched: Vec<f64>,
    ready: Vec<f64>,
    ended: Vec<f64>,
    first: Vec<f64>,
}

fn run(lab: &Lab) -> Report {
    let mut report = Report::default();
    for nodes in lab.size([4, 32], [2, 4]) {
        lab.tell(&format!("a cluster of {nodes} nodes"));
        let times = measure(lab, nodes);
        let mut table = Table::new(format!("{nodes} nodes."), &["what", "time"]);
        let batch = Figures::new(times.batch.clone(), Unit::Seconds).median();
        let ready = Figures::new(times.ready.clone(), Unit::Seconds).median();
        for (name, times) in [
            ("swarm_launch until all nodes are ready", times.ready),
            ("swarm_launch until `swarm_launched`: Slurm has the job", times.launched),
            ("swarm_terminate until `swarm_terminated`", times.ended),
            ("the first launch: connection made, program copied", times.first),
            (
                "Slurm alone: sbatch of a script with srun, until all tasks run",
                times.batch,
            ),
            ("Slurm alone: srun hostname, from its start to its end", times.srun),
        ] {
            table.row([name.into(), Figures::new(times, Unit::Seconds).into()]);
        }
        report.table(table);
        let more = ready - batch;
        report.target(
            &format!("{nodes} nodes: at most half a second more than Slurm needs for the same"),
            more,
            Unit::Seconds,
            more <= 0.5,
            "All nodes are processes of one machine here: keepers, workers and slurmstepds start at once and wait for each other.",
        );
    }
    report.note(
        "The agent is the built-in one. The time of Slurm depends on how often its scheduler looks: here at once.",
    );
    report
}

fn measure(lab: &Lab, nodes: u32) -> Times {
    let cluster = TestCluster::of_nodes(nodes);
    let workspace = SlurmWorkspace::echo(&cluster);
    let mut times = Times::default();
    let began = Instant::now();
    let mut router = Listener::start(workspace.command(&["router", "--daemon"]));
    router.asked(json!({"command": "subscribe"}), "caught_up");
    let (_, ready) = launch(&mut router, nodes);
    times.first.push(began.elapsed().as_secs_f64());
    lab.tell(&format!("the first launch: {ready:.2} s"));
    terminate(&mut router);
    for run in 0..lab.runs {
        cluster.wait_for_idle_nodes(nodes);
        let tasks = [format!("--nodes={nodes}"), format!("--ntasks={nodes}")];
        let began = Instant::now();
        cluster.slurm(&["srun", &tasks[0], &tasks[1], "hostname"]);
        times.srun.push(began.elapsed().as_secs_f64());
        cluster.wait_for_idle_nodes(nodes);
        times.batch.push(batch(&cluster, workspace.path(), run, nodes, &tasks));
        cluster.wait_for_idle_nodes(nodes);
        let (launched, ready) = launch(&mut router, nodes);
        times.launched.push(launched);
        times.ready.push(ready);
        lab.tell(&format!(
            "ready after {ready:.2} s; Slurm alone: {:.2} s",
            times.batch.last().copied().unwrap_or_default()
        ));
        let began = Instant::now();
        terminate(&mut router);
        times.ended.push(began.elapsed().as_secs_f64());
    }
    router.leave();
    times
}

/// The same way as a swarm: handed in, scheduled, a step started by the batch script.
fn batch(cluster: &TestCluster, folder: &Path, run: usize, nodes: u32, tasks: &[String; 2]) -> f64 {
    let marks = folder.join(format!("run-{run}"));
    std::fs::create_dir(&marks).unwrap_or_else(|error| panic!("{}: {error}", marks.display()));
    let script = format!("#!/bin/sh\nexec srun sh -c 'touch {}/$SLURM_PROCID'\n", marks.display());
    let began = Instant::now();
    cluster.submit(folder, &[&tasks[0], &tasks[1], "--output=/dev/null"], &script);
    wait_until("all tasks", || {
        let count = std::fs::read_dir(&marks).map_or(0, Iterator::count);
        if count == nodes as usize {
            Ok(())
        } else {
            Err(format!("{count} of {nodes} run"))
        }
    });
    began.elapsed().as_secs_f64()
}

/// Seconds to `swarm_launched` and until all nodes are ready.
fn launch(router: &mut Listener, nodes: u32) -> (f64, f64) {
    router.heard().forget_answers();
    let began = Instant::now();
    router.asked(json!({"command": "swarm_launch", "nodes": nodes}), "swarm_launched");
    let launched = began.elapsed().as_secs_f64();
    router.wait_for("the swarm to run", |event| {
        event["type"] == "swarm_status" && event["status"] == "running"
    });
    (launched, began.elapsed().as_secs_f64())
}

fn terminate(router: &mut Listener) {
    let launched = router.wait_for("a swarm", |event| event["type"] == "swarm_launched");
    router.ask(json!({"command": "swarm_terminate", "swarm_id": launched["swarm_id"]}));
    router.wait_for("the end of the swarm", |event| event["type"] == "swarm_terminated");
}
