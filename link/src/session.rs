//! The ssh connection: a master that carries all channels.
//!
//! The master is started here and not by the `openssh` crate, for two reasons. The crate always sets `StrictHostKeyChecking`,
//! and so overrules what the person has decided in their configuration; and it does not end an ssh that hangs (a proxy
//! command, an authentication that never answers). Channels are the crate's.
//!
//! A master of ours ends by itself some seconds after its last channel (`ControlPersist`), and the channels end with this
//! process, however it ends: so nothing is left on the login node, also when nobody could tidy up.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use rustix::process::{Pid, Signal};
use tokio::process::Command;
use tokio::sync::Semaphore;

use crate::login::Login;
use crate::sockets::SocketFolder;
use crate::trouble::{self, Moment, Trouble, TroubleKind};

/// How long ssh may take for the connection and the exchange of keys.
const CONNECT: Duration = Duration::from_secs(15);

/// How long all of it may take, with the authentication.
const CONNECT_IN_ALL: Duration = Duration::from_secs(25);

/// How long asking a master may take, which is on this machine.
const ASK: Duration = Duration::from_secs(3);

/// Short commands at one time. sshd allows ten channels on a connection (`MaxSessions`), and one is the follower's.
pub(crate) const COMMANDS_AT_ONCE: u32 = 2;

/// A connection that stands. Clones share it; whoever made it closes it with [`Session::close`].
#[derive(Debug, Clone)]
pub struct Session {
    pub(crate) shared: Arc<Shared>,
}

/// What all who use a connection share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) alias: String,
    pub(crate) ssh: Arc<openssh::Session>,
    pub(crate) commands: Semaphore,
    /// A master of ours; `None` for a person's.
    own: Option<SocketFolder>,
}

/// Makes one connection, for checks. [`Session::run`], [`Session::deploy`] and [`Session::follow`] work on it;
/// [`Session::close`] ends it.
///
/// # Errors
/// What keeps us from the login node.
pub async fn connect_once(login: &Login) -> Result<Session, Trouble> {
    Session::open(login).await
}

impl Session {
    /// Opens a master, or takes the one that the person has opened.
    pub(crate) async fn open(login: &Login) -> Result<Self, Trouble> {
        let alias = login.ssh.login_alias.clone();
        if alias.starts_with('-') || alias.is_empty() {
            return Err(Trouble::new(
                TroubleKind::HostUnknown,
                format!("{alias:?} is no host that ssh could call"),
                "set ssh.login_alias to a host of ~/.ssh/config",
            ));
        }
        match &login.ssh.control_path {
            Some(path) => Self::take(alias, path).await,
            None => Self::start(alias, login).await,
        }
    }

    async fn take(alias: String, path: &Path) -> Result<Self, Trouble> {
        let ssh = openssh::Session::resume(path.into(), None);
        let checked = tokio::time::timeout(ASK, ssh.check()).await;
        if !matches!(checked, Ok(Ok(()))) {
            if let Ok(Err(openssh::Error::Ssh(error))) = checked {
                return Err(cannot_start_ssh(&error));
            }
            return Err(Trouble::new(
                TroubleKind::ControlPath,
                format!("no ssh connection is open at ssh.control_path, {}", path.display()),
                format!(
                    "open it again: `ssh -M -S {} -o ControlPersist=yes -fN {alias}`",
                    path.display()
                ),
            ));
        }
        Ok(Self::with(alias, ssh, None))
    }

    async fn start(alias: String, login: &Login) -> Result<Self, Trouble> {
        let control_dir = login.control_dir.clone();
        let folder = tokio::task::spawn_blocking(move || SocketFolder::make(&control_dir))
            .await
            .map_err(|error| system(&error.to_string()))??;
        let status = launch(&alias, &folder, login.ssh.config_file.as_deref()).await?;
        let log = std::fs::read(folder.log()).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        match status {
            Some(status) if status.success() => {}
            Some(_) => return Err(trouble::of_ssh(&alias, &log, Moment::Connecting)),
            None => {
                let said = log.lines().rfind(|line| !line.trim().is_empty()).unwrap_or("nothing");
                return Err(Trouble::new(
                    TroubleKind::TimedOut,
                    format!("ssh did not get to {alias} in {CONNECT_IN_ALL:?}; it said: {said}"),
                    format!("it is tried again; does `ssh {alias}` work by hand, and without asking?"),
                ));
            }
        }
        let ssh = openssh::Session::resume(folder.socket().into(), Some(folder.log().into()));
        Ok(Self::with(alias, ssh, Some(folder)))
    }

    fn with(alias: String, ssh: openssh::Session, own: Option<SocketFolder>) -> Self {
        let shared = Shared {
            alias,
            ssh: Arc::new(ssh),
            commands: Semaphore::new(COMMANDS_AT_ONCE as usize),
            own,
        };
        Self {
            shared: Arc::new(shared),
        }
    }

    /// The host as ssh was told it.
    pub fn alias(&self) -> &str {
        &self.shared.alias
    }

