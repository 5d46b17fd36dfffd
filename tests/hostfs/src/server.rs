//! The server: the backing folder, and the files in it that some client's kernel has a number for.

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{AtFlags, CWD, Dir, Mode, OFlags, Stat};
use rustix::io::{Errno, Result};

use crate::file::Step;
use crate::folder::{Known, Version};

/// The kernel's number for the folder that is mounted.
pub(crate) const ROOT: u64 = 1;

/// A file or folder as it is on the server.
#[derive(Debug)]
struct Node {
    /// Opened without any right, so that it is the same file whatever becomes of its name.
    fd: Arc<OwnedFd>,
    birth: u64,
    changes: u64,
    /// How often each client's kernel was told of it and has not forgotten it.
    lookups: Vec<u64>,
    /// The client that has removed it.
    removed_by: Option<usize>,
}

/// The backing folder.
#[derive(Debug)]
pub(crate) struct Server {
    folder: PathBuf,
    /// Numbers of inodes are those of one filesystem.
    device: u64,
    clients: usize,
    births: u64,
    nodes: HashMap<u64, Node>,
}

impl Server {
    pub(crate) fn open(folder: &Path, clients: usize) -> Result<Self> {
        let folder =
            std::fs::canonicalize(folder).map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
        let fd = rustix::fs::open(&folder, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
        let device = rustix::fs::fstat(&fd)?.st_dev;
        let root = Node {
            fd: Arc::new(fd),
            birth: 0,
            changes: 0,
            lookups: vec![1; clients],
            removed_by: None,
        };
        Ok(Self {
            folder,
            device,
            clients,
            births: 0,
            nodes: HashMap::from([(ROOT, root)]),
        })
    }

    pub(crate) fn fd(&self, ino: u64) -> Result<Arc<OwnedFd>> {
        self.nodes
            .get(&ino)
            .map(|node| Arc::clone(&node.fd))
            .ok_or(Errno::STALE)
    }

    /// Its name in the backing folder now, for matching and messages.
    pub(crate) fn path(&self, ino: u64) -> String {
        let Some(node) = self.nodes.get(&ino) else {
            return String::new();
        };
        let path = rustix::fs::readlink(through_proc(&node.fd), Vec::new()).unwrap_or_default();
        let path = PathBuf::from(OsString::from_vec(path.into_bytes()));
        path.strip_prefix(&self.folder).unwrap_or(&path).display().to_string()
    }

    /// The attributes as they are; ESTALE if another client has removed it.
    pub(crate) fn stat(&self, client: usize, ino: u64) -> Result<Stat> {
        let node = self.nodes.get(&ino).ok_or(Errno::STALE)?;
        let mut stat = rustix::fs::fstat(&node.fd)?;
        if stat.st_nlink == 0 && node.removed_by != Some(client) {
            return Err(Errno::STALE);
        }
        stat.st_ino = ino;
        Ok(stat)
    }

    /// What tells this state of it from the next.
    pub(crate) fn version(&self, ino: u64) -> Result<Version> {
        let node = self.nodes.get(&ino).ok_or(Errno::STALE)?;
        let stat = rustix::fs::fstat(&node.fd)?;
        Ok(Version {
            changes: node.changes,
            modified: i128::from(stat.st_mtime) * 1_000_000_000 + i128::from(stat.st_mtime_nsec),
            size: u64::try_from(stat.st_size).unwrap_or(0),
        })
    }

    pub(crate) fn changed(&mut self, ino: u64) {
        if let Some(node) = self.nodes.get_mut(&ino) {
            node.changes += 1;
        }
    }

    /// The file under a name now, which stays known until every client has forgotten it.
    pub(crate) fn find(&mut self, parent: u64, name: &OsStr) -> Result<Known> {
        let parent = self.fd(parent)?;
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = rustix::fs::openat(&*parent, name, flags, Mode::empty())?;
        let stat = rustix::fs::fstat(&fd)?;
        let ino = stat.st_ino;
        if ino == ROOT || stat.st_dev != self.device {
            return Err(Errno::XDEV);
        }
        let births = &mut self.births;
        let clients = self.clients;
        let node = self.nodes.entry(ino).or_insert_with(|| {
            *births += 1;
            Node {
                fd: Arc::new(fd),
                birth: *births,
                changes: 0,
                lookups: vec![0; clients],
                removed_by: None,
            }
        });
        Ok(Known { ino, birth: node.birth })
    }

    /// Whether a file that was known is still the one with its number.
    pub(crate) fn is_known(&self, known: Known) -> bool {
        self.nodes.get(&known.ino).is_some_and(|node| node.birth == known.birth)
    }

    /// The inode under a name now, without any cache.
    pub(crate) fn peek(&self, parent: u64, name: &OsStr) -> Option<u64> {
        let parent = self.fd(parent).ok()?;
        let stat = rustix::fs::statat(&*parent, name, AtFlags::SYMLINK_NOFOLLOW).ok()?;
        Some(stat.st_ino)
    }

    /// A client's kernel has been told of it.
    pub(crate) fn hold(&mut self, client: usize, ino: u64) {
        if let Some(node) = self.nodes.get_mut(&ino) {
            node.lookups[client] += 1;
        }
    }

    /// A client's kernel has forgotten it so many times. Returns whether that client knows it no more.
    pub(crate) fn forget(&mut self, client: usize, ino: u64, times: u64) -> bool {
        let Some(node) = self.nodes.get_mut(&ino) else {
            return false;
        };
        node.lookups[client] = node.lookups[client].saturating_sub(times);
        node.lookups[client] == 0
    }

    /// Lets go of what no client knows.
    pub(crate) fn drop_unknown(&mut self, ino: u64) {
        if ino != ROOT
            && self
                .nodes
                .get(&ino)
                .is_some_and(|node| node.lookups.iter().all(|count| *count == 0))
        {
            self.nodes.remove(&ino);
        }
    }

    pub(crate) fn remove(&mut self, client: usize, parent: u64, name: &OsStr, folder: bool) -> Result<()> {
        let gone = self.peek(parent, name);
        let parent_fd = self.fd(parent)?;
        let flags = if folder { AtFlags::REMOVEDIR } else { AtFlags::empty() };
        rustix::fs::unlinkat(&*parent_fd, name, flags)?;
        self.gone(client, gone);
        self.changed(parent);
        Ok(())
    }

    pub(crate) fn rename(&mut self, client: usize, from: (u64, &OsStr), to: (u64, &OsStr), flags: u32) -> Result<()> {
        let replaced = self.peek(to.0, to.1);
        let (source, target) = (self.fd(from.0)?, self.fd(to.0)?);
        let flags = rustix::fs::RenameFlags::from_bits_retain(flags);
        rustix::fs::renameat_with(&*source, from.1, &*target, to.1, flags)?;
        if flags.is_empty() {
            self.gone(client, replaced);
        }
        self.changed(from.0);
        self.changed(to.0);
        Ok(())
    }

    fn gone(&mut self, client: usize, ino: Option<u64>) {
        if let Some(node) = ino.and_then(|ino| self.nodes.get_mut(&ino)) {
            node.removed_by = Some(client);
        }
    }

    /// The names in a folder, but for itself and the one above.
    pub(crate) fn list(&self, ino: u64) -> Result<Vec<OsString>> {
        let folder = self.open_again(ino, OFlags::RDONLY | OFlags::DIRECTORY)?;
        let mut names = Vec::new();
        for entry in Dir::read_from(&folder)? {
            let name = entry?.file_name().to_bytes().to_vec();
            if name != b"." && name != b".." {
                names.push(OsString::from_vec(name));
            }
        }
        Ok(names)
    }

    pub(crate) fn read(&self, ino: u64, offset: u64, length: u64) -> Result<Vec<u8>> {
        let file = File::from(self.open_again(ino, OFlags::RDONLY)?);
        let mut bytes = vec![0; usize::try_from(length).unwrap_or(0)];
        let mut read = 0;
        while read < bytes.len() {
            match file.read_at(&mut bytes[read..], offset + read as u64).map_err(of_io)? {
                0 => break,
                more => read += more,
            }
        }
        bytes.truncate(read);
        Ok(bytes)
    }

    pub(crate) fn carry_out(&mut self, ino: u64, step: &Step) -> Result<()> {
        let file = File::from(self.open_again(ino, OFlags::RDWR)?);
        match step {
            Step::Grow(size) if file.metadata().map_err(of_io)?.len() < *size => file.set_len(*size).map_err(of_io)?,
            Step::Grow(_) => return Ok(()),
            Step::Write(offset, bytes) => file.write_all_at(bytes, *offset).map_err(of_io)?,
        }
        self.changed(ino);
        Ok(())
    }

    pub(crate) fn cut(&mut self, ino: u64, size: u64) -> Result<()> {
        let file = File::from(self.open_again(ino, OFlags::RDWR)?);
        file.set_len(size).map_err(of_io)?;
        self.changed(ino);
        Ok(())
    }

    /// The same file with rights to its content.
    pub(crate) fn open_again(&self, ino: u64, flags: OFlags) -> Result<OwnedFd> {
        let fd = self.fd(ino)?;
        rustix::fs::openat(CWD, through_proc(&fd), flags | OFlags::CLOEXEC, Mode::empty())
    }
}

pub(crate) fn through_proc(fd: &impl AsFd) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", fd.as_fd().as_raw_fd()))
}

fn of_io(error: io::Error) -> Errno {
    Errno::from_io_error(&error).unwrap_or(Errno::IO)
}
