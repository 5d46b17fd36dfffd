//! What Slurm runs after each task: it speaks for a worker that was killed together with its keeper, and only then.

use codeswarm_tests::kept_worker::{KeptWorker, version};
use codeswarm_tests::workspace::Workspace;
use rustix::process::Signal;
use serde_json::json;

#[test]
fn p6_a_worker_killed_with_its_keeper_is_accounted_for_at_the_end_of_the_task() {
    let workspace = Workspace::echo();
    let kept = KeptWorker::new(&workspace);
    let mut keeper = kept.start(true);
    kept.wait_for("worker_start", 1);
    kept.prompt("cut", "[[echo deltas=3]] [[hang]]");
    kept.prompt("waits", "hello");
    kept.wait_for("assistant_delta", 1);
    kept.wait_for("inject_received", 1);
    // Frozen, so that it starts no other.
    keeper.signal(Signal::STOP);
    kept.kill_worker();
    keeper.signal(Signal::KILL);
    keeper.wait_exit();
    kept.prompt("late", "hello");
    kept.end_task();
    let records = kept.assert_whole(&["cut", "waits", "late"]);
    assert_eq!(records.last().unwrap()["reason"], "worker_killed");
    let cut = kept.end_of("cut");
    assert_eq!(
        (&cut["status"], &cut["error"]["class"]),
        (&json!("failed"), &json!("worker_died")),
        "{cut}"
    );
    for never_started in ["waits", "late"] {
        assert_eq!(kept.end_of(never_started)["error"], "worker_killed");
    }
    // The same again, as after another life of the job that did nothing, changes nothing.
    kept.end_task();
    assert_eq!(kept.records(), records);
    workspace.wait_until_quiet();
}

#[test]
fn p7_a_worker_that_ends_in_order_after_its_keeper_was_killed_speaks_for_itself() {
    let workspace = Workspace::echo();
    let kept = KeptWorker::new(&workspace);
    let mut keeper = kept.start(true);
    kept.wait_for("worker_start", 1);
    kept.prompt("cut", "[[echo deltas=3]] [[hang]]");
    kept.wait_for("assistant_delta", 1);
    keeper.signal(Signal::KILL);
    keeper.wait_exit();
    kept.end_task();
    let records = kept.assert_whole(&["cut"]);
    assert_eq!(records.last().unwrap()["reason"], "sigterm");
    assert!(records.iter().all(|record| record["epoch"] == 1), "{records:#?}");
}

#[test]
fn p7_a_task_that_has_ended_in_order_is_left_as_it_is() {
    let workspace = Workspace::echo();
    let kept = KeptWorker::new(&workspace);
    let mut keeper = kept.start(true);
    kept.wait_for("agent_ready", 1);
    keeper.signal(Signal::TERM);
    keeper.wait_exit();
    let records = kept.assert_whole(&[]);
    kept.end_task();
    assert_eq!(kept.records(), records);
}

#[test]
fn p11_a_task_of_a_launch_that_was_withdrawn_says_nothing() {
    let workspace = Workspace::echo();
    let kept = KeptWorker::new(&workspace);
    kept.launch(json!({"version": version(&workspace), "node_count": 0, "agent": {"kind": "echo"}}));
    kept.end_task();
    assert!(kept.records().is_empty());
}
