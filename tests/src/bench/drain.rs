//! How fast a program writes what it is to write, into a reader that does nothing with it.

use std::io::Read;
use std::process::{Command, Stdio};
use std::time::Instant;

use super::usage::{Killed, Usage};

/// What one run took.
#[derive(Debug, Clone, Copy)]
pub struct Drained {
    /// From the program's start to the last byte, in seconds.
    pub seconds: f64,
    /// Time on a processor of the program alone, in seconds.
    pub processor: f64,
}

/// Runs a command until so many bytes have come on its standard output, and then kills it: followers never end.
#[track_caller]
pub fn drain(command: &mut Command, bytes: u64) -> Drained {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit());
    let began = Instant::now();
    let mut child = Killed::spawn(command);
    let Some(mut stdout) = child.0.stdout.take() else {
        panic!("{command:?} has no standard output");
    };
    let mut piece = vec![0; 1 << 20];
    let mut left = bytes;
    while left > 0 {
        match stdout.read(&mut piece) {
            Ok(0) => panic!("{command:?} ended {left} bytes short of {bytes}"),
            Ok(length) => left = left.saturating_sub(length as u64),
            Err(error) => panic!("{command:?}: {error}"),
        }
    }
    let seconds = began.elapsed().as_secs_f64();
    Drained {
        seconds,
        processor: Usage::of(child.0.id()).processor,
    }
}
