//! A filesystem that several machines share, with the vices of the real ones: what a machine writes stays in its own cache
//! until it is synced, or leaves it late and page by page in any order; names, their absence, sizes and pages of others are
//! remembered for up to a minute; a rename may fail, or fail and have happened; a disk is full, or has an error, and says so
//! at the write, at the sync or at the next one.
//!
//! What the server has is safe. What a machine has not handed over dies with the machine, but not with a process of it.

mod cache;
mod view;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::io::Errno;

use crate::rng::Rng;
use crate::tally::Tally;
use cache::Cache;
pub use view::View;

/// A page, in bytes. Shorter than a record, so that most lines lie on several.
pub const PAGE: usize = 160;

/// The longest that an attribute or a name is remembered, in milliseconds.
const REMEMBERED: u64 = 60_000;

/// Written pages leave a machine after so long at the latest, in milliseconds.
const WRITE_BACK: u64 = 30_000;

/// How bad it is: each is 'once in so many times', 0 for never.
#[derive(Debug, Clone, Copy, Default)]
pub struct Weather {
    /// Another machine's writes are seen late.
    pub network: bool,
    /// A name, or that there is none, is remembered.
    pub stale_names: usize,
    /// A page of another machine's is remembered beyond the opening.
    pub stale_pages: usize,
    /// A write fails with an error of the disk.
    pub bad_writes: usize,
    /// A sync does.
    pub bad_syncs: usize,
    /// A write takes only a part.
    pub short_writes: usize,
    /// Looking, opening or reading fails.
    pub bad_reads: usize,
    /// A rename fails.
    pub bad_renames: usize,
    /// Of these: it has happened all the same.
    pub renames_happened: usize,
    /// The server is gone in the middle of a sync, for a minute or so.
    pub stalled_syncs: usize,
}

/// One file, as its server has it.
#[derive(Debug, Default, Clone)]
struct Inode {
    bytes: Vec<u8>,
}

/// All files and all caches.
#[derive(Debug)]
pub struct Files {
    pub weather: Weather,
    /// The disk or the quota is full.
    pub full: bool,
    pub tally: Tally,
    /// Machines that cannot reach the server: what they have written stays where it is.
    pub stalled: BTreeSet<usize>,
    /// Those of which the world does not know yet.
    pub newly_stalled: Vec<usize>,
    now: u64,
    rng: Rng,
    inodes: Vec<Inode>,
    names: BTreeMap<PathBuf, usize>,
    caches: Vec<Cache>,
}

/// A handle to them.
#[derive(Debug, Clone)]
pub struct Disk(Arc<Mutex<Files>>);

impl Disk {
    /// Nothing is there. So many machines share it.
    pub fn new(seed: u64, machines: usize, weather: Weather) -> Self {
        Self(Arc::new(Mutex::new(Files {
            weather,
            full: false,
            tally: Tally::default(),
            stalled: BTreeSet::new(),
            newly_stalled: Vec::new(),
            now: 0,
            rng: Rng::new(seed),
            inodes: Vec::new(),
            names: BTreeMap::new(),
            caches: (0..machines).map(|_| Cache::default()).collect(),
        })))
    }

    /// Its insides.
    pub fn files(&self) -> MutexGuard<'_, Files> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The filesystem as one machine sees it.
    pub fn seen_from(&self, machine: usize) -> View {
        View::new(self.clone(), machine)
    }
}

impl Files {
    /// Which cache a machine uses: on a local filesystem all processes share one kernel.
    fn cache_of(&self, machine: usize) -> usize {
        if self.weather.network { machine } else { 0 }
    }

    /// Time passes; what has waited too long leaves its machine.
    pub fn time_is(&mut self, now: u64) {
        self.now = now;
        let all = 0..self.caches.len();
        for machine in all
            .filter(|machine| !self.stalled.contains(machine))
            .collect::<Vec<_>>()
        {
            let due: Vec<(usize, usize)> = self.caches[machine]
                .dirty_pages()
                .filter(|(_, _, since)| now.saturating_sub(*since) >= WRITE_BACK)
                .map(|(inode, page, _)| (inode, page))
                .collect();
            for (inode, page) in due {
                self.write_back(machine, inode, page);
            }
        }
    }

