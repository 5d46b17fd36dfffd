//! When to look at which file where no event tells: on filesystems that other machines write.
//!
//! Pure: the clock is handed in. A file that grows, or that somebody hints at, is *lively*: its pause is short (hot) while looks
//! bring data and longer (up to warm) as they stay empty; a hinted one is *awaited* until it is half way to warm. After a quiet
//! minute a file is *cold*. Looks that find nothing are capped a second, all files together; a look that brings data is work and
//! costs nothing of the cap. As much of it as a round over the cold files needs, at most their part of three fifths, is theirs, evenly
//! spaced and in turn, so what lively files do never delays the quiet ones; the others share the rest.
//!
//! Where more are lively than can be looked at in time, the one that was due first comes first: it has waited longest, so it most
//! likely has something, and then its look costs nothing. Its pause says little there, since none is kept. Only an awaited file, which
//! somebody is waiting for, goes before others that are up to sixteen times as late.
//!
//! A file whose writer is connected to the doorbell is looked at when it rings, before all others, and is otherwise only
//! *swept*: once in a long while, evenly spread, for safety. When the connection goes, it is polled again at once.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};
use std::hash::Hash;
use std::time::{Duration, Instant};

use crate::budget::{Budget, Side};

mod bell;

use bell::{Bell, Then};

/// An awaited file goes before another that is so many times as late.
const AWAITED_FIRST: u32 = 16;

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
    /// How long a file may go without a look while its writer is connected to the doorbell and silent.
    pub swept: Duration,
    /// The share of time, in thousandths, that may be spent waiting for empty looks: on a slow filesystem fewer are made
    /// (`mailbox/src/pace.rs`).
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
            swept: Duration::from_secs(300),
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
    /// Its writer says that it has grown.
    Rung,
    /// It was hinted at, and its pause has been short since then.
    Awaited,
    /// It has moved lately.
    Lively,
    Cold,
    /// Its writer would ring.
    Swept,
}

impl Lane {
    fn side(self) -> Side {
        match self {
            Self::Rung => Side::Rung,
            Self::Awaited | Self::Lively => Side::Lively,
            Self::Cold | Self::Swept => Side::Cold,
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
    /// The last look brought data, so one that brings nothing has only come too soon.
    brought: bool,
    /// The last look, or when it was added.
    looked: Instant,
    /// Granted and not yet reported.
    looking: bool,
    /// Hinted while it was being looked at.
    hinted: bool,
    /// Rung for while it was being looked at. That look may have seen it already.
    rung: bool,
    /// Everything before this byte has been read.
    read: u64,
    /// Its writer is connected to the doorbell.
    bell: Option<Bell>,
}

impl Entry {
    /// Whether silence means that nothing has come.
    fn would_be_rung(&self) -> bool {
        self.bell.as_ref().is_some_and(Bell::is_believed)
    }
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
    rung: VecDeque<u64>,
    awaited: BinaryHeap<Reverse<Due>>,
    lively: BinaryHeap<Reverse<Due>>,
    cold: VecDeque<u64>,
    cold_files: usize,
    next_cold: Option<Instant>,
    /// In the order of their last looks, and when each was.
    swept: VecDeque<(Instant, u64)>,
    swept_files: usize,
    next_swept: Option<Instant>,
    rung_in_a_row: u32,
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
            rung: VecDeque::new(),
            awaited: BinaryHeap::new(),
            lively: BinaryHeap::new(),
            cold: VecDeque::new(),
            cold_files: 0,
            next_cold: None,
            swept: VecDeque::new(),
            swept_files: 0,
            next_swept: None,
            rung_in_a_row: 0,
            random: seed | 1,
        }
    }

    /// Changes [`Limits::swept`].
    pub fn sweep_every(&mut self, pause: Duration) {
        self.limits.swept = pause;
    }

