//! Each command of a client: checked whole before anything changes.

use codeswarm_protocol::command::{
    ApproveExecution, Command, Inject, Interrupt, Request, SwarmStatus as StatusCommand, Target,
};
use codeswarm_protocol::event::{RecalledInjection, RouterEvent, RouterWord, SwarmSummary};
use codeswarm_protocol::inbox::Control;
use codeswarm_protocol::{Place, Rejection, RejectionCode, RequestId, SwarmId};

use super::answer::{Asker, answer, launched, reject};
use super::model::Outgoing;
use super::{ClientId, Context, Core, Effect, KnownRequest, Swarm, Whom};

impl Core {
    pub(super) fn command(
        &mut self,
        client: ClientId,
        request: Request,
        known: Option<KnownRequest>,
        context: &mut Context<'_>,
    ) {
        let asker = Asker {
            client,
            request_id: request.request_id.clone(),
        };
        self.command_of(&asker, request.command, known, context);
    }

    /// One command: carried out, held until more is known, or refused.
    pub(super) fn command_of(
        &mut self,
        asker: &Asker,
        command: Command,
        known: Option<KnownRequest>,
        context: &mut Context<'_>,
    ) {
        if let Err(rejection) = self.carry_out(asker, command, known, context) {
            reject(asker, rejection, context);
        }
    }

    fn carry_out(
        &mut self,
        asker: &Asker,
        command: Command,
        known: Option<KnownRequest>,
        context: &mut Context<'_>,
    ) -> Result<(), Rejection> {
        if let Command::Recall(recall) = command {
            return self.recall(asker, recall.of, known, context);
        }
        let fingerprint = match asker.request_id {
            Some(_) => serde_json::to_string(&command)
                .map(|text| fingerprint(&text))
                .map_err(|error| Rejection::new(RejectionCode::State, error.to_string()))?,
            None => String::new(),
        };
        if let Some(known) = known {
            return self.repeat(asker, &fingerprint, &command, known, context);
        }
        if let Some(joined) = self.joins_submission(asker, &fingerprint) {
            return joined;
        }
        let Some(command) = self.hold_for_adoption(asker, command, context)? else {
            return Ok(());
        };
        match command {
            Command::SwarmLaunch(launch) => self.launch(asker, launch, fingerprint, context)?,
            Command::SwarmAdopt(adopt) => self.tell_adopted(asker, &adopt.job_id, context)?,
            Command::Inject(inject) => self.inject(asker, inject, fingerprint, context)?,
            Command::Interrupt(interrupt) => self.interrupt(asker, &interrupt, fingerprint, context)?,
            Command::ApproveExecution(approval) => self.approve(asker, &approval, fingerprint, context)?,
            Command::SwarmList(_) => self.list(asker, context),
            Command::SwarmStatus(StatusCommand { swarm_id }) => self.answer_status(asker, &swarm_id, context)?,
            Command::SwarmTerminate(terminate) => self.terminate(asker, &terminate.swarm_id, context)?,
            Command::Subscribe(_) | Command::Recall(_) => {
                return Err(Rejection::new(
                    RejectionCode::State,
                    "a subscription or a recall reached the core as a command; this is a defect",
                ));
            }
            Command::ProvidersList(_) => {
                let providers = self.settings.providers.clone();
                answer(asker, context.event(RouterWord::ProvidersList { providers }), context);
            }
            Command::Ping(_) => {
                let live_swarms = u32::try_from(self.live_swarms()).unwrap_or(u32::MAX);
                let version = codeswarm_protocol::VERSION.to_owned();
                let word = RouterWord::Pong {
                    version,
                    pid: self.settings.pid,
                    live_swarms,
                };
                answer(asker, context.event(word), context);
            }
            Command::Shutdown(_) => {
                self.stopping = true;
                // Everybody hears it: who follows a swarm must not take it for a crash and start the router again.
                let mut event = context.event(RouterWord::ShuttingDown {});
                event.request_id.clone_from(&asker.request_id);
                context.tell(Whom::Everybody, event);
            }
        }
        Ok(())
    }

