//! The folder of our own control sockets, and one folder in it for each connection.
//!
//! A router that was killed leaves its folder behind. Who is still there holds a lock (flock(2)) on the file `lock` in it, so
//! that the next one can tell the two apart, whatever process ids are used again.

use std::fs::{DirBuilder, File};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rustix::fs::FlockOperation;

use crate::trouble::{Trouble, TroubleKind};

/// The longest path of a unix socket that every system takes, in bytes (`sun_path` of macOS, with its end), less what
/// ssh appends while it makes the socket (a dot and 16 letters).
const LONGEST_SOCKET: usize = 103 - 17;

/// How old a folder without a lock must be before it counts as left behind: its owner may just be making it.
const YOUNG: Duration = Duration::from_secs(60);

/// Begins the name of each folder that is ours.
const PREFIX: &str = "link-";

/// A folder for one connection; removed when dropped.
#[derive(Debug)]
pub(crate) struct SocketFolder {
    path: PathBuf,
    _lock: File,
}

impl SocketFolder {
    /// Makes a folder below `control_dir`, and removes those of routers that are gone.
    pub fn make(control_dir: &Path) -> Result<Self, Trouble> {
        let cannot = |what: &str, error: io::Error| {
            Trouble::new(
                TroubleKind::ControlFolder,
                format!(
                    "the folder for ssh's control sockets, {}, {what}: {error}",
                    control_dir.display()
                ),
                "it must be a folder on a local disk that belongs to you; give the router another state directory",
            )
        };
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(control_dir)
            .map_err(|error| cannot("cannot be made", error))?;
        let there = std::fs::metadata(control_dir).map_err(|error| cannot("cannot be read", error))?;
        if there.uid() != rustix::process::geteuid().as_raw() || there.mode() & 0o022 != 0 {
            let error = io::Error::other(format!("mode {:o}, owner {}", there.mode() & 0o777, there.uid()));
            return Err(cannot("could be written by others", error));
        }
        sweep(control_dir);
        let name = format!("{PREFIX}{}", &uuid::Uuid::new_v4().simple().to_string()[..8]);
        let path = control_dir.join(name);
        let socket_length = path.join("m").as_os_str().as_bytes().len();
        if socket_length > LONGEST_SOCKET {
            return Err(Trouble::new(
                TroubleKind::ControlFolder,
                format!(
                    "{} is too long for a unix socket: {socket_length} bytes of at most {LONGEST_SOCKET}",
                    control_dir.display()
                ),
                "give the router a state directory with a shorter path",
            ));
        }
        DirBuilder::new()
            .mode(0o700)
            .create(&path)
            .map_err(|error| cannot("cannot be written", error))?;
        let lock = File::create(path.join("lock"))
            .and_then(|file| {
                rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive)?;
                Ok(file)
            })
            .map_err(|error| cannot("cannot be locked", error))?;
        Ok(Self { path, _lock: lock })
    }

    /// Where the master listens.
    pub fn socket(&self) -> PathBuf {
        self.path.join("m")
    }

    /// Where the master writes what it has to say.
    pub fn log(&self) -> PathBuf {
        self.path.join("log")
    }
}

impl Drop for SocketFolder {
    fn drop(&mut self) {
        let _left_for_the_next_one = std::fs::remove_dir_all(&self.path);
    }
}

/// Removes the folders of routers that are gone. Their masters end by themselves a few seconds after their router.
fn sweep(control_dir: &Path) {
    let Ok(entries) = std::fs::read_dir(control_dir) else {
        return;
    };
    for entry in entries.filter_map(Result::ok) {
        let is_ours = entry.file_name().as_bytes().starts_with(PREFIX.as_bytes());
        if is_ours && entry.file_type().is_ok_and(|kind| kind.is_dir()) && is_left_behind(&entry.path()) {
            let _in_use_or_gone = std::fs::remove_dir_all(entry.path());
        }
    }
}

fn is_left_behind(folder: &Path) -> bool {
    match File::open(folder.join("lock")) {
        Ok(lock) => rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive).is_ok() && is_old(folder),
        Err(error) if error.kind() == io::ErrorKind::NotFound => is_old(folder),
        Err(_) => false,
    }
}

fn is_old(folder: &Path) -> bool {
    let changed = std::fs::metadata(folder).and_then(|there| there.modified());
    changed.is_ok_and(|changed| SystemTime::now().duration_since(changed).is_ok_and(|age| age > YOUNG))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_lives_as_long_as_its_connection_and_is_for_nobody_else() {
        let base = tempfile::tempdir().unwrap();
        let control_dir = base.path().join("s");
        let first = SocketFolder::make(&control_dir).unwrap();
        let second = SocketFolder::make(&control_dir).unwrap();
        for path in [&control_dir, &first.path] {
            assert_eq!(std::fs::metadata(path).unwrap().mode() & 0o777, 0o700);
        }
        let path = first.path.clone();
        assert!(path.exists() && path != second.path);
        drop(first);
        assert!(!path.exists() && second.path.exists());
    }

    #[test]
    fn what_a_killed_router_left_is_removed_and_what_lives_is_not() {
        let base = tempfile::tempdir().unwrap();
        let old = SystemTime::now() - 2 * YOUNG;
        let left = |name: &str, when: SystemTime| {
            let folder = base.path().join(name);
            std::fs::create_dir(&folder).unwrap();
            std::fs::write(folder.join("lock"), "").unwrap();
            File::open(&folder).unwrap().set_modified(when).unwrap();
            folder
        };
        let alive = SocketFolder::make(base.path()).unwrap();
        File::open(&alive.path).unwrap().set_modified(old).unwrap();
        let (dead, young, other) = (
            left("link-1", old),
            left("link-2", SystemTime::now()),
            left("mine", old),
        );
        let _third = SocketFolder::make(base.path()).unwrap();
        assert!(!dead.exists());
        assert!(alive.path.exists() && young.exists() && other.exists());
    }

    #[test]
    fn too_long_a_path_is_told_before_ssh_fails_on_it() {
        let base = tempfile::tempdir().unwrap();
        let trouble = SocketFolder::make(&base.path().join("x".repeat(90))).unwrap_err();
        assert_eq!(trouble.kind, TroubleKind::ControlFolder);
        assert!(trouble.what.contains("too long"), "{trouble}");
    }
}
