//! When to look at a file: at once when the kernel says that it moved, else by the schedule.
//!
//! [`Wakes`] says *which* file to look at *now*; reading it is [`crate::tail`]'s. On a local filesystem inotify tells
//! (and a slow round over all files is made for safety); on a network filesystem, where inotify hears nothing of other
//! machines (inotify(7)), [`crate::schedule`] decides. A wake that is lost, late, doubled or wrong changes when a file is
//! read and never what is read.

use std::collections::{HashMap, HashSet, VecDeque};
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use codeswarm_protocol::Place;
use tokio::sync::Notify;

use crate::filesystem::FilesystemKind;
use crate::schedule::{Limits, Next, Outcome, PollSchedule};

#[cfg(target_os = "linux")]
mod events;
#[cfg(not(target_os = "linux"))]
#[path = "watch/no_events.rs"]
mod events;

use events::{Events, News};

/// How files are watched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum WatchMode {
    /// inotify on local filesystems, polling on others, and where inotify cannot be had.
    #[default]
    Auto,
    /// inotify. There is none on others than Linux.
    Inotify,
    /// Polling.
    Poll,
}

/// What the doorbell has said of a file since it was last asked.
#[derive(Debug, Default)]
struct Rung {
    /// Its writer has connected anew, or has gone.
    connected: Option<bool>,
    /// Its size, if that was said.
    size: Option<u64>,
}

/// What was heard over the doorbell.
#[derive(Debug, Default)]
struct Heard {
    rung: Mutex<HashMap<Place, Rung>>,
    bell: Notify,
}

impl Heard {
    fn take(&self) -> HashMap<Place, Rung> {
        std::mem::take(&mut *self.rung.lock().unwrap_or_else(PoisonError::into_inner))
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
        let mut rung = self.0.rung.lock().unwrap_or_else(PoisonError::into_inner);
        what(rung.entry(place.clone()).or_default());
        drop(rung);
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
    events: Option<Events>,
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
        let (events, why_polling) = match (mode, kind) {
            (WatchMode::Poll, _) => (None, Some("it was asked for".to_owned())),
            (WatchMode::Auto, FilesystemKind::Network(name)) => (
                None,
                Some(format!(
                    "the mailbox is on a shared filesystem ({name}), which reports nothing of other machines"
                )),
            ),
            (WatchMode::Auto | WatchMode::Inotify, _) => match Events::of(paths) {
                Ok(events) => (Some(events), None),
                Err(error) if mode == WatchMode::Inotify => return Err(error),
                Err(error) => (None, Some(error)),
            },
        };
        let own = if events.is_some() {
            Limits::with_events()
        } else {
            Limits::default()
        };
        let seed = u64::from(std::process::id()).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        Ok(Self {
            schedule: PollSchedule::new(limits.unwrap_or(own), seed),
            files: HashSet::new(),
            connected: HashSet::new(),
            heard: Arc::default(),
            moved: VecDeque::new(),
            waiting: HashSet::new(),
            events,
            why_polling,
        })
    }

    /// Why files are polled, if they are.
    pub fn why_polling(&self) -> Option<&str> {
        self.why_polling.as_deref()
    }

    /// Whether events tell of growth.
    pub fn has_events(&self) -> bool {
        self.events.is_some()
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
            match self.take() {
                Ok(place) => return place,
                Err(until) => self.something(until).await,
            }
        }
    }

    /// Waits until there are files to look at, and adds all that there are then: what moved while the caller was busy is one
    /// batch. One that is due for two reasons may be there twice. May be dropped and called again at any time without losing one.
    pub async fn gather(&mut self, places: &mut Vec<Place>) {
        loop {
            self.collect();
            let until = loop {
                match self.take() {
                    Ok(place) => places.push(place),
                    Err(until) => break until,
                }
            };
            if !places.is_empty() {
                return;
            }
            self.something(until).await;
        }
    }

    /// A file that is to be looked at now; or when, if at all, the schedule has one.
    fn take(&mut self) -> Result<Place, Option<Instant>> {
        while let Some(place) = self.moved.pop_front() {
            self.waiting.remove(&place);
            if self.files.contains(&place) {
                return Ok(place);
            }
        }
        match self.schedule.next(Instant::now()) {
            Next::Look(place) => Ok(place),
            Next::Wait(until) => Err(Some(until)),
            Next::Idle => Err(None),
        }
    }

    /// Waits until [`Self::collect`] or [`Self::take`] may have something, at most until then.
    async fn something(&mut self, until: Option<Instant>) {
        let events = async {
            match &mut self.events {
                Some(events) => events.come().await,
                None => std::future::pending().await,
            }
        };
        let due = async {
            match until {
                Some(until) => tokio::time::sleep_until(until.into()).await,
                None => std::future::pending().await,
            }
        };
        let heard = Arc::clone(&self.heard);
        let broken = tokio::select! {
            () = heard.bell.notified() => None,
            come = events => come.err(),
            () = due => None,
        };
        if let Some(error) = broken {
            self.poll_instead(&error);
        }
    }

    /// The kernel tells nothing any more. Nothing is lost by it but time.
    fn poll_instead(&mut self, error: &io::Error) {
        tracing::error!(%error, "file events cannot be read any more; files are polled");
        self.events = None;
        self.why_polling = Some(format!("file events cannot be read any more: {error}"));
        self.schedule.poll_without_events();
        self.wake_all();
    }

    fn collect(&mut self) {
        match self.events.as_mut().map(Events::take) {
            None => {}
            Some(Err(error)) => self.poll_instead(&error),
            Some(Ok(news)) => {
                for news in news {
                    match news {
                        News::Of(place) => self.wake(place),
                        News::OfAll => {
                            tracing::warn!("file events were lost; all files are looked at");
                            self.wake_all();
                        }
                    }
                }
            }
        }
        let now = Instant::now();
        for (place, Rung { connected, size }) in self.heard.take() {
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

    fn wake_all(&mut self) {
        for place in self.files.clone() {
            self.wake(place);
        }
    }

    fn wake(&mut self, place: Place) {
        if self.files.contains(&place) && self.waiting.insert(place.clone()) {
            self.moved.push_back(place);
        }
    }
}

#[cfg(test)]
mod tests;
