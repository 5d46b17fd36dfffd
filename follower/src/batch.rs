//! What is done in one go: how many looks, in which thread, and how much may wait to be said. No clock, no file.
//!
//! Nothing ever waits for a batch to fill: what has gathered while the one before was being handled is the next one. So a
//! line that comes alone is handed on at once, and of a thousand that come together many share each step of their way.

use std::collections::VecDeque;
use std::time::Duration;

use codeswarm_protocol::frame::Upward;

/// Looks in one go; then orders are heard, and what was found is handed on.
pub const LOOKS: usize = 64;

/// One go does not last longer, but for its last look.
pub const AT_MOST: Duration = Duration::from_millis(5);

/// A look of this length costs less than handing it to another thread and being woken for its answer.
const QUICK: Duration = Duration::from_micros(250);

/// Events that may wait to be said.
const EVENTS: usize = 256;

/// How long looks take lately.
#[derive(Debug, Default)]
pub struct Pace {
    mean: Duration,
}

impl Pace {
    /// A look took so long.
    pub fn looked(&mut self, took: Duration) {
        // One that was held up says little about the next.
        self.mean = (self.mean * 7 + took.min(QUICK * 4)) / 8;
    }

    /// Whether looks are so quick that they are best made one after another.
    pub fn is_quick(&self) -> bool {
        self.mean < QUICK
    }
}

/// What was found and is not yet taken by the consumer, in order.
#[derive(Debug)]
pub struct Unsent {
    events: VecDeque<Upward>,
    bytes: usize,
    bytes_at_most: usize,
}

impl Unsent {
    /// Nothing; there is room for more while it has fewer bytes than these.
    pub fn new(bytes_at_most: usize) -> Self {
        Self {
            events: VecDeque::new(),
            bytes: 0,
            bytes_at_most,
        }
    }

    /// Whether another look may be begun, whatever it brings.
    pub fn has_room(&self) -> bool {
        self.bytes < self.bytes_at_most && self.events.len() < EVENTS
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.events.is_empty()
    }

    /// One more.
    pub fn push(&mut self, event: Upward) {
        self.bytes += bytes(&event);
        self.events.push_back(event);
    }

    /// The oldest.
    pub fn pop(&mut self) -> Option<Upward> {
        let event = self.events.pop_front()?;
        self.bytes -= bytes(&event);
        Some(event)
    }

    /// The oldest one after all: it was not taken.
    pub fn put_back(&mut self, event: Upward) {
        self.bytes += bytes(&event);
        self.events.push_front(event);
    }
}

fn bytes(event: &Upward) -> usize {
    match event {
        Upward::Chunk { data, .. } => data.len(),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use codeswarm_protocol::frame::Ticket;
    use codeswarm_protocol::ids::Place;

    use super::*;

    fn chunk(offset: u64, length: usize) -> Upward {
        Upward::Chunk {
            place: Place::from_stem("7_00").unwrap(),
            offset,
            data: vec![b'x'; length].into(),
        }
    }

    #[test]
    fn p8_what_waits_to_be_said_is_bounded_in_bytes_and_in_number_and_keeps_its_order() {
        let mut unsent = Unsent::new(1000);
        unsent.push(chunk(0, 999));
        assert!(unsent.has_room());
        unsent.push(chunk(999, 400));
        assert!(!unsent.has_room());
        let first = unsent.pop().unwrap();
        assert!(unsent.has_room());
        unsent.put_back(first);
        assert!(!unsent.has_room());
        assert_eq!(
            [unsent.pop(), unsent.pop()],
            [Some(chunk(0, 999)), Some(chunk(999, 400))]
        );
        assert!(unsent.is_empty() && unsent.pop().is_none());
        for number in 0..EVENTS as u64 {
            assert!(unsent.has_room());
            unsent.push(Upward::Pong { ticket: Ticket(number) });
        }
        assert!(!unsent.has_room());
    }

    #[test]
    fn a_filesystem_is_quick_until_its_looks_take_long_and_again_soon_after_one_was_held_up() {
        let mut pace = Pace::default();
        assert!(pace.is_quick());
        for _ in 0..20 {
            pace.looked(Duration::from_micros(700));
        }
        assert!(!pace.is_quick());
        let mut pace = Pace::default();
        for _ in 0..20 {
            pace.looked(Duration::from_micros(15));
        }
        pace.looked(Duration::from_secs(60));
        assert!(
            pace.is_quick(),
            "one look that stood still is not the filesystem's pace"
        );
        pace.looked(Duration::from_secs(60));
        pace.looked(Duration::from_secs(60));
        assert!(!pace.is_quick());
        let again = (0..).take_while(|_| {
            pace.looked(Duration::from_micros(15));
            !pace.is_quick()
        });
        assert!(again.count() < 8);
    }
}
