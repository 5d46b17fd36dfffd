//! Plays histories and prints what happened in them.

use std::io::Write;
use std::process::ExitCode;

use clap::Parser;
use codeswarm_simulation::{play, play_all};

/// Plays seeded histories of router, follower and workers together over a filesystem, a link and a Slurm that misbehave, and
/// holds the promises P1–P7 and P9–P11 against each. Ends with the first seed that breaks one.
#[derive(Debug, Parser)]
struct Args {
    /// How many histories.
    #[arg(long, default_value_t = 20_000)]
    histories: u64,
    /// The first seed; the others follow it.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// How many are played at once; as many as there are cores if 0.
    #[arg(long, default_value_t = 0)]
    threads: u64,
    /// Tells everything that happens, on standard error; for one history.
    #[arg(long)]
    told: bool,
}

/// In so many histories everything should have happened.
const ENOUGH: u64 = 2_000;

fn main() -> ExitCode {
    let args = Args::parse();
    let seeds = args.seed..args.seed.saturating_add(args.histories);
    if args.told {
        for seed in seeds {
            play(seed, true);
        }
        return ExitCode::SUCCESS;
    }
    let threads = match args.threads {
        0 => std::thread::available_parallelism().map_or(1, |cores| cores.get() as u64),
        some => some,
    };
    match play_all(seeds, threads) {
        Ok(sum) => {
            let mut out = std::io::stdout();
            for (what, count) in sum.rows() {
                let _nobody_reads = writeln!(out, "{count:>12}  {what}");
            }
            let seldom = sum.too_seldom();
            for what in &seldom {
                let _nobody_reads = writeln!(out, "what never happens is not tested: {what}");
            }
            if seldom.is_empty() || args.histories < ENOUGH {
                ExitCode::SUCCESS
            } else {
                ExitCode::FAILURE
            }
        }
        Err(seed) => {
            let mut out = std::io::stderr();
            let again = format!("tests/simulate --histories 1 --told --seed {seed}");
            let _nobody_reads = writeln!(out, "history {seed} broke a promise; play it again with {again}");
            ExitCode::FAILURE
        }
    }
}
