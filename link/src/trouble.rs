//! What keeps us from the login node, as a sentence with its advice. Pure.
//!
//! ssh tells its troubles in words alone (its exit status is 255 for all of them); [`of_ssh`] reads those of OpenSSH 7 to 10.
//! What it does not know it passes on as it was said, as a trouble that may pass.

mod advice;
#[cfg(test)]
mod tests;
mod words;

pub(crate) use advice::{STATIC_BUILD, shortened};
pub use words::{Moment, of_program, of_ssh};

use std::fmt;

/// What is wrong, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct Trouble {
    /// What kind of trouble it is.
    pub kind: TroubleKind,
    /// What failed and where, in a sentence without a full stop.
    pub what: String,
    /// What to do about it.
    pub advice: String,
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}; {}", self.what, self.advice)
    }
}

impl Trouble {
    /// Whether telling `other` after this one would tell nothing new. One network's failure has many wordings.
    pub fn is_like(&self, other: &Self) -> bool {
        let is_told_by_its_kind = matches!(
            self.kind,
            TroubleKind::TimedOut
                | TroubleKind::Refused
                | TroubleKind::Unreachable
                | TroubleKind::Closed
                | TroubleKind::Busy
                | TroubleKind::Silent
        );
        self.kind == other.kind && (is_told_by_its_kind || self.what == other.what)
    }

    pub(crate) fn new(kind: TroubleKind, what: impl Into<String>, advice: impl Into<String>) -> Self {
        Self {
            kind,
            what: what.into(),
            advice: advice.into(),
        }
    }
}

/// Kinds of trouble.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TroubleKind {
    /// No key of ours opens the account.
    PermissionDenied,
    /// The login node asks for a password or a second factor, which only a person can give.
    SecondFactor,
    /// Not the host key that is known: a new installation, or somebody in between.
    HostKeyChanged,
    /// No host key is known yet.
    HostKeyUnknown,
    /// No such host, and ssh's configuration has no such alias.
    HostUnknown,
    /// ssh does not use a key file that others can read.
    KeyFileTooOpen,
    /// ssh does not accept its configuration.
    SshConfiguration,
    /// There is no `ssh` on this machine.
    NoSshProgram,
    /// Nobody listens at the control socket that the configuration names.
    ControlPath,
    /// The folder of our own control sockets cannot be used.
    ControlFolder,
    /// A program file of this machine that should be copied cannot be read, or is no program.
    ProgramFile,
    /// The follower's program is not on the login node.
    ProgramMissing,
    /// It is there and may not be executed.
    ProgramNotExecutable,
    /// It is for another kind of machine.
    WrongPlatform,
    /// It needs a newer C library than the login node has.
    OldCLibrary,
    /// The login node's follower is of another version.
    VersionsDiffer,
    /// Another follower holds the mailbox.
    MailboxHeld,
    /// The login node's filesystem has no room for us, or does not let us write.
    Storage,
    /// The follower started and refused to go on.
    FollowerFailed,
    /// The remote shell answered with something that is no follower, or with nothing.
    NoGreeting,
    /// Nothing came back in time.
    TimedOut,
    /// The host is there and nobody listens at the port.
    Refused,
    /// The network does not lead there, or names cannot be resolved at all.
    Unreachable,
    /// The connection was closed from the other side, or broke.
    Closed,
    /// The login node takes no more connections or channels at the moment.
    Busy,
    /// The connection stands, and nothing is heard from the follower any more.
    Silent,
    /// The follower ended while the connection stands.
    FollowerEnded,
    /// The system of this machine refuses what ssh needs.
    System,
    /// Words that this room does not know.
    Unknown,
}

impl TroubleKind {
    /// Whether it stays until a person does something. It is tried again all the same, seldom.
    pub fn is_lasting(self) -> bool {
        match self {
            Self::PermissionDenied
            | Self::SecondFactor
            | Self::HostKeyChanged
            | Self::HostKeyUnknown
            | Self::HostUnknown
            | Self::KeyFileTooOpen
            | Self::SshConfiguration
            | Self::NoSshProgram
            | Self::ControlPath
            | Self::ControlFolder
            | Self::ProgramFile
            | Self::ProgramMissing
            | Self::ProgramNotExecutable
            | Self::WrongPlatform
            | Self::OldCLibrary
            | Self::VersionsDiffer
            | Self::MailboxHeld
            | Self::Storage
            | Self::FollowerFailed
            | Self::NoGreeting => true,
            Self::TimedOut
            | Self::Refused
            | Self::Unreachable
            | Self::Closed
            | Self::Busy
            | Self::Silent
            | Self::FollowerEnded
            | Self::System
            | Self::Unknown => false,
        }
    }
}
