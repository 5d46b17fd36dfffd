//! What one client sees of one file: the size and bytes that it was told, under what it has written itself.
//!
//! A write goes into the client's cache. A sync, a close or age sends it on its way; on its way it is the client's own
//! for a while, until it lands on the server, perhaps first as a size and only then as bytes.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::extents::{Extents, lay_over};
use crate::folder::Version;
use crate::settings::Settings;

/// What is cached and thrown away as one.
pub const PAGE: u64 = 4096;

/// How much is written before the client begins to send of itself (`vm.dirty_bytes`).
const MOST_DIRTY: usize = 8 << 20;

/// How many pages of a file are kept.
const MOST_PAGES: usize = 256;

/// Something that happens to the file on the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// It is at least this long: what was not there reads as NULs.
    Grow(u64),
    /// Bytes arrive at a place.
    Write(u64, Vec<u8>),
}

/// What becomes of what was not synced when a sync fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loss {
    /// All of it has come to the server all the same.
    Nothing,
    /// Nothing of it has, and the client has forgotten it: the next sync finds nothing to do and succeeds.
    Everything,
    /// Every other page of it has, the last one always; the client has forgotten the rest.
    EveryOtherPage,
}

/// The file as a client has it in its cache.
#[derive(Debug, Default)]
pub struct FileView {
    asked: Option<Instant>,
    version: Version,
    size: u64,
    pages: BTreeMap<u64, Vec<u8>>,
    dirty: Extents,
    dirty_since: Option<Instant>,
    /// On its way to the server, in the order in which it lands.
    flying: Vec<(Instant, Step)>,
}

impl FileView {
    /// For how much longer the client asks nobody about the attributes; zero: it asks.
    pub fn believed_for(&self, now: Instant, life: Duration) -> Duration {
        let age = self.asked.map(|asked| now.saturating_duration_since(asked));
        age.map_or(Duration::ZERO, |age| life.saturating_sub(age))
    }

    /// The server has been asked. If the file has changed, its bytes are forgotten.
    pub fn told(&mut self, version: Version, now: Instant) {
        if self.asked.is_none() || version != self.version {
            self.pages.clear();
        }
        self.asked = Some(now);
        self.version = version;
        self.size = version.size;
    }

    /// The size for this client.
    pub fn size(&self) -> u64 {
        self.size.max(self.own_end())
    }

    /// The byte after the last that this client has written and not seen land.
    fn own_end(&self) -> u64 {
        let flying = self.flying.iter().map(|(_, step)| match step {
            Step::Grow(size) => *size,
            Step::Write(offset, bytes) => offset + bytes.len() as u64,
        });
        flying.max().unwrap_or(0).max(self.dirty.end())
    }

    /// Where this client appends: behind its own bytes and the size that the server tells now. What another client has
    /// not synced is not seen, and is overwritten.
    pub fn end_to_append(&self) -> u64 {
        self.size()
    }

    /// Takes a write into the cache.
    pub fn write(&mut self, offset: u64, bytes: &[u8], now: Instant) {
        self.dirty.write(offset, bytes);
        self.dirty_since.get_or_insert(now);
    }

    /// Whether what was written must be sent although nobody has asked for it.
    pub fn is_overdue(&self, now: Instant, settings: &Settings) -> bool {
        self.dirty.len() > MOST_DIRTY
            || self
                .dirty_since
                .is_some_and(|since| now.saturating_duration_since(since) >= settings.write_back)
    }

    /// Whether anything of this client's is not on the server.
    pub fn is_pending(&self) -> bool {
        !self.dirty.is_empty() || !self.flying.is_empty()
    }

    /// Whether something was written and not synced.
    pub fn is_dirty(&self) -> bool {
        !self.dirty.is_empty()
    }

    /// Sends everything that was written on its way. Returns until when a sync has to wait for it.
    pub fn send(&mut self, now: Instant, settings: &Settings) -> Instant {
        let began = now + settings.late;
        let landed = began + settings.gap;
        let dirty = std::mem::take(&mut self.dirty);
        self.dirty_since = None;
        if dirty.is_empty() {
            // What an earlier call has sent must be there as well.
            let last = self.flying.last().map_or(now, |(due, _)| *due);
            return if settings.late.is_zero() { last } else { now };
        }
        let end = dirty.end();
        if !settings.gap.is_zero() && end > self.size {
            self.fly(began, Step::Grow(end));
        }
        for (offset, bytes) in dirty.into_pieces() {
            self.fly(landed, Step::Write(offset, bytes));
        }
        if settings.late.is_zero() { landed } else { now }
    }

    /// Nothing overtakes what was sent before it, but for a size.
    fn fly(&mut self, due: Instant, step: Step) {
        let at = match step {
            Step::Grow(_) => self.flying.partition_point(|(other, _)| *other <= due),
            Step::Write(..) => self.flying.len(),
        };
        let due = match step {
            Step::Grow(_) => due,
            Step::Write(..) => self.flying.last().map_or(due, |(last, _)| due.max(*last)),
        };
        self.flying.insert(at, (due, step));
    }

