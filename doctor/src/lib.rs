//! The checks of a set-up: before the first launch, and when something is wrong.
//!
//! It goes the way that a launch goes, with the same rooms' calls, and tells of each step what was seen and what to do. What
//! another room finds wrong it passes on in that room's words, so that a launch that fails says the same. It must never
//! know a router's state or its clients, start an agent's session, or take a mailbox that somebody holds.
//!
//! - [`check`] is what a check says; [`judge`] decides, without I/O, what was seen means.
//! - [`run`] begins and sums up; `cluster` and `local` have the order of the checks; `login` and `short_job` look.
//! - [`probe`] is the other end: what the deployed program looks at on the login node and on a compute node ([`facts`]).

pub mod check;
mod cluster;
pub mod facts;
pub mod judge;
mod local;
mod login;
pub mod probe;
pub mod run;
mod short_job;

pub use check::{Check, Name, Status, Verdict};
pub use run::{Doctor, Ended, Plan, Told};
