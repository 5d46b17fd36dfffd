//! The files that Codeswarm's machines share: where they lie, how a line gets into one and stays there, how it is read
//! on another machine, and what a shared filesystem does meanwhile.
//!
//! # What holds here
//!
//! - A record is a line: one JSON object ended by `\n`. A line without its newline is not there yet.
//! - A file has one writer, on one machine. Readers follow it by size, never by mtime, and read it to its end wherever it
//!   now is: in `outbox/`, or renamed to `archive/`.
//! - What a writer was told is durable is durable; what may or may not have happened is said so in the type of the error.
//! - Bytes that are no record (a torn line, a gap of NULs that stays) are skipped, reported, and never end the reading.
//! - No file is opened through a symbolic link, and none is trusted that somebody else could write.
//!
//! # What this room must never know
//!
//! Agents, turns, Slurm, ssh, the router's clients. Of a record it knows that it is a line with a `seq`.
//!
//! # Map
//!
//! | module | its idea |
//! |---|---|
//! | [`layout`] | the names, the folders, and who may touch them |
//! | [`filesystem`] | local or shared between machines |
//! | [`append`] | whole lines at the end of a file, durable or with the reason why not; [`raw_file`] is its seam |
//! | [`group_commit`] | many records, few writes |
//! | [`storage`] | what is asked of a filesystem |
//! | [`tail`] | reading on; [`lines`] tells records from garbage |
//! | [`recover`] | a worker reads its own outbox |
//! | [`archive`] | the end of an outbox |
//! | [`seek`] | the first record after a `seq` |
//! | [`lease`] | one follower a mailbox |
//! | [`heartbeat`] | one small file that says 'alive' |
//! | [`launch`] | what a swarm is launched with |
//! | [`doorbell`] | one small file that says where hints are heard |
//! | `inotify` | what the kernel tells, on Linux |
//! | [`watch`] | when to look: inotify, or the polling of [`schedule`], which keeps to its budget of empty looks; and whom the doorbell has rung for |

pub mod append;
pub mod archive;
mod budget;
pub mod doorbell;
pub mod error;
pub mod filesystem;
pub mod group_commit;
pub mod heartbeat;
#[cfg(target_os = "linux")]
pub mod inotify;
pub mod launch;
pub mod layout;
pub mod lease;
pub mod lines;
mod open;
mod pace;
mod range;
pub mod raw_file;
pub mod recover;
pub mod schedule;
pub mod seek;
pub mod storage;
pub mod tail;
#[cfg(test)]
mod tests;
pub mod watch;

pub use append::{AppendError, Durability, LineFile, Written};
pub use error::MailboxError;
pub use filesystem::FilesystemKind;
pub use group_commit::{CommitError, GroupCommit};
pub use layout::{Access, Located, Mailbox};
pub use lease::{Lease, LeaseError};
pub use schedule::{Limits, Outcome, PollSchedule};
pub use tail::{Tail, TailError, TailStep};
pub use watch::{Rings, Wakes, WatchMode};
