//! A Slurm that knows its jobs, and answers late, wrongly or not at all.

use std::collections::BTreeMap;

use codeswarm_protocol::JobId;
use codeswarm_router::core::{Errand, NotAnswered};
use codeswarm_slurm::{Answer, Call};

/// How a job is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Life {
    /// It waits for nodes.
    Waits,
    /// Its workers run.
    Runs,
    /// It is over, with this word.
    Over(&'static str),
    /// It is over, and the controller has forgotten it.
    Forgotten,
}

impl Life {
    fn word(self) -> Option<&'static str> {
        match self {
            Self::Waits => Some("PENDING"),
            Self::Runs => Some("RUNNING"),
            Self::Over(word) => Some(word),
            Self::Forgotten => None,
        }
    }
}

/// One job.
#[derive(Debug, Clone)]
pub struct Job {
    /// Whose; it stands in the comment.
    pub swarm_id: String,
    /// How it is.
    pub life: Life,
    /// How often it was run again.
    pub restarts: u32,
    /// How many nodes it has.
    pub nodes: u32,
    /// It does not run, or is not forgotten, before this time, in milliseconds.
    pub held_until: u64,
}

/// What a command beside Slurm makes happen to a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Happens {
    /// Nothing.
    Nothing,
    /// SIGTERM to its workers.
    Signal(JobId),
    /// It is cancelled.
    Cancel(JobId),
}

/// All jobs.
#[derive(Debug, Default)]
pub struct Slurm {
    /// By number.
    pub jobs: BTreeMap<String, Job>,
    /// The last number given.
    pub last: u32,
    /// How many nodes the jobs of this cluster have.
    pub nodes: u32,
}

/// What a command prints.
pub fn says(exit_code: i32, stdout: &str, stderr: &str) -> Result<Answer, NotAnswered> {
    Ok(Answer {
        exit_code: Some(exit_code),
        stdout: stdout.into(),
        stderr: stderr.into(),
    })
}

/// The command has no answer.
pub fn no_answer(may_have_run: bool) -> Result<Answer, NotAnswered> {
    Err(NotAnswered {
        may_have_run,
        error: "the link broke".to_owned(),
    })
}

impl Slurm {
    fn line(&self, id: &str) -> Option<String> {
        let job = self.jobs.get(id)?;
        let (state, nodes) = (job.life.word()?, job.nodes);
        Some(format!(
            "{id}|{state}|{nodes}|n[0-7]|N/A|N/A|codeswarm:{}|None\n",
            job.swarm_id
        ))
    }

    /// A command runs.
    pub fn run(&mut self, errand: &Errand, call: &Call) -> (Result<Answer, NotAnswered>, Happens) {
        let named = call.arguments.last().cloned().unwrap_or_default();
        let answer = match errand {
            Errand::Submit(swarm_id) => {
                let twice = self.jobs.values().any(|job| job.swarm_id == swarm_id.as_str());
                assert!(!twice, "P2: {swarm_id} is submitted twice");
                self.last += 1;
                let job = Job {
                    swarm_id: swarm_id.to_string(),
                    life: Life::Waits,
                    restarts: 0,
                    nodes: self.nodes,
                    held_until: 0,
                };
                self.jobs.insert(self.last.to_string(), job);
                says(0, &format!("{}\n", self.last), "")
            }
            Errand::Find(_) => {
                let lines: String = self.jobs.keys().filter_map(|id| self.line(id)).collect();
                says(0, &lines, "")
            }
            Errand::Queue(jobs, _) => {
                let lines: String = jobs.iter().filter_map(|id| self.line(id.as_str())).collect();
                says(0, &lines, "")
            }
            Errand::Announce(_) | Errand::Show(..) => match self.jobs.get(&named) {
                Some(job) if job.life != Life::Forgotten => {
                    let line = format!(
                        "JobId={named} JobName=codeswarm UserId=me(1) JobState={} Reason=None Dependency=(null) Requeue=1 \
                         Restarts={} BatchFlag=1 Reboot=0 ExitCode=0:0 NumNodes={} NumCPUs=2 NumTasks={} \
                         NodeList=(null)\n",
                        job.life.word().unwrap_or("UNKNOWN"),
                        job.restarts,
                        job.nodes,
                        job.nodes
                    );
                    says(0, &line, "")
                }
                _ => says(1, "", "slurm_load_jobs error: Invalid job id specified\n"),
            },
            Errand::Signal(job) => return (says(0, "", ""), Happens::Signal(job.clone())),
            Errand::Cancel(job) => return (says(0, "", ""), Happens::Cancel(job.clone())),
            Errand::Log(_) => says(0, "last words\n", ""),
            Errand::Hosts(..) | Errand::Idle(_) | Errand::Adopt(_) => says(0, "n0\nn1\n", ""),
        };
        (answer, Happens::Nothing)
    }
}
