//! A worker's standard error on its way through the keeper: passed on as it comes, its end kept.

use std::fs::File;
use std::io::{Read, Write};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use codeswarm_agents::StderrTail;
use tokio::process::ChildStderr;
use tokio::task::JoinHandle;

/// How many lines are told, and how many characters of them.
const LINES: usize = 5;
const CHARACTERS: usize = 2000;

/// What marks an error in a worker's log.
const ERROR: &str = " ERROR ";

/// How long the rest is waited for once the worker has ended; somebody else may hold its pipe.
const REST: Duration = Duration::from_millis(500);

/// The copying of one worker's standard error.
#[derive(Debug)]
pub struct LastWords {
    tail: Arc<Mutex<StderrTail>>,
    copying: Option<JoinHandle<()>>,
}

impl LastWords {
    /// Copies to our own standard error until the pipe ends. A thread does it, since a file of the job's may make it wait,
    /// and signals must be heard meanwhile. Needs a Tokio runtime.
    pub fn hear(pipe: ChildStderr) -> Self {
        let tail = Arc::<Mutex<StderrTail>>::default();
        let copying = pipe.into_owned_fd().ok().map(|pipe| {
            let tail = Arc::clone(&tail);
            tokio::task::spawn_blocking(move || copy(File::from(pipe), &tail))
        });
        Self { tail, copying }
    }

    /// Waits for the rest and answers with the last lines as one.
    pub async fn end(self) -> Option<String> {
        if let Some(copying) = self.copying {
            let _ = tokio::time::timeout(REST, copying).await;
        }
        let text = self.tail.lock().unwrap_or_else(PoisonError::into_inner).text()?;
        Some(last_lines(&text))
    }
}

fn copy(mut pipe: File, tail: &Mutex<StderrTail>) {
    let mut buffer = vec![0; 4 << 10];
    loop {
        match pipe.read(&mut buffer) {
            Ok(0) => return,
            Ok(length) => {
                tail.lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .push(&buffer[..length]);
                // A full disk must not make the worker wait for us.
                let _ = std::io::stderr().write_all(&buffer[..length]);
            }
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(_) => return,
        }
    }
}

fn last_lines(text: &str) -> String {
    let mut lines: Vec<&str> = text
        .lines()
        .rev()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .take(LINES)
        .collect();
    lines.reverse();
    // What a worker's log says at its last error matters most; its notes before that only explain themselves.
    let error = lines.iter().rposition(|line| line.contains(ERROR)).unwrap_or(0);
    let joined = lines[error..]
        .iter()
        .map(|line| without_prefix(line))
        .collect::<Vec<_>>()
        .join(" | ");
    let skipped = joined.chars().count().saturating_sub(CHARACTERS);
    joined.chars().skip(skipped).collect()
}

/// An error's line of a worker's log without time, level and module.
fn without_prefix(line: &str) -> &str {
    line.split_once(ERROR)
        .and_then(|(_, rest)| rest.split_once(": "))
        .map_or(line, |(_, text)| text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_lines_are_one_and_bounded() {
        assert_eq!(last_lines("a\n\nb\n c \nd\ne\nf\n"), "b | c | d | e | f");
        let log = "T  WARN a::b: slow\nT ERROR a::b: it: broke\nand so on\n";
        assert_eq!(last_lines(log), "it: broke | and so on");
        let long = last_lines(&format!("{}µ", "x".repeat(10_000)));
        assert_eq!(long.chars().count(), CHARACTERS);
        assert!(long.ends_with('µ'));
    }
}
