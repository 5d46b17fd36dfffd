//! Jobs that this router did not launch: Slurm is asked how many tasks they have, and from then on they are swarms.

use std::collections::btree_map::Entry;
use std::time::Duration;

use codeswarm_protocol::command::{ApproveExecution, Command, Inject, Interrupt};
use codeswarm_protocol::event::{RouterWord, SwarmState};
use codeswarm_protocol::launch::LaunchSpec;
use codeswarm_protocol::{JobId, Rejection, RejectionCode};
use codeswarm_slurm::{Answer, JOB_NAME, job};

use super::answer::{Asker, answer, reject};
use super::job::SLURM;
use super::model::{JobNow, Swarm};
use super::{Change, Context, Core, Effect, Errand, NotAnswered, Timer};

/// How long a command may wait for its job to be looked up.
const PATIENCE: Duration = Duration::from_secs(60);

/// How soon a job is looked up again of which Slurm said nothing.
const LOOK_UP_AGAIN: Duration = Duration::from_secs(5);

/// The most commands that wait for one job, and the most jobs.
const MOST_HELD: usize = 64;
const MOST_JOBS: usize = 16;

/// Commands that wait for a job to be looked up.
#[derive(Debug, Default)]
pub(super) struct Adoption {
    held: Vec<(Asker, Command)>,
    asked: bool,
    /// Why Slurm did not answer the last time.
    trouble: Option<String>,
    /// When those who wait are refused.
    deadline: Duration,
}

impl Adoption {
    /// Who waits.
    pub(super) fn askers(&self) -> impl Iterator<Item = &Asker> {
        self.held.iter().map(|(asker, _)| asker)
    }
}

impl Core {
    /// Holds a command that names an unknown job while Slurm is asked about it; gives it back if that is not to be.
    pub(super) fn hold_for_adoption(
        &mut self,
        asker: &Asker,
        command: Command,
        context: &mut Context<'_>,
    ) -> Result<Option<Command>, Rejection> {
        let job_id = match &command {
            Command::SwarmAdopt(adopt) => Some(&adopt.job_id),
            Command::Inject(Inject { target, .. })
            | Command::Interrupt(Interrupt { target, .. })
            | Command::ApproveExecution(ApproveExecution { target, .. }) => {
                target.job_id.as_ref().filter(|_| target.swarm_id.is_none())
            }
            _ => None,
        };
        let is_unknown = |job_id: &&JobId| !self.jobs.contains_key(*job_id) && self.settings.slurm.is_some();
        let Some(job_id) = job_id.filter(is_unknown) else {
            return Ok(Some(command));
        };
        // What is no number was never a job of Slurm's.
        job::show(job_id).map_err(|error| Rejection::field(RejectionCode::UnknownJob, "job_id", error))?;
        let job_id = job_id.clone();
        if self.adopting.len() >= MOST_JOBS && !self.adopting.contains_key(&job_id) {
            let reason = format!("{MOST_JOBS} jobs wait to be looked up; try again later");
            return Err(Rejection::new(RejectionCode::Overloaded, reason));
        }
        if let Command::Inject(inject) = &command {
            self.check_prompt("content", &inject.content)?;
        }
        let adoption = self.adopting.entry(job_id.clone()).or_default();
        let is_full = adoption.held.len() >= MOST_HELD;
        let same = |held: &&mut (Asker, Command)| asker.request_id.is_some() && held.0.request_id == asker.request_id;
        match adoption.held.iter_mut().find(same) {
            // Asked again over another connection: still one command.
            Some(held) if held.1 == command => held.0 = asker.clone(),
            Some(_) => return Err(super::commands::reused()),
            None if is_full => {
                let reason = format!("{MOST_HELD} commands wait for job {job_id} to be looked up; try again later");
                return Err(Rejection::new(RejectionCode::Overloaded, reason));
            }
            None => adoption.held.push((asker.clone(), command)),
        }
        adoption.deadline = context.at.now + PATIENCE;
        self.timers.insert((adoption.deadline, Timer::Adoption(job_id.clone())));
        self.look_up(&job_id, context);
        Ok(None)
    }

    fn look_up(&mut self, job_id: &JobId, context: &mut Context<'_>) {
        if !self.link_is_up() {
            return;
        }
        let Some(adoption) = self.adopting.get_mut(job_id).filter(|adoption| !adoption.asked) else {
            return;
        };
        if let Ok(call) = job::show(job_id) {
            adoption.asked = true;
            Self::call(Errand::Adopt(job_id.clone()), call, context);
        }
    }

    pub(super) fn adoptions_after_link_up(&mut self, context: &mut Context<'_>) {
        for job_id in self.adopting.keys().cloned().collect::<Vec<_>>() {
            self.look_up(&job_id, context);
        }
    }

    pub(super) fn looked_up(
        &mut self,
        job_id: &JobId,
        outcome: Result<Answer, NotAnswered>,
        context: &mut Context<'_>,
    ) {
        let read = match outcome {
            Ok(answer) => job::read(job_id, &answer),
            Err(not) => return self.look_up_later(job_id, not.error, context),
        };
        if let Err(error) = &read
            && error.may_pass()
        {
            return self.look_up_later(job_id, error.to_string(), context);
        }
        let Some(adoption) = self.adopting.remove(job_id) else {
            return;
        };
        match read {
            Ok(job) => match self.adopt(&job, context) {
                Ok(()) => {
                    for (asker, command) in adoption.held {
                        self.command_of(&asker, command, None, context);
                    }
                }
                Err(rejection) => refuse_all(adoption, &rejection, context),
            },
            Err(error) => {
                let rejection = Rejection::field(RejectionCode::UnknownJob, "job_id", error);
                refuse_all(adoption, &rejection, context);
            }
        }
    }

