//! Whose turn it is to be printed, and waiting when it is nobody's.

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

#[cfg(target_os = "linux")]
use codeswarm_mailbox::inotify::{Inotify, Told};
use codeswarm_mailbox::schedule::Next;
use codeswarm_mailbox::{FilesystemKind, Limits, Outcome, PollSchedule, WatchMode};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use super::sink::{CopyError, Sink};
use super::source::{Manner, Source, Turn};
use super::{LinesError, PlainLines, WINDOW};
use crate::descriptors;
use crate::fair_queue::FairQueue;

/// How often new names are looked for while polling.
const LIST_EVERY: Duration = Duration::from_secs(1);

/// How often they are looked for although the kernel tells of them.
const LIST_FOR_SAFETY: Duration = Duration::from_secs(30);

/// A folder's files on their way to an output.
pub struct Printer {
    lines: PlainLines,
    sink: Sink,
    files: HashMap<OsString, Followed>,
    waiting: FairQueue<OsString>,
    schedule: PollSchedule<OsString>,
    #[cfg(target_os = "linux")]
    inotify: Option<Inotify>,
    list_every: Duration,
    next_listing: Instant,
    doubts_nuls: bool,
    open_limit: usize,
    open: usize,
}

struct Followed {
    source: Source,
    /// What was last reported about it, so that it is not reported at each look.
    trouble: Option<String>,
}

impl Printer {
    /// Everything that is in the folder now has its turn first.
    pub fn new(lines: PlainLines, out: OwnedFd) -> Result<Self, LinesError> {
        let kind = FilesystemKind::of(&lines.folder).unwrap_or(FilesystemKind::Network("unknown"));
        let polls = match lines.watch {
            WatchMode::Auto => kind.is_network(),
            WatchMode::Inotify => false,
            WatchMode::Poll => true,
        };
        #[cfg(target_os = "linux")]
        let inotify = match polls {
            true => None,
            // Listening begins before the listing, so no name falls between.
            false => listen(&lines)?,
        };
        #[cfg(target_os = "linux")]
        let polls = inotify.is_none();
        #[cfg(not(target_os = "linux"))]
        let polls = {
            tracing::debug!(polls, "this system tells nothing about folders; polling");
            true
        };
        let limits = match polls {
            true => Limits {
                empty_looks_per_second: lines.lookups_per_second,
                ..Limits::default()
            },
            false => Limits::with_events(),
        };
        let mut printer = Self {
            sink: Sink::new(out, !kind.is_network()),
            files: HashMap::new(),
            waiting: FairQueue::new(),
            schedule: PollSchedule::new(limits, u64::from(std::process::id())),
            #[cfg(target_os = "linux")]
            inotify,
            list_every: if polls { LIST_EVERY } else { LIST_FOR_SAFETY },
            next_listing: Instant::now(),
            doubts_nuls: kind.is_network(),
            open_limit: descriptors::raise_limit().saturating_sub(32).max(16),
            open: 0,
            lines,
        };
        let from_end = printer.lines.from_end;
        printer.list(from_end)?;
        Ok(printer)
    }

    /// Prints on and on.
    pub fn run(mut self) -> Result<(), LinesError> {
        loop {
            self.hear()?;
            let now = Instant::now();
            if now >= self.next_listing {
                self.list(false)?;
            }
            let mut wake = self.next_listing;
            loop {
                match self.schedule.next(now) {
                    Next::Look(name) => self.waiting.push(name),
                    Next::Wait(until) => break wake = wake.min(until),
                    Next::Idle => break,
                }
            }
            match self.waiting.pop() {
                Some(name) => self.turn(&name, now)?,
                None if self.lines.once => return Ok(()),
                None => {
                    self.sink.rest();
                    self.wait(wake.saturating_duration_since(now))?;
                }
            }
        }
    }

    /// One file's turn.
    fn turn(&mut self, name: &OsStr, now: Instant) -> Result<(), LinesError> {
        let Some(followed) = self.files.get_mut(name) else {
            return Ok(());
        };
        let manner = Manner {
            window: WINDOW,
            doubts_nuls: self.doubts_nuls,
            now,
        };
        let was_open = followed.source.is_open();
        let turn = followed.source.turn(manner, &mut self.sink);
        let took = now.elapsed();
        if self.open >= self.open_limit && !was_open {
            followed.source.close();
        }
        self.open = (self.open + usize::from(followed.source.is_open())).saturating_sub(usize::from(was_open));
        let outcome = match turn {
            Ok(Turn::More) => {
                followed.trouble = None;
                self.waiting.push(name.to_owned());
                Outcome::Data
            }
            Ok(Turn::Nothing) => Outcome::Nothing,
            Ok(Turn::Gone) => {
                self.forget(name);
                return Ok(());
            }
            Err(CopyError::Output(error)) => return Err(LinesError::Output(error)),
            Err(CopyError::File(error)) => {
                let trouble = error.to_string();
                if followed.trouble.as_ref() != Some(&trouble) {
                    tracing::warn!(file = %followed.source.path().display(), %error, "cannot be read; it is tried again");
                    followed.trouble = Some(trouble);
                }
                Outcome::Doubt
            }
        };
        self.schedule.looked(&name.to_owned(), outcome, took, Instant::now());
        Ok(())
    }

