//! A swarm on a Slurm cluster as JSON lines on a router's standard input, in both spellings.

use codeswarm_tests::cluster::NODES;
use codeswarm_tests::json_process::JsonProcess;
use codeswarm_tests::requires;
use codeswarm_tests::router::{RouterProcess, Swarm};
use codeswarm_tests::schema::{assert_enveloped_events, assert_flat_events};
use codeswarm_tests::slurm_workspace::SlurmWorkspace;
use codeswarm_tests::stream::assert_in_order;
use serde_json::{Value, json};

/// The user guide's list, in its order.
const LIFE: [&str; 7] = [
    "inject_ack",
    "inject_delivered",
    "turn_started",
    "assistant_delta",
    "assistant",
    "turn_complete",
    "usage",
];

/// Fails unless these events of one injection are the documented life, each with all its names.
#[track_caller]
fn assert_life(events: &[Value], kind: &str, swarm: &Swarm, node: u32) {
    let mut kinds: Vec<_> = events.iter().filter_map(|event| event[kind].as_str()).collect();
    kinds.dedup();
    // The worker says besides that it has the prompt.
    kinds.retain(|kind| *kind != "inject_received");
    assert_eq!(kinds, LIFE, "{events:#?}");
    for event in events {
        let fields = if event["data"].is_object() {
            &event["data"]
        } else {
            event
        };
        assert_eq!(fields["swarm_id"], swarm.swarm_id.as_str(), "{event}");
        assert_eq!(fields["job_id"], swarm.job_id.as_str(), "{event}");
        assert_eq!(fields["node_id"], node, "{event}");
        assert!(fields["injection_id"].is_string() && fields["seq"].is_u64(), "{event}");
        assert!(fields["timestamp"].is_string(), "{event}");
    }
}

#[test]
fn a_launch_is_pending_first_then_each_node_is_ready_and_the_swarm_runs() {
    let Some(cluster) = requires::cluster() else { return };
    let workspace = SlurmWorkspace::echo(&cluster);
    let mut router = RouterProcess::daemon(&workspace);
    let command = json!({"command": "swarm_launch", "nodes": NODES, "system_prompt": "You are a distributed agent."});
    let request = router.ask(command);
    let launched = router.answer(&request, "swarm_launched");
    assert_eq!(launched["status"], "pending", "{launched}");
    assert_eq!(
        (&launched["node_count"], &launched["provider"]),
        (&json!(NODES), &json!("slurm"))
    );
    // Slurm is asked at once; its scheduler may have been faster or not, and has a reason only when it has looked.
    let state = launched["slurm_state"].as_str().unwrap_or_default();
    assert!(["PENDING", "CONFIGURING", "RUNNING"].contains(&state), "{launched}");
    let of_swarm = |event: &Value| event["swarm_id"] == launched["swarm_id"];
    router.wait_for("the swarm to run", |event| {
        event["type"] == "swarm_status" && event["status"] == "running" && of_swarm(event)
    });
    let lines = router.lines();
    let ready: Vec<_> = lines.iter().filter(|event| event["type"] == "node_ready").collect();
    let mut hosts: Vec<_> = ready.iter().map(|event| (&event["node_id"], &event["host"])).collect();
    hosts.sort_by_key(|(node, _)| node.as_u64());
    let expected: Vec<_> = (0..NODES)
        .map(|node| (json!(node), json!(format!("node{node}"))))
        .collect();
    assert!(
        hosts
            .iter()
            .copied()
            .eq(expected.iter().map(|(node, host)| (node, host))),
        "{hosts:?}"
    );
    // The first prompt is each node's first turn, and names the launch.
    for node in 0..NODES {
        let end = router.wait_for("the first turn's end", |event| {
            event["type"] == "usage" && event["node_id"] == node && event["request_id"] == request.as_str()
        });
        let life = router.events_of(end["injection_id"].as_str().unwrap());
        let swarm = Swarm {
            swarm_id: launched["swarm_id"].as_str().unwrap().to_owned(),
            job_id: launched["job_id"].as_str().unwrap().to_owned(),
            nodes: NODES,
        };
        assert_life(&life, "type", &swarm, node);
    }
    assert_flat_events(&router.lines());
}

