//! The way to the login node: one ssh connection, on it one follower for the life of the link and short commands beside it.
//!
//! It knows ssh, how its words are to be understood, how a follower's frames travel, and how a program file gets to a host
//! that lacks it. It must never learn what a prompt, a swarm or an agent is, nor what the words of Slurm's commands mean: a
//! [`Call`] is a program with arguments, its [`Answer`] is bytes. Nothing is ever sent twice by this room; who asked settles
//! what was not answered.
//!
//! - [`Link::start`] keeps a link up for ever and tells its ups and downs; [`connect_once`] makes one connection, for checks.
//! - [`LoginNode`] is where commands run: through the link, or on this machine if it is the login node itself.
//! - [`Trouble`] is what is wrong, in a sentence, and what to do about it.
//!
//! Inside: [`trouble`] and [`backoff`] decide and do no I/O; `sockets` and `session` make the connection, `channel` is the
//! remote follower, `deploy` brings its program there, `keeper` puts them together.

mod answer;
pub mod backoff;
mod call;
mod channel;
mod deploy;
mod deploy_here;
mod keeper;
mod liveness;
mod login;
mod login_node;
mod platform;
mod program;
mod quoting;
mod run;
mod session;
mod sockets;
pub mod trouble;

pub use call::{Answer, Call};
pub use channel::{RemoteFollower, no_greeting, of_refusal};
pub use codeswarm_follower::{Follower, Listen, WatchMode};
pub use deploy::Binary;
pub use deploy_here::deploy_here;
pub use keeper::{Link, LinkEvent, LinkSettings};
pub use login::{Login, Ssh};
pub use login_node::LoginNode;
pub use platform::Platform;
pub use run::RunError;
pub use session::{Session, connect_once};
pub use trouble::{Trouble, TroubleKind};
