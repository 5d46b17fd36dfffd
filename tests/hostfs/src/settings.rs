//! How long the clients of a filesystem believe what they know, and how late their writes arrive.

use std::time::Duration;

/// The same for all clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// How long a file's attributes are believed (nfs(5), `acregmin`).
    pub attributes: Duration,
    /// How long a folder's names are believed, and that there is no such name (nfs(5), `acdirmin`, `lookupcache`).
    pub names: Duration,
    /// How long a write stays with its client if nobody syncs or closes the file (`vm.dirty_expire_centisecs`).
    pub write_back: Duration,
    /// How long after a sync or close its bytes come to the server. With zero, a sync waits until they are there.
    pub late: Duration,
    /// How long a file that grows has NULs in the place of its new bytes.
    pub gap: Duration,
    /// What flock(2) is worth.
    pub locks: LockKind,
}

impl Default for Settings {
    /// As Linux mounts NFS, but for the times, which are shorter so that tests are.
    fn default() -> Self {
        Self {
            attributes: Duration::from_secs(1),
            names: Duration::from_secs(1),
            write_back: Duration::from_secs(5),
            late: Duration::ZERO,
            gap: Duration::ZERO,
            locks: LockKind::Local,
        }
    }
}

/// What flock(2) is worth (nfs(5) `local_lock`, mount.lustre(8) `flock`, `localflock`, `noflock`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LockKind {
    /// A lock is seen by the processes of its client alone.
    Local,
    /// There is none: ENOLCK.
    Absent,
    /// A lock holds for all clients.
    Coherent,
}

impl std::str::FromStr for LockKind {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, String> {
        match word {
            "local" => Ok(Self::Local),
            "absent" => Ok(Self::Absent),
            "coherent" => Ok(Self::Coherent),
            _ => Err(format!("{word} is none of local, absent, coherent")),
        }
    }
}
