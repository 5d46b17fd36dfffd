//! A follower without threads, clocks and channels: whoever holds it says what happens next. The same parts, for a
//! simulation that plays everything around them.

use std::collections::HashMap;
use std::time::Instant;

use codeswarm_mailbox::{Mailbox, Tail};
use codeswarm_protocol::frame::{Downward, Upward};
use codeswarm_protocol::ids::Place;

use crate::errand::Errand;
use crate::history;
use crate::inboxes::OpenInboxes;
use crate::turns::{Turns, Yield};
use crate::watching::{Order, look};

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
        match Errand::from(command) {
            Errand::Order(Order::Watch(place, offset)) => {
                let tail = Tail::outbox(&self.mailbox, place.clone(), offset);
                self.tails.insert(place.clone(), tail);
                self.turns.watch(place);
                None
            }
            Errand::Order(Order::Unwatch(place)) => {
                self.tails.remove(&place);
                self.turns.unwatch(&place);
                None
            }
            Errand::Order(Order::Hint(place)) => {
                self.turns.wake(&place);
                None
            }
            Errand::Append(line) => Some(self.inboxes.append(&line)),
            Errand::Request(request) => Some(history::carry_out(&self.mailbox, request)),
            Errand::Ping(ticket) => Some(Upward::Pong { ticket }),
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
}

#[cfg(test)]
mod tests {
    use std::fs;

    use codeswarm_protocol::frame::Ticket;

    use super::*;

    #[test]
    fn by_hand_a_ping_is_answered_and_what_is_no_longer_watched_is_not_read() {
        let folder = tempfile::tempdir().unwrap();
        let mailbox = Mailbox::at(folder.path().join("root"));
        mailbox.create().unwrap();
        let mut follower = ByHand::new(&mailbox, 1000, 2);
        let ticket = Ticket(7);
        assert_eq!(
            follower.carry_out(Downward::Ping { ticket }),
            Some(Upward::Pong { ticket })
        );
        let places = [Place::from_stem("7_00").unwrap(), Place::from_stem("7_01").unwrap()];
        for place in places.clone() {
            fs::write(mailbox.outbox(&place), "{\"type\":\"notice\"}\n").unwrap();
            assert_eq!(follower.carry_out(Downward::Watch { place, offset: 0 }), None);
        }
        let [gone, kept] = places;
        assert_eq!(follower.carry_out(Downward::Unwatch { place: gone.clone() }), None);
        assert_eq!(follower.watched(), std::slice::from_ref(&kept));
        follower.wake(&gone);
        let (said, _) = follower.look(Instant::now()).unwrap();
        assert!(
            matches!(&said, Some(Upward::Chunk { place, .. }) if *place == kept),
            "{said:?}"
        );
        assert!(follower.look(Instant::now()).is_none());
    }
}
