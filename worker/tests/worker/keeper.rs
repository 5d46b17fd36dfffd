//! A real keeper and the workers below it: who dies, who is told to end, and what the outbox says of it.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::support::{Node, Worker, ends};
use codeswarm_protocol::record::{Word, WorkerRecord};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;

fn keeper(node: &Node) -> Worker {
    let mut command = node.command();
    command.arg("--keep");
    node.spawn(command)
}

fn wait_for_log(worker: &Worker, what: &str) {
    let since = Instant::now();
    while !worker.log().contains(what) {
        assert!(since.elapsed() < Duration::from_secs(60), "{}", worker.log());
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Kills the worker that runs below the keeper, in mid-turn; `prompt` has no end yet.
fn kill_in_mid_turn(node: &Node, prompt: &str) {
    node.prompt(prompt, "[[hang]]");
    let records = node.wait_for("the turn", |record| matches!(record.word, Word::TurnStarted { .. }));
    let pid = records.iter().rev().find_map(|record| match &record.word {
        Word::WorkerStart { pid, .. } => Some(*pid),
        _ => None,
    });
    let pid = Pid::from_raw(i32::try_from(pid.unwrap()).unwrap()).unwrap();
    kill_process(pid, Signal::KILL).unwrap();
}

fn exit_reason(records: &[WorkerRecord]) -> &str {
    match &records.last().unwrap().word {
        Word::WorkerExit { reason, .. } => reason,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_keeper_whose_place_is_taken_waits_and_leaves_the_place_as_it_is() {
    let node = Node::new();
    let holder = node.start();
    node.wait_for("the agent", |record| matches!(record.word, Word::AgentReady { .. }));
    let keeper = keeper(&node);
    wait_for_log(&keeper, "could not begin or go on");
    keeper.signal(Signal::TERM);
    let (status, _, log) = keeper.end();
    assert_eq!(status.code(), Some(75), "{log}");
    node.prompt("i1", "hello");
    node.wait_for("the end", |record| ends(record, "i1"));
    holder.terminate();
    let lives = node
        .records()
        .iter()
        .filter(|record| matches!(record.word, Word::WorkerStart { .. }))
        .count();
    assert_eq!(lives, 1);
}

#[test]
fn p6_a_keeper_that_is_told_to_end_between_two_lives_ends_what_the_first_left_open() {
    let node = Node::new();
    let keeper = keeper(&node);
    kill_in_mid_turn(&node, "cut");
    wait_for_log(&keeper, "the worker died");
    keeper.terminate();
    assert!(node.is_archived());
    let records = node.records();
    assert_eq!(records.iter().filter(|record| ends(record, "cut")).count(), 1);
    assert_eq!(exit_reason(&records), "sigterm");
}

#[test]
fn p6_a_keeper_whose_program_was_taken_away_or_forbidden_says_so_and_ends_what_is_open() {
    let removed = |program: &Path| fs::remove_file(program);
    let forbidden = |program: &Path| fs::set_permissions(program, fs::Permissions::from_mode(0o600));
    let ways: [fn(&Path) -> std::io::Result<()>; 2] = [removed, forbidden];
    for take_away in ways {
        let node = Node::new();
        let copy = node.temporary().join("codeswarm-worker");
        let original = node.command();
        fs::copy(original.get_program(), &copy).unwrap();
        let mut command = Command::new(&copy);
        command.arg("--keep");
        for (name, value) in original.get_envs() {
            command.env(name, value.unwrap_or_default());
        }
        let keeper = node.spawn(command);
        node.wait_for("the agent", |record| matches!(record.word, Word::AgentReady { .. }));
        take_away(&copy).unwrap();
        kill_in_mid_turn(&node, "cut");
        let (status, _, log) = keeper.end();
        assert_eq!(status.code(), Some(70), "{log}");
        assert!(node.is_archived());
        let records = node.records();
        assert_eq!(records.iter().filter(|record| ends(record, "cut")).count(), 1);
        assert_eq!(exit_reason(&records), "worker_refused");
        let told = |record: &WorkerRecord| matches!(&record.word, Word::WorkerError { message } if message.contains("could not be started"));
        assert!(records.iter().any(told), "{records:#?}");
    }
}

/// Nobody reads there either: the log is all that is left.
#[test]
fn p9_a_keeper_whose_mailbox_was_taken_away_says_so_in_its_log() {
    let node = Node::new();
    let keeper = keeper(&node);
    node.wait_for("the agent", |record| matches!(record.word, Word::AgentReady { .. }));
    let pid = match &node.records()[0].word {
        Word::WorkerStart { pid, .. } => Pid::from_raw(i32::try_from(*pid).unwrap()).unwrap(),
        other => panic!("{other:?}"),
    };
    let folder = node.mailbox.folder();
    let aside = node.temporary().join("mailbox");
    fs::rename(&folder, &aside).unwrap();
    fs::write(&folder, "no folder").unwrap();
    kill_process(pid, Signal::KILL).unwrap();
    wait_for_log(&keeper, "the worker died");
    keeper.signal(Signal::TERM);
    let (status, _, log) = keeper.end();
    assert!(status.code().is_some_and(|code| code != 0), "{status} {log}");
    assert!(
        log.contains("the outbox could not be told: there is no mailbox in"),
        "{log}"
    );
    assert!(Path::new(&aside).join("outbox").is_dir());
}

#[test]
fn p7_the_first_signal_is_the_reason_to_end_and_a_second_changes_nothing() {
    let node = Node::with(json!({"worker": {"shutdown_grace_seconds": 4}}));
    let keeper = keeper(&node);
    node.prompt("running", "[[hang deaf]]");
    node.prompt("waiting", "later");
    node.wait_for("the turn", |record| matches!(record.word, Word::TurnStarted { .. }));
    keeper.signal(Signal::INT);
    // Then the worker has begun to end, and its agent hears nothing.
    node.wait_for("the end of what waits", |record| ends(record, "waiting"));
    keeper.terminate();
    assert!(node.is_archived());
    let records = node.records();
    assert_eq!(exit_reason(&records), "sigint");
    assert_eq!(records.iter().filter(|record| ends(record, "running")).count(), 1);
}
