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
