//! How much memory the router, the follower and the workers hold over a run, and how soon followers are gone.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use crate::processes::Process;

/// A process that has just started is not looked at: it has not filled what it will hold.
const SETTLED: Duration = Duration::from_secs(3);

/// What one process held at a moment.
#[derive(Debug, Clone, Copy)]
struct Sample {
    at: Instant,
    age: Duration,
    kilobytes: u64,
}

/// Samples of each role.
#[derive(Debug, Default)]
pub struct Memory {
    first_seen: BTreeMap<i32, Instant>,
    samples: BTreeMap<&'static str, Vec<Sample>>,
}

/// Medians in kilobytes, of processes of the same age: one fills its buffers in its first minute, and how many are young in
/// a quarter is a matter of how many were killed in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quarters {
    /// In the first quarter of the run.
    pub first: u64,
    /// In the last.
    pub last: u64,
    /// The most that was seen at all.
    pub most: u64,
    /// What they are made of: the seconds that a process had at least lived, and of the first and the last quarter each the
    /// median and how many samples it is of.
    pub ages: Vec<(u64, [(u64, usize); 2])>,
}

impl Memory {
    /// Looks at a process.
    pub fn sample(&mut self, role: &'static str, pid: i32, now: Instant) {
        let since = *self.first_seen.entry(pid).or_insert(now);
        let age = now.duration_since(since);
        if age < SETTLED {
            return;
        }
        if let Some(kilobytes) = resident(pid) {
            let sample = Sample {
                at: now,
                age,
                kilobytes,
            };
            self.samples.entry(role).or_default().push(sample);
        }
    }

    /// The first and the last quarter beside each other, by role. A role that was not seen at the same age in both has none.
    pub fn quarters(&self, began: Instant, ended: Instant) -> BTreeMap<&'static str, Quarters> {
        let quarter = ended.duration_since(began) / 4;
        let mut found = BTreeMap::new();
        for (role, samples) in &self.samples {
            let first = by_age(samples.iter().filter(|sample| sample.at <= began + quarter));
            let last = by_age(samples.iter().filter(|sample| sample.at >= ended - quarter));
            let (mut weight, mut sums, mut ages) = (0, (0, 0), Vec::new());
            for (age, first) in &first {
                let Some(last) = last.get(age) else { continue };
                let here = first.len().min(last.len()) as u64;
                weight += here;
                let medians = [first, last].map(|samples| (median(samples), samples.len()));
                sums.0 += here * medians[0].0;
                sums.1 += here * medians[1].0;
                ages.push((1 << age, medians));
            }
            let most = samples.iter().map(|sample| sample.kilobytes).max();
            if let (Some(most), 1..) = (most, weight) {
                let (first, last) = (sums.0 / weight, sums.1 / weight);
                let quarters = Quarters {
                    first,
                    last,
                    most,
                    ages,
                };
                found.insert(*role, quarters);
            }
        }
        found
    }
}

/// Samples by the binary order of magnitude of the process's age in seconds.
fn by_age<'a>(samples: impl Iterator<Item = &'a Sample>) -> BTreeMap<u32, Vec<u64>> {
    let mut ages: BTreeMap<u32, Vec<u64>> = BTreeMap::new();
    for sample in samples {
        let age = sample.age.as_secs().max(1).ilog2();
        ages.entry(age).or_default().push(sample.kilobytes);
    }
    ages
}

impl Quarters {
    /// How much the last quarter differs from the first, in per cent.
    pub fn growth(&self) -> f64 {
        (self.last as f64 / self.first.max(1) as f64 - 1.0) * 100.0
    }
}

/// The middle one; 0 of none.
fn median(values: &[u64]) -> u64 {
    let mut values = values.to_vec();
    values.sort_unstable();
    values.get(values.len() / 2).copied().unwrap_or(0)
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
    fn the_memory_of_young_processes_is_held_against_that_of_young_ones() {
        let began = Instant::now();
        let sample = |at, age, kilobytes| Sample {
            at: began + Duration::from_secs(at),
            age: Duration::from_secs(age),
            kilobytes,
        };
        let samples = |last: [u64; 2]| {
            let early = [sample(5, 5, 100), sample(6, 6, 100), sample(20, 40, 200)];
            let late = [sample(90, 5, last[0]), sample(95, 41, last[1]), sample(96, 42, last[1])];
            let memory = Memory {
                samples: BTreeMap::from([("router", [early, late].concat())]),
                ..Memory::default()
            };
            memory.quarters(began, began + Duration::from_secs(100))["router"].clone()
        };
        // Two young ones before and two old ones behind are no growth.
        let flat = Quarters {
            first: 150,
            last: 150,
            most: 200,
            ages: vec![(4, [(100, 2), (100, 1)]), (32, [(200, 1), (200, 2)])],
        };
        assert_eq!(samples([100, 200]), flat);
        assert!(samples([100, 200]).growth().abs() < 0.1);
        assert!(samples([100, 260]).growth() > 19.0);
        assert!(samples([130, 200]).growth() > 9.0);
    }

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
