//! Other places: a router on the login node itself, and a filesystem that login node and compute nodes see through mounts of
//! their own.

use std::time::{Duration, Instant};

use codeswarm_tests::cli::{Output, run};
use codeswarm_tests::cluster::{NODES, TestCluster};
use codeswarm_tests::requires;
use codeswarm_tests::router::RouterProcess;
use codeswarm_tests::schema::assert_flat_events;
use codeswarm_tests::slurm_workspace::SlurmWorkspace;
use codeswarm_tests::stream::{assert_every_record_once, assert_in_order};
use codeswarm_tests::workspace::wait_until;
use serde_json::json;

/// A configuration without `ssh`: whoever runs it is on the login node.
fn on_the_login_node(cluster: &TestCluster) -> SlurmWorkspace {
    SlurmWorkspace::echo(cluster).configured(|config| {
        config.as_object_mut().unwrap().remove("ssh");
    })
}

fn command(workspace: &SlurmWorkspace, arguments: &[&str]) -> std::process::Command {
    let mut command = workspace.command(arguments);
    command.env("SLURM_CONF", workspace.cluster().slurm_conf());
    command
}

#[test]
fn on_the_login_node_itself_no_ssh_is_needed() {
    let Some(cluster) = requires::cluster() else { return };
    let workspace = on_the_login_node(&cluster);
    let cli = |arguments: &[&str]| -> Output { run(command(&workspace, arguments), b"") };
    let launched = cli(&[
        "launch",
        "--nodes",
        "4",
        "--prompt",
        "You are a distributed agent.",
        "--wait",
    ])
    .success();
    let swarm = launched.stdout.trim();
    let job = workspace.jobs().pop().unwrap();
    let output = cli(&["inject", swarm, "--nodes", "2", "--prompt", "Optimize GEMM tiling."]).success();
    assert!(output.stdout.contains("Optimize GEMM tiling."), "{output:#?}");
    let output = cli(&["inject", swarm, "--prompt", "to all"]).success();
    assert_eq!(output.stdout.matches("to all").count(), 4, "{output:#?}");
    let status = cli(&["status", swarm]).success().stdout;
    for node in 0..NODES {
        assert!(status.contains(&format!("node{node}")), "{status}");
    }
    assert_eq!(workspace.login.processes(), [], "nothing goes through ssh");
    assert_eq!(workspace.login.sessions(), []);
    cli(&["terminate", swarm]).success();
    for node in 0..NODES {
        assert_eq!(workspace.records(&job, node).last().unwrap()["type"], "worker_exit");
    }
    wait_until("the job to end", || match workspace.jobs() {
        jobs if jobs.is_empty() => Ok(()),
        jobs => Err(format!("{jobs:?}")),
    });
    let programs = std::fs::read_dir(workspace.path().join("shared/codeswarm/bin"))
        .unwrap()
        .count();
    assert_eq!(programs, 1, "the job's program is below the root there, too");
    cli(&["shutdown"]).success();
}

#[test]
fn without_slurm_s_commands_a_launch_says_what_is_missing() {
    let Some(cluster) = requires::cluster() else { return };
    let workspace = on_the_login_node(&cluster);
    let mut bare = command(&workspace, &["router", "--daemon"]);
    bare.env("PATH", workspace.path().join("home"));
    let mut router = RouterProcess::start(bare);
    let request = router.ask(json!({"command": "swarm_launch", "nodes": 1}));
    let refusal = router.refusal(&request);
    let reason = refusal["reason"].as_str().unwrap();
    assert!(reason.contains("sbatch") && reason.contains("PATH"), "{reason}");
}

#[test]
fn login_node_and_compute_nodes_may_see_the_workspace_through_mounts_of_their_own() {
    let Some(cluster) = requires::cluster_views() else {
        return;
    };
    let workspace = SlurmWorkspace::echo(&cluster);
    let mut router = RouterProcess::daemon(&workspace);
    let began = Instant::now();
    let swarm = router.launch(NODES);
    println!("swarm_launched after {:?}", began.elapsed());
    router.wait_for("the swarm to run", |event| {
        event["type"] == "swarm_status" && event["status"] == "running"
    });
    println!("all nodes ready after {:?}", began.elapsed());
    let mut took: Vec<Duration> = Vec::new();
    for round in 0..5 {
        let began = Instant::now();
        let injections = router.inject_all(&swarm, &format!("round {round} [[echo deltas=20 pace_ms=5]]"));
        for injection in &injections {
            router.event_of(injection, "assistant_delta");
            took.push(began.elapsed());
        }
        for injection in &injections {
            assert_eq!(router.event_of(injection, "turn_complete")["status"], "completed");
            router.event_of(injection, "usage");
        }
    }
    took.sort();
    println!(
        "prompt to first delta: median {:?}, longest {:?}",
        took[took.len() / 2],
        took[took.len() - 1]
    );
    let hanging = router.inject(&swarm, 1, "[[hang]]");
    router.event_of(&hanging, "turn_started");
    router.asked(
        json!({"command": "interrupt", "swarm_id": swarm.swarm_id, "nodes": 1}),
        "interrupt_ack",
    );
    assert_eq!(router.event_of(&hanging, "turn_complete")["status"], "interrupted");
    let began = Instant::now();
    router.follow_all();
    router.terminate(&swarm);
    println!("terminated after {:?}", began.elapsed());
    router.asked(
        json!({"command": "subscribe", "swarm_id": swarm.swarm_id, "since": 0}),
        "caught_up",
    );
    let events = router.lines();
    assert_flat_events(&events);
    let again = events.iter().rposition(|event| event["type"] == "subscribed").unwrap();
    for node in 0..NODES {
        let records = workspace.records(&swarm.job_id, node);
        assert_eq!(records.last().unwrap()["type"], "worker_exit");
        assert_in_order(&events[..again], &swarm.job_id, node);
        assert_every_record_once(&events[again..], &records, &swarm.job_id, node);
    }
}
