//! What happens between a prompt and its last word, decided without I/O: which events are for us and new, which turns are
//! open, what to ask of the router next, when it is over and with which exit code.
//!
//! It outlives connections: each new one starts with [`Follow::connected`], which repeats what was not answered and asks
//! for everything after the places last seen. So an event is shown once, whatever breaks.

pub mod positions;
pub mod turns;
mod wording;

use std::collections::BTreeSet;
use std::time::Duration;

use codeswarm_protocol::command::{Command, Subscribe, SwarmStatus, SwarmTerminate};
use codeswarm_protocol::event::{RouterWord, SwarmState};
use codeswarm_protocol::record::Word;
use codeswarm_protocol::{NodeId, RejectionCode, RequestId, SwarmId};

use crate::event::{Event, Said};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::rejection::refusal;
use crate::render::words;
use crate::request::{Names, Request};
use positions::Positions;
use turns::Turns;

/// `usage` stands right behind `turn_complete`; longer than this nobody waits for it.
const USAGE_PATIENCE: Duration = Duration::from_secs(2);
/// How long a swarm may take to end: Slurm's grace periods are up to a minute or two.
const END_PATIENCE: Duration = Duration::from_secs(180);

/// What is followed.
#[derive(Debug, Clone, PartialEq)]
pub enum Errand {
    /// A launch, the turns of its first prompt, and its end.
    Run {
        /// The launch.
        launch: Request,
    },
    /// The turns of one prompt.
    Inject {
        /// The prompt.
        inject: Request,
        /// The nodes it is for.
        nodes: Vec<NodeId>,
    },
    /// All that is said in a swarm, until its end.
    Attach,
}

/// What an input leads to.
#[derive(Debug, Default, PartialEq)]
pub struct Reaction {
    /// The event is for the user.
    pub show: bool,
    /// To be sent, in this order.
    pub send: Vec<Request>,
    /// To be said on standard error.
    pub notes: Vec<String>,
    /// It is over.
    pub end: Option<Result<Exit, Failure>>,
}

/// The state of following.
pub struct Follow {
    errand: Errand,
    names: Box<dyn Names>,
    /// Options that the user must repeat to come back, with a blank before them.
    options: String,
    swarm: Option<SwarmId>,
    turns: Option<Turns>,
    up: BTreeSet<NodeId>,
    positions: Positions,
    /// Commands sent on this connection.
    sent: Vec<RequestId>,
    /// Our own question after a reconnect, which is not the user's.
    status_asked: Option<RequestId>,
    /// Whether events of nodes count: before the subscription stands they will come again.
    taking: bool,
    caught_up: bool,
    told_standing: bool,
    connected_before: bool,
    over: Option<SwarmState>,
    /// The provider's word for the swarm's state, while its nodes are not up.
    provider_state: Option<String>,
    ending: Option<Ending>,
    settle_at: Option<Duration>,
    router_left: bool,
}

struct Ending {
    terminate: Option<Request>,
    by_user: bool,
    until: Duration,
}

impl Follow {
    /// Launch, follow, terminate.
    pub fn run(launch: Request, names: Box<dyn Names>, options: String) -> Self {
        Self::new(Errand::Run { launch }, None, Positions::default(), names, options)
    }

    /// Follow a prompt; `positions` is where the streams of the swarm's nodes stood before it.
    pub fn inject(
        swarm: SwarmId,
        inject: Request,
        nodes: Vec<NodeId>,
        positions: Positions,
        names: Box<dyn Names>,
        options: String,
    ) -> Self {
        let turns = Turns::of(nodes.iter().copied());
        let mut follow = Self::new(Errand::Inject { inject, nodes }, Some(swarm), positions, names, options);
        follow.turns = Some(turns);
        // A subscription is only how a later connection resumes; nobody asked for one.
        follow.told_standing = true;
        follow
    }

