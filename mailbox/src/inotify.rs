//! What moved, as the kernel tells it. For a local filesystem; what another machine does raises no event (inotify(7)).
//!
//! Only what changes a file or a name is asked for. That a file was opened is not: a reader would be woken by its own reading.

use std::ffi::{OsStr, OsString};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::inotify::{self, CreateFlags, ReadFlags, WatchFlags};
use rustix::io::Errno;

/// What the kernel told.
#[derive(Debug, PartialEq, Eq)]
pub enum Told {
    /// This name in a folder moved.
    Name(OsString),
    /// Something that is watched itself moved: the so-manieth that was added.
    Itself(usize),
    /// Events were lost: everything may have moved.
    Lost,
    /// Something that is watched is gone: the so-manieth that was added.
    Gone(usize),
}

/// The kernel's queue of events.
#[derive(Debug)]
pub struct Inotify {
    queue: OwnedFd,
    /// The kernel's number of each watch, in the order of adding.
    watches: Vec<i32>,
    buffer: Vec<MaybeUninit<u8>>,
}

impl Inotify {
    /// Listens to a folder from now on.
    ///
    /// # Errors
    /// The kernel's limits (`fs.inotify.max_user_instances`, `max_user_watches`), or it is no folder that can be read.
    pub fn on(folder: &Path) -> io::Result<Self> {
        let mut all = Self::new()?;
        all.watch(folder, WatchFlags::ONLYDIR)?;
        Ok(all)
    }

    /// Listens to nothing yet.
    ///
    /// # Errors
    /// The kernel's limit of queues (`fs.inotify.max_user_instances`).
    pub fn new() -> io::Result<Self> {
        let queue = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
        Ok(Self::reading(queue))
    }

    /// Reads events from what is said to be such a queue.
    pub(crate) fn reading(queue: OwnedFd) -> Self {
        Self {
            queue,
            watches: Vec::new(),
            buffer: vec![MaybeUninit::uninit(); 32 * 1024],
        }
    }

    /// Listens to a folder, or to one file, as well.
    ///
    /// # Errors
    /// The kernel's limit of watches (`fs.inotify.max_user_watches`), or it cannot be read.
    pub fn add(&mut self, path: &Path) -> io::Result<()> {
        self.watch(path, WatchFlags::empty())
    }

    fn watch(&mut self, path: &Path, how: WatchFlags) -> io::Result<()> {
        let wanted = WatchFlags::MODIFY
            | WatchFlags::CREATE
            | WatchFlags::DELETE
            | WatchFlags::MOVED_FROM
            | WatchFlags::MOVED_TO
            | WatchFlags::DELETE_SELF
            | WatchFlags::MOVE_SELF;
        self.watches.push(inotify::add_watch(&self.queue, path, wanted | how)?);
        Ok(())
    }

    /// What was told since the last call; does not wait.
    ///
    /// # Errors
    /// The queue cannot be read.
    pub fn told(&mut self) -> io::Result<Vec<Told>> {
        let mut told = Vec::new();
        let mut events = inotify::Reader::new(&self.queue, &mut self.buffer);
        loop {
            let event = match events.next() {
                Ok(event) => event,
                Err(Errno::AGAIN) => return Ok(told),
                Err(error) => return Err(error.into()),
            };
            let kind = event.events();
            if kind.contains(ReadFlags::QUEUE_OVERFLOW) {
                told.push(Told::Lost);
            } else if let Some(which) = self.watches.iter().position(|watch| *watch == event.wd()) {
                let gone = ReadFlags::DELETE_SELF | ReadFlags::MOVE_SELF | ReadFlags::UNMOUNT | ReadFlags::IGNORED;
                told.push(match event.file_name() {
                    _ if kind.intersects(gone) => Told::Gone(which),
                    Some(name) => Told::Name(OsStr::from_bytes(name.to_bytes()).to_owned()),
                    None => Told::Itself(which),
                });
            }
        }
    }
}

impl AsFd for Inotify {
    /// Readable when there is something to tell.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.queue.as_fd()
    }
}

impl AsRawFd for Inotify {
    fn as_raw_fd(&self) -> RawFd {
        self.queue.as_raw_fd()
    }
}
