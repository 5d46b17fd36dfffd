//! What is told for each kind, and what is to be done.

use super::{Trouble, TroubleKind};

/// How to make a program that runs on every Linux of a processor.
pub(crate) const STATIC_BUILD: &str =
    "name a static build as cluster.binary (`cargo static-build`; docs/USER_GUIDE.md, 'A build for an older cluster')";

/// What is known about a trouble.
pub(super) struct Facts<'a> {
    /// The host as we called it.
    pub alias: &'a str,
    /// What was said.
    pub words: &'a str,
}

impl Facts<'_> {
    /// The line that says most: the first that names one of these, else the last one; without `ssh: `.
    fn line(&self, telling: &[&str]) -> String {
        let lines = || self.words.lines().map(str::trim).filter(|line| !line.is_empty());
        let told = lines().find(|line| telling.iter().any(|part| line.contains(part)));
        let line = told.or_else(|| lines().next_back()).unwrap_or("it said nothing");
        shortened(line.strip_prefix("ssh: ").unwrap_or(line))
    }
}

/// A line of somebody else's words in a sentence of ours: not endless, nothing a terminal would obey.
pub(crate) fn shortened(line: &str) -> String {
    const SHOWN: usize = 300;
    let clean = line.chars().filter(|letter| !letter.is_control());
    let mut text: String = clean.clone().take(SHOWN).collect();
    if clean.count() > SHOWN {
        text.push('…');
    }
    text.trim_end_matches('.').to_owned()
}

pub(super) fn of_ssh(kind: TroubleKind, facts: &Facts<'_>) -> Trouble {
    let alias = facts.alias;
    let by_hand = format!("`ssh {alias}`");
    let (what, advice) = match kind {
        TroubleKind::PermissionDenied => (
            format!("{alias} refuses our key: {}", facts.line(&["Permission denied ("])),
            format!(
                "run {by_hand} once by hand; it must log in without asking. A key with a passphrase must be in the agent \
                 (`ssh-add`), and its public half in ~/.ssh/authorized_keys there"
            ),
        ),
        TroubleKind::SecondFactor => (
            format!(
                "{alias} asks for a password or a second factor: {}",
                facts.line(&["Permission denied (", "Too many", "Authentication failed"])
            ),
            format!(
                "log in by hand with `ssh -M -S ~/.ssh/codeswarm-%C -o ControlPersist=yes -fN {alias}` and set ssh.control_path to that \
                 socket, or set up a key that needs neither"
            ),
        ),
        TroubleKind::HostKeyChanged => (
            format!("the host key of {alias} is not the one this machine knows"),
            format!(
                "somebody may be listening in: ask the administrators of {alias} whether the key was changed, and only when they \
                 confirm it run {}",
                key_removal(facts)
            ),
        ),
        TroubleKind::HostKeyUnknown => (
            format!("this machine does not know the host key of {alias} yet"),
            format!("run {by_hand} once by hand, compare the fingerprint that it shows, and answer yes"),
        ),
        TroubleKind::HostUnknown => (
            format!("there is no host {alias}: {}", facts.line(&["Could not resolve"])),
            format!(
                "is ssh.login_alias spelled as in ~/.ssh/config, and does {by_hand} work? On a laptop without a network this is \
                 what ssh says, too"
            ),
        ),
        TroubleKind::KeyFileTooOpen => (
            format!(
                "ssh does not use a file that others can read: {}",
                facts.line(&["are too open", "bad permissions: ", "Bad owner or permissions on"])
            ),
            "`chmod 600` the file that it names".to_owned(),
        ),
        TroubleKind::SshConfiguration => (
            format!(
                "ssh does not accept its configuration: {}",
                facts.line(&[
                    "Bad configuration option",
                    "Can't open",
                    "missing argument",
                    "Bad ",
                    "invalid characters"
                ])
            ),
            format!("mend that line, then try {by_hand}"),
        ),
        TroubleKind::Unreachable => (
            format!(
                "the network does not lead to {alias}: {}",
                facts.line(&["Temporary failure", "nreachable", "No route"])
            ),
            "is this machine online, and the VPN up if the cluster needs one? It is tried again".to_owned(),
        ),
        TroubleKind::Busy if facts.words.contains("refused by peer") => (
            format!(
                "{alias} allows no further session on the connection: {}",
                facts.line(&["refused by peer"])
            ),
            "it is tried again; sshd's MaxSessions there must be 2 at least, and a connection of ssh.control_path may have other users"
                .to_owned(),
        ),
        TroubleKind::Busy => (
            format!(
                "{alias} takes no more connections at the moment: {}",
                facts.line(&["MaxStartups", "Not allowed", "refused by peer"])
            ),
            "it is tried again; close sessions there that you do not need".to_owned(),
        ),
        TroubleKind::TimedOut => (
            format!(
                "{alias} does not answer: {}",
                facts.line(&["timed out", "Timeout", "not responding"])
            ),
            "it is tried again; is the network up, and the VPN if the cluster needs one?".to_owned(),
        ),
        TroubleKind::Refused => (
            format!(
                "{alias} does not take ssh connections: {}",
                facts.line(&["Connection refused"])
            ),
            "it is tried again; the login node may be restarting, or the port in ~/.ssh/config is another".to_owned(),
        ),
        TroubleKind::Closed => (
            format!("the connection to {alias} broke: {}", closing_line(facts)),
            match facts.words.contains("kex_exchange_identification") {
                true => format!(
                    "it is tried again; if it stays so, a ProxyCommand fails, or the login node limits connections (sshd's MaxStartups, a \
                     firewall): `ssh -v {alias}` shows more"
                ),
                false => "it is made again".to_owned(),
            },
        ),
        _ => (
            format!("ssh cannot reach {alias}: {}", facts.line(&[])),
            format!("it is tried again; does {by_hand} work by hand?"),
        ),
    };
    Trouble::new(kind, what, advice)
}

