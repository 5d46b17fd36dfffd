//! What Slurm's word about a job means for its swarm. Only such a word ends anything, and what the job's nodes said after
//! Slurm was asked is newer.

use std::time::Duration;

use codeswarm_protocol::event::{NodeState, SwarmState};
use codeswarm_protocol::{JobId, Place};
use codeswarm_slurm::{JobState, Phase, ending, job, queue};

use super::model::{JobNow, Swarm};
use super::{Change, Context, Core};

/// A job that is to be run again does not run any more so long after its workers were told to end.
const GOES_ON_WITHOUT: Duration = Duration::from_secs(60);

/// The name of the provider that runs swarms as Slurm jobs.
pub const SLURM: &str = "slurm";

/// One word about a job.
#[derive(Debug, Clone)]
pub(super) struct News {
    pub state: JobState,
    pub reason: Option<String>,
    pub restarts: Option<u32>,
    /// How many machines it has, and which.
    pub node_count: Option<u32>,
    pub nodes: String,
    /// What became of it, if it is over.
    pub ending: Option<String>,
}

impl From<queue::QueueLine> for News {
    fn from(line: queue::QueueLine) -> Self {
        Self {
            state: line.state,
            reason: line.reason,
            restarts: None,
            node_count: Some(line.node_count),
            nodes: line.nodes,
            ending: None,
        }
    }
}

impl From<job::Job> for News {
    fn from(job: job::Job) -> Self {
        Self {
            ending: job.ending(),
            state: job.state,
            reason: job.reason,
            restarts: job.restarts,
            node_count: job.node_count,
            nodes: job.nodes,
        }
    }
}

impl Swarm {
    /// Slurm's word for how its job is. Once the swarm has ended Slurm is not asked any more, and a word such as `RUNNING`
    /// that was heard before is none.
    pub fn slurm_state(&self) -> Option<String> {
        let state = self.job.as_ref().and_then(|job| job.state.clone())?;
        let goes_on = state.parse().is_ok_and(|state: JobState| !is_over(&state));
        (!self.status.is_over() || !goes_on).then_some(state)
    }
}

impl Core {
    /// Whether Slurm may start the job again, and its workers then write on.
    pub(super) fn may_run_again(&self, job_id: &JobId) -> bool {
        self.live_swarm_of(job_id)
            .and_then(|swarm| swarm.job.as_ref())
            .is_some_and(|job| job.over.is_none())
    }

    pub(super) fn live_swarm_of(&self, job_id: &JobId) -> Option<&Swarm> {
        let swarm = self.swarm_of_job(job_id)?;
        (!swarm.status.is_over()).then_some(swarm)
    }

    pub(super) fn live_job(&mut self, job_id: &JobId) -> Option<&mut JobNow> {
        let swarm = self.swarm_of_job_mut(job_id)?;
        if swarm.status.is_over() {
            return None;
        }
        swarm.job.as_mut()
    }

    /// Slurm's word about a job. What its nodes said after it was asked is newer.
    pub(super) fn heard_of(&mut self, job_id: &JobId, news: News, asked: Duration, context: &mut Context<'_>) {
        let now = context.at.now;
        self.slurm_troubles.clear();
        let phase = news.state.phase();
        let has_run = self.has_run(job_id, asked);
        let Some(job) = self.live_job(job_id) else { return };
        if job.over.is_some() {
            return;
        }
        (job.missing, job.heard) = (None, Some(now));
        let before = (job.state.clone(), job.reason.clone());
        let restarts = news.restarts.unwrap_or(job.restarts);
        let again = restarts > job.restarts || (phase == Phase::Waiting && has_run);
        job.restarts = restarts;
        job.state = Some(news.state.to_string());
        job.reason = (phase == Phase::Waiting)
            .then(|| waits(news.reason.as_deref(), restarts, again))
            .flatten();
        let changed = before != (job.state.clone(), job.reason.clone());
        // Slurm had not looked at it yet. It soon will have, and who launched it would like to hear why it waits.
        let not_looked_at = phase == Phase::Waiting && job.reason.is_none() && job.looks == 0;
        match phase {
            Phase::Waiting if again => self.requeued(job_id, asked, context),
            Phase::Running => self.runs(job_id, &news, asked, context),
            Phase::Completed | Phase::Failed => {
                // What became of it, and what to do.
                let sentence = news.ending.as_deref().unwrap_or(news.state.as_str()).to_owned();
                return self.job_is_over(job_id, Some(&news), sentence, context);
            }
            Phase::Waiting | Phase::Ending => {}
            Phase::Unknown => tracing::warn!(%job_id, state = %news.state, "a state of Slurm that is not known here"),
        }
        if changed {
            self.tell_job(job_id, context);
        }
        if not_looked_at {
            self.show_soon(job_id, context);
        }
        self.look_while_it_ends(job_id, context);
    }

