//! A launch on its way to Slurm, which is a swarm only when there is a job. At most one job comes of it, whatever dies in
//! between: a job carries the swarm's id in its comment, by which it is found again when the answer of `sbatch` was lost. The
//! steps are in `submitting`.

use std::time::Duration;

use codeswarm_configs::SlurmSection;
use codeswarm_protocol::frame::Downward;
use codeswarm_protocol::launch::LaunchSpec;
use codeswarm_protocol::{JobId, Rejection, RequestId, SwarmId};
use codeswarm_slurm::{BatchJob, Call, batch};
use serde::{Deserialize, Serialize};

use super::answer::{Asker, reject};
use super::model::{Awaited, Swarm};
use super::{Change, Context, Core, SlurmSettings, Timer};

/// How long a launch may wait for the link before it is refused.
pub(super) const PATIENCE: Duration = Duration::from_secs(120);

/// How far a launch is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// Nothing was handed to Slurm; it is as if nobody had asked.
    Waiting,
    /// Handed to sbatch; whether there is a job is not known.
    Submitting,
    /// There is a job.
    Submitted(JobId),
}

/// A launch that is no swarm yet.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Submission {
    /// The swarm to be; its job's name is a stand-in.
    pub swarm: Swarm,
    /// What is asked of Slurm.
    pub slurm: SlurmSection,
    /// How many nodes of the cluster.
    pub cluster_nodes: u32,
    /// Refuse instead of waiting.
    pub immediate: bool,
    /// The command, for telling a repeat from another one.
    pub fingerprint: String,
    /// How far it is.
    pub stage: Stage,
    #[serde(skip)]
    pub(super) asker: Option<Asker>,
    #[serde(skip)]
    pub(super) deadline: Duration,
    #[serde(skip)]
    pub(super) under_way: bool,
    #[serde(skip)]
    pub(super) searches: usize,
    /// How often in a row squeue did not tell.
    #[serde(skip)]
    pub(super) unanswered: u32,
    /// Who asked was told why it waits.
    #[serde(skip)]
    pub(super) told_waiting: bool,
    /// No job was found: told as soon as none that turns up later can run.
    #[serde(skip)]
    pub(super) given_up: Option<Rejection>,
}

impl Submission {
    pub(super) fn new(
        swarm: Swarm,
        slurm: SlurmSection,
        cluster_nodes: u32,
        immediate: bool,
        fingerprint: String,
        asker: Asker,
    ) -> Self {
        Self {
            swarm,
            slurm,
            cluster_nodes,
            immediate,
            fingerprint,
            stage: Stage::Waiting,
            asker: Some(asker),
            deadline: Duration::ZERO,
            under_way: false,
            searches: 0,
            unanswered: 0,
            told_waiting: false,
            given_up: None,
        }
    }

    /// One as it is stored.
    #[cfg(test)]
    pub(crate) fn stored(swarm: Swarm, slurm: SlurmSection, stage: Stage) -> Self {
        let asker = Asker::nobody(None);
        let new = Self::new(swarm, slurm, 1, false, "1-ff".to_owned(), asker);
        Self {
            stage,
            asker: None,
            ..new
        }
    }

    /// What is handed to sbatch, checked whole.
    pub(super) fn batch_job(&self, settings: &SlurmSettings, binary: &str) -> Result<Call, batch::BatchError> {
        let job = BatchJob {
            node_count: self.cluster_nodes,
            agents_per_node: self.swarm.job.as_ref().map_or(1, |job| job.agents_per_node),
            ..batch_job(&self.slurm, settings, &self.swarm.swarm_id, binary)
        };
        job.submit()
    }
}

/// What is asked of Slurm for one node and one worker of a swarm with these settings; the doctor asks for the same.
pub fn batch_job(slurm: &SlurmSection, settings: &SlurmSettings, swarm_id: &SwarmId, binary: &str) -> BatchJob {
    BatchJob {
        node_count: 1,
        agents_per_node: 1,
        partition: slurm.partition.clone(),
        account: slurm.account.clone(),
        qos: slurm.qos.clone(),
        time_limit: slurm.time_limit.clone(),
        constraint: slurm.constraint.clone(),
        gres: slurm.gres.clone(),
        sbatch_args: slurm.sbatch_args.clone(),
        root: settings.root.clone(),
        worker: binary.to_owned(),
        launch_file: format!("{}/launch/{swarm_id}.json", settings.root),
        template: settings.template.clone(),
        swarm_id: swarm_id.clone(),
    }
}

