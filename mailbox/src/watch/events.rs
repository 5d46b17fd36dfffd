//! The kernel's events as places, read by whoever waits for them: no thread stands in between, and what has gathered while
//! somebody was busy comes at once.

use std::io;
use std::path::{Path, PathBuf};

use codeswarm_protocol::Place;
use tokio::io::unix::AsyncFd;

use crate::inotify::{Inotify, Told};
use crate::layout::place_of_file_name;

/// What events say.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum News {
    /// This file moved.
    Of(Place),
    /// Any file may have moved.
    OfAll,
}

/// Events of some folders, or files.
#[derive(Debug)]
pub(super) struct Events {
    queue: Queue,
    /// What is watched, in the order of adding.
    paths: Vec<PathBuf>,
    /// Read while waiting.
    told: Vec<Told>,
}

#[derive(Debug)]
enum Queue {
    /// Not yet waited for: only then is it known which runtime waits.
    Fresh(Inotify),
    Waited(AsyncFd<Inotify>),
    /// It could not be waited for.
    Broken,
}

impl Events {
    pub(super) fn of(paths: &[PathBuf]) -> Result<Self, String> {
        let cannot = |path: &Path, error: io::Error| format!("{} cannot be watched: {error}", path.display());
        let first = paths.first().map_or(Path::new("."), PathBuf::as_path);
        let mut inotify = Inotify::new().map_err(|error| cannot(first, error))?;
        for path in paths {
            inotify.add(path).map_err(|error| cannot(path, error))?;
        }
        Ok(Self::from(inotify, paths))
    }

    pub(super) fn from(inotify: Inotify, paths: &[PathBuf]) -> Self {
        Self {
            queue: Queue::Fresh(inotify),
            paths: paths.to_vec(),
            told: Vec::new(),
        }
    }

    /// What has come; does not wait.
    pub(super) fn take(&mut self) -> io::Result<Vec<News>> {
        let mut told = std::mem::take(&mut self.told);
        if told.is_empty() {
            told = match &mut self.queue {
                Queue::Fresh(inotify) => inotify.told()?,
                Queue::Waited(inotify) => inotify.get_mut().told()?,
                Queue::Broken => Vec::new(),
            };
        }
        let paths = &self.paths;
        let of = |path: &Path| place_of_file_name(path).map(News::Of);
        let news = told.into_iter().filter_map(|told| match told {
            Told::Name(name) => of(Path::new(&name)),
            Told::Itself(which) => paths.get(which).and_then(|path| of(path)),
            // A folder is no place: whatever was in it may be elsewhere.
            Told::Gone(which) => paths.get(which).map(|path| of(path).unwrap_or(News::OfAll)),
            Told::Lost => Some(News::OfAll),
        });
        Ok(news.collect())
    }

    /// Waits until [`Self::take`] has something. May be dropped and called again at any time.
    pub(super) async fn come(&mut self) -> io::Result<()> {
        if let Queue::Fresh(_) = &self.queue
            && let Queue::Fresh(inotify) = std::mem::replace(&mut self.queue, Queue::Broken)
        {
            #[expect(
                deprecated,
                reason = "what replaces it is unsafe; the descriptor is owned here and is never another one"
            )]
            let waited = AsyncFd::new(inotify)?;
            self.queue = Queue::Waited(waited);
        }
        let Queue::Waited(inotify) = &mut self.queue else {
            return std::future::pending().await;
        };
        while self.told.is_empty() {
            let mut ready = inotify.readable_mut().await?;
            // What made it readable may have been taken already.
            let read = ready.try_io(|inotify| match inotify.get_mut().told() {
                Ok(told) if told.is_empty() => Err(io::ErrorKind::WouldBlock.into()),
                other => other,
            });
            if let Ok(told) = read {
                self.told = told?;
            }
        }
        Ok(())
    }
}
