//! What Slurm's commands say when they do not do what was asked.

use codeswarm_protocol::JobId;

use crate::call::Answer;
use crate::error::words::{LATER, MAYBE_DONE, REFUSED};

mod words;

/// Which of our settings a refusal is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Setting {
    /// `cluster.slurm.partition`
    Partition,
    /// `cluster.slurm.account`
    Account,
    /// `cluster.slurm.qos`
    Qos,
    /// `cluster.slurm.time_limit`
    TimeLimit,
    /// `cluster.slurm.constraint`
    Constraint,
    /// `cluster.slurm.gres`
    Gres,
    /// The number of nodes of the launch.
    Nodes,
    /// `cluster.slurm.sbatch_args`
    SbatchArgs,
    /// The batch script's template.
    Template,
    /// Together they ask for more than any node has.
    NodeShape,
    /// A limit of the person's, the account's or the QOS's.
    Limits,
}

impl Setting {
    /// Where it is set.
    pub fn name(self) -> &'static str {
        match self {
            Self::Partition => "cluster.slurm.partition",
            Self::Account => "cluster.slurm.account",
            Self::Qos => "cluster.slurm.qos",
            Self::TimeLimit => "cluster.slurm.time_limit",
            Self::Constraint => "cluster.slurm.constraint",
            Self::Gres => "cluster.slurm.gres",
            Self::Nodes => "the number of nodes",
            Self::SbatchArgs => "cluster.slurm.sbatch_args",
            Self::Template => "the batch script's template",
            Self::NodeShape => "cluster.slurm",
            Self::Limits => "the limits of the account or QOS",
        }
    }

    /// What to do when Slurm refuses it.
    pub fn advice(self) -> &'static str {
        match self {
            Self::Partition => "`sinfo -s` lists the partitions; set cluster.slurm.partition to one that you may use",
            Self::Account => {
                "`sacctmgr show associations user=$USER format=account,partition,qos` lists yours; set \
                 cluster.slurm.account to one of them"
            }
            Self::Qos => {
                "`sacctmgr show qos format=name` lists them; set cluster.slurm.qos to one that your account may use"
            }
            Self::TimeLimit => "`sinfo -o '%P %l'` shows each partition's longest time; lower cluster.slurm.time_limit",
            Self::Constraint => "`sinfo -o '%P %f'` lists the nodes' features; correct cluster.slurm.constraint",
            Self::Gres => "`sinfo -o '%P %G'` lists the nodes' generic resources; correct cluster.slurm.gres",
            Self::Nodes => "ask for fewer nodes; `sinfo -s` shows how many each partition has",
            Self::SbatchArgs => {
                "correct the option in cluster.slurm.sbatch_args; `sbatch --help` lists what this cluster takes"
            }
            Self::Template => "correct the template, or leave it out to use the one that comes with codeswarm",
            Self::NodeShape => {
                "no node of the partition has all that is asked of one; compare agents_per_node, gres, constraint and \
                 sbatch_args with `sinfo -o '%P %D %c %m %G %f'`, or ask for fewer nodes"
            }
            Self::Limits => {
                "ask for less (nodes, time), wait until other jobs have ended, or use another cluster.slurm.account or qos"
            }
        }
    }
}

/// Why a command did not do what was asked. [`SlurmError::advice`] says what to do; the message holds both.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SlurmError {
    /// slurmctld answered: it does not know the job. Either it never was, or it ended longer ago than `MinJobAge`.
    #[error("Slurm does not know the job ({said}); {}", self.advice())]
    NoSuchJob {
        /// Slurm's words.
        said: String,
    },
    /// slurmctld did not answer. It says nothing about any job.
    #[error("{command} got no answer from Slurm's controller ({said}); {}", self.advice())]
    Unreachable {
        /// Which command.
        command: &'static str,
        /// Slurm's words.
        said: String,
        /// The request may have arrived, only its answer was lost: a job may have been submitted or cancelled.
        may_have_happened: bool,
    },
    /// Slurm will not have it as it is.
    #[error("{command} was refused{}: {said}; {}", about(*setting), self.advice())]
    Refused {
        /// Which command.
        command: &'static str,
        /// Which setting of ours it is about, where Slurm's words tell.
        setting: Option<Setting>,
        /// Slurm's words.
        said: String,
    },
    /// The command is not there (exit code 127) or cannot be run (126).
    #[error("{command} cannot be run on the login node ({said}); {}", self.advice())]
    MissingCommand {
        /// Which command.
        command: &'static str,
        /// What the shell said.
        said: String,
    },
    /// The id is no job number, so Slurm was not asked.
    #[error("{job_id} is not a job of Slurm; {}", self.advice())]
    NotASlurmJob {
        /// The id.
        job_id: JobId,
    },
    /// None of these.
    #[error("{command} {}{}; {}", ended(*exit_code), saying(said), self.advice())]
    Unclear {
        /// Which command.
        command: &'static str,
        /// How it ended; absent when it was killed or the connection broke.
        exit_code: Option<i32>,
        /// What it printed.
        said: String,
    },
}

