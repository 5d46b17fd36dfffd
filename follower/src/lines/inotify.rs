//! Which names in a folder moved, as the kernel tells it. For a local filesystem; what another machine does raises no
//! event (inotify(7)).

use std::ffi::{OsStr, OsString};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::inotify::{self, CreateFlags, ReadFlags, WatchFlags};
use rustix::io::Errno;

/// What the kernel told.
#[derive(Debug, PartialEq, Eq)]
pub enum Told {
    /// This name moved.
    Name(OsString),
    /// Events were lost: everything may have moved.
    Lost,
    /// The folder itself is gone.
    FolderGone,
}

/// One folder's events.
pub struct Inotify {
    queue: OwnedFd,
    buffer: Vec<MaybeUninit<u8>>,
}

impl Inotify {
    /// Listens from now on.
    ///
    /// # Errors
    /// The kernel's limit of watches (`fs.inotify.max_user_instances`), or the folder cannot be read.
    pub fn on(folder: &Path) -> io::Result<Self> {
        let queue = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
        let wanted = WatchFlags::MODIFY
            | WatchFlags::CREATE
            | WatchFlags::DELETE
            | WatchFlags::MOVED_FROM
            | WatchFlags::MOVED_TO
            | WatchFlags::DELETE_SELF
            | WatchFlags::MOVE_SELF
            | WatchFlags::ONLYDIR;
        inotify::add_watch(&queue, folder, wanted)?;
        Ok(Self {
            queue,
            buffer: vec![MaybeUninit::uninit(); 32 * 1024],
        })
    }

    /// Readable when there is something to tell.
    pub fn as_fd(&self) -> BorrowedFd<'_> {
        self.queue.as_fd()
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
            } else if kind
                .intersects(ReadFlags::DELETE_SELF | ReadFlags::MOVE_SELF | ReadFlags::UNMOUNT | ReadFlags::IGNORED)
            {
                told.push(Told::FolderGone);
            } else if let Some(name) = event.file_name() {
                told.push(Told::Name(OsStr::from_bytes(name.to_bytes()).to_owned()));
            }
        }
    }
}
