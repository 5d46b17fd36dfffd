//! `codeswarm-router`: the router alone. Workers are started from the `codeswarm-worker` beside it.

use std::process::ExitCode;

use clap::Parser;

/// The router of Codeswarm.
#[derive(Parser)]
#[command(name = "codeswarm-router", version)]
struct Program {
    #[command(flatten)]
    args: codeswarm_router::command::Args,
}

fn main() -> ExitCode {
    let program = Program::parse();
    let worker = std::env::current_exe()
        .map(|exe| exe.with_file_name("codeswarm-worker"))
        .unwrap_or_default();
    codeswarm_router::command::run(&program.args, vec![worker.into_os_string()])
}
