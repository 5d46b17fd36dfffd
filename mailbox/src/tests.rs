//! Tests that need several of this room's modules together, and the files they play on.

mod append;
pub(crate) mod fake_file;
mod group_commit;
mod names;
mod schedule;
mod tail_model;
