//! Tests that need several of this room's modules together, and the files they play on.

mod append;
mod fake_file;
mod group_commit;
mod lease;
mod names;
mod refusals;
mod schedule;
mod schedule_rings;
mod seek;
mod tail;
mod tail_model;
mod watch;

/// Appends one line as a writer of ours does.
fn append_line(path: &std::path::Path, line: &str) {
    let mut file = crate::LineFile::open(path, crate::Durability::Cached).unwrap();
    file.append(format!("{line}\n").as_bytes()).unwrap();
}
