//! What one machine has of the shared filesystem: pages that it has written and not handed over, and what it remembers of
//! others' files.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;

use rustix::io::Errno;

use super::PAGE;

/// Written and not handed over: where in the file, what, since when.
#[derive(Debug, Clone)]
struct Dirty {
    start: usize,
    bytes: Vec<u8>,
    since: u64,
}

/// One machine's.
#[derive(Debug, Default)]
pub struct Cache {
    dirty: BTreeMap<(usize, usize), Dirty>,
    errors: BTreeMap<usize, Errno>,
    /// What a name stood for, and until when that is believed.
    pub names: BTreeMap<PathBuf, (Option<usize>, u64)>,
    /// A folder's names.
    pub folders: BTreeMap<PathBuf, (Vec<OsString>, u64)>,
    /// Pages of others as they were, and until when that is believed.
    pub pages: BTreeMap<(usize, usize), (Vec<u8>, u64)>,
    /// The next write takes so many bytes, and its process is dead.
    pub dies_after: Option<usize>,
}

impl Cache {
    /// All pages that were not handed over: file, page, since when.
    pub fn dirty_pages(&self) -> impl Iterator<Item = (usize, usize, u64)> + '_ {
        self.dirty
            .iter()
            .map(|((inode, page), dirty)| (*inode, *page, dirty.since))
    }

    /// Those of one file.
    pub fn dirty_of(&self, inode: usize) -> Vec<usize> {
        let pages = self.dirty.range((inode, 0)..=(inode, usize::MAX));
        pages.map(|((_, page), _)| *page).collect()
    }

    /// The end of what was written to a file here, if anything is dirty.
    pub fn end_of(&self, inode: usize) -> usize {
        let last = self.dirty.range((inode, 0)..=(inode, usize::MAX)).next_back();
        last.map_or(0, |(_, dirty)| dirty.start + dirty.bytes.len())
    }

    /// Takes a page out: where in the file it stands, and what of it was written.
    pub fn take_page(&mut self, inode: usize, page: usize) -> Option<(usize, Vec<u8>)> {
        self.dirty
            .remove(&(inode, page))
            .map(|dirty| (dirty.start, dirty.bytes))
    }

    /// Whoever syncs next is told.
    pub fn error(&mut self, inode: usize, error: Errno) {
        self.errors.insert(inode, error);
    }

    /// What the one who syncs, or writes, is told; once.
    pub fn take_error(&mut self, inode: usize) -> Option<Errno> {
        self.errors.remove(&inode)
    }

    /// Writes into the cache. What stands between is what the server has, `under`.
    pub fn write(&mut self, inode: usize, offset: usize, bytes: &[u8], under: &[u8], now: u64) {
        let mut done = 0;
        while done < bytes.len() {
            let at = offset + done;
            let page = at / PAGE;
            let length = ((page + 1) * PAGE - at).min(bytes.len() - done);
            let piece = &bytes[done..done + length];
            done += length;
            let dirty = self.dirty.entry((inode, page)).or_insert_with(|| Dirty {
                start: at,
                bytes: Vec::new(),
                since: now,
            });
            let (first, last) = (dirty.start.min(at), (dirty.start + dirty.bytes.len()).max(at + length));
            let mut joined: Vec<u8> = (first..last).map(|at| under.get(at).copied().unwrap_or(0)).collect();
            joined[dirty.start - first..dirty.start - first + dirty.bytes.len()].copy_from_slice(&dirty.bytes);
            joined[at - first..at - first + length].copy_from_slice(piece);
            (dirty.start, dirty.bytes) = (first, joined);
        }
        self.pages.retain(|(file, _), _| *file != inode);
    }

    /// Puts what was written here over what was read of the server from `offset` on.
    pub fn overlay(&self, inode: usize, offset: usize, read: &mut [u8]) {
        for (_, dirty) in self.dirty.range((inode, 0)..=(inode, usize::MAX)) {
            for (at, byte) in (dirty.start..).zip(&dirty.bytes) {
                if let Some(place) = at.checked_sub(offset).and_then(|at| read.get_mut(at)) {
                    *place = *byte;
                }
            }
        }
    }

    /// Nothing of others is remembered.
    pub fn forget(&mut self) {
        self.names.clear();
        self.folders.clear();
        self.pages.clear();
        self.errors.clear();
    }
}
