//! What appending needs from a file, and nothing more: the seam at which tests let a disk fill up, a sync fail or a
//! write come up short.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::PathBuf;

use crate::error::MailboxError;
use crate::open::{self, How};

/// One open file that lines are appended to. All errors are those of the system call of that name.
pub trait RawFile: Send {
    /// One write(2) at the end of the file. May take fewer bytes than offered.
    fn append(&mut self, bytes: &[u8]) -> io::Result<usize>;
    /// Writes over bytes that are already there.
    fn rewrite(&mut self, bytes: &[u8], offset: u64) -> io::Result<()>;
    /// Reads up to `into.len()` bytes from `offset`; 0 at the end.
    fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<usize>;
    /// The size now, in bytes.
    fn size(&self) -> io::Result<u64>;
    /// fdatasync(2): on the disk, and on a network filesystem visible to others.
    fn sync(&mut self) -> io::Result<()>;
    /// Opens the same file again, so that what is cached about it is asked anew.
    fn reopen(&mut self) -> io::Result<()>;
}

/// A file on a disk.
#[derive(Debug)]
pub struct DiskFile {
    path: PathBuf,
    file: File,
    network: bool,
}

impl DiskFile {
    pub(crate) fn new(path: PathBuf, file: File, network: bool) -> Self {
        Self { path, file, network }
    }

    fn open_again(&self, how: How) -> io::Result<File> {
        let again = open::open(&self.path, how).map_err(|error| match error {
            MailboxError::Io { source, .. } => source,
            other => io::Error::other(other.to_string()),
        })?;
        let (was, is) = (self.file.metadata()?, again.metadata()?);
        if (was.dev(), was.ino()) != (is.dev(), is.ino()) {
            return Err(io::Error::other(
                "the file was moved away or replaced while it was open",
            ));
        }
        Ok(again)
    }
}

impl RawFile for DiskFile {
    fn append(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn rewrite(&mut self, bytes: &[u8], offset: u64) -> io::Result<()> {
        // Through a descriptor without O_APPEND: with it, Linux puts even a pwrite(2) at the end.
        self.open_again(How::Rewrite)?.write_all_at(bytes, offset)
    }

    fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<usize> {
        self.file.read_at(into, offset)
    }

    fn size(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    fn sync(&mut self) -> io::Result<()> {
        self.file.sync_data()
    }

    fn reopen(&mut self) -> io::Result<()> {
        if self.network {
            self.file = self.open_again(How::AppendAgain)?;
        }
        // On a local filesystem the descriptor carries our flock and sees everything that a new one would.
        Ok(())
    }
}