    /// No event tells of growth any more, where [`Limits::with_events`] counted on them.
    pub fn poll_without_events(&mut self) {
        let Limits { hot, warm, cold, .. } = Limits::default();
        self.limits = Limits {
            hot,
            warm,
            cold,
            ..self.limits
        };
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
            brought: false,
            looked: now,
            looking: false,
            hinted: false,
            rung: false,
            read: 0,
            bell: None,
        };
        self.files.insert(file, entry);
        self.cold_files += 1;
        self.cold.push_front(stamp);
    }

    /// Forgets a file.
    pub fn remove(&mut self, file: &K) {
        if let Some(entry) = self.files.remove(file) {
            self.stamps.remove(&entry.stamp);
            self.count(entry.lane, Lane::Lively);
            if entry.looking {
                self.budget.forget();
            }
        }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.files.is_empty()
    }

    /// This file is about to move: look soon, and often for a while. (Not if its writer will ring.)
    pub fn hint(&mut self, file: &K, now: Instant) {
        if self.files.get(file).is_some_and(|entry| !entry.would_be_rung()) {
            self.look_soon(file, Lane::Awaited, now);
        }
    }

    /// The writer of this file is connected to the doorbell from now on. What it did before is looked for once.
    pub fn connected(&mut self, file: &K, now: Instant) {
        if let Some(entry) = self.files.get_mut(file) {
            entry.bell = Some(Bell::default());
            self.look_soon(file, Lane::Awaited, now);
        }
    }

    /// The writer of this file is not connected any more: it is polled again, from now on.
    pub fn gone(&mut self, file: &K, now: Instant) {
        if let Some(entry) = self.files.get_mut(file)
            && entry.bell.take().is_some()
        {
            self.look_soon(file, Lane::Awaited, now);
        }
    }

    /// The writer of this file says that it has this size now, in bytes. Only of one that is connected.
    pub fn rung(&mut self, file: &K, size: u64, now: Instant) {
        if let Some(entry) = self.files.get_mut(file)
            && let Some(bell) = &mut entry.bell
            && bell.rings(size, entry.read)
        {
            if entry.looking {
                entry.rung = true;
                return;
            }
            self.look_soon(file, Lane::Rung, now);
        }
    }

    /// Everything before this byte of the file has been read; told before [`Self::looked`].
    pub fn read_to(&mut self, file: &K, offset: u64) {
        if let Some(entry) = self.files.get_mut(file) {
            entry.read = offset;
        }
    }

    fn look_soon(&mut self, file: &K, lane: Lane, now: Instant) {
        let Some(entry) = self.files.get_mut(file) else {
            return;
        };
        entry.moved = now;
        if entry.looking {
            entry.hinted = true;
        } else if lane == Lane::Awaited || entry.lane != Lane::Rung {
            self.queue(file, lane, self.limits.hot, now);
        }
    }

    /// Which file to look at now, or until when to wait.
    pub fn next(&mut self, now: Instant) -> Next<K> {
        let polled = self.files.len() - self.swept_files;
        let cold_rate = self.budget.cold_rate(self.cold_files, polled, self.limits.cold);
        let swept_rate = self.budget.swept_rate(self.swept_files, self.limits.swept);
        let mut wait: Option<Instant> = None;
        for lane in self.order(now) {
            let Some(due) = self.due(lane, now) else {
                continue;
            };
            let time = if due > now {
                due
            } else {
                self.budget.free_at(lane.side(), cold_rate + swept_rate, now)
            };
            if time > now {
                wait = Some(wait.map_or(time, |known| known.min(time)));
            } else if let Some(file) = self.take(lane, cold_rate, swept_rate, now) {
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
        let since = std::mem::replace(&mut entry.looked, now).max(entry.moved);
        let waited = now.saturating_duration_since(since);
        let hinted = std::mem::take(&mut entry.hinted);
        let rung = std::mem::take(&mut entry.rung);
        let data = outcome == Outcome::Data;
        if data {
            entry.moved = now;
        }
        let quiet = now.saturating_duration_since(entry.moved);
        // Bytes in doubt come right without a ring.
        let then = match (&mut entry.bell, outcome) {
            (Some(bell), Outcome::Data | Outcome::Nothing) => bell.looked(data, entry.read),
            _ => Then::Poll,
        };
        self.budget.end(lane.side(), data, took, now);
        if data && lane == Lane::Cold {
            // What brings data costs nothing, so the round goes on at once.
            self.next_cold = Some(now);
        }
        // Where more files move than can be looked at, little is gained by a pause that is far from being kept; but a file that has
        // waited for its turn is not therefore a quiet one. Else the first look that brings nothing has only come too early.
        let brought_before = std::mem::replace(&mut entry.brought, data);
        let longer = match waited > before * 2 {
            true => (waited / 4).max(before * 3 / 2),
            false if brought_before => before,
            false => before * 3 / 2,
        }
        .min(self.limits.warm);
        let after = if lane == Lane::Awaited { lane } else { Lane::Lively };
        let (next, pause) = match (then, outcome) {
            _ if hinted => (Lane::Awaited, self.limits.hot),
            (Then::Rest, _) => (Lane::Swept, self.limits.hot),
            (Then::Again(_), _) if rung => (Lane::Rung, self.limits.hot),
            (Then::Again(looks), _) => {
                let pause = self.limits.hot * 2_u32.saturating_pow(looks.min(16));
                (Lane::Awaited, pause.min(self.limits.warm))
            }
            // From the cold a file that moves starts in the middle, so that one stray line does not make it hottest.
            (Then::Poll, Outcome::Data) if lane == Lane::Cold => (Lane::Lively, self.limits.hot * 4),
            (Then::Poll, Outcome::Data) => (after, (before / 2).max(self.limits.hot)),
            (Then::Poll, Outcome::Nothing) if lane == Lane::Cold || quiet >= self.limits.cold_after => {
                (Lane::Cold, before)
            }
            // By then it has been awaited for three seconds in vain.
            _ if longer * 2 >= self.limits.warm => (Lane::Lively, longer),
            _ => (after, longer),
        };
        let due = match next {
            // Of a swept file the time of its last look is kept.
            _ if hinted || next == Lane::Swept => now,
            _ => now + self.jitter(pause),
        };
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
        let before = entry.lane;
        (entry.stamp, entry.lane, entry.pause) = (stamp, lane, pause);
        self.count(before, lane);
        match lane {
            Lane::Rung => self.rung.push_back(stamp),
            Lane::Awaited => self.awaited.push(Reverse(Due(due, stamp))),
            Lane::Lively => self.lively.push(Reverse(Due(due, stamp))),
            Lane::Cold => self.cold.push_back(stamp),
            Lane::Swept => self.swept.push_back((due, stamp)),
        }
    }

    /// A file goes from one lane to another.
    fn count(&mut self, from: Lane, to: Lane) {
        self.cold_files = self.cold_files + usize::from(to == Lane::Cold) - usize::from(from == Lane::Cold);
        self.swept_files = self.swept_files + usize::from(to == Lane::Swept) - usize::from(from == Lane::Swept);
    }

    /// Who has rung first, but every third look is another lively file's if one is due; of those see [`AWAITED_FIRST`].
    fn order(&mut self, now: Instant) -> [Lane; 5] {
        let [awaited, lively] = [Lane::Awaited, Lane::Lively].map(|lane| {
            let due = self.due(lane, now)?;
            now.checked_duration_since(due)
        });
        let lively_first = lively.is_some_and(|lively| awaited.is_none_or(|awaited| lively > awaited * AWAITED_FIRST));
        let [first, second] = match lively_first {
            true => [Lane::Lively, Lane::Awaited],
            false => [Lane::Awaited, Lane::Lively],
        };
        match self.rung_in_a_row >= 2 && (awaited.is_some() || lively.is_some()) {
            true => [first, second, Lane::Rung, Lane::Cold, Lane::Swept],
            false => [Lane::Rung, first, second, Lane::Cold, Lane::Swept],
        }
    }

    /// When the lane's first file is due; entries that are no longer meant are dropped on the way.
    fn due(&mut self, lane: Lane, now: Instant) -> Option<Instant> {
        let stamps = &self.stamps;
        let queue = match lane {
            Lane::Awaited => &mut self.awaited,
            Lane::Lively => &mut self.lively,
            Lane::Rung => {
                while self.rung.front().is_some_and(|stamp| !stamps.contains_key(stamp)) {
                    self.rung.pop_front();
                }
                return (!self.rung.is_empty()).then_some(now);
            }
            Lane::Swept => {
                while self.swept.front().is_some_and(|(_, stamp)| !stamps.contains_key(stamp)) {
                    self.swept.pop_front();
                }
                let (since, _) = self.swept.front()?;
                // Of many files the first is looked at early, so that the last is not late when all connected at once.
                let files = u32::try_from(self.swept_files).unwrap_or(u32::MAX).max(1);
                let due = *since + self.limits.swept / 4 + self.limits.swept / 2 / files;
                return Some(self.next_swept.map_or(due, |next| next.max(due)));
            }
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

    fn take(&mut self, lane: Lane, cold_rate: f64, swept_rate: f64, now: Instant) -> Option<K> {
        let stamp = match lane {
            Lane::Rung => self.rung.pop_front()?,
            Lane::Swept => self.swept.pop_front()?.1,
            Lane::Awaited => self.awaited.pop()?.0.1,
            Lane::Lively => self.lively.pop()?.0.1,
            Lane::Cold => self.cold.pop_front()?,
        };
        let file = self.stamps.get(&stamp)?.clone();
        self.files.get_mut(&file)?.looking = true;
        self.budget.begin(lane.side());
        match lane {
            Lane::Rung => self.rung_in_a_row += 1,
            Lane::Awaited | Lane::Lively => self.rung_in_a_row = 0,
            Lane::Cold => {
                let pause = self.jitter(Duration::from_secs_f64(1.0 / cold_rate.max(0.001)));
                // Counted from when it was due, so that the mean rate holds; but what was missed is not made up for.
                let due = self.next_cold.unwrap_or(now);
                self.next_cold = Some((due + pause).max(now + pause / 2));
            }
            Lane::Swept => {
                let pause = self.jitter(Duration::from_secs_f64(1.0 / swept_rate.max(0.001)));
                self.next_swept = Some(now + pause);
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
