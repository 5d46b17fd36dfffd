//! How long things take on the test cluster. Nothing is held to a figure here: `cargo nextest run --run-ignored only
//! -E 'binary(cluster_figures)' --success-output final` prints them.

use std::time::{Duration, Instant};

use codeswarm_tests::cluster::NODES;
use codeswarm_tests::requires;
use codeswarm_tests::router::RouterProcess;
use codeswarm_tests::slurm_workspace::SlurmWorkspace;
use codeswarm_tests::workspace::wait_until;

const ROUNDS: usize = 5;
const PROMPTS: usize = 50;

fn told(what: &str, mut times: Vec<Duration>) {
    times.sort();
    let (least, median, most) = (times[0], times[times.len() / 2], times[times.len() - 1]);
    println!(
        "{what}: median {median:.1?}, {least:.1?} to {most:.1?} ({} times)",
        times.len()
    );
}

#[test]
#[ignore = "it measures"]
fn a_launch_beside_slurms_own_time() {
    let Some(cluster) = requires::cluster() else { return };
    let cluster = cluster.alone();
    let workspace = SlurmWorkspace::echo(&cluster);
    let mut router = RouterProcess::daemon(&workspace);
    let began = Instant::now();
    let first = router.launch_ready(NODES);
    println!(
        "the first launch, the program copied and the connection made: {:.1?}",
        began.elapsed()
    );
    router.terminate(&first);
    let (mut slurm, mut batch, mut launched, mut ready, mut ended) = (vec![], vec![], vec![], vec![], vec![]);
    for _ in 0..ROUNDS {
        cluster.wait_for_idle_nodes(NODES);
        let began = Instant::now();
        cluster.slurm(&["srun", "--nodes=4", "--ntasks=4", "hostname"]);
        slurm.push(began.elapsed());
        cluster.wait_for_idle_nodes(NODES);
        // The same way as a swarm: handed in, scheduled, a step of four tasks started by the batch script.
        let mark = workspace.path().join(format!("round-{}", batch.len()));
        std::fs::create_dir(&mark).unwrap();
        let script = format!("#!/bin/sh\nexec srun sh -c 'touch {}/$SLURM_PROCID'\n", mark.display());
        let began = Instant::now();
        cluster.submit(
            workspace.path(),
            &["--nodes=4", "--ntasks=4", "--output=/dev/null"],
            &script,
        );
        wait_until("all tasks", || match std::fs::read_dir(&mark).unwrap().count() {
            4 => Ok(()),
            count => Err(count.to_string()),
        });
        batch.push(began.elapsed());
        cluster.wait_for_idle_nodes(NODES);
        let began = Instant::now();
        let swarm = router.launch(NODES);
        launched.push(began.elapsed());
        router.wait_for("the swarm to run", |event| {
            event["type"] == "swarm_status" && event["status"] == "running" && event["swarm_id"] == *swarm.swarm_id
        });
        ready.push(began.elapsed());
        let began = Instant::now();
        router.terminate(&swarm);
        ended.push(began.elapsed());
    }
    told("srun --nodes=4 hostname, from its start to its end", slurm);
    told("sbatch of four tasks, from its start until all run", batch);
    told("swarm_launch of 4 to swarm_launched", launched);
    told("swarm_launch of 4 to all nodes ready", ready);
    told("swarm_terminate to swarm_terminated", ended);
}

#[test]
#[ignore = "it measures"]
fn a_prompt_to_its_first_delta() {
    let Some(cluster) = requires::cluster() else { return };
    let workspace = SlurmWorkspace::echo(&cluster);
    let mut router = RouterProcess::daemon(&workspace);
    let swarm = router.launch_ready(NODES);
    let (mut accepted, mut delta) = (vec![], vec![]);
    for number in 0..PROMPTS {
        let began = Instant::now();
        let injection = router.inject(&swarm, u32::try_from(number).unwrap() % NODES, "hello there");
        accepted.push(began.elapsed());
        router.event_of(&injection, "assistant_delta");
        delta.push(began.elapsed());
        router.event_of(&injection, "usage");
        // As a person would: not at once again.
        std::thread::sleep(Duration::from_millis(100));
    }
    told("inject to inject_ack", accepted);
    told("inject to the first assistant_delta, over sshd", delta);
}
