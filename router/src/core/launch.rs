//! The beginning of a swarm, and finding it again after a restart of the router.

use std::time::Duration;

use codeswarm_protocol::command::SwarmLaunch;
use codeswarm_protocol::event::{RouterWord, SwarmState};
use codeswarm_protocol::frame::{Downward, Ticket};
use codeswarm_protocol::launch::{AgentSpec, LaunchSpec, WorkerSpec};
use codeswarm_protocol::{NodeId, Place, Rejection, RejectionCode, SwarmId};

use super::answer::{Asker, launched};
use super::job::SLURM;
use super::model::{Awaited, JobNow, Node, Swarm};
use super::submission::Submission;
use super::{Change, Context, Core, Effect, KnownRequest, ProviderCommand, Timer, Whom, WorkerToRun};

/// How soon it is tried again to make the mailbox files of a swarm of an earlier life.
const PREPARE_AGAIN: Duration = Duration::from_secs(5);

impl Core {
    pub(super) fn launch(
        &mut self,
        asker: &Asker,
        launch: SwarmLaunch,
        fingerprint: String,
        context: &mut Context<'_>,
    ) -> Result<(), Rejection> {
        let max = self.settings.max_nodes;
        if launch.nodes == 0 || launch.nodes > max {
            return Err(Rejection::field(
                RejectionCode::BadField,
                "nodes",
                format!("has to be 1 to {max}"),
            ));
        }
        if let Some(prompt) = &launch.system_prompt {
            self.check_prompt("system_prompt", prompt)?;
            self.texts.check_room(prompt)?;
        }
        check_times(launch.agent.as_deref(), launch.worker.as_ref())?;
        let provider = self.provider_named(launch.provider.as_deref())?;
        if provider == SLURM {
            return self.launch_in_slurm(asker, launch, fingerprint, context);
        }
        if launch.provider_params.as_ref().is_some_and(|params| !params.is_empty()) {
            return Err(Rejection::field(
                RejectionCode::Provider,
                "provider_params",
                "the local provider has no settings; leave it out",
            ));
        }
        let node_count = launch.nodes;
        let swarm = self.swarm_to_be(asker, launch, (provider, node_count, None), context);
        self.begin(asker, swarm, fingerprint, context);
        Ok(())
    }

    /// The same, as a job of Slurm: it is a swarm when there is a job.
    fn launch_in_slurm(
        &mut self,
        asker: &Asker,
        launch: SwarmLaunch,
        fingerprint: String,
        context: &mut Context<'_>,
    ) -> Result<(), Rejection> {
        let Some(settings) = &self.settings.slurm else {
            return Err(Rejection::new(
                RejectionCode::Provider,
                "there is no Slurm in this configuration",
            ));
        };
        let slurm = settings
            .section
            .with(&launch.provider_params.clone().unwrap_or_default())
            .map_err(|error| Rejection::field(RejectionCode::BadField, "provider_params", error))?;
        let agents_per_node = slurm.agents_per_node.unwrap_or(1).max(1);
        let node_count = launch.nodes.saturating_mul(agents_per_node);
        if node_count > self.settings.max_nodes {
            let reason = format!(
                "{} nodes with {agents_per_node} agents each are {node_count} agents; at most {} are taken",
                launch.nodes, self.settings.max_nodes
            );
            return Err(Rejection::field(RejectionCode::BadField, "nodes", reason));
        }
        let (nodes, immediate, job) = (launch.nodes, launch.immediate, JobNow::of(agents_per_node));
        let swarm = self.swarm_to_be(asker, launch, (SLURM.to_owned(), node_count, Some(job)), context);
        let submission = Submission::new(swarm, slurm, nodes, immediate, fingerprint, asker.clone());
        // Everything but the binary's path is known now, so that nothing bad waits for the link.
        submission
            .batch_job(settings, "/codeswarm")
            .map_err(|error| Rejection::field(RejectionCode::BadField, "provider_params", error))?;
        self.submit(submission, context);
        Ok(())
    }

