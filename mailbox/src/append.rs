//! Whole lines at the end of a file, so that none is torn, doubled or lost, whatever the disk says meanwhile.
//!
//! A [`LineFile`] knows one number and one buffer: up to `end` the file is whole lines, durable; `due` must stand from
//! there on. A write that came up short goes on where it stopped. After a failure whose outcome is unknown (a failed
//! sync, an I/O error) the file is opened again, what is there is compared with what is due, and the difference is written;
//! what had been written is written once more in place before the next sync, since the kernel marks pages clean whose
//! write-back failed, and a second sync would then confirm what never reached the disk.

use std::io;
use std::path::{Path, PathBuf};

use rustix::io::Errno;

use crate::error::MailboxError;
use crate::filesystem::FilesystemKind;
use crate::layout::Mailbox;
use crate::raw_file::RawFile;
use crate::storage::{Disk, Storage};

/// When a line counts as written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// The kernel has it: it outlives this process and is seen by every process of this machine. For local filesystems.
    Cached,
    /// It was synced: it outlives this machine, and other machines see it. For shared filesystems.
    Synced,
}

impl Durability {
    /// What a filesystem needs for 'written' to mean 'a reader can see it'.
    pub fn on(kind: FilesystemKind) -> Self {
        if kind.is_network() { Self::Synced } else { Self::Cached }
    }
}

/// Where appended lines stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Written {
    /// The byte at which the first of them starts.
    pub offset: u64,
    /// The byte after the last; the file's size.
    pub end: u64,
}

/// Why lines are not, or not surely, in the file.
#[derive(Debug, thiserror::Error)]
pub enum AppendError {
    /// The disk or the quota is full.
    #[error("no space for a line at byte {offset} of {} ({source}); free some, or raise the quota{}", path.display(), taken_note(*taken))]
    NoSpace {
        /// The file.
        path: PathBuf,
        /// Where the line begins.
        offset: u64,
        /// `ENOSPC`, `EDQUOT` or `EFBIG`.
        source: io::Error,
        /// See [`AppendError::taken`].
        taken: bool,
    },
    /// The filesystem is read-only now.
    #[error("{} is on a filesystem that is read-only now; byte {offset} waits until it is writable again{}", path.display(), taken_note(*taken))]
    ReadOnly {
        /// The file.
        path: PathBuf,
        /// Where the line begins.
        offset: u64,
        /// See [`AppendError::taken`].
        taken: bool,
    },
    /// Something else failed, and nothing of the lines is in the file.
    #[error("could not {doing} {} at byte {offset}: {source}", path.display())]
    Io {
        /// A verb.
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// Where the line begins.
        offset: u64,
        /// The filesystem's word.
        source: io::Error,
    },
    /// The lines may be in the file, in part or whole; the next call finds out and puts it right.
    #[error("could not {doing} {} at byte {offset}: {source}; the line may be there already", path.display())]
    MayHaveHappened {
        /// A verb.
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// Where the line begins.
        offset: u64,
        /// The filesystem's word.
        source: io::Error,
    },
    /// Another process writes this file.
    #[error("{} is being written by {by}; end that process first", path.display())]
    Held {
        /// The file.
        path: PathBuf,
        /// Who, as far as the system tells.
        by: String,
    },
    /// Somebody else has changed the file under us. Nothing more is written.
    #[error("{} was changed by somebody else from byte {offset} on: {what}; a mailbox file has one writer", path.display())]
    Changed {
        /// The file.
        path: PathBuf,
        /// From here on.
        offset: u64,
        /// What was seen.
        what: &'static str,
    },
    /// Our own fault: what was to be appended does not end with a newline.
    #[error("something without a newline at its end was to be appended to {}; this is a fault of Codeswarm's", path.display())]
    NotLines {
        /// The file.
        path: PathBuf,
    },
    /// The name or the file cannot be trusted, or opening failed.
    #[error(transparent)]
    Open(#[from] MailboxError),
}

fn taken_note(taken: bool) -> &'static str {
    if taken {
        "; a part of it is written and the rest will follow"
    } else {
        ""
    }
}