    /// Follow a swarm from `positions` on.
    pub fn attach(swarm: SwarmId, positions: Positions, names: Box<dyn Names>, options: String) -> Self {
        Self::new(Errand::Attach, Some(swarm), positions, names, options)
    }

    fn new(
        errand: Errand,
        swarm: Option<SwarmId>,
        positions: Positions,
        names: Box<dyn Names>,
        options: String,
    ) -> Self {
        Self {
            errand,
            names,
            options,
            swarm,
            turns: None,
            up: BTreeSet::new(),
            positions,
            sent: Vec::new(),
            status_asked: None,
            taking: false,
            caught_up: false,
            told_standing: false,
            connected_before: false,
            over: None,
            provider_state: None,
            ending: None,
            settle_at: None,
            router_left: false,
        }
    }

    /// A connection stands: what to send on it first.
    pub fn connected(&mut self) -> Reaction {
        let again = std::mem::replace(&mut self.connected_before, true);
        let mut send = Vec::new();
        match &self.errand {
            Errand::Run { launch } if self.swarm.is_none() => send.push(launch.clone()),
            Errand::Run { .. } | Errand::Attach => send.extend(self.subscription()),
            Errand::Inject { inject, .. } => {
                send.push(inject.clone());
                if again {
                    send.extend(self.subscription());
                }
            }
        }
        // The first connection of an inject needs no subscription: what it causes comes by itself.
        self.taking = !again && matches!(self.errand, Errand::Inject { .. });
        self.caught_up = self.taking;
        send.extend(self.ending.as_ref().and_then(|ending| ending.terminate.clone()));
        self.sent = send.iter().map(|request| request.id.clone()).collect();
        Reaction {
            send,
            ..Reaction::default()
        }
    }

    /// An event has come. `now` counts from any fixed moment and never runs backwards.
    pub fn heard(&mut self, event: &Event, now: Duration) -> Reaction {
        let head = &event.head;
        let ours = head.request_id.as_ref().is_some_and(|id| self.sent.contains(id));
        if ours && let Some((code, failure)) = refusal(event) {
            return self.refused(code, failure);
        }
        if let (Some(mine), Some(other)) = (&self.swarm, &head.swarm_id)
            && mine != other
        {
            return Reaction::default();
        }
        let mut reaction = Reaction::default();
        match head.position() {
            Some((node, position)) => {
                if !self.taking || !self.positions.advance(node, position) || !self.concerns(event) {
                    return reaction;
                }
                reaction.show = true;
                self.account(event, node, now, &mut reaction);
            }
            None => self.about_the_swarm(event, ours, now, &mut reaction),
        }
        if reaction.end.is_none() {
            reaction.end = self.finished().map(Ok);
        }
        self.sent.extend(reaction.send.iter().map(|request| request.id.clone()));
        reaction
    }

    /// Ctrl-C or the like.
    pub fn interrupted(&mut self, now: Duration) -> Reaction {
        let mut reaction = Reaction::default();
        if !matches!(self.errand, Errand::Run { .. }) {
            reaction.notes.push(self.detached("left; "));
            reaction.end = Some(Ok(Exit::Interrupted));
            return reaction;
        }
        if self.ending.as_ref().is_some_and(|ending| ending.by_user) {
            reaction.notes.push(self.detached("left without waiting; "));
            reaction.end = Some(Ok(Exit::Interrupted));
            return reaction;
        }
        reaction.notes.push(match &self.swarm {
            Some(swarm) => format!("interrupted: swarm {swarm} is ended; once more leaves it alone"),
            None => "interrupted: the swarm is ended as soon as it is launched; once more leaves it alone".to_owned(),
        });
        self.begin_ending(true, now, &mut reaction);
        self.sent.extend(reaction.send.iter().map(|request| request.id.clone()));
        reaction
    }

    /// The connection is gone. A failure if it should not be made again.
    pub fn lost(&mut self) -> Option<Failure> {
        self.router_left.then(|| {
            Failure::new(
                Exit::Unreachable,
                "the router was shut down while this waited for it",
                self.detached(""),
            )
        })
    }

