//! `codeswarm mcp`: the router's commands as tools for a model, by the Model Context Protocol over standard input and output.
//!
//! Each call is a question to the router over a connection of its own; what there is to be known is the router's, so a server
//! that is killed in the middle of a call loses nothing, and two of them see the same. It must never hold what a later call
//! needs, touch Slurm, ssh or a mailbox, or write anything but the protocol to standard output.

mod asking;
mod control;
mod doctor;
mod launch;
mod output;
mod parameters;
mod prompt;
mod reply;
mod serve;
mod server;
mod status;
mod tools;
mod turns;
mod wait;

pub use asking::Desk;
pub use serve::serve;
pub use tools::definitions;
