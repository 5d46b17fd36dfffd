//! The types on every wire of Codeswarm: what clients say to the router and hear from it, the records in mailbox
//! files, the frames between router and follower, and the names of things.
//!
//! This room is pure: it never touches a file, a socket, a clock or a task. Everything that arrives from outside
//! is parsed here, once, into types that cannot be wrong; everything else works with those types.

pub mod command;
pub mod doorbell;
pub mod event;
pub mod frame;
pub mod ids;
pub mod inbox;
pub mod launch;
pub mod line;
pub mod nodes;
pub mod position;
pub mod record;
mod record_head;
pub mod rejection;
pub mod schema;
pub mod timestamp;
pub mod turn;
pub mod worker;

pub use ids::{Epoch, IdError, InjectionId, JobId, NodeId, Place, RequestId, Seq, SwarmId};
pub use nodes::NodeSelector;
pub use position::Position;
pub use rejection::{Rejection, RejectionCode};
pub use timestamp::Timestamp;

/// The version that every part of one installation says of itself; parts of different versions refuse to work together.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The name of the enveloped client protocol.
pub const ROUTER_PROTOCOL: &str = "codeswarm.router.v1";
