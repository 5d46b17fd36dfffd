//! Slurm's commands as typed calls: what is to be run, and what it printed, read into types.
//!
//! This room is for Slurm's words alone. It never runs anything and never opens a file, a socket or an ssh connection: it
//! makes a [`Call`], and whoever can reach the login node runs it and hands back the [`Answer`]. It must never know what a
//! swarm decides, what a mailbox looks like or what an agent says; a swarm's id is to it a comment on a job, and the paths
//! of the worker and the launch file are arguments.
//!
//! What Slurm prints differs between releases (21 to 25 are read). A word that is not known here becomes 'unknown', an odd
//! line is reported beside the good ones, and silence is never taken for an answer.

pub mod batch;
pub mod call;
pub mod cancel;
pub mod ending;
pub mod error;
pub mod hostnames;
pub mod job;
pub mod job_state;
pub mod partition;
pub mod queue;
mod quote;
pub mod settings;

pub use batch::{BatchError, BatchJob};
pub use call::{Answer, Call};
pub use error::{Setting, SlurmError};
pub use job::Job;
pub use job_state::{JobState, Phase};
pub use queue::{QueueLine, QueueLineError, SQUEUE_FORMAT};

/// The name of every job of ours (`sbatch --job-name`), by which `squeue --name` finds them.
pub const JOB_NAME: &str = "codeswarm";
