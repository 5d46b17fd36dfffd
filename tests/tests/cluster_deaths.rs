//! What dies on the nodes and on the router's host while prompts are in flight: a worker, its keeper, its agent, the
//! router. Every prompt ends once, nothing is lost or doubled, and the swarm goes on (P1, P2, P4, P6).

use codeswarm_tests::account::{assert_account, wait_for_completion, wait_for_end};
use codeswarm_tests::requires;
use codeswarm_tests::router::{RouterProcess, Swarm};
use codeswarm_tests::slurm_processes::{status_of, wait_for_failure};
use codeswarm_tests::slurm_workspace::SlurmWorkspace;
use codeswarm_tests::stream::position;
use codeswarm_tests::workspace::wait_until;
use rustix::process::Signal;
use serde_json::json;

/// A turn that takes two seconds.
const LONG: &str = "[[echo deltas=200 pace_ms=10]]";

#[test]
fn p2_p4_p6_a_worker_killed_in_mid_turn_is_started_again_by_its_keeper() {
    let Some(cluster) = requires::cluster() else { return };
    let workspace = SlurmWorkspace::echo(&cluster);
    let mut router = RouterProcess::daemon(&workspace);
    router.follow_all();
    let swarm = router.launch_ready(2);
    let cut = router.inject(&swarm, 0, "[[echo deltas=3]] [[hang]]");
    let waits = router.inject(&swarm, 0, "waits");
    let other = router.inject(&swarm, 1, LONG);
    router.event_of(&waits, "inject_received");
    router.event_of(&cut, "assistant_delta");
    workspace.signal(&workspace.worker(0), Signal::KILL);
    let end = wait_for_end(&router, &cut);
    assert_eq!(
        (&end["status"], &end["error"]["class"], &end["epoch"]),
        (&json!("failed"), &json!("worker_died"), &json!(2)),
        "{end}"
    );
    wait_for_completion(&router, &waits);
    let after = router.inject(&swarm, 0, "after");
    wait_for_completion(&router, &after);
    wait_for_completion(&router, &other);
    let status = status_of(&mut router, &swarm);
    assert_eq!(
        (
            &status["status"],
            &status["nodes"][0]["epoch"],
            &status["nodes"][1]["epoch"]
        ),
        (&json!("running"), &json!(2), &json!(1)),
        "{status:#}"
    );
    router.terminate(&swarm);
    assert_account(&workspace, &swarm, &router.lines(), &[cut, waits, after, other]);
}

#[test]
fn p6_p7_a_keeper_that_is_killed_costs_its_own_node_and_no_other() {
    let Some(cluster) = requires::cluster() else { return };
    let workspace = SlurmWorkspace::echo(&cluster).looking_every_second();
    let mut router = RouterProcess::daemon(&workspace);
    router.follow_all();
    let swarm = router.launch_ready(2);
    let cut = router.inject(&swarm, 0, "[[echo deltas=3]] [[hang]]");
    let waits = router.inject(&swarm, 0, "waits");
    let other = router.inject(&swarm, 1, LONG);
    router.event_of(&waits, "inject_received");
    router.event_of(&cut, "assistant_delta");
    workspace.signal(&workspace.keeper(0), Signal::KILL);
    assert_eq!(wait_for_end(&router, &cut)["status"], "interrupted");
    assert_eq!(wait_for_end(&router, &waits)["error"], "worker_exit");
    wait_for_completion(&router, &other);
    let after = router.inject(&swarm, 1, "after");
    wait_for_completion(&router, &after);
    let status = wait_until("node 0 to have exited", || {
        let status = status_of(&mut router, &swarm);
        match status["nodes"][0]["state"].as_str() {
            Some("exited") => Ok(status),
            _ => Err(format!("{status:#}")),
        }
    });
    assert_eq!(
        (&status["status"], &status["nodes"][1]["state"]),
        (&json!("running"), &json!("idle")),
        "{status:#}"
    );
    router.terminate(&swarm);
    assert_account(&workspace, &swarm, &router.lines(), &[cut, waits, after, other]);
    workspace.wait_until_no_job_is_left();
}

/// Both at once, as the kernel does when memory runs out: only Slurm is left to see it, at the end of the task.
#[test]
fn p6_a_worker_killed_with_its_keeper_ends_its_own_prompts_while_the_job_goes_on() {
    let Some(cluster) = requires::cluster() else { return };
    let workspace = SlurmWorkspace::echo(&cluster).looking_every_second();
    let mut router = RouterProcess::daemon(&workspace);
    router.follow_all();
    let swarm = router.launch_ready(2);
    let mut injections = router.inject_all(&swarm, "[[echo deltas=3]] [[hang]]");
    injections.push(router.inject(&swarm, 0, "waits"));
    router.event_of(&injections[2], "inject_received");
    for injection in &injections[..2] {
        router.event_of(injection, "assistant_delta");
    }
    kill_with_its_keeper(&workspace, 0);
    let end = wait_for_end(&router, &injections[0]);
    assert_eq!(
        (&end["status"], &end["error"]["class"]),
        (&json!("failed"), &json!("worker_died")),
        "{end}"
    );
    assert_eq!(wait_for_end(&router, &injections[2])["error"], "worker_killed");
    let status = wait_until("node 0 to have exited", || {
        let status = status_of(&mut router, &swarm);
        match status["nodes"][0]["state"].as_str() {
            Some("exited") => Ok(status),
            _ => Err(format!("{status:#}")),
        }
    });
    assert_eq!(
        (&status["status"], &status["nodes"][1]["state"]),
        (&json!("running"), &json!("busy")),
        "{status:#}"
    );
    // And when the last one has gone the same way, the job has.
    kill_with_its_keeper(&workspace, 1);
    assert_eq!(wait_for_end(&router, &injections[1])["status"], "failed");
    let end = wait_for_failure(&router, &swarm);
    assert!(end["reason"].as_str().unwrap_or_default().contains("FAILED"), "{end}");
    assert_account(&workspace, &swarm, &router.lines(), &injections);
    workspace.wait_until_no_job_is_left();
}

