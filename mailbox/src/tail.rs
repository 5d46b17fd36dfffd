//! Reading on in one file that another machine writes: whole lines, each once, in order, into the archive and to the
//! end.
//!
//! One [`Tail::step`] is one look, and where that shows growth, one read. Between steps a tail holds no descriptor, so ten
//! thousand of them fit into any limit. What it stands (DESIGN §3, nfs(5)):
//!
//! - The size is asked afresh and the file is opened anew before growth is read (close-to-open).
//! - A line with NULs in it may be a page that has not come yet: nothing is read past it until it is filled, or until
//!   [`Tail::set_patience`] has passed; then the NULs are skipped and what follows them is looked at for itself.
//! - A torn last line in the archive will never be whole: after the same patience it is skipped, and the file has ended.
//! - The last bytes that were read are compared before more are read. A file that was cut back or replaced is told as
//!   [`TailStep::Shrunk`]: what the reader holds from there on is no longer in the file.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use bytes::Bytes;
use codeswarm_protocol::Place;

use crate::error::MailboxError;
use crate::layout::{Located, Mailbox};
use crate::lines::{self, Front};
use crate::open::{self, How};

/// The longest line that is read; longer ones are skipped.
pub const MAX_LINE: usize = 64 << 20;

/// How long bytes that cannot be right yet may take to come.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// How many of the last bytes read are remembered. The end of a record holds its seq, epoch, time and place.
const REMEMBERED: usize = 64;

/// What one step brought.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TailStep {
    /// Whole lines, each with its newline, that look like records.
    Lines {
        /// Where in the file the first byte stands.
        offset: u64,
        /// The lines.
        data: Bytes,
    },
    /// Bytes that are no record were passed over.
    Skipped {
        /// Where they start.
        offset: u64,
        /// How many.
        length: u64,
        /// The first of them, escaped for reading.
        head: String,
    },
    /// Nothing new, or nothing that can be read yet.
    Nothing,
    /// The file is in the archive and was read to its end. Told once; a later step may find it reopened.
    Ended {
        /// The file's size.
        offset: u64,
    },
    /// A file that had ended is back in `outbox/`; reading goes on where it had ended.
    Reopened,
    /// There is no such file, neither in the outbox nor in the archive.
    Missing,
    /// The file was cut back or replaced: what was read from `offset` on is no longer in it. Reading goes on at `offset`.
    Shrunk {
        /// Where reading goes on: the start of a line.
        offset: u64,
        /// How far it had come.
        was: u64,
    },
}

/// Why a step failed. The tail stays where it was; the next step tries again.
#[derive(Debug, thiserror::Error)]
pub enum TailError {
    /// The filesystem said no; worth another try later (a stale handle, a server that is away).
    #[error("could not {doing} {} at byte {offset}: {source}", path.display())]
    Later {
        /// A verb.
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// How far reading has come.
        offset: u64,
        /// The filesystem's word.
        source: io::Error,
    },
    /// The file cannot be trusted, or may not be read, until somebody changes that.
    #[error(transparent)]
    Refused(MailboxError),
}

/// Where the file was at the last look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Found {
    Inbox,
    Outbox,
    Archive,
}

/// What must be looked at again before it is believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Doubt {
    /// NULs in the line at the present offset.
    Gap,
    /// A torn last line in the archive.
    Torn,
    /// The file is shorter than what was read.
    Short,
    /// Other bytes stand where the last ones were read.
    Other,
}

/// One reader of one mailbox file.
#[derive(Debug)]
pub struct Tail {
    mailbox: Mailbox,
    place: Place,
    inbox: bool,
    fresh: bool,
    patience: Duration,
    /// The start of the next line.
    offset: u64,
    /// The size at the last look.
    size: u64,
    found: Option<Found>,
    ended: bool,
    /// Open only while more is known to be there.
    file: Option<File>,
    /// Whole lines that were read and not yet returned; they begin at `offset`.
    ready: Bytes,
    /// Up to here no newline was found in the line at `offset`.
    searched: u64,
    /// The last bytes before `offset`, as they were read.
    before: Vec<u8>,
    doubt: Option<(Doubt, Instant)>,
}

