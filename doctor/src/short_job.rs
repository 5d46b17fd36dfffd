//! One short job of one node: the very batch script of a launch, with a probe in the place of the worker.

use std::time::{Duration, Instant};

use codeswarm_link::LoginNode;
use codeswarm_protocol::{JobId, SwarmId};
use codeswarm_router::core;
use codeswarm_slurm::ending::{Waiting, waiting};
use codeswarm_slurm::{Job, Phase, batch, cancel, job, time_limit, trial};

use crate::check::{Name, Verdict};
use crate::cluster::{IN_JOB, Reached};
use crate::facts::{Ask, ExchangeFacts, WorkspaceFacts};
use crate::judge::{self, node::EXCHANGE_SECONDS, span};
use crate::login::{self, ASKING};
use crate::probe::folder::{Cleaned, Prepared, new_name};
use crate::run::Doctor;

/// How long the job asks for, in minutes; less where the partition or the configuration allows less.
const MINUTES: u64 = 5;

/// How long tidying up may take.
const TIDYING: Duration = Duration::from_secs(20);

/// What is on the cluster because of us.
#[derive(Debug, Clone)]
pub struct LeftBehind {
    node: LoginNode,
    program: String,
    root: String,
    exchange: String,
    job: Option<JobId>,
    /// Whether the job may still run or wait.
    goes_on: bool,
}

/// How the waiting for the job's start ended.
enum Start {
    Runs,
    Over(Box<Job>),
    StillWaits(Box<Job>),
    Unknown(Verdict),
}

