//! Reading on in one file that another machine writes: whole lines, each once, in order, into the archive and to the
//! end.
//!
//! One [`Tail::step`] is one look, and where that shows growth, one read. Between steps a tail holds no descriptor, so ten
//! thousand of them fit into any limit. What it stands (DESIGN §3, nfs(5)):
//!
//! - The size is asked afresh and the file is opened anew before growth is read (close-to-open).
//! - A line with NULs in it may be a page that has not come yet: nothing is read past it until it is filled, or until
//!   [`Tail::set_patience`] has passed; then the NULs are skipped and what follows them is looked at for itself. On a network
//!   filesystem, where a machine that is cut off hands over its pages when it is back, that is long, and told meanwhile.
//! - A torn last line in the archive will never be whole: after the same patience it is skipped, and the file has ended.
//! - The last bytes that were read are compared before more are read. A file that was cut back or replaced is told as
//!   [`TailStep::Shrunk`]: what the reader holds from there on is no longer in the file.

use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use bytes::Bytes;
use codeswarm_protocol::Place;

use crate::error::MailboxError;
use crate::layout::{Located, Mailbox};
use crate::lines;
use crate::storage::ReadFile;

/// The longest line that is read; longer ones are skipped.
pub const MAX_LINE: usize = 64 << 20;

/// How long bytes that cannot be right yet may take to come.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// How long a page may take to come from the machine that wrote it, while others of its have come: as long as a server
/// may well be away. What is passed over is lost to whoever follows, so this errs on the long side. In the archive
/// nothing is on its way any more (its writer synced before the rename), nor on a local filesystem: there it is [`PATIENCE`].
pub const LATE_PAGE_PATIENCE: Duration = Duration::from_secs(600);

/// How many of the last bytes read are remembered. The end of a record holds its seq, epoch, time and place.
const REMEMBERED: usize = 64;

mod reading;

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
    late_page_patience: Duration,
    max_line: usize,
    /// The start of the next line.
    offset: u64,
    /// The size at the last look.
    size: u64,
    found: Option<(Found, PathBuf)>,
    ended: bool,
    /// The next step will bring something.
    more: bool,
    /// Open only while more is known to be there.
    file: Option<Box<dyn ReadFile>>,
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
            late_page_patience: LATE_PAGE_PATIENCE,
            max_line: MAX_LINE,
            offset,
            size: 0,
            found: None,
            ended: false,
            more: false,
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
        self.late_page_patience = patience;
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
        self.more
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
        self.more = match &step {
            Ok(TailStep::Lines { .. } | TailStep::Skipped { .. }) => {
                !self.ready.is_empty() || self.searched < self.size || self.is_in(Found::Archive)
            }
            Ok(TailStep::Reopened | TailStep::Shrunk { .. }) => true,
            Ok(TailStep::Nothing | TailStep::Ended { .. } | TailStep::Missing) => false,
            Err(_) => {
                self.file = None;
                false
            }
        };
        step
    }

    fn try_step(&mut self, max_bytes: usize, now: Instant) -> Result<TailStep, TailError> {
        if !self.ready.is_empty() {
            return self.pass_on(lines::front(&self.ready), now);
        }
        if self.file.is_none()
            && let Some(step) = self.look(now, true)?
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

    /// Where is the file, and has it grown? `None`: it has, and is open now. A file that is gone between the look and
    /// the opening is looked for `again`, once.
    fn look(&mut self, now: Instant, again: bool) -> Result<Option<TailStep>, TailError> {
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
        let file = match self.mailbox.storage().open_to_read(&path) {
            Ok(file) => file,
            Err(MailboxError::Io { source, .. }) if again && is_gone(&source) => {
                self.found = None;
                return self.look(now, false);
            }
            Err(error) => return Err(self.of_mailbox(error)),
        };
        self.size = file.size().map_err(self.later("look at", &path))?;
        if self.size <= self.offset {
            // Cut back since the look, or an older answer of the server's; the next look tells.
            self.size = self.offset;
            return Ok(Some(TailStep::Nothing));
        }
        if self.fresh && self.doubt.is_some() {
            file.forget_copy(self.offset);
        }
        self.file = Some(file);
        Ok(None)
    }

    fn locate(&self) -> Result<Option<(Found, PathBuf, u64)>, TailError> {
        let size = |path: &Path| {
            self.mailbox
                .storage()
                .size(path, self.fresh)
                .map_err(self.later("look at", path))
        };
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
}

/// Whether a name was there a moment ago and is not now (ESTALE: on NFS, its file was removed elsewhere).
fn is_gone(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound || error.raw_os_error() == Some(rustix::io::Errno::STALE.raw_os_error())
}
