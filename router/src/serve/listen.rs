//! The unix socket: 0600, in a folder of the user's own, replaced if a dead router left it.

use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::Path;

use tokio::net::UnixListener;

/// The socket cannot be offered.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// The folder belongs to somebody else, or others may write into it.
    #[error("{folder} is not a private folder of this user; choose another router.state_dir, or set XDG_RUNTIME_DIR")]
    NotPrivate {
        /// The folder.
        folder: String,
    },
    /// The system says no.
    #[error("cannot listen on {socket}: {source}")]
    Io {
        /// The socket.
        socket: String,
        /// Why.
        source: std::io::Error,
    },
}

/// Makes a folder that only this user can enter, or checks that it is one.
pub fn private_folder(folder: &Path) -> Result<(), std::io::Error> {
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    let found = std::fs::metadata(folder)?;
    if found.uid() != rustix::process::geteuid().as_raw() || found.permissions().mode() & 0o022 != 0 {
        return Err(std::io::Error::other(
            "it belongs to another user, or others may write into it",
        ));
    }
    Ok(())
}

/// Listens. The caller holds the router's lock, so a socket that is already there is dead.
pub fn listen(socket: &Path) -> Result<UnixListener, ListenError> {
    let folder = socket.parent().unwrap_or(Path::new("."));
    private_folder(folder).map_err(|_| ListenError::NotPrivate {
        folder: folder.display().to_string(),
    })?;
    let failed = |source| ListenError::Io {
        socket: socket.display().to_string(),
        source,
    };
    match std::fs::remove_file(socket) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(failed(error)),
        _ => {}
    }
    let listener = UnixListener::bind(socket).map_err(failed)?;
    std::fs::set_permissions(socket, std::fs::Permissions::from_mode(0o600)).map_err(failed)?;
    Ok(listener)
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;

    use super::*;

    #[tokio::test]
    async fn a_socket_that_a_dead_router_left_is_replaced_and_the_new_one_is_the_users_alone() {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("deep/er/router.sock");
        for _ in 0..2 {
            let listener = listen(&socket).unwrap();
            assert_eq!(std::fs::metadata(&socket).unwrap().permissions().mode() & 0o777, 0o600);
            UnixStream::connect(&socket).unwrap();
            drop(listener);
            assert!(socket.exists());
        }
        let made = std::fs::metadata(folder.path().join("deep/er")).unwrap();
        assert_eq!(made.permissions().mode() & 0o777, 0o700);
    }

    #[tokio::test]
    async fn a_folder_into_which_others_may_write_gets_no_socket() {
        for (mode, private) in [
            (0o700, true),
            (0o755, true),
            (0o770, false),
            (0o707, false),
            (0o1777, false),
        ] {
            let folder = tempfile::tempdir().unwrap();
            std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(mode)).unwrap();
            let socket = folder.path().join("router.sock");
            match listen(&socket) {
                Ok(_) => assert!(private, "{mode:o}"),
                Err(error) => {
                    assert!(
                        !private && matches!(error, ListenError::NotPrivate { .. }),
                        "{mode:o}: {error:?}"
                    );
                    assert!(error.to_string().contains(folder.path().to_str().unwrap()), "{error}");
                    assert!(!socket.exists());
                }
            }
            assert_eq!(private_folder(folder.path()).is_ok(), private, "{mode:o}");
        }
    }

    #[tokio::test]
    async fn what_is_in_the_sockets_place_and_cannot_be_removed_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("router.sock");
        std::fs::create_dir_all(socket.join("somebodys")).unwrap();
        let error = listen(&socket).unwrap_err();
        assert!(matches!(error, ListenError::Io { .. }), "{error:?}");
        assert!(error.to_string().contains("router.sock"), "{error}");
        assert!(socket.join("somebodys").exists());
    }
}
