//! Codex, through `codex app-server --listen stdio://` (version 0.169): one process, one thread, one turn at a time.
//!
//! What each file knows: [`wire`] the shape of a message, [`requests`] what waits for an answer, [`handshake`] how a thread
//! is opened, [`turn`] one turn, [`notification`] and [`items`] what Codex says in neutral words, [`errors`] its error
//! classes, [`usage`] its tokens, [`approvals`] its questions, [`config`] its configuration file, [`program`] where it lies,
//! [`launch`] how it is started, [`refusal`] why it does not start. [`earlier`] reads what the earlier Python workers wrote.
//! [`driver`] is the state machine.

mod approvals;
mod config;
mod driver;
mod earlier;
pub(crate) mod endpoint;
mod errors;
mod handshake;
mod items;
pub(crate) mod launch;
mod notification;
pub(crate) mod program;
mod refusal;
mod requests;
mod turn;
mod usage;
mod wire;

pub(crate) use config::ConfigError;
pub use driver::{CodexDriver, CodexSettings};
pub use earlier::words_of_message;
pub(crate) use program::ProgramError;