    /// The same request again: nothing is done twice, and its client hears all that came of it from the start.
    fn repeat(
        &mut self,
        asker: &Asker,
        fingerprint: &str,
        command: &Command,
        known: KnownRequest,
        context: &mut Context<'_>,
    ) -> Result<(), Rejection> {
        if known.fingerprint != fingerprint {
            return Err(reused());
        }
        // What was said about a running turn then must not reach another turn now.
        match command {
            Command::Interrupt(interrupt) => {
                for place in self.target_places(&interrupt.target, |_| false)? {
                    let event = self.about(&place, RouterWord::InterruptAck {}, context);
                    answer(asker, event, context);
                }
            }
            Command::ApproveExecution(approval) => {
                let call_id = approval.call_id.clone();
                answer(asker, context.event(RouterWord::ApprovalAck { call_id }), context);
            }
            _ => {}
        }
        self.tell_again(asker, known, context);
        Ok(())
    }

    /// What a request of whichever client has caused is told to this one, too.
    fn recall(
        &mut self,
        asker: &Asker,
        of: RequestId,
        known: Option<KnownRequest>,
        context: &mut Context<'_>,
    ) -> Result<(), Rejection> {
        let Some(known) = known else {
            let why = match self.is_launch_under_way(&of) {
                true => {
                    "is a launch that is still on its way to Slurm; ask again, or send the launch again, which is answered when it is there"
                }
                false => "this router has carried out no such request that acts",
            };
            return Err(Rejection::field(RejectionCode::UnknownRequest, "of", why));
        };
        let injections = known.injections.iter();
        let injections = injections.map(|(injection_id, place, _)| RecalledInjection {
            injection_id: injection_id.clone(),
            job_id: place.job_id.clone(),
            node_id: place.node_id,
        });
        let word = RouterWord::Recalled {
            of: of.clone(),
            injections: injections.collect(),
        };
        let swarm = match (&known.swarm_id, known.injections.first()) {
            (Some(swarm_id), _) => self.swarms.get(swarm_id),
            (None, Some((_, place, _))) => self.swarm_of_job(&place.job_id),
            (None, None) => None,
        };
        let event = match swarm {
            Some(swarm) => swarm.event(word, context.at.wall),
            None => context.event(word),
        };
        let swarm_id = event.swarm_id.clone();
        answer(asker, event, context);
        let places = known.injections.iter().map(|(_, place, _)| place.clone()).collect();
        let as_who_asked_first = Asker {
            client: asker.client,
            request_id: Some(of),
        };
        self.tell_again(&as_who_asked_first, known, context);
        context.effects.push(Effect::CatchUp {
            client: asker.client,
            request_id: asker.request_id.clone(),
            swarm_id,
            places,
        });
        Ok(())
    }

    /// What a request has caused is told from its start, as to whoever made it.
    fn tell_again(&mut self, asker: &Asker, known: KnownRequest, context: &mut Context<'_>) {
        if let Some(swarm) = known.swarm_id.as_ref().and_then(|id| self.swarms.get(id)) {
            context.effects.push(Effect::FollowSwarm {
                client: asker.client,
                swarm_id: swarm.swarm_id.clone(),
                request_id: None,
            });
            let mut event = swarm.event(launched(swarm), context.at.wall);
            event.request_id.clone_from(&asker.request_id);
            context.tell(Whom::Client(asker.client), event);
        }
        for (injection_id, place, acknowledged_at) in known.injections {
            let from = Some(super::delivery::just_before(acknowledged_at));
            let end = self.stream_end(&place).0;
            context.effects.push(Effect::Follow {
                client: asker.client,
                injection_id,
                place,
                end,
                from,
            });
        }
    }

    fn inject(
        &mut self,
        asker: &Asker,
        inject: Inject,
        fingerprint: String,
        context: &mut Context<'_>,
    ) -> Result<(), Rejection> {
        self.check_prompt("content", &inject.content)?;
        let places = self.target_places(&inject.target, |place| self.waits_for_another_life(place))?;
        self.texts.check_room(&inject.content)?;
        let injections = self.accept(asker, &places, &inject.content, inject.steer, context);
        self.remember(
            asker,
            KnownRequest {
                fingerprint,
                swarm_id: None,
                injections,
            },
            context,
        );
        for place in places {
            self.deliver_next(&place, context);
        }
        Ok(())
    }

