//! One growing file by its name, and how far it has been printed.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::seen::{Seen, open};
use super::sink::{CopyError, Sink};

/// How long NUL bytes are taken for data that has not arrived yet; after that they are printed like any others.
const PATIENCE: Duration = Duration::from_secs(30);

/// Bytes read at once while looking for a newline.
const SEARCH: usize = 16 * 1024;

/// What one turn of a file came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// Something was printed or has changed, and there may be more.
    More,
    /// No further whole line is there.
    Nothing,
    /// The name is gone, and the rest of its file was printed if it was still open.
    Gone,
}

/// What a turn may do.
#[derive(Debug, Clone, Copy)]
pub struct Manner {
    /// About how many bytes it may print; one whole line at least.
    pub window: u64,
    /// A size may run ahead of its data, which reads as NUL until it comes: so on a network filesystem.
    pub doubts_nuls: bool,
    /// The moment.
    pub now: Instant,
}

/// A file, followed over truncation and over replacement by another one of its name.
pub struct Source {
    path: PathBuf,
    /// Which file the name stood for when last looked at, and its size then.
    seen: Option<Seen>,
    open: Option<File>,
    /// Bytes of it that were printed, whole lines only.
    position: u64,
    /// No newline follows `position` before this byte. Beyond any size: nothing is known, look first.
    searched: u64,
    /// NUL bytes at `position` are waited for, since then.
    waits_since: Option<Instant>,
}

impl Source {
    /// The file of this name from its first byte.
    pub fn from_start(path: PathBuf) -> Self {
        Self {
            path,
            seen: None,
            open: None,
            position: 0,
            searched: 0,
            waits_since: None,
        }
    }

