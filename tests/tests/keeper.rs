//! A worker under its keeper, as `srun` starts them: what dies is started again, and what cannot go on says so.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use codeswarm_tests::json_process::JsonProcess;
use codeswarm_tests::kept_worker::{KeptWorker, version};
use codeswarm_tests::workspace::{Workspace, wait_until};
use rustix::process::Signal;
use serde_json::{Value, json};

/// The end of a keeper that must have left nothing running.
fn exit_code(keeper: &mut JsonProcess, workspace: &Workspace) -> Option<i32> {
    let status = keeper.wait_exit();
    assert_eq!(keeper.lines(), Vec::<Value>::new(), "a keeper prints nothing");
    workspace.wait_until_quiet();
    status.code()
}

/// Its log has this word; the last of it may come after its end.
fn assert_logged(process: &JsonProcess, word: &str) {
    wait_until("a word in the log", || {
        let stderr = process.stderr();
        if stderr.contains(word) {
            Ok(())
        } else {
            Err(format!("{word:?} is not in {stderr}"))
        }
    });
}

fn message_of(records: &[Value], kind: &str) -> String {
    let record = records.iter().rev().find(|record| record["type"] == kind);
    record.map_or_else(
        || panic!("no {kind}: {records:#?}"),
        |record| record["message"].as_str().unwrap().to_owned(),
    )
}

#[test]
fn p2_p6_a_worker_killed_in_mid_turn_is_started_again_and_no_prompt_runs_twice() {
    let workspace = Workspace::echo();
    let kept = KeptWorker::new(&workspace);
    let mut keeper = kept.start(true);
    assert_eq!(kept.wait_for("worker_start", 1)["host"], "node0");
    kept.prompt("one", "[[echo deltas=3]] [[hang]]");
    kept.wait_for("assistant_delta", 1);
    kept.kill_worker();
    let cut = kept.end_of("one");
    assert_eq!((&cut["epoch"], &cut["status"]), (&json!(2), &json!("failed")));
    assert_eq!(cut["error"]["class"], "worker_died", "{cut}");
    kept.prompt("two", "hello");
    assert_eq!(kept.end_of("two")["status"], "completed");
    keeper.signal(Signal::TERM);
    assert_eq!(exit_code(&mut keeper, &workspace), Some(0), "{}", keeper.stderr());
    let records = kept.assert_whole(&["one", "two"]);
    assert_eq!(records.last().unwrap()["reason"], "sigterm");
    let starts = records.iter().filter(|record| record["type"] == "turn_started");
    assert_eq!(starts.count(), 2, "{records:#?}");
    assert_logged(&keeper, "the worker died (signal: 9");
}

#[test]
fn p6_a_worker_killed_five_times_in_a_row_is_given_up_and_its_outbox_says_so() {
    let workspace = Workspace::echo();
    let kept = KeptWorker::new(&workspace);
    let mut keeper = kept.start(true);
    kept.wait_for("agent_ready", 1);
    kept.prompt("one", "[[hang]]");
    kept.wait_for("turn_started", 1);
    for epoch in 1..=5 {
        kept.wait_for("agent_ready", epoch);
        if epoch == 5 {
            kept.prompt("two", "[[hang]]");
            kept.prompt("three", "never read");
            kept.wait_for_turn("two");
        }
        kept.kill_worker();
    }
    assert_eq!(exit_code(&mut keeper, &workspace), Some(70), "{}", keeper.stderr());
    let records = kept.assert_whole(&["one", "two", "three"]);
    let last = records.last().unwrap();
    assert_eq!((&last["epoch"], &last["reason"]), (&json!(6), &json!("worker_crashed")));
    let said = message_of(&records, "worker_error");
    assert!(
        said.contains("5 crashes in a row") && said.contains("signal: 9"),
        "{said}"
    );
    assert_eq!(kept.end_of("three")["type"], "inject_failed");
    let inbox = workspace.mailbox("inbox").join("272900_00.jsonl");
    assert_eq!(last["inbox_offset"], std::fs::metadata(inbox).unwrap().len());
}

