//! The operator's command: says to the router what a person wants, and shows what the router tells.
//!
//! It knows the client protocol, the terminal and the user, and carries `router`, `worker` and `follower` as subcommands, so
//! that one file is a whole installation. It must never look into a mailbox or a state file, nor ask Slurm: the router does.
//!
//! What is decided ([`follow`], [`render`], [`tables`]) does no I/O; around it are the connection, the terminal and signals.

pub mod event;
pub mod exit;
pub mod failure;
pub mod follow;
pub mod rejection;
pub mod render;
pub mod request;