    fn forget(&mut self, name: &OsStr) {
        if let Some(followed) = self.files.remove(name) {
            self.open -= usize::from(followed.source.is_open());
        }
        self.schedule.remove(&name.to_owned());
        self.waiting.remove(&name.to_owned());
    }

    /// Finds names that are new.
    fn list(&mut self, from_end: bool) -> Result<(), LinesError> {
        self.next_listing = Instant::now() + self.list_every;
        let failed = |source| LinesError::Folder {
            folder: self.lines.folder.clone(),
            source,
        };
        let mut names = Vec::new();
        for entry in std::fs::read_dir(&self.lines.folder).map_err(failed)? {
            let name = entry.map_err(failed)?.file_name();
            if is_lines(&name) && !self.files.contains_key(&name) {
                names.push(name);
            }
        }
        names.sort();
        for name in names {
            self.follow(name, from_end);
        }
        Ok(())
    }

    /// A name that moved, or is new.
    fn follow(&mut self, name: OsString, from_end: bool) {
        if !self.files.contains_key(&name) {
            let path = self.lines.folder.join(&name);
            let source = match from_end {
                false => Source::from_start(path),
                true => Source::from_end(path.clone()).unwrap_or_else(|error| {
                    tracing::warn!(file = %path.display(), %error, "its end cannot be found; it will be printed from its start");
                    Source::from_start(path)
                }),
            };
            self.open += usize::from(source.is_open());
            let followed = Followed { source, trouble: None };
            self.files.insert(name.clone(), followed);
            self.schedule.add(name.clone(), Instant::now());
        }
        self.waiting.push(name);
    }

    /// Takes what the kernel has told.
    #[cfg(target_os = "linux")]
    fn hear(&mut self) -> Result<(), LinesError> {
        let Some(inotify) = &mut self.inotify else {
            return Ok(());
        };
        let watch = |source| LinesError::Watch {
            folder: self.lines.folder.clone(),
            source,
        };
        for told in inotify.told().map_err(watch)? {
            match told {
                Told::Name(name) if is_lines(&name) => self.follow(name, false),
                Told::Name(_) | Told::Itself(_) => {}
                Told::Lost => {
                    self.list(false)?;
                    for name in self.files.keys() {
                        self.waiting.push(name.clone());
                    }
                }
                Told::Gone(_) => {
                    return Err(LinesError::Folder {
                        folder: self.lines.folder.clone(),
                        source: io::ErrorKind::NotFound.into(),
                    });
                }
            }
        }
        Ok(())
    }

    #[cfg(not(target_os = "linux"))]
    fn hear(&mut self) -> Result<(), LinesError> {
        Ok(())
    }

    /// Waits until the kernel tells something, the time is over, or the reader of the output has gone.
    fn wait(&self, at_most: Duration) -> Result<(), LinesError> {
        let timeout = Timespec::try_from(at_most).unwrap_or(Timespec { tv_sec: 1, tv_nsec: 0 });
        let mut waited_for = vec![PollFd::from_borrowed_fd(self.sink.as_fd(), PollFlags::empty())];
        #[cfg(target_os = "linux")]
        waited_for.extend(self.inotify.as_ref().map(|inotify| PollFd::new(inotify, PollFlags::IN)));
        match poll(&mut waited_for, Some(&timeout)) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(LinesError::Output(error.into())),
        }
        let gone = PollFlags::ERR | PollFlags::HUP | PollFlags::NVAL;
        match waited_for.first() {
            Some(out) if out.revents().intersects(gone) => Err(LinesError::Output(io::ErrorKind::BrokenPipe.into())),
            _ => Ok(()),
        }
    }
}

/// Listens to the folder; `None` where that is not to be had and polling will do.
#[cfg(target_os = "linux")]
fn listen(lines: &PlainLines) -> Result<Option<Inotify>, LinesError> {
    match Inotify::on(&lines.folder) {
        Ok(inotify) => Ok(Some(inotify)),
        Err(error) if lines.watch == WatchMode::Auto && error.kind() != io::ErrorKind::NotFound => {
            tracing::warn!(%error, "the kernel does not tell about the folder; polling");
            Ok(None)
        }
        Err(source) => Err(LinesError::Watch {
            folder: lines.folder.clone(),
            source,
        }),
    }
}

/// Whether a name is one of those that are printed.
fn is_lines(name: &OsStr) -> bool {
    std::path::Path::new(name).extension() == Some(OsStr::new("jsonl"))
}
