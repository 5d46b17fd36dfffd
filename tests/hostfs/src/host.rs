//! The server and its clients together: each request of a client, answered by what it believes or by asking.

pub mod names;
mod told;

use std::collections::HashMap;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::fs::Stat;
use rustix::io::{Errno, Result};

use crate::faults::{Act, Faults, Op};
use crate::file::{FileView, Loss, PAGE, Step};
use crate::folder::FolderView;
use crate::locks::{Locks, Owner};
use crate::server::Server;
use crate::settings::Settings;

pub use told::Told;

/// What is answered about a file.
#[derive(Debug, Clone, Copy)]
pub struct Seen {
    /// Its attributes, with the client's size.
    pub stat: Stat,
    /// How long the client believes them.
    pub believed_for: Duration,
}

/// The whole filesystem.
#[derive(Debug)]
pub struct Host {
    settings: Settings,
    names: Vec<String>,
    state: Mutex<State>,
    faults: Mutex<Faults>,
    /// Something is on its way.
    sent: Condvar,
    /// Something has landed.
    landed: Condvar,
}

#[derive(Debug)]
struct State {
    server: Server,
    clients: Vec<Client>,
    locks: Locks,
    told: Told,
}

/// The caches of one mount.
#[derive(Debug, Default)]
struct Client {
    files: HashMap<u64, FileView>,
    folders: HashMap<u64, FolderView>,
}

impl Host {
    /// A server with this folder and clients of these names.
    pub fn new(backing: &std::path::Path, names: Vec<String>, settings: Settings, faults: Faults) -> Result<Self> {
        Ok(Self {
            settings,
            state: Mutex::new(State {
                server: Server::open(backing, names.len())?,
                clients: names.iter().map(|_| Client::default()).collect(),
                locks: Locks::default(),
                told: Told::default(),
            }),
            names,
            faults: Mutex::new(faults),
            sent: Condvar::new(),
            landed: Condvar::new(),
        })
    }

    /// How it was set up.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// What the clients were told that was not so any more.
    pub fn told(&self) -> Told {
        self.lock().told
    }

    /// The rules of what goes wrong.
    pub fn faults(&self) -> MutexGuard<'_, Faults> {
        self.faults.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What goes wrong with a request about a file, or about a name in a folder.
    pub fn decide(&self, client: usize, op: Op, ino: u64, name: Option<&std::ffi::OsStr>) -> Option<Act> {
        if self.faults().is_quiet() {
            return None;
        }
        let mut path = self.lock().server.path(ino);
        if let Some(name) = name {
            path = format!("{path}/{}", name.display());
        }
        self.faults().decide(&self.names[client], op, &path)
    }

    /// Fresh attributes, as statx(2) with `AT_STATX_FORCE_SYNC` and every request that outlives a client's belief want.
    pub fn attributes(&self, client: usize, ino: u64) -> Result<Seen> {
        let mut state = self.lock();
        state.ask(client, ino, Instant::now())?;
        state.seen(client, ino, &self.settings)
    }

    /// Opening asks for attributes, whatever is believed.
    pub fn open(&self, client: usize, ino: u64) -> Result<Stat> {
        Ok(self.attributes(client, ino)?.stat)
    }

    /// Reads what is there for this client.
    pub fn read(&self, client: usize, ino: u64, offset: u64, length: u64) -> Result<Vec<u8>> {
        let mut state = self.lock();
        let now = Instant::now();
        let believed = state.file(client, ino).believed_for(now, self.settings.attributes);
        if believed.is_zero() {
            state.ask(client, ino, now)?;
        }
        for page in state.file(client, ino).missing(offset, length) {
            let bytes = state.server.read(ino, page * PAGE, PAGE)?;
            state.file(client, ino).keep(page, bytes);
        }
        let bytes = state.file(client, ino).read(offset, length);
        state.told.nul_reads += u64::from(bytes.contains(&0));
        Ok(bytes)
    }

    /// Takes bytes into the client's cache; `None`: at the end of the file.
    pub fn write(&self, client: usize, ino: u64, offset: Option<u64>, bytes: &[u8]) -> Result<()> {
        let mut state = self.lock();
        let now = Instant::now();
        state.ask(client, ino, now)?;
        let file = state.file(client, ino);
        let offset = offset.unwrap_or_else(|| file.end_to_append());
        file.write(offset, bytes, now);
        self.sent.notify_all();
        Ok(())
    }

    /// Whether the client has written something that was not synced.
    pub fn is_dirty(&self, client: usize, ino: u64) -> bool {
        self.lock().file(client, ino).is_dirty()
    }