    /// The file of this name from its first line that is not whole yet.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn from_end(path: PathBuf) -> io::Result<Self> {
        let mut source = Self::from_start(path);
        if let Some((file, seen)) = open(&source.path)? {
            source.position = last_line_end(&file, 0, seen.size)?.unwrap_or(0);
            source.searched = seen.size;
            source.seen = Some(seen);
            source.open = Some(file);
        }
        Ok(source)
    }

    /// The file's name.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether a descriptor is held.
    pub fn is_open(&self) -> bool {
        self.open.is_some()
    }

    /// Gives the descriptor back; the next turn with news opens the name again. What is then renamed or replaced
    /// between two turns is not read to its end.
    pub fn close(&mut self) {
        self.open = None;
    }

    /// Prints the next whole lines.
    ///
    /// # Errors
    /// About the file: the next turn tries again.
    pub fn turn(&mut self, manner: Manner, sink: &mut Sink) -> Result<Turn, CopyError> {
        let known = self.seen.map_or(0, |seen| seen.size);
        let must_look = self.searched.max(self.position) >= known || self.waits_since.is_some();
        if must_look && let Some(turn) = self.look(manner, sink)? {
            return Ok(turn);
        }
        let file = match self.open.take() {
            Some(file) => file,
            None => match open(&self.path)? {
                Some((file, seen)) if self.is_followed(&seen) => file,
                // Replaced or gone since the look, and what it had cannot be reached any more.
                _ => {
                    self.begin_anew();
                    return Ok(Turn::More);
                }
            },
        };
        let printed = self.print(&file, manner, sink);
        self.open = Some(file);
        match printed {
            // Shorter than it was a moment ago: the next look finds it truncated.
            Err(CopyError::File(error)) if error.kind() == io::ErrorKind::UnexpectedEof => {
                self.searched = u64::MAX;
                Ok(Turn::More)
            }
            // Nothing in what was known; the next look tells what has come since.
            Ok(Turn::Nothing) if !must_look => Ok(Turn::More),
            other => other,
        }
    }

    /// Looks what the name stands for now. `None`: the file that it stood for, as far as known with more in it.
    fn look(&mut self, manner: Manner, sink: &mut Sink) -> Result<Option<Turn>, CopyError> {
        let now = Seen::at(&self.path)?;
        if let (Some(before), true) = (self.seen, now.is_none_or(|now| !self.is_followed(&now))) {
            if let Some(file) = self.open.take() {
                self.drain(&file, before, manner, sink)?;
            }
            self.begin_anew();
            return Ok(Some(if now.is_some() { Turn::More } else { Turn::Gone }));
        }
        let Some(now) = now else {
            return Ok(Some(Turn::Gone));
        };
        if now.size < self.position {
            tracing::warn!(file = %self.path.display(), "truncated; printed from its start again");
            self.begin_anew();
        }
        if now.size < self.searched {
            self.searched = self.position;
        }
        self.seen = Some(now);
        Ok((self.searched.max(self.position) >= now.size && self.waits_since.is_none()).then_some(Turn::Nothing))
    }

    fn is_followed(&self, now: &Seen) -> bool {
        self.seen.is_none_or(|seen| seen.is_same_file(now))
    }

    /// The rest of a file that has lost its name; nobody will end its last line.
    fn drain(&mut self, file: &File, mut last: Seen, manner: Manner, sink: &mut Sink) -> Result<(), CopyError> {
        last.size = file.metadata()?.len();
        self.seen = Some(last);
        while self.print(file, manner, sink)? == Turn::More {}
        if self.position < last.size {
            let bytes = last.size - self.position;
            tracing::warn!(file = %self.path.display(), bytes, "its last line had no end and is not printed");
        }
        Ok(())
    }

    fn begin_anew(&mut self) {
        *self = Self::from_start(std::mem::take(&mut self.path));
    }

    fn print(&mut self, file: &File, manner: Manner, sink: &mut Sink) -> Result<Turn, CopyError> {
        let size = self.seen.map_or(0, |seen| seen.size);
        let from = self.searched.max(self.position);
        let trusted = match manner.doubts_nuls {
            true => self.before_nuls(file, from, size, manner)?,
            false => size,
        };
        let limit = trusted.min(from.saturating_add(manner.window));
        let end = match last_line_end(file, from, limit)? {
            Some(end) => Some(end),
            // A line longer than the window.
            None => first_line_end(file, limit.max(from), trusted)?,
        };
        let Some(end) = end else {
            self.searched = trusted;
            let all_searched = trusted >= size || self.waits_since.is_some();
            return Ok(if all_searched { Turn::Nothing } else { Turn::More });
        };
        sink.copy(file, self.position, end - self.position)?;
        self.position = end;
        self.searched = end;
        Ok(Turn::More)
    }

    /// The end of what can be taken for data, within a window: where NULs begin, if there are any.
    fn before_nuls(&mut self, file: &File, from: u64, size: u64, manner: Manner) -> io::Result<u64> {
        let limit = size.min(from.saturating_add(manner.window));
        let Some(nul) = first_byte(file, 0, from, limit)? else {
            self.waits_since = None;
            return Ok(limit);
        };
        let since = *self.waits_since.get_or_insert(manner.now);
        if manner.now.duration_since(since) < PATIENCE {
            return Ok(nul);
        }
        Ok(limit)
    }
}

/// Where the last whole line between these bytes ends.
fn last_line_end(file: &File, from: u64, to: u64) -> io::Result<Option<u64>> {
    let mut block = [0; SEARCH];
    let mut end = to;
    while end > from {
        let start = end.saturating_sub(SEARCH as u64).max(from);
        let bytes = read_block(file, start, end, &mut block)?;
        if let Some(at) = memchr::memrchr(b'\n', bytes) {
            return Ok(Some(start + at as u64 + 1));
        }
        end = start;
    }
    Ok(None)
}

/// Where the first line that ends between these bytes ends.
fn first_line_end(file: &File, from: u64, to: u64) -> io::Result<Option<u64>> {
    Ok(first_byte(file, b'\n', from, to)?.map(|at| at + 1))
}

fn first_byte(file: &File, byte: u8, from: u64, to: u64) -> io::Result<Option<u64>> {
    let mut block = [0; SEARCH];
    let mut start = from;
    while start < to {
        let bytes = read_block(file, start, to, &mut block)?;
        if let Some(at) = memchr::memchr(byte, bytes) {
            return Ok(Some(start + at as u64));
        }
        start += bytes.len() as u64;
    }
    Ok(None)
}

/// Bytes from `start`, as many as there are before `end` and fit.
fn read_block<'b>(file: &File, start: u64, end: u64, block: &'b mut [u8; SEARCH]) -> io::Result<&'b [u8]> {
    let wanted = usize::try_from(end - start).unwrap_or(SEARCH).min(SEARCH);
    let room = block.get_mut(..wanted).unwrap_or_default();
    file.read_exact_at(room, start)?;
    Ok(room)
}
