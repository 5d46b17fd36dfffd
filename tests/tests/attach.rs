//! Clients that come while events flow: what happened before, then what happens now, each event once (P10).

use codeswarm_tests::router::{RouterProcess, Swarm};
use codeswarm_tests::schema::assert_flat_events;
use codeswarm_tests::stream::{assert_every_record_once, assert_in_order};
use codeswarm_tests::workspace::Workspace;
use serde_json::{Value, json};

fn subscribe(router: &mut RouterProcess, swarm: &Swarm, since: Value) -> String {
    router.ask(json!({"command": "subscribe", "swarm_id": swarm.swarm_id, "since": since}))
}

/// The events of a node's stream, the router's words included.
fn stream(events: &[Value], node: u32) -> Vec<Value> {
    let of_node = events
        .iter()
        .filter(|event| event["node_id"] == node && !event["seq"].is_null());
    of_node.cloned().collect()
}

#[test]
fn p10_clients_that_attach_in_mid_stream_hear_everything_once() {
    let workspace = Workspace::echo();
    let mut router = RouterProcess::daemon(&workspace);
    let swarm = router.launch_ready(2);
    let running = router.inject_all(&swarm, "[[echo deltas=400 pace_ms=2]] [[long bytes=400000]]");
    let mut guests = Vec::new();
    // Each comes a little later in the turn than the one before it.
    for number in 1..=6 {
        let word = format!("word{} ", number * 50);
        // A worker that is behind joins deltas.
        router.wait_for(&word, |event| {
            let content = event["content"].as_str().unwrap_or_default();
            event["type"] == "assistant_delta" && content.contains(&word)
        });
        let mut guest = match number % 2 {
            0 => RouterProcess::daemon(&workspace),
            _ => RouterProcess::spawn(&workspace, &[]),
        };
        let request = subscribe(&mut guest, &swarm, json!(0));
        guests.push((guest, request));
    }
    for injection in &running {
        router.event_of(injection, "usage");
    }
    let last = router.inject_all(&swarm, "and after it");
    for (guest, request) in &guests {
        for injection in &last {
            guest.event_of(injection, "usage");
        }
        let events = guest.lines();
        assert_flat_events(&events);
        for (node, injection) in (0..).zip(&last) {
            assert_in_order(&events, &swarm.job_id, node);
            assert_every_record_once(&events, &workspace.records(&swarm.job_id, node), &swarm.job_id, node);
            assert_eq!(
                stream(&events, node),
                stream(&guests[0].0.lines(), node),
                "all hear the same, words of the router's too"
            );
            assert_eq!(
                stream(&events, node).last().unwrap()["injection_id"],
                injection.as_str()
            );
        }
        // What was there at the subscription comes before caught_up, and what came later after it.
        let caught_up = events
            .iter()
            .position(|event| event["type"] == "caught_up" && event["request_id"] == request.as_str());
        let place = |node: u32| {
            let before = stream(&events[..caught_up.unwrap()], node);
            let last = before.last().unwrap();
            match last["sub"].as_u64() {
                Some(sub) => json!(format!("{}.{sub}", last["seq"])),
                None => json!(last["seq"].to_string()),
            }
        };
        let positions = &events[caught_up.unwrap()]["positions"];
        for node in 0..2 {
            assert_eq!(
                positions[format!("{}_{node:02}", swarm.job_id)],
                place(node),
                "{positions}"
            );
        }
    }
    router.terminate(&swarm);
}

#[test]
fn p10_every_place_in_a_stream_can_be_gone_on_from() {
    let workspace = Workspace::echo();
    let mut router = RouterProcess::daemon(&workspace);
    let swarm = router.launch_ready(1);
    router.turn(&swarm, 0, "one two");
    router.turn(&swarm, 0, "three [[noise]]");
    router.terminate(&swarm);
    let request = subscribe(&mut router, &swarm, json!(0));
    router.answer(&request, "caught_up");
    let asked = router
        .lines()
        .iter()
        .position(|event| event["type"] == "subscribed")
        .unwrap();
    let all = stream(&router.lines().split_off(asked), 0);
    assert!(
        all.iter().any(|event| event["sub"] == 2),
        "there are words of the router's between the records"
    );
    for (index, event) in all.iter().enumerate() {
        let place = match event["sub"].as_u64() {
            Some(sub) => json!({"0": format!("{}.{sub}", event["seq"])}),
            None => json!({"0": event["seq"]}),
        };
        let mark = router.mark();
        let request = subscribe(&mut router, &swarm, place.clone());
        router.answer(&request, "caught_up");
        let rest = stream(&router.lines().split_off(mark), 0);
        assert_eq!(rest, all[index + 1..], "after {place}");
    }
}

#[test]
fn a_subscription_brings_its_swarm_and_one_of_all_also_those_to_come() {
    let workspace = Workspace::echo();
    let mut router = RouterProcess::daemon(&workspace);
    let first = router.launch_ready(1);
    let mut one = RouterProcess::daemon(&workspace);
    let mut all = RouterProcess::daemon(&workspace);
    let request = one.ask(json!({"command": "subscribe", "swarm_id": first.swarm_id}));
    one.answer(&request, "caught_up");
    all.follow_all();
    let second = router.launch_ready(1);
    let (here, there) = (router.inject(&first, 0, "here"), router.inject(&second, 0, "there"));
    for injection in [&here, &there] {
        all.event_of(injection, "usage");
    }
    all.wait_for("the second swarm's node", |event| {
        event["type"] == "worker_start" && event["swarm_id"] == second.swarm_id.as_str()
    });
    one.event_of(&here, "usage");
    // Whatever else was to come is there when its own answer is.
    one.ping();
    let strange = one
        .lines()
        .into_iter()
        .find(|event| event["swarm_id"] == second.swarm_id.as_str());
    assert_eq!(strange, None);
    router.terminate(&first);
    for client in [&one, &all] {
        let end = client.wait_for("the end", |event| event["type"] == "swarm_terminated");
        assert_eq!(end["swarm_id"], first.swarm_id.as_str());
        assert_flat_events(&client.lines());
    }
}
