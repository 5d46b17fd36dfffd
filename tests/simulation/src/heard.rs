//! What a client reads of an event.

use std::borrow::Cow;

use codeswarm_protocol::{InjectionId, JobId, NodeId, Place, Position, Seq};
use serde::Deserialize;

/// One event, as far as these clients look at it.
#[derive(Debug, Clone, Deserialize)]
pub struct Heard<'line> {
    /// Its type.
    #[serde(rename = "type", borrow)]
    pub kind: Cow<'line, str>,
    seq: Option<u64>,
    sub: Option<u32>,
    /// The life of the worker that says it.
    #[serde(default)]
    pub epoch: u64,
    job_id: Option<JobId>,
    node_id: Option<NodeId>,
    /// The injection.
    pub injection_id: Option<InjectionId>,
    /// The swarm.
    #[serde(borrow)]
    pub swarm_id: Option<Cow<'line, str>>,
    /// The request.
    #[serde(borrow)]
    pub request_id: Option<Cow<'line, str>>,
    /// The text.
    #[serde(borrow)]
    pub content: Option<Cow<'line, str>>,
    /// A refusal's reason, or a failure's.
    #[serde(borrow)]
    pub reason: Option<Cow<'line, str>>,
}

impl Heard<'_> {
    /// Reads one line.
    pub fn read(line: &[u8]) -> Heard<'_> {
        match serde_json::from_slice(line) {
            Ok(heard) => heard,
            Err(error) => panic!("an event cannot be read: {error}: {}", String::from_utf8_lossy(line)),
        }
    }

    /// Where it stands, if it stands in a node's stream.
    pub fn position(&self) -> Option<(Place, Position)> {
        let place = Place::new(self.job_id.clone()?, self.node_id?);
        let position = Position {
            seq: Seq(self.seq?),
            sub: self.sub.unwrap_or(0),
        };
        (position > Position::START).then_some((place, position))
    }
}
