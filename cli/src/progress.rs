//! One line on a terminal's standard error that says what is waited for, and goes when something happens.

use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use crate::plain::one_line;

/// What happens sooner than this needs no progress.
const SOON: Duration = Duration::from_millis(800);

/// The line.
#[derive(Debug)]
pub struct Progress {
    allowed: bool,
    shown: Option<String>,
}

impl Progress {
    /// `allowed` must be false where standard error is no terminal or nobody wants it.
    pub fn new(allowed: bool) -> Self {
        Self { allowed, shown: None }
    }

    /// For people at a terminal; with JSON on the same terminal the two would mix.
    pub fn suited(quiet: bool, json: bool) -> Self {
        let mixes = json && io::stdout().is_terminal();
        Self::new(io::stderr().is_terminal() && !quiet && !mixes)
    }

    /// Shows `what`, which has been waited for so long.
    pub fn show(&mut self, what: &str, waited: Duration) {
        if !self.allowed || waited < SOON {
            return;
        }
        let line = text(what, waited, columns(&io::stderr()));
        if self.shown.as_ref() != Some(&line) {
            let _ = write!(io::stderr().lock(), "\r\x1b[2K\x1b[2m{line}\x1b[0m");
            self.shown = Some(line);
        }
    }

    /// Makes room for text.
    pub fn clear(&mut self) {
        if self.shown.take().is_some() {
            let _ = write!(io::stderr().lock(), "\r\x1b[2K");
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.clear();
    }
}

/// How wide a terminal is; some do not know it and say 0.
pub fn columns(terminal: &impl std::os::fd::AsFd) -> usize {
    let columns = rustix::termios::tcgetwinsize(terminal).map_or(0, |size| usize::from(size.ws_col));
    if columns == 0 { 80 } else { columns.max(20) }
}

fn text(what: &str, waited: Duration, columns: usize) -> String {
    let seconds = waited.as_secs();
    let waited = match seconds {
        0..=59 => format!("{seconds} s"),
        _ => format!("{}:{:02} min", seconds / 60, seconds % 60),
    };
    one_line(&format!("… {what} ({waited})"), columns - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fits_the_terminal() {
        assert_eq!(
            text("2 of 4 nodes up", Duration::from_secs(12), 80),
            "… 2 of 4 nodes up (12 s)"
        );
        assert_eq!(
            text("2 of 4 nodes up", Duration::from_secs(75), 80),
            "… 2 of 4 nodes up (1:15 min)"
        );
        assert_eq!(text("2 of 4 nodes up", Duration::from_secs(75), 20).chars().count(), 19);
    }
}
