//! Files that grow at known moments, a filesystem that takes its time, and the follower's schedule over them, all under a clock
//! that is played: what comes of it is the same on every machine.
//!
//! As in the follower, looks that the schedule asks for wait for one of a few lanes, and a look sees what stands in its file when
//! it begins.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::time::{Duration, Instant};

use codeswarm_mailbox::schedule::Next;
use codeswarm_mailbox::{Limits, Outcome, PollSchedule};

/// Looks at once on a network filesystem: `LANES` of follower/src/follower.rs.
const LANES: usize = 8;

/// From a worker's write to the follower's hearing of it: the write itself, and a line over TCP inside a cluster.
const RING: Duration = Duration::from_micros(500);

/// What is said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum What {
    /// By one that was quiet and that nobody has hinted at.
    FirstWord,
    /// The first delta of an answer, after a hint.
    Answer,
    /// Every further one.
    Delta,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    /// A line is written, and so many more will follow it.
    Said {
        file: u32,
        what: What,
        more: u32,
    },
    Hint(u32),
    Ring(u32, u64),
    Looked(u32, u64),
}

/// The files and who reads them.
pub struct PlayedFiles {
    schedule: PollSchedule<u32>,
    zero: Instant,
    now: Duration,
    /// How long a look takes.
    answer: Duration,
    /// Whether writers ring.
    rings: bool,
    /// The pause between the deltas of one who talks.
    pace: Duration,
    /// When the schedule has something to do, as far as is known.
    due: Option<Duration>,
    events: BinaryHeap<Reverse<(Duration, u64, Event)>>,
    numbers: u64,
    sizes: Vec<u64>,
    /// What stands in each file and nobody has begun to read; and what is being read.
    unseen: Vec<Vec<(Duration, What)>>,
    read: Vec<Vec<(Duration, What)>>,
    waiting: VecDeque<u32>,
    looking: usize,
    counted: Counted,
    random: u64,
}

/// What was seen since it was last taken.
#[derive(Debug, Default)]
pub struct Counted {
    /// Looks that found nothing.
    pub empty: u64,
    /// The most of them in any second.
    pub most: usize,
    last_second: VecDeque<Duration>,
    /// How late each thing was seen, in seconds.
    pub seen: Vec<(What, f64)>,
}

impl Counted {
    /// The latencies of one kind.
    pub fn of(&self, what: What) -> Vec<f64> {
        let of_this = self.seen.iter().filter(|(said, _)| *said == what);
        of_this.map(|(_, late)| *late).collect()
    }
}

impl PlayedFiles {
    /// So many, each of which is looked at first in its turn. `swept`: the writers are connected, and their files are swept so
    /// often. `pace` is the pause between the deltas of one who talks.
    pub fn new(files: u32, answer: Duration, swept: Option<Duration>, pace: Duration) -> Self {
        let zero = Instant::now();
        let mut schedule = PollSchedule::new(Limits::default(), 42);
        if let Some(swept) = swept {
            schedule.sweep_every(swept);
        }
        for file in 0..files {
            schedule.add(file, zero);
            if swept.is_some() {
                schedule.connected(&file, zero);
            }
        }
        let empty = || (0..files).map(|_| Vec::new()).collect();
        Self {
            schedule,
            zero,
            now: Duration::ZERO,
            answer,
            rings: swept.is_some(),
            pace,
            due: Some(Duration::ZERO),
            events: BinaryHeap::new(),
            numbers: 0,
            sizes: vec![0; files as usize],
            unseen: empty(),
            read: empty(),
            waiting: VecDeque::new(),
            looking: 0,
            counted: Counted::default(),
            random: 0x9E37_79B9_7F4A_7C15,
        }
    }

    /// The time that has been played.
    pub fn now(&self) -> Duration {
        self.now
    }

