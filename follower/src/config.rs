//! What a follower is told at its start, and why it may not start.

use std::io;
use std::path::PathBuf;

use codeswarm_mailbox::{LeaseError, MailboxError, WatchMode};
use codeswarm_protocol::doorbell::Listen;

/// What a follower is told at its start.
#[derive(Debug, Clone)]
pub struct FollowerConfig {
    /// The mailbox's root folder; made if it is not there.
    pub root: PathBuf,
    /// How it learns that a file moved.
    pub watch: WatchMode,
    /// How often a second, at most, it looks at a file that then has nothing new, where it must poll.
    pub lookups_per_second: u32,
    /// Where it hears the rings of workers. Without the lease nowhere.
    pub doorbell: Listen,
    /// Whether it takes the mailbox's lease. Without it, somebody else must see to it that no second follower writes the
    /// inboxes.
    pub lease: bool,
    /// About how many bytes of one outbox go up at once: what a hot file may take before it is another one's turn.
    pub chunk_bytes: usize,
    /// How many events wait for a slow consumer before reading stops.
    pub events: usize,
    /// How many inboxes are kept open between appends.
    pub open_inboxes: usize,
}

impl FollowerConfig {
    /// The defaults for the mailbox at `root`.
    pub fn at(root: impl Into<PathBuf>) -> Self {
        Self {
            root: root.into(),
            watch: WatchMode::Auto,
            lookups_per_second: 50,
            doorbell: Listen::Auto,
            lease: true,
            chunk_bytes: 256 * 1024,
            events: 32,
            open_inboxes: 128,
        }
    }
}

/// Why a follower does not start.
#[derive(Debug, thiserror::Error)]
pub enum FollowerError {
    /// The lease cannot be had: another follower has it, and the error says who.
    #[error(transparent)]
    Lease(#[from] LeaseError),
    /// The mailbox's folders cannot be made or are not safe.
    #[error(transparent)]
    Mailbox(#[from] MailboxError),
    /// Changes of the mailbox cannot be watched.
    #[error("cannot watch the mailbox {}: {reason}; try polling (--watch poll)", root.display())]
    Watch {
        /// The mailbox.
        root: PathBuf,
        /// The system's word.
        reason: String,
    },
    /// The system gives no thread.
    #[error("the system gives no thread: {0}")]
    System(#[source] io::Error),
}