impl Tail {
    /// Follows a node's outbox from a byte on, into the archive and to its end.
    pub fn outbox(mailbox: &Mailbox, place: Place, offset: u64) -> Self {
        Self::new(mailbox, place, offset, false)
    }

    /// Follows a node's inbox from a byte on.
    pub fn inbox(mailbox: &Mailbox, place: Place, offset: u64) -> Self {
        Self::new(mailbox, place, offset, true)
    }

    fn new(mailbox: &Mailbox, place: Place, offset: u64, inbox: bool) -> Self {
        Self {
            fresh: mailbox.filesystem().is_network(),
            mailbox: mailbox.clone(),
            place,
            inbox,
            patience: PATIENCE,
            offset,
            size: 0,
            found: None,
            ended: false,
            file: None,
            ready: Bytes::new(),
            searched: offset,
            before: Vec::new(),
            doubt: None,
        }
    }

    /// How long bytes that cannot be right yet (NULs, a torn end in the archive, a file that shrank) are waited for.
    pub fn set_patience(&mut self, patience: Duration) {
        self.patience = patience;
    }

    /// Whose file it is.
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// Bytes read: the start of the next line.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Whether the next step is known to bring something, so that it should be taken at once.
    pub fn has_more(&self) -> bool {
        !self.ready.is_empty()
            || self.file.is_some()
            || (self.found == Some(Found::Archive) && !self.ended && self.doubt.is_none())
    }

    /// Whether something must be looked at again before it is believed, although the file may not grow.
    pub fn in_doubt(&self) -> bool {
        self.doubt.is_some()
    }

    /// Whether [`TailStep::Ended`] was told and nothing has come since.
    pub fn is_ended(&self) -> bool {
        self.ended
    }

    /// Looks, and reads at most about `max_bytes` of what is new (one line that is longer is still returned whole).
    pub fn step(&mut self, max_bytes: usize, now: Instant) -> Result<TailStep, TailError> {
        let step = self.try_step(max_bytes.max(1), now);
        if step.is_err() {
            self.file = None;
        }
        step
    }

    fn try_step(&mut self, max_bytes: usize, now: Instant) -> Result<TailStep, TailError> {
        if !self.ready.is_empty() {
            return Ok(self.pass_on(now));
        }
        if self.file.is_none()
            && let Some(step) = self.look(now)?
        {
            return Ok(step);
        }
        self.read(max_bytes, now)
    }

    fn path(&self) -> PathBuf {
        match self.found {
            Some(Found::Inbox) => self.mailbox.inbox(&self.place),
            Some(Found::Archive) => self.mailbox.archive(&self.place),
            Some(Found::Outbox) | None => self.mailbox.outbox(&self.place),
        }
    }

