//! Standard input as a batch: commands are piped in, what becomes of them comes out, and the exit status tells how it went.

use codeswarm_tests::cli::{Output, cli_with_stdin};
use codeswarm_tests::router::{RouterProcess, Swarm};
use codeswarm_tests::schema::{assert_enveloped_events, assert_flat_events};
use codeswarm_tests::stream::assert_in_order;
use codeswarm_tests::workspace::Workspace;
use serde_json::{Value, json};

/// Runs a batch of commands.
fn batch(workspace: &Workspace, commands: &[Value]) -> Output {
    let lines: String = commands.iter().map(|command| format!("{command}\n")).collect();
    cli_with_stdin(workspace, &["router"], lines.as_bytes())
}

fn prompt(swarm: &Swarm, content: &str) -> Value {
    json!({"action": "inject", "job_id": swarm.job_id, "node_id": 0, "content": content})
}

/// The types of these events; deltas that follow each other count as one.
fn types(events: &[Value]) -> Vec<&str> {
    let mut types: Vec<_> = events.iter().filter_map(|event| event["type"].as_str()).collect();
    types.dedup();
    types
}

/// The whole life of a prompt to a node that does nothing else, and of nothing else.
fn assert_whole_life(events: &[Value], swarm: &Swarm) {
    assert_flat_events(events);
    assert_in_order(events, &swarm.job_id, 0);
    let injection = &events[0]["injection_id"];
    assert!(injection.is_string(), "{events:#?}");
    for event in events {
        assert_eq!(event["job_id"], swarm.job_id.as_str(), "{event}");
        assert_eq!(event["swarm_id"], swarm.swarm_id.as_str(), "{event}");
        assert_eq!(event["node_id"], 0, "{event}");
        assert_eq!(&event["injection_id"], injection, "{event}");
        assert!(event["seq"].is_u64() && event["timestamp"].is_string(), "{event}");
    }
    // The router's word about the delivery and the worker's records have different sources.
    let mut life = types(events);
    assert_eq!(life[0], "inject_ack", "{events:#?}");
    assert!(life.contains(&"inject_delivered"), "{events:#?}");
    life.retain(|kind| *kind != "inject_delivered");
    life.dedup();
    assert_eq!(
        life,
        [
            "inject_ack",
            "inject_received",
            "turn_started",
            "assistant_delta",
            "assistant",
            "turn_complete",
            "usage"
        ]
    );
}

#[test]
fn a_prompt_by_job_id_prints_its_life_and_exits_0() {
    let workspace = Workspace::echo();
    let swarm = Swarm::left_running(&workspace, 1);
    // As the only router, then as a client of one that runs.
    for daemon in [None, Some(())] {
        let mut router = daemon.map(|()| RouterProcess::daemon(&workspace));
        if let Some(router) = &mut router {
            router.ping();
        }
        let output = batch(&workspace, &[prompt(&swarm, "Hello")]).success();
        let events = output.json_lines();
        assert_whole_life(&events, &swarm);
        let answer = events.iter().find(|event| event["type"] == "assistant");
        assert_eq!(answer.unwrap()["content"], "Hello");
        let end = events.iter().find(|event| event["type"] == "turn_complete").unwrap();
        assert_eq!(end["status"], "completed");
        assert_eq!(end["usage"]["total_tokens"], 2);
        assert_eq!(events.last().unwrap()["total_tokens"], 2);
    }
}

#[test]
fn a_failed_turn_or_a_refused_command_exits_1() {
    let workspace = Workspace::echo();
    let swarm = Swarm::left_running(&workspace, 1);
    let mut running = RouterProcess::daemon(&workspace);
    running.ping();
    // Through the one that runs first, then alone.
    for router in [Some(running), None] {
        let failing = prompt(&swarm, "[[fail class=quota message=\"nothing left\"]]");
        let output = batch(&workspace, &[failing, prompt(&swarm, "after it")]);
        assert_eq!(output.code(), 1, "{output:#?}");
        let events = output.json_lines();
        assert_flat_events(&events);
        let ends: Vec<_> = events.iter().filter(|event| event["type"] == "turn_complete").collect();
        assert_eq!(ends.len(), 2, "{events:#?}");
        assert_eq!(
            (&ends[0]["status"], &ends[1]["status"]),
            (&json!("failed"), &json!("completed"))
        );
        assert_eq!(ends[0]["error"]["class"], "quota");
        assert_eq!(ends[0]["error"]["message"], "nothing left");

        let nowhere = json!({"action": "inject", "job_id": "nowhere", "node_id": 0, "content": "Hello"});
        let output = batch(&workspace, &[nowhere, prompt(&swarm, "Hello")]);
        assert_eq!(output.code(), 1, "{output:#?}");
        let (refusal, life) = output
            .json_lines()
            .split_first()
            .map(|(a, b)| (a.clone(), b.to_vec()))
            .unwrap();
        assert_eq!(refusal["code"], "unknown_job");
        assert_whole_life(&life, &swarm);
        drop(router);
    }
}

