//! The parts of the system that this program carries: `router`, and how it starts workers.

use std::ffi::OsString;
use std::process::ExitCode;

use crate::args::Options;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::report;

/// Runs a router whose workers are this program too.
pub fn router(mut args: codeswarm_router::command::Args, before: Options) -> ExitCode {
    args.config = args.config.or(before.config);
    if args.background {
        // Nothing that ends the terminal or the job that started it may end it. A process that leads its group already
        // (as under a shell with job control) cannot, and has what it needs.
        let _ = rustix::process::setsid();
    }
    match worker_command() {
        Ok(worker) => codeswarm_router::command::run(&args, worker),
        Err(failure) => {
            report(&failure, false);
            failure.exit.into()
        }
    }
}

/// How workers are started here; its first word is what goes to a cluster.
pub fn worker_command() -> Result<Vec<OsString>, Failure> {
    let program = std::env::current_exe().map_err(|error| {
        let advice = "start it by its whole path, from a file that still exists";
        Failure::new(
            Exit::Internal,
            format!("this program's own file cannot be found: {error}"),
            advice,
        )
    })?;
    Ok(vec![program.into(), "worker".into()])
}
