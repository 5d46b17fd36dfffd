//! When Slurm is asked about jobs, and what its silence is worth: one `squeue` for all jobs of which no worker has spoken
//! lately, `scontrol` for a single one whose end is near. A list without a job, a command that failed or did not answer end
//! nothing.

use std::time::Duration;

use codeswarm_protocol::JobId;
use codeswarm_protocol::event::{NodeState, RouterWord, SwarmState};
use codeswarm_slurm::queue::Sight;
use codeswarm_slurm::{Answer, Call, SlurmError, job, queue};

use super::job::is_over;
use super::model::{JobNow, Swarm};
use super::{Context, Core, Effect, Errand, NotAnswered, ProviderCommand, Timer, Whom};

/// How soon a job is looked at again whose end is near, a few times; then it is the queue's turn.
const LOOK_AGAIN: Duration = Duration::from_secs(2);
const LOOKS_OUT_OF_TURN: u32 = 10;

/// A swarm whose nodes all rest is looked at in every so manieth turn only.
const RESTING_TURNS: u32 = 4;

/// A job that the controller does not know is given up after so many answers, over so long a time: a controller that
/// has just been started may not know it yet.
const MISSING_ANSWERS: u32 = 3;
const MISSING_FOR: Duration = Duration::from_secs(45);

/// Different troubles with Slurm that are told before it answers again.
const MOST_TROUBLES: usize = 8;

impl Core {
    /// Has a command run beside Slurm.
    pub(super) fn call(errand: Errand, call: Call, context: &mut Context<'_>) {
        context
            .effects
            .push(Effect::Provider(ProviderCommand::Call { errand, call }));
    }

    /// A command has come back, or never will.
    pub(super) fn answered_call(
        &mut self,
        errand: Errand,
        outcome: Result<Answer, NotAnswered>,
        context: &mut Context<'_>,
    ) {
        match errand {
            Errand::Idle(swarm_id) => self.idle_nodes(&swarm_id, outcome, context),
            Errand::Submit(swarm_id) => self.submitted(&swarm_id, outcome, context),
            Errand::Find(swarm_id) => self.searched(&swarm_id, outcome, context),
            Errand::Announce(swarm_id) => self.announce(&swarm_id, outcome, context),
            Errand::Show(job_id, asked) => self.shown(&job_id, asked, outcome, context),
            Errand::Queue(jobs, asked) => self.listed(&jobs, asked, outcome, context),
            Errand::Hosts(job_id, list, asked) => self.hosts((&job_id, list, asked), outcome, context),
            Errand::Signal(job_id) => self.signalled(&job_id, outcome, context),
            Errand::Cancel(job_id) => self.cancelled(&job_id, outcome, context),
            Errand::Log(job_id) => self.last_words(&job_id, outcome, context),
            Errand::Adopt(job_id) => self.looked_up(&job_id, outcome, context),
        }
    }

    /// The link is there: what waits for it goes on.
    pub(super) fn jobs_after_link_up(&mut self, context: &mut Context<'_>) {
        if self.settings.slurm.is_none() {
            return;
        }
        self.submissions_after_link_up(context);
        self.adoptions_after_link_up(context);
        for job_id in self.live_jobs(|swarm, _| swarm.status == SwarmState::Terminating) {
            self.end_job(&job_id, context);
        }
        for job_id in self.live_jobs(|_, job| job.over.is_some()) {
            self.conclude(&job_id, context);
        }
        if !self.timers.iter().any(|(_, timer)| *timer == Timer::Queue) {
            self.timers.insert((context.at.now, Timer::Queue));
        }
    }

    fn live_jobs(&self, wanted: impl Fn(&Swarm, &JobNow) -> bool) -> Vec<JobId> {
        let wanted = |swarm: &Swarm| swarm.job.as_ref().is_some_and(|job| wanted(swarm, job));
        let live = |swarm: &&Swarm| !swarm.status.is_over() && wanted(swarm);
        self.swarms
            .values()
            .filter(live)
            .map(|swarm| swarm.job_id.clone())
            .collect()
    }

    /// One squeue for all jobs of which nothing was heard lately; none while events show that the workers live.
    pub(super) fn look_at_the_queue(&mut self, context: &mut Context<'_>) {
        let now = context.at.now;
        let has_jobs = !self.live_jobs(|_, _| true).is_empty();
        let Some(poll) = self
            .settings
            .slurm
            .as_ref()
            .filter(|_| has_jobs)
            .map(|slurm| slurm.poll)
        else {
            return;
        };
        self.timers.insert((now + poll, Timer::Queue));
        if !self.link_is_up() {
            return;
        }
        // A controller that is slow to answer is not asked again meanwhile.
        let jobs = self.live_jobs(|swarm, job| self.is_due(swarm, job, poll, now));
        if jobs.is_empty() || self.looking {
            return;
        }
        if let Ok(call) = queue::look(&jobs) {
            self.looking = true;
            Self::call(Errand::Queue(jobs, now), call, context);
        }
    }

    /// Sees to it that the queue is looked at, as long as there is a job.
    pub(super) fn attend_queue(&mut self, context: &mut Context<'_>) {
        if let Some(slurm) = &self.settings.slurm
            && !self.timers.iter().any(|(_, timer)| *timer == Timer::Queue)
        {
            self.timers.insert((context.at.now + slurm.poll, Timer::Queue));
        }
    }

