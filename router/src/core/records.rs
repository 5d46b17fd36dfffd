//! What a worker's record changes. Every record is passed on; only some change anything here.

use codeswarm_protocol::event::{NodeState, RouterWord, SwarmState};
use codeswarm_protocol::record::{RecordHead, Word, WorkerRecord};
use codeswarm_protocol::{InjectionId, Place, Position, Seq, Timestamp};

use super::model::InjectionState;
use super::{Change, Context, Core, Effect, ProviderCommand, Whom};

/// What becomes of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Passage {
    /// It is the next of its node's stream, at this place.
    Next(Position),
    /// It was passed on before.
    Seen,
}

impl Core {
    /// A record is about to be taken in: if it speaks of a prompt whose append is not answered yet, the prompt has arrived,
    /// and that is said first.
    pub fn before_record(&mut self, place: &Place, head: &RecordHead<'_>, context: &mut Context<'_>) {
        if let Some(injection_id) = head.injection_id.as_deref() {
            self.is_delivered(place, injection_id, context);
        }
    }

    /// Takes one record of an outbox in; `end` is the byte behind it.
    pub fn record(
        &mut self,
        place: &Place,
        line: &[u8],
        head: &RecordHead<'_>,
        end: u64,
        context: &mut Context<'_>,
    ) -> Passage {
        let Some(node) = self.nodes.get_mut(place) else {
            return Passage::Seen;
        };
        node.offset = node.offset.max(end);
        let expected = node.position.seq.next();
        if head.seq < expected {
            return Passage::Seen;
        }
        if head.seq > expected {
            let message = format!(
                "records {expected} to {} of outbox {place} are missing (the next one read is {}); the file was changed by \
                 someone else, or its filesystem lost them",
                head.seq.0 - 1,
                head.seq
            );
            let event = context.event(RouterWord::RouterTrouble { message });
            context.tell(Whom::Everybody, event);
        }
        node.position = Position::at(head.seq);
        node.heard = context.at.now;
        if head.epoch >= node.epoch {
            node.epoch = head.epoch;
            if node.last_event.as_deref() != Some(&*head.kind) {
                node.last_event = Some(head.kind.clone().into_owned());
            }
            node.last_event_at = Timestamp::try_from(head.timestamp.clone().into_owned()).ok();
            if changes_something(&head.kind) && !self.is_of_another_node(place, head, context) {
                match serde_json::from_slice::<WorkerRecord>(line) {
                    Ok(record) => self.apply(place, record, context),
                    Err(_) => self.apply_unreadable(place, head, context),
                }
            }
        }
        Passage::Next(Position::at(head.seq))
    }

    /// Whether a record speaks of a prompt that went to another node. No worker of ours says that; it is told once.
    fn is_of_another_node(&mut self, place: &Place, head: &RecordHead<'_>, context: &mut Context<'_>) -> bool {
        let named = head.injection_id.as_deref();
        let Some(injection) = named.and_then(|id| self.injections.get(id)) else {
            return false;
        };
        if injection.place == *place {
            return false;
        }
        if let Some(node) = self.nodes.get_mut(place).filter(|node| !node.told_of_anothers) {
            node.told_of_anothers = true;
            let message = format!(
                "record {} of outbox {place} speaks of prompt {}, which went to {}; nothing is made of it, nor of others like \
                 it: somebody else than the worker has written into the outbox",
                head.seq, injection.injection_id, injection.place
            );
            let event = context.event(RouterWord::RouterTrouble { message });
            context.tell(Whom::Everybody, event);
        }
        true
    }

    /// How far an outbox was read, also where nothing of it was a record.
    pub fn read_to(&mut self, place: &Place, end: u64) {
        if let Some(node) = self.nodes.get_mut(place) {
            node.offset = node.offset.max(end);
        }
    }

    /// Where a node's stream ends now.
    pub fn stream_end(&self, place: &Place) -> (Position, u64) {
        self.nodes
            .get(place)
            .map_or((Position::at(Seq(0)), 0), |node| (node.position, node.offset))
    }

