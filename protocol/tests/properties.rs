//! What must hold for any input at the border: nothing panics, what is accepted reads back, and what is refused is
//! refused with a reason.

#![expect(
    clippy::unwrap_used,
    reason = "all of this is a test: what panics fails it and says where"
)]

use std::collections::BTreeSet;

use codeswarm_protocol::command::{Request, Spelling};
use codeswarm_protocol::line::{Added, write_event};
use codeswarm_protocol::record::RecordHead;
use codeswarm_protocol::{JobId, NodeId, NodeSelector, Place, Position, RequestId, Seq, SwarmId};
use proptest::prelude::*;
use serde_json::{Map, Value};

const COMMANDS: &str = include_str!("golden/v1/commands.jsonl");

/// Refused or not, the line got an answer that says something.
fn answered(line: &[u8]) {
    if let Err(bad) = Request::parse(line) {
        assert!(!bad.rejection.reason.is_empty());
        if let Some(field) = &bad.rejection.field {
            assert!(bad.rejection.reason.contains(field.as_str()), "{:?}", bad.rejection);
        }
    }
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
        "[0-9a-z./ ,-]{0,12}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 16, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::btree_map("[a-z_0-9]{1,8}", inner, 0..4)
                .prop_map(|fields| Value::from(fields.into_iter().collect::<Map<_, _>>())),
        ]
    })
}

/// An object with the fields that mean something, and anything in them.
fn hostile_command() -> impl Strategy<Value = Value> {
    let field = prop_oneof![
        Just("command"),
        Just("action"),
        Just("protocol"),
        Just("type"),
        Just("payload"),
        Just("request_id"),
        Just("swarm_id"),
        Just("job_id"),
        Just("nodes"),
        Just("node_id"),
        Just("content"),
        Just("steer"),
        Just("since"),
        Just("call_id"),
        Just("decision"),
        Just("injection_id"),
        Just("provider_params"),
    ];
    let known = proptest::sample::select(codeswarm_protocol::command::COMMANDS.to_vec());
    (
        proptest::collection::btree_map(field, any_json(), 0..8),
        proptest::option::of(known),
    )
        .prop_map(|(fields, name)| {
            let mut fields: Map<String, Value> = fields.into_iter().map(|(name, v)| (name.to_owned(), v)).collect();
            if let Some(name) = name {
                fields.insert("command".into(), name.into());
            }
            Value::Object(fields)
        })
}

fn place() -> impl Strategy<Value = Place> {
    ("[A-Za-z0-9_-][A-Za-z0-9._-]{0,127}", 0u32..=999_999)
        .prop_map(|(job, node)| Place::new(JobId::new(&job).unwrap(), NodeId::new(node).unwrap()))
}

