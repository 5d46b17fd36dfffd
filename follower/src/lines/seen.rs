//! Which file a name stands for at a moment, asked freshly.

use std::fs::File;
use std::io;
use std::path::Path;

use rustix::fs::{Mode, OFlags};

/// What a look at a name showed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen {
    /// Which file: its device and inode.
    identity: (u64, u64),
    /// Its size in bytes.
    pub size: u64,
}

impl Seen {
    /// One look, which on a network filesystem asks the server. `None`: no such name.
    ///
    /// # Errors
    /// The name cannot be looked at, or is no regular file (a link is none).
    pub fn at(path: &Path) -> io::Result<Option<Self>> {
        match fresh(path) {
            Ok((true, seen)) => Ok(Some(seen)),
            Ok((false, _)) => Err(io::Error::new(io::ErrorKind::InvalidInput, "is not a regular file")),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Whether both looks saw one file.
    pub fn is_same_file(&self, other: &Self) -> bool {
        self.identity == other.identity
    }
}

/// Opens a name for reading, and says what was opened. `None`: no such name. A link is not followed.
///
/// # Errors
/// It cannot be opened.
pub fn open(path: &Path) -> io::Result<Option<(File, Seen)>> {
    use std::os::unix::fs::MetadataExt;
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file: File = match rustix::fs::open(path, flags, Mode::empty()) {
        Ok(file) => file.into(),
        Err(rustix::io::Errno::NOENT) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let stat = file.metadata()?;
    let seen = Seen {
        identity: (stat.dev(), stat.ino()),
        size: stat.size(),
    };
    Ok(Some((file, seen)))
}

/// Whether it is a regular file, and which.
#[cfg(target_os = "linux")]
fn fresh(path: &Path) -> io::Result<(bool, Seen)> {
    use rustix::fs::{AtFlags, CWD, FileType, StatxFlags, makedev, statx};
    let stat = statx(
        CWD,
        path,
        AtFlags::STATX_FORCE_SYNC | AtFlags::SYMLINK_NOFOLLOW,
        StatxFlags::TYPE | StatxFlags::INO | StatxFlags::SIZE,
    )?;
    let regular = FileType::from_raw_mode(u32::from(stat.stx_mode)) == FileType::RegularFile;
    let identity = (makedev(stat.stx_dev_major, stat.stx_dev_minor), stat.stx_ino);
    let size = stat.stx_size;
    Ok((regular, Seen { identity, size }))
}

/// Whether it is a regular file, and which.
#[cfg(not(target_os = "linux"))]
fn fresh(path: &Path) -> io::Result<(bool, Seen)> {
    use std::os::unix::fs::MetadataExt;
    let stat = std::fs::symlink_metadata(path)?;
    let identity = (stat.dev(), stat.ino());
    let size = stat.size();
    Ok((stat.is_file(), Seen { identity, size }))
}
