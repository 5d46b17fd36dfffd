//! The end of a Slurm job: asked for, in order, with time for its workers; or come by itself, and told as what it was.

use std::time::Duration;

use codeswarm_protocol::JobId;
use codeswarm_protocol::event::{NodeState, SwarmState};
use codeswarm_slurm::cancel::{self, Cancelled};
use codeswarm_slurm::{Answer, Call};

use super::job::News;
use super::{Context, Core, Errand, Node, NotAnswered, Timer};

/// What workers may take beyond their own grace period before the job is cancelled.
const BEYOND_GRACE: Duration = Duration::from_secs(5);

/// How soon a command to end a job is tried again that had no effect.
const TRY_AGAIN: Duration = Duration::from_secs(5);

/// And one that failed.
const REFUSED_AGAIN: Duration = Duration::from_secs(30);

/// Bytes of a job's error file that are looked at.
const LAST_WORDS: &str = "3000";

impl Core {
    /// Ends a job: its workers get SIGTERM and time to archive; a job without workers is cancelled.
    pub(super) fn end_job(&mut self, job_id: &JobId, context: &mut Context<'_>) {
        let Some(swarm) = self.live_swarm_of(job_id).filter(|_| self.link_is_up()) else {
            return;
        };
        let is_up = |node: &Node| node.state != NodeState::Pending && !node.is_over();
        if !self.nodes_of(job_id).any(|(_, node)| is_up(node)) {
            return self.cancel_job(job_id, context);
        }
        let grace = Duration::from_secs(swarm.spec.worker.shutdown_grace_seconds) + BEYOND_GRACE;
        self.timers
            .insert((context.at.now + grace, Timer::Cancel(job_id.clone())));
        if let Ok(call) = cancel::terminate(job_id) {
            Self::call(Errand::Signal(job_id.clone()), call, context);
        }
    }

    /// Ends a job for good.
    pub(super) fn cancel_job(&mut self, job_id: &JobId, context: &mut Context<'_>) {
        if self.live_swarm_of(job_id).is_none() || !self.link_is_up() {
            return;
        }
        if let Ok(call) = cancel::cancel(job_id) {
            Self::call(Errand::Cancel(job_id.clone()), call, context);
        }
    }

    pub(super) fn signalled(
        &mut self,
        job_id: &JobId,
        outcome: Result<Answer, NotAnswered>,
        context: &mut Context<'_>,
    ) {
        match read(outcome) {
            // The workers' archives tell the rest; should nothing come, the timer cancels.
            Ok(Cancelled::Taken) => {}
            Ok(Cancelled::Over) => self.show_job(job_id, context),
            Ok(Cancelled::NotRunning) => self.cancel_job(job_id, context),
            Err(error) => self.could_not_end(job_id, &error, context),
        }
    }

    pub(super) fn cancelled(
        &mut self,
        job_id: &JobId,
        outcome: Result<Answer, NotAnswered>,
        context: &mut Context<'_>,
    ) {
        match read(outcome) {
            Ok(Cancelled::Taken | Cancelled::Over) if self.all_over(job_id) => {
                if let Some(job) = self.live_job(job_id) {
                    job.over
                        .get_or_insert_with(|| "the job was cancelled after its workers had ended".to_owned());
                }
                self.conclude(job_id, context);
            }
            Ok(Cancelled::Taken | Cancelled::Over) => self.show_job(job_id, context),
            Ok(Cancelled::NotRunning) => self.try_to_end_again(job_id, TRY_AGAIN, context),
            Err(error) => self.could_not_end(job_id, &error, context),
        }
    }

    /// All nodes of a swarm are over. Whether the swarm is too: a job may be run again, which only Slurm knows.
    pub(super) fn job_lets_go(&mut self, job_id: &JobId, context: &mut Context<'_>) -> bool {
        let live = self.live_swarm_of(job_id).filter(|_| self.may_run_again(job_id));
        let Some(status) = live.map(|swarm| swarm.status) else {
            return true;
        };
        if status == SwarmState::Terminating {
            // Its workers have archived; nothing of the job is to stay, or to be run again. When that is sure, it has ended.
            self.cancel_job(job_id, context);
            return false;
        }
        self.show_job(job_id, context);
        self.show_soon(job_id, context);
        false
    }