proptest! {
    #[test]
    fn any_bytes_get_an_answer(line in proptest::collection::vec(any::<u8>(), 0..300)) {
        answered(&line);
    }

    #[test]
    fn any_fields_get_an_answer(line in hostile_command()) {
        answered(line.to_string().as_bytes());
    }

    #[test]
    fn a_damaged_command_gets_an_answer(
        which in any::<proptest::sample::Index>(),
        at in any::<proptest::sample::Index>(),
        byte in any::<u8>(),
        cut in any::<bool>(),
    ) {
        let lines: Vec<&str> = COMMANDS.lines().collect();
        let mut line = lines[which.index(lines.len())].as_bytes().to_vec();
        let at = at.index(line.len());
        line[at] = byte;
        if cut {
            line.truncate(at);
        }
        answered(&line);
    }

    #[test]
    fn a_refusal_repeats_the_request_id_wherever_it_could_be_read(name in "[a-zA-Z0-9 /]{1,128}", fields in hostile_command()) {
        let Value::Object(mut fields) = fields else { unreachable!() };
        fields.insert("request_id".into(), name.as_str().into());
        let id = match Request::parse(Value::Object(fields).to_string().as_bytes()) {
            Ok(request) => request.request_id,
            Err(bad) => bad.request_id,
        };
        prop_assert_eq!(id, Some(RequestId::new(&name).unwrap()));
    }

    #[test]
    fn a_position_reads_back_and_orders_as_its_parts(
        a in (0..=Seq::MAX.0, any::<u32>()),
        b in (0..=Seq::MAX.0, any::<u32>()),
    ) {
        let position = |(seq, sub)| Position { seq: Seq(seq), sub };
        let text = serde_json::to_string(&position(a)).unwrap();
        prop_assert_eq!(serde_json::from_str::<Position>(&text).unwrap(), position(a));
        prop_assert_eq!(serde_json::from_str::<Position>(&a.0.to_string()).unwrap(), Position::at(Seq(a.0)));
        prop_assert_eq!(position(a).cmp(&position(b)), a.cmp(&b));
    }

    #[test]
    fn what_is_taken_for_a_position_reads_back(text in "[0-9+. -]{0,8}|\\PC{0,8}") {
        if let Ok(position) = text.parse::<Position>() {
            prop_assert!(text.bytes().all(|b| b.is_ascii_digit() || b == b'.'), "{text:?}");
            prop_assert_eq!(position.to_string().parse::<Position>().unwrap(), position);
        }
    }

    #[test]
    fn nodes_read_back_in_every_spelling(ranks in proptest::collection::btree_set(0u32..2000, 1..40)) {
        let ranks: BTreeSet<NodeId> = ranks.into_iter().map(|rank| NodeId::new(rank).unwrap()).collect();
        let selector = NodeSelector::Ranks(ranks.iter().copied().collect());
        let text = serde_json::to_string(&selector).unwrap();
        prop_assert_eq!(&serde_json::from_str::<NodeSelector>(&text).unwrap(), &selector);
        let list = serde_json::to_string(&ranks).unwrap();
        prop_assert_eq!(&serde_json::from_str::<NodeSelector>(&list).unwrap(), &selector);
        prop_assert_eq!(selector.resolve(2000).unwrap(), ranks.into_iter().collect::<Vec<_>>());
    }

    #[test]
    fn what_selects_nodes_reads_back(text in "[0-9]{0,3}([-, al][0-9]{0,3}){0,6}|\\PC{0,12}") {
        if let Ok(selector) = text.parse::<NodeSelector>() {
            prop_assert_eq!(selector.to_string().parse::<NodeSelector>().unwrap(), selector);
        }
    }

    #[test]
    fn a_place_is_found_again_by_its_stem(place in place()) {
        prop_assert_eq!(Place::from_stem(&place.stem()).unwrap(), place.clone());
        let unpadded = format!("{}_{}", place.job_id, place.node_id);
        prop_assert_eq!(Place::from_stem(&unpadded).unwrap(), place);
    }

    #[test]
    fn no_stem_leaves_its_folder(stem in "[A-Za-z0-9._/-]{0,12}_[0-9/.]{0,8}|\\PC{0,20}") {
        if let Ok(place) = Place::from_stem(&stem) {
            let stem = place.stem();
            prop_assert!(!stem.starts_with('.') && !stem.contains(['/', '\0', '\n']), "{stem:?}");
            prop_assert_eq!(Place::from_stem(&stem).unwrap(), place);
        }
    }

    #[test]
    fn an_event_has_all_of_its_record_and_what_was_added(
        own in proptest::collection::btree_map("[a-z]{1,6}x", any_json(), 0..5),
        kind in "[a-z_]{1,12}|\\PC{1,6}",
        type_first in any::<bool>(),
        newline in any::<bool>(),
        enveloped in any::<bool>(),
    ) {
        let rest: String = own.iter().map(|(name, value)| format!(",{name:?}:{value}")).collect();
        let kind_text = serde_json::to_string(&kind).unwrap();
        let mut line = if type_first {
            format!("{{\"type\":{kind_text}{rest},\"seq\":7,\"timestamp\":\"t\"}}")
        } else {
            format!("{{\"seq\":7{rest},\"timestamp\":\"t\",\"type\":{kind_text}}}")
        };
        if newline {
            line.push('\n');
        }
        let head = RecordHead::parse(line.as_bytes()).unwrap();
        let (swarm, request) = (SwarmId::new("s").unwrap(), RequestId::new("r\"\\").unwrap());
        let added = Added { swarm_id: Some(&swarm), request_id: Some(&request) };
        let spelling = if enveloped { Spelling::Enveloped } else { Spelling::Flat };
        let mut out = Vec::new();
        write_event(&mut out, spelling, line.as_bytes(), &head, added).unwrap();
        prop_assert_eq!(out.iter().filter(|byte| **byte == b'\n').count(), 1);

        let event: Value = serde_json::from_slice(&out).unwrap();
        let (name, fields) = if enveloped { (&event["event"], &event["data"]) } else { (&event["type"], &event) };
        prop_assert_eq!(name, &Value::from(kind));
        prop_assert_eq!((&fields["swarm_id"], &fields["request_id"]), (&"s".into(), &"r\"\\".into()));
        prop_assert_eq!((&fields["seq"], &fields["timestamp"]), (&7.into(), &"t".into()));
        for (name, value) in own {
            prop_assert_eq!(&fields[&name], &value);
        }
    }
}
