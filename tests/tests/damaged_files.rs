//! Files of the mailbox that somebody else has written into: what is no record is passed over and reported.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::PathBuf;

use codeswarm_tests::router::{RouterProcess, Swarm};
use codeswarm_tests::schema::assert_flat_events;
use codeswarm_tests::stream::{assert_in_order, records_among};
use codeswarm_tests::workspace::Workspace;
use rustix::process::Signal;
use serde_json::{Value, json};

fn file(workspace: &Workspace, swarm: &Swarm, folder: &str) -> PathBuf {
    workspace.mailbox(folder).join(format!("{}_00.jsonl", swarm.job_id))
}

fn append(file: &PathBuf, bytes: &[u8]) -> u64 {
    let before = std::fs::metadata(file).unwrap().len();
    OpenOptions::new()
        .append(true)
        .open(file)
        .unwrap()
        .write_all(bytes)
        .unwrap();
    before
}

#[test]
fn what_is_no_record_in_an_outbox_is_passed_over_and_reported() {
    let workspace = Workspace::echo();
    let mut router = RouterProcess::daemon(&workspace);
    router.follow_all();
    let swarm = router.launch_ready(1);
    router.turn(&swarm, 0, "before");
    let outbox = file(&workspace, &swarm, "outbox");
    for garbage in [
        b"somebody's words\n".as_slice(),
        b"{\"type\":\"turn_complete\"}\n",
        b"{\"type\":\"notice\",\"message\":\"\xff\xfe\",\"seq\":99}\n",
        b"[1,2,3]\n",
    ] {
        let mark = router.mark();
        let offset = append(&outbox, garbage);
        let skipped = router.wait_after(mark, "the report", |event| event["type"] == "records_skipped");
        assert_eq!(
            (&skipped["offset"], &skipped["length"]),
            (&json!(offset), &json!(garbage.len())),
            "{skipped}"
        );
        let name = format!("mailbox/outbox/{}_00.jsonl", swarm.job_id);
        assert_eq!(skipped["file"], name, "{skipped}");
        assert!(
            skipped["head"]
                .as_str()
                .unwrap()
                .starts_with(&String::from_utf8_lossy(&garbage[..7]).into_owned()),
            "{skipped}"
        );
        assert_eq!(router.turn(&swarm, 0, "after it")["status"], "completed");
    }
    // A record of an earlier number is not taken for a new one.
    append(&outbox, b"{\"type\":\"turn_complete\",\"status\":\"completed\",\"duration_ms\":1,\"seq\":3,\"epoch\":1,\"timestamp\":\"2026-03-01T12:00:00Z\",\"job_id\":\"x\",\"node_id\":0}\n");
    assert_eq!(router.turn(&swarm, 0, "still in order")["status"], "completed");
    assert_all_numbers(&router, &swarm);
    // Its reader finds its way past all of it from the beginning too.
    let mut late = RouterProcess::spawn(&workspace, &[]);
    let request = late.ask(json!({"command": "subscribe", "swarm_id": swarm.swarm_id, "since": 0}));
    late.answer(&request, "caught_up");
    assert_all_numbers(&late, &swarm);
    router.terminate(&swarm);
    assert_flat_events(&router.lines());
}

fn assert_all_numbers(router: &RouterProcess, swarm: &Swarm) {
    let events = router.lines();
    assert_in_order(&events, &swarm.job_id, 0);
    let records = records_among(&events, &swarm.job_id, 0);
    let seqs: Vec<u64> = records.iter().map(|record| record["seq"].as_u64().unwrap()).collect();
    assert_eq!(seqs, (1..=seqs.len() as u64).collect::<Vec<_>>());
}

#[test]
fn a_torn_last_line_is_ended_by_the_next_life() {
    let workspace = Workspace::echo();
    let mut router = RouterProcess::daemon(&workspace);
    router.follow_all();
    let swarm = router.launch_ready(1);
    router.turn(&swarm, 0, "before");
    router.wait_for("the turn's last record", |event| event["type"] == "usage");
    let worker = workspace.processes_named("worker --root").pop().unwrap();
    // Stopped, torn, killed: as if it had died in the middle of a write.
    workspace.signal(&worker, Signal::STOP);
    append(
        &file(&workspace, &swarm, "outbox"),
        b"{\"type\":\"assistant_delta\",\"content\":\"half a wo",
    );
    workspace.signal(&worker, Signal::KILL);
    let after = router.turn(&swarm, 0, "after");
    assert_eq!((&after["status"], &after["epoch"]), (&json!("completed"), &json!(2)));
    let skipped = router.wait_for("the report", |event| event["type"] == "records_skipped");
    assert!(skipped["head"].as_str().unwrap().contains("half a wo"), "{skipped}");
    assert_all_numbers(&router, &swarm);
    router.terminate(&swarm);
}

#[test]
fn what_is_no_record_in_an_inbox_is_passed_over_and_reported() {
    let workspace = Workspace::echo();
    let mut router = RouterProcess::daemon(&workspace);
    router.follow_all();
    let swarm = router.launch_ready(1);
    let inbox = file(&workspace, &swarm, "inbox");
    append(&inbox, b"write me a poem\n");
    let error = router.wait_for("the report", |event| event["type"] == "worker_error");
    assert!(error["message"].as_str().unwrap().contains("inbox"), "{error}");
    assert_eq!(router.turn(&swarm, 0, "hello")["status"], "completed");
    // A prompt that is there a second time is not a second prompt.
    let lines = std::fs::read_to_string(&inbox).unwrap();
    let prompt: Value = serde_json::from_str(lines.lines().last().unwrap()).unwrap();
    append(&inbox, format!("{prompt}\n").as_bytes());
    assert_eq!(router.turn(&swarm, 0, "and on")["status"], "completed");
    let records = workspace.records(&swarm.job_id, 0);
    let started = records.iter().filter(|record| record["type"] == "turn_started");
    assert_eq!(started.count(), 2);
    router.terminate(&swarm);
    assert_flat_events(&router.lines());
}
