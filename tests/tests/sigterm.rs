//! The orderly end (P7): a worker that is told to end, as `scancel` tells it, and a swarm that is.

use codeswarm_tests::json_process::JsonProcess;
use codeswarm_tests::router::{RouterProcess, Swarm};
use codeswarm_tests::schema::assert_flat_events;
use codeswarm_tests::stream::{assert_every_record_once, assert_in_order};
use codeswarm_tests::workspace::{Workspace, wait_until};
use rustix::process::Signal;
use serde_json::{Value, json};

/// A node with a turn that would never end and two prompts behind it: all three injections.
fn busy_node(router: &mut RouterProcess, swarm: &Swarm, node: u32) -> [String; 3] {
    let running = router.inject(swarm, node, "[[echo deltas=3]] [[hang]]");
    let queued = [
        router.inject(swarm, node, "second"),
        router.inject(swarm, node, "third"),
    ];
    for injection in &queued {
        router.event_of(injection, "inject_received");
    }
    router.event_of(&running, "assistant_delta");
    let [second, third] = queued;
    [running, second, third]
}

fn assert_ended_in_order(workspace: &Workspace, swarm: &Swarm, node: u32, injections: &[String; 3], events: &[Value]) {
    let name = format!("{}_{node:02}.jsonl", swarm.job_id);
    // The last record comes before the rename.
    wait_until("the outbox is in the archive", || {
        match workspace.mailbox("archive").join(&name).exists() {
            true => Ok(()),
            false => Err(format!("{:?}", workspace.mailbox_files().keys())),
        }
    });
    assert!(!workspace.mailbox("outbox").join(&name).exists());
    let records = workspace.records(&swarm.job_id, node);
    let last = records.last().unwrap();
    assert_eq!(
        (&last["type"], &last["reason"]),
        (&json!("worker_exit"), &json!("sigterm")),
        "{last}"
    );
    let inbox = std::fs::metadata(workspace.mailbox("inbox").join(&name)).unwrap().len();
    assert_eq!(
        last["inbox_offset"], inbox,
        "every prompt in the inbox is accounted for"
    );
    let end_of = |injection: &str| {
        let ends: Vec<_> = records
            .iter()
            .filter(|record| record["injection_id"] == injection)
            .filter(|record| record["type"] == "turn_complete" || record["type"] == "inject_failed")
            .collect();
        assert_eq!(ends.len(), 1, "{ends:#?}");
        ends[0].clone()
    };
    let running = end_of(&injections[0]);
    assert_eq!(
        (&running["type"], &running["status"]),
        (&json!("turn_complete"), &json!("interrupted"))
    );
    for queued in &injections[1..] {
        let failed = end_of(queued);
        assert_eq!(
            (&failed["type"], &failed["error"]),
            (&json!("inject_failed"), &json!("worker_exit"))
        );
    }
    assert_flat_events(events);
    assert_in_order(events, &swarm.job_id, node);
    assert_every_record_once(events, &records, &swarm.job_id, node);
}

#[test]
fn p7_sigterm_to_a_worker_in_mid_turn() {
    let workspace = Workspace::echo();
    let mut router = RouterProcess::daemon(&workspace);
    router.follow_all();
    let swarm = router.launch_ready(2);
    let injections = busy_node(&mut router, &swarm, 0);
    let node = format!("--job-id {} --node-id 0", swarm.job_id);
    let worker = workspace.processes_named(&node).pop().unwrap();
    workspace.signal(&worker, Signal::TERM);
    router.wait_for("the worker's last record", |event| event["type"] == "worker_exit");
    for queued in &injections[1..] {
        router.event_of(queued, "inject_failed");
    }
    assert_ended_in_order(&workspace, &swarm, 0, &injections, &router.lines());
    wait_until("nothing of the node runs", || match workspace.processes_named(&node) {
        left if left.is_empty() => Ok(()),
        left => Err(format!("{left:?}")),
    });
    // The other node works on; this one takes nothing more.
    assert_eq!(router.turn(&swarm, 1, "still here")["status"], "completed");
    let status = router.asked(
        json!({"command": "swarm_status", "swarm_id": swarm.swarm_id}),
        "swarm_status",
    );
    assert_eq!(status["nodes"][0]["state"], "exited", "{status:#}");
    let request =
        router.ask(json!({"command": "inject", "swarm_id": swarm.swarm_id, "nodes": "all", "content": "both"}));
    let refusal = router.refusal(&request);
    assert_eq!(
        (&refusal["code"], &refusal["field"]),
        (&json!("swarm_ended"), &json!("nodes"))
    );
    router.terminate(&swarm);
    router.leave();
    workspace.wait_until_quiet();
}

