//! Lines of `squeue`. The `-o` format is the stable interface over Slurm's releases; its JSON changes with each.

use codeswarm_protocol::{IdError, JobId};

use crate::job_state::JobState;

/// What `squeue --noheader -o` is asked for: job, state, reason, nodes. The reason comes last, since it may hold anything.
pub const SQUEUE_FORMAT: &str = "%A|%T|%D|%N|%r";

/// One job in the queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueueLine {
    /// The job.
    pub job_id: JobId,
    /// Its state.
    pub state: JobState,
    /// How many nodes it has, or asks for.
    pub node_count: u32,
    /// Its nodes in Slurm's own notation, such as `node[0-3]`; empty while it waits.
    pub nodes: String,
    /// Why it waits, in Slurm's word; absent when it does not.
    pub reason: Option<String>,
}

/// A line that is not of [`SQUEUE_FORMAT`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum QueueLineError {
    /// Too few fields.
    #[error("{0:?} is not a line of squeue -o \"{SQUEUE_FORMAT}\"")]
    Shape(String),
    /// The first field is no job.
    #[error("squeue names the job {text:?}, which {source}")]
    Job {
        /// What it names.
        text: String,
        /// Why not.
        source: IdError,
    },
}

impl QueueLine {
    /// Reads one line.
    pub fn parse(line: &str) -> Result<Self, QueueLineError> {
        let shape = || QueueLineError::Shape(line.chars().take(200).collect());
        let mut fields = line.trim().splitn(5, '|').map(str::trim);
        let mut next = || fields.next().ok_or_else(shape);
        let (job, state, count, nodes, reason) = (next()?, next()?, next()?, next()?, next()?);
        let job_id = JobId::new(job).map_err(|source| QueueLineError::Job {
            text: job.to_owned(),
            source,
        })?;
        let Ok(state) = state.parse();
        let reason = Some(reason).filter(|reason| !matches!(*reason, "" | "None" | "(null)"));
        Ok(Self {
            job_id,
            state,
            node_count: count.parse().map_err(|_| shape())?,
            nodes: nodes.to_owned(),
            reason: reason.map(str::to_owned),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job_state::Phase;

    #[test]
    fn a_running_and_a_waiting_job_are_read() {
        let running = QueueLine::parse("272900|RUNNING|4|node[0-3]|None\n").unwrap();
        assert_eq!(
            (running.job_id.as_str(), running.state.phase()),
            ("272900", Phase::Running)
        );
        assert_eq!(
            (running.node_count, running.nodes.as_str(), running.reason),
            (4, "node[0-3]", None)
        );

        let waiting = QueueLine::parse("272901|PENDING|64||Resources|x").unwrap();
        assert_eq!(waiting.reason.as_deref(), Some("Resources|x"));
        assert_eq!(waiting.state.phase(), Phase::Waiting);
    }

    #[test]
    fn anything_else_is_named() {
        for bad in [
            "",
            "slurm_load_jobs error: Unable to contact slurm controller",
            "1|RUNNING|x|n|None",
        ] {
            assert!(matches!(QueueLine::parse(bad), Err(QueueLineError::Shape(_))), "{bad}");
        }
        let hostile = QueueLine::parse("../../etc|RUNNING|1|n|None").unwrap_err();
        assert!(hostile.to_string().contains("../../etc"), "{hostile}");
    }
}