/// All are frozen first, and the worker dies before its keeper: at the end of a task Slurm wakes what is left of it and tells it
/// to end, which a worker would do in order.
fn kill_with_its_keeper(workspace: &SlurmWorkspace, node: u32) {
    let processes = [workspace.worker(node), workspace.keeper(node)];
    for signal in [Signal::STOP, Signal::KILL] {
        for process in &processes {
            workspace.signal(process, signal);
        }
    }
}

#[test]
fn p6_an_agent_that_dies_in_a_job_is_started_again_on_its_thread() {
    let Some(cluster) = requires::cluster() else { return };
    let workspace = SlurmWorkspace::echo(&cluster);
    let mut router = RouterProcess::daemon(&workspace);
    router.follow_all();
    let swarm = router.launch_ready(1);
    let cut = router.inject(&swarm, 0, "[[crash_after deltas=2]] [[echo deltas=5]]");
    let after = router.inject(&swarm, 0, "after");
    let end = wait_for_end(&router, &cut);
    assert_eq!(end["error"]["class"], "agent_died", "{end}");
    wait_for_completion(&router, &after);
    let records = workspace.records(&swarm.job_id, 0);
    let ready: Vec<_> = records
        .iter()
        .filter(|record| record["type"] == "agent_ready")
        .collect();
    assert_eq!(ready.len(), 2, "{ready:#?}");
    assert_eq!(ready[0]["thread_id"], ready[1]["thread_id"]);
    router.terminate(&swarm);
    assert_account(&workspace, &swarm, &router.lines(), &[cut, after]);
}

/// Follows a swarm from a client's copy on.
fn go_on_from(router: &mut RouterProcess, swarm: &Swarm, copy: &[serde_json::Value]) {
    let since: serde_json::Map<_, _> = (0..swarm.nodes)
        .map(|node| (node.to_string(), json!(position(copy, &swarm.job_id, node))))
        .collect();
    let request = router.ask(json!({"command": "subscribe", "swarm_id": swarm.swarm_id, "since": since}));
    router.answer(&request, "caught_up");
}

#[test]
fn p1_p2_p4_p6_a_router_killed_three_times_in_mid_turn_is_back_where_the_clients_copy_ended() {
    let Some(cluster) = requires::cluster() else { return };
    let workspace = SlurmWorkspace::echo(&cluster);
    let mut router = RouterProcess::daemon(&workspace);
    router.follow_all();
    let swarm = router.launch_ready(2);
    let (mut copy, mut injections) = (Vec::new(), Vec::new());
    for _ in 0..3 {
        let running = router.inject_all(&swarm, LONG);
        router.event_of(&running[1], "assistant_delta");
        // Acknowledged, and perhaps not even sent.
        let last = router.inject(&swarm, 0, "acknowledged just before the kill");
        injections.extend(running);
        injections.push(last);
        router.kill();
        copy.extend(router.lines());
        router = RouterProcess::daemon(&workspace);
        go_on_from(&mut router, &swarm, &copy);
    }
    for injection in &injections {
        let heard = |event: &serde_json::Value| event["type"] == "usage" && event["injection_id"] == injection.as_str();
        if !copy.iter().any(heard) {
            router.event_of(injection, "usage");
        }
    }
    router.terminate(&swarm);
    copy.extend(router.lines());
    assert_account(&workspace, &swarm, &copy, &injections);
    workspace.wait_until_no_job_is_left();
    router.leave();
    workspace.login.wait_until_quiet();
}

#[test]
fn a_router_that_is_gone_leaves_nothing_on_the_login_node_and_the_job_works_on() {
    let Some(cluster) = requires::cluster() else { return };
    let workspace = SlurmWorkspace::echo(&cluster);
    let mut router = RouterProcess::daemon(&workspace);
    router.follow_all();
    let swarm = router.launch_ready(2);
    let running = router.inject_all(&swarm, LONG);
    for injection in &running {
        router.event_of(injection, "assistant_delta");
    }
    // In order: standard input ends.
    let took = router.leave();
    assert!(took.as_secs() < 3, "{took:?}");
    workspace.login.wait_until_quiet();
    let mut copy = router.lines();
    // Killed: nobody can tidy up.
    let mut router = RouterProcess::daemon(&workspace);
    go_on_from(&mut router, &swarm, &copy);
    for injection in &running {
        router.event_of(injection, "usage");
    }
    router.kill();
    let began = std::time::Instant::now();
    workspace.login.wait_until_quiet();
    assert!(began.elapsed().as_secs() < 12, "{:?}", began.elapsed());
    copy.extend(router.lines());
    let mut router = RouterProcess::daemon(&workspace);
    go_on_from(&mut router, &swarm, &copy);
    let after = router.inject(&swarm, 1, "after");
    wait_for_completion(&router, &after);
    router.terminate(&swarm);
    copy.extend(router.lines());
    let injections = [running, vec![after]].concat();
    assert_account(&workspace, &swarm, &copy, &injections);
}
