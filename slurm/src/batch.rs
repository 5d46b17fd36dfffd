//! Submitting a swarm: a batch script on the standard input of `sbatch --parsable` (sbatch(1)).
//!
//! Nothing stands on the command line, so nothing passes through a shell there. In the script, each value is checked, and
//! quoted for who reads it: sbatch reads the `#SBATCH` lines, a shell the rest.

use codeswarm_protocol::{JobId, SwarmId};

use crate::JOB_NAME;
use crate::call::{Answer, Call};
use crate::error::SlurmError;
use crate::quote::{for_directive, for_shell};

mod arguments;
mod template;
#[cfg(test)]
mod tests;

/// The template of the batch script that is used when no other is given. Its own comments say what may be changed.
pub const TEMPLATE: &str = include_str!("../templates/batch.sh");

/// Seconds before its time limit at which a job's workers are told to end.
pub const SIGNAL_SECONDS: u32 = 60;

/// The most workers of one job: ranks have six digits.
const MOST_TASKS: u64 = 1_000_000;

/// What is asked of Slurm for one swarm. (`--immediate` is not here: sbatch has no such option; whoever launches looks for
/// idle nodes first, see [`crate::partition`].)
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BatchJob {
    /// The swarm; it becomes the job's comment, by which the job is found again.
    pub swarm_id: SwarmId,
    /// How many machines.
    pub node_count: u32,
    /// How many workers on each.
    pub agents_per_node: u32,
    /// `--partition`
    pub partition: Option<String>,
    /// `--account`
    pub account: Option<String>,
    /// `--qos`
    pub qos: Option<String>,
    /// `--time`
    pub time_limit: Option<String>,
    /// `--constraint`
    pub constraint: Option<String>,
    /// `--gres`
    pub gres: Option<String>,
    /// Further options of sbatch, each one whole.
    pub sbatch_args: Vec<String>,
    /// The absolute path of the mailbox's root folder on the cluster. Its folder `runs` must exist: Slurm fails a job whose
    /// output file it cannot open.
    pub root: String,
    /// The absolute path of the codeswarm program there.
    pub worker: String,
    /// The absolute path of the launch file there.
    pub launch_file: String,
    /// The text of a template that takes the place of [`TEMPLATE`].
    pub template: Option<String>,
}

/// Why no batch script is made. Nothing was sent to Slurm.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BatchError {
    /// A value that cannot stand in a script.
    #[error("{setting} {value:?} {why}")]
    Value {
        /// Where it was set.
        setting: &'static str,
        /// The value.
        value: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// A number of nodes or workers out of range.
    #[error(
        "{nodes} nodes with {agents_per_node} agents each are not possible: at least 1, and at most {MOST_TASKS} agents in all"
    )]
    Count {
        /// How many nodes.
        nodes: u32,
        /// How many workers on each.
        agents_per_node: u32,
    },
    /// One of the further options cannot be passed on.
    #[error("cluster.slurm.sbatch_args {argument:?}: {why}")]
    Argument {
        /// The option as it was given.
        argument: String,
        /// Why not, and what to use instead.
        why: String,
    },
    /// The template is not one.
    #[error("the batch script's template {0}")]
    Template(String),
}

impl BatchJob {
    /// The batch script.
    pub fn script(&self) -> Result<String, BatchError> {
        for (setting, path) in [
            ("the mailbox's root", &self.root),
            ("the path of the codeswarm program", &self.worker),
            ("the path of the launch file", &self.launch_file),
        ] {
            check_path(setting, path)?;
        }
        if self.root.contains('\\') {
            // In the name of an output file it would switch off %j, sbatch(1), FILENAME PATTERN.
            return Err(refused(
                "the mailbox's root",
                &self.root,
                "has a backslash, which sbatch takes for its own",
            ));
        }
        let directives = self.directives()?;
        let value = |name: &str| {
            Some(match name {
                "directives" => directives.clone(),
                "worker" => for_shell(&self.worker),
                "root" => for_shell(&self.root),
                "launch_file" => for_shell(&self.launch_file),
                "srun_options" => arguments::for_srun(&self.sbatch_args),
                "swarm_id" => self.swarm_id.to_string(),
                _ => return None,
            })
        };
        template::fill(self.template.as_deref().unwrap_or(TEMPLATE), value).map_err(BatchError::Template)
    }

    /// The call that submits it. [`read_submitted`] reads its answer.
    pub fn submit(&self) -> Result<Call, BatchError> {
        let set = |value: &Option<String>, name| value.as_ref().map(|_| name);
        let mut unset = OPTIONS.to_vec();
        unset.extend(
            [
                set(&self.partition, "SBATCH_PARTITION"),
                set(&self.account, "SBATCH_ACCOUNT"),
                set(&self.qos, "SBATCH_QOS"),
                set(&self.time_limit, "SBATCH_TIMELIMIT"),
                set(&self.constraint, "SBATCH_CONSTRAINT"),
                set(&self.gres, "SBATCH_GRES"),
            ]
            .into_iter()
            .flatten(),
        );
        Ok(Call::new("sbatch", ["--parsable"])
            .reading(self.script()?)
            .without(&unset))
    }