    /// Sends what was written, and waits until it is on the server unless that is late.
    pub fn sync(&self, client: usize, ino: u64) {
        let mut state = self.lock();
        let until = state.file(client, ino).send(Instant::now(), &self.settings);
        loop {
            let now = Instant::now();
            state.land(client, ino, now);
            self.landed.notify_all();
            if now >= until {
                break;
            }
            state = self
                .landed
                .wait_timeout(state, until - now)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
        self.sent.notify_all();
    }

    /// A sync fails.
    pub fn fail_sync(&self, client: usize, ino: u64, loss: Loss) {
        let mut state = self.lock();
        let steps = state.file(client, ino).fail(loss);
        state.carry_out(client, ino, &steps);
    }

    /// Cuts a file, or fills it up with NULs, at the server.
    pub fn cut(&self, client: usize, ino: u64, size: u64) -> Result<()> {
        let mut state = self.lock();
        let steps = state.file(client, ino).everything();
        state.carry_out(client, ino, &steps);
        state.server.cut(ino, size)?;
        let version = state.server.version(ino)?;
        state.file(client, ino).cut(version, Instant::now());
        Ok(())
    }

    /// A client's kernel has forgotten a file so many times.
    pub fn forget(&self, client: usize, ino: u64, times: u64) {
        let mut state = self.lock();
        if state.server.forget(client, ino, times) {
            let clients = &mut state.clients[client];
            clients.folders.remove(&ino);
            if clients.files.get(&ino).is_some_and(FileView::is_pending) {
                return;
            }
            clients.files.remove(&ino);
            state.server.drop_unknown(ino);
        }
    }

    /// Takes or gives back a lock that holds for all clients; false if another's is in the way.
    pub fn flock(&self, client: usize, ino: u64, number: u64, exclusive: Option<bool>) -> bool {
        let owner = Owner { client, number };
        let mut state = self.lock();
        match exclusive {
            Some(exclusive) => state.locks.take(ino, owner, exclusive),
            None => {
                state.locks.release(ino, owner);
                true
            }
        }
    }

    /// The room on the server.
    pub fn space(&self) -> Result<rustix::fs::StatFs> {
        let folder = self.lock().server.fd(crate::server::ROOT)?;
        rustix::fs::fstatfs(&*folder)
    }

    /// Has everything land when its time has come, until the process ends.
    pub fn carry(&self) {
        let mut state = self.lock();
        loop {
            let now = Instant::now();
            let next = state.carry(now, &self.settings);
            self.landed.notify_all();
            let wait = next.map_or(Duration::from_secs(3600), |next| next.saturating_duration_since(now));
            state = self
                .sent
                .wait_timeout(state, wait)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
    }
}

impl State {
    fn file(&mut self, client: usize, ino: u64) -> &mut FileView {
        self.clients[client].files.entry(ino).or_default()
    }

    fn folder(&mut self, client: usize, ino: u64) -> &mut FolderView {
        self.clients[client].folders.entry(ino).or_default()
    }

    /// Asks the server for the attributes of a file or folder.
    fn ask(&mut self, client: usize, ino: u64, now: Instant) -> Result<Stat> {
        let stat = self.server.stat(client, ino)?;
        let version = self.server.version(ino)?;
        if is_folder(&stat) {
            self.folder(client, ino).told(version, now);
        } else {
            self.file(client, ino).told(version, now);
        }
        Ok(stat)
    }

    /// The attributes as the client has them.
    fn seen(&mut self, client: usize, ino: u64, settings: &Settings) -> Result<Seen> {
        let now = Instant::now();
        let mut stat = self.server.stat(client, ino)?;
        if is_folder(&stat) {
            return Ok(Seen {
                stat,
                believed_for: settings.attributes,
            });
        }
        if is_file(&stat) {
            let believed_for = self.file(client, ino).believed_for(now, settings.attributes);
            let size = self.file(client, ino).size();
            self.told.stale_sizes += u64::from(i64::try_from(size).is_ok_and(|size| size < stat.st_size));
            stat.st_size = i64::try_from(size).unwrap_or(i64::MAX);
            return Ok(Seen { stat, believed_for });
        }
        Ok(Seen {
            stat,
            believed_for: Duration::ZERO,
        })
    }

    fn land(&mut self, client: usize, ino: u64, now: Instant) {
        let steps = self.file(client, ino).landing(now);
        self.carry_out(client, ino, &steps);
    }

    fn carry_out(&mut self, client: usize, ino: u64, steps: &[Step]) {
        for step in steps {
            let before = self.server.version(ino).unwrap_or_default();
            if let Err(error) = self.server.carry_out(ino, step) {
                eprintln!("codeswarm-hostfs: {} was not written: {error}", self.server.path(ino));
            }
            let after = self.server.version(ino).unwrap_or_default();
            self.file(client, ino).landed(step, before, after);
        }
    }

    /// Everything that is due; returns when to come again.
    fn carry(&mut self, now: Instant, settings: &Settings) -> Option<Instant> {
        let mut next = None;
        for client in 0..self.clients.len() {
            let pending = self.clients[client].files.iter().filter(|(_, file)| file.is_pending());
            for ino in pending.map(|(ino, _)| *ino).collect::<Vec<_>>() {
                if self.file(client, ino).is_overdue(now, settings) {
                    self.file(client, ino).send(now, settings);
                }
                self.land(client, ino, now);
                let file = self.file(client, ino);
                let times = [file.next_landing(), file.next_write_back(settings), next];
                next = times.into_iter().flatten().min();
                if !file.is_pending() && self.server.forget(client, ino, 0) {
                    self.clients[client].files.remove(&ino);
                    self.server.drop_unknown(ino);
                }
            }
        }
        next
    }
}

pub(crate) fn is_folder(stat: &Stat) -> bool {
    rustix::fs::FileType::from_raw_mode(stat.st_mode) == rustix::fs::FileType::Directory
}

pub(crate) fn is_file(stat: &Stat) -> bool {
    rustix::fs::FileType::from_raw_mode(stat.st_mode) == rustix::fs::FileType::RegularFile
}

/// Names cannot be longer (NAME_MAX), and nothing else is refused.
fn check_name(name: &std::ffi::OsStr) -> Result<()> {
    if name.len() > 255 {
        Err(Errno::NAMETOOLONG)
    } else {
        Ok(())
    }
}
