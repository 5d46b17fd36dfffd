//! The plain lines of all `*.jsonl` files in a folder as they grow: a better `tail -F`, for people and scripts.
//!
//! Whole lines only, so lines of different files never mix; files that appear later too; a file that is truncated or
//! replaced is printed from its start again, the old one's rest before it. A turn of a file is about [`WINDOW`] bytes,
//! found by its last newline and moved in one piece, so no line costs work of its own.
//!
//! This knows files and newlines, and nothing of mailboxes: a file that is renamed out of the folder while it is not
//! open is not followed there.

mod printer;
mod seen;
mod sink;
mod source;
#[cfg(test)]
mod tests;

use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;

use codeswarm_mailbox::WatchMode;

pub use sink::write_all;

/// About how many bytes of one file are printed before it is another one's turn.
const WINDOW: u64 = 1024 * 1024;

/// What is printed, and how.
#[derive(Debug, Clone)]
pub struct PlainLines {
    /// Whose `*.jsonl` files.
    pub folder: PathBuf,
    /// How it is learned that they grew.
    pub watch: WatchMode,
    /// Only what comes, not what is there already.
    pub from_end: bool,
    /// What is there, and no more.
    pub once: bool,
    /// How often a second, at most, a file is looked at that then has nothing new, while polling.
    pub lookups_per_second: u32,
}

/// Why lines are no longer printed.
#[derive(Debug, thiserror::Error)]
pub enum LinesError {
    /// The folder cannot be listed, or is gone.
    #[error("the folder {} cannot be read: {source}", folder.display())]
    Folder {
        /// Which.
        folder: PathBuf,
        /// The system's word.
        source: io::Error,
    },
    /// Changes of the folder cannot be watched.
    #[error("the folder {} cannot be watched: {source}; try --watch poll", folder.display())]
    Watch {
        /// Which.
        folder: PathBuf,
        /// The system's word.
        source: io::Error,
    },
    /// The output cannot be written.
    #[error("the output cannot be written: {0}")]
    Output(#[source] io::Error),
}

/// Prints until nobody reads the output any more (or, with `once`, until everything is printed). Blocks.
///
/// # Errors
/// The folder or the output fails. A file that cannot be read is reported in the log and tried again.
pub fn print(lines: PlainLines, out: OwnedFd) -> Result<(), LinesError> {
    match printer::Printer::new(lines, out)?.run() {
        Err(LinesError::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        ended => ended,
    }
}
