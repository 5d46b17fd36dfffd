//! What runs workers. The local provider starts them on this machine; they survive the router and are found again.

mod local;
mod process;
mod supervisor;

pub use local::LocalProvider;