    fn interrupt(
        &mut self,
        asker: &Asker,
        interrupt: &Interrupt,
        fingerprint: String,
        context: &mut Context<'_>,
    ) -> Result<(), Rejection> {
        let places = self.target_places(&interrupt.target, |_| false)?;
        let is_named = |place: &Place| self.nodes.get(place).is_some_and(|node| node.current.is_some());
        if !self.link_is_up() && interrupt.injection_id.is_none() && !places.iter().all(is_named) {
            let reason = "the link to the login node is down, and an interrupt of whatever runs must not reach a turn that \
                          runs later; name the injection, or interrupt again when the link is up";
            return Err(Rejection::new(RejectionCode::NotDelivered, reason));
        }
        self.remember(
            asker,
            KnownRequest {
                fingerprint,
                swarm_id: None,
                injections: Vec::new(),
            },
            context,
        );
        for place in places {
            let current = self.nodes.get(&place).and_then(|node| node.current.clone());
            let injection_id = interrupt.injection_id.clone().or(current);
            if let Some(id) = &injection_id
                && self.withdraw_undelivered(&place, id, context)
            {
                let mut event = self.about(&place, RouterWord::InterruptAck {}, context);
                event.injection_id = Some(id.clone());
                answer(asker, event, context);
                continue;
            }
            self.control(asker, &place, Control::Interrupt { injection_id }, context);
        }
        Ok(())
    }

    fn approve(
        &mut self,
        asker: &Asker,
        approval: &ApproveExecution,
        fingerprint: String,
        context: &mut Context<'_>,
    ) -> Result<(), Rejection> {
        let decision = approval.decision()?;
        if approval.call_id.is_empty() || approval.call_id.len() > 1024 {
            return Err(Rejection::field(
                RejectionCode::BadField,
                "call_id",
                "has 1 to 1024 bytes",
            ));
        }
        let places = match (&approval.target.nodes, approval.target.node_id) {
            (None, None) => self.askers_of(&approval.target, &approval.call_id)?,
            _ => self.target_places(&approval.target, |_| false)?,
        };
        self.remember(
            asker,
            KnownRequest {
                fingerprint,
                swarm_id: None,
                injections: Vec::new(),
            },
            context,
        );
        for place in places {
            let control = Control::Approval {
                call_id: approval.call_id.clone(),
                decision,
            };
            self.control(asker, &place, control, context);
        }
        Ok(())
    }

    /// The nodes of a swarm or job whose agents wait for this answer.
    fn askers_of(&self, target: &Target, call_id: &str) -> Result<Vec<Place>, Rejection> {
        let swarm = self.target_swarm(target)?;
        let asks = |place: &Place| {
            self.nodes
                .get(place)
                .is_some_and(|node| node.approvals.contains(call_id))
        };
        let places: Vec<Place> = self.places(&swarm.swarm_id).into_iter().filter(asks).collect();
        if places.is_empty() {
            let shown: String = call_id.chars().take(64).collect();
            return Err(Rejection::field(
                RejectionCode::BadField,
                "call_id",
                format!("no agent of swarm {} waits for an answer to {shown:?}", swarm.swarm_id),
            ));
        }
        Ok(places)
    }

    /// An event about a node that does not stand in its stream: an answer.
    pub(super) fn about(&self, place: &Place, word: RouterWord, context: &Context<'_>) -> RouterEvent {
        let mut event = context.event(word);
        event.swarm_id = self.jobs.get(&place.job_id).cloned();
        event.job_id = Some(place.job_id.clone());
        event.node_id = Some(place.node_id);
        event
    }

    fn control(&mut self, asker: &Asker, place: &Place, control: Control, context: &mut Context<'_>) {
        if let Some(node) = self.nodes.get_mut(place) {
            let (client, request_id) = (asker.client, asker.request_id.clone());
            node.line.push_back(Outgoing::Control {
                control,
                client,
                request_id,
            });
            self.deliver_next(place, context);
        }
    }

    fn list(&self, asker: &Asker, context: &mut Context<'_>) {
        let shorten = |text: &String| match text.char_indices().nth(200) {
            Some((end, _)) => format!("{}…", &text[..end]),
            None => text.clone(),
        };
        let swarms = self
            .swarms
            .values()
            .map(|swarm| {
                let summary = SwarmSummary {
                    job_id: swarm.job_id.clone(),
                    node_count: swarm.node_count,
                    system_prompt: swarm.system_prompt.as_ref().map(shorten),
                    status: swarm.status,
                    provider: swarm.provider.clone(),
                    agent: swarm.agent.clone(),
                    created: swarm.created,
                };
                (swarm.swarm_id.clone(), summary)
            })
            .collect();
        answer(asker, context.event(RouterWord::SwarmList { swarms }), context);
    }

