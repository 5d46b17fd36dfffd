//! Requests about names: looked up in what a client believes, changed at the server at once, as NFS does.

use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::time::Instant;

use rustix::fs::{AtFlags, CWD, Mode, OFlags};
use rustix::io::{Errno, Result};

use super::{Host, Seen, State, check_name, is_file};
use crate::folder::Known;
use crate::server::through_proc;

/// Who asks, and that a file is to be his.
#[derive(Debug, Clone, Copy)]
pub struct Asker {
    /// Which mount.
    pub client: usize,
    /// The process's user.
    pub uid: u32,
    /// The process's group.
    pub gid: u32,
}

impl Host {
    /// Looks a name up. What is found is held until the kernel forgets it.
    pub fn lookup(&self, client: usize, parent: u64, name: &OsStr) -> Result<Seen> {
        check_name(name)?;
        let mut state = self.lock();
        let now = Instant::now();
        let known = state.resolve(client, parent, name, now, self)?;
        let seen = state.present(client, known, now, self);
        if matches!(seen, Err(Errno::STALE)) {
            // The kernel looks the name up once more.
            state.folder(client, parent).forget(known);
        }
        seen
    }

    /// Makes something under a name at the server, and answers as a look-up does.
    fn make(
        &self,
        asker: Asker,
        parent: u64,
        name: &OsStr,
        make: impl FnOnce(&std::os::fd::OwnedFd) -> Result<()>,
    ) -> Result<Seen> {
        check_name(name)?;
        let mut state = self.lock();
        let folder = state.server.fd(parent)?;
        let before = state.server.version(parent)?;
        make(&folder)?;
        let known = state.server.find(parent, name)?;
        if asker.uid != rustix::process::geteuid().as_raw() {
            let (user, group) = (
                rustix::fs::Uid::from_raw(asker.uid),
                rustix::fs::Gid::from_raw(asker.gid),
            );
            rustix::fs::chownat(&*folder, name, Some(user), Some(group), AtFlags::SYMLINK_NOFOLLOW)?;
        }
        state.server.changed(parent);
        let after = state.server.version(parent)?;
        let view = state.folder(asker.client, parent);
        view.changed_by_us(before, after);
        view.learn(name, Some(known));
        state.ask(asker.client, known.ino, Instant::now())?;
        state.present(asker.client, known, Instant::now(), self)
    }

    /// A regular file; one that is there is opened unless it must be new.
    pub fn create(&self, asker: Asker, parent: u64, name: &OsStr, mode: u32, must_be_new: bool) -> Result<Seen> {
        let mut flags = OFlags::CREATE | OFlags::WRONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        flags.set(OFlags::EXCL, must_be_new);
        self.make(asker, parent, name, |folder| {
            rustix::fs::openat(folder, name, flags, Mode::from_raw_mode(mode)).map(drop)
        })
    }

    /// A folder.
    pub fn make_folder(&self, asker: Asker, parent: u64, name: &OsStr, mode: u32) -> Result<Seen> {
        self.make(asker, parent, name, |folder| {
            rustix::fs::mkdirat(folder, name, Mode::from_raw_mode(mode))
        })
    }

    /// A symbolic link.
    pub fn link_to(&self, asker: Asker, parent: u64, name: &OsStr, target: &Path) -> Result<Seen> {
        self.make(asker, parent, name, |folder| {
            rustix::fs::symlinkat(target, folder, name)
        })
    }

    /// Another name for a file.
    pub fn link(&self, asker: Asker, ino: u64, parent: u64, name: &OsStr) -> Result<Seen> {
        let file = self.lock().server.fd(ino)?;
        self.make(asker, parent, name, |folder| {
            rustix::fs::linkat(CWD, through_proc(&file), folder, name, AtFlags::SYMLINK_FOLLOW)
        })
    }

    /// Where a symbolic link leads.
    pub fn read_link(&self, ino: u64) -> Result<Vec<u8>> {
        let fd = self.lock().server.fd(ino)?;
        Ok(rustix::fs::readlinkat(&*fd, "", Vec::new())?.into_bytes())
    }

