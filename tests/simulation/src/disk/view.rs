//! The filesystem as the processes of one machine see it.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};

use codeswarm_mailbox::raw_file::RawFile;
use codeswarm_mailbox::storage::{ReadFile, Storage};
use codeswarm_mailbox::{Access, AppendError, FilesystemKind, MailboxError};
use rustix::io::Errno;

use super::{Disk, Files, PAGE, REMEMBERED};

/// See the module.
#[derive(Debug, Clone)]
pub struct View {
    disk: Disk,
    machine: usize,
}

impl View {
    pub(super) fn new(disk: Disk, machine: usize) -> Self {
        Self { disk, machine }
    }

    fn with<T>(&self, act: impl FnOnce(&mut Files, usize) -> T) -> T {
        let mut files = self.disk.files();
        let cache = files.cache_of(self.machine);
        act(&mut files, cache)
    }

    fn open(&self, path: &Path) -> io::Result<Open> {
        let inode = self.with(|files, cache| {
            files.read_fails()?;
            files.lookup(cache, path).ok_or_else(|| Errno::NOENT.into())
        });
        inode.map(|inode: usize| Open {
            view: self.clone(),
            path: path.to_owned(),
            inode,
        })
    }
}

impl Files {
    fn read_fails(&mut self) -> io::Result<()> {
        if self.rng.once_in(self.weather.bad_reads) {
            self.tally.bad_reads += 1;
            return Err(Errno::STALE.into());
        }
        Ok(())
    }

    /// What a name stands for, as this machine believes.
    fn lookup(&mut self, cache: usize, path: &Path) -> Option<usize> {
        let truth = self.names.get(path).copied();
        if !self.weather.network {
            return truth;
        }
        if let Some((known, until)) = self.caches[cache].names.get(path)
            && *until > self.now
        {
            self.tally.stale_names += u64::from(*known != truth);
            return *known;
        }
        if self.rng.once_in(self.weather.stale_names) {
            let until = self.now + self.rng.below_long(REMEMBERED);
            self.caches[cache].names.insert(path.to_owned(), (truth, until));
        } else {
            self.caches[cache].names.remove(path);
        }
        truth
    }

    fn know(&mut self, cache: usize, path: &Path) {
        // What a machine has done itself it knows.
        self.caches[cache].names.remove(path);
        self.caches[cache].folders.clear();
    }

    fn size_seen(&self, cache: usize, inode: usize) -> usize {
        self.inodes[inode].bytes.len().max(self.caches[cache].end_of(inode))
    }

    fn read(&mut self, cache: usize, inode: usize, offset: usize, length: usize) -> Vec<u8> {
        let end = (offset + length).min(self.size_seen(cache, inode));
        if end <= offset {
            return Vec::new();
        }
        let mut bytes: Vec<u8> = vec![0; end - offset];
        for page in offset / PAGE..=(end - 1) / PAGE {
            let (from, to) = (page * PAGE, (page + 1) * PAGE);
            let there = |all: &[u8]| {
                all.get(from.min(all.len())..to.min(all.len()))
                    .unwrap_or_default()
                    .to_vec()
            };
            let content = match self.caches[cache].pages.get(&(inode, page)) {
                Some((known, until)) if *until > self.now => {
                    let known = known.clone();
                    let truth = there(&self.inodes[inode].bytes);
                    self.tally.stale_pages += u64::from(known != truth);
                    known
                }
                _ => {
                    let truth = there(&self.inodes[inode].bytes);
                    if self.weather.network && self.rng.once_in(self.weather.stale_pages) {
                        let until = self.now + self.rng.below_long(REMEMBERED);
                        self.caches[cache].pages.insert((inode, page), (truth.clone(), until));
                    }
                    truth
                }
            };
            for (at, byte) in (from..).zip(content) {
                if let Some(place) = at.checked_sub(offset).and_then(|at| bytes.get_mut(at)) {
                    *place = byte;
                }
            }
        }
        self.caches[cache].overlay(inode, offset, &mut bytes);
        bytes
    }

    fn write(&mut self, cache: usize, inode: usize, offset: usize, bytes: &[u8]) {
        if self.weather.network {
            let under = &self.inodes[inode].bytes;
            self.caches[cache].write(inode, offset, bytes, under, self.now);
        } else {
            let file = &mut self.inodes[inode];
            file.bytes.resize(file.bytes.len().max(offset + bytes.len()), 0);
            file.bytes[offset..offset + bytes.len()].copy_from_slice(bytes);
        }
    }

