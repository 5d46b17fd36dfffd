//! When to look at which file where no event tells: on filesystems that other machines write.
//!
//! Pure: the clock is handed in. A file is *hot* after a hint or growth, *warm* as its looks stay empty, then *cold*. Looks
//! that find nothing are capped a second, all files together; a look that brings data is work and costs nothing of the
//! cap. Three fifths of the cap belong to the cold files, evenly spaced and in turn, so what hot files do never
//! delays the quiet ones; hot and warm files share the rest, the hot first, and every third look to a warm one that is due.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};
use std::hash::Hash;
use std::time::{Duration, Instant};

/// The cap counts over this long.
const WINDOW: Duration = Duration::from_secs(1);

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

#[derive(Debug)]
struct Entry {
    /// Tells an entry in a queue that is still meant from one that is not.
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
    files: HashMap<K, Entry>,
    hot: BinaryHeap<Reverse<Due>>,
    warm: BinaryHeap<Reverse<Due>>,
    cold: VecDeque<u64>,
    /// Which file a stamp is of.
    stamps: HashMap<u64, K>,
    next_stamp: u64,
    next_cold: Option<Instant>,
    cold_files: usize,
    hot_in_a_row: u32,
    /// Empty looks within the window, and looks under way, which may become some.
    empty: VecDeque<(Instant, bool)>,
    under_way: [u32; 2],
    /// The mean duration of an empty look.
    cost: Duration,
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
            files: HashMap::new(),
            hot: BinaryHeap::new(),
            warm: BinaryHeap::new(),
            cold: VecDeque::new(),
            stamps: HashMap::new(),
            next_stamp: 0,
            next_cold: None,
            cold_files: 0,
            hot_in_a_row: 0,
            empty: VecDeque::new(),
            under_way: [0; 2],
            cost: Duration::ZERO,
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
                self.end_under_way(entry.lane);
            }
        }
    }

    /// How many files there are.
    pub fn len(&self) -> usize {
        self.files.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.files.is_empty()
    }

    /// This file is about to move: look soon, and often for a while.
    pub fn hint(&mut self, file: &K, now: Instant) {
        let Some(entry) = self.files.get_mut(file) else { return };
        entry.moved = now;
        if entry.looking {
            entry.hinted = true;
            return;
        }
        let pause = self.limits.hot;
        self.requeue(file, Lane::Hot, pause, now);
    }

    /// Which file to look at now, or until when to wait.
    pub fn next(&mut self, now: Instant) -> Next<K> {
        self.forget_old(now);
        let mut wait: Option<Instant> = None;
        let mut at = |time: Instant| wait = Some(wait.map_or(time, |known| known.min(time)));
        for lane in self.order(now) {
            let Some(due) = self.due(lane, now) else { continue };
            if due > now {
                at(due);
                continue;
            }
            if let Some(free) = self.budget_full_until(lane, now) {
                at(free);
                continue;
            }
            if let Some(file) = self.take(lane, now) {
                return Next::Look(file);
            }
        }
        wait.map_or(Next::Idle, Next::Wait)
    }

    /// A look is over: what it found, and how long the filesystem took.
    pub fn looked(&mut self, file: &K, outcome: Outcome, took: Duration, now: Instant) {
        let Some(entry) = self.files.get_mut(file) else { return };
        if !entry.looking {
            return;
        }
        entry.looking = false;
        let lane = entry.lane;
        let hinted = std::mem::take(&mut entry.hinted);
        let pause = match outcome {
            Outcome::Data => {
                entry.moved = now;
                (entry.pause / 2).max(self.limits.hot)
            }
            Outcome::Doubt | Outcome::Nothing => entry.pause * 3 / 2,
        };
        let quiet = now.saturating_duration_since(entry.moved);
        self.end_under_way(lane);
        if outcome != Outcome::Data {
            self.empty.push_back((now, lane == Lane::Cold));
            self.cost = (self.cost * 7 + took) / 8;
        }
        let (next, pause) = match outcome {
            _ if hinted => (Lane::Hot, self.limits.hot),
            // From the cold a file that moves starts in the middle, so that one stray line does not make it hot.
            Outcome::Data if lane == Lane::Cold => (Lane::Hot, self.limits.hot * 4),
            Outcome::Nothing if quiet >= self.limits.cold_after || lane == Lane::Cold => (Lane::Cold, self.limits.warm),
            _ if pause * 4 >= self.limits.warm => (Lane::Warm, pause.min(self.limits.warm)),
            _ => (Lane::Hot, pause),
        };
        let due = if hinted { now } else { now + self.jitter(pause) };
        self.requeue(file, next, pause, due);
    }

    fn stamp(&mut self, file: &K) -> u64 {
        self.next_stamp += 1;
        self.stamps.insert(self.next_stamp, file.clone());
        self.next_stamp
    }

    fn requeue(&mut self, file: &K, lane: Lane, pause: Duration, due: Instant) {
        let stamp = self.stamp(file);
        let Some(entry) = self.files.get_mut(file) else { return };
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
        let (queue, stamps) = match lane {
            Lane::Hot => (&mut self.hot, &self.stamps),
            Lane::Warm => (&mut self.warm, &self.stamps),
            Lane::Cold => {
                while self.cold.front().is_some_and(|stamp| !self.stamps.contains_key(stamp)) {
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

    fn take(&mut self, lane: Lane, now: Instant) -> Option<K> {
        let stamp = match lane {
            Lane::Hot => self.hot.pop()?.0.1,
            Lane::Warm => self.warm.pop()?.0.1,
            Lane::Cold => self.cold.pop_front()?,
        };
        let file = self.stamps.get(&stamp)?.clone();
        self.files.get_mut(&file)?.looking = true;
        self.under_way[usize::from(lane == Lane::Cold)] += 1;
        match lane {
            Lane::Hot => self.hot_in_a_row += 1,
            Lane::Warm => self.hot_in_a_row = 0,
            Lane::Cold => {
                let round = self.limits.cold / u32::try_from(self.cold_files.max(1)).unwrap_or(u32::MAX);
                let pause = round.max(WINDOW / self.budget(true));
                let pause = self.jitter(pause);
                self.next_cold = Some(self.next_cold.unwrap_or(now).max(now.checked_sub(pause).unwrap_or(now)) + pause);
            }
        }
        Some(file)
    }

    fn end_under_way(&mut self, lane: Lane) {
        let count = &mut self.under_way[usize::from(lane == Lane::Cold)];
        *count = count.saturating_sub(1);
    }

    /// The looks a second that a side may spend on nothing.
    fn budget(&self, cold: bool) -> u32 {
        let mut cap = self.limits.empty_looks_per_second.max(1);
        let affordable = u128::from(self.limits.busy_permille) * WINDOW.as_nanos() / 1000;
        if let Some(looks) = affordable.checked_div(self.cost.as_nanos()) {
            cap = cap.min(u32::try_from(looks).unwrap_or(u32::MAX).max(1));
        }
        let for_cold = (cap * 3).div_ceil(5);
        if cold { for_cold } else { (cap - for_cold).max(1) }
    }

    /// Since a look may find nothing, it needs a free place in its side's share and in the whole cap.
    fn budget_full_until(&self, lane: Lane, now: Instant) -> Option<Instant> {
        let cold = lane == Lane::Cold;
        let side = self.empty.iter().filter(|(_, of_cold)| *of_cold == cold);
        let spent = side.clone().count() as u32 + self.under_way[usize::from(cold)];
        let all = self.empty.len() as u32 + self.under_way[0] + self.under_way[1];
        let side_is_full = spent >= self.budget(cold);
        if !side_is_full && all < self.limits.empty_looks_per_second.max(1) {
            return None;
        }
        let oldest = if side_is_full {
            side.clone().next()
        } else {
            self.empty.front()
        };
        // Without an empty look in the window, only a report of those under way can free a place.
        Some(oldest.map_or(now, |(time, _)| *time) + WINDOW)
    }

    fn forget_old(&mut self, now: Instant) {
        while self
            .empty
            .front()
            .is_some_and(|(time, _)| now.saturating_duration_since(*time) >= WINDOW)
        {
            self.empty.pop_front();
        }
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
