//! The real worker binary with the echo agent, over a mailbox in a temporary folder.
#![expect(
    clippy::unwrap_used,
    reason = "a test fails by panicking, and clippy does not see that these are tests"
)]

mod full_disk;
mod keeper;
mod lives;
mod storm;
mod support;
