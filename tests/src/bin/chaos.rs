//! `codeswarm-chaos`, by way of `tests/chaos`: kills and cuts everything while agents stream, and counts what came of it.

use std::io::Write;
use std::process::ExitCode;

use clap::Parser;
use codeswarm_tests::chaos::field::DISK_MEGABYTES;
use codeswarm_tests::chaos::run::{Options, run};
use codeswarm_tests::chaos::{agent, plan::Fault};
use codeswarm_tests::cluster::TestCluster;
use codeswarm_tests::requires;

/// Kills, stops and cuts everything while agents stream, and counts what came of it.
///
/// A swarm of four nodes on the test cluster (a real Slurm, a real sshd) whose agents count aloud, and two clients, each with
/// a router as its child: one serves, the other one relays and takes over. A seed decides which faults strike, in which
/// order; the next one strikes when so many more records have come. A client whose router dies starts another and asks for
/// what follows its copy. In the end the copies are laid beside the files and the words beside what was asked for, and the
/// table says what was lost, doubled or out of order, how each prompt ended, what memory was held, and how soon nothing was
/// left on the login node.
///
/// Exit status: 0 if every promise held, 1 if not.
#[derive(Parser)]
#[command(
    name = "tests/chaos",
    bin_name = "tests/chaos",
    after_help = "Examples:\n  tests/chaos                               200 faults over a million records, 20 minutes\n  tests/chaos --faults 16 --records 60000   a look: one or two minutes\n  tests/chaos --seed 7 --fuse               over FUSE views\n\nNeeds what tests/run --install installs, and root."
)]
struct Arguments {
    /// Decides the faults and their order. The same seed is the same plan; what the system does meanwhile is not decided.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How many faults strike.
    #[arg(long, value_name = "N", default_value_t = 200)]
    faults: u32,
    /// How many records the agents' nodes write at least.
    #[arg(long, value_name = "N", default_value_t = 1_000_000)]
    records: u64,
    /// How many records a second all nodes together say while nothing is in their way.
    #[arg(long, value_name = "N", default_value_t = 3000)]
    rate: u64,
    /// The login node and the compute nodes each see the shared filesystem through a FUSE mount of their own.
    #[arg(long)]
    fuse: bool,
    /// End the run after this many seconds; what has not struck by then counts as missing.
    #[arg(long, value_name = "N")]
    seconds: Option<u64>,
    /// Print the result as JSON instead of a table.
    #[arg(long)]
    json: bool,
    /// List the kinds of faults, and do nothing.
    #[arg(long)]
    kinds: bool,
}

fn main() -> ExitCode {
    if std::env::args().nth(1).as_deref() == Some("--agent") {
        agent::run();
        return ExitCode::SUCCESS;
    }
    let arguments = Arguments::parse();
    let mut stdout = std::io::stdout();
    if arguments.kinds {
        for (fault, share) in Fault::ALL {
            let _ = writeln!(stdout, "{share:>3} {}", fault.name());
        }
        return ExitCode::SUCCESS;
    }
    let agent = match std::env::current_exe() {
        Ok(program) => program,
        Err(error) => {
            eprintln!("tests/chaos: where this program is cannot be told: {error}");
            return ExitCode::FAILURE;
        }
    };
    let missing = if arguments.fuse {
        requires::Requirement::ClusterViews
    } else {
        requires::Requirement::Cluster
    };
    if missing.find().is_none() {
        eprintln!("tests/chaos: missing: {}", missing.how());
        return ExitCode::FAILURE;
    }
    let (cluster, disk) = if arguments.fuse {
        let (cluster, disk) = TestCluster::with_views_of_a_small_disk(DISK_MEGABYTES);
        (cluster, Some(disk))
    } else {
        (TestCluster::get(), None)
    };
    let options = Options {
        seed: arguments.seed,
        faults: arguments.faults,
        records: arguments.records,
        rate: arguments.rate,
        seconds: arguments.seconds,
        agent,
        tell: !arguments.json,
    };
    let report = run(&cluster, disk, options);
    let text = if arguments.json {
        format!("{:#}\n", report.json())
    } else {
        report.table()
    };
    let _ = stdout.write_all(text.as_bytes());
    if report.broken().is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