/// The worker's own exit status, without a router around it.
#[test]
fn p7_a_worker_exits_0_on_sigterm_and_leaves_nothing() {
    let workspace = Workspace::echo();
    let root = workspace.path().join("shared/codeswarm");
    std::fs::create_dir_all(root.join("runs/272900")).unwrap();
    let launch = workspace.path().join("launch.json");
    let version = version(&workspace);
    std::fs::write(
        &launch,
        json!({"version": version, "node_count": 1, "agent": {"kind": "echo"}}).to_string(),
    )
    .unwrap();
    let mut command = workspace.bare_command();
    command
        .args(["worker", "--job-id", "272900", "--node-id", "0", "--root"])
        .arg(&root);
    command.arg("--launch").arg(&launch);
    let mut worker = JsonProcess::spawn("worker", command);
    let inbox = workspace.mailbox("inbox").join("272900_00.jsonl");
    wait_until("the worker's agent", || {
        let outbox = std::fs::read_to_string(workspace.mailbox("outbox").join("272900_00.jsonl")).unwrap_or_default();
        if outbox.contains("agent_ready") {
            Ok(())
        } else {
            Err(outbox)
        }
    });
    std::fs::write(
        &inbox,
        format!(
            "{}\n",
            json!({"type": "user", "injection_id": "one", "content": "[[hang]]"})
        ),
    )
    .unwrap();
    wait_until("the turn", || {
        let records = workspace.records("272900", 0);
        if records.iter().any(|record| record["type"] == "turn_started") {
            Ok(())
        } else {
            Err(format!("{records:?}"))
        }
    });
    worker.signal(Signal::TERM);
    let status = worker.wait_exit();
    assert_eq!(status.code(), Some(0), "{}", worker.stderr());
    assert_eq!(worker.lines(), Vec::<Value>::new(), "a worker prints nothing");
    let records = workspace.records("272900", 0);
    let end = records.iter().find(|record| record["type"] == "turn_complete").unwrap();
    assert_eq!(
        (&end["injection_id"], &end["status"]),
        (&json!("one"), &json!("interrupted"))
    );
    assert!(workspace.mailbox("archive").join("272900_00.jsonl").exists());
    workspace.wait_until_quiet();
    let left: Vec<_> = std::fs::read_dir(workspace.path().join("tmp")).unwrap().collect();
    assert!(left.is_empty(), "{left:?}");
}

fn version(workspace: &Workspace) -> String {
    let mut router = RouterProcess::daemon(workspace);
    router.ping()["version"].as_str().unwrap().to_owned()
}

#[test]
fn a_swarm_ends_with_its_turns_and_its_queue() {
    let workspace = Workspace::echo();
    let mut router = RouterProcess::daemon(&workspace);
    router.follow_all();
    let swarm = router.launch_ready(2);
    let injections = [busy_node(&mut router, &swarm, 0), busy_node(&mut router, &swarm, 1)];
    let terminate = json!({"command": "swarm_terminate", "swarm_id": swarm.swarm_id});
    assert_eq!(router.asked(terminate.clone(), "swarm_status")["status"], "terminating");
    // A word for it now comes too late, and a second end changes nothing.
    let late = router.ask(json!({"command": "inject", "swarm_id": swarm.swarm_id, "nodes": 0, "content": "late"}));
    assert_eq!(router.refusal(&late)["code"], "swarm_ended");
    router.ask(terminate.clone());
    let end = router.wait_for("the end", |event| event["type"] == "swarm_terminated");
    assert_eq!(end["status"], "terminated");
    for (node, injections) in (0..).zip(&injections) {
        assert_ended_in_order(&workspace, &swarm, node, injections, &router.lines());
    }
    workspace.wait_until_quiet_but_for(router.pid());
    let again = router.asked(terminate, "swarm_terminated");
    assert_eq!(again["status"], "terminated");
    let list = router.asked(json!({"command": "swarm_list"}), "swarm_list");
    assert_eq!(list["swarms"][&swarm.swarm_id]["status"], "terminated");
}

#[test]
fn a_swarm_that_was_not_asked_to_end_has_failed() {
    let workspace = Workspace::echo();
    let mut router = RouterProcess::daemon(&workspace);
    router.launch_ready(2);
    for worker in workspace.processes_named(" worker ") {
        workspace.signal(&worker, Signal::TERM);
    }
    let end = router.wait_for("the end", |event| event["type"] == "swarm_terminated");
    assert_eq!(end["status"], "failed", "{end}");
    assert!(end["reason"].is_string(), "{end}");
    router.leave();
    workspace.wait_until_quiet();
}

#[test]
fn terminating_while_no_router_runs_is_finished_by_the_next() {
    // Its agent ignores interrupts, so the end takes as long as it may.
    let workspace = Workspace::echo().configured(|config| config["worker"]["shutdown_grace_seconds"] = json!(2));
    let mut router = RouterProcess::daemon(&workspace);
    let swarm = router.launch_ready(2);
    router.inject(&swarm, 0, "[[hang deaf]]");
    router.asked(
        json!({"command": "swarm_terminate", "swarm_id": swarm.swarm_id}),
        "swarm_status",
    );
    router.kill();
    let mut router = RouterProcess::daemon(&workspace);
    router.ask(json!({"command": "swarm_terminate", "swarm_id": swarm.swarm_id}));
    let end = router.wait_for("the end", |event| event["type"] == "swarm_terminated");
    assert_eq!(end["status"], "terminated", "{end}");
    router.leave();
    workspace.wait_until_quiet();
}
