//! Where a router keeps its state and where it listens, from its configuration: one place for each cluster.

use std::hash::Hasher;
use std::path::{Path, PathBuf};

/// The longest path that a unix socket can have on Linux and macOS alike, in bytes.
const MAX_SOCKET_PATH: usize = 100;

/// The files that make a router findable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// The folder of all of them, 0700.
    pub state_dir: PathBuf,
    /// The state, SQLite.
    pub database: PathBuf,
    /// Locked by the router that serves this state, for as long as it lives.
    pub lock: PathBuf,
    /// The unix socket, 0600.
    pub socket: PathBuf,
    /// The log of a router in the background.
    pub log: PathBuf,
    /// A folder with a short path for further sockets.
    pub runtime_dir: PathBuf,
}

impl Endpoint {
    /// The files for a state folder. A path that is too long for a socket is replaced by one below `runtime_dir`.
    pub fn of(state_dir: &Path, runtime_dir: &Path) -> Self {
        let beside = state_dir.join("router.sock");
        let socket = if beside.as_os_str().len() <= MAX_SOCKET_PATH {
            beside
        } else {
            runtime_dir.join(format!("codeswarm-{:016x}.sock", hash(state_dir)))
        };
        Self {
            state_dir: state_dir.to_owned(),
            database: state_dir.join("state.sqlite"),
            lock: state_dir.join("router.lock"),
            socket,
            log: state_dir.join("router.log"),
            runtime_dir: runtime_dir.to_owned(),
        }
    }

    /// The same, with this user's runtime folder: `$XDG_RUNTIME_DIR`, else a private folder below the temporary one.
    pub fn for_state(state_dir: &Path) -> Self {
        let runtime = std::env::var_os("XDG_RUNTIME_DIR")
            .map(PathBuf::from)
            .filter(|dir| dir.is_dir());
        let runtime = runtime
            .unwrap_or_else(|| std::env::temp_dir().join(format!("codeswarm-{}", rustix::process::getuid().as_raw())));
        Self::of(state_dir, &runtime)
    }
}

/// FNV-1a: small, and the same in every build, which the standard hasher does not promise.
fn hash(path: &Path) -> u64 {
    struct Fnv(u64);
    impl Hasher for Fnv {
        fn finish(&self) -> u64 {
            self.0
        }
        fn write(&mut self, bytes: &[u8]) {
            for byte in bytes {
                self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
            }
        }
    }
    let mut hasher = Fnv(0xcbf2_9ce4_8422_2325);
    hasher.write(path.as_os_str().as_encoded_bytes());
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_state_path_gets_a_short_socket() {
        let short = Endpoint::of(
            Path::new("/home/me/.local/state/codeswarm/router"),
            Path::new("/run/user/1"),
        );
        assert_eq!(
            short.socket,
            Path::new("/home/me/.local/state/codeswarm/router/router.sock")
        );
        let deep = PathBuf::from(format!("/{}", "x".repeat(200)));
        let long = Endpoint::of(&deep, Path::new("/run/user/1"));
        assert!(long.socket.starts_with("/run/user/1") && long.socket.as_os_str().len() <= MAX_SOCKET_PATH);
        assert_eq!(long, Endpoint::of(&deep, Path::new("/run/user/1")));
    }
}
