//! What runs workers. The local provider starts them on this machine; they survive the router and are found again. Slurm
//! runs them as tasks of jobs: then only its commands are run here, and everything they mean is decided in the core.

mod local;
mod process;
mod slurm;
mod supervisor;

pub use local::LocalProvider;
pub use slurm::{SlurmProvider, run_on};