    /// A number below `limit` (xorshift).
    pub fn below(&mut self, limit: u64) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        (self.random >> 16) % limit.max(1)
    }

    /// A line in so much time, and after it `more` deltas.
    pub fn say(&mut self, file: u32, what: What, more: u32, after: Duration) {
        self.happens(after, Event::Said { file, what, more });
    }

    /// The router hints at a file in so much time.
    pub fn hint(&mut self, file: u32, after: Duration) {
        self.happens(after, Event::Hint(file));
    }

    /// What was counted since it was last taken.
    pub fn take(&mut self) -> Counted {
        std::mem::take(&mut self.counted)
    }

    /// Plays so much time.
    pub fn go_on(&mut self, time: Duration) {
        let until = self.now + time;
        while self.now < until {
            while let Some(Reverse((time, ..))) = self.events.peek()
                && *time <= self.now
            {
                if let Some(Reverse((_, _, event))) = self.events.pop() {
                    self.come_to_pass(event);
                }
            }
            while self.due.is_some_and(|due| due <= self.now) {
                self.due = match self.schedule.next(self.zero + self.now) {
                    Next::Wait(time) => Some(time - self.zero),
                    Next::Idle => None,
                    Next::Look(file) => {
                        self.waiting.push_back(file);
                        continue;
                    }
                };
            }
            self.begin_looks();
            let mut next = self.due.map_or(until, |due| due.min(until));
            if let Some(Reverse((time, ..))) = self.events.peek() {
                next = next.min(*time);
            }
            self.now = next.max(self.now);
        }
    }

    fn happens(&mut self, after: Duration, event: Event) {
        self.numbers += 1;
        self.events.push(Reverse((self.now + after, self.numbers, event)));
    }

    fn come_to_pass(&mut self, event: Event) {
        let now = self.zero + self.now;
        match event {
            Event::Hint(file) => {
                self.schedule.hint(&file, now);
                self.due = Some(self.now);
            }
            Event::Ring(file, size) => {
                self.schedule.rung(&file, size, now);
                self.due = Some(self.now);
            }
            Event::Said { file, what, more } => {
                let at = file as usize;
                self.sizes[at] += 100;
                self.unseen[at].push((self.now, what));
                if self.rings {
                    self.happens(RING, Event::Ring(file, self.sizes[at]));
                }
                if more > 0 {
                    self.say(file, What::Delta, more - 1, self.pace);
                }
            }
            Event::Looked(file, size) => self.looked(file, size),
        }
    }

    fn begin_looks(&mut self) {
        while self.looking < LANES {
            let Some(file) = self.waiting.pop_front() else { return };
            self.looking += 1;
            let at = file as usize;
            self.read[at] = std::mem::take(&mut self.unseen[at]);
            self.happens(self.answer, Event::Looked(file, self.sizes[at]));
        }
    }

    fn looked(&mut self, file: u32, size: u64) {
        self.looking -= 1;
        let found = std::mem::take(&mut self.read[file as usize]);
        let outcome = match found.is_empty() {
            true => Outcome::Nothing,
            false => Outcome::Data,
        };
        if found.is_empty() {
            let second = &mut self.counted.last_second;
            second.push_back(self.now);
            while second
                .front()
                .is_some_and(|time| self.now - *time >= Duration::from_secs(1))
            {
                second.pop_front();
            }
            self.counted.most = self.counted.most.max(second.len());
            self.counted.empty += 1;
        }
        let late = found
            .iter()
            .map(|(said, what)| (*what, (self.now - *said).as_secs_f64()));
        self.counted.seen.extend(late);
        let now = self.zero + self.now;
        self.schedule.read_to(&file, size);
        self.schedule.looked(&file, outcome, self.answer, now);
        self.due = Some(self.now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_is_seen_once_and_two_plays_are_the_same() {
        let play = |swept| {
            let mut files = PlayedFiles::new(20, Duration::from_millis(1), swept, Duration::from_millis(50));
            files.go_on(Duration::from_secs(60));
            files.take();
            for file in 0..20 {
                let after = Duration::from_millis(files.below(5_000));
                files.say(file, What::FirstWord, 10, after);
            }
            files.go_on(Duration::from_secs(30));
            let counted = files.take();
            assert_eq!(counted.of(What::FirstWord).len(), 20);
            assert_eq!(counted.of(What::Delta).len(), 200);
            assert!(counted.most <= 50, "{}", counted.most);
            (counted.empty, counted.seen)
        };
        assert_eq!(play(None), play(None));
        let (_, rung) = play(Some(Duration::from_secs(300)));
        // The ring's way and one look.
        assert!(rung.iter().all(|(_, late)| (late - 0.0015).abs() < 1e-6), "{rung:?}");
    }
}