impl AppendError {
    /// Whether the lines of the call that failed are now the file's own business: a part of them is written, or may be.
    /// Then they must not be appended again; [`LineFile::resume`] finishes them. Otherwise nothing of them is in the
    /// file and nothing will be, unless they are appended again.
    pub fn taken(&self) -> bool {
        match self {
            Self::NoSpace { taken, .. } | Self::ReadOnly { taken, .. } => *taken,
            Self::MayHaveHappened { .. } => true,
            Self::Io { .. } | Self::Held { .. } | Self::Changed { .. } | Self::NotLines { .. } | Self::Open(_) => false,
        }
    }

    /// Whether trying again later can help.
    pub fn may_pass(&self) -> bool {
        match self {
            Self::NoSpace { .. } | Self::ReadOnly { .. } | Self::Io { .. } | Self::MayHaveHappened { .. } => true,
            Self::Held { .. } | Self::Changed { .. } | Self::NotLines { .. } => false,
            Self::Open(error) => error.may_pass(),
        }
    }

    fn of(source: io::Error, doing: &'static str, at: (&Path, u64), taken: bool, unknown: bool) -> Self {
        let (path, offset) = (at.0.to_owned(), at.1);
        match source.raw_os_error().map(Errno::from_raw_os_error) {
            Some(Errno::NOSPC | Errno::DQUOT | Errno::FBIG) => Self::NoSpace {
                path,
                offset,
                source,
                taken,
            },
            Some(Errno::ROFS) => Self::ReadOnly { path, offset, taken },
            _ if taken || unknown => Self::MayHaveHappened {
                doing,
                path,
                offset,
                source,
            },
            _ => Self::Io {
                doing,
                path,
                offset,
                source,
            },
        }
    }
}

/// What is known about the bytes that are due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Known {
    /// This many of them are in the file.
    Progress(usize),
    /// A failure left it open: look before writing.
    Nothing,
}

/// One file that this process alone appends whole lines to.
pub struct LineFile {
    raw: Box<dyn RawFile>,
    path: PathBuf,
    durability: Durability,
    /// Up to here everything is whole lines and durable.
    end: u64,
    /// What must stand from `end` on.
    due: Vec<u8>,
    known: Known,
}

impl std::fmt::Debug for LineFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LineFile")
            .field("path", &self.path)
            .field("end", &self.end)
            .field("due", &self.due.len())
            .finish_non_exhaustive()
    }
}

impl LineFile {
    /// Opens `path` to append, making it (mode 0600) if it is not there. Writes nothing: a torn last line is ended before the
    /// first line that is appended.
    ///
    /// On a local filesystem the file is locked (flock(2)) as long as it is open, and a second writer is refused. Shared
    /// filesystems lock differently or not at all (flock(2), nfs(5)); there the mailbox lease and the job keep writers apart.
    pub fn open(path: impl Into<PathBuf>, durability: Durability) -> Result<Self, AppendError> {
        let path = path.into();
        let kind = FilesystemKind::of(&path).map_err(MailboxError::io("ask for the filesystem of", &path))?;
        Self::open_on(path, durability, kind)
    }

    /// The same, on a filesystem that is known already.
    pub fn open_on(
        path: impl Into<PathBuf>,
        durability: Durability,
        kind: FilesystemKind,
    ) -> Result<Self, AppendError> {
        let path = path.into();
        let raw = Disk.open_to_append(&path, kind)?;
        Self::opened(raw, path, durability)
    }

    /// A file of this mailbox, durable as its filesystem needs it.
    pub fn open_in(mailbox: &Mailbox, path: impl Into<PathBuf>) -> Result<Self, AppendError> {
        let (path, kind) = (path.into(), mailbox.filesystem());
        let raw = mailbox.storage().open_to_append(&path, kind)?;
        Self::opened(raw, path, Durability::on(kind))
    }

