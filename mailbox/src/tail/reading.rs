//! What a tail does with an open file: read, tell records from garbage, wait for what cannot be right yet, skip.

use std::io;
use std::path::Path;
use std::time::Instant;

use bytes::{Buf, Bytes};

use super::{Doubt, Found, REMEMBERED, Tail, TailError, TailStep};
use crate::lines::{self, Front};
use crate::range::{find_newline, read_range};
use crate::storage::ReadFile;

impl Tail {
    /// Reads what is new and takes its front.
    pub(super) fn read(&mut self, max_bytes: usize, now: Instant) -> Result<TailStep, TailError> {
        let path = self.path();
        let Some(file) = self.file.take() else {
            return Ok(TailStep::Nothing);
        };
        let line = self.size - self.offset;
        let mut wanted = line.min(max_bytes as u64);
        // A long line that is still coming: only its new part is searched.
        let is_coming = self.searched - self.offset > max_bytes as u64;
        // What was read last is read again with what is new, in one call.
        let known = self.known_before();
        let first = known + if is_coming { 1 } else { wanted };
        let bytes = read_range(&*file, self.offset - known, first).map_err(self.later("read", &path))?;
        let mut bytes = Bytes::from(bytes);
        if !self.is_same(&bytes) {
            return Ok(self.begin_again(Doubt::Other, now));
        }
        self.settle(&[Doubt::Short, Doubt::Other]);
        bytes.advance(usize::try_from(known).unwrap_or(usize::MAX).min(bytes.len()));
        if is_coming {
            if self.doubt.is_none() {
                let newline = find_newline(&*file, self.searched, self.size).map_err(self.later("read", &path))?;
                self.searched = newline.unwrap_or(self.size);
                if newline.is_none() {
                    return self.no_whole_line(now);
                }
            }
            let again = read_range(&*file, self.offset, wanted);
            bytes = again.map_err(self.later("read", &path))?.into();
        }
        let max_line = self.max_line as u64;
        loop {
            let short = (bytes.len() as u64) < wanted;
            match lines::front(&bytes) {
                Front::Partial { .. } if !short && wanted < line && wanted < max_line => {
                    wanted = line.min(wanted * 4).min(max_line);
                    bytes = read_range(&*file, self.offset, wanted)
                        .map_err(self.later("read", &path))?
                        .into();
                }
                Front::Partial { .. } if !short && wanted >= max_line => {
                    return self.too_long(&*file, &path, &bytes, now);
                }
                Front::Partial { nul } => {
                    self.searched = self.offset + bytes.len() as u64;
                    if nul {
                        self.searched = self.offset;
                        self.start_doubt(Doubt::Gap, now);
                    } else {
                        self.settle(&[Doubt::Gap]);
                    }
                    return self.no_whole_line(now);
                }
                front => {
                    self.ready = bytes;
                    let step = self.pass_on(front, now)?;
                    if self.doubt.is_none() && self.searched < self.size {
                        self.file = Some(file);
                    }
                    return Ok(step);
                }
            }
        }
    }

    /// Returns the front of what was read.
    pub(super) fn pass_on(&mut self, front: Front, now: Instant) -> Result<TailStep, TailError> {
        let offset = self.offset;
        match front {
            Front::Records(length) => {
                let data = self.ready.split_to(length);
                self.advance(&data);
                self.drop_partial();
                Ok(TailStep::Lines { offset, data })
            }
            Front::Garbage(length) => Ok(self.skip(length)),
            Front::Gap { length, after } => {
                if !self.patience_is_over(Doubt::Gap, now) {
                    self.ready = Bytes::new();
                    self.file = None;
                    return self.still_waiting(now);
                }
                // Behind the NULs a whole record may stand; the end of a torn one never parses.
                let rest = &self.ready[after..length - 1];
                let whole =
                    lines::looks_like_record(rest) && serde_json::from_slice::<serde::de::IgnoredAny>(rest).is_ok();
                Ok(self.skip(if whole { after } else { length }))
            }
            Front::Partial { .. } => {
                self.ready = Bytes::new();
                Ok(TailStep::Nothing)
            }
        }
    }

    /// A page that has not come is nothing to speak of, unless it takes long.
    fn still_waiting(&self, now: Instant) -> Result<TailStep, TailError> {
        let since = self.doubt.map_or(now, |(_, since)| since);
        if now.saturating_duration_since(since) < self.patience {
            return Ok(TailStep::Nothing);
        }
        let why = format!(
            "zeros stand there and records behind them: the machine that wrote them has not handed over everything yet (is it \
             cut off from the server?); the zeros are passed over after {} s",
            self.late_page_patience.as_secs()
        );
        Err(self.later("read", &self.path())(io::Error::other(why)))
    }

    fn skip(&mut self, length: usize) -> TailStep {
        let offset = self.offset;
        let garbage = self.ready.split_to(length);
        self.advance(&garbage);
        self.drop_partial();
        TailStep::Skipped {
            offset,
            length: length as u64,
            head: lines::head(&garbage),
        }
    }

