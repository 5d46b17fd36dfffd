//! One module per coding agent: how to launch it, drive a turn, translate what it says.
//!
//! This room knows agents' wire protocols and processes. It never learns about mailboxes, injections, jobs or Slurm:
//! it is given a working directory, a home and a prompt, and answers in the neutral words of `protocol`.

pub mod codex;
mod conversation;
pub mod driver;
pub mod echo;
mod environment;
mod home;
mod keeper;
mod launch;
pub mod lines;
pub mod preflight;
mod process;
pub mod session;
mod stderr_tail;
mod tree;

pub use driver::{AgentCommand, AgentEvent, Death, Driver, Effect, Now};
pub use session::{Session, SessionSpec, open};
pub use stderr_tail::StderrTail;
pub use tree::{adopt_orphans, kill_left_over};