    fn could_not_end(&mut self, job_id: &JobId, error: &str, context: &mut Context<'_>) {
        let message = format!(
            "job {job_id} could not be ended: {error}. It is tried again every {} s; by hand: scancel {job_id}",
            REFUSED_AGAIN.as_secs()
        );
        self.tell_trouble_once(&message.clone(), message, context);
        self.try_to_end_again(job_id, REFUSED_AGAIN, context);
    }

    fn try_to_end_again(&mut self, job_id: &JobId, wait: Duration, context: &mut Context<'_>) {
        if self
            .live_swarm_of(job_id)
            .is_some_and(|swarm| swarm.status == SwarmState::Terminating)
        {
            self.timers
                .insert((context.at.now + wait, Timer::Cancel(job_id.clone())));
        }
    }

    /// The job is over, as Slurm says. Where a worker never spoke, the job's error file may tell why.
    pub(super) fn job_is_over(
        &mut self,
        job_id: &JobId,
        news: Option<&News>,
        sentence: String,
        context: &mut Context<'_>,
    ) {
        let asked_for = self
            .live_swarm_of(job_id)
            .is_some_and(|swarm| swarm.status == SwarmState::Terminating);
        let Some(job) = self.live_job(job_id).filter(|job| job.over.is_none()) else {
            return;
        };
        if let Some(news) = news {
            job.state = Some(news.state.to_string());
        }
        // An end that was asked for needs no explanation, and nothing is to be done about it.
        job.reason = (!asked_for).then(|| sentence.clone());
        job.over = Some(sentence);
        self.save_swarm_of(job_id, context);
        let silent = self.nodes_of(job_id).any(|(_, node)| node.epoch.0 == 0);
        match self.settings.slurm.as_ref().filter(|_| silent && !asked_for) {
            Some(slurm) => {
                let call = Call {
                    program: "tail".to_owned(),
                    arguments: ["-c", LAST_WORDS, "--", &format!("{}/runs/{job_id}.err", slurm.root)]
                        .map(str::to_owned)
                        .into(),
                    stdin: Vec::new(),
                    unset: Vec::new(),
                };
                Self::call(Errand::Log(job_id.clone()), call, context);
            }
            None => self.conclude(job_id, context),
        }
    }

    pub(super) fn last_words(
        &mut self,
        job_id: &JobId,
        outcome: Result<Answer, NotAnswered>,
        context: &mut Context<'_>,
    ) {
        let said = outcome.ok().filter(|answer| answer.exit_code == Some(0));
        let said = said
            .map(|answer| last_lines(&answer.stdout))
            .filter(|said| !said.is_empty());
        if let (Some(said), Some(job)) = (said, self.live_job(job_id)) {
            let over = job.over.take().unwrap_or_default();
            let told = format!("{over}. Its error file ends with: {said}");
            job.reason = Some(told.clone());
            job.over = Some(told);
        }
        self.conclude(job_id, context);
    }

    /// No worker of the job runs any more: its nodes end as soon as what they wrote is read.
    pub(super) fn conclude(&mut self, job_id: &JobId, context: &mut Context<'_>) {
        let Some(swarm) = self.live_swarm_of(job_id) else {
            return;
        };
        let asked_for = swarm.status == SwarmState::Terminating;
        let sentence = swarm.job.as_ref().and_then(|job| job.over.clone()).unwrap_or_default();
        let nodes = self
            .nodes_of(job_id)
            .map(|(place, node)| (place.clone(), node.state, node.is_over()));
        for (place, state, is_over) in nodes.collect::<Vec<_>>() {
            if is_over {
                // What waited for another life of the job.
                self.end_all_of(&place, "worker_exit", &sentence, context);
            } else if state == NodeState::Pending && asked_for {
                // As far as is known: its worker may have begun while nobody could hear it.
                let reason = "the swarm was ended before this node had started".to_owned();
                self.worker_gone(place, NodeState::Exited, reason, context);
            } else {
                self.worker_gone(place, NodeState::Lost, sentence.clone(), context);
            }
        }
        self.settle(job_id, context);
    }
}

fn read(outcome: Result<Answer, NotAnswered>) -> Result<Cancelled, String> {
    match outcome {
        Ok(answer) => cancel::read(&answer).map_err(|error| error.to_string()),
        Err(not) => Err(not.error),
    }
}

/// The last lines that say something, on one line.
fn last_lines(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text);
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    lines[lines.len().saturating_sub(4)..].join(" | ")
}
