//! A disk that fails when a test says so, for the tests of the parts.

use std::ffi::OsString;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use codeswarm_mailbox::layout::Access;
use codeswarm_mailbox::raw_file::RawFile;
use codeswarm_mailbox::storage::{Disk, ReadFile, Storage};
use codeswarm_mailbox::{AppendError, FilesystemKind, MailboxError};

/// How often which call fails from now on; all else is the real disk's.
#[derive(Debug, Clone, Default)]
pub struct Faults(Arc<Counts>);

#[derive(Debug, Default)]
struct Counts {
    opens: AtomicU32,
    syncs: AtomicU32,
    reads: AtomicU32,
}

impl Faults {
    /// So many files are gone when they are opened to be read.
    pub fn next_opens(&self, count: u32) {
        self.0.opens.store(count, Ordering::SeqCst);
    }

    /// So many reads of a file that is open fail.
    pub fn next_reads(&self, count: u32) {
        self.0.reads.store(count, Ordering::SeqCst);
    }

    /// So many syncs of an inbox fail.
    pub fn next_syncs(&self, count: u32) {
        self.0.syncs.store(count, Ordering::SeqCst);
    }
}

fn fails(left: &AtomicU32) -> bool {
    let one_less = |count: u32| count.checked_sub(1);
    left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, one_less).is_ok()
}

impl Storage for Faults {
    fn size(&self, path: &Path, fresh: bool) -> io::Result<Option<u64>> {
        Disk.size(path, fresh)
    }

    fn open_to_read(&self, path: &Path) -> Result<Box<dyn ReadFile>, MailboxError> {
        match fails(&self.0.opens) {
            true => Err(MailboxError::Io {
                doing: "open",
                path: path.to_owned(),
                source: io::ErrorKind::NotFound.into(),
            }),
            false => Ok(Box::new(FaultyCopy {
                file: Disk.open_to_read(path)?,
                faults: self.clone(),
            })),
        }
    }

    fn open_to_append(&self, path: &Path, kind: FilesystemKind) -> Result<Box<dyn RawFile>, AppendError> {
        let file = Disk.open_to_append(path, kind)?;
        let faults = self.clone();
        Ok(Box::new(FaultyFile { file, faults }))
    }

    fn make_file(&self, path: &Path, access: Access) -> Result<(), MailboxError> {
        Disk.make_file(path, access)
    }

    fn make_folder(&self, path: &Path, access: Access) -> Result<bool, MailboxError> {
        Disk.make_folder(path, access)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        Disk.rename(from, to)
    }

    fn is_same_file(&self, one: &Path, other: &Path) -> io::Result<bool> {
        Disk.is_same_file(one, other)
    }

    fn names(&self, folder: &Path) -> io::Result<Vec<OsString>> {
        Disk.names(folder)
    }

    fn sync_folder(&self, folder: &Path) -> Result<(), MailboxError> {
        Disk.sync_folder(folder)
    }
}

#[derive(Debug)]
struct FaultyCopy {
    file: Box<dyn ReadFile>,
    faults: Faults,
}

impl ReadFile for FaultyCopy {
    fn size(&self) -> io::Result<u64> {
        self.file.size()
    }

    fn read(&self, into: &mut Vec<u8>, offset: u64, length: usize) -> io::Result<()> {
        match fails(&self.faults.0.reads) {
            true => Err(rustix::io::Errno::STALE.into()),
            false => self.file.read(into, offset, length),
        }
    }

    fn forget_copy(&self, offset: u64) {
        self.file.forget_copy(offset);
    }
}

struct FaultyFile {
    file: Box<dyn RawFile>,
    faults: Faults,
}

impl RawFile for FaultyFile {
    fn append(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.append(bytes)
    }

    fn rewrite(&mut self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.file.rewrite(bytes, offset)
    }

    fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<usize> {
        self.file.read_at(into, offset)
    }

    fn size(&self) -> io::Result<u64> {
        self.file.size()
    }

    fn sync(&mut self) -> io::Result<()> {
        match fails(&self.faults.0.syncs) {
            true => Err(rustix::io::Errno::IO.into()),
            false => self.file.sync(),
        }
    }

    fn reopen(&mut self) -> io::Result<()> {
        self.file.reopen()
    }
}
