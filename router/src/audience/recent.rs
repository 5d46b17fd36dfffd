//! What has come of outboxes of late and somebody still lacks: a client that is a little behind is served from here, and not
//! from files that may be far away. Bounded in bytes; what has to leave is read back from its file, as if it had never been here.
//! It knows bytes and places, and must never know who lacks them or why.

use std::collections::{HashMap, VecDeque};

use bytes::{Bytes, BytesMut};
use codeswarm_protocol::Place;

/// What a piece costs beside its bytes.
const PIECE: usize = 128;

/// Whole lines of an outbox, and the byte of the file at which they begin.
#[derive(Debug)]
struct Kept {
    offset: u64,
    lines: Bytes,
}

impl Kept {
    fn end(&self) -> u64 {
        self.offset + self.lines.len() as u64
    }

    fn cost(&self) -> usize {
        self.lines.len() + PIECE
    }
}

/// The latest pieces of all outboxes.
#[derive(Debug)]
pub struct Recent {
    limit: usize,
    cost: usize,
    /// Of each outbox its pieces, by offset, which is the order of their coming.
    pieces: HashMap<Place, VecDeque<Kept>>,
    /// Whose piece came when; the first one leaves first.
    order: VecDeque<Place>,
}

/// A part of an outbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// Whole lines.
    pub lines: Bytes,
    /// The byte behind them.
    pub next: u64,
}

impl Recent {
    /// Keeps so many bytes at most.
    pub fn new(limit: usize) -> Self {
        Self {
            limit,
            cost: 0,
            pieces: HashMap::new(),
            order: VecDeque::new(),
        }
    }

    /// Whole lines have come. They are copied: those given here may be a small part of something large.
    pub fn keep(&mut self, place: &Place, offset: u64, lines: &[u8]) {
        if lines.is_empty() {
            return;
        }
        let earlier = self.pieces.get(place).and_then(VecDeque::back);
        if earlier.is_some_and(|earlier| offset < earlier.end()) {
            // Read again from an earlier byte: after a break, or since the file was cut back. Only what is in it now counts.
            self.forget(place);
        }
        let piece = Kept {
            offset,
            lines: Bytes::copy_from_slice(lines),
        };
        self.cost += piece.cost();
        self.pieces.entry(place.clone()).or_default().push_back(piece);
        self.order.push_back(place.clone());
        while self.cost > self.limit
            && let Some(oldest) = self.order.pop_front()
        {
            self.drop_first_of(&oldest);
        }
    }

    fn drop_first_of(&mut self, place: &Place) {
        if let Some(pieces) = self.pieces.get_mut(place) {
            let cost = pieces.pop_front().map_or(0, |piece| piece.cost());
            self.cost = self.cost.saturating_sub(cost);
            if pieces.is_empty() {
                self.pieces.remove(place);
            }
        }
    }

    fn forget(&mut self, place: &Place) {
        if let Some(pieces) = self.pieces.remove(place) {
            let cost: usize = pieces.iter().map(Kept::cost).sum();
            self.cost = self.cost.saturating_sub(cost);
            self.order.retain(|other| other != place);
        }
    }

    /// Nobody lacks anything any more.
    pub fn clear(&mut self) {
        if !self.order.is_empty() {
            *self = Self::new(self.limit);
        }
    }

    /// Lines from byte `from` on, which is the start of one, and before `until`: about `wanted` bytes of them, at least one
    /// line. `None` if they are not kept.
    pub fn part(&self, place: &Place, from: u64, until: u64, wanted: usize) -> Option<Part> {
        let pieces = self.pieces.get(place)?;
        let first = pieces.partition_point(|piece| piece.end() <= from);
        let mut lines = BytesMut::new();
        let mut next = from;
        for piece in pieces.range(first..) {
            let missing = wanted.saturating_sub(lines.len());
            // Only the first one may begin earlier. A gap is something that was passed over: only the file tells what.
            let skip = next.checked_sub(piece.offset).filter(|skip| next == from || *skip == 0);
            let Some(begin) = skip.and_then(|skip| usize::try_from(skip).ok()).filter(|_| missing > 0) else {
                break;
            };
            let room = usize::try_from(until.saturating_sub(piece.offset)).unwrap_or(usize::MAX);
            let room = room.min(piece.lines.len());
            let wanted = match lines.is_empty() {
                true => missing.max(line_at(&piece.lines, begin)),
                false => missing,
            };
            let end = whole_lines(&piece.lines, begin, room.min(begin.saturating_add(wanted)));
            lines.extend_from_slice(piece.lines.get(begin..end).unwrap_or_default());
            next = piece.offset + end as u64;
            if next < piece.end() {
                break;
            }
        }
        (next > from).then(|| Part {
            lines: lines.freeze(),
            next,
        })
    }
}

/// How long the line is that begins there.
fn line_at(lines: &[u8], begin: usize) -> usize {
    let line = lines.get(begin..).unwrap_or_default();
    memchr::memchr(b'\n', line).map_or(0, |newline| newline + 1)
}

/// Where whole lines from `begin` on end that stand before `upper`.
fn whole_lines(lines: &[u8], begin: usize, upper: usize) -> usize {
    let within = lines.get(begin..upper).unwrap_or_default();
    memchr::memrchr(b'\n', within).map_or(begin, |newline| begin + newline + 1)
}

#[cfg(test)]
mod tests;