    fn append(&mut self, cache: usize, inode: usize, bytes: &[u8]) -> io::Result<usize> {
        let end = self.size_seen(cache, inode);
        if let Some(after) = self.caches[cache].dies_after.take() {
            self.tally.torn_appends += 1;
            self.write(cache, inode, end, &bytes[..after.min(bytes.len())]);
            return Err(Errno::PIPE.into());
        }
        if let Some(error) = self.caches[cache].take_error(inode) {
            return Err(error.into());
        }
        // Many servers are asked for the space only when the pages leave.
        if self.full && (!self.weather.network || self.rng.once_in(2)) {
            self.tally.full_disk += 1;
            let taken = if self.weather.network {
                self.rng.below(bytes.len())
            } else {
                0
            };
            if self.rng.once_in(2) {
                self.write(cache, inode, end, &bytes[..taken]);
            }
            return Err(Errno::NOSPC.into());
        }
        if self.rng.once_in(self.weather.bad_writes) {
            self.tally.bad_writes += 1;
            let taken = self.rng.below(bytes.len() + 1);
            self.write(cache, inode, end, &bytes[..taken]);
            return Err(Errno::IO.into());
        }
        let taken = if self.rng.once_in(self.weather.short_writes) {
            self.tally.short_writes += 1;
            1 + self.rng.below(bytes.len())
        } else {
            bytes.len()
        };
        self.write(cache, inode, end, &bytes[..taken]);
        Ok(taken)
    }

    fn sync(&mut self, cache: usize, inode: usize) -> io::Result<()> {
        let mut pages = self.caches[cache].dirty_of(inode);
        let stalls = !pages.is_empty() && self.rng.once_in(self.weather.stalled_syncs);
        let kept = if stalls { 1 + self.rng.below(pages.len()) } else { 0 };
        while pages.len() > kept && !self.stalled.contains(&cache) {
            let page = pages.swap_remove(self.rng.below(pages.len()));
            self.write_back(cache, inode, page);
        }
        if stalls && self.stalled.insert(cache) {
            self.newly_stalled.push(cache);
        }
        if self.stalled.contains(&cache) {
            // What a soft mount says; what was written stays here (nfs(5), soft).
            return Err(Errno::TIMEDOUT.into());
        }
        match self.caches[cache].take_error(inode) {
            Some(error) => Err(error.into()),
            None => Ok(()),
        }
    }

    /// Whoever closed this file elsewhere has handed over what it had written.
    fn closed_elsewhere(&mut self, cache: usize, inode: usize) {
        for other in (0..self.caches.len()).filter(|other| *other != cache) {
            for page in self.caches[other].dirty_of(inode) {
                self.write_back(other, inode, page);
            }
        }
    }

    fn create(&mut self, cache: usize, path: &Path) -> io::Result<usize> {
        self.know(cache, path);
        if let Some(inode) = self.names.get(path) {
            return Ok(*inode);
        }
        if self.full {
            self.tally.full_disk += 1;
            return Err(Errno::NOSPC.into());
        }
        self.inodes.push(super::Inode::default());
        let inode = self.inodes.len() - 1;
        self.names.insert(path.to_owned(), inode);
        Ok(inode)
    }
}

