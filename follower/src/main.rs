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
        .with_writer(std::io::stderr)
        .with_env_filter(EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("warn")))
        .init();
    run(CommandLine::parse().args)
}
