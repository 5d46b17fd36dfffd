//! Which outbox is looked at next, and what a look means. No clock, no file: the shell in [`crate::watching`] hands in
//! what happened and carries out what is answered.
//!
//! Every watched outbox is at rest, waiting for its turn, or being looked at. One that has more goes to the end of the
//! line for another turn: so a hot file has one turn of a bounded size and then everybody
//! else who waits has theirs. At most `lanes` looks are under way at once, and never two of one file, so the records of a
//! node go up in their order.

use std::collections::HashMap;

use bytes::Bytes;
use codeswarm_protocol::frame::Upward;
use codeswarm_protocol::ids::Place;

use crate::fair_queue::FairQueue;

/// One watch of an outbox, from `Watch` to `Unwatch` or the next `Watch`: a look that was begun for an earlier one says
/// nothing about this.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WatchNumber(u64);

/// What a look at an outbox found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finding {
    /// Whole lines.
    Lines {
        /// Where the first byte stands.
        offset: u64,
        /// The lines.
        data: Bytes,
    },
    /// Bytes that are no record.
    Skipped {
        /// Where they start.
        offset: u64,
        /// How many.
        length: u64,
        /// The first of them, escaped.
        head: String,
    },
    /// No further whole line.
    Nothing,
    /// It is in the archive and was read to its end.
    Ended {
        /// Its size.
        offset: u64,
    },
    /// It had ended and is an outbox again.
    Reopened,
    /// It is shorter than what was read of it: somebody has cut it back or replaced it.
    Shrunk {
        /// Where reading goes on.
        offset: u64,
        /// How far it had come.
        was: u64,
    },
    /// It could not be read: what, where, what to do.
    Failed {
        /// In words.
        error: String,
    },
}

/// A look, and what it leaves open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Look {
    /// What it found.
    pub finding: Finding,
    /// Whether there is certainly more to read.
    pub more: bool,
    /// Whether it must be looked at again although nothing may move: what is there cannot be right yet.
    pub in_doubt: bool,
}

/// How a look went, for whoever decides when to look again unasked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Yield {
    /// It brought something.
    News,
    /// It brought nothing.
    Nothing,
    /// It brought nothing that can be believed, or failed: look again before long.
    Doubt,
}

#[derive(Debug)]
struct Watched {
    number: WatchNumber,
    looking: bool,
    /// Woken while a look was under way, which may have come too early to see what the waking was about.
    again: bool,
    ended: bool,
    /// The last trouble that was told, so that the same is not told again and again.
    trouble: Option<String>,
}

/// All watched outboxes.
#[derive(Debug)]
pub struct Turns {
    watched: HashMap<Place, Watched>,
    waiting: FairQueue<Place>,
    looking: usize,
    lanes: usize,
    numbers: u64,
}

impl Turns {
    /// Nothing watched; at most `lanes` looks at once.
    pub fn new(lanes: usize) -> Self {
        Self {
            watched: HashMap::new(),
            waiting: FairQueue::new(),
            looking: 0,
            lanes,
            numbers: 0,
        }
    }

    /// Watches an outbox, anew if it was watched before. Its first look is due at once.
    pub fn watch(&mut self, place: Place) -> WatchNumber {
        self.numbers += 1;
        let number = WatchNumber(self.numbers);
        let fresh = Watched {
            number,
            looking: false,
            again: false,
            ended: false,
            trouble: None,
        };
        self.watched.insert(place.clone(), fresh);
        self.waiting.push(place);
        number
    }

    /// No longer. A look that is under way comes to nothing.
    pub fn unwatch(&mut self, place: &Place) {
        self.watched.remove(place);
        self.waiting.remove(place);
    }

    /// How many are watched.
    pub fn watched(&self) -> usize {
        self.watched.len()
    }

    /// How many wait for their turn.
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Whether [`Self::next`] has one.
    pub fn may_begin(&self) -> bool {
        self.looking < self.lanes && self.waiting() > 0
    }

    /// It moved, or is about to, or is due for a look.
    pub fn wake(&mut self, place: &Place) {
        match self.watched.get_mut(place) {
            Some(watched) if watched.looking => watched.again = true,
            Some(_) => self.waiting.push(place.clone()),
            None => {}
        }
    }

