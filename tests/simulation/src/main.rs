//! Plays histories and prints what happened in them.

use std::process::ExitCode;

use clap::Parser;

/// Plays seeded histories of router, follower and workers together, and holds the promises against each.
#[derive(Debug, Parser)]
struct Args {
    /// How many.
    #[arg(long, default_value_t = 1000)]
    histories: u64,
    /// The first seed.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Tells everything that happens in them.
    #[arg(long)]
    told: bool,
}

fn main() -> ExitCode {
    let args = Args::parse();
    let runtime = match tokio::runtime::Builder::new_current_thread().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("no runtime: {error}");
            return ExitCode::FAILURE;
        }
    };
    let mut sum = codeswarm_simulation::Tally::default();
    for seed in args.seed..args.seed + args.histories {
        let played =
            std::panic::catch_unwind(|| runtime.block_on(async { codeswarm_simulation::play(seed, args.told) }));
        match played {
            Ok(tally) => sum.add(&tally),
            Err(_) => {
                eprintln!("history {seed} broke a promise; play it again with --histories 1 --told --seed {seed}");
                return ExitCode::FAILURE;
            }
        }
    }
    for (what, count) in sum.rows() {
        eprintln!("{count:>12}  {what}");
    }
    ExitCode::SUCCESS
}