    fn later(&self, doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> TailError {
        let (path, offset) = (path.to_owned(), self.offset);
        move |source| TailError::Later {
            doing,
            path,
            offset,
            source,
        }
    }

    fn of_mailbox(&self, error: MailboxError) -> TailError {
        match error {
            MailboxError::Io { doing, path, source } if source.kind() != io::ErrorKind::PermissionDenied => {
                TailError::Later {
                    doing,
                    path,
                    offset: self.offset,
                    source,
                }
            }
            other => TailError::Refused(other),
        }
    }

    /// Where is the file, and has it grown? `None`: it has, and is open now.
    fn look(&mut self, now: Instant) -> Result<Option<TailStep>, TailError> {
        let Some((found, size)) = self.locate()? else {
            return Ok(Some(TailStep::Missing));
        };
        self.found = Some(found);
        if self.ended && found == Found::Outbox {
            self.ended = false;
            return Ok(Some(TailStep::Reopened));
        }
        if size < self.offset {
            return self.shrunk(size, now).map(Some);
        }
        let grown = size > self.size;
        self.size = size;
        if size == self.offset {
            self.clear_doubt(&[Doubt::Torn, Doubt::Gap, Doubt::Short]);
            let ends = found == Found::Archive && !self.ended;
            self.ended |= ends;
            return Ok(Some(if ends {
                TailStep::Ended { offset: size }
            } else {
                TailStep::Nothing
            }));
        }
        if !grown && self.searched >= size && self.doubt.is_none_or(|(doubt, _)| doubt == Doubt::Torn) {
            return self.no_whole_line(now).map(Some);
        }
        let path = self.path();
        let file = open::open(&path, How::Read).map_err(|error| self.of_mailbox(error))?;
        self.size = file.metadata().map_err(self.later("look at", &path))?.len();
        if self.size <= self.offset {
            // Cut back since the look, or an older answer of the server's; the next look tells.
            self.size = self.offset;
            return Ok(Some(TailStep::Nothing));
        }
        if self.fresh && self.doubt.is_some() {
            drop_cached_pages(&file, self.offset);
        }
        self.file = Some(file);
        Ok(None)
    }

    fn locate(&self) -> Result<Option<(Found, u64)>, TailError> {
        let size = |path: PathBuf| open::size_by_name(&path, self.fresh).map_err(self.later("look at", &path));
        if self.inbox {
            return Ok(size(self.mailbox.inbox(&self.place))?.map(|bytes| (Found::Inbox, bytes)));
        }
        // Known to be in the outbox: one look, unless that answer needs the other name's.
        if self.found == Some(Found::Outbox)
            && let Some(bytes) = size(self.mailbox.outbox(&self.place))?
            && bytes >= self.offset
        {
            return Ok(Some((Found::Outbox, bytes)));
        }
        match self
            .mailbox
            .locate_with_size(&self.place)
            .map_err(|error| self.of_mailbox(error))?
        {
            (Located::Outbox, bytes) => Ok(Some((Found::Outbox, bytes))),
            (Located::Archive, bytes) => Ok(Some((Found::Archive, bytes))),
            (Located::Nowhere, _) => Ok(None),
        }
    }

    /// Reads what is new and takes its front.
    fn read(&mut self, max_bytes: usize, now: Instant) -> Result<TailStep, TailError> {
        let path = self.path();
        let Some(file) = self.file.take() else {
            return Ok(TailStep::Nothing);
        };
        if !self.same_before(&file, &path)? {
            return self.replaced(now);
        }
        self.clear_doubt(&[Doubt::Short, Doubt::Other]);
        let line = self.size - self.offset;
        if self.doubt.is_none() && self.searched > self.offset && self.searched - self.offset > max_bytes as u64 {
            // A long line that is still coming: only its new part is searched.
            let Some(newline) = find_newline(&file, self.searched, self.size).map_err(self.later("read", &path))?
            else {
                self.searched = self.size;
                return self.no_whole_line(now);
            };
            self.searched = newline;
        }
        let mut wanted = line.min(max_bytes as u64);
        loop {
            let bytes = read_range(&file, self.offset, wanted).map_err(self.later("read", &path))?;
            let short = (bytes.len() as u64) < wanted;
            match lines::front(&bytes) {
                Front::Partial { .. } if !short && wanted < line && wanted < MAX_LINE as u64 => {
                    wanted = line.min(wanted * 4).min(MAX_LINE as u64);
                }
                Front::Partial { nul } => {
                    if nul {
                        self.start_doubt(Doubt::Gap, now);
                    }
                    if wanted >= MAX_LINE as u64 && !short {
                        return self.too_long(&file, &path, &bytes, now);
                    }
                    self.searched = if nul {
                        self.offset
                    } else {
                        self.offset + bytes.len() as u64
                    };
                    return self.no_whole_line(now);
                }
                _ => {
                    self.ready = Bytes::from(bytes);
                    let step = self.pass_on(now);
                    let rest = self.ready.len() as u64;
                    if self.doubt.is_none() && self.offset + rest < self.size {
                        self.file = Some(file);
                    }
                    return Ok(step);
                }
            }
        }
    }

    /// Returns the front of what was read.
    fn pass_on(&mut self, now: Instant) -> TailStep {
        let offset = self.offset;
        match lines::front(&self.ready) {
            Front::Records(length) => {
                let data = self.ready.split_to(length);
                self.advance(&data);
                self.drop_partial();
                TailStep::Lines { offset, data }
            }
            Front::Garbage(length) => self.skip(length),
            Front::Gap { length, after } => {
                if !self.patience_is_over(Doubt::Gap, now) {
                    self.ready = Bytes::new();
                    self.file = None;
                    return TailStep::Nothing;
                }
                // Behind the NULs a whole record may stand; the end of a torn one never parses.
                let rest = &self.ready[after..length - 1];
                let whole =
                    lines::looks_like_record(rest) && serde_json::from_slice::<serde::de::IgnoredAny>(rest).is_ok();
                self.doubt = None;
                self.skip(if whole { after } else { length })
            }
            Front::Partial { .. } => {
                self.ready = Bytes::new();
                TailStep::Nothing
            }
        }
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
        if matches!(lines::front(&self.ready), Front::Partial { .. }) {
            self.ready = Bytes::new();
        }
    }

    fn advance(&mut self, consumed: &[u8]) {
        self.offset += consumed.len() as u64;
        self.searched = self.offset;
        self.ended = false;
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
    fn no_whole_line(&mut self, now: Instant) -> Result<TailStep, TailError> {
        if self.found != Some(Found::Archive) || self.size == self.offset {
            return Ok(TailStep::Nothing);
        }
        let doubt = if matches!(self.doubt, Some((Doubt::Gap, _))) {
            Doubt::Gap
        } else {
            Doubt::Torn
        };
        if !self.patience_is_over(doubt, now) {
            return Ok(TailStep::Nothing);
        }
        let path = self.path();
        let file = open::open(&path, How::Read).map_err(|error| self.of_mailbox(error))?;
        let (offset, length) = (self.offset, self.size - self.offset);
        let start = read_range(&file, offset, length.min(REMEMBERED as u64)).map_err(self.later("read", &path))?;
        let tail_from = self.size.saturating_sub(REMEMBERED as u64).max(offset);
        let end = read_range(&file, tail_from, self.size - tail_from).map_err(self.later("read", &path))?;
        self.doubt = None;
        self.advance(&end);
        self.offset = offset + length;
        self.searched = self.offset;
        Ok(TailStep::Skipped {
            offset,
            length,
            head: lines::head(&start),
        })
    }

    /// A line longer than [`MAX_LINE`]: it is passed over as soon as its end is there.
    fn too_long(&mut self, file: &File, path: &Path, start: &[u8], now: Instant) -> Result<TailStep, TailError> {
        let from = self.searched.max(self.offset + start.len() as u64);
        let Some(newline) = find_newline(file, from, self.size).map_err(self.later("read", path))? else {
            self.searched = self.size;
            return self.no_whole_line(now);
        };
        let (offset, length) = (self.offset, newline + 1 - self.offset);
        let tail_from = (newline + 1).saturating_sub(REMEMBERED as u64);
        let end = read_range(file, tail_from, REMEMBERED as u64).map_err(self.later("read", path))?;
        self.doubt = None;
        self.advance(&end);
        self.offset = newline + 1;
        self.searched = self.offset;
        Ok(TailStep::Skipped {
            offset,
            length,
            head: lines::head(start),
        })
    }

    /// Whether what was read last still stands before the present offset.
    fn same_before(&self, file: &File, path: &Path) -> Result<bool, TailError> {
        if self.offset == 0 {
            return Ok(true);
        }
        let from = self.offset - (self.before.len() as u64).max(1).min(self.offset);
        // One byte more tells, for a cursor that remembers nothing, whether it stands at the end of a torn line.
        let there = read_range(file, from, self.offset - from + 1).map_err(self.later("read", path))?;
        if self.before.is_empty() {
            return Ok(there.contains(&b'\n'));
        }
        Ok(there.starts_with(&self.before))
    }

    fn replaced(&mut self, now: Instant) -> Result<TailStep, TailError> {
        if self.patience_is_over(Doubt::Other, now) {
            return Ok(self.go_back(0));
        }
        Ok(TailStep::Nothing)
    }

    fn shrunk(&mut self, size: u64, now: Instant) -> Result<TailStep, TailError> {
        if !self.patience_is_over(Doubt::Short, now) {
            return Ok(TailStep::Nothing);
        }
        let path = self.path();
        let file = open::open(&path, How::Read).map_err(|error| self.of_mailbox(error))?;
        let line = start_of_last_line(&file, size).map_err(self.later("read", &path))?;
        Ok(self.go_back(line))
    }

    fn go_back(&mut self, offset: u64) -> TailStep {
        let was = self.offset;
        self.offset = offset;
        self.searched = offset;
        self.size = offset;
        self.before.clear();
        self.ready = Bytes::new();
        self.doubt = None;
        self.ended = false;
        TailStep::Shrunk { offset, was }
    }

    fn start_doubt(&mut self, doubt: Doubt, now: Instant) {
        if self.doubt.is_none_or(|(known, _)| known != doubt) {
            self.doubt = Some((doubt, now));
        }
    }

    fn patience_is_over(&mut self, doubt: Doubt, now: Instant) -> bool {
        self.start_doubt(doubt, now);
        self.doubt
            .is_some_and(|(_, since)| now.saturating_duration_since(since) >= self.patience)
    }

    fn clear_doubt(&mut self, settled: &[Doubt]) {
        if self.doubt.is_some_and(|(doubt, _)| settled.contains(&doubt)) {
            self.doubt = None;
        }
    }
}

/// Reads `length` bytes from `offset`, fewer only at the end of the file.
fn read_range(file: &File, offset: u64, length: u64) -> io::Result<Vec<u8>> {
    let length = usize::try_from(length).map_err(|_| io::ErrorKind::OutOfMemory)?;
    let mut bytes = Vec::with_capacity(length);
    while bytes.len() < length {
        let place = offset + bytes.len() as u64;
        match rustix::io::pread(file, rustix::buffer::spare_capacity(&mut bytes), place) {
            Ok(0) => break,
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(bytes)
}

/// The place of the first newline in `from..to`.
fn find_newline(file: &File, from: u64, to: u64) -> io::Result<Option<u64>> {
    let mut place = from;
    while place < to {
        let bytes = read_range(file, place, (to - place).min(1 << 20))?;
        if bytes.is_empty() {
            break;
        }
        if let Some(at) = memchr::memchr(b'\n', &bytes) {
            return Ok(Some(place + at as u64));
        }
        place += bytes.len() as u64;
    }
    Ok(None)
}

/// Where the last line of the first `size` bytes starts: after the last newline in them.
fn start_of_last_line(file: &File, size: u64) -> io::Result<u64> {
    let mut end = size;
    while end > 0 {
        let from = end.saturating_sub(64 * 1024);
        let bytes = read_range(file, from, end - from)?;
        if let Some(at) = memchr::memrchr(b'\n', &bytes) {
            return Ok(from + at as u64 + 1);
        }
        end = from;
    }
    Ok(0)
}

/// Asks the kernel to forget its copy, so that the next read asks the server. Only a hint, hence no error.
fn drop_cached_pages(file: &File, from: u64) {
    #[cfg(target_os = "linux")]
    let _ = rustix::fs::fadvise(file, from, None, rustix::fs::Advice::DontNeed);
    #[cfg(not(target_os = "linux"))]
    let _ = (file, from);
}
