//! `codeswarm-swarm-simulator`: plays the workers of a job in one process, to see what follower and router make of many.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use codeswarm_mailbox::Mailbox;
use codeswarm_protocol::JobId;
use codeswarm_tests::swarm_simulator::Play;

/// Plays the workers of a job in one process.
///
/// The mailbox must have been prepared by a router that has adopted the job. Each node says deltas whose text is the time at
/// which they were written, and answers prompts with a short turn. Prints `started` when all workers have, and in the end a
/// line of JSON that says how much was said.
#[derive(Parser)]
#[command(name = "codeswarm-swarm-simulator")]
struct Arguments {
    /// The folder of the mailbox: `<workspace_root>/<cluster_subdir>`.
    #[arg(long, value_name = "DIR")]
    root: PathBuf,
    /// The job.
    #[arg(long, value_name = "ID")]
    job_id: JobId,
    /// How many of its nodes are played.
    #[arg(long, value_name = "N", default_value_t = 1024, value_parser = clap::value_parser!(u32).range(1..=16_384))]
    nodes: u32,
    /// The first that this process plays; more processes than one can play a job that has more nodes than a process may open files.
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..=16_383))]
    first_node: u32,
    /// Deltas a second of each node; with 0 they only answer prompts.
    #[arg(long, value_name = "N", default_value_t = 20.0)]
    rate: f64,
    /// For how long, in seconds.
    #[arg(long, value_name = "S", default_value_t = 60.0)]
    seconds: f64,
    /// Connect each node to the follower's doorbell, as a real worker does.
    #[arg(long)]
    doorbell: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let Ok(duration) = Duration::try_from_secs_f64(arguments.seconds) else {
        eprintln!("codeswarm-swarm-simulator: {} is no time", arguments.seconds);
        return ExitCode::from(2);
    };
    if !(0.0..=10_000.0).contains(&arguments.rate) {
        eprintln!(
            "codeswarm-swarm-simulator: a rate of {} is not between 0 and 10000",
            arguments.rate
        );
        return ExitCode::from(2);
    }
    codeswarm_tests::bench::usage::raise_open_files();
    let play = Play {
        mailbox: Mailbox::at(arguments.root),
        job_id: arguments.job_id,
        nodes: arguments.first_node..arguments.first_node + arguments.nodes,
        rate: arguments.rate,
        duration,
        doorbell: arguments.doorbell,
    };
    let mut stdout = std::io::stdout();
    let said = play.run(|| {
        let _ = writeln!(stdout, "started");
        let _ = stdout.flush();
    });
    match said {
        Ok(said) => {
            let _ = writeln!(std::io::stdout(), "{}", said.json());
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("codeswarm-swarm-simulator: {error}");
            ExitCode::FAILURE
        }
    }
}
