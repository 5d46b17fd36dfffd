//! A batch script tried out before it is meant: `sbatch --test-only`, and one short job of one node (sbatch(1)).
//!
//! Both hand in the very script of a launch. What differs stands on the command line, which wins over the script's lines.

use crate::batch::{BatchError, BatchJob};
use crate::call::{Answer, Call};
use crate::error::SlurmError;

/// The name of a job that only tries something out; `squeue --name` for a swarm's job does not find it.
pub const TRIAL_NAME: &str = "codeswarm-doctor";

/// Asks whether Slurm would take the job; none is submitted.
pub fn test_only(job: &BatchJob) -> Result<Call, BatchError> {
    Ok(with(job.submit()?, ["--test-only".to_owned()]))
}

/// Submits it under [`TRIAL_NAME`], for so many minutes if that is given. It is not started a second time, and not told to
/// end before its time limit, which comes soon enough. [`crate::batch::read_submitted`] reads the answer.
pub fn submit(job: &BatchJob, minutes: Option<u64>) -> Result<Call, BatchError> {
    let options = [
        format!("--job-name={TRIAL_NAME}"),
        "--no-requeue".to_owned(),
        // A signal that changes nothing, in the place of the script's SIGTERM.
        "--signal=CONT@10".to_owned(),
    ];
    let limit = minutes.map(|minutes| format!("--time={minutes}"));
    Ok(with(job.submit()?, options.into_iter().chain(limit)))
}

fn with(mut call: Call, options: impl IntoIterator<Item = String>) -> Call {
    call.arguments.extend(options);
    call
}

/// Reads what [`test_only`] brought: when and where it would start, in Slurm's words.
pub fn read_test(answer: &Answer) -> Result<String, SlurmError> {
    if answer.exit_code != Some(0) {
        return Err(SlurmError::read("sbatch", answer));
    }
    let (out, err) = (answer.out(), answer.err());
    let told = err.lines().chain(out.lines()).find_map(|line| {
        let told = line.trim().strip_prefix("sbatch: ")?;
        told.contains("to start at").then(|| told.to_owned())
    });
    Ok(told.unwrap_or_else(|| "it would be taken".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::call::answer;

    fn job() -> BatchJob {
        BatchJob {
            swarm_id: "doctor-1".parse().unwrap(),
            node_count: 1,
            agents_per_node: 1,
            partition: None,
            account: None,
            qos: None,
            time_limit: Some("02:00:00".into()),
            constraint: None,
            gres: None,
            sbatch_args: Vec::new(),
            root: "/w".into(),
            worker: "/w/x".into(),
            launch_file: "/w/y".into(),
            template: None,
        }
    }

    #[test]
    fn the_script_is_a_launch_s_and_the_difference_is_on_the_command_line() {
        let (launch, trial) = (job().submit().unwrap(), submit(&job(), Some(5)).unwrap());
        assert_eq!(launch.stdin, trial.stdin);
        assert_eq!(
            trial.to_string(),
            "sbatch --parsable --job-name=codeswarm-doctor --no-requeue --signal=CONT@10 --time=5"
        );
        assert_eq!(test_only(&job()).unwrap().to_string(), "sbatch --parsable --test-only");
    }

    #[test]
    fn a_test_s_answer_is_read() {
        // Recorded from 22.05.8.
        let taken =
            "sbatch: Job 1 to start at 2026-11-27T19:23:36 using 1 processors on nodes node0 in partition compute\n";
        assert!(
            read_test(&answer(0, "", taken))
                .unwrap()
                .starts_with("Job 1 to start at")
        );
        let refused = "sbatch: error: invalid partition specified: nowhere\nallocation failure: Invalid partition name specified\n";
        let error = read_test(&answer(1, "", refused)).unwrap_err();
        assert!(error.to_string().contains("cluster.slurm.partition"), "{error}");
        let shape = read_test(&answer(
            1,
            "",
            "allocation failure: Requested node configuration is not available\n",
        ));
        assert!(
            matches!(shape, Err(SlurmError::Refused { setting: Some(_), .. })),
            "{shape:?}"
        );
    }
}
