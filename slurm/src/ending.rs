//! What a job's end, or its waiting, means for a person: a sentence for each of Slurm's words, with what to do.
//!
//! States: squeue(1), JOB STATE CODES. Reasons: squeue(1), JOB REASON CODES.

use crate::job_state::{JobState, Phase};

/// What happened to a job that is over, and what to do; `None` for one that is not.
///
/// A swarm that reaches its time limit is `COMPLETED` as a rule, and not `TIMEOUT`: its workers are told one to two minutes
/// before (sbatch(1), `--signal`), and end in order.
pub fn sentence(state: &JobState, reason: Option<&str>, exit_code: Option<(i32, i32)>) -> Option<String> {
    if !matches!(state.phase(), Phase::Completed | Phase::Failed) {
        return None;
    }
    let text = match (state.as_str(), reason) {
        ("COMPLETED", _) => "all workers of the job ended in order",
        (_, Some("JobLaunchFailure" | "launch_failed_requeued_held")) | ("LAUNCH_FAILED", _) => {
            "Slurm could not start the batch script: most often the runs folder, for its output, is missing or the workspace \
             is not mounted on the compute node"
        }
        ("FAILED", Some("RaisedSignal")) | ("FAILED", None) if signal(exit_code).is_some() => {
            "a signal ended the job's srun; the end of runs/<JOB>.err tells more"
        }
        ("FAILED", _) => {
            "a worker failed; exit code 78 asks for a change of the set-up, 75 may pass, others are faults. The end of \
             runs/<JOB>.err tells which and why"
        }
        ("TIMEOUT", _) => {
            "the job reached its time limit, and its workers had not ended when Slurm killed them; launch again, with a longer \
             cluster.slurm.time_limit if there is work left"
        }
        ("CANCELLED", _) => "the job was cancelled, by its owner, an operator or a limit; launch again to go on",
        ("NODE_FAIL", _) => {
            "a node of the job failed and Slurm did not start it again; launch again (cluster.slurm.sbatch_args with \
             --no-kill lets the other nodes go on the next time)"
        }
        ("OUT_OF_MEMORY", _) => {
            "the job used more memory than it had asked for; ask for more with --mem in cluster.slurm.sbatch_args, or for \
             fewer agents_per_node"
        }
        ("PREEMPTED", _) => {
            "a job of higher priority took the nodes; launch again, or use a cluster.slurm.qos or partition that is not \
             preempted"
        }
        ("BOOT_FAIL", _) => {
            "a node could not be booted for the job; launch again, and tell the cluster's operators if it recurs"
        }
        ("DEADLINE", _) => "the job could not end before its --deadline, which stands in cluster.slurm.sbatch_args",
        ("RECONFIG_FAIL", _) => "a node could not be configured for the job; tell the cluster's operators",
        ("REVOKED", _) => "another cluster of the federation runs the job; use that cluster's login node",
        _ => "the job is over",
    };
    let mut sentence = format!("{state}: {text}");
    match exit_code {
        Some((code, 0)) if code != 0 => sentence.push_str(&format!(" (exit code {code})")),
        Some((_, signal)) if signal != 0 && state.as_str() == "FAILED" && reason != Some("JobLaunchFailure") => {
            sentence.push_str(&format!(" (signal {signal})"));
        }
        _ => {}
    }
    Some(sentence)
}

fn signal(exit_code: Option<(i32, i32)>) -> Option<i32> {
    exit_code.map(|(_, signal)| signal).filter(|signal| *signal != 0)
}

