//! Typed calls of Slurm's commands: what is written to them and how what they print is read.
//!
//! This room knows Slurm's words and nothing of swarms, mailboxes or agents. It is thin so far: job states and the lines of
//! `squeue`. Submitting, cancelling and the batch script follow with the Slurm provider.

pub mod job_state;
pub mod queue;

pub use job_state::JobState;
pub use queue::{QueueLine, QueueLineError, SQUEUE_FORMAT};
