//! What the end-to-end tests stand on: a model server on loopback, the programs under test as child processes, and
//! workspaces that leave nothing behind.
//!
//! The tests themselves are in `tests/tests/`. They see Codeswarm as its users do, from outside: its command, its
//! client protocol and its files. This room never reaches into another room's insides.
//!
//! Everything here blocks and is called from plain `#[test]` functions; what must go on beside a test runs on threads
//! that end with the value or the pipe that they serve. What fails panics, with all that was seen until then in the message.

pub mod account;
pub mod app_server;
pub mod bench;
pub mod chaos;
pub mod chat_model;
pub mod checkup;
pub mod cli;
pub mod cluster;
pub mod codex_swarm;
pub mod doorbell;
pub mod fakes;
pub mod hostfs;
pub mod json_process;
pub mod kept_worker;
pub mod login_node;
pub mod mcp_client;
pub mod messages_server;
pub mod model_server;
pub mod openclaw;
pub mod processes;
pub mod requires;
pub mod router;
pub mod schema;
pub mod slurm_processes;
pub mod slurm_workspace;
pub mod small_disk;
pub mod ssh_trouble;
pub mod stream;
pub mod swarm_simulator;
pub mod workspace;

/// How long a test waits for what must come. Generous, since a loaded machine is no failure; a test that passes waits
/// only as long as the thing takes.
pub const PATIENCE: std::time::Duration = std::time::Duration::from_secs(60);
