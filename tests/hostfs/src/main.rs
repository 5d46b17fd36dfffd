//! `codeswarm-hostfs`: mounts one folder several times, each mount a client with caches of its own. The library says how
//! it behaves.

use std::process::ExitCode;

#[cfg(target_os = "linux")]
mod program;

#[cfg(target_os = "linux")]
fn main() -> ExitCode {
    program::main()
}

#[cfg(not(target_os = "linux"))]
fn main() -> ExitCode {
    eprintln!("codeswarm-hostfs is for Linux");
    ExitCode::FAILURE
}
