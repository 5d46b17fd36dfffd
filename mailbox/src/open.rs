//! Opening a mailbox file so that a hostile name cannot lead elsewhere or make us wait: never through a symbolic link,
//! never a pipe or a device, never a file that others may write; and asking for sizes that are not a cache's.

use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use rustix::fs::OFlags;

use crate::error::MailboxError;

/// How a file is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum How {
    /// To read; nothing is created.
    Read,
    /// To read and to append; created with this mode if it is not there.
    Append(u32),
    /// To read and to append; nothing is created.
    AppendAgain,
    /// To read and to write at given offsets; nothing is created.
    Rewrite,
    /// As new; fails if the name is taken.
    New(u32),
    /// To read and to write at given offsets; created with this mode if it is not there.
    Create(u32),
}

/// Opens `path` and checks what was opened.
pub(crate) fn open(path: &Path, how: How) -> Result<File, MailboxError> {
    let mut options = OpenOptions::new();
    match how {
        How::Read => options.read(true),
        How::Append(mode) => options.read(true).append(true).create(true).mode(mode),
        How::AppendAgain => options.read(true).append(true),
        How::Rewrite => options.read(true).write(true),
        How::New(mode) => options.write(true).create_new(true).mode(mode),
        How::Create(mode) => options.read(true).write(true).create(true).truncate(false).mode(mode),
    };
    // A pipe under a mailbox's name would make open(2) wait for its other end: hence NONBLOCK.
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY;
    options.custom_flags(flags.bits().cast_signed());
    let file = options.open(path).map_err(|error| {
        if error.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error()) {
            MailboxError::refused(
                path,
                "it is a symbolic link; remove it, or name the real folder in the configuration",
            )
        } else {
            MailboxError::io("open", path)(error)
        }
    })?;
    let seen = file.metadata().map_err(MailboxError::io("look at", path))?;
    check_file(path, &seen)?;
    Ok(file)
}

fn check_file(path: &Path, seen: &Metadata) -> Result<(), MailboxError> {
    if !seen.file_type().is_file() {
        return Err(MailboxError::refused(path, "it is not a regular file; remove it"));
    }
    if seen.mode() & 0o002 != 0 {
        return Err(MailboxError::refused(
            path,
            "every user of the machine may write it, so its lines cannot be trusted; take that right away (chmod o-w) after looking into it",
        ));
    }
    Ok(())
}

/// The size under a name, as fresh as the system can tell; `None` if there is no such name.
///
/// On a network filesystem the client is made to ask its server (statx(2), `AT_STATX_FORCE_SYNC`).
#[cfg(target_os = "linux")]
pub(crate) fn size_by_name(path: &Path, fresh: bool) -> io::Result<Option<u64>> {
    use rustix::fs::{AtFlags, CWD, StatxFlags};
    let sync = if fresh {
        AtFlags::STATX_FORCE_SYNC
    } else {
        AtFlags::STATX_SYNC_AS_STAT
    };
    match rustix::fs::statx(CWD, path, AtFlags::SYMLINK_NOFOLLOW | sync, StatxFlags::SIZE) {
        Ok(seen) => Ok(Some(seen.stx_size)),
        Err(rustix::io::Errno::NOENT) => Ok(None),
        // Kernels before 4.11 and some sandboxes have no statx; an open asks the server too (nfs(5), close-to-open).
        Err(rustix::io::Errno::NOSYS) => size_by_opening(path),
        Err(error) => Err(error.into()),
    }
}

/// The size under a name, as fresh as the system can tell; `None` if there is no such name.
#[cfg(not(target_os = "linux"))]
pub(crate) fn size_by_name(path: &Path, fresh: bool) -> io::Result<Option<u64>> {
    if fresh {
        return size_by_opening(path);
    }
    match std::fs::symlink_metadata(path) {
        Ok(seen) => Ok(Some(seen.len())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// By close-to-open alone.
pub(crate) fn size_by_opening(path: &Path) -> io::Result<Option<u64>> {
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY;
    match OpenOptions::new()
        .read(true)
        .custom_flags(flags.bits().cast_signed())
        .open(path)
    {
        Ok(file) => Ok(Some(file.metadata()?.len())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Writes a file in the place of one that is there: whole and durable, or not at all. A reader meanwhile finds the old one
/// or the new one. Nobody else writes this name meanwhile.
pub(crate) fn write_whole(path: &Path, mode: u32, data: &[u8]) -> Result<(), MailboxError> {
    let unfinished = path.with_extension("new");
    match std::fs::remove_file(&unfinished) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(MailboxError::io("remove", &unfinished)(error));
        }
        _ => {}
    }
    let mut file = open(&unfinished, How::New(mode))?;
    file.write_all(data).map_err(MailboxError::io("write", &unfinished))?;
    file.sync_all().map_err(MailboxError::io("sync", &unfinished))?;
    drop(file);
    rename(&unfinished, path).map_err(MailboxError::io("rename", &unfinished))?;
    path.parent().map_or(Ok(()), sync_folder)
}

/// Gives a file another name, in the place of what has that name. A failure is believed only if the file is not there
/// afterwards: a rename may be told as failed and have happened (rename(2), on NFS).
pub(crate) fn rename(from: &Path, to: &Path) -> io::Result<()> {
    rename_by(from, to, |from, to| std::fs::rename(from, to))
}

pub(crate) fn rename_by(from: &Path, to: &Path, rename: impl FnOnce(&Path, &Path) -> io::Result<()>) -> io::Result<()> {
    let file = |path: &Path| std::fs::symlink_metadata(path).map(|seen| (seen.dev(), seen.ino()));
    let moved = file(from)?;
    match rename(from, to) {
        Err(error) if file(to).ok() != Some(moved) => Err(error),
        _ => Ok(()),
    }
}

/// Makes the names in a folder durable.
pub(crate) fn sync_folder(path: &Path) -> Result<(), MailboxError> {
    let folder = File::open(path).map_err(MailboxError::io("open", path))?;
    match rustix::fs::fsync(&folder) {
        // Some network filesystems cannot sync a folder and need not: their names are the server's.
        Ok(()) | Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOTSUP | rustix::io::Errno::BADF) => Ok(()),
        Err(error) => Err(MailboxError::io("sync", path)(error.into())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p9_a_rename_that_fails_and_has_happened_is_one() {
        let here = tempfile::tempdir().unwrap();
        let (from, to) = (here.path().join("from"), here.path().join("to"));
        for old in [false, true] {
            std::fs::write(&from, "new").unwrap();
            if old {
                std::fs::write(&to, "old").unwrap();
            }
            let failed = || Err(io::Error::other("the answer was lost"));
            rename_by(&from, &to, |_, _| failed()).unwrap_err();
            assert!(from.exists());
            rename_by(&from, &to, |from, to| std::fs::rename(from, to).and_then(|()| failed())).unwrap();
            assert_eq!(std::fs::read(&to).unwrap(), b"new");
            std::fs::remove_file(&to).unwrap();
        }
    }
}
