//! The process on a compute node: reads its inbox in order, runs one turn of its agent at a time, and appends to its outbox
//! what happens.
//!
//! This room knows the mailbox and the agents. It never learns about Slurm's commands, the router, or the link: it takes its
//! place from flags or the environment, and everything else it knows stands in files. What it decides is in [`core`],
//! without I/O.
//!
//! | module | its idea |
//! |---|---|
//! | [`core`] | what a worker decides |
//! | [`run`] | the loop that asks it and does what it says |
//! | [`by_hand`] | the same without a loop, for simulations |
//! | [`outbox`], [`inbox`], [`heartbeat`] | its three files |
//! | [`doorbell`] | hints between it and the follower that a file has grown |
//! | [`agent`] | the session with its agent |
//! | [`keep`], [`last_words`] | the process that starts a worker again when it dies |
//! | [`task_end`], [`last_life`] | what is said for a worker that will not be started again |
//! | [`assignment`], [`launch_file`], [`node`] | what it finds out before it begins |
//! | [`command`], [`signals`], [`error`] | the process around it |

pub mod agent;
pub mod assignment;
pub mod by_hand;
pub mod command;
pub mod core;
pub mod doorbell;
pub mod error;
pub mod heartbeat;
pub mod inbox;
pub mod keep;
pub mod last_life;
pub mod last_words;
pub mod launch_file;
pub mod node;
pub mod outbox;
pub mod run;
pub mod signals;
pub mod task_end;
