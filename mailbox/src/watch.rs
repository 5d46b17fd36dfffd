//! When to look at a file: at once when the kernel says that it moved, else by the schedule.
//!
//! [`Wakes`] says *which* file to look at *now*; reading it is [`crate::tail`]'s. On a local filesystem inotify tells
//! (and a slow round over all files is made for safety); on a network filesystem, where inotify hears nothing of other
//! machines (inotify(7)), [`crate::schedule`] decides. A wake that is lost, late, doubled or wrong changes when a file is
//! read and never what is read.

use std::collections::{HashMap, HashSet, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use codeswarm_protocol::Place;
use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::Notify;

use crate::filesystem::FilesystemKind;
use crate::layout::place_of_file_name;
use crate::schedule::{Limits, Next, Outcome, PollSchedule};

/// How files are watched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum WatchMode {
    /// inotify on local filesystems, polling on others, and where inotify cannot be had.
    #[default]
    Auto,
    /// inotify (what the system has in its place, on others than Linux).
    Inotify,
    /// Polling.
    Poll,
}

/// How many files may have moved before it is simpler to look at all.
const MOVED_AT_MOST: usize = 65_536;

#[derive(Debug, Default)]
struct Moved {
    places: HashSet<Place>,
    /// Events were lost: any file may have moved.
    all: bool,
    /// What was heard over the doorbell.
    rung: HashMap<Place, Rung>,
}

/// What the doorbell has said of a file since it was last asked.
#[derive(Debug, Default)]
struct Rung {
    /// Its writer has connected anew, or has gone.
    connected: Option<bool>,
    /// Its size, if that was said.
    size: Option<u64>,
}

#[derive(Debug, Default)]
struct Heard {
    moved: Mutex<Moved>,
    bell: Notify,
}

