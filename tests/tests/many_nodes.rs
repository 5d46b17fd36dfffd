//! Many nodes on one machine: all of them answer, and the router stays small.

use codeswarm_tests::processes::peak_memory;
use codeswarm_tests::router::RouterProcess;
use codeswarm_tests::stream::{assert_every_record_once, assert_in_order};
use codeswarm_tests::workspace::Workspace;
use serde_json::json;

const NODES: u32 = 64;

#[test]
fn all_of_many_nodes_answer() {
    let workspace = Workspace::echo();
    let mut router = RouterProcess::daemon(&workspace);
    router.follow_all();
    let swarm = router.launch_ready(NODES);
    let injections = router.inject_all(&swarm, "[[echo deltas=50]]");
    assert_eq!(injections.len(), NODES as usize);
    for injection in &injections {
        assert_eq!(router.event_of(injection, "turn_complete")["status"], "completed");
    }
    let odd = json!({"command": "inject", "swarm_id": swarm.swarm_id, "nodes": "0,10-19,63", "content": "some of you"});
    let request = router.ask(odd);
    for node in (10..20).chain([0, 63]) {
        router.wait_for("an answer of each that was asked", |event| {
            event["request_id"] == request.as_str() && event["node_id"] == node && event["type"] == "turn_complete"
        });
    }
    let status = router.asked(
        json!({"command": "swarm_status", "swarm_id": swarm.swarm_id}),
        "swarm_status",
    );
    let turns = status["nodes"].as_array().unwrap().iter();
    assert_eq!(
        turns.map(|node| node["turns"].as_u64().unwrap()).sum::<u64>(),
        u64::from(NODES) + 12
    );
    router.terminate(&swarm);
    let events = router.lines();
    for node in 0..NODES {
        assert_in_order(&events, &swarm.job_id, node);
        assert_every_record_once(&events, &workspace.records(&swarm.job_id, node), &swarm.job_id, node);
    }
    let peak = peak_memory(router.pid()) >> 20;
    assert!(peak < 64, "{peak} MiB");
    router.leave();
    workspace.wait_until_quiet();
}
