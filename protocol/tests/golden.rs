//! Lines as released versions wrote them, read with the types of today; and lines as a later version may write them.
//!
//! The files in `tests/golden/v1` only ever grow. A change that makes an old line unreadable here breaks mailboxes and
//! clients out there, and needs a new version of the format beside the old one.

#![expect(
    clippy::unwrap_used,
    reason = "all of this is a test: what panics fails it and says where"
)]

use std::collections::{BTreeMap, BTreeSet};

use codeswarm_protocol::command::{Request, Spelling};
use codeswarm_protocol::event::RouterEvent;
use codeswarm_protocol::inbox::InboxRecord;
use codeswarm_protocol::launch::LaunchSpec;
use codeswarm_protocol::line::{Added, write_event};
use codeswarm_protocol::record::{RecordHead, Word, WorkerRecord};
use codeswarm_protocol::schema;
use codeswarm_protocol::turn::ErrorClass;
use codeswarm_protocol::{Epoch, Seq};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

const COMMANDS: &str = include_str!("golden/v1/commands.jsonl");
const ROUTER_EVENTS: &str = include_str!("golden/v1/router_events.jsonl");
const OUTBOX: &str = include_str!("golden/v1/outbox.jsonl");
const INBOX: &str = include_str!("golden/v1/inbox.jsonl");
const LAUNCH: &str = include_str!("golden/v1/launch.json");

/// Reads each line, and expects that nothing of it is lost when it is written again.
fn read_all<T: DeserializeOwned + Serialize>(file: &str) -> Vec<T> {
    let read = |line: &str| {
        let value: T = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        let old: Value = serde_json::from_str(line).unwrap();
        assert_eq!(serde_json::to_value(&value).unwrap(), old, "{line}");
        value
    };
    file.lines().map(read).collect()
}

#[test]
fn golden_records_and_events_read_and_lose_nothing() {
    read_all::<WorkerRecord>(OUTBOX);
    read_all::<RouterEvent>(ROUTER_EVENTS);
    read_all::<InboxRecord>(INBOX);
    let launch: LaunchSpec = serde_json::from_str(LAUNCH).unwrap();
    assert_eq!(
        serde_json::to_value(&launch).unwrap(),
        serde_json::from_str::<Value>(LAUNCH).unwrap()
    );
}

#[test]
fn golden_commands_read_and_mean_the_same_in_both_spellings() {
    let mut by_request = BTreeMap::<String, Vec<Request>>::new();
    for line in COMMANDS.lines() {
        let request = Request::parse(line.as_bytes()).unwrap_or_else(|bad| panic!("{bad:?}: {line}"));
        if let Some(id) = &request.request_id {
            by_request.entry(id.to_string()).or_default().push(request);
        }
    }
    let pairs: Vec<_> = by_request.values().filter(|same| same.len() == 2).collect();
    assert_eq!(pairs.len(), 13);
    for pair in pairs {
        assert_eq!(
            (pair[0].spelling, pair[1].spelling),
            (Spelling::Flat, Spelling::Enveloped)
        );
        assert_eq!(pair[0].command, pair[1].command);
    }
}

#[test]
fn a_records_head_is_that_of_the_record() {
    for (line, record) in OUTBOX.lines().zip(read_all::<WorkerRecord>(OUTBOX)) {
        let head = RecordHead::parse(line.as_bytes()).unwrap();
        assert_eq!((head.seq, head.epoch), (record.seq, record.epoch));
        assert_eq!(head.timestamp, record.timestamp.to_string());
        assert_eq!(
            head.injection_id.as_deref(),
            record.injection_id.as_ref().map(|id| id.as_str())
        );
        assert_eq!(
            head.kind,
            serde_json::to_value(&record).unwrap()["type"].as_str().unwrap()
        );
    }
}

/// The fields that golden lines have, by the word in `tag`.
fn fields_seen<'file>(files: impl IntoIterator<Item = &'file str>, tag: &str) -> BTreeMap<String, BTreeSet<String>> {
    let mut seen = BTreeMap::<String, BTreeSet<String>>::new();
    for line in files.into_iter().flat_map(str::lines) {
        let fields: serde_json::Map<String, Value> = serde_json::from_str(line).unwrap();
        let name = fields
            .get(tag)
            .or_else(|| fields.get("action"))
            .unwrap()
            .as_str()
            .unwrap()
            .to_owned();
        seen.entry(name)
            .or_default()
            .extend(fields.into_iter().map(|(field, _)| field));
    }
    seen
}

#[test]
fn every_field_of_every_record_and_command_has_a_golden_line() {
    let cases = [
        (
            schema::outbox_record(),
            fields_seen([OUTBOX], "type"),
            vec!["injection_id"],
        ),
        (schema::inbox_record(), fields_seen([INBOX], "type"), vec![]),
        (
            schema::flat_command(),
            fields_seen([COMMANDS], "command"),
            vec!["command", "action", "request_id"],
        ),
    ];
    for (schema, seen, but) in cases {
        for word in schema["oneOf"].as_array().unwrap() {
            let name = word["title"].as_str().unwrap();
            let seen = seen.get(name).unwrap_or_else(|| panic!("{name} has no golden line"));
            for field in word["properties"].as_object().unwrap().keys() {
                let found = seen.contains(field) || but.contains(&field.as_str());
                assert!(found, "no golden line has {name}.{field}");
            }
        }
    }
}

