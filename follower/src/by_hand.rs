//! A follower without threads, clocks and channels: whoever holds it says what happens next. The same parts, for a
//! simulation that plays everything around them.

use std::collections::HashMap;
use std::time::Instant;

use codeswarm_mailbox::{Mailbox, Tail};
use codeswarm_protocol::frame::{Downward, Upward};
use codeswarm_protocol::ids::Place;

use crate::history::{self, Request};
use crate::inboxes::{Line, OpenInboxes};
use crate::turns::{Turns, Yield};
use crate::watching::look;

/// One life of a follower.
pub struct ByHand {
    mailbox: Mailbox,
    turns: Turns,
    tails: HashMap<Place, Tail>,
    inboxes: OpenInboxes,
    chunk_bytes: usize,
}

impl ByHand {
    /// It knows nothing yet. About `chunk_bytes` of an outbox go up at once, and `open_inboxes` are kept open.
    pub fn new(mailbox: &Mailbox, chunk_bytes: usize, open_inboxes: usize) -> Self {
        Self {
            turns: Turns::new(1),
            tails: HashMap::new(),
            inboxes: OpenInboxes::new(mailbox.clone(), open_inboxes),
            mailbox: mailbox.clone(),
            chunk_bytes,
        }
    }

    /// Carries out one command, and answers if it is one that is answered.
    pub fn carry_out(&mut self, command: Downward) -> Option<Upward> {
        match command {
            Downward::Watch { place, offset } => {
                let tail = Tail::outbox(&self.mailbox, place.clone(), offset);
                self.tails.insert(place.clone(), tail);
                self.turns.watch(place);
                None
            }
            Downward::Unwatch { place } => {
                self.tails.remove(&place);
                self.turns.unwatch(&place);
                None
            }
            Downward::Hint { place } => {
                self.turns.wake(&place);
                None
            }
            Downward::Append {
                ticket,
                place,
                unless_present,
                line: bytes,
            } => Some(self.inboxes.append(&Line {
                ticket,
                place,
                unless_present,
                bytes,
            })),
            Downward::Ping { ticket } => Some(Upward::Pong { ticket }),
            other => Request::of(other).map(|request| history::carry_out(&self.mailbox, request)),
        }
    }

    /// These outboxes are due for a look: the schedule says so, or an event of the filesystem.
    pub fn wake(&mut self, place: &Place) {
        self.turns.wake(place);
    }

    /// All that is watched.
    pub fn watched(&self) -> Vec<Place> {
        let mut places: Vec<Place> = self.tails.keys().cloned().collect();
        places.sort();
        places
    }

    /// Looks at the outbox whose turn it is. `None`: nobody waits for a turn.
    pub fn look(&mut self, now: Instant) -> Option<(Option<Upward>, Yield)> {
        let (place, number) = self.turns.next()?;
        let tail = self.tails.get_mut(&place)?;
        let seen = look(tail, self.chunk_bytes, now);
        tail.put_down();
        let looked = self.turns.looked(&place, number, seen)?;
        Some((looked.say, looked.found))
    }

    /// A quiet minute: inboxes that owe nothing to the disk are closed.
    pub fn close_inboxes(&mut self) {
        self.inboxes.close_all();
    }
}
