//! When to look at which file where no event tells: on filesystems that other machines write.
//!
//! Pure: the clock is handed in. A file is *hot* after a hint or growth, *warm* as its looks stay empty, then *cold*. Looks
//! that find nothing are capped a second, all files together; a look that brings data is work and costs nothing of the
//! cap. As much of it as a round over the cold files needs, at most three fifths, is theirs, evenly spaced and in turn, so
//! what hot files do never delays the quiet ones; hot and warm files share the rest, the hot first, and every third look
//! to a warm one that is due.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};
use std::hash::Hash;
use std::time::{Duration, Instant};

use crate::budget::{Budget, Side};

/// What the schedule keeps to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Looks that find nothing, in any second, all files together.
    pub empty_looks_per_second: u32,
    /// The pause between looks at a file that has just been hinted at or has grown.
    pub hot: Duration,
    /// The longest pause of a warm file.
    pub warm: Duration,
    /// A file that has been quiet this long is cold.
    pub cold_after: Duration,
    /// The shortest round over all cold files.
    pub cold: Duration,
    /// The share of time, in thousandths, that may be spent waiting for empty looks: on a slow filesystem fewer are made.
    pub busy_permille: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            empty_looks_per_second: 50,
            hot: Duration::from_millis(10),
            warm: Duration::from_secs(2),
            cold_after: Duration::from_secs(60),
            cold: Duration::from_secs(2),
            busy_permille: 100,
        }
    }
}

impl Limits {
    /// Where events tell of growth and looking is only for safety.
    pub fn with_events() -> Self {
        Self {
            hot: Duration::from_secs(1),
            warm: Duration::from_secs(30),
            cold: Duration::from_secs(30),
            ..Self::default()
        }
    }
}

/// What a look found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// New bytes.
    Data,
    /// Nothing new.
    Nothing,
    /// Bytes that must be looked at again before they are believed.
    Doubt,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lane {
    Hot,
    Warm,
    Cold,
}

impl Lane {
    fn side(self) -> Side {
        match self {
            Self::Hot | Self::Warm => Side::Lively,
            Self::Cold => Side::Cold,
        }
    }
}

#[derive(Debug)]
struct Entry {
    /// The entry in a queue that is meant; older ones are not.
    stamp: u64,
    lane: Lane,
    pause: Duration,
    /// The last hint or growth.
    moved: Instant,
    /// Granted and not yet reported.
    looking: bool,
    /// Hinted while it was being looked at.
    hinted: bool,
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Due(Instant, u64);

/// The schedule over files named `K`.
#[derive(Debug)]
pub struct PollSchedule<K> {
    limits: Limits,
    budget: Budget,
    files: HashMap<K, Entry>,
    /// Which file a stamp is of.
    stamps: HashMap<u64, K>,
    last_stamp: u64,
    hot: BinaryHeap<Reverse<Due>>,
    warm: BinaryHeap<Reverse<Due>>,
    cold: VecDeque<u64>,
    cold_files: usize,
    next_cold: Option<Instant>,
    hot_in_a_row: u32,
    random: u64,
}

/// What to do next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next<K> {
    /// Look at this file now, then tell [`PollSchedule::looked`].
    Look(K),
    /// Nothing before this time (unless a hint or a report comes).
    Wait(Instant),
    /// Nothing at all until a file is added or a report comes.
    Idle,
}

impl<K: Clone + Eq + Hash> PollSchedule<K> {
    /// An empty schedule; `seed` sets its jitter.
    pub fn new(limits: Limits, seed: u64) -> Self {
        Self {
            limits,
            budget: Budget::new(limits.empty_looks_per_second, limits.busy_permille),
            files: HashMap::new(),
            stamps: HashMap::new(),
            last_stamp: 0,
            hot: BinaryHeap::new(),
            warm: BinaryHeap::new(),
            cold: VecDeque::new(),
            cold_files: 0,
            next_cold: None,
            hot_in_a_row: 0,
            random: seed | 1,
        }
    }

    /// Adds a file, cold, to be looked at before the other cold ones.
    pub fn add(&mut self, file: K, now: Instant) {
        if self.files.contains_key(&file) {
            return;
        }
        let stamp = self.stamp(&file);
        let entry = Entry {
            stamp,
            lane: Lane::Cold,
            pause: self.limits.warm,
            moved: now,
            looking: false,
            hinted: false,
        };
        self.files.insert(file, entry);
        self.cold_files += 1;
        self.cold.push_front(stamp);
    }

    /// Forgets a file.
    pub fn remove(&mut self, file: &K) {
        if let Some(entry) = self.files.remove(file) {
            self.stamps.remove(&entry.stamp);
            self.cold_files -= usize::from(entry.lane == Lane::Cold);
            if entry.looking {
                self.budget.forget();
            }
        }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.files.is_empty()
    }

    /// This file is about to move: look soon, and often for a while.
    pub fn hint(&mut self, file: &K, now: Instant) {
        let Some(entry) = self.files.get_mut(file) else {
            return;
        };
        entry.moved = now;
        if entry.looking {
            entry.hinted = true;
        } else {
            self.queue(file, Lane::Hot, self.limits.hot, now);
        }
    }

