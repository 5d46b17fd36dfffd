//! What a relay remembers of its client's conversation, so that it can go on with another router as if nothing had
//! happened: which commands are not answered, which prompts are not over, and where each node's stream had come to. Pure.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use serde_json::Value;

use codeswarm_protocol::{JobId, NodeId, Place, Position, Seq};

/// The fields of an event that matter here, in either spelling.
#[derive(Deserialize)]
struct Fields {
    #[serde(rename = "type")]
    kind: Option<String>,
    event: Option<String>,
    data: Option<Box<Fields>>,
    request_id: Option<String>,
    injection_id: Option<String>,
    job_id: Option<JobId>,
    node_id: Option<NodeId>,
    seq: Option<Seq>,
    sub: Option<u32>,
    status: Option<Value>,
}

/// One conversation.
#[derive(Debug, Default)]
pub(super) struct Memory {
    /// Commands on their way, by their `request_id`.
    unanswered: BTreeMap<String, Vec<u8>>,
    /// Commands whose prompts are not over.
    open: BTreeMap<String, (Vec<u8>, BTreeSet<String>)>,
    positions: BTreeMap<Place, Position>,
    /// Something that was asked for went wrong.
    pub failed: bool,
    given_out: u64,
}

impl Memory {
    /// A command on its way; it is given a `request_id` if it has none, so that it can be sent again safely.
    pub(super) fn sent(&mut self, line: &[u8]) -> Vec<u8> {
        let Ok(Value::Object(mut fields)) = serde_json::from_slice::<Value>(line) else {
            return line.to_vec();
        };
        let name = match fields.get("request_id") {
            Some(Value::String(name)) => name.clone(),
            Some(_) => return line.to_vec(),
            None => {
                self.given_out += 1;
                let name = format!("relay-{}-{}", uuid::Uuid::new_v4().simple(), self.given_out);
                fields.insert("request_id".to_owned(), Value::String(name.clone()));
                name
            }
        };
        let named = serde_json::to_vec(&Value::Object(fields)).unwrap_or_else(|_| line.to_vec());
        self.unanswered.insert(name, named.clone());
        named
    }

    /// An event on its way to the client; `false` if the client has it already.
    pub(super) fn heard(&mut self, line: &[u8]) -> bool {
        let Ok(outer) = serde_json::from_slice::<Fields>(line) else {
            return true;
        };
        let (kind, fields) = match outer.data {
            Some(data) => (outer.event, *data),
            None => (outer.kind.clone(), outer),
        };
        let kind = kind.unwrap_or_default();
        if let (Some(job_id), Some(node_id), Some(seq)) = (fields.job_id, fields.node_id, fields.seq) {
            let position = Position {
                seq,
                sub: fields.sub.unwrap_or(0),
            };
            let seen = self.positions.entry(Place::new(job_id, node_id)).or_default();
            if position <= *seen {
                return false;
            }
            *seen = position;
        }
        let over = match kind.as_str() {
            "inject_failed" | "command_rejected" => Some(true),
            "turn_complete" => Some(fields.status != Some(Value::from("completed"))),
            _ => None,
        };
        self.failed |= over == Some(true);
        if let Some(request_id) = &fields.request_id {
            if let Some(line) = self.unanswered.remove(request_id)
                && matches!(kind.as_str(), "inject_ack" | "swarm_launched")
            {
                self.open.insert(request_id.clone(), (line, BTreeSet::new()));
            }
            if let Some((_, injections)) = self.open.get_mut(request_id) {
                match (&fields.injection_id, kind.as_str(), over) {
                    (Some(id), "inject_ack", _) => drop(injections.insert(id.clone())),
                    (Some(id), _, Some(_)) => {
                        injections.remove(id);
                        if injections.is_empty() {
                            self.open.remove(request_id);
                        }
                    }
                    _ => {}
                }
            }
        }
        true
    }

    /// What to say first to another router: where the client's copy ends, and what is not answered or not over.
    pub(super) fn again(&self, follows_everything: bool) -> Vec<u8> {
        let mut lines = Vec::new();
        if follows_everything {
            let since: BTreeMap<String, &Position> =
                self.positions.iter().map(|(place, at)| (place.stem(), at)).collect();
            let subscribe = serde_json::json!({"command": "subscribe", "since": since});
            lines.extend_from_slice(subscribe.to_string().as_bytes());
            lines.push(b'\n');
        }
        for line in self.open.values().map(|(line, _)| line).chain(self.unanswered.values()) {
            lines.extend_from_slice(line);
            lines.push(b'\n');
        }
        lines
    }

    /// Whether something that was asked for is not answered or not over.
    pub(super) fn has_open(&self) -> bool {
        !self.open.is_empty() || !self.unanswered.is_empty()
    }

    /// Whether a conversation has begun.
    pub(super) fn has_begun(&self) -> bool {
        !self.positions.is_empty() || !self.open.is_empty() || !self.unanswered.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_answered_is_said_again_under_its_name() {
        let mut memory = Memory::default();
        let sent = memory.sent(br#"{"command":"inject","swarm_id":"s","nodes":0,"content":"x"}"#);
        let name = serde_json::from_slice::<Value>(&sent).unwrap()["request_id"]
            .as_str()
            .unwrap()
            .to_owned();
        assert_eq!(memory.again(false), [sent.as_slice(), b"\n"].concat());

        let ack = format!(
            r#"{{"type":"inject_ack","request_id":"{name}","injection_id":"i","job_id":"j","node_id":0,"seq":0,"sub":1}}"#
        );
        assert!(memory.heard(ack.as_bytes()));
        assert_eq!(
            memory.again(false),
            [sent.as_slice(), b"\n"].concat(),
            "its prompt is not over"
        );
        assert!(!memory.heard(ack.as_bytes()), "the client has this one");

        let end = format!(
            r#"{{"type":"turn_complete","status":"completed","request_id":"{name}","injection_id":"i","job_id":"j","node_id":0,"seq":4}}"#
        );
        assert!(memory.heard(end.as_bytes()));
        assert!(memory.again(false).is_empty() && !memory.failed);
        let subscribe: Value = serde_json::from_slice(&memory.again(true)).unwrap();
        assert_eq!(subscribe["since"]["j_00"], "4");
    }

    #[test]
    fn failures_are_seen_in_both_spellings() {
        for line in [
            r#"{"type":"command_rejected","code":"not_json","reason":"x"}"#,
            r#"{"protocol":"codeswarm.router.v1","type":"event","event":"turn_complete","data":{"status":"failed"}}"#,
            r#"{"type":"inject_failed","error":"timeout"}"#,
        ] {
            let mut memory = Memory::default();
            assert!(memory.heard(line.as_bytes()) && memory.failed, "{line}");
        }
    }
}