    /// What an earlier process has written and not synced is in this machine's cache alone, and may still be lost: it is made
    /// durable, or lost, before it is counted.
    pub(crate) fn opened(
        mut raw: Box<dyn RawFile>,
        path: PathBuf,
        durability: Durability,
    ) -> Result<Self, AppendError> {
        if durability == Durability::Synced {
            raw.sync().map_err(MailboxError::io("sync", &path))?;
        }
        Self::over(raw, path, durability)
    }

    /// Over any file; `path` is for messages and for [`crate::archive`].
    pub fn over(raw: Box<dyn RawFile>, path: impl Into<PathBuf>, durability: Durability) -> Result<Self, AppendError> {
        let path = path.into();
        let end = raw.size().map_err(MailboxError::io("look at", &path))?;
        let mut last = *b"\n";
        if end > 0 {
            raw.read_at(&mut last, end - 1)
                .map_err(MailboxError::io("read the end of", &path))?;
        }
        Ok(Self {
            raw,
            path,
            durability,
            end,
            due: end_of_torn(last[0]).to_vec(),
            known: Known::Progress(0),
        })
    }

    /// The file's name.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// When a line counts as written.
    pub fn durability(&self) -> Durability {
        self.durability
    }

    /// Up to this byte everything is whole lines and durable.
    pub fn end(&self) -> u64 {
        self.end
    }

    /// Whether lines that an earlier call has taken are not yet durable, or a torn line must still be ended.
    pub fn is_behind(&self) -> bool {
        !self.due.is_empty()
    }

    /// Appends whole lines (each ended by `\n`) with one write, and syncs as [`Durability`] says. What earlier calls
    /// left behind is finished first.
    ///
    /// After an error, [`AppendError::taken`] tells whose business the lines are.
    pub fn append(&mut self, lines: &[u8]) -> Result<Written, AppendError> {
        if !lines.is_empty() && !lines.ends_with(b"\n") {
            let path = self.path.clone();
            return Err(AppendError::NotLines { path });
        }
        self.resume().map_err(AppendError::not_taken)?;
        let offset = self.end;
        if lines.is_empty() {
            return Ok(Written { offset, end: offset });
        }
        let at = (self.path.as_path(), offset);
        match write_all(self.raw.as_mut(), lines) {
            (_, None) => {}
            (0, Some(error)) if self.refused_cleanly(&error) => {
                return Err(AppendError::of(error, "append to", at, false, false));
            }
            (written, Some(error)) => {
                self.due.extend_from_slice(lines);
                let clean = self.refused_cleanly(&error);
                self.known = if clean {
                    Known::Progress(written)
                } else {
                    Known::Nothing
                };
                return Err(AppendError::of(error, "append to", at, true, !clean));
            }
        }
        if self.durability == Durability::Synced
            && let Err(error) = self.raw.sync()
        {
            self.due.extend_from_slice(lines);
            self.known = Known::Nothing;
            tracing::warn!(path = %self.path.display(), offset, %error, "a sync failed; the file is compared and written again");
            self.resume()?;
            return Ok(Written { offset, end: self.end });
        }
        self.end += lines.len() as u64;
        Ok(Written { offset, end: self.end })
    }

    /// Finishes what earlier calls have taken. Nothing is left behind after `Ok`.
    pub fn resume(&mut self) -> Result<(), AppendError> {
        if self.due.is_empty() {
            return Ok(());
        }
        let written = match self.known {
            Known::Progress(written) => written,
            Known::Nothing => self.compare()?,
        };
        let (more, trouble) = write_all(self.raw.as_mut(), &self.due[written..]);
        let at = (self.path.as_path(), self.end);
        if let Some(error) = trouble {
            let clean = self.refused_cleanly(&error);
            self.known = if clean {
                Known::Progress(written + more)
            } else {
                Known::Nothing
            };
            return Err(AppendError::of(error, "append to", at, true, !clean));
        }
        self.known = Known::Progress(self.due.len());
        if self.durability == Durability::Synced
            && let Err(error) = self.raw.sync()
        {
            self.known = Known::Nothing;
            return Err(AppendError::of(error, "sync", at, true, true));
        }
        self.end += self.due.len() as u64;
        self.due.clear();
        self.due.shrink_to(64 * 1024);
        self.known = Known::Progress(0);
        Ok(())
    }

