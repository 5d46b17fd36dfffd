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
use crate::range::{drop_cached_pages, find_newline, read_range};

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
    /// The file was cut back or replaced, which no writer of ours does: what was read is perhaps no longer in it. It is
    /// read again from its start; whoever knows records by their `seq` drops those that come again.
    Shrunk {
        /// Where reading goes on: 0.
        offset: u64,
        /// How far reading had come.
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
    max_line: usize,
    /// The start of the next line.
    offset: u64,
    /// The size at the last look.
    size: u64,
    found: Option<(Found, PathBuf)>,
    ended: bool,
    /// The last look found a name that was gone when it was opened.
    stumbled: bool,
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
            max_line: MAX_LINE,
            offset,
            size: 0,
            found: None,
            ended: false,
            stumbled: false,
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

    /// Skips lines that are longer than this, instead of [`MAX_LINE`].
    pub fn set_max_line(&mut self, bytes: usize) {
        self.max_line = bytes;
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
            || (self.is_in(Found::Archive) && !self.ended && self.doubt.is_none())
    }

    /// Whether something must be looked at again before it is believed, although the file may not grow.
    pub fn in_doubt(&self) -> bool {
        // A beginning of a line in an outbox is nothing to wonder at: its rest will come, or its writer is dead.
        self.doubt
            .is_some_and(|(doubt, _)| doubt != Doubt::Torn || self.is_in(Found::Archive))
    }

    /// Closes the file between two steps although more of it is to be read, so that many tails can take turns.
    pub fn put_down(&mut self) {
        self.file = None;
    }

    fn is_in(&self, folder: Found) -> bool {
        self.found.as_ref().is_some_and(|(found, _)| *found == folder)
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
            return Ok(self.pass_on(lines::front(&self.ready), now));
        }
        if self.file.is_none()
            && let Some(step) = self.look(now)?
        {
            return Ok(step);
        }
        self.read(max_bytes, now)
    }

    fn path(&self) -> PathBuf {
        match &self.found {
            Some((_, path)) => path.clone(),
            None if self.inbox => self.mailbox.inbox(&self.place),
            None => self.mailbox.outbox(&self.place),
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
        let Some((found, path, size)) = self.locate()? else {
            self.found = None;
            return Ok(Some(TailStep::Missing));
        };
        self.found = Some((found, path.clone()));
        if self.ended && found == Found::Outbox {
            self.ended = false;
            return Ok(Some(TailStep::Reopened));
        }
        if size < self.offset {
            return Ok(Some(self.begin_again(Doubt::Short, now)));
        }
        let grown = size > self.size;
        self.size = size;
        if size < self.searched {
            self.searched = self.offset;
        }
        if size == self.offset {
            self.doubt = None;
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
        let file = match open::open(&path, How::Read) {
            Ok(file) => file,
            // Renamed since the look, or removed and open elsewhere (NFS): the next look asks anew.
            Err(MailboxError::Io { source, .. }) if !self.stumbled && is_gone(&source) => {
                self.stumbled = true;
                self.found = None;
                return Ok(Some(TailStep::Nothing));
            }
            Err(error) => return Err(self.of_mailbox(error)),
        };
        self.stumbled = false;
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

    fn locate(&self) -> Result<Option<(Found, PathBuf, u64)>, TailError> {
        let size = |path: &Path| open::size_by_name(path, self.fresh).map_err(self.later("look at", path));
        if self.inbox {
            let path = self.path();
            return Ok(size(&path)?.map(|bytes| (Found::Inbox, path, bytes)));
        }
        // Known to be in the outbox: one look, unless that answer needs the other name's.
        if let Some((Found::Outbox, path)) = &self.found
            && let Some(bytes) = size(path)?
            && bytes >= self.offset
        {
            return Ok(Some((Found::Outbox, path.clone(), bytes)));
        }
        let located = self
            .mailbox
            .locate_file(&self.place)
            .map_err(|error| self.of_mailbox(error))?;
        Ok(match located {
            (Located::Outbox, path, bytes) => Some((Found::Outbox, path, bytes)),
            (Located::Archive, path, bytes) => Some((Found::Archive, path, bytes)),
            (Located::Nowhere, ..) => None,
        })
    }

    /// Reads what is new and takes its front.
    fn read(&mut self, max_bytes: usize, now: Instant) -> Result<TailStep, TailError> {
        let path = self.path();
        let Some(file) = self.file.take() else {
            return Ok(TailStep::Nothing);
        };
        if !self.same_before(&file, &path)? {
            return Ok(self.begin_again(Doubt::Other, now));
        }
        self.settle(&[Doubt::Short, Doubt::Other]);
        let line = self.size - self.offset;
        if self.doubt.is_none() && self.searched - self.offset > max_bytes as u64 {
            // A long line that is still coming: only its new part is searched.
            let newline = find_newline(&file, self.searched, self.size).map_err(self.later("read", &path))?;
            self.searched = newline.unwrap_or(self.size);
            if newline.is_none() {
                return self.no_whole_line(now);
            }
        }
        let max_line = self.max_line as u64;
        let mut wanted = line.min(max_bytes as u64);
        loop {
            let bytes = read_range(&file, self.offset, wanted).map_err(self.later("read", &path))?;
            let short = (bytes.len() as u64) < wanted;
            match lines::front(&bytes) {
                Front::Partial { .. } if !short && wanted < line && wanted < max_line => {
                    wanted = line.min(wanted * 4).min(max_line);
                }
                Front::Partial { .. } if !short && wanted >= max_line => {
                    return self.too_long(&file, &path, &bytes, now);
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
                    self.ready = Bytes::from(bytes);
                    let step = self.pass_on(front, now);
                    if self.doubt.is_none() && self.offset + (self.ready.len() as u64) < self.size {
                        self.file = Some(file);
                    }
                    return Ok(step);
                }
            }
        }
    }

    /// Returns the front of what was read.
    fn pass_on(&mut self, front: Front, now: Instant) -> TailStep {
        let offset = self.offset;
        match front {
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
    fn no_whole_line(&mut self, now: Instant) -> Result<TailStep, TailError> {
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
        let file = open::open(&path, How::Read).map_err(|error| self.of_mailbox(error))?;
        let length = (self.size - self.offset).min(REMEMBERED as u64);
        let start = read_range(&file, self.offset, length).map_err(self.later("read", &path))?;
        self.skip_to(&file, &path, self.size, &start)
    }

    /// A line longer than [`MAX_LINE`]: it is passed over as soon as its end is there.
    fn too_long(&mut self, file: &File, path: &Path, start: &[u8], now: Instant) -> Result<TailStep, TailError> {
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
    fn skip_to(&mut self, file: &File, path: &Path, end: u64, start: &[u8]) -> Result<TailStep, TailError> {
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

    /// After patience, begins again at the start.
    fn begin_again(&mut self, doubt: Doubt, now: Instant) -> TailStep {
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
        self.doubt
            .is_some_and(|(_, since)| now.saturating_duration_since(since) >= self.patience)
    }

    fn settle(&mut self, settled: &[Doubt]) {
        if self.doubt.is_some_and(|(doubt, _)| settled.contains(&doubt)) {
            self.doubt = None;
        }
    }
}

/// Whether a name was there a moment ago and is not now (ESTALE: on NFS, its file was removed elsewhere).
fn is_gone(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound || error.raw_os_error() == Some(rustix::io::Errno::STALE.raw_os_error())
}
