//! The operator's command: says to the router what a person wants, and shows what the router tells.
//!
//! It knows the client protocol, the terminal and the user, and carries `router`, `worker`, `follower` and `doctor` as subcommands, so
//! that one file is a whole installation. It must never look into a mailbox or a state file, nor ask Slurm: the router does, and for `doctor` a room of its own.
//!
//! What is decided ([`follow`], [`render`], [`tables`]) does no I/O; around it are the connection, the terminal and signals.

pub mod args;
mod commands;
mod completions;
mod configuration;
pub mod follow;
mod openclaw;
mod output;
mod part;
mod progress;
mod prompt;
pub mod render;
mod screen;
mod session;
mod signals;
pub mod tables;

use std::process::ExitCode;

use clap::Parser;
use codeswarm_client::{background, connection, event, exit, failure, plain, rejection, request};

use args::{Cli, Client, Command, Options};
use exit::Exit;
use failure::Failure;

/// The whole program: reads the command line, does what it says, and tells how it ended.
pub fn run() -> ExitCode {
    let cli = Cli::parse();
    match cli.command {
        Command::Client(command) => {
            let json = cli.options.json || command.options().json;
            told(client(command, cli.options), json)
        }
        Command::Doctor(args) => {
            let options = args.options.clone().over(cli.options);
            let json = options.json;
            told(doctor(args, options), json)
        }
        Command::Events(args) => {
            let options = args.options.clone().over(cli.options);
            let json = options.json;
            told(events(args, options), json)
        }
        Command::Openclaw(args) => {
            let json = openclaw::is_json(&args, &cli.options);
            told(for_openclaw(args, cli.options), json)
        }
        Command::Mcp(args) => told(serve_models(args.options.over(cli.options)), false),
        Command::Completions(args) => told(completions::print(args.shell), false),
        Command::Router(args) => part::router(args, cli.options),
        Command::Worker(args) => codeswarm_worker::command::run(&args),
        Command::Follower(args) => codeswarm_follower::command::run(args),
        Command::Probe(args) => codeswarm_doctor::probe::run(&args),
    }
}

fn client(command: Client, options: Options) -> Result<Exit, Failure> {
    log_to_stderr();
    runtime()?.block_on(commands::run(command, options))
}

fn doctor(args: args::Doctor, options: Options) -> Result<Exit, Failure> {
    log_to_stderr();
    let runtime = runtime()?;
    let ended = runtime.block_on(commands::doctor::run(args, options));
    // A thread that hangs in a filesystem that does not answer must not keep the process.
    runtime.shutdown_background();
    ended
}

fn events(args: args::Events, options: Options) -> Result<Exit, Failure> {
    log_to_stderr();
    let runtime = runtime()?;
    let ended = runtime.block_on(commands::events::run(args, options));
    // A thread that writes to a reader that does not read must not keep the process.
    runtime.shutdown_background();
    ended
}

fn for_openclaw(args: args::openclaw::OpenClaw, options: Options) -> Result<Exit, Failure> {
    log_to_stderr();
    runtime()?.block_on(openclaw::run(args, options))
}

fn serve_models(options: Options) -> Result<Exit, Failure> {
    log_to_stderr();
    let runtime = runtime()?;
    let ended = runtime.block_on(commands::mcp::run(options));
    // A thread that waits for standard input must not keep the process.
    runtime.shutdown_background();
    ended
}

fn log_to_stderr() {
    // What should not happen and harms nothing, such as a line of the router that is no event; `RUST_LOG` asks for more.
    let filter = tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| "warn".into());
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .try_init();
}

fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(|error| Failure::new(Exit::Internal, format!("the system gives no event queue: {error}"), ""))
}

fn told(ended: Result<Exit, Failure>, json: bool) -> ExitCode {
    match ended {
        Ok(exit) => exit.into(),
        Err(failure) => {
            report(&failure, json);
            failure.exit.into()
        }
    }
}

fn report(failure: &Failure, json: bool) {
    if failure.what.is_empty() && failure.advice.is_empty() {
        return;
    }
    if json {
        output::say(&failure.to_json());
    } else if failure.what.is_empty() {
        output::say(&failure.advice);
    } else {
        output::say(&format!("codeswarm: {failure}"));
    }
}
