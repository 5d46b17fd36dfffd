//! Ending a job: `scancel` (scancel(1)).
//!
//! `scancel` without a signal ends the job whatever its state: its tasks get SIGTERM and, after `KillWait` seconds, SIGKILL,
//! and the job is `CANCELLED`. With a signal it goes to the tasks only, nothing follows, and a job whose workers end of
//! themselves is `COMPLETED`. Its exit code alone tells little: for an unknown job it is 0 without `--signal`.

use codeswarm_protocol::JobId;

use crate::call::{Answer, Call, number};
use crate::error::SlurmError;

/// Options that scancel takes from its environment; one of them makes it ask a question.
const OPTIONS: &[&str] = &[
    "SCANCEL_ACCOUNT",
    "SCANCEL_BATCH",
    "SCANCEL_CRON",
    "SCANCEL_CTLD",
    "SCANCEL_FULL",
    "SCANCEL_HURRY",
    "SCANCEL_INTERACTIVE",
    "SCANCEL_NAME",
    "SCANCEL_PARTITION",
    "SCANCEL_QOS",
    "SCANCEL_STATE",
    "SCANCEL_USER",
    "SCANCEL_VERBOSE",
    "SCANCEL_WCKEY",
    "SLURM_CLUSTERS",
];

/// What became of the request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cancelled {
    /// Slurm took it. After [`terminate`] that includes a job that was not running and got no signal.
    Taken,
    /// The job is over, or about to be, or Slurm does not know it; scancel does not tell these apart.
    Over,
    /// The job waits, or is just changing its state, and cannot be signalled; [`cancel`] ends it.
    NotRunning,
}

/// Sends SIGTERM to the workers of a running job and leaves the rest to them. A job that waits is left alone: without
/// `--state`, scancel would try to signal it for a minute and a half (tried on 22.05) and then give up.
pub fn terminate(job_id: &JobId) -> Result<Call, SlurmError> {
    let job = number(job_id)?;
    Ok(Call::new("scancel", ["--state=RUNNING", "--signal=TERM", job]).without(OPTIONS))
}

/// Ends a job that waits and leaves alone one that has started meanwhile, so that its workers are never cut short.
pub fn cancel_pending(job_id: &JobId) -> Result<Call, SlurmError> {
    let job = number(job_id)?;
    Ok(Call::new("scancel", ["--state=PENDING", job]).without(OPTIONS))
}

/// Ends a job for good, whatever its state.
pub fn cancel(job_id: &JobId) -> Result<Call, SlurmError> {
    Ok(Call::new("scancel", [number(job_id)?]).without(OPTIONS))
}

/// Reads what any of these brought.
pub fn read(answer: &Answer) -> Result<Cancelled, SlurmError> {
    let lower = answer.err().to_ascii_lowercase();
    if lower.contains("invalid job id") || lower.contains("already completing or completed") {
        return Ok(Cancelled::Over);
    }
    if lower.contains("can not be altered now") || lower.contains("job is pending execution") {
        return Ok(Cancelled::NotRunning);
    }
    // `error:` beside exit code 0 is no success; a warning is.
    if answer.exit_code == Some(0) && !lower.contains("kill job error") {
        return Ok(Cancelled::Taken);
    }
    Err(SlurmError::read("scancel", answer))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::call::answer;

    fn id() -> JobId {
        "29".parse().unwrap()
    }

    #[test]
    fn each_call_is_as_scancel_takes_it() {
        assert_eq!(
            terminate(&id()).unwrap().to_string(),
            "scancel --state=RUNNING --signal=TERM 29"
        );
        assert_eq!(cancel_pending(&id()).unwrap().to_string(), "scancel --state=PENDING 29");
        assert_eq!(cancel(&id()).unwrap().to_string(), "scancel 29");
        assert!(cancel(&"local-1".parse().unwrap()).is_err());
    }

    #[test]
    fn what_scancel_says_counts_and_not_its_exit_code_alone() {
        // Recorded from 22.05.8: an unknown job is exit code 0 without --signal and 1 with it.
        let unknown = "scancel: error: Kill job error on job id 99999: Invalid job id specified\n";
        assert_eq!(read(&answer(0, "", unknown)).unwrap(), Cancelled::Over);
        assert_eq!(read(&answer(1, "", unknown)).unwrap(), Cancelled::Over);
        let done = "scancel: error: Kill job error on job id 12: Job/step already completing or completed\n";
        assert_eq!(read(&answer(1, "", done)).unwrap(), Cancelled::Over);
        let waits = "scancel: error: Kill job error on job id 29: Job can not be altered now, try again later\n";
        assert_eq!(read(&answer(228, "", waits)).unwrap(), Cancelled::NotRunning);
        assert_eq!(read(&answer(0, "", "")).unwrap(), Cancelled::Taken);

        let silent =
            "scancel: error: Kill job error on job id 54: Unable to contact slurm controller (connect failure)\n";
        let error = read(&answer(8, "", silent)).unwrap_err();
        assert!(matches!(error, SlurmError::Unreachable { .. }), "{error}");
        let other = "scancel: error: Kill job error on job id 1: Access/permission denied\n";
        let error = read(&answer(0, "", other)).unwrap_err();
        assert!(matches!(error, SlurmError::Refused { .. }), "{error}");
    }
}
