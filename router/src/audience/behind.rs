//! One client's arrears at one node: what it lacks, and how far the reading back has come.

use std::collections::BTreeMap;

use codeswarm_protocol::frame::ReadFrom;
use codeswarm_protocol::{InjectionId, Place, Position};

/// What a client lacks of one node's stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Behind {
    /// Everything after this place, if it follows the whole node.
    pub all: Option<Position>,
    /// Everything after this place that belongs to no injection, if it hears how the swarm is.
    pub lifecycle: Option<Position>,
    /// Of these injections, everything after these places.
    pub only: BTreeMap<InjectionId, Position>,
    /// Up to here the stream was read back.
    pub at: Position,
    /// The byte of the outbox where reading goes on, once it is known.
    pub offset: Option<u64>,
}

/// A part of an outbox that is to be read for a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Read {
    /// Whose.
    pub place: Place,
    /// From where.
    pub from: ReadFrom,
}

impl Behind {
    /// Lacks everything after `at`, for nobody yet.
    pub fn new(at: Position) -> Self {
        Self {
            all: None,
            lifecycle: None,
            only: BTreeMap::new(),
            at,
            offset: None,
        }
    }

    /// Starts reading earlier, if `from` is earlier.
    pub fn reach_back(&mut self, from: Position) {
        if from < self.at {
            self.at = from;
            self.offset = None;
        }
    }

    /// Whether the client lacks the event at `position`.
    pub fn lacks(&self, position: Position, injection_id: Option<&str>) -> bool {
        self.all.is_some_and(|from| position > from)
            || (injection_id.is_none() && self.lifecycle.is_some_and(|from| position > from))
            || injection_id.is_some_and(|id| {
                self.only
                    .iter()
                    .any(|(wanted, from)| wanted.as_str() == id && position > *from)
            })
    }

    /// Where to read on.
    pub fn from(&self) -> ReadFrom {
        match self.offset {
            Some(offset) => ReadFrom::Offset(offset),
            None if self.at.seq.0 == 0 => ReadFrom::Offset(0),
            None => ReadFrom::AfterSeq(self.at.seq),
        }
    }
}
