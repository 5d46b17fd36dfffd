//! A filesystem that is full or read-only is reported as what it is, and costs no record (P9).

use codeswarm_tests::requires;
use codeswarm_tests::router::RouterProcess;
use codeswarm_tests::schema::assert_flat_events;
use codeswarm_tests::small_disk::SmallDisk;
use codeswarm_tests::stream::{assert_every_record_once, assert_in_order};
use codeswarm_tests::workspace::{Workspace, wait_until};
use rustix::process::Signal;
use serde_json::json;

const NO_SPACE: &str = "No space left on device";

#[test]
fn p9_a_worker_whose_disk_is_full_goes_on_when_there_is_space() {
    if requires::small_disk().is_none() {
        return;
    }
    // The turn waits for an answer until the disk is full, and has much to say then.
    let workspace = Workspace::echo().configured(|config| config["agent"]["approvals"] = json!("ask"));
    let disk = SmallDisk::mount(&workspace.path().join("shared"), 4);
    let mut router = RouterProcess::daemon(&workspace);
    router.follow_all();
    let swarm = router.launch_ready(1);
    let running = router.inject(&swarm, 0, r#"[[approve command="go on"]] [[long bytes=200000]]"#);
    let question = router.event_of(&running, "approval_required");
    disk.fill();
    let yes = json!({"command": "approve_execution", "swarm_id": swarm.swarm_id, "call_id": question["call_id"], "approved": true});
    router.asked(yes, "approval_ack");
    let outbox = workspace.mailbox("outbox").join(format!("{}_00.jsonl", swarm.job_id));
    wait_until("a record that does not fit", || match std::fs::read(&outbox) {
        Ok(bytes) if !bytes.ends_with(b"\n") => Ok(()),
        Ok(bytes) => Err(format!("{} bytes", bytes.len())),
        Err(error) => Err(error.to_string()),
    });
    // A prompt of which a part fits is not known to be delivered, which is said with the reason; nobody waits for a timeout.
    let long = "x".repeat(100_000);
    let long = router.inject(&swarm, 0, &long);
    let pending = router.event_of(&long, "inject_pending");
    let reason = pending["reason"].as_str().unwrap();
    assert!(reason.contains(NO_SPACE) && reason.contains("inbox"), "{pending}");
    disk.free();
    assert_eq!(router.event_of(&running, "turn_complete")["status"], "completed");
    let content = router.event_of(&running, "assistant")["content"].clone();
    assert_eq!(content.as_str().unwrap().len(), 200_000);
    assert_eq!(router.event_of(&long, "turn_complete")["status"], "completed");
    assert_eq!(
        router.event_of(&long, "assistant")["content"].as_str().unwrap().len(),
        100_000
    );
    assert_eq!(router.turn(&swarm, 0, "after it")["status"], "completed");
    router.terminate(&swarm);
    let records = workspace.records(&swarm.job_id, 0);
    let seqs: Vec<_> = records.iter().map(|record| record["seq"].as_u64().unwrap()).collect();
    assert_eq!(seqs, (1..=seqs.len() as u64).collect::<Vec<_>>(), "without gaps");
    let told: Vec<_> = records
        .iter()
        .filter(|record| record["type"] == "worker_error")
        .collect();
    assert!(
        told.iter()
            .any(|record| record["message"].as_str().unwrap().contains(NO_SPACE)),
        "{told:?}"
    );
    let events = router.lines();
    assert_flat_events(&events);
    assert_in_order(&events, &swarm.job_id, 0);
    assert_every_record_once(&events, &records, &swarm.job_id, 0);
    router.leave();
}

#[test]
fn p9_commands_wait_while_the_state_cannot_be_written() {
    if requires::small_disk().is_none() {
        return;
    }
    let workspace = Workspace::echo();
    let disk = SmallDisk::mount(&workspace.state_dir(), 2);
    let mut router = RouterProcess::daemon(&workspace);
    router.follow_all();
    let swarm = router.launch_ready(1);
    disk.fill();
    let command = json!({"command": "inject", "swarm_id": swarm.swarm_id, "nodes": 0, "content": "y".repeat(100_000)});
    let request = router.ask(command);
    let trouble = router.wait_for("the trouble", |event| event["type"] == "router_trouble");
    let message = trouble["message"].as_str().unwrap();
    assert!(message.contains(workspace.state_dir().to_str().unwrap()), "{trouble}");
    assert!(message.contains("full") || message.contains(NO_SPACE), "{trouble}");
    assert!(
        !router.lines().iter().any(|event| event["type"] == "inject_ack"),
        "nothing is promised meanwhile"
    );
    disk.free();
    let end = router.answer(&request, "turn_complete");
    assert_eq!(end["status"], "completed");
    router.answer(&request, "usage");
    // What it promised is kept, also when it is killed right after.
    router.kill();
    let mut router = RouterProcess::daemon(&workspace);
    let status = json!({"command": "swarm_status", "swarm_id": swarm.swarm_id});
    assert_eq!(router.asked(status, "swarm_status")["nodes"][0]["turns"], 1);
    assert_flat_events(&router.lines());
    router.terminate(&swarm);
    router.leave();
}

#[test]
fn p9_a_launch_without_space_fails_and_says_why() {
    if requires::small_disk().is_none() {
        return;
    }
    let workspace = Workspace::echo();
    let disk = SmallDisk::mount(&workspace.path().join("shared"), 1);
    let mut router = RouterProcess::daemon(&workspace);
    router.ping();
    disk.fill();
    let request = router.ask(json!({"command": "swarm_launch", "nodes": 2, "system_prompt": "hello"}));
    let ended = router.wait_for("the end of the swarm", |event| {
        event["type"] == "swarm_terminated" || event["type"] == "command_rejected"
    });
    assert_eq!(ended["status"], "failed", "{ended}");
    let reason = ended["reason"].as_str().unwrap();
    assert!(reason.contains(NO_SPACE), "{ended}");
    for node in 0..2 {
        let failed = router.wait_for("the prompt's end", |event| {
            event["request_id"] == request.as_str() && event["type"] == "inject_failed" && event["node_id"] == node
        });
        // Whichever was tried first: to write the prompt, or what the workers are told.
        assert!(
            ["mailbox", "launch_failed"].contains(&failed["error"].as_str().unwrap()),
            "{failed}"
        );
        assert!(failed["reason"].as_str().unwrap().contains(NO_SPACE), "{failed}");
    }
    disk.free();
    let swarm = router.launch_ready(1);
    assert_eq!(router.turn(&swarm, 0, "now there is space")["status"], "completed");
    assert_flat_events(&router.lines());
    router.terminate(&swarm);
    router.leave();
}

#[test]
fn p9_a_read_only_mailbox_is_named() {
    if requires::small_disk().is_none() {
        return;
    }
    let workspace = Workspace::echo();
    let disk = SmallDisk::mount(&workspace.path().join("shared"), 1);
    disk.make_read_only();
    let mut router = RouterProcess::daemon(&workspace);
    let status = router.wait_exit();
    // It cannot serve; another time it may.
    assert_eq!(status.code(), Some(75), "{}", router.stderr());
    let stderr = router.stderr();
    assert!(stderr.contains("Read-only file system"), "{stderr}");
    assert!(
        stderr.contains(workspace.path().join("shared").to_str().unwrap()),
        "{stderr}"
    );
    assert!(router.lines().is_empty());
}

#[test]
fn p9_a_router_that_comes_back_to_a_full_disk_ends_nothing() {
    if requires::small_disk().is_none() {
        return;
    }
    let workspace = Workspace::echo();
    let disk = SmallDisk::mount(&workspace.path().join("shared"), 4);
    let mut router = RouterProcess::daemon(&workspace);
    let swarm = router.launch_ready(2);
    let running = router.inject(&swarm, 0, "[[echo deltas=3]] [[hang]]");
    router.event_of(&running, "assistant_delta");
    disk.fill();
    router.kill();
    // It may not come up without space, and says so then; what runs, runs on.
    let mut router = RouterProcess::daemon(&workspace);
    let status = json!({"command": "swarm_status", "swarm_id": swarm.swarm_id});
    let found = router.asked(status.clone(), "swarm_status");
    assert_eq!(found["status"], "running", "{found:#}");
    disk.free();
    router.asked(
        json!({"command": "interrupt", "swarm_id": swarm.swarm_id, "nodes": 0}),
        "interrupt_ack",
    );
    for node in 0..2 {
        assert_eq!(router.turn(&swarm, node, "after it")["status"], "completed");
    }
    assert_eq!(router.asked(status, "swarm_status")["nodes"][0]["turns"], 2);
    assert_flat_events(&router.lines());
    router.terminate(&swarm);
    router.leave();
}

#[test]
fn p9_a_worker_that_dies_on_a_full_disk_comes_back_when_there_is_space() {
    if requires::small_disk().is_none() {
        return;
    }
    let workspace = Workspace::echo();
    let disk = SmallDisk::mount(&workspace.path().join("shared"), 4);
    let mut router = RouterProcess::daemon(&workspace);
    router.follow_all();
    let swarm = router.launch_ready(1);
    let running = router.inject(&swarm, 0, "[[echo deltas=3]] [[hang]]");
    router.event_of(&running, "assistant_delta");
    disk.fill();
    let worker = workspace.processes_named("worker --root").pop().unwrap();
    workspace.signal(&worker, Signal::KILL);
    wait_until("another worker", || {
        let workers = workspace.processes_named("worker --root");
        match workers.iter().any(|other| other.pid != worker.pid) {
            true => Ok(()),
            false => Err(format!("{workers:?}")),
        }
    });
    disk.free();
    let end = router.event_of(&running, "turn_complete");
    assert_eq!(
        (&end["status"], &end["error"]["class"]),
        (&json!("failed"), &json!("worker_died")),
        "{end}"
    );
    assert_eq!(router.turn(&swarm, 0, "after it")["status"], "completed");
    router.terminate(&swarm);
    assert_every_record_once(&router.lines(), &workspace.records(&swarm.job_id, 0), &swarm.job_id, 0);
    router.leave();
}