    /// The nodes that a command is for; refused unless all of them exist and take words.
    /// The nodes that are meant. One that is over is refused, unless `waits` says that it may have another life.
    fn target_places(&self, target: &Target, waits: impl Fn(&Place) -> bool) -> Result<Vec<Place>, Rejection> {
        let swarm = self.target_swarm(target)?;
        let ranks = target.selector()?.resolve(swarm.node_count).map_err(|error| {
            let field = if target.node_id.is_some() { "node_id" } else { "nodes" };
            Rejection::field(RejectionCode::NodeOutOfRange, field, error)
        })?;
        if !swarm.status.takes_prompts() {
            let status = serde_json::to_value(swarm.status).unwrap_or_default();
            return Err(Rejection::new(
                RejectionCode::SwarmEnded,
                format!(
                    "swarm {} is {}; launch a new one",
                    swarm.swarm_id,
                    status.as_str().unwrap_or("over")
                ),
            ));
        }
        let places: Vec<Place> = ranks
            .into_iter()
            .map(|node| Place::new(swarm.job_id.clone(), node))
            .collect();
        match places
            .iter()
            .find(|place| self.nodes.get(place).is_none_or(super::Node::is_over) && !waits(place))
        {
            Some(gone) => Err(Rejection::field(
                RejectionCode::SwarmEnded,
                "nodes",
                format!(
                    "node {} of swarm {} has ended; leave it out or launch a new swarm",
                    gone.node_id, swarm.swarm_id
                ),
            )),
            None => Ok(places),
        }
    }

    fn target_swarm(&self, target: &Target) -> Result<&Swarm, Rejection> {
        let unknown_swarm = |id: &SwarmId| {
            Rejection::field(
                RejectionCode::UnknownSwarm,
                "swarm_id",
                format!("no swarm {id} is known here; swarm_list tells which are"),
            )
        };
        match (&target.swarm_id, &target.job_id) {
            (None, None) => Err(Rejection::field(
                RejectionCode::MissingField,
                "swarm_id",
                "say swarm_id or job_id",
            )),
            (Some(id), job) => {
                let swarm = self.swarms.get(id).ok_or_else(|| unknown_swarm(id))?;
                match job {
                    Some(job) if *job != swarm.job_id => Err(Rejection::field(
                        RejectionCode::BadField,
                        "job_id",
                        format!("swarm {id} is job {}, not {job}", swarm.job_id),
                    )),
                    _ => Ok(swarm),
                }
            }
            (None, Some(job)) => self.jobs.get(job).and_then(|id| self.swarms.get(id)).ok_or_else(|| {
                Rejection::field(
                    RejectionCode::UnknownJob,
                    "job_id",
                    format!("no job {job} is known here; swarm_list tells which are"),
                )
            }),
        }
    }

    pub(super) fn check_prompt(&self, field: &str, prompt: &str) -> Result<(), Rejection> {
        let limit = self.settings.max_prompt_bytes;
        if prompt.trim().is_empty() {
            return Err(Rejection::field(
                RejectionCode::EmptyPrompt,
                field,
                "the prompt is empty",
            ));
        }
        if prompt.len() > limit {
            return Err(Rejection::field(
                RejectionCode::PromptTooLong,
                field,
                format!(
                    "the prompt has {} bytes; at most {limit} are taken (router.max_prompt_bytes). Put long text into a file and name the file",
                    prompt.len()
                ),
            ));
        }
        Ok(())
    }

    pub(super) fn remember(&self, asker: &Asker, known: KnownRequest, context: &mut Context<'_>) {
        if let Some(request_id) = asker.request_id.clone() {
            context.save(super::Change::Request { request_id, known });
        }
    }
}

/// The refusal of a name that another command has.
pub(super) fn reused() -> Rejection {
    Rejection::field(
        RejectionCode::RequestIdReused,
        "request_id",
        "was used for another command; a new command needs a new one",
    )
}

/// A short stand-in for a long command: its length and a hash (FNV-1a, 128 bits), enough to tell a mistake from a repeat.
fn fingerprint(text: &str) -> String {
    let hash = text
        .bytes()
        .fold(0x6c62_272e_07bb_0142_62b8_2175_6295_c58d_u128, |hash, byte| {
            (hash ^ u128::from(byte)).wrapping_mul(0x0000_0000_0100_0000_0000_0000_0000_013b)
        });
    format!("{}-{hash:032x}", text.len())
}