fn mailbox_error(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> MailboxError {
    let path = path.to_owned();
    move |source| MailboxError::Io { doing, path, source }
}

impl Storage for View {
    fn size(&self, path: &Path, _fresh: bool) -> io::Result<Option<u64>> {
        self.with(|files, cache| {
            files.read_fails()?;
            let inode = files.lookup(cache, path);
            Ok(inode.map(|inode| files.size_seen(cache, inode) as u64))
        })
    }

    fn open_to_read(&self, path: &Path) -> Result<Box<dyn ReadFile>, MailboxError> {
        Ok(Box::new(self.open(path).map_err(mailbox_error("open", path))?))
    }

    fn open_to_append(&self, path: &Path, _kind: FilesystemKind) -> Result<Box<dyn RawFile>, AppendError> {
        let inode = self.with(|files, cache| {
            files.read_fails()?;
            let inode = match files.lookup(cache, path) {
                Some(inode) => inode,
                None => files.create(cache, path)?,
            };
            files.closed_elsewhere(cache, inode);
            Ok(inode)
        });
        let inode = inode.map_err(mailbox_error("open", path))?;
        Ok(Box::new(Open {
            view: self.clone(),
            path: path.to_owned(),
            inode,
        }))
    }

    fn make_file(&self, path: &Path, _access: Access) -> Result<(), MailboxError> {
        let made = self.with(|files, cache| files.create(cache, path));
        made.map(drop).map_err(mailbox_error("open", path))
    }

    fn make_folder(&self, _path: &Path, _access: Access) -> Result<bool, MailboxError> {
        Ok(false)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.with(|files, cache| {
            let fails = files.rng.once_in(files.weather.bad_renames);
            if fails && !files.rng.once_in(files.weather.renames_happened) {
                files.tally.bad_renames += 1;
                return Err(Errno::IO.into());
            }
            let Some(inode) = files.names.remove(from) else {
                files.know(cache, from);
                return Err(Errno::NOENT.into());
            };
            files.names.insert(to.to_owned(), inode);
            if fails {
                files.tally.renames_happened += 1;
                return Err(Errno::IO.into());
            }
            files.know(cache, from);
            files.know(cache, to);
            Ok(())
        })
    }

    fn is_same_file(&self, one: &Path, other: &Path) -> io::Result<bool> {
        self.with(|files, cache| {
            files.read_fails()?;
            let (one, other) = (files.lookup(cache, one), files.lookup(cache, other));
            match (one, other) {
                (Some(one), Some(other)) => Ok(one == other),
                _ => Err(Errno::NOENT.into()),
            }
        })
    }

    fn names(&self, folder: &Path) -> io::Result<Vec<OsString>> {
        self.with(|files, cache| {
            files.read_fails()?;
            if let Some((known, until)) = files.caches[cache].folders.get(folder)
                && *until > files.now
            {
                return Ok(known.clone());
            }
            let inside = files.names.keys().filter(|path| path.parent() == Some(folder));
            let names: Vec<OsString> = inside.filter_map(|path| path.file_name().map(OsString::from)).collect();
            if files.weather.network && files.rng.once_in(files.weather.stale_names) {
                let until = files.now + files.rng.below_long(REMEMBERED);
                files.caches[cache]
                    .folders
                    .insert(folder.to_owned(), (names.clone(), until));
            }
            Ok(names)
        })
    }

    fn sync_folder(&self, folder: &Path) -> Result<(), MailboxError> {
        let synced = self.with(|files, _| files.read_fails());
        synced.map_err(mailbox_error("sync", folder))
    }
}

/// A file that is open on one machine.
#[derive(Debug)]
struct Open {
    view: View,
    path: PathBuf,
    inode: usize,
}

fn place(offset: u64) -> usize {
    usize::try_from(offset).unwrap_or(usize::MAX)
}

impl ReadFile for Open {
    fn size(&self) -> io::Result<u64> {
        self.view
            .with(|files, cache| Ok(files.size_seen(cache, self.inode) as u64))
    }

    fn read(&self, into: &mut Vec<u8>, offset: u64, length: usize) -> io::Result<()> {
        self.view.with(|files, cache| {
            files.read_fails()?;
            into.extend(files.read(cache, self.inode, place(offset), length));
            Ok(())
        })
    }

    fn forget_copy(&self, _offset: u64) {
        self.view.with(|files, cache| {
            let inode = self.inode;
            files.caches[cache].pages.retain(|(file, _), _| *file != inode);
        });
    }
}

impl RawFile for Open {
    fn append(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.view.with(|files, cache| files.append(cache, self.inode, bytes))
    }

    fn rewrite(&mut self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.view.with(|files, cache| {
            files.write(cache, self.inode, place(offset), bytes);
            Ok(())
        })
    }

    fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<usize> {
        self.view.with(|files, cache| {
            files.read_fails()?;
            let read = files.read(cache, self.inode, place(offset), into.len());
            into[..read.len()].copy_from_slice(&read);
            Ok(read.len())
        })
    }

    fn size(&self) -> io::Result<u64> {
        self.view
            .with(|files, cache| Ok(files.size_seen(cache, self.inode) as u64))
    }

    fn sync(&mut self) -> io::Result<()> {
        self.view.with(|files, cache| files.sync(cache, self.inode))
    }

    fn reopen(&mut self) -> io::Result<()> {
        self.view.with(|files, cache| {
            files.read_fails()?;
            match files.lookup(cache, &self.path) {
                Some(inode) if inode == self.inode => Ok(()),
                _ => Err(io::Error::other(
                    "the file was moved away or replaced while it was open",
                )),
            }
        })
    }
}
