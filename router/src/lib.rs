//! The control plane: clients, swarms, injections, state, providers, and the link to the mailbox.
//!
//! What it decides is in `core`, a state machine without I/O. It never parses an agent's own protocol, and never
//! opens a mailbox file itself: files are the follower's.

pub mod audience;
pub mod cluster;
pub mod command;
pub mod core;
pub mod endpoint;
pub mod lock;
pub mod provider;
pub mod serve;
pub mod state;
pub mod stdio;
