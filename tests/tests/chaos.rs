//! Everything is killed again and again while prompts flow, and what was promised holds all the same (P1, P2, P4 to P6).

use codeswarm_tests::router::{RouterProcess, Swarm};
use codeswarm_tests::schema::assert_flat_events;
use codeswarm_tests::stream::{assert_every_record_once, assert_in_order};
use codeswarm_tests::workspace::Workspace;
use rustix::process::Signal;
use serde_json::{Value, json};

const NODES: u32 = 3;
const ROUNDS: u32 = 12;

/// Numbers that look like chance and are the same in every run: what is done next, not when.
struct Chance(u64);

impl Chance {
    fn below(&mut self, limit: u32) -> u32 {
        // Numerical Recipes' linear congruential generator; its high bits are the good ones.
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        u32::try_from((self.0 >> 33) % u64::from(limit)).unwrap()
    }
}

/// What became of a request's prompt.
fn ends(events: &[Value], request: &str) -> Vec<String> {
    let ends = events.iter().filter(|event| event["request_id"] == request);
    let ends = ends.filter(|event| event["type"] == "turn_complete" || event["type"] == "inject_failed");
    ends.map(|event| event["type"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn p1_p2_p4_p5_p6_hold_while_routers_and_workers_are_killed() {
    let workspace = Workspace::echo();
    let mut others = vec![RouterProcess::daemon(&workspace)];
    others[0].ping();
    // The client that is looked at outlives everybody; only in the end it may come to be the router itself.
    let mut client = RouterProcess::daemon(&workspace);
    client.follow_all();
    let swarm = client.launch_ready(NODES);
    let mut chance = Chance(7);
    let mut requests = Vec::new();
    let mut kills = 0;
    for round in 0..ROUNDS {
        others.push(RouterProcess::daemon(&workspace));
        for number in 0..6 {
            let node = chance.below(NODES);
            let deltas = 1 + chance.below(60);
            let content = format!("{round}.{number} [[echo deltas={deltas} pace_ms={}]]", chance.below(3));
            let steer = chance.below(4) == 0;
            let inject = json!({"command": "inject", "swarm_id": swarm.swarm_id, "nodes": node, "content": content, "steer": steer});
            requests.push(client.ask(inject));
        }
        let workers = workspace.processes_named("worker --root");
        if chance.below(2) == 0 && !workers.is_empty() {
            let victim = chance.below(u32::try_from(workers.len()).unwrap()) as usize;
            workspace.signal(&workers[victim], Signal::KILL);
        }
        let serving = others[0].ping()["pid"].as_u64().unwrap();
        let Some(at) = others.iter().position(|other| u64::from(other.pid()) == serving) else {
            continue;
        };
        let stays_a_client = round < ROUNDS - 2;
        if stays_a_client {
            client.signal(Signal::STOP);
        }
        others.remove(at).kill();
        kills += 1;
        others[0].ping();
        client.signal(Signal::CONT);
    }
    assert!(kills >= ROUNDS - 2, "{kills}");
    for request in &requests {
        client.wait_for("the end of every prompt", |event| {
            event["request_id"] == request.as_str()
                && (event["type"] == "turn_complete" || event["type"] == "inject_failed")
        });
    }
    client.terminate(&swarm);
    let events = client.lines();
    assert_flat_events(&events);
    for request in &requests {
        let ends = ends(&events, request);
        assert_eq!(ends.len(), 1, "{request}: {ends:?}");
    }
    assert_streams(&workspace, &swarm, &events);
}

fn assert_streams(workspace: &Workspace, swarm: &Swarm, events: &[Value]) {
    for node in 0..swarm.nodes {
        assert_in_order(events, &swarm.job_id, node);
        let records = workspace.records(&swarm.job_id, node);
        assert_every_record_once(events, &records, &swarm.job_id, node);
        let seqs: Vec<_> = records.iter().map(|record| record["seq"].as_u64().unwrap()).collect();
        assert_eq!(seqs, (1..=seqs.len() as u64).collect::<Vec<_>>());
        // A prompt starts at most one turn.
        let started = records.iter().filter(|record| record["type"] == "turn_started");
        let mut started: Vec<_> = started.map(|record| record["injection_id"].as_str().unwrap()).collect();
        let turns = started.len();
        started.sort_unstable();
        started.dedup();
        assert_eq!(started.len(), turns, "node {node}");
    }
}