impl Doctor<'_> {
    pub(crate) async fn short_job(&mut self, reached: &Reached<'_>, program: &str, workspace: &WorkspaceFacts) {
        self.begin(Name::ShortJob);
        let began = Instant::now();
        let job_id = match self.submit(reached, program).await {
            Ok(job_id) => job_id,
            Err(verdict) => {
                self.end(Name::ShortJob, verdict);
                return self.skip(&IN_JOB, "there was no job");
            }
        };
        match self.started(&reached.node, &job_id, began).await {
            Start::Runs => {}
            Start::Over(job) => return self.failed(&job).await,
            Start::StillWaits(job) => {
                let verdict = still_waits(&job, self.plan.wait);
                self.end(Name::ShortJob, verdict);
                return self.skip(&IN_JOB, "the short job got no node");
            }
            Start::Unknown(verdict) => {
                self.end(Name::ShortJob, verdict);
                return self.skip(&IN_JOB, "what became of the short job is not known");
            }
        }
        match self.exchange(reached, program, &job_id).await {
            Ok(seen) => self.told(reached, workspace, &job_id, &seen, began).await,
            Err(Broken::Job(job)) => self.failed(&job).await,
            Err(Broken::Probe(verdict)) => {
                self.end(Name::ShortJob, verdict);
                self.skip(&IN_JOB, "the login node's end of the exchange failed");
            }
        }
    }

    /// Prepares the exchange and submits.
    async fn submit(&mut self, reached: &Reached<'_>, program: &str) -> Result<JobId, Verdict> {
        let (node, root) = (&reached.node, &reached.slurm.root);
        let exchange = new_name();
        let ask = Ask {
            nonce: exchange.clone(),
            program: program.to_owned(),
            agent: reached.config.agent.clone(),
            patience_seconds: EXCHANGE_SECONDS,
        };
        let text = serde_json::to_vec(&ask).map_err(|error| Verdict::failure(error.to_string(), "please report it"))?;
        self.left = Some(LeftBehind {
            node: node.clone(),
            program: program.to_owned(),
            root: root.clone(),
            exchange: exchange.clone(),
            job: None,
            goes_on: false,
        });
        let arguments = ["prepare", "--root", root, "--exchange", &exchange];
        let prepared: Prepared = login::probe(node, program, &arguments, text, ASKING).await?;
        let swarm_id =
            SwarmId::new(&exchange).map_err(|error| Verdict::failure(error.to_string(), "please report it"))?;
        let job = codeswarm_slurm::BatchJob {
            launch_file: prepared.launch_file,
            ..core::batch_job(&reached.slurm.section, &reached.slurm, &swarm_id, &prepared.worker)
        };
        let call = trial::submit(&job, minutes(reached.slurm.section.time_limit.as_deref(), self.longest))
            .map_err(|error| Verdict::failure(error.to_string(), "correct the cluster.slurm section"))?;
        let job_id = login::slurm(node, &call, batch::read_submitted).await?;
        if let Some(left) = &mut self.left {
            left.job = Some(job_id.clone());
            left.goes_on = true;
        }
        Ok(job_id)
    }

    /// Waits until it runs, is over, or has waited long enough.
    async fn started(&self, node: &LoginNode, job_id: &JobId, began: Instant) -> Start {
        let mut pause = Duration::from_millis(300);
        loop {
            let seen = match show(node, job_id).await {
                Ok(seen) => seen,
                Err(verdict) => return Start::Unknown(verdict),
            };
            match seen.state.phase() {
                Phase::Running => return Start::Runs,
                Phase::Ending | Phase::Completed | Phase::Failed => return Start::Over(Box::new(seen)),
                Phase::Waiting | Phase::Unknown if began.elapsed() >= self.plan.wait => {
                    return Start::StillWaits(Box::new(seen));
                }
                Phase::Waiting | Phase::Unknown => {}
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 3 / 2).min(Duration::from_secs(3));
        }
    }

    /// The login node's end of the exchange, while the job is watched.
    async fn exchange(&self, reached: &Reached<'_>, program: &str, job_id: &JobId) -> Result<ExchangeFacts, Broken> {
        let Some(left) = &self.left else {
            return Err(Broken::Probe(Verdict::skipped("nothing was prepared")));
        };
        let seconds = EXCHANGE_SECONDS.to_string();
        let arguments = [
            "attend",
            "--root",
            &left.root,
            "--exchange",
            &left.exchange,
            "--seconds",
            &seconds,
        ];
        let deadline = Duration::from_secs(EXCHANGE_SECONDS) + ASKING;
        let attend = login::probe::<ExchangeFacts>(&reached.node, program, &arguments, Vec::new(), deadline);
        tokio::pin!(attend);
        loop {
            tokio::select! {
                seen = &mut attend => return seen.map_err(Broken::Probe),
                () = tokio::time::sleep(Duration::from_secs(2)) => {}
            }
            let seen = tokio::select! {
                seen = &mut attend => return seen.map_err(Broken::Probe),
                seen = show(&reached.node, job_id) => seen,
            };
            if let Ok(job) = seen
                && job.state.phase() == Phase::Failed
            {
                return Err(Broken::Job(Box::new(job)));
            }
        }
    }

    /// What both ends have told.
    async fn told(
        &mut self,
        reached: &Reached<'_>,
        workspace: &WorkspaceFacts,
        job_id: &JobId,
        seen: &ExchangeFacts,
        began: Instant,
    ) {
        let Some(node) = &seen.node else {
            // It may be the job's own end that kept the node silent.
            if let Ok(job) = show(&reached.node, job_id).await
                && matches!(job.state.phase(), Phase::Failed | Phase::Completed)
            {
                return self.failed(&job).await;
            }
            self.end(Name::ShortJob, Verdict::ok(format!("job {job_id} has started")));
            let verdict = Verdict::failure(
                format!(
                    "nothing that job {job_id} writes into the workspace is seen on the login node in {EXCHANGE_SECONDS} s"
                ),
                "are both on the same filesystem? Compare `df` of cluster.workspace_root on the login node and in a job",
            );
            self.end(Name::SharedFilesystem, verdict);
            return self.skip(&IN_JOB, "the node was not heard");
        };
        if let Some(left) = &mut self.left {
            left.goes_on = false;
        }
        let whose = node.node.as_deref().unwrap_or(&node.host).to_owned();
        self.end(
            Name::ShortJob,
            Verdict::ok(format!(
                "job {job_id} ran our program on {whose}, {} after it was submitted",
                span(began.elapsed().as_secs_f64())
            )),
        );
        let (agent, host) = (&reached.config.agent, &node.host_facts);
        self.end(
            Name::SharedFilesystem,
            judge::node::shared_filesystem(seen, node, workspace),
        );
        self.end(Name::ComputeNode, judge::node::compute_node(seen, node));
        self.end(
            Name::Agent,
            judge::node::agent(agent.kind.as_str(), &whose, &host.agent),
        );
        self.end(Name::Credentials, judge::node::credentials(&whose, &host.agent));
        self.end(
            Name::ModelEndpoint,
            judge::node::model_endpoint(&whose, host.endpoint.as_ref()),
        );
        if codeswarm_agents::preflight::needs_user_namespaces(agent) {
            self.end(Name::Sandbox, judge::node::sandbox(&whose, host.user_namespaces));
        }
    }

    /// The job is over and the probe has not told anything.
    async fn failed(&mut self, job: &Job) {
        let mut errors = String::new();
        if let Some(left) = &mut self.left {
            left.goes_on = false;
            errors = left.clean().await.map(|cleaned| cleaned.errors).unwrap_or_default();
            self.left = None;
        }
        self.end(Name::ShortJob, ended(job, &errors));
        self.skip(&IN_JOB, "the short job failed");
    }

    /// Cancels and removes what is left.
    pub(crate) async fn tidy_up(&mut self) {
        let Some(left) = self.left.take() else { return };
        if left.goes_on
            && let Some(job) = &left.job
            && let Ok(call) = cancel::cancel(job)
        {
            // Whether it took is not ours to wait for: the job's own end is near.
            let _over = tokio::time::timeout(TIDYING, login::slurm(&left.node, &call, cancel::read)).await;
        }
        let _may_stay = left.clean().await;
    }
}

/// Why an exchange came to nothing.
enum Broken {
    Job(Box<Job>),
    Probe(Verdict),
}

