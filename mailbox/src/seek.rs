//! The first record after a `seq`, found without reading the whole file.

use std::io;

use codeswarm_protocol::Seq;
use codeswarm_protocol::record::RecordHead;

use crate::storage::ReadFile;

/// Below this many bytes it is read through instead of halved further.
const BLOCK: u64 = 64 * 1024;

/// The offset of the first record in `file[..len]` whose `seq` is higher than `seq`, or `len` if there is none.
///
/// `seq` grows along the file; lines that are no records (torn, or an earlier system's) are passed over wherever they are.
pub fn find_after_seq(file: &dyn ReadFile, len: u64, seq: Seq) -> io::Result<u64> {
    // Every record that starts before `low` is at most `seq`; every one that starts at or after `high` is higher. A record
    // across `high` may take `low` beyond it.
    let (mut low, mut high) = (0_u64, len);
    while high.saturating_sub(low) > BLOCK {
        let middle = low + (high - low) / 2;
        let mut lines = Lines::behind(file, middle - 1, len)?;
        match lines.next_record(high)? {
            Some(found) if found.seq <= seq => low = found.end,
            _ => high = middle,
        }
    }
    let mut lines = Lines::at(file, low, len);
    while let Some(found) = lines.next_record(len)? {
        if found.seq > seq {
            return Ok(found.start);
        }
    }
    Ok(len)
}

struct Found {
    start: u64,
    end: u64,
    seq: Seq,
}

/// Reads lines forward from a place, with one buffer.
struct Lines<'file> {
    file: &'file dyn ReadFile,
    buffer: Vec<u8>,
    /// The part of the buffer that was passed.
    passed: usize,
    /// Where the rest of it begins in the file.
    start: u64,
    len: u64,
}

impl<'file> Lines<'file> {
    fn at(file: &'file dyn ReadFile, start: u64, len: u64) -> Self {
        Self {
            file,
            buffer: Vec::new(),
            passed: 0,
            start,
            len,
        }
    }

    /// Begins behind the line that has the byte at `place`.
    fn behind(file: &'file dyn ReadFile, place: u64, len: u64) -> io::Result<Self> {
        let mut lines = Self::at(file, place, len);
        let rest = lines.line_length()?.unwrap_or(lines.buffer.len());
        lines.pass(rest);
        Ok(lines)
    }

    /// The first record that starts before `limit`.
    fn next_record(&mut self, limit: u64) -> io::Result<Option<Found>> {
        while self.start < limit {
            let Some(length) = self.line_length()? else {
                return Ok(None);
            };
            let line = &self.buffer[self.passed..self.passed + length];
            let seq = RecordHead::parse(line).map(|head| head.seq);
            let start = self.start;
            self.pass(length);
            if let Ok(seq) = seq {
                return Ok(Some(Found {
                    start,
                    end: self.start,
                    seq,
                }));
            }
        }
        Ok(None)
    }

    fn pass(&mut self, bytes: usize) {
        self.passed += bytes;
        self.start += bytes as u64;
    }

    /// The length of the next line with its newline, reading on until it is whole; none if its end is not there.
    fn line_length(&mut self) -> io::Result<Option<usize>> {
        let mut searched = self.passed;
        loop {
            if let Some(at) = memchr::memchr(b'\n', &self.buffer[searched..]) {
                return Ok(Some(searched + at + 1 - self.passed));
            }
            self.buffer.drain(..std::mem::take(&mut self.passed));
            searched = self.buffer.len();
            let place = self.start + searched as u64;
            let wanted = usize::try_from(self.len.saturating_sub(place).min(BLOCK)).unwrap_or(0);
            self.file.read(&mut self.buffer, place, wanted)?;
            if self.buffer.len() == searched {
                return Ok(None);
            }
        }
    }
}