    /// The next look to begin, if a lane is free and someone waits. Each is answered by [`Self::looked`].
    pub fn next(&mut self) -> Option<(Place, WatchNumber)> {
        if self.looking >= self.lanes {
            return None;
        }
        let place = self.waiting.pop()?;
        let watched = self.watched.get_mut(&place)?;
        watched.looking = true;
        self.looking += 1;
        Some((place, watched.number))
    }

    /// A look has come back. `None`: nobody wants to know any more.
    pub fn looked(&mut self, place: &Place, number: WatchNumber, look: Look) -> Option<Looked> {
        self.looking = self.looking.saturating_sub(1);
        let watched = self.watched.get_mut(place).filter(|watched| watched.number == number)?;
        watched.looking = false;
        let again = std::mem::take(&mut watched.again);
        let looked = watched.meaning(place, look.finding, look.in_doubt);
        if again || look.more {
            self.waiting.push(place.clone());
        }
        Some(looked)
    }
}

/// What follows from a look.
#[derive(Debug, PartialEq, Eq)]
pub struct Looked {
    /// To be told.
    pub say: Option<Upward>,
    /// For the schedule.
    pub found: Yield,
}

impl Watched {
    fn meaning(&mut self, place: &Place, finding: Finding, in_doubt: bool) -> Looked {
        let place = place.clone();
        if !matches!(finding, Finding::Failed { .. }) {
            self.trouble = None;
        }
        let (say, found) = match finding {
            Finding::Lines { offset, data } => (Some(Upward::Chunk { place, offset, data }), Yield::News),
            Finding::Skipped { offset, length, head } => {
                let skipped = Upward::Skipped {
                    place,
                    offset,
                    length,
                    head,
                };
                (Some(skipped), Yield::News)
            }
            Finding::Nothing if in_doubt => (None, Yield::Doubt),
            Finding::Nothing => (None, Yield::Nothing),
            Finding::Shrunk { offset, was } => {
                let error = format!(
                    "the outbox of {place} was cut back or replaced: it had been read up to byte {was}, and is read on from \
                     byte {offset}; a mailbox file has one writer and only grows, so find out who else writes it"
                );
                let place = Some(place);
                (Some(Upward::Trouble { place, error }), Yield::News)
            }
            Finding::Ended { .. } if self.ended => (None, Yield::Nothing),
            Finding::Ended { offset } => {
                self.ended = true;
                (Some(Upward::Ended { place, offset }), Yield::Nothing)
            }
            Finding::Reopened => {
                self.ended = false;
                (Some(Upward::Reopened { place }), Yield::News)
            }
            Finding::Failed { error } if self.trouble.as_ref() == Some(&error) => (None, Yield::Doubt),
            Finding::Failed { error } => {
                self.trouble = Some(error.clone());
                let trouble = Upward::Trouble {
                    place: Some(place),
                    error,
                };
                (Some(trouble), Yield::Doubt)
            }
        };
        Looked { say, found }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(rank: u32) -> Place {
        Place::from_stem(&format!("job_{rank}")).unwrap()
    }

    fn lines(offset: u64) -> Finding {
        Finding::Lines {
            offset,
            data: Bytes::from_static(b"{}\n"),
        }
    }

    fn look(finding: Finding) -> Look {
        Look {
            more: matches!(finding, Finding::Lines { .. }),
            finding,
            in_doubt: false,
        }
    }

    fn nothing() -> Look {
        look(Finding::Nothing)
    }

    /// Ends the look at the next place with a finding; tells whose it was and what is said.
    fn turn(turns: &mut Turns, finding: Finding) -> Option<(Place, Option<Upward>)> {
        let (place, number) = turns.next()?;
        let say = turns
            .looked(&place, number, look(finding))
            .and_then(|looked| looked.say);
        Some((place, say))
    }

    #[test]
    fn a_hot_file_delays_a_quiet_one_by_one_turn() {
        let mut turns = Turns::new(1);
        for rank in 0..4 {
            turns.watch(place(rank));
        }
        while let Some((place, number)) = turns.next() {
            turns.looked(&place, number, nothing());
        }
        turns.wake(&place(0));
        let mut order = Vec::new();
        for at in 0..6 {
            if at == 2 {
                turns.wake(&place(3));
            }
            order.push(turn(&mut turns, lines(at)).unwrap().0.node_id.rank());
        }
        // The hot one waits already when rank 3 comes; after that they take turns.
        assert_eq!(order, [0, 0, 0, 3, 0, 3]);
    }

    #[test]
    fn p9_an_outbox_that_was_cut_back_is_told_as_trouble_and_read_on() {
        let mut turns = Turns::new(1);
        turns.watch(place(0));
        let (_, said) = turn(&mut turns, Finding::Shrunk { offset: 0, was: 700 }).unwrap();
        let Some(Upward::Trouble {
            place: Some(whose),
            error,
        }) = said
        else {
            panic!("{said:?}")
        };
        assert!(whose == place(0) && error.contains("up to byte 700"), "{error}");
        turns.wake(&place(0));
        let (_, said) = turn(&mut turns, lines(0)).unwrap();
        assert!(matches!(said, Some(Upward::Chunk { offset: 0, .. })), "{said:?}");
    }

    #[test]
    fn one_file_is_never_looked_at_twice_at_once_and_a_wake_meanwhile_is_not_lost() {
        let mut turns = Turns::new(4);
        turns.watch(place(0));
        let (zero, number) = turns.next().unwrap();
        turns.wake(&zero);
        turns.wake(&zero);
        assert_eq!(turns.next(), None);
        turns.looked(&zero, number, nothing()).unwrap();
        assert_eq!(turns.next().unwrap().0, zero);
        turns.looked(&zero, number, nothing()).unwrap();
        assert_eq!(turns.next(), None);
    }

    #[test]
    fn no_more_looks_than_lanes() {
        let mut turns = Turns::new(2);
        for rank in 0..3 {
            turns.watch(place(rank));
        }
        let (first, number) = turns.next().unwrap();
        assert!(turns.next().is_some());
        assert_eq!(turns.next(), None);
        turns.looked(&first, number, nothing()).unwrap();
        assert_eq!(turns.next().unwrap().0, place(2));
    }

    #[test]
    fn a_look_of_an_earlier_watch_says_nothing() {
        let mut turns = Turns::new(1);
        turns.watch(place(0));
        let (zero, earlier) = turns.next().unwrap();
        turns.unwatch(&zero);
        assert_eq!(turns.looked(&zero, earlier, look(lines(0))), None);
        assert_eq!(turns.next(), None);

        turns.watch(place(0));
        let (_, earlier) = turns.next().unwrap();
        turns.watch(place(0));
        assert_eq!(turns.looked(&zero, earlier, look(lines(0))), None);
        let (_, number) = turns.next().unwrap();
        assert!(turns.looked(&zero, number, look(lines(7))).is_some());
    }

    #[test]
    fn the_end_is_told_once_and_again_after_the_file_was_reopened() {
        let mut turns = Turns::new(1);
        turns.watch(place(0));
        let ended = Upward::Ended {
            place: place(0),
            offset: 9,
        };
        let mut say = |finding| {
            turns.wake(&place(0));
            turn(&mut turns, finding).unwrap().1
        };
        assert_eq!(say(Finding::Ended { offset: 9 }), Some(ended.clone()));
        assert_eq!(say(Finding::Ended { offset: 9 }), None);
        assert_eq!(say(Finding::Reopened), Some(Upward::Reopened { place: place(0) }));
        assert_eq!(say(Finding::Ended { offset: 9 }), Some(ended));
    }

    #[test]
    fn the_same_trouble_is_told_once_until_it_has_passed() {
        let mut turns = Turns::new(1);
        turns.watch(place(0));
        let mut told = |finding| {
            turns.wake(&place(0));
            let say = turn(&mut turns, finding).unwrap().1;
            matches!(say, Some(Upward::Trouble { .. }))
        };
        let stale = || Finding::Failed { error: "stale".into() };
        assert!(told(stale()));
        assert!(!told(stale()));
        assert!(told(Finding::Failed {
            error: "no right".into()
        }));
        assert!(!told(Finding::Nothing));
        assert!(told(stale()));
    }

    #[test]
    fn what_cannot_be_believed_or_read_is_looked_at_again_before_long() {
        let mut turns = Turns::new(1);
        turns.watch(place(0));
        let mut found = |finding, in_doubt| {
            turns.wake(&place(0));
            let (zero, number) = turns.next().unwrap();
            let look = Look {
                finding,
                more: false,
                in_doubt,
            };
            turns.looked(&zero, number, look).unwrap().found
        };
        assert_eq!(found(Finding::Nothing, true), Yield::Doubt);
        assert_eq!(found(Finding::Nothing, false), Yield::Nothing);
        assert_eq!(found(Finding::Failed { error: "stale".into() }, false), Yield::Doubt);
        assert_eq!(found(lines(0), true), Yield::News);
    }
}