#[test]
fn the_enveloped_spelling_is_answered_in_kind() {
    let workspace = Workspace::echo();
    let swarm = Swarm::left_running(&workspace, 1);
    let command = |name: &str, request: &str, payload: Value| {
        json!({"protocol": "codeswarm.router.v1", "type": "command", "command": name, "request_id": request,
            "payload": payload})
    };
    let target = json!({"swarm_id": swarm.swarm_id, "nodes": "all", "content": "Hello there"});
    let commands = [
        command("ping", "a", json!({})),
        command("inject", "b", target),
        command("inject", "c", json!({"swarm_id": "nobody", "nodes": 0, "content": "x"})),
    ];
    let output = batch(&workspace, &commands);
    assert_eq!(output.code(), 1, "{output:#?}");
    let lines = output.json_lines();
    assert_enveloped_events(&lines);
    let events: Vec<Value> = lines.iter().map(|line| line["data"].clone()).collect();
    let of = |request: &str| -> Vec<&str> {
        let wanted = lines.iter().filter(|line| line["data"]["request_id"] == request);
        wanted.filter_map(|line| line["event"].as_str()).collect()
    };
    assert_eq!(of("a"), ["pong"]);
    assert_eq!(of("c"), ["command_rejected"]);
    let life = of("b");
    for kind in [
        "inject_ack",
        "inject_delivered",
        "turn_started",
        "assistant",
        "turn_complete",
        "usage",
    ] {
        assert_eq!(life.iter().filter(|seen| **seen == kind).count(), 1, "{kind}: {life:?}");
    }
    assert_eq!(
        life.iter().filter(|seen| **seen == "assistant_delta").count(),
        2,
        "{life:?}"
    );
    assert_in_order(&events, &swarm.job_id, 0);
}

#[test]
fn a_batch_launches_follows_lists_and_a_later_one_terminates() {
    let workspace = Workspace::echo();
    let launch = json!({"command": "swarm_launch", "request_id": "one", "nodes": 2, "system_prompt": "You count."});
    let output = batch(
        &workspace,
        &[launch, json!({"command": "providers_list", "request_id": "two"})],
    )
    .success();
    let events = output.json_lines();
    assert_flat_events(&events);
    let launched = events.iter().find(|event| event["type"] == "swarm_launched").unwrap();
    assert_eq!(
        (&launched["status"], &launched["node_count"]),
        (&json!("pending"), &json!(2))
    );
    let swarm_id = launched["swarm_id"].as_str().unwrap();
    for node in 0..2 {
        let ends = events
            .iter()
            .filter(|event| event["type"] == "turn_complete" && event["node_id"] == node);
        let ends: Vec<_> = ends.collect();
        assert_eq!(ends.len(), 1, "{events:#?}");
        assert_eq!(
            (&ends[0]["status"], &ends[0]["request_id"]),
            (&json!("completed"), &json!("one"))
        );
    }
    let providers = events.iter().find(|event| event["type"] == "providers_list").unwrap();
    assert_eq!(providers["providers"][0]["name"], "local");

    let terminate = json!({"command": "swarm_terminate", "request_id": "three", "swarm_id": swarm_id});
    let output = batch(
        &workspace,
        &[json!({"command": "swarm_list", "request_id": "four"}), terminate],
    )
    .success();
    let events = output.json_lines();
    assert_flat_events(&events);
    assert_eq!(
        types(&events),
        ["swarm_list", "swarm_status", "worker_exit", "swarm_terminated"],
        "{events:#?}"
    );
    assert_eq!(events[0]["swarms"][swarm_id]["system_prompt"], "You count.");
    assert_eq!(events[1]["status"], "terminating");
    assert_eq!(events.last().unwrap()["status"], "terminated");
    workspace.wait_until_quiet();
}

#[test]
fn an_empty_batch_and_a_last_line_without_newline_are_fine() {
    let workspace = Workspace::echo();
    assert_eq!(batch(&workspace, &[]).success().stdout, "");
    let output = cli_with_stdin(
        &workspace,
        &["router"],
        b"\n  \n{\"command\":\"ping\",\"request_id\":\"last\"}",
    )
    .success();
    let events = output.json_lines();
    assert_flat_events(&events);
    assert_eq!((events.len(), &events[0]["request_id"]), (1, &json!("last")));
    assert_eq!(events[0]["live_swarms"], 0);
}