    /// Makes everything durable on the disk, also where [`Durability::Cached`] would not.
    pub fn sync(&mut self) -> Result<(), AppendError> {
        self.resume()?;
        self.raw
            .sync()
            .map_err(|error| AppendError::of(error, "sync", (&self.path, self.end), false, false))
    }

    /// Whether the kernel has surely taken nothing of the write that failed so. On a network filesystem nothing is sure:
    /// a write(2) there may report what befell its own pages on their way, with the pages still in the cache.
    fn refused_cleanly(&self, error: &io::Error) -> bool {
        let told = error.raw_os_error().map(Errno::from_raw_os_error);
        self.durability == Durability::Cached
            && matches!(
                told,
                Some(Errno::NOSPC | Errno::DQUOT | Errno::FBIG | Errno::ROFS | Errno::PERM)
            )
    }

    /// Opens the file again, finds out how much of what is due is in it, and puts right what is there but wrong.
    /// Returns how many bytes of it need no further append.
    fn compare(&mut self) -> Result<usize, AppendError> {
        let (path, end) = (self.path.clone(), self.end);
        let failed = |doing| {
            let path = path.clone();
            move |error| AppendError::of(error, doing, (&path, end), true, true)
        };
        let changed = |offset, what| AppendError::Changed {
            path: path.clone(),
            offset,
            what,
        };
        self.raw.reopen().map_err(failed("reopen"))?;
        let size = self.raw.size().map_err(failed("look at"))?;
        let Some(there) = size.checked_sub(end) else {
            return Err(changed(size, "it is shorter than what was written"));
        };
        let there = match usize::try_from(there) {
            Ok(there) if there <= self.due.len() => there,
            _ => {
                return Err(changed(
                    end + self.due.len() as u64,
                    "it has bytes that we did not write",
                ));
            }
        };
        let mut found = vec![0; there];
        let mut have = 0;
        while have < there {
            match self.raw.read_at(&mut found[have..], end + have as u64) {
                Ok(0) => break,
                Ok(more) => have += more,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(failed("read")(error)),
            }
        }
        let differs = found
            .iter()
            .zip(&self.due)
            .position(|(is, ought)| is != ought && *is != 0);
        if let Some(at) = differs {
            return Err(changed(end + at as u64, "other bytes stand where ours should"));
        }
        if there > 0 && (self.durability == Durability::Synced || found != self.due[..there]) {
            self.raw
                .rewrite(&self.due[..there], end)
                .map_err(failed("write again"))?;
        }
        self.known = Known::Progress(there);
        Ok(there)
    }
}

impl AppendError {
    /// The same trouble, met while an earlier call's lines were being finished: the present lines are untouched.
    fn not_taken(self) -> Self {
        match self {
            Self::NoSpace {
                path, offset, source, ..
            } => Self::NoSpace {
                path,
                offset,
                source,
                taken: false,
            },
            Self::ReadOnly { path, offset, .. } => Self::ReadOnly {
                path,
                offset,
                taken: false,
            },
            Self::MayHaveHappened {
                doing,
                path,
                offset,
                source,
            } => Self::Io {
                doing,
                path,
                offset,
                source,
            },
            other => other,
        }
    }
}

/// What ends the last line of a file whose last byte is this; nothing, if it is whole. A torn one that lacks only its newline
/// would become a record by it, of which nobody who has read the file before knows: it is spoiled.
fn end_of_torn(last: u8) -> &'static [u8] {
    match last {
        b'\n' => b"",
        b'}' => b"!\n",
        _ => b"\n",
    }
}

/// Writes until everything is written or something fails; returns how much was written, and the failure.
fn write_all(raw: &mut dyn RawFile, bytes: &[u8]) -> (usize, Option<io::Error>) {
    let mut written = 0;
    while written < bytes.len() {
        match raw.append(&bytes[written..]) {
            Ok(0) => return (written, Some(io::ErrorKind::WriteZero.into())),
            Ok(more) => written += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return (written, Some(error)),
        }
    }
    (written, None)
}
