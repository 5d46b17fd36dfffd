//! Slurm's commands as typed calls: what is to be run, and what it printed, read into types.
//!
//! This room is for Slurm's words alone. It never runs anything and never opens a file, a socket or an ssh connection: it
//! makes a [`Call`], and whoever can reach the login node runs it and hands back the [`Answer`]. It must never know what a
//! swarm decides, what a mailbox looks like or what an agent says; a swarm's id is to it a comment on a job, and the paths
//! of the worker and the launch file are arguments.
//!
//! What Slurm prints differs between releases (21 to 25 are read). A word that is not known here becomes 'unknown', an odd
//! line is reported beside the good ones, and silence is never taken for an answer.

pub mod batch;
pub mod call;
pub mod cancel;
pub mod ending;
pub mod error;
pub mod hostnames;
pub mod job;
pub mod job_state;
pub mod partition;
pub mod ping;
pub mod queue;
mod quote;
pub mod settings;
pub mod time_limit;
pub mod trial;

pub use batch::{BatchError, BatchJob};
pub use call::{Answer, Call};
pub use error::{Setting, SlurmError};
pub use job::Job;
pub use job_state::{JobState, Phase};
pub use queue::{QueueLine, QueueLineError, SQUEUE_FORMAT};

/// The name of every job of ours (`sbatch --job-name`), by which `squeue --name` finds them.
pub const JOB_NAME: &str = "codeswarm";

#[cfg(test)]
mod tests {
    use crate::call::answer;
    use crate::{SlurmError, batch, cancel, hostnames, job, partition, ping, queue, settings, time_limit, trial};

    proptest::proptest! {
        /// Whatever is printed, half of it known words: every reader says something, and none dies of it.
        #[test]
        fn no_reader_dies_of_what_is_printed(
            exit_code in 0..2,
            parts in proptest::collection::vec(
                proptest::prop_oneof![
                    proptest::prelude::Just("JobId=1 ".to_owned()),
                    proptest::prelude::Just("JobName= UserId=".to_owned()),
                    proptest::prelude::Just(" JobState=RUNNING TimeLimit=9-9:9:9 RunTime=".to_owned()),
                    proptest::prelude::Just("1|RUNNING|1|n|".to_owned()),
                    proptest::prelude::Just("c*|up|1|4294967295/4294967295/0/9K|".to_owned()),
                    proptest::prelude::Just("SLURM_VERSION = ".to_owned()),
                    proptest::prelude::Just("\n".to_owned()),
                    r"[0-9]{1,25}[-:/K;.|]",
                    r"\PC{0,6}",
                ],
                0..12,
            ),
        ) {
            let text = parts.concat();
            let answer = answer(exit_code, &text, &text);
            let asked = ["1".parse().unwrap(), "2".parse().unwrap()];
            let _ = job::read(&asked[0], &answer).map(|job| job.ending());
            let _ = queue::read_look(&asked, &answer);
            let _ = partition::read(&answer).map(|all| all.idle_nodes(None));
            let _ = hostnames::read(&answer);
            let _ = settings::read(&answer);
            let _ = settings::read_version(&answer);
            let _ = batch::read_submitted(&answer);
            let _ = cancel::read(&answer);
            let _ = ping::read(&answer);
            let _ = trial::read_test(&answer);
            let _ = time_limit::seconds(&text);
            let _ = SlurmError::read("sbatch", &answer).to_string();
        }
    }
}
