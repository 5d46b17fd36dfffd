//! `codeswarm-worker`: the worker alone, for a cluster that takes one small binary.

use std::process::ExitCode;

use clap::Parser;
use codeswarm_worker::command::{self, Args};

#[derive(Parser)]
#[command(name = "codeswarm-worker", version, about, long_about = None)]
struct Cli {
    #[command(flatten)]
    args: Args,
}

fn main() -> ExitCode {
    command::run(&Cli::parse().args)
}
