//! The states of a job, as `squeue %T` and `scontrol` print them (squeue(1), JOB STATE CODES).

use std::convert::Infallible;
use std::fmt;
use std::str::FromStr;

/// What becomes of a job, as far as a swarm has to know. Slurm's own word is kept beside it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Phase {
    /// It waits in the queue, or waits to run once more.
    Waiting,
    /// Its nodes are its own; its steps may run.
    Running,
    /// It is on its way out.
    Ending,
    /// It is over, and was not asked to end before its time.
    Completed,
    /// It is over for another reason: time limit, lost node, cancelled, out of memory, …
    Failed,
    /// A word of a newer Slurm. Nothing may be concluded from it.
    Unknown,
}

/// A job's state in Slurm's own word, such as `NODE_FAIL`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct JobState(String);

impl JobState {
    /// What the word means for a swarm.
    pub fn phase(&self) -> Phase {
        match self.0.as_str() {
            "PENDING" | "REQUEUED" | "REQUEUE_FED" | "REQUEUE_HOLD" | "SPECIAL_EXIT" | "RESV_DEL_HOLD"
            | "EXPEDITING" => Phase::Waiting,
            "CONFIGURING" | "POWER_UP_NODE" | "RUNNING" | "RESIZING" | "SUSPENDED" | "SIGNALING" | "STAGE_OUT"
            | "STOPPED" => Phase::Running,
            "COMPLETING" => Phase::Ending,
            "COMPLETED" => Phase::Completed,
            "BOOT_FAIL" | "CANCELLED" | "DEADLINE" | "FAILED" | "LAUNCH_FAILED" | "NODE_FAIL" | "OUT_OF_MEMORY"
            | "PREEMPTED" | "RECONFIG_FAIL" | "REVOKED" | "TIMEOUT" => Phase::Failed,
            _ => Phase::Unknown,
        }
    }

    /// Slurm's word.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for JobState {
    type Err = Infallible;

    /// Takes `CANCELLED by 1000` and `CANCELLED+` for `CANCELLED`, as sacct and newer versions print it, and of
    /// `RUNNING,COMPLETING` the last word, since newer versions put what it is doing behind what it is.
    fn from_str(text: &str) -> Result<Self, Infallible> {
        let word = text
            .split_ascii_whitespace()
            .next()
            .unwrap_or_default()
            .split([',', '+'])
            .rfind(|word| !word.is_empty())
            .unwrap_or_default();
        Ok(Self(word.to_ascii_uppercase()))
    }
}

impl fmt::Display for JobState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn phase(text: &str) -> Phase {
        let Ok(state) = text.parse::<JobState>();
        state.phase()
    }

    #[test]
    fn each_word_has_its_meaning_and_a_new_word_has_none() {
        assert_eq!(phase("PENDING"), Phase::Waiting);
        assert_eq!(phase("running"), Phase::Running);
        assert_eq!(phase("COMPLETING"), Phase::Ending);
        assert_eq!(phase("COMPLETED"), Phase::Completed);
        assert_eq!(phase("CANCELLED by 1000"), Phase::Failed);
        assert_eq!(phase("CANCELLED+"), Phase::Failed);
        assert_eq!(phase("RUNNING,COMPLETING"), Phase::Ending);
        assert_eq!(phase("PENDING+REQUEUED"), Phase::Waiting);
        assert_eq!(phase("TELEPORTED"), Phase::Unknown);
        assert_eq!(phase(""), Phase::Unknown);
    }
}
