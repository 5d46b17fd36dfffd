//! `codeswarm-follower`: the follower alone, for where the whole of `codeswarm` is not wanted.

use std::process::ExitCode;

use clap::Parser;
use codeswarm_follower::command::{Args, run};
use tracing_subscriber::EnvFilter;

#[derive(Parser)]
#[command(name = "codeswarm-follower", version, about)]
struct CommandLine {
    #[command(flatten)]
    args: Args,
}

fn main() -> ExitCode {
    tracing_subscriber::fmt()
        // A log on a full disk must not end the process: it would be complained about with `eprintln!`, which panics.
        .log_internal_errors(false)
        .with_writer(std::io::stderr)
        .with_env_filter(EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("warn")))
        .init();
    run(CommandLine::parse().args)
}