    /// A swarm as it begins. The number of a job of Slurm's is not known yet: it gets a stand-in.
    fn swarm_to_be(
        &self,
        asker: &Asker,
        launch: SwarmLaunch,
        (provider, node_count, job): (String, u32, Option<JobNow>),
        context: &mut Context<'_>,
    ) -> Swarm {
        let (swarm_id, job_id) = (context.names.swarm(), context.names.job());
        let spec = LaunchSpec {
            version: codeswarm_protocol::VERSION.to_owned(),
            swarm_id: Some(swarm_id.clone()),
            job_id: job.is_none().then(|| job_id.clone()),
            node_count,
            agent: launch.agent.map_or_else(|| self.settings.agent.clone(), |agent| *agent),
            worker: launch.worker.unwrap_or_else(|| self.settings.worker.clone()),
            agents_md_content: launch.agents_md_content,
        };
        Swarm {
            swarm_id,
            job_id,
            node_count,
            system_prompt: launch.system_prompt,
            status: SwarmState::Pending,
            reason: None,
            provider,
            agent: spec.agent.kind.as_str().to_owned(),
            created: context.at.wall,
            request_id: asker.request_id.clone(),
            spec,
            job,
        }
    }

    /// A launch has become a swarm: it is stored whole, with its first prompts, and told.
    pub(super) fn begin(&mut self, asker: &Asker, swarm: Swarm, fingerprint: String, context: &mut Context<'_>) {
        context.save(Change::of_swarm(swarm.clone()));
        let places = self.add_nodes(&swarm, context);
        self.jobs.insert(swarm.job_id.clone(), swarm.swarm_id.clone());
        self.swarms.insert(swarm.swarm_id.clone(), swarm.clone());

        let mut event = swarm.event(launched(&swarm), context.at.wall);
        event.request_id.clone_from(&asker.request_id);
        context.effects.push(Effect::FollowSwarm {
            client: asker.client,
            swarm_id: swarm.swarm_id.clone(),
            request_id: None,
        });
        // An answer comes whatever else is on its way to the client; news only if there is room.
        context.tell(Whom::Client(asker.client), event.clone());
        context.tell(Whom::OthersOfSwarm(swarm.swarm_id.clone(), asker.client), event);
        let injections = match &swarm.system_prompt {
            Some(prompt) => self.accept(asker, &places, prompt, false, context),
            None => Vec::new(),
        };
        let known = KnownRequest {
            fingerprint,
            swarm_id: Some(swarm.swarm_id.clone()),
            injections,
        };
        self.remember(asker, known, context);
        self.start(&swarm, context);
    }

    fn provider_named(&self, name: Option<&str>) -> Result<String, Rejection> {
        let known = || {
            self.settings
                .providers
                .iter()
                .map(|p| p.name.as_str())
                .collect::<Vec<_>>()
                .join(", ")
        };
        let found = match name {
            Some(name) => self.settings.providers.iter().find(|provider| provider.name == name),
            None => self.settings.providers.iter().find(|provider| provider.default),
        };
        found.map(|provider| provider.name.clone()).ok_or_else(|| {
            let reason = match name {
                Some(name) => format!("no provider {name:?} in this configuration; there is {}", known()),
                None => "this configuration has no provider".to_owned(),
            };
            Rejection::field(RejectionCode::Provider, "provider", reason)
        })
    }

    pub(super) fn add_nodes(&mut self, swarm: &Swarm, context: &mut Context<'_>) -> Vec<Place> {
        let places = places_of(swarm);
        for place in &places {
            context.save(Change::Node(place.clone(), Box::default()));
            self.nodes.insert(place.clone(), Node::default());
        }
        places
    }

    /// Has the mailbox files made and the workers started that do not run yet.
    fn start(&mut self, swarm: &Swarm, context: &mut Context<'_>) {
        self.preparing.insert(swarm.swarm_id.clone());
        if swarm.job.is_some() {
            // Slurm starts its workers; whatever the disk says, they may be running.
            self.resumed.insert(swarm.swarm_id.clone());
            return self.prepare(&swarm.swarm_id, context);
        }
        let workers = self.places(&swarm.swarm_id).into_iter().filter_map(|place| {
            let node = self.nodes.get(&place).filter(|node| !node.is_over())?;
            Some(WorkerToRun {
                pid: node.pid,
                pid_started: node.pid_started,
                place,
            })
        });
        context.effects.push(Effect::Provider(ProviderCommand::Launch {
            swarm_id: swarm.swarm_id.clone(),
            job_id: swarm.job_id.clone(),
            spec: Box::new(swarm.spec.clone()),
            workers: workers.collect(),
        }));
        self.prepare(&swarm.swarm_id, context);
    }

