//! Following outboxes: carries out what [`crate::turns`] decides, in a thread of its own.
//!
//! While looks are quick, they are made in that thread, one after another: all files that have moved in one go (see
//! [`crate::batch`]), since waking another thread for each costs more than the look. Where they are slow, on a network
//! filesystem that waits for its server, say, and several files wait, looks go to threads beside it, `lanes` at once.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use codeswarm_mailbox::{Mailbox, Outcome, Tail, TailError, TailStep, Wakes};
use codeswarm_protocol::frame::Upward;
use codeswarm_protocol::ids::Place;
use tokio::sync::mpsc;
use tokio::task::{JoinError, JoinSet};

use crate::batch::{self, Pace, Unsent};
use crate::doorbell::Doorbell;
use crate::stalls::Stalls;
use crate::turns::{Finding, Look, Turns, WatchNumber, Yield};

/// More files than this are not held open between their turns.
const OPEN: usize = 64;

/// What the watching is told.
#[derive(Debug)]
pub enum Order {
    /// Follow this outbox from a byte on.
    Watch(Place, u64),
    /// No longer.
    Unwatch(Place),
    /// It is about to move.
    Hint(Place),
}

/// All outboxes that are followed.
pub struct Watching {
    mailbox: Mailbox,
    wakes: Wakes,
    turns: Turns,
    /// Those that are not being looked at.
    tails: HashMap<Place, Tail>,
    looks: JoinSet<Done>,
    chunk_bytes: usize,
    stalls: Stalls,
    doorbell: Doorbell,
    /// Said, and not yet taken by the consumer. No look begins while it has no room, so a slow consumer stops
    /// the reading and the files keep what it has not taken.
    unsent: Unsent,
    pace: Pace,
    /// To be looked at again although nothing may move; the schedule was told once.
    doubtful: HashSet<Place>,
}

/// A look that has come back, with the tail that made it.
struct Done {
    place: Place,
    number: WatchNumber,
    tail: Tail,
    look: Look,
    took: Duration,
}

impl Watching {
    /// Nothing watched yet. `lanes` looks at once, each of about `chunk_bytes` at most.
    pub fn new(mailbox: Mailbox, wakes: Wakes, lanes: usize, chunk_bytes: usize, stalls: Stalls) -> Self {
        Self {
            mailbox,
            wakes,
            turns: Turns::new(lanes),
            tails: HashMap::new(),
            looks: JoinSet::new(),
            chunk_bytes,
            stalls,
            doorbell: Doorbell::default(),
            unsent: Unsent::new(chunk_bytes.saturating_mul(lanes)),
            pace: Pace::default(),
            doubtful: HashSet::new(),
        }
    }

    /// The same, for workers that ring.
    #[must_use]
    pub fn rung_by(self, doorbell: Doorbell) -> Self {
        Self { doorbell, ..self }
    }

    /// Follows until there are no more orders or nobody takes the events.
    ///
    /// # Errors
    /// A look has panicked, so an outbox would no longer be followed.
    pub async fn run(
        mut self,
        mut orders: mpsc::Receiver<Order>,
        events: mpsc::Sender<Upward>,
    ) -> Result<(), JoinError> {
        let mut woken = Vec::new();
        loop {
            self.begin_looks();
            tokio::select! {
                order = orders.recv() => match order {
                    Some(order) => {
                        self.obey(order);
                        while let Ok(order) = orders.try_recv() {
                            self.obey(order);
                        }
                    }
                    None => return Ok(()),
                },
                () = self.wakes.gather(&mut woken) => {
                    for place in woken.drain(..) {
                        self.turns.wake(&place);
                    }
                }
                Some(done) = self.looks.join_next(), if !self.looks.is_empty() => self.looked(done?),
                room = events.reserve(), if !self.unsent.is_empty() => match room {
                    Ok(room) => self.say(room, &events),
                    Err(_) => return Ok(()),
                },
                () = tokio::task::yield_now(), if self.may_look() => {}
            }
        }
    }

    /// Hands on as much as there is room for.
    fn say(&mut self, room: mpsc::Permit<'_, Upward>, events: &mpsc::Sender<Upward>) {
        if let Some(event) = self.unsent.pop() {
            room.send(event);
        }
        while let Some(event) = self.unsent.pop() {
            // That nobody listens any more is noticed at the next turn.
            if let Err(not_taken) = events.try_send(event) {
                self.unsent.put_back(not_taken.into_inner());
                return;
            }
        }
    }