    /// Slurm did not answer. It is asked again when the link is back, or soon, until the command has waited long enough.
    fn look_up_later(&mut self, job_id: &JobId, error: String, context: &mut Context<'_>) {
        if let Some(adoption) = self.adopting.get_mut(job_id) {
            (adoption.asked, adoption.trouble) = (false, Some(error));
            let again = Timer::Adoption(job_id.clone());
            self.timers.insert((context.at.now + LOOK_UP_AGAIN, again));
        }
    }

    /// A job is a swarm from now on: its outboxes are read from their beginning.
    fn adopt(&mut self, job: &job::Job, context: &mut Context<'_>) -> Result<(), Rejection> {
        let job_id = job.job_id.clone();
        if self.jobs.contains_key(&job_id) {
            return Ok(());
        }
        // Its number may be a slip of the pen, and a prompt for it would wait for ever.
        if job.name != JOB_NAME && job.swarm_id().is_none() {
            let reason = format!(
                "job {job_id} is no job of codeswarm: its name is {:?}. If its workers do use this mailbox, tell Slurm so: \
                 scontrol update jobid={job_id} name={JOB_NAME}",
                job.name
            );
            return Err(Rejection::field(RejectionCode::UnknownJob, "job_id", reason));
        }
        if let Some(launching) = job
            .swarm_id()
            .filter(|swarm_id| self.submissions.contains_key(swarm_id))
        {
            let reason =
                format!("job {job_id} is that of swarm {launching}, whose launch is under way; try again in a moment");
            return Err(Rejection::field(RejectionCode::UnknownJob, "job_id", reason));
        }
        if super::job::is_over(&job.state) {
            let reason = format!("job {job_id} is over: {}", job.ending().unwrap_or_default());
            return Err(Rejection::field(RejectionCode::UnknownJob, "job_id", reason));
        }
        let node_count = job.task_count.or(job.node_count).unwrap_or(1).max(1);
        if node_count > self.settings.max_nodes {
            let reason = format!(
                "job {job_id} has {node_count} tasks; at most {} are taken",
                self.settings.max_nodes
            );
            return Err(Rejection::field(RejectionCode::BadField, "job_id", reason));
        }
        let known = job.swarm_id().filter(|swarm_id| !self.swarms.contains_key(swarm_id));
        let swarm_id = known.unwrap_or_else(|| context.names.swarm());
        let swarm = Swarm {
            swarm_id: swarm_id.clone(),
            job_id: job_id.clone(),
            node_count,
            system_prompt: None,
            status: SwarmState::Pending,
            reason: None,
            provider: SLURM.to_owned(),
            agent: String::new(),
            created: context.at.wall,
            request_id: None,
            spec: LaunchSpec {
                version: codeswarm_protocol::VERSION.to_owned(),
                swarm_id: Some(swarm_id.clone()),
                job_id: Some(job_id.clone()),
                node_count,
                agent: self.settings.agent.clone(),
                worker: self.settings.worker.clone(),
                agents_md_content: None,
            },
            job: Some(JobNow::of(node_count / job.node_count.unwrap_or(node_count).max(1))),
        };
        context.save(Change::of_swarm(swarm.clone()));
        self.add_nodes(&swarm, context);
        self.jobs.insert(job_id.clone(), swarm_id.clone());
        self.swarms.insert(swarm_id.clone(), swarm);
        self.preparing.insert(swarm_id.clone());
        self.resumed.insert(swarm_id.clone());
        self.prepare(&swarm_id, context);
        self.heard_of(&job_id, job.clone().into(), context.at.now, context);
        self.attend_queue(context);
        Ok(())
    }

    /// The answer to the command that asks for it, the first time and again.
    pub(super) fn tell_adopted(
        &mut self,
        asker: &Asker,
        job_id: &JobId,
        context: &mut Context<'_>,
    ) -> Result<(), Rejection> {
        let Some(swarm) = self.jobs.get(job_id).and_then(|swarm_id| self.swarms.get(swarm_id)) else {
            let reason = format!("no job {job_id} is known here; swarm_list tells which are");
            return Err(Rejection::field(RejectionCode::UnknownJob, "job_id", reason));
        };
        let word = RouterWord::SwarmAdopted {
            node_count: swarm.node_count,
            status: swarm.status,
            provider: swarm.provider.clone(),
        };
        let event = swarm.event(word, context.at.wall);
        context.effects.push(Effect::FollowSwarm {
            client: asker.client,
            swarm_id: swarm.swarm_id.clone(),
            request_id: None,
        });
        answer(asker, event, context);
        Ok(())
    }

    pub(super) fn adoption_due(&mut self, job_id: &JobId, context: &mut Context<'_>) {
        let adoption = match self.adopting.entry(job_id.clone()) {
            Entry::Occupied(waiting) if context.at.now >= waiting.get().deadline => waiting.remove(),
            _ => return self.look_up(job_id, context),
        };
        let trouble = adoption.trouble.as_deref().unwrap_or("no answer came");
        let reason = format!(
            "job {job_id} could not be looked up within {} s: {trouble}. Nothing was done",
            PATIENCE.as_secs()
        );
        refuse_all(adoption, &Rejection::new(RejectionCode::Link, reason), context);
    }

    pub(super) fn refuse_waiting_adoptions(&mut self, rejection: &Rejection, context: &mut Context<'_>) {
        for (_, adoption) in std::mem::take(&mut self.adopting) {
            refuse_all(adoption, rejection, context);
        }
    }
}

fn refuse_all(adoption: Adoption, rejection: &Rejection, context: &mut Context<'_>) {
    for (asker, _) in adoption.held {
        reject(&asker, rejection.clone(), context);
    }
}
