//! The steps of a launch on its way to Slurm, one at a time: idle nodes counted if it will not wait, the launch file
//! written, the job handed in, its state asked for. Each goes on when the link is up, and none that may have happened is
//! done again.

use std::time::Duration;

use bytes::Bytes;
use codeswarm_protocol::event::RouterWord;
use codeswarm_protocol::frame::Downward;
use codeswarm_protocol::launch::LaunchSpec;
use codeswarm_protocol::{JobId, Rejection, RejectionCode, SwarmId};
use codeswarm_slurm::{Answer, batch, job, partition, queue};

use super::answer::Asker;
use super::link::Link;
use super::model::{Awaited, JobNow};
use super::submission::{PATIENCE, Stage, Submission};
use super::{Change, Context, Core, Errand, NotAnswered, Timer, Whom};

/// How long it takes to the first and each further search of the queue for a job whose submission was not answered: sbatch
/// may still be at work.
const SEARCH_AFTER: [Duration; 4] = [
    Duration::from_secs(3),
    Duration::from_secs(7),
    Duration::from_secs(10),
    Duration::from_secs(20),
];

/// Searches in vain before who launched it hears of that.
const TOLD_AFTER: u32 = 3;

impl Core {
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
    pub(super) fn advance(&mut self, swarm_id: &SwarmId, context: &mut Context<'_>) {
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
            Stage::Waiting => {
                let spec = submission.swarm.spec.clone();
                self.write_launch_file(swarm_id, &spec, context);
            }
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
        let (wanted, spec) = (submission.cluster_nodes, submission.swarm.spec.clone());
        let idle = match outcome {
            Ok(answer) => partition::read(&answer).map_err(launch_failed),
            Err(not) => return self.step_not_taken(swarm_id, &not, context),
        };
        match idle.map(|partitions| partitions.idle_nodes(partition)) {
            Ok(Some(idle)) if idle >= wanted => self.write_launch_file(swarm_id, &spec, context),
            // sbatch says it best.
            Ok(None) => self.write_launch_file(swarm_id, &spec, context),
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

    fn write_launch_file(&mut self, swarm_id: &SwarmId, spec: &LaunchSpec, context: &mut Context<'_>) {
        let data = match serde_json::to_vec_pretty(spec) {
            Ok(data) => Bytes::from(data),
            Err(error) => return self.refuse_launch(swarm_id, launch_failed(error), context),
        };
        let ticket = self.ticket(Awaited::LaunchFile(swarm_id.clone()));
        let swarm_id = swarm_id.clone();
        self.ask_follower(Downward::Launch { ticket, swarm_id, data }, context);
    }

    pub(super) fn launch_file_written(&mut self, swarm_id: &SwarmId, error: Option<String>, context: &mut Context<'_>) {
        let submission = self.submissions.get_mut(swarm_id);
        let (Some(settings), Link::Up { binary }, Some(submission)) = (&self.settings.slurm, &self.link, submission)
        else {
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
        let when = when.max(SEARCH_AFTER[0] * submission.unanswered.min(10));
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
                submission.unanswered += 1;
                let asker = submission.asker.as_ref();
                if let Some(asker) = asker.filter(|_| submission.unanswered == TOLD_AFTER) {
                    let message = format!(
                        "whether job submission {swarm_id} reached Slurm is not known yet, and squeue does not tell: {error}. \
                         It is looked for until squeue answers; do not launch again"
                    );
                    let whom = Whom::Client(asker.client);
                    let event = context.event(RouterWord::RouterTrouble { message });
                    context.tell(whom, event);
                }
                return self.search_later(swarm_id, context);
            }
        };
        submission.unanswered = 0;
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
        let stage = self
            .submissions
            .get(swarm_id)
            .map(|submission| submission.stage.clone());
        let Some(Stage::Submitted(job_id)) = stage else {
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
        if let Some(submission) = self.submissions.remove(swarm_id) {
            context.save(Change::SubmissionOver(swarm_id.clone()));
            self.becomes_a_swarm(submission, job_id, shown, context);
        }
    }

    fn becomes_a_swarm(
        &mut self,
        submission: Submission,
        job_id: JobId,
        shown: Option<job::Job>,
        context: &mut Context<'_>,
    ) {
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
}

fn launch_failed(error: impl std::fmt::Display) -> Rejection {
    Rejection::new(RejectionCode::LaunchFailed, error.to_string())
}
