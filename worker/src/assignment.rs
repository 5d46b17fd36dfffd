//! Which place this worker takes: from flags, else from what Slurm sets for each task.

use std::path::PathBuf;

use codeswarm_protocol::{JobId, NodeId, Place};

use crate::command::Args;
use crate::error::WorkerError;

/// A worker's place, and where its files are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assignment {
    /// The mailbox's root folder.
    pub root: PathBuf,
    /// The job and the rank.
    pub place: Place,
    /// The launch file, if it is not the job's own.
    pub launch: Option<PathBuf>,
    /// How often Slurm has restarted the job; for the log only.
    pub restarts: Option<String>,
}

impl Assignment {
    /// Flags win over the environment. `variable` looks one up.
    pub fn resolve(args: &Args, variable: impl Fn(&str) -> Option<String>) -> Result<Self, WorkerError> {
        let pick = |flag: &Option<String>, name: &'static str| {
            flag.clone()
                .or_else(|| variable(name).filter(|value| !value.is_empty()))
        };
        let wrong = |what: &str, value: &str, why: &dyn std::fmt::Display| {
            WorkerError::Configuration(format!("{what} {value:?} {why}"))
        };
        let job = pick(&args.job_id, "SLURM_JOB_ID").ok_or_else(|| missing("job", "--job-id", "SLURM_JOB_ID"))?;
        let node = pick(&args.node_id, "SLURM_PROCID").ok_or_else(|| missing("rank", "--node-id", "SLURM_PROCID"))?;
        let root = args
            .root
            .clone()
            .or_else(|| pick(&None, "CODESWARM_ROOT").map(PathBuf::from))
            .ok_or_else(|| missing("mailbox", "--root", "CODESWARM_ROOT"))?;
        if !root.is_absolute() {
            let why = "is not an absolute path; the mailbox's root must be one";
            return Err(wrong("the folder", &root.display().to_string(), &why));
        }
        let job_id: JobId = job.parse().map_err(|error| wrong("the job id", &job, &error))?;
        let node_id: NodeId = node.parse().map_err(|error| wrong("the node id", &node, &error))?;
        Ok(Self {
            root,
            place: Place::new(job_id, node_id),
            launch: args.launch.clone(),
            restarts: pick(&None, "SLURM_RESTART_COUNT"),
        })
    }
}

fn missing(what: &str, flag: &str, variable: &str) -> WorkerError {
    WorkerError::Configuration(format!(
        "this worker does not know its {what}: give {flag}, or start it where {variable} is set (srun does)"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::Filesystem;

    fn args() -> Args {
        Args {
            root: None,
            job_id: None,
            node_id: None,
            launch: None,
            shared_with_group: false,
            filesystem: Filesystem::Auto,
            keep: false,
            task_ended: false,
            kept_by: None,
        }
    }

    fn slurm(name: &str) -> Option<String> {
        match name {
            "SLURM_JOB_ID" => Some("272900".to_owned()),
            "SLURM_PROCID" => Some("3".to_owned()),
            "CODESWARM_ROOT" => Some("/scratch/swarm".to_owned()),
            _ => None,
        }
    }

    #[test]
    fn slurm_tells_the_place_and_flags_win() {
        let from_slurm = Assignment::resolve(&args(), slurm).unwrap();
        assert_eq!(from_slurm.place.stem(), "272900_03");
        assert_eq!(from_slurm.root, PathBuf::from("/scratch/swarm"));
        let flags = Args {
            root: Some("/other".into()),
            node_id: Some("07".to_owned()),
            ..args()
        };
        let from_flags = Assignment::resolve(&flags, slurm).unwrap();
        assert_eq!(from_flags.place.stem(), "272900_07");
        assert_eq!(from_flags.root, PathBuf::from("/other"));
    }

    #[test]
    fn p12_a_bad_place_is_refused_with_what_is_wrong() {
        let refused = |change: &dyn Fn(&mut Args)| {
            let mut args = args();
            change(&mut args);
            Assignment::resolve(&args, slurm).unwrap_err().to_string()
        };
        assert!(refused(&|args| args.job_id = Some("../x".to_owned())).contains("the job id \"../x\""));
        assert!(refused(&|args| args.node_id = Some("-1".to_owned())).contains("the node id \"-1\""));
        assert!(refused(&|args| args.root = Some("here".into())).contains("absolute"));
        for missing in ["SLURM_PROCID", "CODESWARM_ROOT"] {
            let without = |name: &str| slurm(name).filter(|_| name != missing);
            let refused = Assignment::resolve(&args(), without).unwrap_err();
            assert!(refused.to_string().contains(missing), "{refused}");
        }
        let nowhere = Assignment::resolve(&args(), |_| None).unwrap_err();
        assert!(nowhere.to_string().contains("SLURM_JOB_ID"), "{nowhere}");
        assert_eq!(nowhere.exit_code(), 78);
    }
}
