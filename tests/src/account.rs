//! A client that counts: what it was told of its prompts and of each node's stream, beside what the files hold.

use serde_json::Value;

use crate::router::{RouterProcess, Swarm};
use crate::schema::assert_flat_events;
use crate::stream::{assert_every_record_once, assert_in_order};
use crate::workspace::Workspace;

/// Whether an event ends an injection.
pub fn is_end(event: &Value) -> bool {
    event["type"] == "turn_complete" || event["type"] == "inject_failed"
}

/// The ends of an injection among a client's events: one, if all is well.
pub fn ends_of(events: &[Value], injection: &str) -> Vec<Value> {
    let of_injection = events.iter().filter(|event| event["injection_id"] == injection);
    of_injection.filter(|event| is_end(event)).cloned().collect()
}

/// Waits until an injection has ended, and returns how.
#[track_caller]
pub fn wait_for_end(router: &RouterProcess, injection: &str) -> Value {
    router.wait_for(&format!("the end of {injection}"), |event| {
        event["injection_id"] == injection && is_end(event)
    })
}

/// Waits until a turn has ended, and for the last that its worker says of it.
#[track_caller]
pub fn wait_for_completion(router: &RouterProcess, injection: &str) {
    let end = wait_for_end(router, injection);
    assert_eq!(end["status"], "completed", "{end}");
    router.event_of(injection, "usage");
}

/// The injections in a node's inbox, in the order in which they stand there.
pub fn inbox(workspace: &Workspace, swarm: &Swarm, node: u32) -> Vec<String> {
    let path = workspace
        .mailbox("inbox")
        .join(format!("{}_{node:02}.jsonl", swarm.job_id));
    let text = std::fs::read_to_string(&path).unwrap_or_default();
    // The first part of a line that did not fit may stand there, too.
    let records = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    records
        .filter_map(|record| record["injection_id"].as_str().map(str::to_owned))
        .collect()
}

/// Fails unless these injections have ended once each in this client's copy, the streams of all nodes are whole and in
/// order in it, no prompt has started two turns, and none stands twice in an inbox.
///
/// The swarm must have come to rest: a record that is written meanwhile counts as lost.
#[track_caller]
pub fn assert_account(workspace: &Workspace, swarm: &Swarm, events: &[Value], injections: &[String]) {
    assert_flat_events(events);
    for injection in injections {
        let ends = ends_of(events, injection);
        assert_eq!(ends.len(), 1, "{injection}: {ends:#?}");
    }
    for node in 0..swarm.nodes {
        assert_in_order(events, &swarm.job_id, node);
        let records = workspace.records(&swarm.job_id, node);
        assert_every_record_once(events, &records, &swarm.job_id, node);
        let seqs: Vec<_> = records.iter().filter_map(|record| record["seq"].as_u64()).collect();
        let without_gaps: Vec<_> = (1..=seqs.len() as u64).collect();
        assert_eq!(seqs, without_gaps, "node {node}");
        let started = records.iter().filter(|record| record["type"] == "turn_started");
        let started: Vec<_> = started
            .filter_map(|record| record["injection_id"].as_str().map(str::to_owned))
            .collect();
        assert_no_double(&started, "turns", node);
        let delivered = inbox(workspace, swarm, node);
        assert_no_double(&delivered, "prompts in the inbox", node);
        let failed = events.iter().filter(|event| {
            event["type"] == "inject_failed" && event["error"] == "timeout" && event["node_id"] == node
        });
        for failed in failed {
            let id = failed["injection_id"].as_str().unwrap_or_default();
            assert!(!delivered.iter().any(|other| other == id), "delivered after {failed}");
        }
    }
}

#[track_caller]
fn assert_no_double(ids: &[String], what: &str, node: u32) {
    let mut once = ids.to_vec();
    once.sort_unstable();
    once.dedup();
    assert_eq!(once.len(), ids.len(), "node {node}: {what}: {ids:?}");
}
