//! Follows outboxes and appends to inboxes, beside the mailbox's files: on the login node as a process that speaks
//! frames on its standard input and output, or inside the router where the files are on its own machine.
//!
//! It knows files, places and bytes, and of a record only that it is a line. It must never learn what a record means
//! (turns, agents, swarms, Slurm), who the clients are, or how the link to it is made.
//!
//! - [`spawn`] starts one in a tokio runtime; it is driven by [`Downward`](codeswarm_protocol::frame::Downward) and
//!   answers with [`Upward`](codeswarm_protocol::frame::Upward).
//! - [`wire`] is those frames as bytes, for both ends of an ssh link; [`serve`] puts the two together.
//! - [`lines`] prints the plain lines of a folder, for people and scripts.
//! - [`by_hand`] is one whose time is somebody else's, for simulations.
//! - [`command`] is `codeswarm follower`.
//!
//! Inside, [`turns`] decides which outbox is looked at next and what a look means; [`watching`] carries that out.
//! [`doorbell`] hears the workers' hints and rings for them. Appends, parts of the history and the lease each have a place of their own, so that one slow file holds up little else.

mod batch;
pub mod by_hand;
pub mod command;
mod config;
mod descriptors;
mod doorbell;
mod errand;
mod fair_queue;
mod follower;
mod history;
mod holding;
mod inboxes;
pub mod lines;
mod presence;
pub mod serve;
mod stalls;
mod tenancy;
#[cfg(test)]
mod tests;
mod turns;
mod watching;
pub mod wire;

pub use codeswarm_mailbox::WatchMode;
/// How a connection to the doorbell is heard, for whoever tries it with anything.
pub mod rings {
    pub use crate::doorbell::guest::{Act, Fault, Guest};
}

pub use codeswarm_protocol::doorbell::Listen;
pub use config::{FollowerConfig, FollowerError};
pub use follower::{Follower, spawn};
pub use turns::Yield;
