//! The tables, and how the file is opened.

use super::{State, StateError};

/// The format of this version; a file of an older one is brought forward, of a newer one refused.
const FORMAT: i64 = 2;

/// What format 2 has more than format 1.
const SUBMISSIONS: &str = "
CREATE TABLE submissions(
    swarm_id TEXT PRIMARY KEY,
    json TEXT NOT NULL) WITHOUT ROWID;
";

/// Tables of format 1.
const TABLES: &str = "
CREATE TABLE swarms(
    swarm_id TEXT PRIMARY KEY,
    json TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE nodes(
    job_id TEXT NOT NULL, node_id INTEGER NOT NULL,
    json TEXT NOT NULL,
    offset INTEGER NOT NULL, seq INTEGER NOT NULL, sub INTEGER NOT NULL,
    PRIMARY KEY(job_id, node_id)) WITHOUT ROWID;
CREATE TABLE prompts(
    number INTEGER PRIMARY KEY,
    content TEXT);
CREATE TABLE injections(
    injection_id TEXT PRIMARY KEY,
    job_id TEXT NOT NULL, node_id INTEGER NOT NULL,
    request_id TEXT,
    prompt_number INTEGER NOT NULL,
    steer INTEGER NOT NULL,
    state INTEGER NOT NULL,
    number INTEGER NOT NULL,
    ack_seq INTEGER NOT NULL, ack_sub INTEGER NOT NULL,
    accepted INTEGER NOT NULL) WITHOUT ROWID;
CREATE INDEX injections_open ON injections(state) WHERE state < 4;
CREATE INDEX injections_prompt ON injections(prompt_number) WHERE state < 2;
CREATE TABLE requests(
    request_id TEXT PRIMARY KEY,
    fingerprint TEXT NOT NULL,
    swarm_id TEXT,
    injections TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE said(
    job_id TEXT NOT NULL, node_id INTEGER NOT NULL,
    seq INTEGER NOT NULL, sub INTEGER NOT NULL,
    json TEXT NOT NULL,
    PRIMARY KEY(job_id, node_id, seq, sub)) WITHOUT ROWID;
";

pub(super) fn prepare(state: &State) -> Result<(), StateError> {
    // Exclusive: no other process may look into it, and no shared memory file is needed. In WAL mode a commit with
    // synchronous NORMAL outlives this process, one with FULL the loss of power. The cache is what a router grows by over its
    // first thousands of prompts, so it is kept at 2 MiB; the kernel keeps the rest of the file.
    for pragma in [
        "PRAGMA locking_mode = EXCLUSIVE",
        "PRAGMA journal_mode = WAL",
        "PRAGMA synchronous = NORMAL",
        "PRAGMA cache_size = -2048",
    ] {
        let set = state.connection.prepare(pragma).and_then(|mut statement| {
            let mut rows = statement.query([])?;
            while rows.next()?.is_some() {}
            Ok(())
        });
        state.database(set)?;
    }
    let found: i64 = state.database(state.connection.query_row("PRAGMA user_version", [], |row| row.get(0)))?;
    match found {
        0 => {
            let script = format!("BEGIN IMMEDIATE; {TABLES} {SUBMISSIONS} PRAGMA user_version = {FORMAT}; COMMIT;");
            state.database(state.connection.execute_batch(&script))
        }
        1 => {
            let script = format!("BEGIN IMMEDIATE; {SUBMISSIONS} PRAGMA user_version = {FORMAT}; COMMIT;");
            state.database(state.connection.execute_batch(&script))
        }
        FORMAT => Ok(()),
        found => Err(StateError::TooNew {
            file: state.file.clone(),
            found,
            known: FORMAT,
        }),
    }
}
