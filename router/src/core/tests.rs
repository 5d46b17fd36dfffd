//! Ten thousand seeded histories of one router's core among clients, a mailbox, workers and a provider that all misbehave:
//! appends that fail, may have happened, come late or are never answered; deaths of workers; deaths of the router between
//! deciding and storing, and lives after that from what was stored; the clock beyond every deadline. Each history is held
//! against the promises; the seed of one that breaks a promise is printed, and plays again with `CODESWARM_SEED=<seed>`;
//! `CODESWARM_HISTORIES=<count>` plays more of them.

mod alone;
mod answers;
mod clients;
mod in_slurm;
mod late;
mod mailbox;
mod node_ends;
mod promises;
mod provider;
mod rules;
mod slurm_adopt;
mod slurm_histories;
mod slurm_hosts;
mod slurm_job;
mod slurm_launch;
mod slurm_next_life;
mod slurm_refusals;
mod store;
mod tally;
mod worker;
mod world;

use tally::Tally;
use world::World;

/// A small generator (splitmix64): the same numbers for the same seed, everywhere.
#[derive(Debug)]
pub struct Rng(u64);

impl Rng {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `limit`.
    fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(limit).unwrap()).unwrap()
    }

    /// True once in `n` times.
    fn once_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    /// One of these.
    fn pick<'a, T>(&mut self, from: &'a [T]) -> Option<&'a T> {
        match from.len() {
            0 => None,
            length => from.get(self.below(length)),
        }
    }
}

const HISTORIES: u64 = 10_000;

/// Histories that are also stored in a real database, which has to give back at each start what the model of it does.
const STORED_HISTORIES: u64 = 40;

fn play(seed: u64, with_database: bool) -> Tally {
    let mut world = World::new(seed, with_database);
    world.storm();
    world.calm();
    world.tally
}

fn play_all(seeds: impl Iterator<Item = u64>, with_database: bool) -> Tally {
    let mut sum = Tally::default();
    for seed in seeds {
        match std::panic::catch_unwind(|| play(seed, with_database)) {
            Ok(tally) => sum.add(tally),
            Err(cause) => {
                eprintln!("history {seed} broke a promise; play it again with CODESWARM_SEED={seed}");
                std::panic::resume_unwind(cause);
            }
        }
    }
    sum
}

/// How many histories are played; the environment may ask for more.
fn how_many(usually: u64) -> u64 {
    std::env::var("CODESWARM_HISTORIES").map_or(usually, |count| count.parse().unwrap())
}

/// One history alone, if the environment names one.
fn asked_for() -> Option<u64> {
    let seed = std::env::var("CODESWARM_SEED").ok()?;
    Some(seed.parse().unwrap())
}

#[test]
fn p1_p2_p3_p6_p11_p12_ten_thousand_histories_keep_the_promises() {
    if let Some(seed) = asked_for() {
        play(seed, false);
        return;
    }
    let halves: Vec<_> = (0..2)
        .map(|half| std::thread::spawn(move || play_all((half..how_many(HISTORIES)).step_by(2), false)))
        .collect();
    let mut sum = Tally::default();
    for half in halves {
        match half.join() {
            Ok(tally) => sum.add(tally),
            Err(cause) => std::panic::resume_unwind(cause),
        }
    }
    sum.everything_happened();
}

#[test]
fn p1_the_database_gives_back_what_was_stored() {
    match asked_for() {
        Some(seed) => drop(play(seed, true)),
        None => drop(play_all(0..STORED_HISTORIES, true)),
    }
}
