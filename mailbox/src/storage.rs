//! What is asked of a filesystem, and nothing more: the seam at which a simulation puts a filesystem of its own, with
//! every vice that a shared one has. [`Disk`] is the real one.

use std::ffi::OsString;
use std::fmt;
use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::Path;

use rustix::fs::FlockOperation;
use rustix::io::Errno;

use crate::append::AppendError;
use crate::error::MailboxError;
use crate::filesystem::FilesystemKind;
use crate::layout::Access;
use crate::open::{self, How};
use crate::raw_file::{DiskFile, RawFile};

/// A filesystem, as the mailbox needs it.
pub trait Storage: fmt::Debug + Send + Sync {
    /// The size under a name, or `None` if there is no such name; `fresh`: as new as the system can tell.
    fn size(&self, path: &Path, fresh: bool) -> io::Result<Option<u64>>;
    /// Opens a file to read it; nothing is created.
    fn open_to_read(&self, path: &Path) -> Result<Box<dyn ReadFile>, MailboxError>;
    /// Opens a file to append, as its one writer, and makes it (mode 0600) if it is not there.
    fn open_to_append(&self, path: &Path, kind: FilesystemKind) -> Result<Box<dyn RawFile>, AppendError>;
    /// Makes an empty file, unless there is one.
    fn make_file(&self, path: &Path, access: Access) -> Result<(), MailboxError>;
    /// Makes a folder, unless there is one; its parent exists. Whether it was made.
    fn make_folder(&self, path: &Path, access: Access) -> Result<bool, MailboxError>;
    /// rename(2).
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Whether two names stand for one file, as this machine sees them.
    fn is_same_file(&self, one: &Path, other: &Path) -> io::Result<bool>;
    /// The names in a folder.
    fn names(&self, folder: &Path) -> io::Result<Vec<OsString>>;
    /// Makes the names in a folder durable.
    fn sync_folder(&self, folder: &Path) -> Result<(), MailboxError>;
}

/// A file that is open to be read.
pub trait ReadFile: fmt::Debug + Send {
    /// Its size now, in bytes.
    fn size(&self) -> io::Result<u64>;
    /// Adds up to `length` bytes from `offset` to `into`, fewer only at the end of the file.
    fn read(&self, into: &mut Vec<u8>, offset: u64, length: usize) -> io::Result<()>;
    /// Asks the system to forget its copy from `offset` on, so that the next read asks the server. Only a hint.
    fn forget_copy(&self, offset: u64);
}

/// The filesystem of this machine.
#[derive(Debug, Clone, Copy, Default)]
pub struct Disk;

impl Storage for Disk {
    fn size(&self, path: &Path, fresh: bool) -> io::Result<Option<u64>> {
        open::size_by_name(path, fresh)
    }

    fn open_to_read(&self, path: &Path) -> Result<Box<dyn ReadFile>, MailboxError> {
        Ok(Box::new(open::open(path, How::Read)?))
    }

    fn open_to_append(&self, path: &Path, kind: FilesystemKind) -> Result<Box<dyn RawFile>, AppendError> {
        let file = open::open(path, How::Append(0o600))?;
        if !kind.is_network() {
            match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => {}
                Err(Errno::WOULDBLOCK) => {
                    let by = crate::lease::holder_of_lock(&file).unwrap_or_else(|| "another process".into());
                    let path = path.to_owned();
                    return Err(AppendError::Held { path, by });
                }
                Err(error) => return Err(MailboxError::io("lock", path)(error.into()).into()),
            }
        }
        Ok(Box::new(DiskFile::new(path.to_owned(), file, kind.is_network())))
    }

    fn make_file(&self, path: &Path, access: Access) -> Result<(), MailboxError> {
        match open::open(path, How::New(access.file_mode())) {
            Ok(file) if access == Access::Group => file
                .set_permissions(fs::Permissions::from_mode(access.file_mode()))
                .map_err(MailboxError::io("set the mode of", path)),
            Ok(_) => Ok(()),
            Err(MailboxError::Io { source, .. }) if source.kind() == io::ErrorKind::AlreadyExists => {
                let seen = fs::symlink_metadata(path).map_err(MailboxError::io("look at", path))?;
                if seen.file_type().is_file() {
                    Ok(())
                } else {
                    Err(MailboxError::refused(path, "it is not a regular file; remove it"))
                }
            }
            Err(error) => Err(error),
        }
    }

    fn make_folder(&self, folder: &Path, access: Access) -> Result<bool, MailboxError> {
        let mode = access.folder_mode();
        match fs::DirBuilder::new().mode(mode & 0o777).create(folder) {
            Ok(()) => {
                // mkdir(2) subtracts the umask and does not take the set-group-id bit everywhere.
                fs::set_permissions(folder, fs::Permissions::from_mode(mode))
                    .map_err(MailboxError::io("set the mode of", folder))?;
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                check_folder(folder, access)?;
                return Ok(false);
            }
            Err(error) => return Err(MailboxError::io("create", folder)(error)),
        }
        check_folder(folder, access)?;
        Ok(true)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn is_same_file(&self, one: &Path, other: &Path) -> io::Result<bool> {
        let (one, other) = (fs::symlink_metadata(one)?, fs::symlink_metadata(other)?);
        Ok((one.dev(), one.ino()) == (other.dev(), other.ino()))
    }

    fn names(&self, folder: &Path) -> io::Result<Vec<OsString>> {
        fs::read_dir(folder)?.map(|entry| Ok(entry?.file_name())).collect()
    }

    fn sync_folder(&self, folder: &Path) -> Result<(), MailboxError> {
        open::sync_folder(folder)
    }
}

fn check_folder(folder: &Path, access: Access) -> Result<(), MailboxError> {
    let seen = fs::symlink_metadata(folder).map_err(MailboxError::io("look at", folder))?;
    if seen.file_type().is_symlink() {
        return Err(MailboxError::refused(
            folder,
            "it is a symbolic link; name the real folder in the configuration (cluster.workspace_root, cluster.cluster_subdir)",
        ));
    }
    if !seen.is_dir() {
        return Err(MailboxError::refused(folder, "it is not a folder; move it away"));
    }
    let us = rustix::process::geteuid().as_raw();
    if access == Access::Owner && seen.uid() != us {
        return Err(MailboxError::refused(
            folder,
            format!(
                "it belongs to user {} and we are user {us}: its owner could run code as us",
                seen.uid()
            ),
        ));
    }
    if seen.mode() & access.forbidden() != 0 {
        return Err(MailboxError::refused(
            folder,
            format!(
                "others may write it (mode {:o}), so they could run code as us; take that right away: chmod {:o}",
                seen.mode() & 0o7777,
                access.folder_mode()
            ),
        ));
    }
    Ok(())
}
