//! What a server is told at its start, where its mailbox is, and why it may not serve.

use std::time::Duration;

use codeswarm_follower::{FollowerConfig, FollowerError};
use codeswarm_link::LinkSettings;

use crate::core::Settings;
use crate::state::StateError;

/// What a server is told at its start.
#[derive(Debug, Clone)]
pub struct Options {
    /// What the configuration says to the core.
    pub settings: Settings,
    /// The state's file.
    pub database: std::path::PathBuf,
    /// The mailbox.
    pub mailbox: MailboxAt,
    /// The program and the first arguments that start a worker.
    pub worker_command: Vec<std::ffi::OsString>,
    /// Ends by itself after so long without clients and live swarms.
    pub idle_exit: Option<Duration>,
}

/// Where the mailbox is, as seen from here.
#[derive(Debug, Clone)]
pub enum MailboxAt {
    /// Beside this process, which follows it itself; the workers are processes of this machine.
    Here(FollowerConfig),
    /// The same, and the workers are jobs of the Slurm whose login node this machine is.
    LoginNodeHere(FollowerConfig),
    /// Behind an ssh connection to a login node.
    Linked(LinkSettings),
}

/// The server cannot start, or cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The state cannot be read.
    #[error(transparent)]
    State(#[from] StateError),
    /// The mailbox cannot be followed.
    #[error("the mailbox cannot be followed: {0}")]
    Follower(#[from] FollowerError),
    /// The server has ended.
    #[error("the router has ended")]
    Gone,
    /// The follower has ended.
    #[error("the mailbox's follower has ended; see the log")]
    FollowerEnded,
}

/// Why a server ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Stop {
    /// It goes on.
    #[default]
    No,
    /// It was told to.
    Now,
}