#[test]
fn the_user_guides_very_lines_work() {
    let Some(cluster) = requires::cluster() else { return };
    let workspace = SlurmWorkspace::echo(&cluster);
    let mut router = RouterProcess::daemon(&workspace);
    let swarm = router.launch_ready(NODES);
    let (id, job) = (&swarm.swarm_id, &swarm.job_id);
    let lines = [
        (
            0,
            format!(r#"{{"action":"inject","job_id":"{job}","node_id":0,"content":"Hello"}}"#),
        ),
        (
            0,
            format!(r#"{{"command":"inject","swarm_id":"{id}","nodes":0,"content":"Hello"}}"#),
        ),
        (
            3,
            format!(r#"{{"action":"inject","swarm_id":"{id}","nodes":"3","content":"Hello"}}"#),
        ),
        (
            1,
            format!(r#"{{"command":"inject","job_id":"{job}","nodes":[1],"content":"Hello"}}"#),
        ),
    ];
    for (node, line) in lines {
        let mark = router.mark();
        router.send_raw(format!("{line}\n").as_bytes());
        let ack = router.wait_after(mark, "inject_ack", |event| event["type"] == "inject_ack");
        let injection = ack["injection_id"].as_str().unwrap().to_owned();
        router.event_of(&injection, "usage");
        let life = router.events_of(&injection);
        assert_life(&life, "type", &swarm, node);
        let answer = life.iter().find(|event| event["type"] == "assistant").unwrap();
        assert_eq!(answer["content"], "Hello");
    }
    let events = router.lines();
    assert_flat_events(&events);
    for node in 0..NODES {
        assert_in_order(&events, &swarm.job_id, node);
    }
    let status = router.asked(json!({"command": "swarm_status", "swarm_id": id}), "swarm_status");
    let hosts: Vec<_> = status["nodes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|node| node["host"].clone())
        .collect();
    assert_eq!(hosts, ["node0", "node1", "node2", "node3"]);
    let list = router.asked(json!({"command": "swarm_list"}), "swarm_list");
    assert_eq!(
        (&list["swarms"][id]["job_id"], &list["swarms"][id]["status"]),
        (&json!(job), &json!("running"))
    );
    let providers = router.asked(json!({"command": "providers_list"}), "providers_list");
    assert!(
        providers["providers"]
            .as_array()
            .unwrap()
            .iter()
            .any(|one| one["name"] == "slurm"),
        "{providers}"
    );
    router.terminate(&swarm);
    assert_flat_events(&router.lines());
}

/// A client in the enveloped spelling.
struct Enveloped(JsonProcess);

impl Enveloped {
    fn asked(&mut self, command: &str, request: &str, payload: Value, answer: &str) -> Value {
        self.0.send(
            &json!({"protocol": "codeswarm.router.v1", "type": "command", "command": command,
            "request_id": request, "payload": payload}),
        );
        let answered = self.0.wait_for(answer, |line| {
            line["data"]["request_id"] == request && (line["event"] == answer || line["event"] == "command_rejected")
        });
        assert_eq!(answered["event"], answer, "{answered}");
        answered["data"].clone()
    }
}

#[test]
fn an_enveloped_client_is_answered_in_envelopes() {
    let Some(cluster) = requires::cluster() else { return };
    let workspace = SlurmWorkspace::echo(&cluster);
    let mut router = Enveloped(JsonProcess::spawn(
        "codeswarm router",
        workspace.command(&["router", "--daemon"]),
    ));
    let launched = router.asked("swarm_launch", "r1", json!({"nodes": 2}), "swarm_launched");
    assert_eq!(launched["status"], "pending");
    let swarm = Swarm {
        swarm_id: launched["swarm_id"].as_str().unwrap().to_owned(),
        job_id: launched["job_id"].as_str().unwrap().to_owned(),
        nodes: 2,
    };
    router.0.wait_for("the swarm to run", |line| {
        line["event"] == "swarm_status" && line["data"]["status"] == "running"
    });
    let ready = router
        .0
        .lines()
        .iter()
        .filter(|line| line["event"] == "node_ready")
        .count();
    assert_eq!(ready, 2);
    let payload = json!({"swarm_id": swarm.swarm_id, "nodes": 1, "content": "Hello"});
    let ack = router.asked("inject", "r2", payload, "inject_ack");
    let of_injection = |line: &Value| line["data"]["injection_id"] == ack["injection_id"];
    router
        .0
        .wait_for("usage", |line| line["event"] == "usage" && of_injection(line));
    let life: Vec<_> = router.0.lines().into_iter().filter(of_injection).collect();
    assert_life(&life, "event", &swarm, 1);
    assert!(life.iter().all(|line| line["data"]["request_id"] == "r2"), "{life:#?}");

    let payload = json!({"job_id": swarm.job_id, "node_id": 0, "content": "[[hang]]"});
    let ack = router.asked("inject", "r3", payload, "inject_ack");
    let of_injection = |line: &Value| line["data"]["injection_id"] == ack["injection_id"];
    router.0.wait_for("turn_started", |line| {
        line["event"] == "turn_started" && of_injection(line)
    });
    router.asked(
        "interrupt",
        "r4",
        json!({"swarm_id": swarm.swarm_id, "nodes": 0}),
        "interrupt_ack",
    );
    let end = router
        .0
        .wait_for("its end", |line| line["event"] == "turn_complete" && of_injection(line));
    assert_eq!(end["data"]["status"], "interrupted", "{end}");
    router.asked(
        "swarm_terminate",
        "r5",
        json!({"swarm_id": swarm.swarm_id}),
        "swarm_status",
    );
    router
        .0
        .wait_for("swarm_terminated", |line| line["event"] == "swarm_terminated");
    assert_enveloped_events(&router.0.lines());
}

#[test]
fn a_batch_of_commands_is_followed_to_its_end_and_its_exit_status_tells() {
    let Some(cluster) = requires::cluster() else { return };
    let workspace = SlurmWorkspace::echo(&cluster);
    let swarm = Swarm::left_running(&workspace, 2);
    let mut router = RouterProcess::spawn(&workspace, &[]);
    let good = router.ask(json!({"command": "inject", "swarm_id": swarm.swarm_id, "nodes": "all", "content": "one"}));
    router.close_stdin();
    assert!(router.wait_exit().success());
    let ends = router
        .lines()
        .iter()
        .filter(|event| event["type"] == "turn_complete" && event["request_id"] == *good)
        .count();
    assert_eq!(ends, 2);
    let mut router = RouterProcess::spawn(&workspace, &[]);
    router.ask(json!({"command": "inject", "swarm_id": swarm.swarm_id, "nodes": 2, "content": "nobody"}));
    router.close_stdin();
    assert_eq!(router.wait_exit().code(), Some(1));
    assert_eq!(workspace.jobs(), [swarm.job_id.as_str()], "the job goes on");
}
