//! Why a worker could not do its work, and the exit code that tells so.

use std::path::PathBuf;

use codeswarm_mailbox::{AppendError, CommitError, MailboxError, TailError};

/// What ended a worker out of order. The text says what failed, where, and what to do.
#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    /// It was started wrongly: a flag, a variable of the environment, the launch file. Never passes by itself.
    #[error("{0}")]
    Configuration(String),
    /// The launch file is there, and something is wrong with it. Never passes by itself.
    #[error("the launch file {}: {why}", path.display())]
    Launch {
        /// The file.
        path: PathBuf,
        /// What, and what to do.
        why: String,
    },
    /// The mailbox's folders or names.
    #[error("the mailbox: {0}")]
    Mailbox(#[from] MailboxError),
    /// Opening the outbox, or archiving it.
    #[error("the outbox: {0}")]
    Outbox(#[from] AppendError),
    /// Reading the own outbox at the start.
    #[error("reading the outbox back: {0}")]
    Recovery(#[from] TailError),
    /// Writing the outbox has ended for good. Records that were not yet durable are lost, and the next life says so.
    #[error("writing the outbox: {0}")]
    Write(#[from] CommitError),
    /// The time for an orderly end was over before all records were durable. They are lost; the outbox is whole.
    #[error(
        "the worker's time to end ({0} s, worker.shutdown_grace_seconds) was over before its last records were written; the outbox was not archived"
    )]
    GraceOver(u64),
    /// A folder on this node.
    #[error("could not {doing} {}: {source}", path.display())]
    Folder {
        /// A verb.
        doing: &'static str,
        /// The folder or file.
        path: PathBuf,
        /// The system's word.
        source: std::io::Error,
    },
    /// Something that cannot happen has happened.
    #[error("{0}; this is a fault of Codeswarm's, and its log may tell more")]
    Fault(&'static str),
    /// The system did not give what every process needs.
    #[error("the system refused {what}: {source}")]
    System {
        /// What was asked for.
        what: &'static str,
        /// Its word.
        source: std::io::Error,
    },
}

/// Exit codes, after sysexits(3).
pub mod exit {
    /// It ended in order (SIGTERM, a shutdown in its inbox), everything said and archived.
    pub const OK: u8 = 0;
    /// A fault of Codeswarm's own, or of the system under it.
    pub const INTERNAL: u8 = 70;
    /// The same start may succeed later: a filesystem that does not answer, another worker in this place.
    pub const TEMPORARY: u8 = 75;
    /// Somebody must change the configuration or the installation first; also for an agent that cannot be started.
    pub const CONFIGURATION: u8 = 78;
}

impl WorkerError {
    /// The process's exit code.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Configuration(_) | Self::Launch { .. } => exit::CONFIGURATION,
            Self::Mailbox(error) if !error.may_pass() => exit::CONFIGURATION,
            Self::Recovery(TailError::Refused(error)) if !error.may_pass() => exit::CONFIGURATION,
            Self::Fault(_) | Self::System { .. } => exit::INTERNAL,
            Self::Mailbox(_)
            | Self::Outbox(_)
            | Self::Recovery(_)
            | Self::Write(_)
            | Self::GraceOver(_)
            | Self::Folder { .. } => exit::TEMPORARY,
        }
    }
}