    fn is_due(&self, swarm: &Swarm, job: &JobNow, poll: Duration, now: Duration) -> bool {
        if swarm.status != SwarmState::Running || job.missing.is_some() {
            return true;
        }
        let (mut resting, mut speaking, mut all_over) = (true, true, true);
        for (_, node) in self.nodes_of(&swarm.job_id) {
            resting &= node.state == NodeState::Idle && node.open == 0;
            speaking &= (node.is_over() && node.open == 0) || now.saturating_sub(node.heard) < poll;
            all_over &= node.is_over();
        }
        // Whether a swarm without workers goes on is for Slurm to say.
        if all_over {
            return true;
        }
        if speaking {
            return false;
        }
        let turns = if resting { RESTING_TURNS } else { 1 };
        job.heard
            .is_none_or(|heard| now.saturating_sub(heard) + poll / 2 >= poll * turns)
    }

    fn listed(
        &mut self,
        jobs: &[JobId],
        asked: Duration,
        outcome: Result<Answer, NotAnswered>,
        context: &mut Context<'_>,
    ) {
        self.looking = false;
        let look = match outcome {
            Ok(answer) => queue::read_look(jobs, &answer).map_err(|error| error.to_string()),
            Err(not) => Err(not.error),
        };
        let look: queue::Look = match look {
            Ok(look) => look,
            Err(error) => return self.slurm_is_silent(&error, context),
        };
        for odd in look.odd {
            tracing::warn!(%odd, "a line of squeue was not understood");
        }
        for (job_id, sight) in look.jobs {
            match sight {
                Sight::Listed(line) if !is_over(&line.state) => self.heard_of(&job_id, line.into(), asked, context),
                // scontrol knows how it ended. That it is not in a list is no proof of an end.
                Sight::Listed(_) | Sight::NotListed | Sight::Unknown => self.show_job(&job_id, context),
            }
        }
    }

    /// Each trouble is told once until Slurm says something of a job again: squeue and scontrol have their own words for
    /// the same.
    pub(super) fn slurm_is_silent(&mut self, error: &str, context: &mut Context<'_>) {
        // It begins with the command, and squeue and scontrol fail alike when their controller is away.
        let what = error.split_once(' ').map_or(error, |(_command, what)| what);
        let message = format!("the state of jobs is not known at present: {error}");
        self.tell_trouble_once(what, message, context);
    }

    /// Tells of a trouble, once until Slurm says something of a job again.
    pub(super) fn tell_trouble_once(&mut self, what: &str, message: String, context: &mut Context<'_>) {
        let is_told = self.slurm_troubles.contains(what) || self.slurm_troubles.len() >= MOST_TROUBLES;
        if is_told || !self.link_is_up() {
            return;
        }
        self.slurm_troubles.insert(what.to_owned());
        let event = context.event(RouterWord::RouterTrouble { message });
        context.tell(Whom::Everybody, event);
    }

    /// Looks at one job out of turn. scontrol is asked for a single job, which costs the controller little.
    pub(super) fn show_job(&mut self, job_id: &JobId, context: &mut Context<'_>) {
        if self.live_swarm_of(job_id).is_none() || !self.link_is_up() {
            return;
        }
        if let Ok(call) = job::show(job_id) {
            Self::call(Errand::Show(job_id.clone(), context.at.now), call, context);
        }
    }

    /// Looks at a job again soon, a few times; when that is used up, the queue's turn will bring the rest.
    pub(super) fn show_soon(&mut self, job_id: &JobId, context: &mut Context<'_>) {
        let may_look = |job: &&mut JobNow| job.looks < LOOKS_OUT_OF_TURN;
        if let Some(job) = self.live_job(job_id).filter(may_look) {
            job.looks += 1;
            self.timers
                .insert((context.at.now + LOOK_AGAIN, Timer::Job(job_id.clone())));
        }
    }

    fn shown(
        &mut self,
        job_id: &JobId,
        asked: Duration,
        outcome: Result<Answer, NotAnswered>,
        context: &mut Context<'_>,
    ) {
        let shown = match outcome {
            Ok(answer) => job::read(job_id, &answer),
            Err(not) => return self.slurm_is_silent(&not.error, context),
        };
        match shown {
            Ok(job) => self.heard_of(job_id, job.into(), asked, context),
            Err(SlurmError::NoSuchJob { said }) => self.is_missing(job_id, asked, &said, context),
            Err(error) => self.slurm_is_silent(&error.to_string(), context),
        }
    }

    /// The controller answered that it does not know the job.
    fn is_missing(&mut self, job_id: &JobId, asked: Duration, said: &str, context: &mut Context<'_>) {
        let now = context.at.now;
        let speaks = self.has_spoken_since(job_id, asked);
        let Some(job) = self.live_job(job_id) else { return };
        if speaks {
            job.missing = None;
            return;
        }
        let (answers, since) = job.missing.map_or((1, now), |(answers, since)| (answers + 1, since));
        job.missing = Some((answers, since));
        if answers >= MISSING_ANSWERS && now.saturating_sub(since) >= MISSING_FOR {
            let sentence = format!("the job has vanished: Slurm does not know it any more ({said})");
            return self.job_is_over(job_id, None, sentence, context);
        }
        let again = now + MISSING_FOR / (MISSING_ANSWERS - 1);
        self.timers.insert((again, Timer::Job(job_id.clone())));
    }

    fn has_spoken_since(&self, job_id: &JobId, when: Duration) -> bool {
        self.nodes_of(job_id).any(|(_, node)| node.heard > when)
    }
}
