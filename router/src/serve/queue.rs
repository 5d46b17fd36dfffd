//! What is on its way to one client, and from it. There is a soft limit: beyond it no event is put in, and the client's
//! reader waits before it hands over another command, so the answers that may still come in are few.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use tokio::sync::Notify;

/// Beyond this many bytes a client gets no more events until it has read.
const SOFT_LIMIT: usize = 1024 * 1024;

/// So many bytes of commands may wait for the server, and one more line.
const ASKED_LIMIT: usize = 4 * 1024 * 1024;

/// Lines that are on their way are written together up to so many bytes.
const PIECE: usize = 64 * 1024;

/// What a short command counts as, since its answer may be long.
const SHORT: usize = 64 * 1024;

#[derive(Debug)]
struct Waiting {
    lines: VecDeque<Bytes>,
    bytes: usize,
    /// See [`SOFT_LIMIT`].
    limit: usize,
    /// Bytes of commands that the server has not looked at.
    asked: usize,
    closed: bool,
    /// A failure was among the lines.
    failed: bool,
    /// The server wants to know when there is room again.
    asked_for_room: bool,
}

impl Waiting {
    /// The next lines to write: what came alone, or as much as makes a piece of what came since.
    fn piece(&mut self) -> Option<Bytes> {
        let first = self.lines.pop_front()?;
        let fits = |next: &Bytes, piece: usize| piece + next.len() <= PIECE;
        if !self.lines.front().is_some_and(|next| fits(next, first.len())) {
            return Some(first);
        }
        let mut piece = first.to_vec();
        while self.lines.front().is_some_and(|next| fits(next, piece.len()))
            && let Some(next) = self.lines.pop_front()
        {
            piece.extend_from_slice(&next);
        }
        Some(piece.into())
    }
}

/// Both ends share it.
#[derive(Debug, Clone)]
pub(super) struct ClientQueue {
    waiting: Arc<Mutex<Waiting>>,
    filled: Arc<Notify>,
    drained: Arc<Notify>,
}

impl Default for ClientQueue {
    fn default() -> Self {
        Self::with_limit(SOFT_LIMIT)
    }
}

/// What a writer finds.
pub(super) enum Taken {
    /// Write this, whole lines.
    Lines(Bytes),
    /// Nothing more will come.
    Closed,
}

impl ClientQueue {
    /// Beyond so many bytes its client gets no more events; when a quarter of them is left, it has room again.
    pub(super) fn with_limit(limit: usize) -> Self {
        let waiting = Waiting {
            lines: VecDeque::new(),
            bytes: 0,
            limit,
            asked: 0,
            closed: false,
            failed: false,
            asked_for_room: false,
        };
        Self {
            waiting: Arc::new(Mutex::new(waiting)),
            filled: Arc::default(),
            drained: Arc::default(),
        }
    }

    fn with<T>(&self, act: impl FnOnce(&mut Waiting) -> T) -> T {
        act(&mut self.waiting.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Puts whole lines in.
    pub(super) fn push(&self, lines: Bytes) {
        self.with(|waiting| {
            if !waiting.closed {
                waiting.bytes += lines.len();
                waiting.lines.push_back(lines);
            }
        });
        self.filled.notify_one();
    }

    /// One of its lines tells of a failure.
    pub(super) fn note_failure(&self) {
        self.with(|waiting| waiting.failed = true);
    }

    /// Whether one did.
    pub(super) fn has_failed(&self) -> bool {
        self.with(|waiting| waiting.failed)
    }

    /// Whether events may be put in. If not, the writer says when they may.
    pub(super) fn has_room(&self, pending: usize) -> bool {
        self.with(|waiting| {
            let room = waiting.bytes + pending < waiting.limit;
            waiting.asked_for_room |= !room;
            room
        })
    }

    /// Whether so much room is left that a frame of events does not fill it. If not, the writer says when there is room.
    pub(super) fn has_much_room(&self, pending: usize) -> bool {
        self.with(|waiting| {
            let room = waiting.bytes + pending < waiting.limit / 2;
            waiting.asked_for_room |= !room;
            room
        })
    }

    /// How many bytes of events may be put in.
    pub(super) fn room_left(&self, pending: usize) -> usize {
        self.with(|waiting| waiting.limit.saturating_sub(waiting.bytes + pending))
    }

    /// Nothing more will be put in; what is there is still written.
    pub(super) fn close(&self) {
        self.with(|waiting| waiting.closed = true);
        self.filled.notify_one();
        self.drained.notify_waiters();
    }

    /// Waits for something to write. What is taken still counts until [`ClientQueue::written`].
    pub(super) async fn take(&self) -> Taken {
        loop {
            let filled = self.filled.notified();
            let taken = self.with(|waiting| {
                let lines = waiting.piece().map(Taken::Lines);
                lines.or_else(|| waiting.closed.then_some(Taken::Closed))
            });
            match taken {
                Some(taken) => return taken,
                None => filled.await,
            }
        }
    }

    /// What there is to write now.
    pub(super) fn take_now(&self) -> Vec<Bytes> {
        self.with(|waiting| waiting.lines.drain(..).collect())
    }

    /// So many bytes have left; whether the server should be told that there is room again.
    pub(super) fn written(&self, bytes: usize) -> bool {
        let tell = self.with(|waiting| {
            waiting.bytes = waiting.bytes.saturating_sub(bytes);
            waiting.bytes < waiting.limit / 4 && std::mem::take(&mut waiting.asked_for_room)
        });
        self.drained.notify_waiters();
        tell
    }

    /// A command of so many bytes is handed to the server.
    pub(super) fn asked(&self, bytes: usize) {
        self.with(|waiting| waiting.asked += bytes.max(SHORT));
    }

    /// The server has looked at it.
    pub(super) fn answered(&self, bytes: usize) {
        self.with(|waiting| waiting.asked = waiting.asked.saturating_sub(bytes.max(SHORT)));
        self.drained.notify_waiters();
    }

    /// Waits until there is room, for events and for another command.
    pub(super) async fn room(&self) {
        self.until(|waiting| waiting.closed || (waiting.bytes < waiting.limit && waiting.asked < ASKED_LIMIT))
            .await;
    }

    /// Waits until nothing more will be put in.
    pub(super) async fn closed(&self) {
        self.until(|waiting| waiting.closed).await;
    }

    async fn until(&self, holds: impl Fn(&Waiting) -> bool) {
        loop {
            let drained = self.drained.notified();
            tokio::pin!(drained);
            drained.as_mut().enable();
            if self.with(|waiting| holds(waiting)) {
                return;
            }
            drained.await;
        }
    }
}

#[cfg(test)]
mod tests;