#[test]
fn every_event_of_the_router_has_a_golden_line_with_all_its_own_fields() {
    let common = [
        "swarm_id",
        "job_id",
        "node_id",
        "injection_id",
        "request_id",
        "seq",
        "sub",
    ];
    let seen = fields_seen([ROUTER_EVENTS], "type");
    let schema = schema::flat_event();
    for word in schema["anyOf"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|word| word[schema::SAID_BY] == "router")
    {
        let name = word["title"].as_str().unwrap();
        let seen = seen.get(name).unwrap_or_else(|| panic!("{name} has no golden line"));
        for field in word["properties"].as_object().unwrap().keys() {
            assert!(
                seen.contains(field) || common.contains(&field.as_str()),
                "no golden line has {name}.{field}"
            );
        }
    }
}

/// The line with a field that no version has yet.
fn with_a_newer_field(line: &str) -> String {
    let mut value: Value = serde_json::from_str(line).unwrap();
    value["from_the_future"] = json!({"nested": [1, {"deeper": null}]});
    value.to_string()
}

#[test]
fn fields_of_later_versions_are_passed_over() {
    for (line, old) in OUTBOX.lines().zip(read_all::<WorkerRecord>(OUTBOX)) {
        assert_eq!(
            serde_json::from_str::<WorkerRecord>(&with_a_newer_field(line)).unwrap(),
            old
        );
    }
    for (line, old) in ROUTER_EVENTS.lines().zip(read_all::<RouterEvent>(ROUTER_EVENTS)) {
        assert_eq!(
            serde_json::from_str::<RouterEvent>(&with_a_newer_field(line)).unwrap(),
            old
        );
    }
    for (line, old) in INBOX.lines().zip(read_all::<InboxRecord>(INBOX)) {
        assert_eq!(
            serde_json::from_str::<InboxRecord>(&with_a_newer_field(line)).unwrap(),
            old
        );
    }
    for line in COMMANDS.lines() {
        let old = Request::parse(line.as_bytes()).unwrap();
        assert_eq!(Request::parse(with_a_newer_field(line).as_bytes()).unwrap(), old);
    }
    let launch: LaunchSpec = serde_json::from_str(LAUNCH).unwrap();
    assert_eq!(
        serde_json::from_str::<LaunchSpec>(&with_a_newer_field(LAUNCH)).unwrap(),
        launch
    );
}

/// A record of a type that this version does not know, as a later worker may write it.
const NEWER_RECORD: &str = r#"{"type":"plan_updated","steps":[{"text":"read"}],"seq":40,"epoch":3,"timestamp":"2027-01-01T00:00:00.000Z","job_id":"1","node_id":0,"injection_id":"i-1"}"#;

#[test]
fn a_record_of_a_later_version_is_passed_on_whole_by_who_reads_its_head() {
    let head = RecordHead::parse(NEWER_RECORD.as_bytes()).unwrap();
    assert_eq!(
        (head.kind.as_ref(), head.seq, head.epoch),
        ("plan_updated", Seq(40), Epoch(3))
    );
    for spelling in [Spelling::Flat, Spelling::Enveloped] {
        let mut out = Vec::new();
        write_event(&mut out, spelling, NEWER_RECORD.as_bytes(), &head, Added::default()).unwrap();
        let event: Value = serde_json::from_slice(&out).unwrap();
        let fields = if spelling == Spelling::Flat {
            &event
        } else {
            &event["data"]
        };
        assert_eq!(fields["steps"], json!([{"text": "read"}]));
        assert_eq!(
            event[if spelling == Spelling::Flat { "type" } else { "event" }],
            "plan_updated"
        );
    }
}

#[test]
fn words_of_later_versions_are_errors_that_name_them_where_they_cannot_be_obeyed() {
    let error = serde_json::from_str::<WorkerRecord>(NEWER_RECORD)
        .unwrap_err()
        .to_string();
    assert!(error.contains("plan_updated"), "{error}");
    for line in [
        r#"{"type":"rewind","to":"i-1"}"#,
        r#"{"type":"control","payload":{"type":"rewind"}}"#,
    ] {
        let error = serde_json::from_str::<InboxRecord>(line).unwrap_err().to_string();
        assert!(error.contains("rewind"), "{error}");
    }
    let mut launch: Value = serde_json::from_str(LAUNCH).unwrap();
    launch["agent"]["temperature"] = json!(1);
    let error = serde_json::from_value::<LaunchSpec>(launch).unwrap_err().to_string();
    assert!(
        error.contains("temperature"),
        "a setting that would not be kept must not be passed over: {error}"
    );
}

#[test]
fn a_turn_that_ended_with_a_newer_class_of_error_has_ended() {
    let line = OUTBOX
        .lines()
        .find(|line| line.contains("\"class\":\"rate_limit\""))
        .unwrap();
    let newer = line.replace("rate_limit", "meteor_strike");
    let record: WorkerRecord = serde_json::from_str(&newer).unwrap();
    let Word::TurnComplete { error: Some(error), .. } = record.word else {
        panic!("{newer}")
    };
    assert_eq!(error.class, ErrorClass::Other);
}

#[test]
fn a_line_of_the_earlier_python_worker_has_a_head() {
    let line = br#"{"type": "codex_rpc", "job_id": "272900", "node_id": 0, "injection_id": null, "payload": {"method": "turn/started"}}"#;
    let head = RecordHead::parse(line).unwrap();
    assert_eq!(
        (head.kind.as_ref(), head.seq, head.injection_id),
        ("codex_rpc", Seq(0), None)
    );
}
