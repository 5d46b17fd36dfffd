//! The follower over real files: as a library, as a process, and as a printer of lines.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test that cannot go on says where"
)]

mod asking;
mod following;
mod plain_lines;
mod process;
mod rings;
mod room;