    fn apply(&mut self, place: &Place, record: WorkerRecord, context: &mut Context<'_>) {
        let Some(node) = self.nodes.get_mut(place) else { return };
        match record.word {
            Word::WorkerStart {
                host, pid, pid_started, ..
            } => {
                node.state = NodeState::Starting;
                (node.host, node.pid, node.pid_started) = (Some(host), Some(pid), pid_started);
                (node.current, node.exit_said, node.ended) = (None, false, false);
                node.last_record_until = None;
                node.told_to_end = false;
                node.approvals.clear();
                let known = ProviderCommand::Known {
                    place: place.clone(),
                    pid,
                    pid_started,
                };
                context.effects.push(Effect::Provider(known));
                self.job_certainly_runs(place, context);
                self.deliver_next(place, context);
            }
            Word::AgentReady { agent, .. } => {
                node.state = if node.current.is_some() {
                    NodeState::Busy
                } else {
                    NodeState::Idle
                };
                let host = node.host.clone().unwrap_or_default();
                self.learn_agent(place, &agent, context);
                self.say_of_node(place, None, RouterWord::NodeReady { host, agent }, context);
                self.perhaps_running(place, context);
            }
            Word::AgentExit { message, .. } => {
                node.state = NodeState::Starting;
                node.error = Some(message);
            }
            Word::TurnStarted { steered_into, .. } => {
                if let Some(id) = record.injection_id {
                    if steered_into.is_none() {
                        node.state = NodeState::Busy;
                        node.current = Some(id.clone());
                    }
                    self.started(&id, context);
                }
            }
            Word::TurnComplete {
                error,
                usage,
                steered_into,
                ..
            } => {
                if steered_into.is_none() {
                    node.turns += 1;
                    node.tokens += usage.map_or(0, |usage| usage.total_tokens);
                    node.error = error.map(|error| error.message);
                    node.current = None;
                    if node.state == NodeState::Busy {
                        node.state = NodeState::Idle;
                    }
                }
                if let Some(id) = record.injection_id {
                    self.end_injection(&id, context);
                }
            }
            Word::InjectFailed { .. } => {
                if let Some(id) = record.injection_id {
                    self.end_injection(&id, context);
                }
            }
            Word::ApprovalRequired { call_id, .. } => drop(node.approvals.insert(call_id)),
            Word::ApprovalResolved { call_id, .. } => drop(node.approvals.remove(&call_id)),
            Word::WorkerError { message } => node.error = Some(message),
            Word::WorkerExit { reason, .. } => {
                node.exit_said = true;
                node.told_to_end = matches!(&*reason, "sigterm" | "sigint");
                node.current = None;
                self.last_record(place, context);
            }
            _ => return,
        }
        self.save_node(place, context);
    }

    /// A record of a newer worker, say, with a word that is not known here: an end is an end all the same.
    fn apply_unreadable(&mut self, place: &Place, head: &RecordHead<'_>, context: &mut Context<'_>) {
        if !matches!(&*head.kind, "turn_complete" | "inject_failed") {
            return;
        }
        if let Some(id) = head.injection_id.as_deref().and_then(|id| InjectionId::new(id).ok()) {
            self.end_injection(&id, context);
            if let Some(node) = self.nodes.get_mut(place)
                && node.state == NodeState::Busy
                && node.current.is_none()
            {
                node.state = NodeState::Idle;
            }
            self.save_node(place, context);
        }
    }

    fn started(&mut self, id: &InjectionId, context: &mut Context<'_>) {
        if let Some(injection) = self.injections.get_mut(id) {
            injection.state = InjectionState::Started;
            context.save(Change::InjectionState(id.clone(), InjectionState::Started));
        }
    }

    /// What agents an adopted swarm has is known when one of them is up.
    fn learn_agent(&mut self, place: &Place, agent: &str, context: &mut Context<'_>) {
        let swarm = self.swarm_of_job_mut(&place.job_id);
        if let Some(swarm) = swarm.filter(|swarm| swarm.agent.is_empty()) {
            swarm.agent = agent.to_owned();
            context.save(Change::of_swarm(swarm.clone()));
        }
    }

    /// A swarm runs when each of its nodes is up or over, and one at least is up.
    pub(super) fn perhaps_running(&mut self, place: &Place, context: &mut Context<'_>) {
        let is_up = |node: &super::Node| matches!(node.state, NodeState::Idle | NodeState::Busy);
        let nodes = || self.nodes_of(&place.job_id).map(|(_, node)| node);
        let all_up = nodes().any(is_up) && nodes().all(|node| is_up(node) || node.is_over());
        let begins = |swarm: &&mut super::Swarm| all_up && swarm.status == SwarmState::Pending;
        if let Some(swarm) = self.swarm_of_job_mut(&place.job_id).filter(begins) {
            swarm.status = SwarmState::Running;
            self.tell_job(&place.job_id, context);
        }
    }
}

fn changes_something(kind: &str) -> bool {
    matches!(
        kind,
        "worker_start"
            | "agent_ready"
            | "agent_exit"
            | "approval_required"
            | "approval_resolved"
            | "turn_started"
            | "turn_complete"
            | "inject_failed"
            | "worker_error"
            | "worker_exit"
    )
}
