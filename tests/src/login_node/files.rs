//! The files of a login node: keys, sshd's configuration, and the ssh configuration of those who connect to it.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{LoginNode, LoginOptions, MARK};
use crate::cli::run;
use crate::model_server::{KEY, KEY_VARIABLE};

/// What sessions find programs in, behind the test's own folder.
const PATH: &str = "/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin";

impl LoginNode {
    pub(super) fn make_keys(&self) {
        std::fs::create_dir(&self.folder).unwrap_or_else(|error| panic!("{}: {error}", self.folder.display()));
        for name in ["host_key", "identity", "unknown_identity"] {
            make_key(&self.folder.join(name));
        }
        let (public, authorized) = (self.folder.join("identity.pub"), self.folder.join("authorized_keys"));
        std::fs::copy(public, authorized).unwrap_or_else(|error| panic!("{}: {error}", self.folder.display()));
        // Where sshd as root shuts in its unprivileged half.
        let _ = std::fs::create_dir("/run/sshd");
    }

    pub(super) fn configure(&self, options: &LoginOptions) {
        let folder = self.folder.display();
        let mut sshd = options.sshd_lines.join("\n");
        if let Some(noise) = &options.noise {
            self.write("noise", noise);
            self.write(
                "noisy_shell",
                &format!(
                    "# A login shell that greets its user also when it only runs a command.\n\
                     cat {folder}/noise\nexec \"${{SHELL:-/bin/sh}}\" -c \"${{SSH_ORIGINAL_COMMAND:-exec $SHELL -l}}\"\n"
                ),
            );
            sshd.push_str(&format!("\nForceCommand sh {folder}/noisy_shell"));
        }
        if options.second_factor {
            sshd.push_str("\nUsePAM yes\nKbdInteractiveAuthentication yes\n");
            sshd.push_str("AuthenticationMethods publickey,keyboard-interactive");
        }
        sshd.push_str(&format!(
            "\nPort {port}\nListenAddress 127.0.0.1\nHostKey {folder}/host_key\nPidFile none\n\
             AuthorizedKeysFile {folder}/authorized_keys\nStrictModes no\nUsePAM no\nUseDNS no\n\
             PasswordAuthentication no\nKbdInteractiveAuthentication no\nPermitRootLogin prohibit-password\n\
             PrintMotd no\nPrintLastLog no\nSubsystem sftp internal-sftp\nSetEnv {environment}\n",
            port = self.port,
            environment = self.environment(options),
        ));
        self.write("sshd_config", &sshd);

        let host_key = std::fs::read_to_string(self.folder.join("host_key.pub")).unwrap_or_default();
        self.write("known_hosts", &format!("[127.0.0.1]:{} {host_key}", self.port));
        self.write("ssh_config", &self.ssh_configuration(&[]));
    }

    /// An ssh configuration for this node. The first line for a keyword counts, and these come first.
    pub(crate) fn ssh_configuration(&self, lines: &[String]) -> String {
        let (folder, lines) = (self.folder.display(), lines.join("\n  "));
        format!(
            "Host {alias}\n  {lines}\n  HostName 127.0.0.1\n  Port {port}\n  User {user}\n  IdentityFile {folder}/identity\n  \
             IdentitiesOnly yes\n  IdentityAgent none\n  UserKnownHostsFile {folder}/known_hosts\n  \
             GlobalKnownHostsFile none\n  StrictHostKeyChecking yes\n  BatchMode yes\n",
            alias = Self::ALIAS,
            port = self.port,
            user = user(),
        )
    }

    /// Writes a file of this node's folder, and returns where it is.
    pub(crate) fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.folder.join(name);
        std::fs::write(&path, text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        path
    }

    /// A file of this node's folder.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// What sshd puts into its sessions' environment, as the one line that it wants.
    fn environment(&self, options: &LoginOptions) -> String {
        let path = match &options.programs {
            Some(folder) => format!("{}:{PATH}", folder.display()),
            None => PATH.to_owned(),
        };
        let text = |path: PathBuf| path.display().to_string();
        let mut all = vec![
            ("PATH".to_owned(), path),
            ("SLURM_CONF".to_owned(), text(self.cluster.slurm_conf())),
            ("HOME".to_owned(), text(self.workspace.join("home"))),
            ("TMPDIR".to_owned(), text(self.workspace.join("tmp"))),
            ("WORKSPACE_OF_TEST".to_owned(), text(self.workspace.clone())),
            (MARK.to_owned(), text(self.folder.clone())),
            (KEY_VARIABLE.to_owned(), KEY.to_owned()),
        ];
        for (name, value) in &options.environment {
            all.retain(|(other, _)| other != name);
            all.push((name.clone(), value.clone()));
        }
        let quoted: Vec<_> = all.iter().map(|(name, value)| format!("\"{name}={value}\"")).collect();
        quoted.join(" ")
    }
}

/// sshd by its whole path, since it starts itself again for each connection.
pub(super) fn sshd() -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(["/usr/sbin", "/sbin"].map(PathBuf::from));
    let mut programs = folders.map(|folder| folder.join("sshd"));
    let found = programs.find(|program| program.is_file());
    found.unwrap_or_else(|| panic!("there is no sshd: run `tests/run --install`"))
}

/// A port of 127.0.0.1 that is free now. Not one of those that the kernel gives to connections, so that it stays free
/// for an sshd that is started again.
pub fn free_port() -> u16 {
    let mut bytes = [0; 2];
    loop {
        let random = std::fs::File::open("/dev/urandom").and_then(|mut file| {
            use std::io::Read;
            file.read_exact(&mut bytes)
        });
        random.unwrap_or_else(|error| panic!("/dev/urandom: {error}"));
        let port = 10_000 + u16::from_ne_bytes(bytes) % 10_000;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// Makes a key pair.
pub(crate) fn make_key(path: &Path) {
    let mut command = Command::new("ssh-keygen");
    command
        .args(["-q", "-t", "ed25519", "-N", "", "-C", "test", "-f"])
        .arg(path);
    run(command, b"").success();
}

fn user() -> String {
    let mut command = Command::new("id");
    command.arg("-un");
    run(command, b"").success().stdout.trim().to_owned()
}