    fn directives(&self) -> Result<String, BatchError> {
        let (nodes, per_node) = (self.node_count, self.agents_per_node);
        let tasks = u64::from(nodes) * u64::from(per_node);
        if !(1..=MOST_TASKS).contains(&tasks) {
            return Err(BatchError::Count {
                nodes,
                agents_per_node: per_node,
            });
        }
        // In names of output files, and only there, a percent sign is Slurm's.
        let runs = format!("{}/runs", self.root.trim_end_matches('/').replace('%', "%%"));
        let mut options = vec![
            format!("--job-name={JOB_NAME}"),
            format!("--comment={}", comment(&self.swarm_id)),
            format!("--nodes={nodes}"),
            format!("--ntasks={tasks}"),
            format!("--ntasks-per-node={per_node}"),
            format!("--signal=TERM@{SIGNAL_SECONDS}"),
            "--requeue".to_owned(),
            "--open-mode=append".to_owned(),
            format!("--output={runs}/%j.out"),
            format!("--error={runs}/%j.err"),
            format!("--chdir={}", self.root),
        ];
        for (setting, option, value) in self.settings() {
            if let Some(value) = value {
                check_value(setting, value)?;
                options.push(format!("--{option}={value}"));
            }
        }
        for argument in &self.sbatch_args {
            let taken = |option: &str| {
                self.settings()
                    .iter()
                    .any(|(_, of, value)| *of == option && value.is_some())
            };
            arguments::check(argument, taken).map_err(|why| BatchError::Argument {
                argument: argument.clone(),
                why,
            })?;
            options.push(argument.clone());
        }
        let lines: Vec<_> = options
            .iter()
            .map(|option| format!("#SBATCH {}", for_directive(option)))
            .collect();
        Ok(lines.join("\n"))
    }

    fn settings(&self) -> [(&'static str, &'static str, &Option<String>); 6] {
        [
            ("cluster.slurm.partition", "partition", &self.partition),
            ("cluster.slurm.account", "account", &self.account),
            ("cluster.slurm.qos", "qos", &self.qos),
            ("cluster.slurm.time_limit", "time", &self.time_limit),
            ("cluster.slurm.constraint", "constraint", &self.constraint),
            ("cluster.slurm.gres", "gres", &self.gres),
        ]
    }
}

/// Options that sbatch takes from its environment, where they win over the script's (sbatch(1), INPUT ENVIRONMENT
/// VARIABLES), and that would contradict it.
const OPTIONS: &[&str] = &[
    "SBATCH_ARRAY_INX",
    "SBATCH_CLUSTERS",
    "SBATCH_DISTRIBUTION",
    "SBATCH_ERROR",
    "SBATCH_INPUT",
    "SBATCH_JOB_NAME",
    "SBATCH_NO_REQUEUE",
    "SBATCH_OPEN_MODE",
    "SBATCH_OUTPUT",
    "SBATCH_REQUEUE",
    "SBATCH_SIGNAL",
    "SBATCH_WAIT",
    "SLURM_CLUSTERS",
];

const COMMENT_PREFIX: &str = "codeswarm:";

/// The job's comment.
fn comment(swarm_id: &SwarmId) -> String {
    format!("{COMMENT_PREFIX}{swarm_id}")
}

/// The swarm that a job's comment names.
pub(crate) fn swarm_of(comment: &str) -> Option<SwarmId> {
    SwarmId::new(comment.strip_prefix(COMMENT_PREFIX)?.trim()).ok()
}

/// Reads what [`BatchJob::submit`] brought: `272900`, or `272900;cluster`, with whatever a login shell prints around it.
/// [`SlurmError::may_have_happened`] tells whether a job may exist all the same; [`crate::queue::search`] finds it then.
pub fn read_submitted(answer: &Answer) -> Result<JobId, SlurmError> {
    let out = answer.out();
    let number = |line: &str| {
        let id = line.trim().split(';').next().unwrap_or_default();
        let digits = !id.is_empty() && id.bytes().all(|b| b.is_ascii_digit());
        digits.then(|| JobId::new(id).ok()).flatten()
    };
    // Without an exit code the number counts as well: sbatch prints it when the job is in the queue.
    match (answer.exit_code, out.lines().rev().find_map(number)) {
        (Some(0) | None, Some(job_id)) => Ok(job_id),
        _ => Err(SlurmError::read("sbatch", answer)),
    }
}

fn refused(setting: &'static str, value: &str, why: &'static str) -> BatchError {
    BatchError::Value {
        setting,
        value: value.to_owned(),
        why,
    }
}

fn check_value(setting: &'static str, value: &str) -> Result<(), BatchError> {
    if value.trim().is_empty() {
        return Err(refused(
            setting,
            value,
            "is empty; leave it out for the cluster's default",
        ));
    }
    if value.contains(char::is_control) {
        return Err(refused(setting, value, "has a control character"));
    }
    Ok(())
}

fn check_path(setting: &'static str, path: &str) -> Result<(), BatchError> {
    if !path.starts_with('/') {
        return Err(refused(setting, path, "is not an absolute path"));
    }
    check_value(setting, path)
}