    /// The failure when no connection can be made any more, for the reason in `failure`.
    pub fn gave_up(&self, failure: Failure) -> Failure {
        let advice = if self.connected_before {
            self.detached("")
        } else {
            String::new()
        };
        let advice = [failure.advice, advice]
            .into_iter()
            .filter(|text| !text.is_empty())
            .collect::<Vec<_>>();
        Failure {
            advice: advice.join("\n  "),
            ..failure
        }
    }

    /// When [`Self::passed`] should be called, if nothing comes before.
    pub fn deadline(&self) -> Option<Duration> {
        self.settle_at.or(self.ending.as_ref().map(|ending| ending.until))
    }

    /// The deadline has passed.
    pub fn passed(&mut self, now: Duration) -> Reaction {
        let mut reaction = Reaction::default();
        if self.deadline().is_none_or(|deadline| now < deadline) {
            return reaction;
        }
        reaction.end = Some(if self.settle_at.is_some() {
            Ok(self.turns_exit())
        } else {
            let what = format!("the swarm has not ended within {} seconds", END_PATIENCE.as_secs());
            Err(Failure::new(Exit::Unreachable, what, self.detached("")))
        });
        reaction
    }

    fn subscription(&mut self) -> Vec<Request> {
        let Some(swarm) = self.swarm.clone() else {
            return Vec::new();
        };
        let subscribe = Subscribe {
            swarm_id: Some(swarm.clone()),
            since: Some(self.positions.since()),
        };
        let subscribe = Request::new(self.names.as_mut(), Command::Subscribe(subscribe));
        let status = Request::new(
            self.names.as_mut(),
            Command::SwarmStatus(SwarmStatus { swarm_id: swarm }),
        );
        self.status_asked = Some(status.id.clone());
        vec![subscribe, status]
    }

    /// Whether an event of a node is about what we follow.
    fn concerns(&self, event: &Event) -> bool {
        let Errand::Inject { inject, .. } = &self.errand else {
            return true;
        };
        event.head.answers(&inject.id)
            || event
                .head
                .injection_id
                .as_ref()
                .zip(self.turns.as_ref())
                .is_some_and(|(id, turns)| turns.has(id))
    }

    fn account(&mut self, event: &Event, node: NodeId, now: Duration, reaction: &mut Reaction) {
        let kind = event.head.kind.as_str();
        if matches!(kind, "node_ready" | "agent_ready" | "turn_started") {
            self.up.insert(node);
        }
        let (Some(turns), Some(injection)) = (&mut self.turns, &event.head.injection_id) else {
            return;
        };
        match kind {
            "inject_ack" => turns.accepted(injection, node),
            "turn_started" => turns.started(injection),
            "usage" => turns.usage(injection),
            "inject_failed" => turns.failed(injection),
            "turn_complete" => match event.said() {
                Said::Worker(Word::TurnComplete { status, usage, .. })
                | Said::Router(RouterWord::TurnComplete { status, usage, .. }) => {
                    turns.completed(injection, status, usage.is_some());
                }
                _ => turns.failed(injection),
            },
            _ => {}
        }
        if !matches!(kind, "usage" | "inject_failed" | "turn_complete") || !turns.all_ended() {
            return;
        }
        match self.errand {
            Errand::Run { .. } => self.begin_ending(false, now, reaction),
            Errand::Inject { .. } if !turns.usage_owed() => reaction.end = Some(Ok(self.turns_exit())),
            Errand::Inject { .. } => self.settle_at = self.settle_at.or(Some(now + USAGE_PATIENCE)),
            Errand::Attach => {}
        }
    }