fn about(setting: Option<Setting>) -> String {
    setting.map_or_else(String::new, |setting| format!(" over {}", setting.name()))
}

fn ended(exit_code: Option<i32>) -> String {
    exit_code.map_or_else(
        || "did not come to its end".to_owned(),
        |code| format!("ended with exit code {code}"),
    )
}

fn saying(said: &str) -> String {
    if said.is_empty() {
        " and said nothing".to_owned()
    } else {
        format!(": {said}")
    }
}

impl SlurmError {
    /// What to do now.
    pub fn advice(&self) -> &'static str {
        match self {
            Self::NoSuchJob { .. } => {
                "it has ended (Slurm forgets a job some minutes after its end), or the id is wrong"
            }
            Self::Unreachable {
                may_have_happened: true,
                ..
            } => "it may nevertheless have been done: look (`squeue --me`) before trying again",
            Self::Unreachable { .. } => "nothing follows for any job; try again later, and see `scontrol ping`",
            Self::Refused {
                setting: Some(setting), ..
            } => setting.advice(),
            Self::Refused { .. } => {
                "change what Slurm names in the cluster.slurm section, or ask the cluster's operators"
            }
            Self::MissingCommand { .. } => {
                "Slurm's commands must be on the PATH of a non-interactive shell there: try `ssh <login_alias> which sbatch`, \
                 and set PATH in ~/.bashrc above any line that returns early"
            }
            Self::NotASlurmJob { .. } => "give the job's number, as squeue's JOBID column shows it",
            Self::Unclear { .. } => "run the same command on the login node by hand; if that works, try again",
        }
    }

    /// Whether the same call may succeed later without anybody changing anything.
    pub fn may_pass(&self) -> bool {
        matches!(self, Self::Unreachable { .. } | Self::Unclear { .. })
    }

    /// Whether what was asked may have been done although this came back.
    pub fn may_have_happened(&self) -> bool {
        match self {
            Self::Unreachable { may_have_happened, .. } => *may_have_happened,
            // A program that says itself that it failed (a site's own filter refuses in its own words, say) has failed; one
            // that was killed, or succeeded without a word, may have been through.
            Self::Unclear { exit_code, .. } => !matches!(exit_code, Some(1..128 | 255)),
            _ => false,
        }
    }

    /// Reads a failure: `command` ended with something else than 0, or printed something that shows that it failed.
    pub fn read(command: &'static str, answer: &Answer) -> Self {
        let said = said(answer);
        let lower = said.to_ascii_lowercase();
        let has = |words: &[&str]| words.iter().any(|words| lower.contains(words));
        if matches!(answer.exit_code, Some(126 | 127)) && !has(LATER) {
            return Self::MissingCommand { command, said };
        }
        if has(LATER) {
            let may_have_happened = has(MAYBE_DONE);
            return Self::Unreachable {
                command,
                said,
                may_have_happened,
            };
        }
        if command != "sbatch" && lower.contains("invalid job id specified") {
            return Self::NoSuchJob { said };
        }
        // Slurm's last word is its verdict; a line before it often names the option.
        if let Some((_, setting)) = REFUSED.iter().find(|(words, _)| lower.contains(words)) {
            return Self::Refused {
                command,
                setting: *setting,
                said,
            };
        }
        let exit_code = answer.exit_code;
        Self::Unclear {
            command,
            exit_code,
            said,
        }
    }
}

/// What a person should read: the lines of stderr, or else of stdout, as one line of bounded length.
fn said(answer: &Answer) -> String {
    const LONGEST: usize = 600;
    let text = if answer.stderr.iter().all(u8::is_ascii_whitespace) {
        answer.out()
    } else {
        answer.err()
    };
    let clean = |line: &str| -> String { line.trim().chars().filter(|c| !c.is_control()).collect() };
    let lines: Vec<String> = text.lines().map(clean).filter(|line| !line.is_empty()).collect();
    let joined = lines.join(" / ");
    let length = joined.chars().count();
    if length <= LONGEST {
        return joined;
    }
    // A long banner may stand before it: the end is what counts.
    let tail: String = joined.chars().skip(length - LONGEST).collect();
    format!("…{tail}")
}

#[cfg(test)]
mod tests;