    pub(super) fn prepare(&mut self, swarm_id: &SwarmId, context: &mut Context<'_>) {
        let Some(swarm) = self.swarms.get(swarm_id).filter(|_| self.link_is_up()) else {
            return;
        };
        let (job_id, node_count) = (swarm.job_id.clone(), swarm.node_count);
        let prepare = Downward::Prepare {
            ticket: self.ticket(Awaited::Prepare(swarm_id.clone())),
            job_id,
            node_count,
        };
        self.ask_follower(prepare, context);
    }

    pub(super) fn prepared(&mut self, ticket: Ticket, error: Option<String>, context: &mut Context<'_>) {
        let swarm_id = match self.tickets.remove(&ticket) {
            Some(Awaited::Prepare(swarm_id)) => swarm_id,
            Some(Awaited::LaunchFile(swarm_id)) => return self.launch_file_written(&swarm_id, error, context),
            _ => return,
        };
        if let Some(error) = error {
            return self.not_prepared(&swarm_id, &error, context);
        }
        self.preparing.remove(&swarm_id);
        let local = self.swarms.get(&swarm_id).filter(|swarm| swarm.job.is_none());
        let go = local.map(|swarm| ProviderCommand::Go {
            job_id: swarm.job_id.clone(),
        });
        let places: Vec<Place> = self.places(&swarm_id);
        for place in &places {
            self.watch(place, context);
        }
        context.effects.extend(go.map(Effect::Provider));
        for place in places {
            self.deliver_next(&place, context);
        }
    }

    fn not_prepared(&mut self, swarm_id: &SwarmId, error: &str, context: &mut Context<'_>) {
        if !self.resumed.contains(swarm_id) {
            self.preparing.remove(swarm_id);
            let reason = format!("the mailbox files could not be made: {error}");
            return self.swarm_failed(swarm_id, &reason, context);
        }
        // Its workers may be at work, and have prompts that nobody else knows of: a disk that is full for a while ends nothing.
        let seconds = PREPARE_AGAIN.as_secs();
        let message = format!("swarm {swarm_id} cannot be followed yet: {error}. It is tried again every {seconds} s");
        let event = context.event(RouterWord::RouterTrouble { message });
        context.tell(Whom::Everybody, event);
        let again = Timer::Prepare(swarm_id.clone());
        self.timers.insert((context.at.now + PREPARE_AGAIN, again));
    }

    /// The nodes of a swarm, in order of rank.
    pub fn places(&self, swarm_id: &SwarmId) -> Vec<Place> {
        self.swarms.get(swarm_id).map(places_of).unwrap_or_default()
    }

    /// A swarm of an earlier life: its files are made again if need be, followed, and its workers looked for.
    pub(super) fn resume_swarm(&mut self, swarm: &Swarm, context: &mut Context<'_>) {
        self.resumed.insert(swarm.swarm_id.clone());
        self.start(swarm, context);
        if swarm.status == SwarmState::Terminating && swarm.job.is_none() {
            let command = ProviderCommand::Terminate {
                job_id: swarm.job_id.clone(),
            };
            context.effects.push(Effect::Provider(command));
        }
    }
}

fn places_of(swarm: &Swarm) -> Vec<Place> {
    let ranks = (0..swarm.node_count).filter_map(|rank| NodeId::new(rank).ok());
    ranks.map(|node| Place::new(swarm.job_id.clone(), node)).collect()
}

/// A time of nothing would end every turn, or every worker, at once.
fn check_times(agent: Option<&AgentSpec>, worker: Option<&WorkerSpec>) -> Result<(), Rejection> {
    let agent = agent.map(|agent| {
        [
            ("agent.turn_timeout_seconds", agent.turn_timeout_seconds),
            ("agent.start_timeout_seconds", agent.start_timeout_seconds),
            ("agent.approval_timeout_seconds", agent.approval_timeout_seconds),
        ]
    });
    let worker = worker.map(|worker| {
        [
            ("worker.heartbeat_seconds", worker.heartbeat_seconds),
            ("worker.shutdown_grace_seconds", worker.shutdown_grace_seconds),
            ("worker.queue_limit", worker.queue_limit.into()),
        ]
    });
    match agent
        .into_iter()
        .chain(worker)
        .flatten()
        .find(|(_, number)| *number == 0)
    {
        Some((field, _)) => Err(Rejection::field(RejectionCode::BadField, field, "has to be at least 1")),
        None => Ok(()),
    }
}