impl LeftBehind {
    async fn clean(&self) -> Result<Cleaned, Verdict> {
        let mut arguments = vec!["clean", "--root", &self.root, "--exchange", &self.exchange];
        if let Some(job) = &self.job {
            arguments.extend(["--job-id", job.as_str()]);
        }
        login::probe(&self.node, &self.program, &arguments, Vec::new(), TIDYING).await
    }
}

async fn show(node: &LoginNode, job_id: &JobId) -> Result<Job, Verdict> {
    let call = job::show(job_id).map_err(|error| judge::slurm_error(&error))?;
    login::slurm(node, &call, |answer| job::read(job_id, answer)).await
}

/// How many minutes to ask for, so that the job fits into a gap; `None`: what a launch would have.
fn minutes(limit: Option<&str>, longest: Option<u64>) -> Option<u64> {
    let limits = [limit.and_then(time_limit::seconds), longest];
    let least = limits.into_iter().flatten().map(|seconds| seconds / 60).min();
    let minutes = least.map_or(MINUTES, |least| least.min(MINUTES));
    (minutes > 0).then_some(minutes)
}

/// It waits, and we do not want to any more.
fn still_waits(job: &Job, waited: Duration) -> Verdict {
    let reason = job.reason.as_deref().unwrap_or("None");
    let seen = |told: &str| {
        format!(
            "the queue is full now: job {} still waits after {} ({reason}: {told}), and was cancelled",
            job.job_id,
            span(waited.as_secs_f64())
        )
    };
    match waiting(reason) {
        Waiting::Somebody(told) => {
            Verdict::failure(format!("job {} would not start by itself ({reason})", job.job_id), told)
        }
        Waiting::ItsTurn(told) => Verdict::warning(
            seen(told),
            "a launch waits likewise; try again later, or with a longer --wait",
        ),
        Waiting::Unknown => Verdict::warning(
            seen("Slurm's word"),
            "`squeue --start` may tell when; try again with a longer --wait",
        ),
    }
}

/// It is over, and its probe told nothing.
fn ended(job: &Job, errors: &str) -> Verdict {
    let (sentence, advice) = match job.ending() {
        Some(sentence) => match sentence.split_once("; ") {
            Some((what, todo)) => (what.to_owned(), todo.to_owned()),
            None => (sentence, String::new()),
        },
        None => (format!("{}: it is ending", job.state), String::new()),
    };
    let ours = |line: &&str| line.contains("codeswarm") && !line.contains(" starts on ");
    let lines: Vec<&str> = errors.lines().collect();
    let telling = lines.iter().copied().rfind(ours).or(lines.last().copied());
    let said = telling.map_or(String::new(), |line| format!("; it said: {}", line.trim()));
    let advice = if advice.is_empty() {
        "is the workspace mounted on the compute nodes under the same path? Try `srun ls` of cluster.workspace_root"
            .to_owned()
    } else {
        advice
    };
    Verdict::failure(format!("job {} came to nothing: {sentence}{said}", job.job_id), advice)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Status;

    fn job(fields: &str) -> Job {
        Job::parse(&format!("JobId=7 JobName=codeswarm-doctor UserId=a(1) {fields}")).unwrap()
    }

    #[test]
    fn a_full_queue_is_no_failure_and_a_hopeless_wait_is_one() {
        let wait = Duration::from_secs(60);
        let full = still_waits(&job("JobState=PENDING Reason=Resources"), wait);
        assert_eq!(full.status, Status::Warning);
        assert!(full.seen.contains("job 7 still waits after 60.0 s"), "{full:?}");
        let closed = still_waits(&job("JobState=PENDING Reason=PartitionDown"), wait);
        assert_eq!(closed.status, Status::Failure);
        assert_eq!(
            still_waits(&job("JobState=PENDING Reason=Odd"), wait).status,
            Status::Warning
        );
    }

    #[test]
    fn a_job_that_failed_is_told_with_its_last_words() {
        let failed = job("JobState=FAILED Reason=NonZeroExitCode ExitCode=78:0");
        let errors =
            "codeswarm: job 7 of swarm x starts on n\ncodeswarm: there is no program /w/x on n\nsrun: error: n: task 0";
        let verdict = ended(&failed, errors);
        assert!(verdict.seen.contains("there is no program /w/x"), "{verdict:?}");
        let launch = job("JobState=FAILED Reason=JobLaunchFailure ExitCode=0:53");
        let verdict = ended(&launch, "");
        assert!(verdict.seen.contains("not mounted on the compute node"), "{verdict:?}");
    }

    #[test]
    fn it_asks_for_little_time_unless_it_has_less() {
        assert_eq!(minutes(Some("02:00:00"), Some(60)), Some(1));
        assert_eq!(minutes(Some("3"), None), Some(3));
        assert_eq!(minutes(None, None), Some(5));
        assert_eq!(minutes(Some("UNLIMITED"), Some(59)), None);
    }
}
