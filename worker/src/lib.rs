//! The process on a compute node: reads its inbox in order, runs one turn of its agent at a time, and appends to its outbox
//! what happens.
//!
//! This room knows the mailbox and the agents. It never learns about Slurm's commands, the router, or the link: it takes its
//! place from flags or the environment, and everything else it knows stands in files. What it decides is in [`core`],
//! without I/O.

pub mod core;
