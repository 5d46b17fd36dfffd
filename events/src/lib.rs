//! What `codeswarm events` does: every event of the chosen kinds is told once to a consumer, whichever side dies in between.
//!
//! A consumer's cursor says what it was told ([`cursor`]); it is kept in a file under a lock ([`keeper`]). What is asked of a router
//! and which of its events are news is decided without I/O ([`following`]); [`follow`] carries that out.
//!
//! This room knows the client protocol and its own files. It must never look into the router's state or a mailbox, nor know what an
//! agent is or who reads the lines.

pub mod consumer;
pub mod cursor;
pub mod follow;
pub mod following;
pub mod keeper;
pub mod kinds;
pub mod line;
pub mod start;
mod states;
pub mod telling;

pub use consumer::ConsumerName;
pub use kinds::Kind;
pub use start::Since;
