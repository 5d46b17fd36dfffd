//! Slurm itself falters: its controller is away, the job is put back into the queue, a node is lost. What is not known is
//! not concluded, and what is open runs on or ends (P2, P4, P6, P11).

use codeswarm_tests::account::{assert_account, wait_for_completion, wait_for_end};
use codeswarm_tests::processes;
use codeswarm_tests::requires;
use codeswarm_tests::router::{RouterProcess, Swarm};
use codeswarm_tests::slurm_processes::{status_of, wait_for_failure};
use codeswarm_tests::slurm_workspace::SlurmWorkspace;
use codeswarm_tests::workspace::wait_until;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

/// A turn that takes two seconds.
const LONG: &str = "[[echo deltas=200 pace_ms=10]]";

fn status(swarm: &Swarm, status: &'static str) -> impl Fn(&Value) -> bool {
    let swarm_id = swarm.swarm_id.clone();
    move |event| event["type"] == "swarm_status" && event["swarm_id"] == *swarm_id && event["status"] == status
}

#[test]
fn p11_a_controller_that_is_away_ends_nothing_and_is_told_once() {
    let Some(cluster) = requires::cluster() else { return };
    let cluster = cluster.alone();
    let workspace = SlurmWorkspace::echo(&cluster).looking_every_second();
    let mut router = RouterProcess::daemon(&workspace);
    router.follow_all();
    let swarm = router.launch_ready(2);
    let mark = router.mark();
    cluster.stop_slurmctld();
    let trouble = router.wait_after(mark, "the trouble to be told", |event| {
        event["type"] == "router_trouble"
    });
    let said = trouble["message"].as_str().unwrap_or_default();
    assert!(
        said.contains("not known") && said.contains("Unable to contact slurm controller"),
        "{said}"
    );
    // The agents need no controller.
    let mut injections = router.inject_all(&swarm, LONG);
    for injection in &injections {
        wait_for_completion(&router, injection);
    }
    // squeue takes nine seconds to say that; twice more, and it was still told once.
    let asked = workspace.fakes.calls("squeue").len();
    wait_until("further looks", || match workspace.fakes.calls("squeue").len() {
        now if now >= asked + 2 => Ok(()),
        now => Err(format!("{now} after {asked}")),
    });
    let told = router.lines().split_off(mark);
    let troubles: Vec<_> = told.iter().filter(|event| event["type"] == "router_trouble").collect();
    assert_eq!(troubles.len(), 1, "{troubles:#?}");
    assert_eq!(status_of(&mut router, &swarm)["status"], "running");
    cluster.start_slurmctld();
    cluster.restart_slurmctld();
    let after = router.inject(&swarm, 1, "after");
    wait_for_completion(&router, &after);
    injections.push(after);
    assert_eq!(status_of(&mut router, &swarm)["status"], "running");
    router.terminate(&swarm);
    assert_account(&workspace, &swarm, &router.lines(), &injections);
    workspace.wait_until_no_job_is_left();
}

/// Sees the job queued again and run again, in mid-turn, with a prompt that was waiting and one given between the lives.
#[track_caller]
fn goes_on_in_the_next_life(workspace: &SlurmWorkspace, again: impl FnOnce(&SlurmWorkspace, &Swarm)) {
    let mut router = RouterProcess::daemon(workspace);
    router.follow_all();
    let swarm = router.launch_ready(2);
    let done = router.inject(&swarm, 0, "done before");
    wait_for_completion(&router, &done);
    let running = router.inject_all(&swarm, "[[echo deltas=3]] [[hang]]");
    for injection in &running {
        router.event_of(injection, "assistant_delta");
    }
    let mark = router.mark();
    again(workspace, &swarm);
    let pending = router.wait_after(mark, "the swarm to wait again", status(&swarm, "pending"));
    let reason = pending["reason"].as_str().unwrap_or_default();
    assert!(reason.contains("requeued"), "{pending}");
    let between = router.inject(&swarm, 1, "given between the lives");
    router.wait_after(mark, "the swarm to run again", status(&swarm, "running"));
    for injection in &running {
        let end = wait_for_end(&router, injection);
        assert!(end["status"] == "interrupted" || end["status"] == "failed", "{end}");
    }
    wait_for_completion(&router, &between);
    let after = router.inject_all(&swarm, "after");
    for injection in &after {
        wait_for_completion(&router, injection);
    }
    let status = status_of(&mut router, &swarm);
    for node in 0..2 {
        assert_eq!(
            (&status["nodes"][node]["epoch"], &status["nodes"][node]["state"]),
            (&json!(2), &json!("idle")),
            "{status:#}"
        );
    }
    router.terminate(&swarm);
    let injections = [vec![done, between], running, after].concat();
    assert_account(workspace, &swarm, &router.lines(), &injections);
    workspace.wait_until_no_job_is_left();
}

