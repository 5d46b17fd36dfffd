//! A worker's place in a Slurm job: requeued, begun before anybody has prepared it, on a shared filesystem.

use codeswarm_tests::json_process::JsonProcess;
use codeswarm_tests::kept_worker::{JOB, KeptWorker};
use codeswarm_tests::workspace::Workspace;
use rustix::process::Signal;
use serde_json::json;

fn end(worker: &mut JsonProcess) {
    worker.signal(Signal::TERM);
    assert_eq!(worker.wait_exit().code(), Some(0), "{}", worker.stderr());
}

/// Ended in order and started again at the same place, as `scontrol requeue` does.
fn goes_on_after_a_requeue(flags: &[&str]) {
    let workspace = Workspace::echo();
    let kept = KeptWorker::new(&workspace).with(flags);
    let mut worker = kept.start(true);
    kept.wait_for("agent_ready", 1);
    kept.prompt("one", "first life");
    assert_eq!(kept.end_of("one")["status"], "completed");
    kept.prompt("two", "[[hang]]");
    kept.prompt("three", "refused");
    kept.wait_for_turn("two");
    end(&mut worker);
    kept.assert_whole(&["one", "two", "three"]);
    kept.prompt("four", "between the lives");
    let mut worker = kept.start(true);
    assert_eq!(kept.end_of("four")["epoch"], 2);
    kept.prompt("five", "second life");
    assert_eq!(kept.end_of("five")["status"], "completed");
    end(&mut worker);
    let records = kept.assert_whole(&["one", "two", "three", "four", "five"]);
    let ran: Vec<_> = records
        .iter()
        .filter(|record| record["type"] == "turn_started")
        .map(|record| record["injection_id"].clone())
        .collect();
    assert_eq!(ran, ["one", "two", "four", "five"].map(|id| json!(id)));
    workspace.wait_until_quiet();
}

#[test]
fn p2_a_worker_of_a_requeued_job_takes_its_archive_back_and_goes_on() {
    goes_on_after_a_requeue(&["--filesystem", "local"]);
}

#[test]
fn p2_a_worker_of_a_requeued_job_goes_on_also_on_a_shared_filesystem() {
    goes_on_after_a_requeue(&["--filesystem", "network"]);
}

/// The worker comes first; then the router's side makes the inbox and whatever else is missing, and appends to it.
fn begins_before_it_is_prepared(flags: &[&str]) {
    let workspace = Workspace::echo();
    let kept = KeptWorker::new(&workspace).with(flags);
    let mut worker = kept.start(true);
    kept.wait_for("agent_ready", 1);
    let inbox = workspace.mailbox("inbox").join(format!("{JOB}_00.jsonl"));
    assert!(!inbox.exists());
    std::fs::write(&inbox, "").unwrap();
    std::thread::sleep(std::time::Duration::from_millis(300));
    kept.prompt("one", "hello");
    assert_eq!(kept.end_of("one")["status"], "completed");
    kept.prompt("two", "again");
    assert_eq!(kept.end_of("two")["status"], "completed");
    end(&mut worker);
    kept.assert_whole(&["one", "two"]);
    assert!(workspace.node_dir(JOB, 0).is_dir());
}

#[test]
fn a_worker_that_begins_before_its_inbox_is_there_reads_it_when_it_comes() {
    begins_before_it_is_prepared(&["--filesystem", "local"]);
}

#[test]
fn a_worker_on_a_shared_filesystem_reads_an_inbox_that_comes_later() {
    begins_before_it_is_prepared(&["--filesystem", "network"]);
}

#[test]
fn a_worker_finds_everything_prepared_before_it() {
    use std::os::unix::fs::DirBuilderExt;
    let workspace = Workspace::echo();
    let kept = KeptWorker::new(&workspace);
    for folder in [
        "mailbox/inbox",
        "mailbox/outbox",
        "mailbox/archive",
        &format!("runs/{JOB}"),
    ] {
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(kept.root().join(folder))
            .unwrap();
    }
    for folder in ["inbox", "outbox"] {
        std::fs::write(workspace.mailbox(folder).join(format!("{JOB}_00.jsonl")), "").unwrap();
    }
    kept.prompt("one", "hello");
    let mut worker = kept.start(true);
    assert_eq!(kept.end_of("one")["status"], "completed");
    end(&mut worker);
    kept.assert_whole(&["one"]);
}
