//! The workspace as this machine sees it.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Instant;

use codeswarm_mailbox::{FilesystemKind, Mailbox, lease};
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use super::host_name;
use crate::facts::{Lock, Space, WorkspaceFacts};

/// Makes the mailbox's folders or checks them, as a follower does; writes a small file and removes it.
pub fn look(mailbox: &Mailbox) -> WorkspaceFacts {
    let root = mailbox.root();
    let tried = mailbox
        .create()
        .map_err(|error| error.to_string())
        .and_then(|()| try_file(&root.join("runs")));
    let (refused, write_ms, lock) = match tried {
        Ok((milliseconds, lock)) => (None, Some(milliseconds), lock),
        Err(refused) => (Some(refused), None, Lock::Untried),
    };
    WorkspaceFacts {
        host: host_name(),
        root: root.display().to_string(),
        write_ms,
        lock,
        shared: shared(root),
        space: space(root),
        held_by: if refused.is_some() {
            None
        } else {
            lease::holder(mailbox).ok().flatten()
        },
        refused,
    }
}

/// A shared filesystem's name.
pub fn shared(path: &Path) -> Option<String> {
    match FilesystemKind::of(path) {
        Ok(FilesystemKind::Network(name)) => Some(name.to_owned()),
        Ok(FilesystemKind::Local) | Err(_) => None,
    }
}

/// Room where a path is, or would be (statvfs(3)).
pub fn space(path: &Path) -> Option<Space> {
    let there = path.ancestors().find(|path| path.exists())?;
    let told = rustix::fs::statvfs(there).ok()?;
    Some(Space {
        free_bytes: told.f_bavail.saturating_mul(told.f_frsize),
        total_bytes: told.f_blocks.saturating_mul(told.f_frsize),
        free_inodes: told.f_favail,
        total_inodes: told.f_files,
    })
}

/// A file that is removed when it is not needed any more.
struct Trial(PathBuf);

impl Drop for Trial {
    fn drop(&mut self) {
        let _may_not_be_there = fs::remove_file(&self.0);
    }
}

/// Writes, reads and locks a file in a folder: how long that took in milliseconds, and what the second lock got.
pub fn try_file(folder: &Path) -> Result<(f64, Lock), String> {
    let unique = uuid::Uuid::new_v4().simple().to_string();
    let file = Trial(folder.join(format!(".doctor-{unique}")));
    let failed = |doing: &str, error: io::Error| format!("could not {doing} {}: {error}", file.0.display());
    let began = Instant::now();
    let text = unique.repeat(128);
    let mut opened = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&file.0)
        .map_err(|error| failed("create", error))?;
    opened
        .write_all(text.as_bytes())
        .and_then(|()| opened.sync_all())
        .map_err(|error| failed("write", error))?;
    drop(opened);
    let read = fs::read_to_string(&file.0).map_err(|error| failed("read", error))?;
    if read != text {
        return Err(failed(
            "read",
            io::Error::other("it holds something else than was written"),
        ));
    }
    let milliseconds = began.elapsed().as_secs_f64() * 1000.0;
    let lock = match held(&file.0) {
        Ok(_first) => try_lock(&file.0),
        Err(error) => Lock::Fails(error.to_string()),
    };
    Ok((milliseconds, lock))
}

/// Locks a file until the descriptor is dropped.
pub fn held(path: &Path) -> io::Result<fs::File> {
    let file = OpenOptions::new().read(true).write(true).open(path)?;
    flock(&file, FlockOperation::NonBlockingLockExclusive)?;
    Ok(file)
}

/// Tries to lock what somebody else has locked.
pub fn try_lock(path: &Path) -> Lock {
    let file = match OpenOptions::new().read(true).write(true).open(path) {
        Ok(file) => file,
        Err(error) => return Lock::Fails(error.to_string()),
    };
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Lock::DoesNotExclude,
        Err(Errno::WOULDBLOCK) => Lock::Excludes,
        Err(error) => Lock::Fails(io::Error::from(error).to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_workspace_is_made_and_nothing_is_left_in_it() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("a/codeswarm");
        let seen = look(&Mailbox::at(&root));
        assert_eq!((&seen.refused, &seen.held_by), (&None, &None));
        assert_eq!(seen.lock, Lock::Excludes);
        assert!(seen.write_ms.unwrap() > 0.0 && seen.space.unwrap().total_bytes > 0);
        assert_eq!(fs::read_dir(root.join("runs")).unwrap().count(), 0);
    }

    #[test]
    fn a_workspace_that_others_may_write_is_refused() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("codeswarm");
        fs::create_dir(&root).unwrap();
        fs::set_permissions(&root, fs::Permissions::from_mode(0o777)).unwrap();
        let refused = look(&Mailbox::at(&root)).refused.unwrap();
        assert!(
            refused.contains("mode 777") && refused.contains("chmod 700"),
            "{refused}"
        );
    }
}
