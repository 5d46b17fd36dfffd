//! The shell around the core: reads clients, the follower and the providers, stores, and carries out effects, in that order.
//!
//! What is decided is in `core` and `audience`; here is only who is asked and told, and when it is durable.

pub mod by_hand;
mod carried;
mod client_io;
mod clock;
mod door;
mod history;
mod line_reader;
mod link;
mod listen;
mod mailbox;
mod names;
mod options;
mod outputs;
mod queue;
mod requests;
mod server;
mod subscription;

pub use client_io::Sink;
pub use door::{ClientEnd, Door};
pub use line_reader::{LineReader, ReadLine};
pub use listen::{ListenError, listen, private_folder};
pub use options::{MailboxAt, Options, ServeError, Stop};
pub use requests::too_long;
pub use server::Server;
