//! One line of the router, read as far as someone needs it.

use codeswarm_protocol::event::RouterWord;
use codeswarm_protocol::record::Word;
use codeswarm_protocol::{InjectionId, JobId, NodeId, Position, RequestId, Seq, SwarmId};
use serde::Deserialize;

/// An event: its line as it came, and the fields that say what it is about.
#[derive(Debug, Clone)]
pub struct Event {
    /// What it is about.
    pub head: Head,
    line: Vec<u8>,
}

/// The fields that all events may have.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Head {
    /// The word, such as `turn_complete`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The command that caused it.
    #[serde(default)]
    pub request_id: Option<RequestId>,
    /// The swarm.
    #[serde(default)]
    pub swarm_id: Option<SwarmId>,
    /// The job.
    #[serde(default)]
    pub job_id: Option<JobId>,
    /// The node.
    #[serde(default)]
    pub node_id: Option<NodeId>,
    /// The injection.
    #[serde(default)]
    pub injection_id: Option<InjectionId>,
    /// With [`Self::node_id`], where in the node's stream it stands.
    #[serde(default)]
    seq: Option<Seq>,
    #[serde(default)]
    sub: Option<u32>,
}

/// What is said, by whom.
#[derive(Debug, Clone, PartialEq)]
pub enum Said {
    /// A record of a worker.
    Worker(Word),
    /// The router's own.
    Router(RouterWord),
    /// A word that this version does not know.
    Unknown,
}

impl Head {
    /// The place in its node's stream; none for what is not of one node.
    pub fn position(&self) -> Option<(NodeId, Position)> {
        let position = Position {
            seq: self.seq?,
            sub: self.sub.unwrap_or(0),
        };
        Some((self.node_id?, position))
    }

    /// Whether it answers the command named `id`.
    pub fn answers(&self, id: &RequestId) -> bool {
        self.request_id.as_ref() == Some(id)
    }
}

impl Event {
    /// Reads a line, without its newline.
    pub fn parse(line: Vec<u8>) -> Result<Self, serde_json::Error> {
        Ok(Self {
            head: serde_json::from_slice(&line)?,
            line,
        })
    }

    /// The line as it came, without its newline.
    pub fn line(&self) -> &[u8] {
        &self.line
    }

    /// What is said. A word that both can say is read as the worker's where it has the worker's fields.
    pub fn said(&self) -> Said {
        if let Ok(word) = serde_json::from_slice(&self.line) {
            return Said::Worker(word);
        }
        serde_json::from_slice(&self.line).map_or(Said::Unknown, Said::Router)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use codeswarm_protocol::turn::TurnStatus;

    fn event(line: &str) -> Event {
        Event::parse(line.as_bytes().to_vec()).unwrap()
    }

    #[test]
    fn both_turn_completes_are_read() {
        let ours = event(r#"{"type":"turn_complete","status":"completed","duration_ms":3,"seq":9,"node_id":1}"#);
        assert!(matches!(
            ours.said(),
            Said::Worker(Word::TurnComplete {
                status: TurnStatus::Completed,
                duration_ms: 3,
                ..
            })
        ));
        assert_eq!(ours.head.position().unwrap().1.to_string(), "9");

        let routers = event(r#"{"type":"turn_complete","status":"failed","seq":9,"sub":2,"node_id":1}"#);
        assert!(matches!(routers.said(), Said::Router(RouterWord::TurnComplete { .. })));
        assert_eq!(routers.head.position().unwrap().1.to_string(), "9.2");
    }

    #[test]
    fn unknown_words_are_no_error_and_other_lines_are() {
        let unknown = event(r#"{"type":"weather","sunny":true,"node_id":3}"#);
        assert_eq!(unknown.said(), Said::Unknown);
        assert_eq!(unknown.head.position(), None);
        for line in ["", "hello", "[]", "{}", r#"{"type":7}"#] {
            assert!(Event::parse(line.into()).is_err(), "{line}");
        }
    }
}