/// What a waiting job waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Waiting {
    /// It starts by itself, sooner or later.
    ItsTurn(&'static str),
    /// It starts when somebody has done something.
    Somebody(&'static str),
    /// A word that is not known here.
    Unknown,
}

/// What a waiting job's reason means.
pub fn waiting(reason: &str) -> Waiting {
    use Waiting::{ItsTurn, Somebody, Unknown};
    match reason {
        "Resources" => ItsTurn("it is next, and its nodes are in use"),
        "Priority" => ItsTurn("jobs of higher priority are before it"),
        "BeginTime" => ItsTurn(
            "it starts at a given time: --begin says so, or Slurm starts it again, for which it waits about two minutes",
        ),
        "Dependency" => ItsTurn("it waits for another job (--dependency)"),
        "Licenses" => ItsTurn("it waits for licenses"),
        "Reservation" => ItsTurn("it waits for its reservation to begin"),
        "Prolog" | "Cleaning" | "SchedDefer" | "None" => ItsTurn("Slurm is about to look at it"),
        "NodeDown" | "ReqNodeNotAvail" => Somebody(
            "a node that it needs is down, drained or reserved; `sinfo -R` tells which and why, and a time limit that ends \
             before a maintenance begins can help",
        ),
        "PartitionDown" | "PartitionInactive" => {
            Somebody("its partition starts no jobs now; `sinfo -s` shows which do (cluster.slurm.partition)")
        }
        "PartitionNodeLimit" => Somebody(
            "it asks for more nodes than its partition has or allows, and would wait for ever; terminate it and ask for fewer",
        ),
        "PartitionTimeLimit" => Somebody(
            "its time limit is longer than its partition allows, and it would wait for ever; terminate it and lower \
             cluster.slurm.time_limit",
        ),
        "PartitionConfig" => Somebody(
            "its partition's nodes are not made for what it asks for, and it would wait for ever; terminate it and lower \
             agents_per_node or what sbatch_args asks of each node",
        ),
        "BadConstraints" => Somebody(
            "no node has what it asks for, and it would wait for ever; terminate it and correct the constraint or gres",
        ),
        "AccountNotAllowed" | "InvalidAccount" => {
            Somebody("its account may not run there; correct cluster.slurm.account")
        }
        "QOSNotAllowed" | "InvalidQOS" => Somebody("its QOS may not run there; correct cluster.slurm.qos"),
        "JobHeldUser" => Somebody("it is held; `scontrol release <JOB>` lets it go"),
        "JobHeldAdmin" => Somebody("an operator holds it, or its start failed too often; ask the cluster's operators"),
        "launch_failed_requeued_held" | "JobHoldMaxRequeue" => {
            Somebody("its start failed and Slurm holds it; see runs/<JOB>.err, then `scontrol release <JOB>`")
        }
        "DependencyNeverSatisfied" => Somebody("the job that it depends on failed; terminate it"),
        _ if reason.starts_with("Assoc") || reason.starts_with("QOS") || reason.contains("Limit") => ItsTurn(
            "a limit of the account, QOS or user is reached; it starts when other jobs have ended, unless it alone is above it",
        ),
        _ if reason.starts_with("ReqNodeNotAvail") => waiting("ReqNodeNotAvail"),
        _ => Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(state: &str, reason: Option<&str>, exit_code: Option<(i32, i32)>) -> String {
        let Ok(state) = state.parse();
        sentence(&state, reason, exit_code).unwrap_or_default()
    }

    #[test]
    fn each_terminal_state_says_what_happened_and_what_to_do() {
        for (state, word) in [
            ("COMPLETED", "ended in order"),
            ("TIMEOUT", "cluster.slurm.time_limit"),
            ("NODE_FAIL", "launch again"),
            ("OUT_OF_MEMORY", "--mem"),
            ("PREEMPTED", "higher priority"),
            ("CANCELLED by 1000", "cancelled"),
            ("BOOT_FAIL", "booted"),
            ("DEADLINE", "--deadline"),
            ("LAUNCH_FAILED", "runs folder"),
            ("REVOKED", "federation"),
            ("RECONFIG_FAIL", "operators"),
        ] {
            let text = said(state, Some("None"), Some((0, 0)));
            assert!(text.contains(word), "{state}: {text}");
        }
        for going_on in ["PENDING", "RUNNING", "COMPLETING", "REQUEUED", "TELEPORTED"] {
            assert_eq!(said(going_on, None, None), "");
        }
    }

    #[test]
    fn a_failure_tells_its_exit_code_and_a_failed_start_its_cause() {
        assert!(said("FAILED", Some("NonZeroExitCode"), Some((78, 0))).ends_with("(exit code 78)"));
        assert!(said("FAILED", Some("RaisedSignal"), Some((0, 9))).ends_with("(signal 9)"));
        // As 22.05.8 ended a job whose output folder is missing.
        let text = said("FAILED", Some("JobLaunchFailure"), Some((0, 53)));
        assert!(text.contains("runs folder") && !text.contains("53"), "{text}");
    }

    #[test]
    fn a_job_that_would_wait_for_ever_is_told_apart_from_one_whose_turn_comes() {
        for (reason, its_turn) in [
            ("Resources", true),
            ("Priority", true),
            ("BeginTime", true),
            ("QOSMaxJobsPerUserLimit", true),
            ("AssocGrpNodeLimit", true),
            ("PartitionDown", false),
            ("PartitionTimeLimit", false),
            ("PartitionNodeLimit", false),
            ("PartitionConfig", false),
            ("JobHeldUser", false),
            ("ReqNodeNotAvail, UnavailableNodes:node7", false),
        ] {
            let meaning = waiting(reason);
            assert_eq!(
                matches!(meaning, Waiting::ItsTurn(_)),
                its_turn,
                "{reason}: {meaning:?}"
            );
            assert_ne!(meaning, Waiting::Unknown, "{reason}");
        }
        assert_eq!(waiting("WordOfANewerSlurm"), Waiting::Unknown);
    }
}
