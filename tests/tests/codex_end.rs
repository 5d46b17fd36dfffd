//! The orderly end (P7) with the real Codex in mid-turn and a command running: the turn is told as interrupted, the outbox
//! is archived, and nothing of the tree is left.

use std::io::Write;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};

use codeswarm_tests::codex_swarm::CodexSwarm;
use codeswarm_tests::requires;
use codeswarm_tests::workspace::wait_until;
use rustix::process::Signal;
use serde_json::{Value, json};

/// A command with a child in the background and one in a session of its own, which ignores what it can.
const TREE: &str =
    "[[exec sleep 4001 & setsid bash -c \"trap '' TERM HUP; while :; do sleep 4002; done\" & sleep 4003]] never said";

fn wait_for_the_tree(codex: &CodexSwarm) {
    for sleep in ["sleep 4001", "sleep 4002", "sleep 4003"] {
        codex.wait_for_process(sleep);
    }
}

fn archived(codex: &CodexSwarm) -> PathBuf {
    codex
        .workspace
        .mailbox("archive")
        .join(format!("{}_00.jsonl", codex.swarm.job_id))
}

/// The injection has ended as interrupted by the worker's end, and its worker's last record is the archive's last.
fn assert_ended_in_order(codex: &CodexSwarm, injection: &str) {
    wait_until("the outbox is in the archive", || match archived(codex).exists() {
        true => Ok(()),
        false => Err("it is not".to_owned()),
    });
    let records = codex.records();
    let last = records.last().unwrap();
    assert_eq!(
        (&last["type"], &last["reason"]),
        (&json!("worker_exit"), &json!("sigterm")),
        "{last}"
    );
    let of_injection: Vec<_> = records
        .iter()
        .filter(|record| record["injection_id"] == injection)
        .collect();
    let ends: Vec<_> = of_injection
        .iter()
        .filter(|record| record["type"] == "turn_complete")
        .collect();
    assert_eq!(ends.len(), 1, "{ends:#?}");
    assert_eq!(ends[0]["status"], "interrupted", "{}", ends[0]);
    assert_eq!(
        ends[0]["error"]["message"], "the worker was told to end (sigterm)",
        "{}",
        ends[0]
    );
    assert!(
        records.iter().all(|record| record["type"] != "agent_exit"),
        "the agent's end was asked for: {records:#?}"
    );
}

#[test]
fn p7_sigterm_to_a_worker_while_codex_runs_a_command() {
    let Some(program) = requires::codex() else { return };
    let mut codex = CodexSwarm::launch(&program, 1);
    let running = codex.inject(TREE);
    let waiting = codex.inject("never started");
    wait_for_the_tree(&codex);
    codex.router.event_of(&waiting, "inject_received");
    let worker = codex.worker();
    codex.workspace.signal(&worker, Signal::TERM);

    let turn = codex.end_of(&running);
    assert_eq!(turn.status(), "interrupted", "{}", turn.end);
    assert_eq!(codex.router.event_of(&waiting, "inject_failed")["error"], "worker_exit");
    assert_ended_in_order(&codex, &running);
    // Not even the home on the node's own disk; what a resume needs stays on the shared one.
    wait_until("nothing of the node is left", || {
        let home = std::fs::read_dir(codex.workspace.path().join("tmp")).unwrap().count();
        let running: Vec<_> = codex
            .workspace
            .processes()
            .into_iter()
            .filter(|process| !process.command_line.contains(" router "))
            .collect();
        match (home, running.is_empty()) {
            (0, true) => Ok(()),
            _ => Err(format!("{home} homes; {running:?}")),
        }
    });
    assert!(codex.work().with_extension("session").is_dir());
}

#[test]
fn p7_a_swarm_terminated_in_mid_turn() {
    let Some(program) = requires::codex() else { return };
    let mut codex = CodexSwarm::launch(&program, 1);
    let running = codex.inject(TREE);
    wait_for_the_tree(&codex);
    let swarm = codex.swarm.clone();
    codex.router.terminate(&swarm);
    assert_eq!(codex.end_of(&running).status(), "interrupted");
    assert_ended_in_order(&codex, &running);
    codex.router.leave();
    codex.workspace.wait_until_quiet();
}

/// What a scheduler does: the worker is nobody's child of ours, and all processes of its step get the signal at once.
#[test]
fn p7_sigterm_to_a_worker_and_all_that_it_has_started() {
    let Some(program) = requires::codex() else { return };
    let mut codex = CodexSwarm::launch(&program, 1);
    codex.turn("the word is heron").completed();
    // The router's worker makes room for one of our own, whose exit status we can see.
    codex.router.kill();
    for process in codex.workspace.processes_named(" router ") {
        codex.workspace.signal(&process, Signal::KILL);
    }
    codex.workspace.signal(&codex.worker(), Signal::KILL);
    codex.workspace.wait_until_quiet();
    let worker = spawn_worker(&codex);
    let inbox = codex
        .workspace
        .mailbox("inbox")
        .join(format!("{}_00.jsonl", codex.swarm.job_id));
    let mut inbox = std::fs::OpenOptions::new().append(true).open(inbox).unwrap();
    inbox
        .write_all(
            format!(
                "{}\n",
                json!({"type": "user", "injection_id": "by-hand", "content": TREE})
            )
            .as_bytes(),
        )
        .unwrap();
    wait_for_the_tree(&codex);
    let resumed = |record: &Value| record["type"] == "agent_ready" && record["epoch"] == 2;
    assert_eq!(
        codex.wait_for_record("agent_ready in epoch 2", resumed)["resumed"],
        true
    );

    for process in codex.workspace.processes() {
        codex.workspace.signal(&process, Signal::TERM);
    }
    let status = exit_of(worker);
    assert_eq!(status.code(), Some(0), "{status}");
    assert_ended_in_order(&codex, "by-hand");
    let left = codex.workspace.processes();
    assert!(left.is_empty(), "{left:?}");
    assert!(
        !codex
            .workspace
            .mailbox("outbox")
            .join(format!("{}_00.jsonl", codex.swarm.job_id))
            .exists()
    );
}

fn spawn_worker(codex: &CodexSwarm) -> Child {
    let mut command: Command = codex.workspace.bare_command();
    command
        .arg("worker")
        .arg("--root")
        .arg(codex.workspace.path().join("shared/codeswarm"))
        .args(["--job-id", &codex.swarm.job_id, "--node-id", "0"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command.spawn().unwrap()
}

fn exit_of(mut child: Child) -> ExitStatus {
    wait_until("the worker's exit", || match child.try_wait() {
        Ok(Some(status)) => Ok(status),
        state => Err(format!("{state:?}")),
    })
}