#[test]
fn p7_sigterm_to_keeper_and_worker_at_once_ends_both_in_order() {
    let workspace = Workspace::echo();
    let kept = KeptWorker::new(&workspace);
    let mut keeper = kept.start(true);
    kept.wait_for("agent_ready", 1);
    kept.prompt("one", "[[hang]]");
    kept.prompt("two", "queued");
    kept.wait_for("turn_started", 1);
    // As a scheduler signals every process of a step.
    let worker = kept.worker();
    workspace.signal(&worker, Signal::TERM);
    keeper.signal(Signal::TERM);
    workspace.signal(&worker, Signal::TERM);
    keeper.signal(Signal::TERM);
    assert_eq!(exit_code(&mut keeper, &workspace), Some(0), "{}", keeper.stderr());
    let records = kept.assert_whole(&["one", "two"]);
    assert_eq!(records.last().unwrap()["reason"], "sigterm");
    assert!(records.iter().all(|record| record["epoch"] == 1));
}

#[test]
fn p7_a_worker_that_is_killed_over_its_end_is_accounted_for() {
    let workspace = Workspace::echo();
    let kept = KeptWorker::new(&workspace);
    let mut keeper = kept.start(true);
    kept.wait_for("agent_ready", 1);
    kept.prompt("one", "[[hang deaf]]");
    kept.wait_for("turn_started", 1);
    keeper.signal(Signal::TERM);
    // It has begun to end, and waits for an agent that does not listen.
    std::thread::sleep(Duration::from_millis(300));
    kept.kill_worker();
    assert_eq!(exit_code(&mut keeper, &workspace), Some(0), "{}", keeper.stderr());
    let records = kept.assert_whole(&["one"]);
    assert_eq!(records.last().unwrap()["reason"], "sigterm");
    assert!(message_of(&records, "worker_error").contains("the job ends"));
}

/// An agent that never says a word, and outlives a worker that is killed.
fn silent_agent(workspace: &Workspace) -> PathBuf {
    use std::os::unix::fs::PermissionsExt;
    let program = workspace.path().join("codex");
    std::fs::write(&program, "#!/bin/sh\nexec sleep 600\n").unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    program
}

#[test]
fn p7_a_job_that_ends_while_its_worker_waits_to_be_started_again_is_accounted_for() {
    let workspace = Workspace::echo();
    let kept = KeptWorker::new(&workspace);
    let agent = json!({"kind": "codex", "command": [silent_agent(&workspace)]});
    kept.launch(json!({"version": version(&workspace), "node_count": 1, "agent": agent}));
    let mut keeper = kept.start(true);
    for epoch in 1..=3 {
        kept.wait_for("worker_start", epoch);
        wait_until("an agent", || match workspace.processes_named("sleep 600") {
            agents if agents.len() == 1 => Ok(()),
            other => Err(format!("{other:?}")),
        });
        kept.kill_worker();
    }
    wait_until("the third death", || {
        let stderr = keeper.stderr();
        match stderr.matches("the worker died (signal: 9").count() {
            3 => Ok(()),
            _ => Err(stderr),
        }
    });
    keeper.signal(Signal::TERM);
    assert_eq!(exit_code(&mut keeper, &workspace), Some(0), "{}", keeper.stderr());
    let records = kept.assert_whole(&[]);
    assert_eq!(
        (&records.last().unwrap()["epoch"], &records.last().unwrap()["reason"]),
        (&json!(4), &json!("sigterm"))
    );
}

#[test]
fn p7_a_worker_whose_keeper_is_killed_ends_in_order() {
    let workspace = Workspace::echo();
    let kept = KeptWorker::new(&workspace);
    let mut keeper = kept.start(true);
    kept.wait_for("agent_ready", 1);
    kept.prompt("one", "[[hang]]");
    kept.wait_for("turn_started", 1);
    keeper.signal(Signal::KILL);
    keeper.wait_exit();
    workspace.wait_until_quiet();
    let records = kept.assert_whole(&["one"]);
    assert_eq!(records.last().unwrap()["reason"], "sigterm");
}

#[test]
fn a_worker_without_its_keeper_does_not_begin() {
    let workspace = Workspace::echo();
    // Process 1 is nobody's child but the kernel's.
    let kept = KeptWorker::new(&workspace).with(&["--kept-by", "1"]);
    let mut worker = kept.start(false);
    assert_eq!(worker.wait_exit().code(), Some(75), "{}", worker.stderr());
    assert_logged(&worker, "is gone");
    assert_eq!(kept.records(), Vec::<Value>::new());
}

