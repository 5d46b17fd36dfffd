//! A worker reads its own outbox: what was said in earlier lives is its only memory.

use bytes::Bytes;
use codeswarm_protocol::Place;

use crate::archive::move_by;
use crate::error::MailboxError;
use crate::layout::{Located, Mailbox};
use crate::tail::{Tail, TailError, TailStep};

/// How much is read at once.
const CHUNK: usize = 1 << 20;

/// One whole line of an outbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recovered {
    /// Where it starts, in bytes.
    pub offset: u64,
    /// The line without its newline: something that looks like a JSON object.
    pub line: Bytes,
}

/// All whole lines of an outbox (wherever it is) from the start; garbage and a torn last line are left out. Empty if
/// there is no outbox.
pub fn records(mailbox: &Mailbox, place: &Place) -> Records {
    let mut tail = Tail::outbox(mailbox, place.clone(), 0);
    // The writer is dead and its file was opened after that: what has not come by now never will.
    tail.set_patience(std::time::Duration::ZERO);
    Records {
        tail,
        lines: Bytes::new(),
        offset: 0,
    }
}

/// See [`records`].
#[derive(Debug)]
pub struct Records {
    tail: Tail,
    lines: Bytes,
    offset: u64,
}

impl Iterator for Records {
    type Item = Result<Recovered, TailError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(end) = memchr::memchr(b'\n', &self.lines) {
                let mut line = self.lines.split_to(end + 1);
                line.truncate(end);
                let offset = self.offset;
                self.offset += end as u64 + 1;
                return Some(Ok(Recovered { offset, line }));
            }
            match self.tail.step(CHUNK, std::time::Instant::now()) {
                Ok(TailStep::Lines { offset, data }) => {
                    self.offset = offset;
                    self.lines = data;
                }
                Ok(TailStep::Skipped { .. } | TailStep::Reopened | TailStep::Shrunk { .. }) => {}
                Ok(TailStep::Nothing | TailStep::Ended { .. } | TailStep::Missing) => return None,
                Err(error) => return Some(Err(error)),
            }
        }
    }
}

/// A worker that starts and finds its outbox in the archive (its job was requeued) takes it back, so that `seq` goes on.
/// Returns whether it did.
pub fn reopen_archived(mailbox: &Mailbox, place: &Place) -> Result<bool, MailboxError> {
    let (located, archive, _) = mailbox.locate_file(place)?;
    if located != Located::Archive {
        return Ok(false);
    }
    move_by(mailbox, &archive, &mailbox.outbox(place), |from, to| {
        mailbox.storage().rename(from, to)
    })?;
    Ok(true)
}
