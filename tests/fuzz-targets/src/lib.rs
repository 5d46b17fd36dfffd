//! What must hold for every input of every parser of foreign bytes, as functions that panic when it does not.
//!
//! A fuzzer plays them (`tests/fuzz`, with the programs in `fuzz/`); on a stable toolchain `tests/corpora.rs` plays each
//! target's corpus and some thousands of seeded mutations of it, as a part of `cargo test`. This crate knows the parsers
//! and what they promise. It must never know how it is played: a target is a function of bytes, the same each time.

mod agents;
mod client;
mod configuration;
mod consumers;
mod doorbell;
mod frames;
mod names;
mod pieces;
mod records;
mod slurm;
mod ssh;
mod tail;

pub use agents::{agent_output, codex_messages, codex_session, echo_scripts};
pub use client::{client_commands, client_stream};
pub use configuration::{configurations, launch_files, launch_parameters};
pub use consumers::consumer_cursors;
pub use doorbell::doorbell_lines;
pub use frames::{frames_downward, frames_upward};
pub use names::{names, node_selectors};
pub use records::{inbox_lines, outbox_lines, state_files};
pub use slurm::{
    slurm_errors, slurm_hostnames, slurm_job, slurm_partitions, slurm_queue, slurm_settings, slurm_submitted,
};
pub use ssh::ssh_words;
pub use tail::{mailbox_tail, record_splitter};

/// A target: it returns when all holds for these bytes, and panics when something does not.
pub type Target = fn(&[u8]);

/// All targets by name. `fuzz/fuzz_targets/` has a program and `fuzz/corpus/` a folder of each name.
pub const TARGETS: &[(&str, Target)] = &[
    ("agent_output", agent_output),
    ("client_commands", client_commands),
    ("client_stream", client_stream),
    ("codex_messages", codex_messages),
    ("codex_session", codex_session),
    ("configurations", configurations),
    ("consumer_cursors", consumer_cursors),
    ("doorbell_lines", doorbell_lines),
    ("echo_scripts", echo_scripts),
    ("frames_downward", frames_downward),
    ("frames_upward", frames_upward),
    ("inbox_lines", inbox_lines),
    ("launch_files", launch_files),
    ("launch_parameters", launch_parameters),
    ("mailbox_tail", mailbox_tail),
    ("names", names),
    ("node_selectors", node_selectors),
    ("outbox_lines", outbox_lines),
    ("record_splitter", record_splitter),
    ("slurm_errors", slurm_errors),
    ("slurm_hostnames", slurm_hostnames),
    ("slurm_job", slurm_job),
    ("slurm_partitions", slurm_partitions),
    ("slurm_queue", slurm_queue),
    ("slurm_settings", slurm_settings),
    ("slurm_submitted", slurm_submitted),
    ("ssh_words", ssh_words),
    ("state_files", state_files),
];

/// The lines of an input, as a person would count them: what stands behind the last newline counts if it is not empty.
fn lines(data: &[u8]) -> impl Iterator<Item = &[u8]> {
    data.strip_suffix(b"\n").unwrap_or(data).split(|byte| *byte == b'\n')
}
