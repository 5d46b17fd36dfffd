//! Ten thousand seeded histories of one worker's place: prompts, duplicates, steers, interrupts, deaths of the agent, kills
//! and restarts of the worker, orderly ends at any moment. Each history is held against the promises; the seed of one
//! that breaks a promise is printed, and plays again with `CODESWARM_SEED=<seed>`.

mod agent;
mod promises;
mod world;

use world::{Tally, World};

/// A small generator (splitmix64): the same numbers for the same seed, everywhere.
#[derive(Debug)]
struct Rng(u64);

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
}

const HISTORIES: u64 = 10_000;

fn play(seed: u64) -> Tally {
    let mut world = World::new(seed);
    world.storm();
    world.calm();
    promises::hold(&world);
    world.tally
}

#[test]
fn p2_p6_p7_p11_ten_thousand_histories_keep_the_promises() {
    let seeds = match std::env::var("CODESWARM_SEED") {
        Ok(seed) => {
            let seed: u64 = seed.parse().unwrap();
            seed..seed + 1
        }
        Err(_) => 0..HISTORIES,
    };
    let mut sum = Tally::default();
    for seed in seeds.clone() {
        match std::panic::catch_unwind(|| play(seed)) {
            Ok(tally) => sum.add(tally),
            Err(cause) => {
                eprintln!("history {seed} broke a promise; play it again with CODESWARM_SEED={seed}");
                std::panic::resume_unwind(cause);
            }
        }
    }
    if seeds.end - seeds.start == HISTORIES {
        sum.everything_happened();
    }
}