impl Heard {
    fn take(&self) -> Moved {
        std::mem::take(&mut *self.moved.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn hear(&self, event: notify::Result<Event>) {
        let mut moved = self.moved.lock().unwrap_or_else(PoisonError::into_inner);
        match event {
            // Our own reading opens files; that is no news.
            Ok(event) if matches!(event.kind, EventKind::Access(_)) && !event.need_rescan() => return,
            Ok(event) if !event.need_rescan() && moved.places.len() < MOVED_AT_MOST => {
                let places = event.paths.iter().filter_map(|path| place_of_file_name(path));
                moved.places.extend(places);
            }
            // The kernel's queue has overflowed, or the watch itself failed.
            _ => moved.all = true,
        }
        drop(moved);
        self.bell.notify_one();
    }
}

/// Where whoever hears the doorbell tells what it hears. For each file only the latest is kept, so nothing ever waits.
#[derive(Debug, Clone)]
pub struct Rings(Arc<Heard>);

impl Rings {
    /// This file's writer has connected, perhaps again: it will ring from now on, and what it did before is looked for.
    pub fn connected(&self, place: &Place) {
        self.note(place, |rung| {
            *rung = Rung {
                connected: Some(true),
                size: None,
            }
        });
    }

    /// This file's writer is not connected any more.
    pub fn gone(&self, place: &Place) {
        self.note(place, |rung| {
            *rung = Rung {
                connected: Some(false),
                size: None,
            }
        });
    }

    /// This file has so many bytes now.
    pub fn rang(&self, place: &Place, size: u64) {
        self.note(place, |rung| rung.size = rung.size.max(Some(size)));
    }

    fn note(&self, place: &Place, what: impl FnOnce(&mut Rung)) {
        let mut moved = self.0.moved.lock().unwrap_or_else(PoisonError::into_inner);
        what(moved.rung.entry(place.clone()).or_default());
        drop(moved);
        self.0.bell.notify_one();
    }
}

/// Which files to look at, and when. One task owns it.
pub struct Wakes {
    schedule: PollSchedule<Place>,
    files: HashSet<Place>,
    /// Whose writers are connected to the doorbell, also of files that are not looked at (yet).
    connected: HashSet<Place>,
    heard: Arc<Heard>,
    /// Moved by an event, to be looked at outside the schedule's cap, in order and each once.
    moved: VecDeque<Place>,
    waiting: HashSet<Place>,
    /// The watch; it ends when this is dropped.
    watcher: Option<RecommendedWatcher>,
    why_polling: Option<String>,
}

impl Wakes {
    /// Watches these folders (or files) of a mailbox on that kind of filesystem. Without inotify it polls; see
    /// [`Self::why_polling`]. Fails only if [`WatchMode::Inotify`] was asked for and cannot be had.
    pub fn new(mode: WatchMode, kind: FilesystemKind, paths: &[PathBuf]) -> Result<Self, String> {
        Self::with_limits(mode, kind, paths, None)
    }

    /// The same with other limits than those of the mode.
    pub fn with_limits(
        mode: WatchMode,
        kind: FilesystemKind,
        paths: &[PathBuf],
        limits: Option<Limits>,
    ) -> Result<Self, String> {
        let heard = Arc::new(Heard::default());
        let (watcher, why_polling) = match (mode, kind) {
            (WatchMode::Poll, _) => (None, Some("it was asked for".to_owned())),
            (WatchMode::Auto, FilesystemKind::Network(name)) => (
                None,
                Some(format!(
                    "the mailbox is on a shared filesystem ({name}), which reports nothing of other machines"
                )),
            ),
            (WatchMode::Auto | WatchMode::Inotify, _) => match watch(paths, heard.clone()) {
                Ok(watcher) => (Some(watcher), None),
                Err(error) if mode == WatchMode::Inotify => return Err(error),
                Err(error) => (None, Some(error)),
            },
        };
        let own = if watcher.is_some() {
            Limits::with_events()
        } else {
            Limits::default()
        };
        let seed = u64::from(std::process::id()).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        Ok(Self {
            schedule: PollSchedule::new(limits.unwrap_or(own), seed),
            files: HashSet::new(),
            connected: HashSet::new(),
            heard,
            moved: VecDeque::new(),
            waiting: HashSet::new(),
            watcher,
            why_polling,
        })
    }

    /// Why files are polled, if they are.
    pub fn why_polling(&self) -> Option<&str> {
        self.why_polling.as_deref()
    }

    /// Whether events tell of growth.
    pub fn has_events(&self) -> bool {
        self.watcher.is_some()
    }

    /// This file is to be looked at from now on, the first time soon.
    pub fn add(&mut self, place: Place) {
        if self.files.insert(place.clone()) {
            self.schedule.add(place.clone(), Instant::now());
            if self.connected.contains(&place) {
                self.schedule.connected(&place, Instant::now());
            }
            if self.has_events() {
                // What it holds already raises no event; on a local disk a first look costs nothing.
                self.wake(place);
            }
        }
    }

    /// This file is no longer to be looked at.
    pub fn remove(&mut self, place: &Place) {
        self.files.remove(place);
        self.schedule.remove(place);
    }

    /// How long a file may go without a look while its writer is connected to the doorbell and silent.
    pub fn sweep_every(&mut self, pause: Duration) {
        self.schedule.sweep_every(pause);
    }

    /// Where the doorbell tells what it hears.
    pub fn rings(&self) -> Rings {
        Rings(self.heard.clone())
    }

    /// Everything before this byte of the file has been read; told before [`Self::looked`].
    pub fn read_to(&mut self, place: &Place, offset: u64) {
        self.schedule.read_to(place, offset);
    }

    /// This file is about to move.
    pub fn hint(&mut self, place: &Place) {
        self.schedule.hint(place, Instant::now());
    }

    /// What a look brought; every place that [`Self::next`] returned is answered with it.
    pub fn looked(&mut self, place: &Place, outcome: Outcome, took: Duration) {
        let now = Instant::now();
        let by_schedule = self.schedule.looked(place, outcome, took, now);
        if !by_schedule && outcome == Outcome::Doubt {
            // No event tells of what is already there and only comes right.
            self.schedule.hint(place, now);
        }
    }

    /// The next file to look at. May be dropped and called again at any time without losing one.
    pub async fn next(&mut self) -> Place {
        loop {
            self.collect();
            while let Some(place) = self.moved.pop_front() {
                self.waiting.remove(&place);
                if self.files.contains(&place) {
                    return place;
                }
            }
            let bell = self.heard.bell.notified();
            match self.schedule.next(Instant::now()) {
                Next::Look(place) => return place,
                Next::Wait(until) => {
                    tokio::select! {
                        () = bell => {}
                        () = tokio::time::sleep_until(until.into()) => {}
                    }
                }
                Next::Idle => bell.await,
            }
        }
    }

    fn collect(&mut self) {
        let heard = self.heard.take();
        if heard.all {
            tracing::warn!("file events were lost; all files are looked at");
            for place in self.files.clone() {
                self.wake(place);
            }
        }
        for place in heard.places {
            self.wake(place);
        }
        let now = Instant::now();
        for (place, Rung { connected, size }) in heard.rung {
            match connected {
                Some(true) => self.schedule.connected(&place, now),
                Some(false) => self.schedule.gone(&place, now),
                None => {}
            }
            if let Some(size) = size {
                self.schedule.rung(&place, size, now);
            }
            match connected {
                Some(true) => drop(self.connected.insert(place)),
                Some(false) => drop(self.connected.remove(&place)),
                None => {}
            }
        }
    }

    fn wake(&mut self, place: Place) {
        if self.files.contains(&place) && self.waiting.insert(place.clone()) {
            self.moved.push_back(place);
        }
    }
}

fn watch(paths: &[PathBuf], heard: Arc<Heard>) -> Result<RecommendedWatcher, String> {
    let cannot = |path: &Path, error: notify::Error| format!("{} cannot be watched: {error}", path.display());
    let first = paths.first().map_or(Path::new("."), PathBuf::as_path);
    let mut watcher =
        notify::recommended_watcher(move |event| heard.hear(event)).map_err(|error| cannot(first, error))?;
    for path in paths {
        watcher
            .watch(path, RecursiveMode::NonRecursive)
            .map_err(|error| cannot(path, error))?;
    }
    Ok(watcher)
}

#[cfg(test)]
mod tests {
    use notify::event::{AccessKind, AccessMode, DataChange, Flag, ModifyKind};

    use super::*;

    fn event(kind: EventKind, name: &str) -> Event {
        Event::new(kind).add_path(Path::new("/ws/mailbox/outbox").join(name))
    }

    #[test]
    fn growth_is_heard_and_our_own_reading_is_not() {
        let heard = Heard::default();
        let grown = EventKind::Modify(ModifyKind::Data(DataChange::Any));
        heard.hear(Ok(event(
            EventKind::Access(AccessKind::Open(AccessMode::Any)),
            "27_00.jsonl",
        )));
        heard.hear(Ok(event(
            EventKind::Access(AccessKind::Close(AccessMode::Write)),
            "27_00.jsonl",
        )));
        heard.hear(Ok(event(grown, "27_01.jsonl")));
        heard.hear(Ok(event(grown, "27_01.jsonl")));
        heard.hear(Ok(event(grown, "notes.txt")));
        let moved = heard.take();
        assert_eq!(moved.places, HashSet::from([Place::from_stem("27_01").unwrap()]));
        assert!(!moved.all);
        assert!(heard.take().places.is_empty(), "each is told once");
    }

    #[tokio::test]
    async fn when_events_were_lost_all_files_are_looked_at() {
        for lost in [
            Ok(Event::new(EventKind::Other).set_flag(Flag::Rescan)),
            Err(notify::Error::generic("the queue is gone")),
        ] {
            let limits = Limits {
                cold: Duration::from_secs(3600),
                ..Limits::with_events()
            };
            let mut wakes = Wakes::with_limits(WatchMode::Poll, FilesystemKind::Local, &[], Some(limits)).unwrap();
            let places: HashSet<Place> = (0..100)
                .map(|node| Place::from_stem(&format!("27_{node}")).unwrap())
                .collect();
            places.iter().for_each(|place| wakes.add(place.clone()));
            wakes.heard.hear(lost);
            let mut looked = HashSet::new();
            while looked.len() < places.len() {
                looked.insert(wakes.next().await);
            }
            assert_eq!(looked, places);
        }
    }

    #[tokio::test]
    async fn p4_a_writer_that_connects_before_its_file_is_watched_is_looked_for_once_and_polled_when_it_has_gone() {
        let place = Place::from_stem("27_03").unwrap();
        let mut wakes = Wakes::new(WatchMode::Poll, FilesystemKind::Local, &[]).unwrap();
        let rings = wakes.rings();
        rings.connected(&place);
        wakes.collect();
        wakes.add(place.clone());
        let rests = |wakes: &mut Wakes| match wakes.schedule.next(Instant::now()) {
            Next::Wait(until) => until > Instant::now() + Duration::from_secs(60),
            Next::Look(_) | Next::Idle => false,
        };
        assert_eq!(wakes.next().await, place, "for what it did before");
        wakes.looked(&place, Outcome::Nothing, Duration::ZERO);
        wakes.hint(&place);
        assert!(rests(&mut wakes), "its writer will ring");
        rings.rang(&place, 7);
        assert_eq!(wakes.next().await, place);
        wakes.read_to(&place, 7);
        wakes.looked(&place, Outcome::Data, Duration::ZERO);
        assert!(rests(&mut wakes));

        rings.gone(&place);
        assert_eq!(wakes.next().await, place, "what it did last may not have been rung for");
        wakes.looked(&place, Outcome::Nothing, Duration::ZERO);
        assert!(!rests(&mut wakes), "it is polled");
        rings.rang(&place, 8);
        wakes.collect();
        wakes.remove(&place);
        wakes.add(place.clone());
        assert_eq!(wakes.next().await, place);
        wakes.looked(&place, Outcome::Nothing, Duration::ZERO);
        assert!(!rests(&mut wakes), "that it was connected once is forgotten");
    }
}
