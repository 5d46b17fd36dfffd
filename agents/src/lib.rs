//! One module per coding agent: how to launch it, drive a turn, translate what it says.
//!
//! This room knows agents' wire protocols and processes. It never learns about mailboxes, injections, jobs or Slurm:
//! it is given a working directory, a home and a prompt, and answers in the neutral words of `protocol`.

pub mod driver;

pub use driver::{AgentCommand, AgentEvent, Driver, Effect, Now};
