//! The configuration file: what may stand in it, how it is read, and what is wrong with one that cannot be used.
//!
//! A file is JSON. [`load`] reads one; [`parse`] does the same with a text and an [`Environment`] handed in and touches
//! nothing, so everything but `load` and [`Environment::of_process`] is pure. The result is a [`Config`], whose paths are
//! absolute and whose values are in range; nobody checks them again. A [`ConfigError`] names the file, the line and
//! column, the key, what was expected and the nearest known key or word, for all problems of a file at once.
//!
//! The types in [`mod@file`] are the one definition of the keys. The reader's checks and the page `docs/CONFIGURATION.md`
//! ([`reference_page`]) are both made from them.
//!
//! This room knows words and paths. It must never know how a router works, how Slurm or ssh is called, or what an agent
//! speaks.

pub mod file;

mod check;
mod config;
mod environment;
mod finding;
mod load;
mod located;
mod nearest;
mod reference;
mod resolve;
mod rules;
mod shape;
mod slurm;

pub use config::{Backend, Cluster, Config, Loaded, Router, SlurmCluster, Ssh};
pub use environment::Environment;
pub use file::{SlurmSection, Watch};
pub use finding::{ConfigError, Finding, TextPosition};
pub use load::load;
pub use reference::reference_page;
pub use resolve::parse;
pub use slurm::{ParameterProblem, ParametersError};
