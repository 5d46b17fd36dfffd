//! What goes wrong with ssh, for real: other keys, other hosts and other questions of a login node that works.

use std::path::PathBuf;

use crate::login_node::{self, LoginNode};

/// One thing that is wrong, as far as the side that connects can see it. For a second factor see
/// [`LoginOptions::second_factor`](crate::login_node::LoginOptions::second_factor), for a network that swallows everything
/// [`LoginNode::freeze`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SshTrouble {
    /// The key is not among the authorized ones.
    PermissionDenied,
    /// Another host key than the one that is known.
    HostKeyChanged,
    /// A host whose key is not known, and nobody to ask about it.
    HostKeyUnknown,
    /// The configuration has no such alias, and it is no name of a host.
    AliasUnknown,
    /// Nothing listens there.
    ConnectionRefused,
    /// The jump host cannot be reached.
    JumpHostFails,
}

impl SshTrouble {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::PermissionDenied,
        Self::HostKeyChanged,
        Self::HostKeyUnknown,
        Self::AliasUnknown,
        Self::ConnectionRefused,
        Self::JumpHostFails,
    ];

    /// What ssh prints among other things.
    pub fn words(self) -> &'static str {
        match self {
            Self::PermissionDenied => "Permission denied (publickey)",
            Self::HostKeyChanged => "REMOTE HOST IDENTIFICATION HAS CHANGED",
            Self::HostKeyUnknown => "Host key verification failed",
            Self::AliasUnknown => "Could not resolve hostname",
            Self::ConnectionRefused | Self::JumpHostFails => "Connection refused",
        }
    }

    /// An ssh configuration for a login node with this trouble; the alias stays the same.
    pub fn ssh_config(self, login: &LoginNode) -> PathBuf {
        // Nobody listens on the port for 'tcpmux' nowadays.
        let line = match self {
            Self::PermissionDenied => format!("IdentityFile {}", login.file("unknown_identity").display()),
            Self::HostKeyChanged => format!("UserKnownHostsFile {}", self.other_host_key(login).display()),
            Self::HostKeyUnknown => "UserKnownHostsFile none".to_owned(),
            Self::AliasUnknown => "HostName no-such-host.invalid".to_owned(),
            Self::ConnectionRefused => "Port 1".to_owned(),
            Self::JumpHostFails => "ProxyJump 127.0.0.1:1".to_owned(),
        };
        let mut text = login.ssh_configuration(&[line]);
        if self == Self::PermissionDenied {
            // ssh tries all files that it is given.
            text = text.replace(
                &format!("\n  IdentityFile {}\n", login.file("identity").display()),
                "\n",
            );
        }
        login.write(&format!("ssh_config_{self:?}"), &text)
    }

    fn other_host_key(self, login: &LoginNode) -> PathBuf {
        let key = login.file("other_host_key");
        if !key.exists() {
            login_node::make_key(&key);
        }
        let public = std::fs::read_to_string(key.with_extension("pub")).unwrap_or_default();
        login.write("other_known_hosts", &format!("[127.0.0.1]:{} {public}", login.port()))
    }
}