/// A worker that refuses to run says why in its outbox within seconds: with these words.
fn assert_refused(kept: &KeptWorker<'_>, workspace: &Workspace, words: &[&str]) -> Vec<Value> {
    std::fs::create_dir_all(workspace.mailbox("inbox")).unwrap();
    for folder in ["shared/codeswarm/mailbox", "shared/codeswarm/mailbox/inbox"] {
        use std::os::unix::fs::PermissionsExt;
        let private = std::fs::Permissions::from_mode(0o700);
        std::fs::set_permissions(workspace.path().join(folder), private).unwrap();
    }
    kept.prompt("one", "hello");
    let since = Instant::now();
    let mut keeper = kept.start(true);
    assert_eq!(exit_code(&mut keeper, workspace), Some(78), "{}", keeper.stderr());
    assert!(since.elapsed() < Duration::from_secs(10), "{:?}", since.elapsed());
    let records = kept.assert_whole(&["one"]);
    let said = serde_json::to_string(&records).unwrap();
    for word in words {
        assert!(said.contains(word), "{word:?} is not in {records:#?}");
    }
    assert_logged(&keeper, words[0]);
    records
}

#[test]
fn a_launch_file_of_another_version_is_refused_in_the_outbox_with_both_versions() {
    let workspace = Workspace::echo();
    let kept = KeptWorker::new(&workspace);
    kept.launch(json!({"version": "9.9.9", "node_count": 1, "agent": {"kind": "echo"}}));
    let records = assert_refused(&kept, &workspace, &["9.9.9", &version(&workspace), "deploy"]);
    assert_eq!(records.last().unwrap()["reason"], "worker_refused");
    assert_eq!(records[0]["type"], "worker_start");
    assert_eq!(records[0]["agent"], "unknown");
}

#[test]
fn a_launch_file_that_is_missing_is_told_in_the_outbox() {
    let workspace = Workspace::echo();
    let kept = KeptWorker::new(&workspace);
    std::fs::remove_file(kept.launch_file()).unwrap();
    assert_refused(&kept, &workspace, &["launch/s-1.json", "worker_refused"]);
}

#[test]
fn a_requeued_job_that_is_refused_says_so_behind_what_its_first_life_said() {
    let workspace = Workspace::echo();
    let kept = KeptWorker::new(&workspace);
    let mut keeper = kept.start(true);
    kept.wait_for("agent_ready", 1);
    keeper.signal(Signal::TERM);
    assert_eq!(exit_code(&mut keeper, &workspace), Some(0), "{}", keeper.stderr());
    kept.launch(json!({"version": "9.9.9", "node_count": 1, "agent": {"kind": "echo"}}));
    let records = assert_refused(&kept, &workspace, &["9.9.9"]);
    let last = records.last().unwrap();
    assert_eq!((&last["epoch"], &last["reason"]), (&json!(2), &json!("worker_refused")));
}

#[test]
fn an_agent_that_is_not_there_is_told_once_in_the_outbox() {
    let workspace = Workspace::echo();
    let kept = KeptWorker::new(&workspace);
    let agent = json!({"kind": "codex", "command": ["/nowhere/codex"]});
    kept.launch(json!({"version": version(&workspace), "node_count": 1, "agent": agent}));
    let records = assert_refused(&kept, &workspace, &["/nowhere/codex", "agent_unusable"]);
    assert!(records.iter().all(|record| record["epoch"] == 1), "{records:#?}");
}

#[test]
fn a_launch_that_was_withdrawn_leaves_no_trace() {
    let workspace = Workspace::echo();
    let kept = KeptWorker::new(&workspace);
    kept.launch(json!({"version": version(&workspace), "node_count": 0, "agent": {"kind": "echo"}}));
    let mut keeper = kept.start(true);
    assert_eq!(exit_code(&mut keeper, &workspace), Some(69), "{}", keeper.stderr());
    assert_logged(&keeper, "was withdrawn");
    assert!(!kept.root().join("mailbox").exists());
    assert!(!kept.root().join("runs").exists());
}
