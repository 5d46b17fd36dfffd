//! One client's arrears at one node: what it lacks, and how far the reading back has come.

use std::collections::BTreeMap;

use codeswarm_protocol::frame::ReadFrom;
use codeswarm_protocol::{InjectionId, Place, Position, Seq};

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

/// An event that was read back, by its place in what was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Piece {
    /// A record of the outbox.
    Record(usize),
    /// A word of the router's.
    Said(usize),
}

/// A part of an outbox that is to be read for a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Read {
    /// Whose.
    pub place: Place,
    /// Where the client's copy ends.
    pub at: Position,
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

    /// Starts reading earlier, if `from` is earlier; what was read back already is not lacked again.
    pub fn reach_back(&mut self, from: Position) {
        if from >= self.at {
            return;
        }
        let read = self.at;
        for lacked in self
            .all
            .iter_mut()
            .chain(&mut self.lifecycle)
            .chain(self.only.values_mut())
        {
            *lacked = (*lacked).max(read);
        }
        self.at = from;
        self.offset = None;
    }

    /// How far a part brings the client whose highest record is `last`: to the stream's end, or to before the record that comes
    /// next. Never beyond the end, where the router may still say something.
    pub fn reach(&self, last: Option<Seq>, at_the_end: bool, end: Position) -> Position {
        let before_the_next = Position {
            seq: last.map_or(self.at.seq, |last| last.max(self.at.seq)),
            sub: u32::MAX,
        };
        if at_the_end { end } else { before_the_next.min(end) }
    }

    /// Of a part, the pieces that the client lacks, in the stream's order. `records` are those that were read, in the file's
    /// order; `said` are the router's words from where the client is to where the part brings it, in order.
    pub fn lacking(&self, records: &[(Seq, Option<&str>)], said: &[(Position, Option<&str>)]) -> Vec<Piece> {
        let mut pieces = Vec::new();
        let mut last = self.at.seq;
        let mut words = said.iter().enumerate().peekable();
        let word = |at: usize, (position, injection_id): &(Position, Option<&str>), pieces: &mut Vec<Piece>| {
            if self.lacks(*position, *injection_id) {
                pieces.push(Piece::Said(at));
            }
        };
        for (at, (seq, injection_id)) in records.iter().enumerate() {
            // A number that was there before was not passed on then either.
            if *seq <= last {
                continue;
            }
            last = *seq;
            while let Some((before, said)) = words.next_if(|(_, (position, _))| *position < Position::at(*seq)) {
                word(before, said, &mut pieces);
            }
            if self.lacks(Position::at(*seq), *injection_id) {
                pieces.push(Piece::Record(at));
            }
        }
        for (at, said) in words {
            word(at, said, &mut pieces);
        }
        pieces
    }

    /// Whether the client lacks the event at `position`.
    pub fn lacks(&self, position: Position, injection_id: Option<&str>) -> bool {
        self.all.is_some_and(|from| position > from)
            || (injection_id.is_none() && self.lifecycle.is_some_and(|from| position > from))
            || injection_id.is_some_and(|id| self.only.get(id).is_some_and(|from| position > *from))
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
