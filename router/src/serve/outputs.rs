//! Events on their way out: put into each hearer's spelling and collected, so that a batch is one write a client.

use std::collections::BTreeMap;

use bytes::Bytes;

use codeswarm_protocol::Position;
use codeswarm_protocol::command::Spelling;
use codeswarm_protocol::event::{RouterEvent, RouterWord};
use codeswarm_protocol::line::{Added, write_event};
use codeswarm_protocol::record::RecordHead;

use super::queue::ClientQueue;
use crate::audience::{Audience, Ending, Heard};
use crate::core::ClientId;

/// The queues of all clients, and what this batch adds to them.
#[derive(Debug, Default)]
pub(super) struct Outputs {
    queues: BTreeMap<ClientId, ClientQueue>,
    pending: BTreeMap<ClientId, Vec<u8>>,
}

impl Outputs {
    pub(super) fn join(&mut self, id: ClientId, queue: ClientQueue) {
        self.queues.insert(id, queue);
    }

    pub(super) fn leave(&mut self, id: ClientId) {
        self.pending.remove(&id);
        if let Some(queue) = self.queues.remove(&id) {
            queue.close();
        }
    }

    pub(super) fn has_room(&self, id: ClientId) -> bool {
        let pending = self.pending.get(&id).map_or(0, Vec::len);
        self.queues.get(&id).is_some_and(|queue| queue.has_room(pending))
    }

    /// Whether a whole frame of events finds room.
    pub(super) fn has_much_room(&self, id: ClientId) -> bool {
        let pending = self.pending.get(&id).map_or(0, Vec::len);
        self.queues.get(&id).is_some_and(|queue| queue.has_much_room(pending))
    }

    /// How many bytes of events find room.
    pub(super) fn room_left(&self, id: ClientId) -> usize {
        let pending = self.pending.get(&id).map_or(0, Vec::len);
        self.queues.get(&id).map_or(0, |queue| queue.room_left(pending))
    }

    /// A command of so many bytes was looked at.
    pub(super) fn answered(&self, id: ClientId, bytes: usize) {
        if let Some(queue) = self.queues.get(&id) {
            queue.answered(bytes);
        }
    }

    /// Something that the client asked for went wrong.
    pub(super) fn note_failure(&self, id: ClientId) {
        if let Some(queue) = self.queues.get(&id) {
            queue.note_failure();
        }
    }

    /// Drops everything collected.
    pub(super) fn forget(&mut self) {
        self.pending.clear();
    }

    /// Hands everything collected to the writers.
    pub(super) fn flush(&mut self) {
        for (id, lines) in &mut self.pending {
            if let Some(queue) = self.queues.get(id).filter(|_| !lines.is_empty()) {
                queue.push(Bytes::from(std::mem::take(lines)));
            }
        }
        self.pending.clear();
    }

    /// One of the router's own events for everybody who has room, ahead of what is collected.
    pub(super) fn urgent(&mut self, audience: &Audience, event: &RouterEvent) {
        let collected = std::mem::take(&mut self.pending);
        for id in audience.ids() {
            if self.has_room(id) {
                self.event(id, audience.spelling(id), event);
            }
        }
        self.flush();
        self.pending = collected;
    }

    /// One line for one client.
    pub(super) fn line(
        &mut self,
        id: ClientId,
        spelling: Spelling,
        line: &[u8],
        head: &RecordHead<'_>,
        added: Added<'_>,
    ) {
        if tells_of_failure(&head.kind, line) {
            self.note_failure(id);
        }
        let out = self.pending.entry(id).or_default();
        let before = out.len();
        if let Err(error) = write_event(out, spelling, line, head, added) {
            out.truncate(before);
            tracing::error!(%error, "an event that is no JSON object was left out");
        }
    }

    /// One of the router's own events for one client.
    pub(super) fn event(&mut self, id: ClientId, spelling: Spelling, event: &RouterEvent) {
        let written = serde_json::to_vec(event).and_then(|line| {
            let head = RecordHead::parse(&line)?;
            self.line(id, spelling, &line, &head, Added::default());
            Ok(())
        });
        if let Err(error) = written {
            tracing::error!(%error, "an event of the router's own could not be written");
        }
    }

    /// One of the router's own events for all who follow its node.
    pub(super) fn node_event(&mut self, audience: &mut Audience, event: &RouterEvent, heard: Heard<'_>) {
        for id in audience.hear(heard, |id| self.has_room(id)) {
            self.event(id, audience.spelling(id), event);
        }
    }
}

/// Where the stream ended before one of the router's own words at `position`.
pub(super) fn before(position: Position) -> Position {
    Position {
        seq: position.seq,
        sub: position.sub.saturating_sub(1),
    }
}

/// Whether one of the router's own words ends its injection.
pub(super) fn ending_of(word: &RouterWord) -> Ending {
    match word {
        RouterWord::InjectFailed { .. } | RouterWord::TurnComplete { .. } => Ending::Yes,
        RouterWord::NodeLost { .. } => Ending::OfNode,
        _ => Ending::No,
    }
}

/// Whether a record ends its injection. A quote inside a text is always escaped, so the pattern is the field itself.
pub(super) fn ending_of_record(kind: &str, line: &[u8]) -> Ending {
    match kind {
        "turn_complete" if line.windows(USAGE.len()).any(|window| window == USAGE) => Ending::BeforeUsage,
        "turn_complete" | "inject_failed" | "usage" => Ending::Yes,
        _ => Ending::No,
    }
}

/// Whether an event means that something asked for went wrong.
fn tells_of_failure(kind: &str, line: &[u8]) -> bool {
    const COMPLETED: &[u8] = b"\"status\":\"completed\"";
    match kind {
        "command_rejected" | "inject_failed" => true,
        "turn_complete" => !line.windows(COMPLETED.len()).any(|window| window == COMPLETED),
        _ => false,
    }
}

const USAGE: &[u8] = b"\"usage\":{";
