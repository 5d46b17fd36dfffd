//! How much memory the router, the follower and the workers hold over a run, and how soon followers are gone.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use crate::processes::Process;

/// A process that has just started is not looked at: it has not filled what it will hold.
const SETTLED: Duration = Duration::from_secs(3);

/// Samples of one role.
#[derive(Debug, Default)]
pub struct Memory {
    first_seen: BTreeMap<i32, Instant>,
    samples: BTreeMap<&'static str, Vec<(Instant, u64)>>,
}

/// Medians in kilobytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quarters {
    /// In the first quarter of the run.
    pub first: u64,
    /// In the last.
    pub last: u64,
    /// The most that was seen at all.
    pub most: u64,
}

impl Memory {
    /// Looks at a process.
    pub fn sample(&mut self, role: &'static str, pid: i32, now: Instant) {
        let since = *self.first_seen.entry(pid).or_insert(now);
        if now.duration_since(since) < SETTLED {
            return;
        }
        if let Some(kilobytes) = resident(pid) {
            self.samples.entry(role).or_default().push((now, kilobytes));
        }
    }

    /// Medians of the first and the last quarter, by role. A role that was not seen in both has none.
    pub fn quarters(&self, began: Instant, ended: Instant) -> BTreeMap<&'static str, Quarters> {
        let quarter = ended.duration_since(began) / 4;
        let mut found = BTreeMap::new();
        for (role, samples) in &self.samples {
            let of = |from: Instant, to: Instant| {
                let within = samples.iter().filter(|(at, _)| *at >= from && *at <= to);
                median(within.map(|(_, kilobytes)| *kilobytes).collect())
            };
            let most = samples.iter().map(|(_, kilobytes)| *kilobytes).max();
            if let (Some(first), Some(last), Some(most)) =
                (of(began, began + quarter), of(ended - quarter, ended), most)
            {
                found.insert(*role, Quarters { first, last, most });
            }
        }
        found
    }
}

impl Quarters {
    /// How much the last quarter differs from the first, in per cent.
    pub fn growth(&self) -> f64 {
        (self.last as f64 / self.first.max(1) as f64 - 1.0) * 100.0
    }
}

fn median(mut values: Vec<u64>) -> Option<u64> {
    values.sort_unstable();
    values.get(values.len() / 2).copied()
}

fn resident(pid: i32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().trim_end_matches(" kB").parse().ok()
}

/// The followers that were there when a router died.
#[derive(Debug)]
pub struct Orphans {
    since: Instant,
    left: BTreeSet<i32>,
}

/// How long the followers of dead routers lived on.
#[derive(Debug, Default)]
pub struct Departures {
    waiting: Vec<Orphans>,
    /// Each one that is over, in seconds.
    pub took: Vec<f64>,
}

impl Departures {
    /// A router has died, and these followers are there.
    pub fn router_died(&mut self, followers: &[Process], now: Instant) {
        self.waiting.push(Orphans {
            since: now,
            left: followers.iter().map(|follower| follower.pid).collect(),
        });
    }

    /// These followers are there now.
    pub fn look(&mut self, followers: &[Process], now: Instant) {
        let there: BTreeSet<i32> = followers.iter().map(|follower| follower.pid).collect();
        self.waiting.retain_mut(|orphans| {
            orphans.left.retain(|pid| there.contains(pid));
            if orphans.left.is_empty() {
                self.took.push(now.duration_since(orphans.since).as_secs_f64());
            }
            !orphans.left.is_empty()
        });
    }

    /// Whether some are waited for.
    pub fn are_awaited(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// A follower was stopped: it cannot leave, and is not counted.
    pub fn forgive(&mut self, pid: i32) {
        for orphans in &mut self.waiting {
            orphans.left.remove(&pid);
        }
        self.waiting.retain(|orphans| !orphans.left.is_empty());
    }

    /// The longest, also of those that are still there.
    pub fn longest(&self, now: Instant) -> f64 {
        let waiting = self
            .waiting
            .iter()
            .map(|orphans| now.duration_since(orphans.since).as_secs_f64());
        self.took.iter().copied().chain(waiting).fold(0.0, f64::max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_follower_is_waited_for_until_it_is_gone_whoever_else_comes() {
        let follower = |pid| Process {
            pid,
            command_line: String::new(),
        };
        let (now, mut departures) = (Instant::now(), Departures::default());
        departures.router_died(&[follower(1)], now);
        departures.look(&[follower(1), follower(2)], now + Duration::from_secs(3));
        assert!(departures.are_awaited());
        departures.look(&[follower(2)], now + Duration::from_secs(4));
        assert_eq!(departures.took, [4.0]);
        assert!((departures.longest(now) - 4.0).abs() < 0.01);
    }
}