    /// What remains of a read without a whole line is read again when it is whole.
    fn drop_partial(&mut self) {
        if let Front::Partial { nul } = lines::front(&self.ready) {
            if !nul {
                self.searched = self.offset + self.ready.len() as u64;
            }
            self.ready = Bytes::new();
        }
    }

    fn advance(&mut self, consumed: &[u8]) {
        self.offset += consumed.len() as u64;
        self.searched = self.offset;
        self.ended = false;
        self.doubt = None;
        if consumed.len() < REMEMBERED {
            self.before.extend_from_slice(consumed);
            let surplus = self.before.len().saturating_sub(REMEMBERED);
            self.before.drain(..surplus);
        } else {
            self.before.clear();
            self.before.extend_from_slice(&consumed[consumed.len() - REMEMBERED..]);
        }
    }

    /// Nothing but the beginning of a line is there. In the archive that line will never end.
    pub(super) fn no_whole_line(&mut self, now: Instant) -> Result<TailStep, TailError> {
        let doubt = match self.doubt {
            Some((Doubt::Gap, _)) => Doubt::Gap,
            _ => Doubt::Torn,
        };
        if !self.patience_is_over(doubt, now) {
            return Ok(TailStep::Nothing);
        }
        if !self.is_in(Found::Archive) {
            // Now and then it is read anew, should it have been cut and grown to the same size.
            self.searched = self.offset;
            self.doubt = None;
            self.size = self.offset;
            return Ok(TailStep::Nothing);
        }
        let path = self.path();
        let file = self
            .mailbox
            .storage()
            .open_to_read(&path)
            .map_err(|error| self.of_mailbox(error))?;
        let length = (self.size - self.offset).min(REMEMBERED as u64);
        let start = read_range(&*file, self.offset, length).map_err(self.later("read", &path))?;
        self.skip_to(&*file, &path, self.size, &start)
    }

    /// A line longer than [`MAX_LINE`]: it is passed over as soon as its end is there.
    fn too_long(
        &mut self,
        file: &dyn ReadFile,
        path: &Path,
        start: &[u8],
        now: Instant,
    ) -> Result<TailStep, TailError> {
        let from = self.searched.max(self.offset + start.len() as u64);
        let newline = find_newline(file, from, self.size).map_err(self.later("read", path))?;
        match newline {
            Some(newline) => self.skip_to(file, path, newline + 1, start),
            None => {
                self.searched = self.size;
                self.no_whole_line(now)
            }
        }
    }

    /// Passes over everything up to `end`, which is more than is kept in memory.
    fn skip_to(&mut self, file: &dyn ReadFile, path: &Path, end: u64, start: &[u8]) -> Result<TailStep, TailError> {
        let offset = self.offset;
        let from = end.saturating_sub(REMEMBERED as u64).max(offset);
        let last = read_range(file, from, end - from).map_err(self.later("read", path))?;
        self.advance(&last);
        self.offset = end;
        self.searched = end;
        Ok(TailStep::Skipped {
            offset,
            length: end - offset,
            head: lines::head(start),
        })
    }

    /// How many bytes before the present offset tell whether this is still the file that was read.
    fn known_before(&self) -> u64 {
        (self.before.len() as u64).max(1).min(self.offset)
    }

    /// Whether these bytes, from [`Self::known_before`] on, begin with what was read last.
    fn is_same(&self, there: &[u8]) -> bool {
        if self.offset == 0 {
            return true;
        }
        if self.before.is_empty() {
            // One byte more tells, for a cursor that remembers nothing, whether it stands at the end of a torn line.
            return there.iter().take(2).any(|byte| *byte == b'\n');
        }
        there.starts_with(&self.before)
    }

    /// After patience, begins again at the start.
    pub(super) fn begin_again(&mut self, doubt: Doubt, now: Instant) -> TailStep {
        if !self.patience_is_over(doubt, now) {
            return TailStep::Nothing;
        }
        let was = std::mem::take(&mut self.offset);
        (self.searched, self.size) = (0, 0);
        self.before.clear();
        self.doubt = None;
        self.ended = false;
        TailStep::Shrunk { offset: 0, was }
    }

    fn start_doubt(&mut self, doubt: Doubt, now: Instant) {
        if self.doubt.is_none_or(|(known, _)| known != doubt) {
            self.doubt = Some((doubt, now));
        }
    }

    fn patience_is_over(&mut self, doubt: Doubt, now: Instant) -> bool {
        self.start_doubt(doubt, now);
        let late_page = doubt == Doubt::Gap && self.fresh && !self.is_in(Found::Archive);
        let patience = if late_page {
            self.late_page_patience
        } else {
            self.patience
        };
        self.doubt
            .is_some_and(|(_, since)| now.saturating_duration_since(since) >= patience)
    }

    fn settle(&mut self, settled: &[Doubt]) {
        if self.doubt.is_some_and(|(doubt, _)| settled.contains(&doubt)) {
            self.doubt = None;
        }
    }
}