    fn about_the_swarm(&mut self, event: &Event, ours: bool, now: Duration, reaction: &mut Reaction) {
        match event.head.kind.as_str() {
            "swarm_launched" => {
                reaction.show = ours && self.swarm.is_none();
                if reaction.show {
                    self.launched(event, now, reaction);
                }
            }
            "subscribed" if ours => {
                self.taking = true;
                reaction.show = !self.told_standing;
            }
            "caught_up" if self.taking => {
                self.caught_up = true;
                reaction.show = !std::mem::replace(&mut self.told_standing, true);
            }
            "swarm_status" => {
                let asked = self.status_asked.is_some() && event.head.request_id == self.status_asked;
                reaction.show = !asked;
                if let Said::Router(RouterWord::SwarmStatus {
                    status, slurm_state, ..
                }) = event.said()
                {
                    self.provider_state = slurm_state;
                    if status.is_over() {
                        reaction.show |= self.over.is_none();
                        self.over.get_or_insert(status);
                    }
                }
            }
            "swarm_terminated" => {
                reaction.show = true;
                self.over = Some(match event.said() {
                    Said::Router(RouterWord::SwarmTerminated { status, .. }) => status,
                    _ => SwarmState::Terminated,
                });
            }
            "shutting_down" => self.router_left = true,
            _ => reaction.show = true,
        }
    }

    fn launched(&mut self, event: &Event, now: Duration, reaction: &mut Reaction) {
        let Said::Router(RouterWord::SwarmLaunched {
            node_count, provider, ..
        }) = event.said()
        else {
            return;
        };
        let Some(swarm) = event.head.swarm_id.clone() else {
            return;
        };
        reaction.notes.push(words::launched(
            &swarm,
            node_count,
            &provider,
            event.head.job_id.as_ref(),
        ));
        self.turns = Some(Turns::of((0..node_count).filter_map(|rank| NodeId::new(rank).ok())));
        self.swarm = Some(swarm);
        reaction.send.extend(self.subscription());
        if let Some(ending) = self.ending.take() {
            self.begin_ending(ending.by_user, now, reaction);
        }
    }

    /// Asks for the end of the swarm, once; without a swarm yet, remembers to.
    fn begin_ending(&mut self, by_user: bool, now: Duration, reaction: &mut Reaction) {
        if let Some(ending) = &mut self.ending {
            ending.by_user |= by_user;
            return;
        }
        let terminate = self.swarm.clone().map(|swarm_id| {
            Request::new(
                self.names.as_mut(),
                Command::SwarmTerminate(SwarmTerminate { swarm_id }),
            )
        });
        reaction.send.extend(terminate.clone());
        self.ending = Some(Ending {
            terminate,
            by_user,
            until: now + END_PATIENCE,
        });
    }

    fn refused(&mut self, code: RejectionCode, failure: Failure) -> Reaction {
        let gone = matches!(code, RejectionCode::SwarmEnded | RejectionCode::UnknownSwarm);
        if gone && self.ending.is_some() {
            self.over.get_or_insert(SwarmState::Terminated);
            return Reaction {
                end: self.finished().map(Ok),
                ..Reaction::default()
            };
        }
        Reaction {
            show: true,
            end: Some(Err(failure)),
            ..Reaction::default()
        }
    }

    /// The swarm is over and all that it said has come.
    fn finished(&self) -> Option<Exit> {
        let over = self.over.filter(|_| self.caught_up)?;
        match self.errand {
            Errand::Run { .. } => Some(self.turns_exit()),
            Errand::Inject { .. } => None,
            Errand::Attach => Some(if over == SwarmState::Failed {
                Exit::Failed
            } else {
                Exit::Done
            }),
        }
    }

    fn turns_exit(&self) -> Exit {
        let by_user = self.ending.as_ref().is_some_and(|ending| ending.by_user);
        match self.turns.as_ref().is_some_and(Turns::all_completed) {
            _ if by_user => Exit::Interrupted,
            true => Exit::Done,
            false => Exit::Failed,
        }
    }
}

#[cfg(test)]
mod tests;
