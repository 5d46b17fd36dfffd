//! A launch on its way to Slurm: nodes counted if it will not wait, the launch file written, the job handed in, its state
//! asked for, and only then a swarm. At most one job comes of it, whatever dies in between: a job carries the swarm's id
//! in its comment, by which it is found again when the answer of `sbatch` was lost.

use std::time::Duration;

use bytes::Bytes;
use codeswarm_configs::SlurmSection;
use codeswarm_protocol::event::RouterWord;
use codeswarm_protocol::frame::Downward;
use codeswarm_protocol::{JobId, Rejection, RejectionCode, SwarmId};
use codeswarm_slurm::{Answer, BatchJob, Call, batch, job, partition, queue};
use serde::{Deserialize, Serialize};

use super::answer::{Asker, reject};
use super::link::Link;
use super::model::{Awaited, JobNow, Swarm};
use super::{Change, Context, Core, Errand, NotAnswered, SlurmSettings, Timer, Whom};

/// How long a launch may wait for the link before it is refused.
const PATIENCE: Duration = Duration::from_secs(120);

/// How long it takes to the first and each further search of the queue for a job whose submission was not answered: sbatch
/// may still be at work.
const SEARCH_AFTER: [Duration; 4] = [
    Duration::from_secs(3),
    Duration::from_secs(7),
    Duration::from_secs(10),
    Duration::from_secs(20),
];

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
    deadline: Duration,
    #[serde(skip)]
    under_way: bool,
    #[serde(skip)]
    searches: usize,
    /// Who asked was told why it waits.
    #[serde(skip)]
    told_waiting: bool,
    /// No job was found: told as soon as none that turns up later can run.
    #[serde(skip)]
    given_up: Option<Rejection>,
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

    /// Launches that an earlier life had handed to Slurm.
    pub(super) fn restore_submissions(&mut self, submissions: Vec<Submission>) {
        for submission in submissions {
            self.submissions.insert(submission.swarm.swarm_id.clone(), submission);
        }
    }

    pub(super) fn submissions_after_link_up(&mut self, context: &mut Context<'_>) {
        for swarm_id in self.submissions.keys().cloned().collect::<Vec<_>>() {
            self.advance(&swarm_id, context);
        }
    }

    pub(super) fn submission_due(&mut self, swarm_id: &SwarmId, context: &mut Context<'_>) {
        let Some(submission) = self.submissions.get(swarm_id) else {
            return;
        };
        if submission.stage == Stage::Waiting && context.at.now >= submission.deadline {
            let why = match &self.link {
                Link::Down(trouble) => super::link::sentence(trouble),
                Link::Up { .. } => "the login node does not answer".to_owned(),
            };
            let reason = format!(
                "not handed to Slurm within {} s: {why}. Nothing was launched",
                PATIENCE.as_secs()
            );
            return self.refuse_launch(swarm_id, Rejection::new(RejectionCode::Link, reason), context);
        }
        self.advance(swarm_id, context);
    }

    /// The next step, if the link is up and none is under way.
    fn advance(&mut self, swarm_id: &SwarmId, context: &mut Context<'_>) {
        let Link::Up { .. } = &self.link else { return };
        let Some(submission) = self.submissions.get_mut(swarm_id).filter(|one| !one.under_way) else {
            return;
        };
        submission.under_way = true;
        if submission.given_up.is_some() {
            return self.withdraw(swarm_id, context);
        }
        match &submission.stage {
            Stage::Waiting if submission.immediate => {
                Self::call(Errand::Idle(swarm_id.clone()), partition::show(), context);
            }
            Stage::Waiting => self.write_launch_file(swarm_id, context),
            Stage::Submitting => Self::call(Errand::Find(swarm_id.clone()), queue::search(), context),
            Stage::Submitted(job_id) => match job::show(job_id) {
                Ok(call) => Self::call(Errand::Announce(swarm_id.clone()), call, context),
                Err(error) => self.refuse_launch(swarm_id, launch_failed(error), context),
            },
        }
    }

    pub(super) fn idle_nodes(
        &mut self,
        swarm_id: &SwarmId,
        outcome: Result<Answer, NotAnswered>,
        context: &mut Context<'_>,
    ) {
        let Some(submission) = self.submissions.get(swarm_id) else {
            return;
        };
        let partition = submission.slurm.partition.as_deref();
        let wanted = submission.cluster_nodes;
        let idle = match outcome {
            Ok(answer) => partition::read(&answer).map_err(launch_failed),
            Err(not) => return self.step_not_taken(swarm_id, &not, context),
        };
        match idle.map(|partitions| partitions.idle_nodes(partition)) {
            Ok(Some(idle)) if idle >= wanted => self.write_launch_file(swarm_id, context),
            // sbatch says it best.
            Ok(None) => self.write_launch_file(swarm_id, context),
            Ok(Some(idle)) => {
                let which = partition.map_or_else(
                    || "the default partition".to_owned(),
                    |name| format!("partition {name}"),
                );
                let reason = format!(
                    "{idle} nodes of {which} are idle and {wanted} were asked for; launch without `immediate` to wait in the \
                     queue, or ask for fewer"
                );
                self.refuse_launch(
                    swarm_id,
                    Rejection::field(RejectionCode::LaunchFailed, "immediate", reason),
                    context,
                );
            }
            Err(rejection) => self.refuse_launch(swarm_id, rejection, context),
        }
    }

    fn write_launch_file(&mut self, swarm_id: &SwarmId, context: &mut Context<'_>) {
        let Some(submission) = self.submissions.get(swarm_id) else {
            return;
        };
        let data = match serde_json::to_vec_pretty(&submission.swarm.spec) {
            Ok(data) => Bytes::from(data),
            Err(error) => return self.refuse_launch(swarm_id, launch_failed(error), context),
        };
        let ticket = self.ticket(Awaited::LaunchFile(swarm_id.clone()));
        let swarm_id = swarm_id.clone();
        self.ask_follower(Downward::Launch { ticket, swarm_id, data }, context);
    }

    pub(super) fn launch_file_written(&mut self, swarm_id: &SwarmId, error: Option<String>, context: &mut Context<'_>) {
        let (Some(settings), Link::Up { binary }) = (&self.settings.slurm, &self.link) else {
            return;
        };
        let Some(submission) = self.submissions.get_mut(swarm_id) else {
            return;
        };
        if let Some(rejection) = submission.given_up.take() {
            if let Some(error) = error {
                tracing::warn!(%swarm_id, %error, "a launch file could not be withdrawn");
            }
            return self.end_refused(swarm_id, rejection, context);
        }
        if let Some(error) = error {
            let reason = format!("the launch file could not be written: {error}");
            return self.refuse_launch(swarm_id, Rejection::new(RejectionCode::LaunchFailed, reason), context);
        }
        match submission.batch_job(settings, binary) {
            Ok(call) => {
                submission.stage = Stage::Submitting;
                context.save(Change::Submission(Box::new(submission.clone())));
                Self::call(Errand::Submit(swarm_id.clone()), call, context);
            }
            Err(error) => self.refuse_launch(swarm_id, launch_failed(error), context),
        }
    }

    pub(super) fn submitted(
        &mut self,
        swarm_id: &SwarmId,
        outcome: Result<Answer, NotAnswered>,
        context: &mut Context<'_>,
    ) {
        match outcome {
            Ok(answer) => match batch::read_submitted(&answer) {
                Ok(job_id) => self.has_job(swarm_id, job_id, context),
                Err(error) if error.may_have_happened() => self.search_later(swarm_id, context),
                Err(error) => self.refuse_launch(swarm_id, launch_failed(error), context),
            },
            Err(not) if not.may_have_run => self.search_later(swarm_id, context),
            Err(not) => self.step_not_taken(swarm_id, &not, context),
        }
    }

    /// A command that certainly did not run: the launch is where it was before, and goes on when the link is back.
    fn step_not_taken(&mut self, swarm_id: &SwarmId, not: &NotAnswered, context: &mut Context<'_>) {
        tracing::info!(%swarm_id, error = not.error, "a launch waits for the link");
        let Some(submission) = self.submissions.get_mut(swarm_id) else {
            return;
        };
        submission.under_way = false;
        if submission.stage == Stage::Submitting {
            submission.stage = Stage::Waiting;
            context.save(Change::SubmissionOver(swarm_id.clone()));
        }
        let up = matches!(self.link, Link::Up { .. });
        // While the link is down, that is told already.
        if let Some(asker) = submission.asker.as_ref().filter(|_| up && !submission.told_waiting) {
            let whom = Whom::Client(asker.client);
            let message = format!("the launch waits: {}", not.error);
            submission.told_waiting = true;
            let event = context.event(RouterWord::RouterTrouble { message });
            context.tell(whom, event);
        }
        if context.at.now >= submission.deadline {
            let reason = format!("{}. Nothing was launched", not.error);
            return self.refuse_launch(swarm_id, Rejection::new(RejectionCode::Link, reason), context);
        }
        let again = context.at.now + Duration::from_secs(2);
        self.timers.insert((again, Timer::Submission(swarm_id.clone())));
    }

    fn has_job(&mut self, swarm_id: &SwarmId, job_id: JobId, context: &mut Context<'_>) {
        let Some(submission) = self.submissions.get_mut(swarm_id) else {
            return;
        };
        submission.stage = Stage::Submitted(job_id);
        submission.under_way = false;
        context.save(Change::Submission(Box::new(submission.clone())));
        self.advance(swarm_id, context);
    }

    /// Whether there is a job is settled by looking for it, never by handing it in again.
    fn search_later(&mut self, swarm_id: &SwarmId, context: &mut Context<'_>) {
        let Some(submission) = self.submissions.get_mut(swarm_id) else {
            return;
        };
        submission.under_way = false;
        let when = SEARCH_AFTER.get(submission.searches).copied().unwrap_or_default();
        self.timers
            .insert((context.at.now + when, Timer::Submission(swarm_id.clone())));
    }

    pub(super) fn searched(
        &mut self,
        swarm_id: &SwarmId,
        outcome: Result<Answer, NotAnswered>,
        context: &mut Context<'_>,
    ) {
        let Some(submission) = self.submissions.get_mut(swarm_id) else {
            return;
        };
        let listing = match outcome {
            Ok(answer) => queue::listing(&answer).map_err(|error| error.to_string()),
            Err(not) => Err(not.error),
        };
        let listing = match listing {
            Ok(listing) => listing,
            Err(error) => {
                tracing::warn!(%swarm_id, %error, "whether a job was submitted is not known yet");
                return self.search_later(swarm_id, context);
            }
        };
        if let Some(line) = listing.of_swarm(swarm_id).next() {
            let job_id = line.job_id.clone();
            return self.has_job(swarm_id, job_id, context);
        }
        submission.searches += 1;
        if submission.searches < SEARCH_AFTER.len() {
            return self.search_later(swarm_id, context);
        }
        let reason = format!(
            "the answer of sbatch was lost, and squeue shows no job with the comment codeswarm:{swarm_id}, so the launch is \
             given up; should that job turn up all the same, its workers will refuse to run. Launch again"
        );
        submission.given_up = Some(Rejection::new(RejectionCode::LaunchFailed, reason));
        self.withdraw(swarm_id, context);
    }

    /// The job's first state is known, or will not be: now the launch is a swarm, with its first prompts, all at once.
    pub(super) fn announce(
        &mut self,
        swarm_id: &SwarmId,
        outcome: Result<Answer, NotAnswered>,
        context: &mut Context<'_>,
    ) {
        let Some(submission) = self.submissions.get(swarm_id) else {
            return;
        };
        let Stage::Submitted(job_id) = submission.stage.clone() else {
            return;
        };
        if self.jobs.contains_key(&job_id) {
            let reason = format!(
                "Slurm gave the job number {job_id}, which an earlier swarm of this mailbox had; its files would be mixed up. \
                 Cancel the job (scancel {job_id}) and use another cluster.cluster_subdir"
            );
            return self.refuse_launch(swarm_id, Rejection::new(RejectionCode::LaunchFailed, reason), context);
        }
        let shown = outcome.ok().and_then(|answer| job::read(&job_id, &answer).ok());
        let Some(submission) = self.submissions.remove(swarm_id) else {
            return;
        };
        context.save(Change::SubmissionOver(swarm_id.clone()));
        let Submission {
            mut swarm,
            fingerprint,
            asker,
            ..
        } = submission;
        swarm.job_id = job_id.clone();
        let now = swarm.job.get_or_insert_with(JobNow::default);
        if let Some(job) = &shown {
            now.state = Some(job.state.to_string());
            now.reason.clone_from(&job.reason);
        }
        let asker = asker.unwrap_or_else(|| Asker::nobody(swarm.request_id.clone()));
        self.begin(&asker, swarm, fingerprint, context);
        if let Some(job) = shown {
            // Its reason becomes a sentence, and a job that is over already is told as such.
            self.heard_of(&job_id, job.into(), context.at.now, context);
        }
        self.attend_queue(context);
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
    fn refuse_launch(&mut self, swarm_id: &SwarmId, rejection: Rejection, context: &mut Context<'_>) {
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
    fn withdraw(&mut self, swarm_id: &SwarmId, context: &mut Context<'_>) {
        let Some(submission) = self.submissions.get(swarm_id) else {
            return;
        };
        let mut withdrawn = submission.swarm.spec.clone();
        withdrawn.node_count = 0;
        if let Ok(data) = serde_json::to_vec_pretty(&withdrawn) {
            let ticket = self.ticket(Awaited::LaunchFile(swarm_id.clone()));
            let (swarm_id, data) = (swarm_id.clone(), data.into());
            self.ask_follower(Downward::Launch { ticket, swarm_id, data }, context);
        }
    }

    fn end_refused(&mut self, swarm_id: &SwarmId, rejection: Rejection, context: &mut Context<'_>) {
        let Some(submission) = self.submissions.remove(swarm_id) else {
            return;
        };
        if submission.stage != Stage::Waiting {
            context.save(Change::SubmissionOver(swarm_id.clone()));
        }
        match submission.asker {
            Some(asker) => reject(&asker, rejection, context),
            None => tracing::warn!(%swarm_id, %rejection, "a launch of an earlier life came to nothing"),
        }
    }

    /// The link went down while the launch file was on its way: it is written again.
    pub(super) fn launch_file_lost(&mut self, swarm_id: &SwarmId) {
        if let Some(submission) = self.submissions.get_mut(swarm_id) {
            submission.under_way = false;
        }
    }
}

fn launch_failed(error: impl std::fmt::Display) -> Rejection {
    Rejection::new(RejectionCode::LaunchFailed, error.to_string())
}
