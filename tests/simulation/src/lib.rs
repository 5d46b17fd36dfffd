//! Seeded histories of everything together: the real router, follower, workers and mailbox code in one process, over a
//! filesystem, a link, a Slurm and agents that are played, each with the vices of the real one. After each history the
//! promises are held against what clients were told, what workers and agents did, and what is in the files.
//!
//! It decides nothing about the product. Whatever it finds is mended there, and its seed stays in `tests/histories.rs`.
//!
//! What is real: the router but for its loop, sockets and SQLite (`codeswarm_router::serve::by_hand`), the follower but for
//! its threads, lease and schedule of looks (`codeswarm_follower::by_hand`), the worker but for its loop, signals and
//! processes (`codeswarm_worker::by_hand`), and all of the mailbox but the system calls below
//! `codeswarm_mailbox::storage`. Frames are handed over as values, not as bytes.
//!
//! Files are looked at whenever the seed says so: at once after a write or minutes later, twice, or for nothing. That is all that
//! the doorbell can do to a reader, with rings that come, are lost, late, doubled or forged; so it is not played besides.

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

thread_local! {
    /// A router by hand makes a task now and then, which has nothing to do.
    static RUNTIME: std::io::Result<tokio::runtime::Runtime> = tokio::runtime::Builder::new_current_thread().build();
}

/// Plays one history; panics with the promise that it breaks. `told`: what happens is written to standard error.
pub fn play(seed: u64, told: bool) -> Tally {
    RUNTIME.with(|runtime| match runtime {
        Ok(runtime) => runtime.block_on(async { world::World::new(seed, told).play() }),
        Err(error) => panic!("no runtime: {error}"),
    })
}

/// Plays histories on so many threads, until all are played or one breaks a promise: then its seed.
pub fn play_all(seeds: std::ops::Range<u64>, threads: u64) -> Result<Tally, u64> {
    use std::sync::atomic::{AtomicU64, Ordering};
    let next = AtomicU64::new(seeds.start);
    let broken = AtomicU64::new(u64::MAX);
    let alone = || {
        let mut sum = Tally::default();
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds.end || broken.load(Ordering::Relaxed) != u64::MAX {
                return sum;
            }
            match std::panic::catch_unwind(|| play(seed, false)) {
                Ok(tally) => sum.add(&tally),
                Err(_) => drop(broken.fetch_min(seed, Ordering::Relaxed)),
            }
        }
    };
    let mut sum = Tally::default();
    std::thread::scope(|scope| {
        let players: Vec<_> = (0..threads.max(1)).map(|_| scope.spawn(alone)).collect();
        for player in players {
            if let Ok(tally) = player.join() {
                sum.add(&tally);
            }
        }
    });
    match broken.into_inner() {
        u64::MAX => Ok(sum),
        seed => Err(seed),
    }
}