    /// Whether the master still lives. It may, and the network be gone.
    pub async fn is_open(&self) -> bool {
        matches!(tokio::time::timeout(ASK, self.shared.ssh.check()).await, Ok(Ok(())))
    }

    /// Ends the connection with all its channels, if it is ours; a person's is left as it is.
    pub async fn close(self) {
        let Some(folder) = &self.shared.own else {
            return;
        };
        // `Session::close` of the crate would wait for all clones; the master is asked directly.
        let mut exit = Command::new("ssh");
        exit.args(["-F", "none", "-O", "exit", "-S"])
            .arg(folder.socket())
            .arg("none")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true);
        match tokio::time::timeout(ASK, exit.status()).await {
            Ok(Ok(_ended_or_was_gone)) => {}
            Ok(Err(error)) => tracing::warn!(%error, "ssh could not be started to close the connection"),
            Err(_) => tracing::warn!("the ssh master does not answer; it is left to end by itself"),
        }
    }

    /// What the master itself has said since it was started, such as why it ended.
    pub(crate) fn log(&self) -> String {
        let log = self.shared.own.as_ref().map(|folder| std::fs::read(folder.log()));
        let log = log.and_then(Result::ok).unwrap_or_default();
        String::from_utf8_lossy(&log).into_owned()
    }

    /// Where the master listens.
    pub(crate) fn socket(&self) -> PathBuf {
        self.shared.ssh.control_socket().to_owned()
    }
}

/// Starts a master and waits until it has gone into the background; `None` when that took too long.
async fn launch(alias: &str, folder: &SocketFolder, config: Option<&Path>) -> Result<Option<ExitStatus>, Trouble> {
    let mut command = Command::new("ssh");
    command
        .args(master_arguments(alias, &folder.socket(), &folder.log(), config))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        // What it said is read as C's locale has it.
        .env("LC_ALL", "C")
        // So that a proxy command ends with it, and a terminal's Ctrl-C does not end it before us.
        .process_group(0)
        .kill_on_drop(true);
    let mut child = command.spawn().map_err(|error| cannot_start_ssh(&error))?;
    let mut group = Group(child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?)));
    match tokio::time::timeout(CONNECT_IN_ALL, child.wait()).await {
        Ok(status) => {
            group.0 = None;
            status.map(Some).map_err(|error| system(&error.to_string()))
        }
        Err(_) => {
            drop(group);
            let _reaped = child.wait().await;
            Ok(None)
        }
    }
}

/// The processes of an ssh that connects. Whoever waits for it may lose interest; then they end. A master that has gone into
/// the background is in a session of its own.
struct Group(Option<Pid>);

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(group) = self.0 {
            let _gone = rustix::process::kill_process_group(group, Signal::KILL);
        }
    }
}

/// What a master is told. The person's configuration decides all that is not said here.
fn master_arguments(alias: &str, socket: &Path, log: &Path, config: Option<&Path>) -> Vec<OsString> {
    let mut arguments: Vec<OsString> = vec!["-M".into(), "-f".into(), "-N".into(), "-T".into()];
    arguments.extend(["-E".into(), log.into(), "-S".into(), socket.into()]);
    if let Some(config) = config {
        arguments.extend(["-F".into(), config.into()]);
    }
    let options = [
        "BatchMode=yes".to_owned(),
        "ControlPersist=5s".to_owned(),
        format!("ConnectTimeout={}", CONNECT.as_secs()),
        "ConnectionAttempts=1".to_owned(),
        // A network that is gone without a word ends the connection in 15 seconds.
        "ServerAliveInterval=5".to_owned(),
        "ServerAliveCountMax=3".to_owned(),
        // What a person's own sessions carry along is not for us: their forwarded ports may be taken already.
        "ClearAllForwardings=yes".to_owned(),
        "ForwardAgent=no".to_owned(),
        "ForwardX11=no".to_owned(),
        "PermitLocalCommand=no".to_owned(),
        "RemoteCommand=none".to_owned(),
        // Without it a person's `LogLevel QUIET` would leave us without a reason.
        "LogLevel=INFO".to_owned(),
    ];
    for option in options {
        arguments.extend(["-o".into(), option.into()]);
    }
    arguments.extend(["--".into(), alias.into()]);
    arguments
}

fn cannot_start_ssh(error: &std::io::Error) -> Trouble {
    if error.kind() == std::io::ErrorKind::NotFound {
        return Trouble::new(
            TroubleKind::NoSshProgram,
            "there is no program `ssh` in the PATH of this machine",
            "install the OpenSSH client (package openssh-client or openssh-clients)",
        );
    }
    system(&format!("ssh cannot be started: {error}"))
}

pub(crate) fn system(what: &str) -> Trouble {
    Trouble::new(
        TroubleKind::System,
        format!("this machine refuses what a connection needs: {what}"),
        "it is tried again; look at the limits of processes and open files (`ulimit -a`)",
    )
}
