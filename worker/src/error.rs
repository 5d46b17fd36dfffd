//! Why a worker could not do its work, and the exit code that tells so.

use std::path::PathBuf;

use codeswarm_mailbox::{AppendError, CommitError, MailboxError, TailError};
pub use codeswarm_protocol::worker::exit;

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
    /// The launch file says that the launch was given up. Nobody follows this worker.
    #[error(
        "the launch was withdrawn ({} has no nodes): this worker has nothing to do and ends; launch the swarm again if it is still wanted",
        .0.display()
    )]
    Withdrawn(PathBuf),
    /// The process that keeps this worker was gone before the worker had begun.
    #[error("the process {0} that started this worker is gone; the worker ends before it has begun")]
    Unkept(u32),
    /// There is no mailbox.
    #[error("there is no mailbox in {} to say it in", .0.display())]
    NoMailbox(PathBuf),
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

impl WorkerError {
    /// The process's exit code.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Configuration(_) | Self::Launch { .. } => exit::CONFIGURATION,
            Self::Mailbox(error) if !error.may_pass() => exit::CONFIGURATION,
            Self::Recovery(TailError::Refused(error)) if !error.may_pass() => exit::CONFIGURATION,
            Self::Withdrawn(_) => exit::WITHDRAWN,
            Self::Fault(_) | Self::System { .. } => exit::INTERNAL,
            Self::Unkept(_)
            | Self::NoMailbox(_)
            | Self::Mailbox(_)
            | Self::Outbox(_)
            | Self::Recovery(_)
            | Self::Write(_)
            | Self::GraceOver(_)
            | Self::Folder { .. } => exit::TEMPORARY,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[test]
    fn what_never_passes_asks_for_a_change_and_what_may_pass_for_another_try() {
        let mailbox = |source: io::ErrorKind| MailboxError::Io {
            doing: "open",
            path: "/m".into(),
            source: source.into(),
        };
        let refused = || MailboxError::Refused {
            path: "/m".into(),
            why: "it is a symbolic link".into(),
        };
        for (error, code) in [
            (WorkerError::Mailbox(refused()), exit::CONFIGURATION),
            (
                WorkerError::Recovery(TailError::Refused(refused())),
                exit::CONFIGURATION,
            ),
            (WorkerError::Mailbox(mailbox(io::ErrorKind::TimedOut)), exit::TEMPORARY),
            (WorkerError::Withdrawn("/m".into()), exit::WITHDRAWN),
            (WorkerError::Fault("x"), exit::INTERNAL),
            (WorkerError::GraceOver(20), exit::TEMPORARY),
        ] {
            assert_eq!(error.exit_code(), code, "{error}");
        }
    }
}
