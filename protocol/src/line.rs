//! Lines for clients, made from records and router events without parsing them again.
//!
//! Everything that this software writes starts with `{"type":"<word>"`. A flat event is that line with a few fields put in
//! behind the word; an enveloped one is the line without its type, as `data`.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::value::RawValue;

use crate::ROUTER_PROTOCOL;
use crate::command::Spelling;
use crate::ids::{RequestId, SwarmId};
use crate::record::RecordHead;

/// What the router adds to a worker's record.
#[derive(Debug, Clone, Copy, Default)]
pub struct Added<'a> {
    /// The swarm.
    pub swarm_id: Option<&'a SwarmId>,
    /// The command that caused the injection.
    pub request_id: Option<&'a RequestId>,
}

/// Appends the event made from `line` (a record or a router event, with or without its newline) to `out`, newline included.
///
/// `head` must have been parsed from `line`. Fails only if the line is not a JSON object.
pub fn write_event(
    out: &mut Vec<u8>,
    spelling: Spelling,
    line: &[u8],
    head: &RecordHead<'_>,
    added: Added<'_>,
) -> Result<(), serde_json::Error> {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    match rest_behind_type(line, &head.kind) {
        Some(rest) => write_spliced(out, spelling, rest, head, added),
        None => {
            // Values stay as they are spelled: reading them would round numbers.
            let mut fields: BTreeMap<String, &RawValue> = serde_json::from_slice(line)?;
            fields.remove("type");
            let rest = serde_json::to_vec(&fields)?;
            write_spliced(out, spelling, rest.get(1..).unwrap_or(b"}"), head, added)
        }
    }
}

/// What stands behind `{"type":"<kind>"` and its comma, closing brace included; `None` if the line starts otherwise.
fn rest_behind_type<'line>(line: &'line [u8], kind: &str) -> Option<&'line [u8]> {
    let rest = line
        .strip_prefix(b"{\"type\":\"")?
        .strip_prefix(kind.as_bytes())?
        .strip_prefix(b"\"")?;
    match rest.first() {
        Some(b',') => rest.get(1..),
        Some(b'}') => Some(rest),
        _ => None,
    }
}

fn write_spliced(
    out: &mut Vec<u8>,
    spelling: Spelling,
    rest: &[u8],
    head: &RecordHead<'_>,
    added: Added<'_>,
) -> Result<(), serde_json::Error> {
    match spelling {
        Spelling::Flat => {
            out.extend_from_slice(b"{\"type\":");
            write_json(out, &head.kind)?;
            out.push(b',');
        }
        Spelling::Enveloped => {
            out.extend_from_slice(b"{\"protocol\":\"");
            out.extend_from_slice(ROUTER_PROTOCOL.as_bytes());
            out.extend_from_slice(b"\",\"type\":\"event\",\"timestamp\":");
            write_json(out, &head.timestamp)?;
            out.extend_from_slice(b",\"event\":");
            write_json(out, &head.kind)?;
            out.extend_from_slice(b",\"data\":{");
        }
    }
    if let Some(swarm_id) = added.swarm_id {
        out.extend_from_slice(b"\"swarm_id\":");
        write_json(out, swarm_id.as_str())?;
        out.push(b',');
    }
    if let Some(request_id) = added.request_id {
        out.extend_from_slice(b"\"request_id\":");
        write_json(out, request_id.as_str())?;
        out.push(b',');
    }
    if rest.first() == Some(&b'}') && out.last() == Some(&b',') {
        out.pop();
    }
    out.extend_from_slice(rest);
    out.extend_from_slice(if spelling == Spelling::Enveloped { b"}\n" } else { b"\n" });
    Ok(())
}

fn write_json<T: Serialize + ?Sized>(out: &mut Vec<u8>, value: &T) -> Result<(), serde_json::Error> {
    serde_json::to_writer(out, value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(spelling: Spelling, line: &str, swarm: Option<&str>) -> serde_json::Value {
        let swarm = swarm.map(|id| SwarmId::new(id).unwrap());
        let request = RequestId::new("r\"1").unwrap();
        let head = RecordHead::parse(line.as_bytes()).unwrap();
        let mut out = Vec::new();
        let added = Added {
            swarm_id: swarm.as_ref(),
            request_id: swarm.is_some().then_some(&request),
        };
        write_event(&mut out, spelling, line.as_bytes(), &head, added).unwrap();
        assert_eq!(out.iter().filter(|b| **b == b'\n').count(), 1);
        serde_json::from_slice(&out).unwrap()
    }

    #[test]
    fn a_record_becomes_an_event_in_both_spellings_whatever_the_order_of_its_fields() {
        let first =
            r#"{"type":"assistant_delta","content":"hi","seq":3,"epoch":1,"timestamp":"2026-01-01T00:00:00.000Z"}"#;
        let later =
            r#"{"seq":3,"content":"hi","epoch":1,"type":"assistant_delta","timestamp":"2026-01-01T00:00:00.000Z"}"#;
        for line in [first, later] {
            let flat = event(Spelling::Flat, line, Some("s1"));
            assert_eq!(flat["type"], "assistant_delta");
            assert_eq!((&flat["swarm_id"], &flat["request_id"]), (&"s1".into(), &"r\"1".into()));
            assert_eq!((&flat["content"], &flat["seq"]), (&"hi".into(), &3.into()));

            let enveloped = event(Spelling::Enveloped, line, Some("s1"));
            assert_eq!(enveloped["protocol"], ROUTER_PROTOCOL);
            assert_eq!(
                (&enveloped["type"], &enveloped["event"]),
                (&"event".into(), &"assistant_delta".into())
            );
            assert_eq!(enveloped["timestamp"], "2026-01-01T00:00:00.000Z");
            assert_eq!(enveloped["data"]["content"], "hi");
            assert!(enveloped["data"].get("type").is_none());
        }
    }

    #[test]
    fn values_are_passed_on_as_they_are_spelled() {
        for line in [
            r#"{"type":"x","n":1e400,"m":0.10000000000000000001,"s":"\ud800"}"#,
            r#"{"n":1e400,"m":0.10000000000000000001,"s":"\ud800","type":"x"}"#,
        ] {
            let head = RecordHead::parse(line.as_bytes()).unwrap();
            let mut out = Vec::new();
            write_event(&mut out, Spelling::Flat, line.as_bytes(), &head, Added::default()).unwrap();
            let out = String::from_utf8(out).unwrap();
            for value in ["1e400", "0.10000000000000000001", r#""\ud800""#] {
                assert!(out.contains(value), "{out}");
            }
        }
    }

    #[test]
    fn a_record_of_nothing_but_its_type_stays_json() {
        assert_eq!(event(Spelling::Flat, r#"{"type":"pong"}"#, None)["type"], "pong");
        assert_eq!(
            event(Spelling::Enveloped, r#"{"type":"pong"}"#, Some("s"))["data"]["swarm_id"],
            "s"
        );
    }
}
