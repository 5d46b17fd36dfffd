//! Words about a turn that runs: to end it, to change its course.

use codeswarm_tests::router::{RouterProcess, Swarm};
use codeswarm_tests::schema::assert_flat_events;
use codeswarm_tests::workspace::Workspace;
use serde_json::{Value, json};

fn interrupt(router: &mut RouterProcess, swarm: &Swarm, more: Value) -> Value {
    let mut command = json!({"command": "interrupt", "swarm_id": swarm.swarm_id, "nodes": 0});
    for (name, value) in more.as_object().unwrap() {
        command[name] = value.clone();
    }
    router.asked(command, "interrupt_ack")
}

#[test]
fn an_interrupt_ends_the_running_turn_and_the_next_prompt_is_taken() {
    let workspace = Workspace::echo();
    let mut router = RouterProcess::daemon(&workspace);
    let swarm = router.launch_ready(2);
    let running = router.inject(&swarm, 0, "[[echo deltas=3]] [[hang]]");
    let other = router.inject(&swarm, 1, "[[echo deltas=2]] [[hang]]");
    let next = router.inject(&swarm, 0, "next");
    for injection in [&running, &other] {
        router.event_of(injection, "assistant_delta");
    }
    let ack = interrupt(&mut router, &swarm, json!({}));
    assert_eq!((&ack["node_id"], &ack["injection_id"]), (&json!(0), &json!(running)));
    let end = router.event_of(&running, "turn_complete");
    assert_eq!(end["status"], "interrupted");
    assert_eq!(router.event_of(&next, "turn_complete")["status"], "completed");
    assert!(
        router
            .events_of(&other)
            .iter()
            .all(|event| event["type"] != "turn_complete")
    );
    let all = json!({"command": "interrupt", "swarm_id": swarm.swarm_id, "nodes": 1});
    router.asked(all, "interrupt_ack");
    assert_eq!(router.event_of(&other, "turn_complete")["status"], "interrupted");
    assert_flat_events(&router.lines());
}

#[test]
fn an_interrupt_of_a_waiting_prompt_keeps_it_from_starting() {
    let workspace = Workspace::echo();
    let mut router = RouterProcess::daemon(&workspace);
    let swarm = router.launch_ready(1);
    let running = router.inject(&swarm, 0, "[[echo deltas=3]] [[hang]]");
    let waiting = router.inject(&swarm, 0, "waits");
    let last = router.inject(&swarm, 0, "last");
    router.event_of(&last, "inject_received");
    interrupt(&mut router, &swarm, json!({"injection_id": waiting}));
    let failed = router.event_of(&waiting, "inject_failed");
    assert_eq!(failed["error"], "interrupted");
    interrupt(&mut router, &swarm, json!({"injection_id": running}));
    assert_eq!(router.event_of(&running, "turn_complete")["status"], "interrupted");
    assert_eq!(router.event_of(&last, "turn_complete")["status"], "completed");
    let kinds: Vec<_> = router
        .events_of(&waiting)
        .iter()
        .map(|event| event["type"].clone())
        .collect();
    assert!(!kinds.contains(&json!("turn_started")), "{kinds:?}");
    assert_flat_events(&router.lines());
}

#[test]
fn an_interrupt_that_comes_for_nothing_changes_nothing() {
    let workspace = Workspace::echo();
    let mut router = RouterProcess::daemon(&workspace);
    router.follow_all();
    let swarm = router.launch_ready(1);
    let over = router.inject(&swarm, 0, "over");
    router.event_of(&over, "usage");
    // Of an idle node, of a turn that is over, of a prompt that never was; then again the same request.
    for more in [
        json!({}),
        json!({"injection_id": over}),
        json!({"injection_id": "never-was"}),
        json!({"request_id": "same"}),
    ] {
        let mark = router.mark();
        interrupt(&mut router, &swarm, more);
        let ignored = router.wait_after(mark, "its outcome", |event| event["type"] == "control_ignored");
        assert!(ignored["reason"].as_str().unwrap().contains("interrupt"), "{ignored}");
    }
    let running = router.inject(&swarm, 0, "[[echo deltas=1]] [[hang]]");
    router.event_of(&running, "assistant_delta");
    // The request of before must not reach the turn of now.
    router.ask(json!({"command": "interrupt", "request_id": "same", "swarm_id": swarm.swarm_id, "nodes": 0}));
    // Nor may the interrupt of another injection.
    interrupt(&mut router, &swarm, json!({"injection_id": over}));
    let status = router.asked(
        json!({"command": "swarm_status", "swarm_id": swarm.swarm_id}),
        "swarm_status",
    );
    assert_eq!(status["nodes"][0]["state"], "busy", "{status:#}");
    interrupt(&mut router, &swarm, json!({}));
    router.event_of(&running, "turn_complete");
    assert_eq!(
        workspace
            .records(&swarm.job_id, 0)
            .iter()
            .filter(|record| record["status"] == "interrupted")
            .count(),
        1
    );
    assert_flat_events(&router.lines());
}

#[test]
fn a_steering_prompt_joins_the_running_turn() {
    let workspace = Workspace::echo();
    let mut router = RouterProcess::daemon(&workspace);
    let swarm = router.launch_ready(1);
    let running = router.inject(&swarm, 0, "[[echo deltas=40 pace_ms=10]]");
    router.event_of(&running, "assistant_delta");
    let steer =
        json!({"command": "inject", "swarm_id": swarm.swarm_id, "nodes": 0, "content": "and this too", "steer": true});
    let ack = router.asked(steer.clone(), "inject_ack");
    let steering = ack["injection_id"].as_str().unwrap().to_owned();
    let started = router.event_of(&steering, "turn_started");
    assert_eq!(started["steered_into"], running.as_str());
    let end = router.event_of(&steering, "turn_complete");
    assert_eq!(
        (&end["status"], &end["steered_into"]),
        (&json!("completed"), &json!(running))
    );
    assert_eq!(router.event_of(&running, "turn_complete")["status"], "completed");
    let answer = router.event_of(&running, "assistant");
    assert!(
        answer["content"].as_str().unwrap().ends_with("word40 and this too"),
        "{answer}"
    );
    let ends = router
        .lines()
        .iter()
        .filter(|event| event["type"] == "turn_complete")
        .count();
    assert_eq!(ends, 2, "each injection ends once");

    // With nothing to join it is a turn of its own.
    let ack = router.asked(steer, "inject_ack");
    let alone = ack["injection_id"].as_str().unwrap().to_owned();
    assert_eq!(router.event_of(&alone, "turn_started")["steered_into"], Value::Null);
    assert_eq!(router.event_of(&alone, "assistant")["content"], "and this too");
    router.event_of(&alone, "turn_complete");
    let status = router.asked(
        json!({"command": "swarm_status", "swarm_id": swarm.swarm_id}),
        "swarm_status",
    );
    assert_eq!(status["nodes"][0]["open_injections"], 0, "{status:#}");
    assert_flat_events(&router.lines());
}
