//! `codeswarm events` on a real Slurm, over ssh: a job that is run again, a link that breaks, a consumer that dies meanwhile (P10).

use std::collections::BTreeMap;

use codeswarm_tests::account::wait_for_completion;
use codeswarm_tests::json_process::JsonProcess;
use codeswarm_tests::requires;
use codeswarm_tests::router::RouterProcess;
use codeswarm_tests::slurm_workspace::SlurmWorkspace;
use codeswarm_tests::workspace::wait_until;
use serde_json::Value;

fn follow(workspace: &SlurmWorkspace) -> JsonProcess {
    let arguments = [
        "events",
        "--follow",
        "--json",
        "--consumer",
        "ci",
        "--since",
        "beginning",
        "--kind",
        "all",
    ];
    JsonProcess::spawn("codeswarm events", workspace.command(&arguments))
}

#[test]
fn p10_a_consumer_goes_on_over_a_requeue_and_a_link_that_breaks() {
    let Some(cluster) = requires::cluster() else { return };
    let workspace = SlurmWorkspace::echo(&cluster).looking_every_second();
    let mut router = RouterProcess::daemon(&workspace);
    let mut process = follow(&workspace);
    let swarm = router.launch_ready(2);
    let mut injections = vec![router.inject(&swarm, 0, "in the first life")];
    process.wait_for("the first end", |event| event["type"] == "turn_complete");
    cluster.requeue(&swarm.job_id);
    process.wait_for("that the swarm waits again", |event| {
        event["type"] == "swarm_status"
            && event["status"] == "pending"
            && event["reason"].as_str().unwrap_or_default().contains("requeued")
    });
    // It dies between the lives, and whoever comes next is told the rest.
    process.kill();
    let mut told = process.lines();
    let mut process = follow(&workspace);
    for node in 0..2 {
        process.wait_for("the next life", |event| {
            event["type"] == "worker_start" && event["epoch"] == 2 && event["node_id"] == node
        });
    }
    workspace.login.cut();
    injections.extend(router.inject_all(&swarm, "after the cut"));
    for injection in &injections {
        wait_for_completion(&router, injection);
    }
    router.terminate(&swarm);
    process.wait_for("the end", |event| event["type"] == "swarm_terminated");
    process.signal(rustix::process::Signal::TERM);
    assert_eq!(process.wait_exit().code(), Some(130));
    told.extend(process.lines());

    let mut times: BTreeMap<(u64, u64, u64), usize> = BTreeMap::new();
    for event in told.iter().filter(|event| !event["seq"].is_null()) {
        let number = |field: &str| event[field].as_u64().unwrap_or(0);
        let as_new = usize::from(event["repeated"] != true);
        *times
            .entry((number("node_id"), number("seq"), number("sub")))
            .or_default() += as_new;
    }
    let doubled: Vec<_> = times.iter().filter(|(_, times)| **times > 1).collect();
    assert!(doubled.is_empty(), "told twice as if they were new: {doubled:?}");
    for node in 0..2 {
        let records = workspace.records(&swarm.job_id, node);
        let lacking = (1..=records.len() as u64).find(|seq| !times.contains_key(&(u64::from(node), *seq, 0)));
        assert_eq!(lacking, None, "of node {node}'s {} records", records.len());
    }
    let of = |kind: &str| -> Vec<&Value> { told.iter().filter(|event| event["type"] == kind).collect() };
    assert_eq!(of("swarm_launched").len(), 1);
    assert_eq!(of("swarm_terminated").len(), 1);
    let links = of("link");
    assert!(
        links
            .windows(2)
            .all(|pair| (&pair[0]["up"], &pair[0]["reason"]) != (&pair[1]["up"], &pair[1]["reason"])),
        "{links:#?}"
    );
    wait_until("no job is left", || match workspace.jobs() {
        jobs if jobs.is_empty() => Ok(()),
        jobs => Err(format!("{jobs:?}")),
    });
}
