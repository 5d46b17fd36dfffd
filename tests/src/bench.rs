//! How fast and how modest Codeswarm is, measured beside what one would use instead.
//!
//! An [`Experiment`] has a name, measures with the real programs in a folder of its own, and answers with a [`Report`]: tables
//! whose rows are the ways of doing one thing, each measured in the same run, and what was to be reached. [`page`] puts it
//! into docs/BENCHMARKS.md. Nothing here fails because something was slow; what does not work panics, as in tests.
//!
//! | module | its idea |
//! |---|---|
//! | [`lab`] | how large, how often, and in which folder |
//! | [`report`], [`figures`] | what was found, and how it is printed |
//! | [`machine`] | on what |
//! | [`usage`] | what a process costs: time, memory, system calls |
//! | [`outboxes`] | files full of records |
//! | [`drain`] | how fast a program writes what it is to write |
//! | [`played`] | a job whose workers are played ([`crate::swarm_simulator`]) and whose Slurm is a few scripts |
//! | [`idle_follower`] | a follower with nothing to do |
//! | [`remote`] | the same behind a real sshd |
//! | [`slow_link`] | a line far away |
//! | [`two_views`] | one folder as two clients of a shared filesystem see it |
//! | [`listener`] | a client that measures what it hears |

mod clients;
mod delta_latency;
mod doorbell;
pub mod drain;
mod end_to_end;
mod fan_out;
pub mod figures;
mod follow_drain;
mod follow_idle;
mod follow_skew;
mod footprint;
pub mod idle_follower;
mod inject_rtt;
pub mod lab;
mod launch;
mod link_drain;
pub mod listener;
mod look_ups;
pub mod machine;
pub mod outboxes;
pub mod page;
pub mod played;
pub mod remote;
pub mod report;
mod restart;
mod scale;
pub mod slow_link;
pub mod two_views;
pub mod usage;

pub use lab::Lab;
pub use report::Report;

/// One experiment.
pub struct Experiment {
    /// Its name on the command line.
    pub name: &'static str,
    /// What it measures, in a sentence.
    pub about: &'static str,
    /// Whether it needs a Slurm and an sshd, for which the test cluster is brought up.
    pub cluster: bool,
    /// Measures.
    pub run: fn(&Lab) -> Report,
}

/// All of them, in the order in which they are run and printed.
pub const ALL: &[Experiment] = &[
    footprint::EXPERIMENT,
    follow_drain::EXPERIMENT,
    follow_idle::EXPERIMENT,
    follow_skew::EXPERIMENT,
    look_ups::EXPERIMENT,
    doorbell::EXPERIMENT,
    delta_latency::EXPERIMENT,
    end_to_end::EXPERIMENT,
    scale::EXPERIMENT,
    fan_out::EXPERIMENT,
    clients::EXPERIMENT,
    restart::EXPERIMENT,
    inject_rtt::EXPERIMENT,
    link_drain::EXPERIMENT,
    launch::EXPERIMENT,
];
