//! From words to kinds.

use super::advice::{self, Facts};
use super::{Trouble, TroubleKind};

/// When ssh said it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// While the connection was being made.
    Connecting,
    /// On a channel of a connection that stood.
    Channel,
}

/// What ssh's words mean. `alias` is the host as we called it. Of several lines the telling one counts, wherever a banner or
/// a proxy has put others.
pub fn of_ssh(alias: &str, words: &str, when: Moment) -> Trouble {
    let kind = match when {
        // A channel whose master has gone or refuses: ssh then tries to call the host in the command line, which is none.
        Moment::Channel if says(words, REFUSED_CHANNEL) => TroubleKind::Busy,
        Moment::Channel if says(words, &["Could not resolve hostname none", "connect to host none"]) => {
            TroubleKind::Closed
        }
        _ => KNOWN
            .iter()
            .find(|(_, telling)| says(words, telling))
            .map_or(TroubleKind::Unknown, |(kind, _)| *kind),
    };
    let kind = match kind {
        TroubleKind::PermissionDenied if wants_a_person(words) => TroubleKind::SecondFactor,
        kind => kind,
    };
    advice::of_ssh(kind, &Facts { alias, words })
}

/// What a shell or the system's loader says about a program that does not start; `None` when it is something else.
pub fn of_program(alias: &str, program: &str, words: &str) -> Option<Trouble> {
    let kind = STARTING
        .iter()
        .find(|(_, telling)| says(words, telling))
        .map(|(kind, _)| *kind)?;
    Some(advice::of_program(kind, program, &Facts { alias, words }))
}

fn says(words: &str, telling: &[&str]) -> bool {
    telling.iter().any(|part| words.contains(part))
}

/// Of the ways in that the server named behind `Permission denied`, is the last that a person would have to walk?
fn wants_a_person(words: &str) -> bool {
    let Some((_, behind)) = words.rsplit_once("Permission denied (") else {
        return false;
    };
    let ways = behind.split(')').next().unwrap_or_default();
    ways.split(',')
        .all(|way| matches!(way.trim(), "keyboard-interactive" | "password"))
}

/// A master's word when sshd allows no more channels (`MaxSessions`).
const REFUSED_CHANNEL: &[&str] = &["Session open refused by peer", "session request failed"];

/// What is said, most telling first: a changed host key also 'fails verification', a refused key file ends in 'denied'.
const KNOWN: &[(TroubleKind, &[&str])] = &[
    (
        TroubleKind::HostKeyChanged,
        &[
            "REMOTE HOST IDENTIFICATION HAS CHANGED",
            "has changed and you have requested strict",
        ],
    ),
    (
        TroubleKind::HostKeyUnknown,
        &["Host key verification failed", "host key is known for"],
    ),
    (
        TroubleKind::KeyFileTooOpen,
        &[
            "UNPROTECTED PRIVATE KEY FILE",
            "bad permissions: ",
            "Bad owner or permissions on",
        ],
    ),
    (
        TroubleKind::SshConfiguration,
        &[
            "Bad configuration option",
            "bad configuration options",
            "Can't open user config file",
            "keyword missing argument",
            "missing argument.",
            "unsupported option",
            "Bad key types",
            "Bad SSH2 cipher spec",
            "hostname contains invalid characters",
        ],
    ),
    (
        TroubleKind::SecondFactor,
        &["Too many authentication failures", "Authentication failed."],
    ),
    (
        TroubleKind::Unreachable,
        &[
            "Temporary failure in name resolution",
            "nodename nor servname provided",
            "Network is unreachable",
            "No route to host",
            "Network is down",
            "Host is down",
        ],
    ),
    (TroubleKind::HostUnknown, &["Could not resolve hostname"]),
    (TroubleKind::PermissionDenied, &["Permission denied ("]),
    (TroubleKind::Busy, &["Exceeded MaxStartups", "Not allowed at this time"]),
    (
        TroubleKind::TimedOut,
        &["timed out", "Timeout, server", "not responding"],
    ),
    (TroubleKind::Refused, &["Connection refused"]),
    (
        TroubleKind::Closed,
        &[
            "Connection reset by",
            "Connection closed by",
            "closed by remote host",
            "Broken pipe",
            "Control socket connect(",
            "Shared connection to",
            "mux_client",
        ],
    ),
];

/// What is said about a program that does not start.
const STARTING: &[(TroubleKind, &[&str])] = &[
    (
        TroubleKind::OldCLibrary,
        &["version `GLIBC_", "version 'GLIBC_", "GLIBC_PRIVATE"],
    ),
    (
        TroubleKind::WrongPlatform,
        &["Exec format error", "cannot execute binary file", "\u{7f}ELF"],
    ),
    (
        TroubleKind::Storage,
        &[
            "No space left on device",
            "Disk quota exceeded",
            "Read-only file system",
        ],
    ),
    (
        TroubleKind::ProgramNotExecutable,
        &["Permission denied", "cannot execute"],
    ),
    (TroubleKind::OldCLibrary, &["error while loading shared libraries"]),
];
