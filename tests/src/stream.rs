//! A client's copy of a node's stream beside the records in the node's file.

use serde_json::Value;

/// The worker's records among a client's events, as the outbox has them: without what the router adds.
pub fn records_among(events: &[Value], job_id: &str, node: u32) -> Vec<Value> {
    let is_record = |event: &&Value| {
        event["job_id"] == job_id && event["node_id"] == node && !event["seq"].is_null() && event["sub"].is_null()
    };
    let without_additions = |event: &Value| {
        let mut record = event.clone();
        if let Some(fields) = record.as_object_mut() {
            fields.remove("swarm_id");
            fields.remove("request_id");
        }
        record
    };
    events.iter().filter(is_record).map(without_additions).collect()
}

/// Fails unless a client was handed exactly these records, each once and in their order.
#[track_caller]
pub fn assert_every_record_once(events: &[Value], records: &[Value], job_id: &str, node: u32) {
    let mut heard = records_among(events, job_id, node);
    // The file may hold a swarm_id of its own in a later version; what the router adds is not compared.
    let expected: Vec<u64> = records.iter().filter_map(|record| record["seq"].as_u64()).collect();
    let seqs: Vec<u64> = heard.iter().filter_map(|record| record["seq"].as_u64()).collect();
    let lost: Vec<_> = expected.iter().filter(|seq| !seqs.contains(seq)).collect();
    let mut doubled = seqs.clone();
    doubled.sort_unstable();
    let doubled: Vec<_> = doubled.windows(2).filter(|pair| pair[0] == pair[1]).collect();
    assert!(
        lost.is_empty() && doubled.is_empty(),
        "node {node}: lost {lost:?}, doubled {doubled:?}\nheard {seqs:?}"
    );
    assert_eq!(seqs, expected, "node {node}: out of order, or invented");
    for (heard, record) in heard.iter_mut().zip(records) {
        assert_eq!(heard, record, "node {node}: a record was changed on its way");
    }
}

/// Fails unless the places of a node's events, the router's words included, only ever go forward.
#[track_caller]
pub fn assert_in_order(events: &[Value], job_id: &str, node: u32) {
    let mut last = (0, 0);
    for event in events {
        let Some(seq) = event["seq"].as_u64() else { continue };
        if event["job_id"] != job_id || event["node_id"] != node {
            continue;
        }
        let place = (seq, event["sub"].as_u64().unwrap_or(0));
        assert!(place > last, "node {node}: {place:?} came after {last:?}: {event}");
        last = place;
    }
}

/// Where a client's copy of a node's stream ends, as `since` takes it; `"0"` before the first event.
pub fn position(events: &[Value], job_id: &str, node: u32) -> String {
    let of_node = |event: &&Value| event["job_id"] == job_id && event["node_id"] == node && !event["seq"].is_null();
    match events.iter().rfind(of_node) {
        None => "0".to_owned(),
        Some(last) => match last["sub"].as_u64() {
            Some(sub) => format!("{}.{sub}", last["seq"]),
            None => last["seq"].to_string(),
        },
    }
}
