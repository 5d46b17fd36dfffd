//! What is known about how to get to the login node.

use std::path::PathBuf;

/// The way there, and where our own control sockets may lie.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Login {
    /// Whom ssh is to call, and how.
    pub ssh: Ssh,
    /// The folder of our own control sockets, on a local disk; made if it is not there, for nobody else to enter. Short: a
    /// unix socket's path has about a hundred bytes.
    pub control_dir: PathBuf,
}

/// What ssh is told. Everything else (user, port, keys, jump hosts) is in the person's own ssh configuration.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ssh {
    /// The host as the ssh configuration knows it: an alias, a name, or `user@name`. Never begins with `-`.
    pub login_alias: String,
    /// Another configuration file than the person's (`ssh -F`).
    pub config_file: Option<PathBuf>,
    /// The control socket of a connection that the person has opened. It is used as it is and never closed.
    pub control_path: Option<PathBuf>,
}