    /// A job whose workers have all ended, or whose end was asked for, will be over soon.
    fn look_while_it_ends(&mut self, job_id: &JobId, context: &mut Context<'_>) {
        let live = self.live_swarm_of(job_id);
        let is_ended = live.is_some_and(|swarm| swarm.status == SwarmState::Terminating);
        if is_ended || self.all_over(job_id) {
            self.show_soon(job_id, context);
        }
    }

    /// Stores how a swarm is and tells everybody who follows it.
    pub(super) fn tell_job(&mut self, job_id: &JobId, context: &mut Context<'_>) {
        if let Some(swarm) = self.swarm_of_job(job_id) {
            context.save(Change::of_swarm(swarm.clone()));
            self.tell_swarm(&swarm.swarm_id, context);
        }
    }

    fn has_run(&self, job_id: &JobId, asked: Duration) -> bool {
        let mut nodes = self.nodes_of(job_id);
        let started = nodes.clone().any(|(_, node)| node.state != NodeState::Pending);
        started && nodes.all(|(_, node)| node.heard <= asked)
    }

    /// The job waits to be run once more. Its workers are gone; what is open goes on when they are back.
    fn requeued(&mut self, job_id: &JobId, asked: Duration, context: &mut Context<'_>) {
        let silent = self.nodes_of(job_id).filter(|(_, node)| node.heard <= asked);
        let silent: Vec<Place> = silent.map(|(place, _)| place.clone()).collect();
        let is_reset = !silent.is_empty();
        for place in silent {
            if let Some(node) = self.nodes.get_mut(&place) {
                (node.state, node.current, node.ending) = (NodeState::Pending, None, None);
                (node.pid, node.pid_started, node.error, node.host) = (None, None, None, None);
            }
            self.save_node(&place, context);
            self.deliver_next(&place, context);
        }
        if let Some(swarm) = self.swarm_of_job_mut(job_id)
            && swarm.status == SwarmState::Running
            && is_reset
        {
            swarm.status = SwarmState::Pending;
        }
    }

    /// A worker has begun: whatever Slurm said of its job before, it runs.
    pub(super) fn job_certainly_runs(&mut self, place: &Place, context: &mut Context<'_>) {
        let job_id = &place.job_id;
        let Some(job) = self.live_job(job_id).filter(|job| job.over.is_none()) else {
            return;
        };
        let waits = |state: &String| {
            state
                .parse()
                .is_ok_and(|state: JobState| state.phase() == Phase::Waiting)
        };
        if job.state.as_ref().is_none_or(waits) {
            (job.state, job.reason) = (Some("RUNNING".to_owned()), None);
            self.tell_job(job_id, context);
        }
    }

    fn runs(&mut self, job_id: &JobId, news: &News, asked: Duration, context: &mut Context<'_>) {
        // Long after a worker was told to end its job runs: it was meant alone, and nobody will read its inbox again.
        let alone = self
            .nodes_of(job_id)
            .filter(|(place, node)| asked.saturating_sub(node.heard) >= GOES_ON_WITHOUT && self.may_go_on(place));
        for place in alone.map(|(place, _)| place.clone()).collect::<Vec<_>>() {
            let reason = "its worker was told to end, and the job goes on without it";
            self.end_all_of(&place, "worker_exit", reason, context);
        }
        self.look_at_hosts(job_id, news, asked, context);
    }
}

fn waits(reason: Option<&str>, restarts: u32, again: bool) -> Option<String> {
    use ending::Waiting::{ItsTurn, Somebody, Unknown};
    let what = if again || restarts > 0 {
        "the job was requeued and waits"
    } else {
        "the job waits in the queue"
    };
    let Some(reason) = reason else {
        return (again || restarts > 0).then(|| what.to_owned());
    };
    Some(match ending::waiting(reason) {
        ItsTurn(why) | Somebody(why) => format!("{what} ({reason}): {why}"),
        Unknown => format!("{what} ({reason})"),
    })
}

/// Whether Slurm says that it is over for good.
pub(super) fn is_over(state: &JobState) -> bool {
    matches!(state.phase(), Phase::Completed | Phase::Failed)
}
