//! One burst of lines to the reader, with the cursor before and after it.

use codeswarm_client::failure::Failure;

use crate::cursor::{Cursor, Taken};
use crate::following::Line;
use crate::keeper::Keeper;
use crate::start::LeftOut;

/// Where lines go.
pub trait Output: Send {
    /// Writes all of it.
    ///
    /// # Errors
    /// Not all was written.
    fn write(&mut self, bytes: &[u8]) -> Result<(), Unwritten>;

    /// Whether nobody can read any more what is written.
    fn reader_is_gone(&self) -> bool;
}

/// A write that failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unwritten {
    /// So many bytes were written.
    pub written: usize,
    /// Why not the rest.
    pub failure: Failure,
}

/// Lines that are told together.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Burst {
    /// In order.
    pub lines: Vec<Line>,
    /// How far the consumer is when they are told, with what nobody asked for.
    pub taken: Taken,
    /// What stays left out because of where it began.
    pub left_out: Option<LeftOut>,
}

/// Where a cursor is kept.
pub trait Keep: Send {
    /// Keeps it, durably.
    ///
    /// # Errors
    /// It is not kept.
    fn keep(&mut self, cursor: &Cursor) -> Result<(), Failure>;
}

impl Keep for Keeper {
    fn keep(&mut self, cursor: &Cursor) -> Result<(), Failure> {
        Keeper::keep(self, cursor)
    }
}

/// Tells one consumer.
pub struct Teller {
    cursor: Cursor,
    /// As it is in the file.
    kept: Option<Cursor>,
    keep: Option<Box<dyn Keep>>,
    output: Box<dyn Output>,
}

impl Teller {
    /// Goes on from `cursor`. Without `keep` nothing outlives the process.
    pub fn new(cursor: Cursor, keep: Option<Box<dyn Keep>>, output: Box<dyn Output>) -> Self {
        Self {
            cursor,
            kept: None,
            keep,
            output,
        }
    }

    /// Writes lines. Before that the cursor says that they are in doubt, and after it that they were told.
    ///
    /// # Errors
    /// The cursor cannot be kept, or the lines cannot be written; then the cursor is at what was written.
    pub fn tell(&mut self, burst: Burst) -> Result<(), Failure> {
        if !burst.lines.is_empty() {
            self.write(&burst.lines)?;
        }
        self.cursor.was_told_all(&burst.taken);
        self.cursor.left_out = burst.left_out;
        self.keep()
    }

    fn write(&mut self, lines: &[Line]) -> Result<(), Failure> {
        let in_doubt_before = self.cursor.in_doubt.clone();
        self.cursor.intend(lines.iter().map(|line| &line.mark));
        self.keep()?;
        let text: Vec<u8> = lines.iter().flat_map(|line| &line.text).copied().collect();
        let (written, ended) = match self.output.write(&text) {
            Ok(()) => (text.len(), Ok(())),
            Err(Unwritten { written, failure }) => {
                // What certainly was not written is not in doubt.
                self.cursor.in_doubt = in_doubt_before;
                (written, Err(failure))
            }
        };
        let mut end = 0;
        for line in lines {
            end += line.text.len();
            if end <= written {
                self.cursor.was_told(&line.mark);
            }
        }
        if ended.is_err() {
            self.keep()?;
        }
        ended
    }

    /// Whether nobody reads any more.
    pub fn reader_is_gone(&self) -> bool {
        self.output.reader_is_gone()
    }

    fn keep(&mut self) -> Result<(), Failure> {
        let Some(keep) = &mut self.keep else { return Ok(()) };
        if self.kept.as_ref() != Some(&self.cursor) {
            keep.keep(&self.cursor)?;
            self.kept = Some(self.cursor.clone());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