    /// Some page of some machine leaves it, for no reason that anybody would know.
    pub fn some_write_back(&mut self) -> bool {
        let dirty: Vec<(usize, usize, usize)> = (0..self.caches.len())
            .filter(|machine| !self.stalled.contains(machine))
            .flat_map(|machine| {
                let pages = self.caches[machine].dirty_pages();
                pages
                    .map(move |(inode, page, _)| (machine, inode, page))
                    .collect::<Vec<_>>()
            })
            .collect();
        let Some((machine, inode, page)) = self.rng.pick(&dirty).copied() else {
            return false;
        };
        self.tally.late_pages += 1;
        self.write_back(machine, inode, page);
        let first = self.caches[machine].dirty_of(inode).first().copied();
        self.tally.gaps += u64::from(first.is_some_and(|first| first < page));
        true
    }

    /// A machine that has pages which it has not handed over, if there is one.
    pub fn amid_writing(&self) -> Option<usize> {
        (0..self.caches.len()).find(|machine| self.caches[*machine].dirty_pages().next().is_some())
    }

    /// The next write on this machine takes only so many bytes, and its process is dead.
    pub fn kill_in_write(&mut self, machine: usize, after: usize) {
        let cache = self.cache_of(machine);
        self.caches[cache].dies_after = Some(after);
    }

    /// That process is gone, whether it came to write or not.
    pub fn killed(&mut self, machine: usize) {
        let cache = self.cache_of(machine);
        self.caches[cache].dies_after = None;
    }

    /// Whoever had this file open on a machine has closed it, or has ended: what is written of it is handed over, or lost.
    pub fn closed(&mut self, machine: usize, path: &Path) {
        let Some(inode) = self.names.get(path).copied() else {
            return;
        };
        let machine = self.cache_of(machine);
        for page in self.caches[machine].dirty_of(inode) {
            self.write_back(machine, inode, page);
        }
    }

    /// A machine loses its power. The names of the files that have lost bytes which nobody had synced.
    pub fn lose_machine(&mut self, machine: usize) -> BTreeSet<PathBuf> {
        if !self.weather.network {
            return BTreeSet::new();
        }
        let lost: BTreeSet<usize> = self.caches[machine].dirty_pages().map(|(inode, ..)| inode).collect();
        self.tally.lost_pages += self.caches[machine].dirty_pages().count() as u64;
        self.caches[machine] = Cache::default();
        let names = self.names.iter().filter(|(_, inode)| lost.contains(*inode));
        names.map(|(path, _)| path.clone()).collect()
    }

    /// Everything that was written reaches the server, and nobody remembers anything.
    pub fn settle(&mut self) {
        for machine in 0..self.caches.len() {
            let dirty: Vec<(usize, usize)> = self.caches[machine]
                .dirty_pages()
                .map(|(inode, page, _)| (inode, page))
                .collect();
            for (inode, page) in dirty {
                self.write_back(machine, inode, page);
            }
            self.caches[machine].forget();
        }
    }

    /// What the server has under a name.
    pub fn truth(&self, path: &Path) -> Option<&[u8]> {
        self.names.get(path).map(|inode| self.inodes[*inode].bytes.as_slice())
    }

    /// One page reaches the server, or does not: then whoever syncs next is told, and it is lost, or stays where it is.
    fn write_back(&mut self, machine: usize, inode: usize, page: usize) {
        let Some((start, bytes)) = self.caches[machine].take_page(inode, page) else {
            return;
        };
        let file = &mut self.inodes[inode];
        let end = start + bytes.len();
        // A full disk takes what lies within what it has, and nothing beyond.
        let error = if self.full && end > file.bytes.len() {
            self.tally.full_disk += 1;
            Some(Errno::NOSPC)
        } else if self.rng.once_in(self.weather.bad_syncs) {
            self.tally.bad_syncs += 1;
            Some(Errno::IO)
        } else {
            None
        };
        if let Some(error) = error {
            self.caches[machine].error(inode, error);
            if self.rng.once_in(2) {
                let under = &self.inodes[inode].bytes;
                self.caches[machine].write(inode, start, &bytes, under, self.now);
            }
            return;
        }
        if file.bytes.len() < end {
            file.bytes.resize(end, 0);
        }
        file.bytes[start..end].copy_from_slice(&bytes);
    }
}