#[test]
fn p2_p4_p6_a_job_requeued_in_mid_turn_goes_on_in_its_next_life() {
    let Some(cluster) = requires::cluster() else { return };
    let workspace = SlurmWorkspace::echo(&cluster).looking_every_second();
    goes_on_in_the_next_life(&workspace, |_, swarm| cluster.requeue(&swarm.job_id));
}

#[test]
fn p2_p4_p6_a_job_that_lost_a_node_goes_on_on_others() {
    let Some(cluster) = requires::cluster() else { return };
    let cluster = cluster.alone();
    let workspace = SlurmWorkspace::echo(&cluster).looking_every_second();
    goes_on_in_the_next_life(&workspace, |workspace, swarm| {
        cluster.node_down(&host_of(workspace, swarm, 0));
    });
}

#[test]
fn p6_a_job_that_may_not_be_requeued_fails_with_its_node() {
    let Some(cluster) = requires::cluster() else { return };
    let cluster = cluster.alone();
    let workspace = SlurmWorkspace::echo(&cluster).looking_every_second();
    let mut router = RouterProcess::daemon(&workspace);
    router.follow_all();
    let swarm = router.launch_ready(2);
    let job = format!("jobid={}", swarm.job_id);
    cluster.slurm(&["scontrol", "update", &job, "requeue=0"]);
    let mut injections = router.inject_all(&swarm, "[[echo deltas=3]] [[hang]]");
    for injection in &injections {
        router.event_of(injection, "assistant_delta");
    }
    injections.push(router.inject(&swarm, 0, "waits"));
    cluster.node_down(&host_of(&workspace, &swarm, 0));
    for injection in &injections {
        wait_for_end(&router, injection);
    }
    let end = wait_for_failure(&router, &swarm);
    assert!(
        end["reason"].as_str().unwrap_or_default().contains("NODE_FAIL"),
        "{end}"
    );
    assert_account(&workspace, &swarm, &router.lines(), &injections);
    workspace.wait_until_no_job_is_left();
}

/// As when its power fails: everything of the job on the machine is gone at once, and Slurm's own daemon there too.
#[test]
fn p6_a_machine_that_fails_in_a_job_with_no_kill_is_lost_alone() {
    let Some(cluster) = requires::cluster() else { return };
    let cluster = cluster.alone();
    let workspace = SlurmWorkspace::echo(&cluster)
        .looking_every_second()
        .configured(|config| config["cluster"]["slurm"]["sbatch_args"] = json!(["--no-kill"]));
    let mut router = RouterProcess::daemon(&workspace);
    router.follow_all();
    let swarm = router.launch_ready(3);
    let mut injections = router.inject_all(&swarm, "[[echo deltas=3]] [[hang]]");
    injections.push(router.inject(&swarm, 2, "waits"));
    for injection in &injections[..3] {
        router.event_of(injection, "assistant_delta");
    }
    router.event_of(&injections[3], "inject_received");
    let host = host_of(&workspace, &swarm, 2);
    let (worker, keeper) = (workspace.worker(2), workspace.keeper(2));
    cluster.daemon("kill", &host);
    // The keeper's parent is Slurm's own process for the task; without it no epilog runs.
    let parent = processes::parent_of(keeper.pid).unwrap();
    for signal in [Signal::STOP, Signal::KILL] {
        for pid in [worker.pid, keeper.pid, parent] {
            kill_process(Pid::from_raw(pid).unwrap(), signal).unwrap();
        }
    }
    cluster.node_down(&host);
    let end = wait_for_end(&router, &injections[2]);
    assert_eq!(end["status"], "failed", "{end}");
    assert!(end["error"]["message"].as_str().unwrap().contains(&host), "{end}");
    assert_eq!(wait_for_end(&router, &injections[3])["error"], "node_lost");
    let status = status_of(&mut router, &swarm);
    assert_eq!(
        (
            &status["status"],
            &status["nodes"][2]["state"],
            &status["nodes"][1]["state"]
        ),
        (&json!("running"), &json!("lost"), &json!("busy")),
        "{status:#}"
    );
    let refused = router.ask(json!({"command": "inject", "swarm_id": swarm.swarm_id, "nodes": 2, "content": "x"}));
    router.answer(&refused, "command_rejected");
    router.terminate(&swarm);
    assert_account(&workspace, &swarm, &router.lines(), &injections);
    workspace.wait_until_no_job_is_left();
}

/// The machine of a rank.
fn host_of(workspace: &SlurmWorkspace, swarm: &Swarm, node: u32) -> String {
    let records = workspace.records(&swarm.job_id, node);
    let host = records.iter().find_map(|record| record["host"].as_str());
    host.unwrap_or_else(|| panic!("no host in {records:#?}")).to_owned()
}
