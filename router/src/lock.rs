//! One router a state: whoever holds the lock serves, everybody else is its client.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rustix::fs::{FlockOperation, flock};

/// The lock, held until it is dropped or the process dies.
#[derive(Debug)]
pub struct RouterLock(#[expect(dead_code, reason = "the descriptor is the lock")] File);

/// The lock cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// A router serves this state.
    #[error("router {holder} serves this state")]
    Held {
        /// Its process, as far as it is known.
        holder: String,
    },
    /// The system says no.
    #[error("cannot lock {file}: {source}; choose a router.state_dir on a local filesystem of your own")]
    Io {
        /// The lock file.
        file: String,
        /// Why.
        source: std::io::Error,
    },
}

impl RouterLock {
    /// Takes the lock, or says who has it.
    pub fn take(file: &Path) -> Result<Self, LockError> {
        let failed = |source| LockError::Io {
            file: file.display().to_string(),
            source,
        };
        let mut open = OpenOptions::new()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .mode(0o600)
            .open(file)
            .map_err(failed)?;
        match flock(&open, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {
                open.set_len(0).and_then(|()| open.rewind()).map_err(failed)?;
                write!(open, "{}", std::process::id()).map_err(failed)?;
                Ok(Self(open))
            }
            Err(rustix::io::Errno::WOULDBLOCK) => {
                let mut holder = String::new();
                // It may not have written its number yet.
                let _ = open.read_to_string(&mut holder);
                Err(LockError::Held { holder })
            }
            Err(error) => Err(failed(error.into())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_is_told_who_is_first_and_a_lock_ends_with_its_holder() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("router.lock");
        let first = RouterLock::take(&file).unwrap();
        let Err(LockError::Held { holder }) = RouterLock::take(&file) else {
            panic!("taken twice")
        };
        assert_eq!(holder, std::process::id().to_string());
        drop(first);
        RouterLock::take(&file).unwrap();
    }

    #[test]
    fn a_lock_that_cannot_be_had_is_named_with_what_to_do() {
        let folder = tempfile::tempdir().unwrap();
        for file in [folder.path().to_owned(), folder.path().join("gone/router.lock")] {
            let error = RouterLock::take(&file).unwrap_err();
            assert!(matches!(error, LockError::Io { .. }), "{error:?}");
            let said = error.to_string();
            assert!(
                said.contains(file.to_str().unwrap()) && said.contains("router.state_dir"),
                "{said}"
            );
        }
    }
}