    /// Which file to look at now, or until when to wait.
    pub fn next(&mut self, now: Instant) -> Next<K> {
        let cold_rate = self.budget.cold_rate(self.cold_files, self.limits.cold);
        let mut wait: Option<Instant> = None;
        for lane in self.order(now) {
            let Some(due) = self.due(lane, now) else {
                continue;
            };
            let time = if due > now {
                due
            } else {
                self.budget.free_at(lane.side(), cold_rate, now)
            };
            if time > now {
                wait = Some(wait.map_or(time, |known| known.min(time)));
            } else if let Some(file) = self.take(lane, cold_rate, now) {
                return Next::Look(file);
            }
        }
        wait.map_or(Next::Idle, Next::Wait)
    }

    /// A look is over: what it found, and how long the filesystem took. False, and nothing changes, if this schedule
    /// had not asked for it.
    pub fn looked(&mut self, file: &K, outcome: Outcome, took: Duration, now: Instant) -> bool {
        let Some(entry) = self.files.get_mut(file) else {
            return false;
        };
        if !std::mem::take(&mut entry.looking) {
            return false;
        }
        let (lane, before) = (entry.lane, entry.pause);
        let hinted = std::mem::take(&mut entry.hinted);
        let data = outcome == Outcome::Data;
        if data {
            entry.moved = now;
        }
        let quiet = now.saturating_duration_since(entry.moved);
        self.budget.end(lane.side(), data, took, now);
        if data && lane == Lane::Cold {
            // What brings data costs nothing, so the round goes on at once.
            self.next_cold = Some(now);
        }
        let longer = (before * 3 / 2).min(self.limits.warm);
        let (next, pause) = match outcome {
            _ if hinted => (Lane::Hot, self.limits.hot),
            // From the cold a file that moves starts in the middle, so that one stray line does not make it hottest.
            Outcome::Data if lane == Lane::Cold => (Lane::Hot, self.limits.hot * 4),
            Outcome::Data => (Lane::Hot, (before / 2).max(self.limits.hot)),
            Outcome::Nothing if lane == Lane::Cold || quiet >= self.limits.cold_after => (Lane::Cold, before),
            _ if longer * 4 >= self.limits.warm => (Lane::Warm, longer),
            _ => (Lane::Hot, longer),
        };
        let due = if hinted { now } else { now + self.jitter(pause) };
        self.queue(file, next, pause, due);
        true
    }

    fn stamp(&mut self, file: &K) -> u64 {
        self.last_stamp += 1;
        self.stamps.insert(self.last_stamp, file.clone());
        self.last_stamp
    }

    fn queue(&mut self, file: &K, lane: Lane, pause: Duration, due: Instant) {
        let stamp = self.stamp(file);
        let Some(entry) = self.files.get_mut(file) else {
            return;
        };
        self.stamps.remove(&entry.stamp);
        self.cold_files = self.cold_files + usize::from(lane == Lane::Cold) - usize::from(entry.lane == Lane::Cold);
        (entry.stamp, entry.lane, entry.pause) = (stamp, lane, pause);
        match lane {
            Lane::Hot => self.hot.push(Reverse(Due(due, stamp))),
            Lane::Warm => self.warm.push(Reverse(Due(due, stamp))),
            Lane::Cold => self.cold.push_back(stamp),
        }
    }

    /// Hot before warm, but a warm file that is due gets every third look.
    fn order(&mut self, now: Instant) -> [Lane; 3] {
        let warm_is_due = self.due(Lane::Warm, now).is_some_and(|due| due <= now);
        if warm_is_due && self.hot_in_a_row >= 2 {
            [Lane::Warm, Lane::Hot, Lane::Cold]
        } else {
            [Lane::Hot, Lane::Warm, Lane::Cold]
        }
    }

    /// When the lane's first file is due; entries that are no longer meant are dropped on the way.
    fn due(&mut self, lane: Lane, now: Instant) -> Option<Instant> {
        let stamps = &self.stamps;
        let queue = match lane {
            Lane::Hot => &mut self.hot,
            Lane::Warm => &mut self.warm,
            Lane::Cold => {
                while self.cold.front().is_some_and(|stamp| !stamps.contains_key(stamp)) {
                    self.cold.pop_front();
                }
                return (!self.cold.is_empty()).then(|| self.next_cold.unwrap_or(now));
            }
        };
        while queue
            .peek()
            .is_some_and(|Reverse(Due(_, stamp))| !stamps.contains_key(stamp))
        {
            queue.pop();
        }
        queue.peek().map(|Reverse(Due(due, _))| *due)
    }

    fn take(&mut self, lane: Lane, cold_rate: f64, now: Instant) -> Option<K> {
        let stamp = match lane {
            Lane::Hot => self.hot.pop()?.0.1,
            Lane::Warm => self.warm.pop()?.0.1,
            Lane::Cold => self.cold.pop_front()?,
        };
        let file = self.stamps.get(&stamp)?.clone();
        self.files.get_mut(&file)?.looking = true;
        self.budget.begin(lane.side());
        match lane {
            Lane::Hot => self.hot_in_a_row += 1,
            Lane::Warm => self.hot_in_a_row = 0,
            Lane::Cold => {
                let pause = self.jitter(Duration::from_secs_f64(1.0 / cold_rate.max(0.001)));
                // Counted from when it was due, so that the mean rate holds; but what was missed is not made up for.
                let due = self.next_cold.unwrap_or(now);
                self.next_cold = Some((due + pause).max(now + pause / 2));
            }
        }
        Some(file)
    }

    /// A fifth more or less (xorshift), so that files and followers do not fall into step.
    fn jitter(&mut self, pause: Duration) -> Duration {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        let thousandths = u32::try_from(800 + self.random % 401).unwrap_or(1000);
        pause * thousandths / 1000
    }
}
