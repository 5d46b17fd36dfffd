//! The beginning of a swarm, and finding it again after a restart of the router.

use std::time::Duration;

use codeswarm_protocol::command::SwarmLaunch;
use codeswarm_protocol::event::{RouterWord, SwarmState};
use codeswarm_protocol::frame::{Downward, Ticket};
use codeswarm_protocol::launch::{AgentSpec, LaunchSpec, WorkerSpec};
use codeswarm_protocol::{NodeId, Place, Rejection, RejectionCode, SwarmId};

use super::answer::{Asker, launched};
use super::model::{Awaited, Node, Swarm};
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
        if launch.provider_params.as_ref().is_some_and(|params| !params.is_empty()) {
            return Err(Rejection::field(
                RejectionCode::Provider,
                "provider_params",
                "the local provider has no settings; leave it out",
            ));
        }
        check_times(launch.agent.as_deref(), launch.worker.as_ref())?;
        let provider = self.provider_named(launch.provider.as_deref())?;
        let (swarm_id, job_id) = (context.names.swarm(), context.names.job());
        let spec = LaunchSpec {
            version: codeswarm_protocol::VERSION.to_owned(),
            swarm_id: Some(swarm_id.clone()),
            job_id: Some(job_id.clone()),
            node_count: launch.nodes,
            agent: launch.agent.map_or_else(|| self.settings.agent.clone(), |agent| *agent),
            worker: launch.worker.unwrap_or_else(|| self.settings.worker.clone()),
            agents_md_content: launch.agents_md_content,
        };
        let swarm = Swarm {
            swarm_id,
            job_id,
            node_count: launch.nodes,
            system_prompt: launch.system_prompt,
            status: SwarmState::Pending,
            reason: None,
            provider,
            agent: spec.agent.kind.as_str().to_owned(),
            created: context.at.wall,
            request_id: asker.request_id.clone(),
            spec,
        };
        context.save(Change::Swarm(swarm.clone()));
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
        Ok(())
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
                None => "cluster.backend is \"slurm\", and this version starts swarms on one machine only; take a \
                         configuration with \"local\""
                    .to_owned(),
            };
            Rejection::field(RejectionCode::Provider, "provider", reason)
        })
    }

    fn add_nodes(&mut self, swarm: &Swarm, context: &mut Context<'_>) -> Vec<Place> {
        let ranks = (0..swarm.node_count).filter_map(|rank| NodeId::new(rank).ok());
        let places: Vec<Place> = ranks.map(|node| Place::new(swarm.job_id.clone(), node)).collect();
        for place in &places {
            context.save(Change::Node(place.clone(), Box::default()));
            self.nodes.insert(place.clone(), Node::default());
        }
        places
    }

    /// Has the mailbox files made and the workers started that do not run yet.
    fn start(&mut self, swarm: &Swarm, context: &mut Context<'_>) {
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
        self.preparing.insert(swarm.swarm_id.clone());
        self.prepare(&swarm.swarm_id, context);
    }

    pub(super) fn prepare(&mut self, swarm_id: &SwarmId, context: &mut Context<'_>) {
        let ticket = self.ticket(Awaited::Prepare(swarm_id.clone()));
        let Some(swarm) = self.swarms.get(swarm_id) else { return };
        let prepare = Downward::Prepare {
            ticket,
            job_id: swarm.job_id.clone(),
            node_count: swarm.node_count,
        };
        context.effects.push(Effect::Follower(prepare));
    }

    pub(super) fn prepared(&mut self, ticket: Ticket, error: Option<String>, context: &mut Context<'_>) {
        let Some(Awaited::Prepare(swarm_id)) = self.tickets.remove(&ticket) else {
            return;
        };
        if let Some(error) = error {
            return self.not_prepared(&swarm_id, &error, context);
        }
        self.preparing.remove(&swarm_id);
        let Some(swarm) = self.swarms.get(&swarm_id) else {
            return;
        };
        let job_id = swarm.job_id.clone();
        let places: Vec<Place> = self.places(&swarm_id);
        for place in &places {
            let Some(node) = self.nodes.get(place) else { continue };
            if !node.ended {
                let watch = Downward::Watch {
                    place: place.clone(),
                    offset: node.offset,
                };
                context.effects.push(Effect::Follower(watch));
            }
        }
        context.effects.push(Effect::Provider(ProviderCommand::Go { job_id }));
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
        let Some(swarm) = self.swarms.get(swarm_id) else {
            return Vec::new();
        };
        let ranks = (0..swarm.node_count).filter_map(|rank| NodeId::new(rank).ok());
        ranks.map(|node| Place::new(swarm.job_id.clone(), node)).collect()
    }

    /// A swarm of an earlier life: its files are made again if need be, followed, and its workers looked for.
    pub(super) fn resume_swarm(&mut self, swarm_id: &SwarmId, context: &mut Context<'_>) {
        let Some(swarm) = self.swarms.get(swarm_id).cloned() else {
            return;
        };
        self.resumed.insert(swarm_id.clone());
        self.start(&swarm, context);
        if swarm.status == SwarmState::Terminating {
            let command = ProviderCommand::Terminate {
                job_id: swarm.job_id.clone(),
            };
            context.effects.push(Effect::Provider(command));
        }
    }
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
