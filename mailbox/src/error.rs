//! Why something about the mailbox's folders and names failed.

use std::io;
use std::path::{Path, PathBuf};

/// What failed, where, and what to do.
#[derive(Debug, thiserror::Error)]
pub enum MailboxError {
    /// Somebody else could write here, or the name leads elsewhere. Never passes by itself.
    #[error("{} is refused: {why}", path.display())]
    Refused {
        /// The file or folder.
        path: PathBuf,
        /// Why, and what to do.
        why: String,
    },
    /// One node has records under both names, and neither may be overwritten. Never passes by itself.
    #[error(
        "{} and {} both have records of the same node; move the one that is not wanted to another folder",
        outbox.display(), archive.display()
    )]
    Both {
        /// The name in `outbox/`.
        outbox: PathBuf,
        /// The name in `archive/`.
        archive: PathBuf,
    },
    /// The filesystem said no; worth another try later.
    #[error("could not {doing} {}: {source}", path.display())]
    Io {
        /// A verb, such as `create`.
        doing: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The filesystem's word.
        source: io::Error,
    },
}

impl MailboxError {
    /// Whether trying again later can help without anybody changing something.
    pub fn may_pass(&self) -> bool {
        matches!(self, Self::Io { source, .. } if source.kind() != io::ErrorKind::PermissionDenied)
    }

    pub(crate) fn io(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { doing, path, source }
    }

    pub(crate) fn refused(path: &Path, why: impl Into<String>) -> Self {
        Self::Refused {
            path: path.to_owned(),
            why: why.into(),
        }
    }
}