impl Core {
    /// Starts a launch on its way. What kept the link down before may have been mended: the attempt that is made now tells.
    pub(super) fn submit(&mut self, mut submission: Submission, context: &mut Context<'_>) {
        let swarm_id = submission.swarm.swarm_id.clone();
        submission.deadline = context.at.now + PATIENCE;
        self.timers
            .insert((submission.deadline, Timer::Submission(swarm_id.clone())));
        self.submissions.insert(swarm_id.clone(), submission);
        self.advance(&swarm_id, context);
    }

    /// The same request again while the first is still on its way: one launch, told to whoever asked last.
    pub(super) fn joins_submission(&mut self, asker: &Asker, fingerprint: &str) -> Option<Result<(), Rejection>> {
        let wanted = asker.request_id.as_ref()?;
        let under_way = self
            .submissions
            .values_mut()
            .find(|one| one.swarm.request_id.as_ref() == Some(wanted))?;
        if under_way.fingerprint != fingerprint {
            return Some(Err(super::commands::reused()));
        }
        under_way.asker = Some(asker.clone());
        Some(Ok(()))
    }

    /// Whether a launch of that name is still on its way to Slurm.
    pub(super) fn is_launch_under_way(&self, name: &RequestId) -> bool {
        let mut launches = self.submissions.values();
        launches.any(|one| one.swarm.request_id.as_ref() == Some(name))
    }

    /// Launches that an earlier life had handed to Slurm.
    pub(super) fn restore_submissions(&mut self, submissions: Vec<Submission>) {
        for submission in submissions {
            self.submissions.insert(submission.swarm.swarm_id.clone(), submission);
        }
    }

    pub(super) fn refuse_waiting_launches(&mut self, rejection: &Rejection, context: &mut Context<'_>) {
        let waiting = |one: &&Submission| one.stage == Stage::Waiting;
        let waiting: Vec<SwarmId> = self
            .submissions
            .values()
            .filter(waiting)
            .map(|one| one.swarm.swarm_id.clone())
            .collect();
        for swarm_id in waiting {
            self.refuse_launch(&swarm_id, rejection.clone(), context);
        }
    }

    /// Nothing came of it. Slurm was not asked, or has refused, so that its launch file is nobody's.
    pub(super) fn refuse_launch(&mut self, swarm_id: &SwarmId, rejection: Rejection, context: &mut Context<'_>) {
        if self
            .submissions
            .get(swarm_id)
            .is_some_and(|one| one.stage != Stage::Waiting)
        {
            self.withdraw(swarm_id, context);
        }
        self.end_refused(swarm_id, rejection, context);
    }

    /// A job that finds its launch file like this does nothing.
    pub(super) fn withdraw(&mut self, swarm_id: &SwarmId, context: &mut Context<'_>) {
        let withdrawn = self.submissions.get(swarm_id).map(|submission| LaunchSpec {
            node_count: 0,
            ..submission.swarm.spec.clone()
        });
        if let Some(Ok(data)) = withdrawn.map(|spec| serde_json::to_vec_pretty(&spec)) {
            let ticket = self.ticket(Awaited::LaunchFile(swarm_id.clone()));
            let (swarm_id, data) = (swarm_id.clone(), data.into());
            self.ask_follower(Downward::Launch { ticket, swarm_id, data }, context);
        }
    }

    pub(super) fn end_refused(&mut self, swarm_id: &SwarmId, rejection: Rejection, context: &mut Context<'_>) {
        if let Some(submission) = self.submissions.remove(swarm_id) {
            if submission.stage != Stage::Waiting {
                context.save(Change::SubmissionOver(swarm_id.clone()));
            }
            match submission.asker {
                Some(asker) => reject(&asker, rejection, context),
                None => tracing::warn!(%swarm_id, %rejection, "a launch of an earlier life came to nothing"),
            }
        }
    }

    /// The link went down while the launch file was on its way: it is written again.
    pub(super) fn launch_file_lost(&mut self, swarm_id: &SwarmId) {
        if let Some(submission) = self.submissions.get_mut(swarm_id) {
            submission.under_way = false;
        }
    }
}
