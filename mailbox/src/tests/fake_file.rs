//! A file in memory whose disk does what a test says.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};

use rustix::io::Errno;

use crate::raw_file::RawFile;

/// What the next write does.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Write {
    /// Takes everything.
    Whole,
    /// Takes at most so many bytes.
    Short(usize),
    /// Fails and takes nothing.
    Fails(Errno),
    /// Fails and has taken so many bytes all the same.
    FailsAfter(usize, Errno),
    /// Is a fault of ours.
    Panics,
}

/// What the next read does.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Read {
    /// Fails.
    Fails(Errno),
    /// The file has just become shorter.
    FindsNothing,
}

/// What the next sync does.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Sync {
    /// Everything written is on the disk.
    Done,
    /// Fails; the bytes from this many on (of what is not yet synced) are lost: zeros stand there, the size stays.
    FailsWithGap(usize, Errno),
    /// Fails; the file ends after this many of the unsynced bytes.
    FailsCut(usize, Errno),
}

#[derive(Debug, Default)]
pub(crate) struct Disk {
    /// What a reader sees.
    pub(crate) bytes: Vec<u8>,
    /// How much of it survives the machine.
    pub(crate) synced: usize,
    pub(crate) writes: VecDeque<Write>,
    pub(crate) syncs: VecDeque<Sync>,
    pub(crate) reads: VecDeque<Read>,
    /// All writes fail so, after those that are scripted.
    pub(crate) failing: Option<Errno>,
    /// How many writes there were, and of how many bytes each.
    pub(crate) written: Vec<usize>,
    pub(crate) sync_count: usize,
    pub(crate) reopened: usize,
    /// Writes wait while this is set.
    pub(crate) held: bool,
    /// How many writes wait.
    pub(crate) waiting: usize,
}

/// A handle to it; the test keeps another.
#[derive(Debug, Clone, Default)]
pub(crate) struct FakeFile(Arc<(Mutex<Disk>, Condvar)>);

impl FakeFile {
    pub(crate) fn holding(bytes: &[u8]) -> Self {
        let file = Self::default();
        let mut disk = file.disk();
        disk.bytes = bytes.to_vec();
        disk.synced = bytes.len();
        drop(disk);
        file
    }

    pub(crate) fn disk(&self) -> MutexGuard<'_, Disk> {
        self.0.0.lock().unwrap()
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.disk().bytes.clone()).unwrap()
    }

    pub(crate) fn written(&self) -> Vec<usize> {
        self.disk().written.clone()
    }

    pub(crate) fn synced(&self) -> usize {
        self.disk().synced
    }

    pub(crate) fn next_writes(&self, writes: impl IntoIterator<Item = Write>) {
        self.disk().writes.extend(writes);
    }

    pub(crate) fn next_syncs(&self, syncs: impl IntoIterator<Item = Sync>) {
        self.disk().syncs.extend(syncs);
    }

    pub(crate) fn hold(&self, held: bool) {
        self.disk().held = held;
        self.0.1.notify_all();
    }

    /// Waits until a write waits.
    pub(crate) fn until_a_write_waits(&self) {
        let mut disk = self.disk();
        while disk.waiting == 0 {
            disk = self.0.1.wait(disk).unwrap();
        }
    }
}

impl RawFile for FakeFile {
    fn append(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut disk = self.disk();
        disk.waiting += 1;
        self.0.1.notify_all();
        while disk.held {
            disk = self.0.1.wait(disk).unwrap();
        }
        disk.waiting -= 1;
        let otherwise = disk.failing.map_or(Write::Whole, Write::Fails);
        let (taken, outcome) = match disk.writes.pop_front().unwrap_or(otherwise) {
            Write::Whole => (bytes.len(), Ok(bytes.len())),
            Write::Short(most) => (most.min(bytes.len()), Ok(most.min(bytes.len()))),
            Write::Fails(error) => (0, Err(error)),
            Write::FailsAfter(taken, error) => (taken.min(bytes.len()), Err(error)),
            Write::Panics => {
                drop(disk);
                panic!("a fault of the test's")
            }
        };
        disk.bytes.extend_from_slice(&bytes[..taken]);
        disk.written.push(taken);
        Ok(outcome?)
    }

    fn rewrite(&mut self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let mut disk = self.disk();
        let from = usize::try_from(offset).unwrap();
        disk.bytes[from..from + bytes.len()].copy_from_slice(bytes);
        Ok(())
    }

    fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut disk = self.disk();
        match disk.reads.pop_front() {
            Some(Read::Fails(error)) => return Err(error.into()),
            Some(Read::FindsNothing) => return Ok(0),
            None => {}
        }
        let from = usize::try_from(offset).unwrap().min(disk.bytes.len());
        let length = into.len().min(disk.bytes.len() - from);
        into[..length].copy_from_slice(&disk.bytes[from..from + length]);
        Ok(length)
    }

    fn size(&self) -> io::Result<u64> {
        Ok(self.disk().bytes.len() as u64)
    }

    fn sync(&mut self) -> io::Result<()> {
        let mut disk = self.disk();
        disk.sync_count += 1;
        let synced = disk.synced;
        match disk.syncs.pop_front().unwrap_or(Sync::Done) {
            Sync::Done => {
                disk.synced = disk.bytes.len();
                Ok(())
            }
            Sync::FailsWithGap(from, error) => {
                disk.bytes[synced + from..].fill(0);
                Err(error.into())
            }
            Sync::FailsCut(from, error) => {
                disk.bytes.truncate(synced + from);
                Err(error.into())
            }
        }
    }

    fn reopen(&mut self) -> io::Result<()> {
        self.disk().reopened += 1;
        Ok(())
    }
}