    /// Removes a name.
    pub fn remove(&self, client: usize, parent: u64, name: &OsStr, folder: bool) -> Result<()> {
        let mut state = self.lock();
        let before = state.server.version(parent)?;
        let outcome = state.server.remove(client, parent, name, folder);
        let after = state.server.version(parent)?;
        let view = state.folder(client, parent);
        match outcome {
            Ok(()) => {
                view.changed_by_us(before, after);
                view.learn(name, None);
            }
            // The client hears how things are.
            Err(_) => view.told(after, Instant::now()),
        }
        outcome
    }

    /// Gives a file another name.
    pub fn rename(&self, client: usize, from: (u64, &OsStr), to: (u64, &OsStr), flags: u32) -> Result<()> {
        check_name(to.1)?;
        let mut state = self.lock();
        let before = (state.server.version(from.0)?, state.server.version(to.0)?);
        state.server.rename(client, from, to, flags)?;
        let after = (state.server.version(from.0)?, state.server.version(to.0)?);
        let known = state.server.find(to.0, to.1)?;
        state.folder(client, from.0).changed_by_us(before.0, after.0);
        if from.0 != to.0 {
            state.folder(client, to.0).changed_by_us(before.1, after.1);
        }
        state.folder(client, from.0).learn(from.1, None);
        state.folder(client, to.0).learn(to.1, Some(known));
        state.server.drop_unknown(known.ino);
        Ok(())
    }

    /// The names in a folder as the client knows them.
    pub fn list(&self, client: usize, ino: u64) -> Result<Vec<OsString>> {
        let mut state = self.lock();
        let now = Instant::now();
        if !state.folder(client, ino).is_believed(now, self.settings.names) {
            state.ask(client, ino, now)?;
        }
        if let Some(names) = state.folder(client, ino).listing() {
            return Ok(names.to_vec());
        }
        let names = state.server.list(ino)?;
        state.folder(client, ino).list(names.clone());
        Ok(names)
    }

    /// The number and kind of a file in a listing.
    pub fn listed(&self, parent: u64, name: &OsStr) -> Option<(u64, u32)> {
        let folder = self.lock().server.fd(parent).ok()?;
        let stat = rustix::fs::statat(&*folder, name, AtFlags::SYMLINK_NOFOLLOW).ok()?;
        Some((stat.st_ino, stat.st_mode))
    }

    /// Rights, owner and times are the server's at once.
    pub fn change(&self, client: usize, ino: u64, change: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
        let mut state = self.lock();
        let fd = state.server.fd(ino)?;
        change(&through_proc(&fd))?;
        state.server.changed(ino);
        state.ask(client, ino, Instant::now())?;
        Ok(())
    }
}

impl State {
    /// The file under a name, as the client believes or the server says.
    fn resolve(&mut self, client: usize, parent: u64, name: &OsStr, now: Instant, host: &Host) -> Result<Known> {
        if !self.folder(client, parent).is_believed(now, host.settings.names) {
            self.ask(client, parent, now)?;
        }
        let believed = self.folder(client, parent).get(name);
        let there = self.server.peek(parent, name);
        match believed {
            Some(None) => {
                self.told.stale_absences += u64::from(there.is_some());
                return Err(Errno::NOENT);
            }
            Some(Some(known)) if self.server.is_known(known) => {
                self.told.stale_names += u64::from(there != Some(known.ino));
                return Ok(known);
            }
            _ => {}
        }
        let found = match self.server.find(parent, name) {
            Ok(known) => Some(known),
            Err(Errno::NOENT) => None,
            Err(error) => return Err(error),
        };
        self.folder(client, parent).learn(name, found);
        found.ok_or(Errno::NOENT)
    }

    /// What the client knows of a file that it has found, which its kernel holds from now on.
    fn present(&mut self, client: usize, known: Known, now: Instant, host: &Host) -> Result<Seen> {
        let stat = self.server.stat(client, known.ino)?;
        let life = host.settings.attributes;
        // A folder's names are believed longer than that somebody walks through it.
        if is_file(&stat) && self.file(client, known.ino).believed_for(now, life).is_zero() {
            self.ask(client, known.ino, now)?;
        }
        let seen = self.seen(client, known.ino, &host.settings)?;
        self.server.hold(client, known.ino);
        Ok(seen)
    }
}