    fn obey(&mut self, order: Order) {
        match order {
            Order::Watch(place, offset) => {
                self.tails
                    .insert(place.clone(), Tail::outbox(&self.mailbox, place.clone(), offset));
                self.turns.watch(place.clone());
                self.wakes.add(place);
            }
            Order::Unwatch(place) => {
                self.tails.remove(&place);
                self.turns.unwatch(&place);
                self.wakes.remove(&place);
                self.doubtful.remove(&place);
            }
            Order::Hint(place) => return self.wakes.hint(&place),
        }
        self.doorbell.watched(self.turns.watched());
    }

    /// Whether a look may begin now.
    fn may_look(&self) -> bool {
        self.unsent.has_room() && self.turns.may_begin()
    }

    fn begin_looks(&mut self) {
        let since = Instant::now();
        for _ in 0..batch::LOOKS {
            if !self.unsent.has_room() || since.elapsed() >= batch::AT_MOST {
                return;
            }
            let Some((place, number)) = self.turns.next() else {
                return;
            };
            let Some(mut tail) = self.tails.remove(&place) else {
                tracing::error!(%place, "an outbox is watched and has no reader; it is no longer followed");
                self.obey(Order::Unwatch(place));
                continue;
            };
            let bytes = self.chunk_bytes;
            let stalls = self.stalls.clone();
            let look = move || {
                let begun = Instant::now();
                let _under_way = stalls.begin("reading the outbox", Some(&place), begun);
                let look = look(&mut tail, bytes, begun);
                Done {
                    number,
                    tail,
                    look,
                    took: begun.elapsed(),
                    place,
                }
            };
            if self.looks.is_empty() && (self.turns.waiting() == 0 || self.pace.is_quick()) {
                let done = look();
                self.looked(done);
            } else {
                self.looks.spawn_blocking(look);
            }
        }
    }

    fn looked(&mut self, mut done: Done) {
        self.pace.looked(done.took);
        let Some(looked) = self.turns.looked(&done.place, done.number, done.look) else {
            return;
        };
        if let Some(event) = looked.say {
            self.unsent.push(event);
        }
        let outcome = match looked.found {
            Yield::News => Outcome::Data,
            Yield::Nothing => Outcome::Nothing,
            Yield::Doubt => Outcome::Doubt,
        };
        self.wakes.read_to(&done.place, done.tail.offset());
        self.wakes.looked(&done.place, outcome, done.took);
        if looked.found != Yield::Doubt {
            self.doubtful.remove(&done.place);
        } else if self.doubtful.insert(done.place.clone()) {
            // The look may have been an event's, after which the schedule would leave the file alone for long.
            self.wakes.hint(&done.place);
        }
        if self.turns.waiting() > OPEN {
            done.tail.put_down();
        }
        self.tails.insert(done.place, done.tail);
    }
}

/// Looks at an outbox once.
pub fn look(tail: &mut Tail, bytes: usize, now: Instant) -> Look {
    let finding = match tail.step(bytes, now) {
        Ok(step) => finding(step),
        Err(error) => Finding::Failed {
            error: what_to_do(&error),
        },
    };
    Look {
        more: tail.has_more() && !matches!(finding, Finding::Failed { .. }),
        in_doubt: tail.in_doubt(),
        finding,
    }
}

fn finding(step: TailStep) -> Finding {
    match step {
        TailStep::Lines { offset, data } => Finding::Lines { offset, data },
        TailStep::Skipped { offset, length, head } => Finding::Skipped { offset, length, head },
        // Its worker's first look, or the router's `Prepare`, will make it.
        TailStep::Nothing | TailStep::Missing => Finding::Nothing,
        TailStep::Ended { offset } => Finding::Ended { offset },
        TailStep::Reopened => Finding::Reopened,
        TailStep::Shrunk { offset, was } => Finding::Shrunk { offset, was },
    }
}

fn what_to_do(error: &TailError) -> String {
    match error {
        TailError::Later { .. } => format!("{error}; it is tried again"),
        TailError::Refused(_) => error.to_string(),
    }
}

#[cfg(test)]
mod tests;