    /// A sync fails. Returns what has landed all the same.
    pub fn fail(&mut self, loss: Loss) -> Vec<Step> {
        let dirty = std::mem::take(&mut self.dirty);
        self.dirty_since = None;
        self.pages.clear();
        self.asked = None;
        let pieces = dirty.into_pieces();
        match loss {
            Loss::Everything => Vec::new(),
            Loss::Nothing => pieces.map(|(offset, bytes)| Step::Write(offset, bytes)).collect(),
            Loss::EveryOtherPage => pieces
                .flat_map(|(offset, bytes)| every_other_page(offset, &bytes))
                .collect(),
        }
    }

    /// When something lands next.
    pub fn next_landing(&self) -> Option<Instant> {
        self.flying.first().map(|(due, _)| *due)
    }

    /// When something must be sent of itself.
    pub fn next_write_back(&self, settings: &Settings) -> Option<Instant> {
        self.dirty_since.map(|since| since + settings.write_back)
    }

    /// What lands now. Each is to be carried out in this order and then told with [`FileView::landed`].
    pub fn landing(&mut self, now: Instant) -> Vec<Step> {
        let count = self.flying.partition_point(|(due, _)| *due <= now);
        self.flying.drain(..count).map(|(_, step)| step).collect()
    }

    /// All that is not on the server, for what must come after it.
    pub fn everything(&mut self) -> Vec<Step> {
        self.dirty_since = None;
        let flying = self.flying.drain(..).map(|(_, step)| step);
        let mut steps: Vec<Step> = flying.collect();
        let dirty = std::mem::take(&mut self.dirty).into_pieces();
        steps.extend(dirty.map(|(offset, bytes)| Step::Write(offset, bytes)));
        steps
    }

    /// One's own bytes have changed the file on the server. What is known stays known if the file was as believed.
    pub fn landed(&mut self, step: &Step, before: Version, after: Version) {
        if let Step::Write(offset, bytes) = step {
            let end = offset + bytes.len() as u64;
            self.pages
                .retain(|page, _| (page + 1) * PAGE <= *offset || page * PAGE >= end);
        }
        if before == self.version && self.asked.is_some() {
            self.version = after;
            self.size = after.size;
        }
    }

    /// The file has been cut on the server, for this client asked for it and had nothing of its own left.
    pub fn cut(&mut self, version: Version, now: Instant) {
        self.pages.clear();
        self.asked = Some(now);
        self.version = version;
        self.size = version.size;
    }

    /// The pages that a read needs and the client does not have.
    pub fn missing(&self, offset: u64, length: u64) -> Vec<u64> {
        let end = (offset + length).min(self.size);
        if offset >= end {
            return Vec::new();
        }
        let pages = offset / PAGE..end.div_ceil(PAGE);
        pages.filter(|page| !self.pages.contains_key(page)).collect()
    }

    /// Keeps a page as the server gave it.
    pub fn keep(&mut self, page: u64, bytes: Vec<u8>) {
        self.pages.insert(page, bytes);
    }

    /// Reads what is there for this client: fewer bytes at its end of the file. The pages are those that were kept; what
    /// they lack reads as NULs.
    pub fn read(&mut self, offset: u64, length: u64) -> Vec<u8> {
        let end = (offset + length).min(self.size());
        let mut bytes = vec![0; usize::try_from(end.saturating_sub(offset)).unwrap_or(0)];
        let told = usize::try_from(self.size.saturating_sub(offset))
            .unwrap_or(0)
            .min(bytes.len());
        for (page, content) in self.pages.range(offset / PAGE..end.div_ceil(PAGE).max(offset / PAGE)) {
            lay_over(page * PAGE, content, offset, &mut bytes[..told]);
        }
        for (_, step) in &self.flying {
            if let Step::Write(start, written) = step {
                lay_over(*start, written, offset, &mut bytes);
            }
        }
        self.dirty.lay_over(offset, &mut bytes);
        if self.pages.len() > MOST_PAGES {
            self.pages.clear();
        }
        bytes
    }
}

/// Of bytes that were to be written, those on every other page, counted so that the last one is among them.
fn every_other_page(offset: u64, bytes: &[u8]) -> Vec<Step> {
    let end = offset + bytes.len() as u64;
    let last = (end - 1) / PAGE;
    let mut steps = Vec::new();
    for page in offset / PAGE..=last {
        if (last - page).is_multiple_of(2) {
            let (from, to) = ((page * PAGE).max(offset), ((page + 1) * PAGE).min(end));
            let at = |place: u64| usize::try_from(place - offset).unwrap_or(usize::MAX);
            steps.push(Step::Write(from, bytes[at(from)..at(to)].to_vec()));
        }
    }
    steps
}

#[cfg(test)]
mod tests;
