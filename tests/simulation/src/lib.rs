//! Seeded histories of everything together: the real router, follower, workers and mailbox code in one process, over a
//! filesystem, a link, a Slurm and agents that are played, each with the vices of the real one. After each history the
//! promises are held against what clients were told, what workers and agents did, and what is in the files.
//!
//! It decides nothing about the product. Whatever it finds is mended there, and its seed stays in `tests/named_seeds.rs`.

mod agent;
mod disk;
mod heard;
mod ledger;
mod rng;
mod slurm;
mod store;
mod tally;
mod world;

pub use tally::Tally;

/// Plays one history; panics with the promise that it breaks. `told`: what happens is written to standard error.
pub fn play(seed: u64, told: bool) -> Tally {
    world::World::new(seed, told).play()
}