fn closing_line(facts: &Facts<'_>) -> String {
    if facts.words.contains("hostname none") || facts.words.contains("host none") || facts.words.trim().is_empty() {
        return "the ssh connection has ended".to_owned();
    }
    facts.line(&[
        "closed by remote host",
        "Connection reset by",
        "Connection closed by",
        "Broken pipe",
    ])
}

/// The command that forgets a host key, as ssh itself proposes it.
fn key_removal(facts: &Facts<'_>) -> String {
    let proposed = facts
        .words
        .lines()
        .map(str::trim)
        .find(|line| line.starts_with("ssh-keygen "));
    match proposed {
        Some(command) => format!("`{}`", shortened(command)),
        None => format!("`ssh-keygen -R {}`", facts.alias),
    }
}

pub(super) fn of_program(kind: TroubleKind, program: &str, facts: &Facts<'_>) -> Trouble {
    let alias = facts.alias;
    let line = |telling: &[&str]| facts.line(telling);
    let (what, advice) = match kind {
        TroubleKind::OldCLibrary => (
            format!("{program} does not start on {alias}: {}", line(&["GLIBC_", "shared libraries"])),
            STATIC_BUILD.to_owned(),
        ),
        TroubleKind::WrongPlatform => (
            format!("{program} is for another kind of machine than {alias}"),
            "build codeswarm for it and install it there (cluster.remote_binary)".to_owned(),
        ),
        TroubleKind::Storage => (
            format!("{alias} cannot store what is needed: {}", line(&["No space", "quota", "Read-only"])),
            "make room there (`df -h`, `df -i`, `quota`), or choose another cluster.workspace_root".to_owned(),
        ),
        _ => (
            format!("{program} may not be executed on {alias}: {}", line(&["ermission denied", "cannot execute"])),
            "make it executable (`chmod 700`); if its filesystem is mounted `noexec`, choose another cluster.workspace_root or \
             install it elsewhere and set cluster.remote_binary"
                .to_owned(),
        ),
    };
    Trouble::new(kind, what, advice)
}
