//! From an accepted prompt to a line in an inbox: in order for each node, at most once, or failed and never delivered.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use codeswarm_protocol::event::RouterWord;
use codeswarm_protocol::frame::{Downward, Ticket};
use codeswarm_protocol::inbox::{Control, InboxRecord};
use codeswarm_protocol::{InjectionId, Place, Position, Rejection, RejectionCode};

use super::answer::{Asker, answer, reject};
use super::link::Link;
use super::model::{Awaited, Injection, InjectionState, Node, Outgoing};
use super::{Change, Context, Core, Effect, Timer, Whom};

/// Appends under way, in bytes; more prompts wait, so that a long one for a thousand nodes is not in memory a thousand times.
const MAX_APPENDING_BYTES: usize = 32 * 1024 * 1024;

/// How soon an append with an unknown outcome is looked into.
const SETTLE_AFTER: Duration = Duration::from_secs(1);

/// How many ended injections of a node are remembered for the words that follow an end.
const RECENT: usize = 8;

/// The place in a node's stream directly before `position`.
pub(super) fn just_before(position: Position) -> Position {
    Position {
        seq: position.seq,
        sub: position.sub.saturating_sub(1),
    }
}

impl Core {
    /// Accepts one prompt for each place: durable with the effects of this step, acknowledged after that.
    pub(super) fn accept(
        &mut self,
        asker: &Asker,
        places: &[Place],
        content: &str,
        steer: bool,
        context: &mut Context<'_>,
    ) -> Vec<(InjectionId, Place, Position)> {
        let content: Arc<str> = content.into();
        let prompt_number = context.names.number();
        let mut accepted = Vec::with_capacity(places.len());
        for place in places {
            let injection_id = context.names.injection();
            // The acknowledgement is the next word in this node's stream: see `say_of_node`.
            let (end, _) = self.stream_end(place);
            let acknowledged_at = Position {
                seq: end.seq,
                sub: end.sub + 1,
            };
            if let Some(node) = self.nodes.get_mut(place) {
                node.open += 1;
                node.line.push_back(Outgoing::Prompt(injection_id.clone()));
            }
            let injection = Injection {
                injection_id: injection_id.clone(),
                place: place.clone(),
                request_id: asker.request_id.clone(),
                content: Some(content.clone()),
                prompt_number,
                steer,
                state: InjectionState::Accepted,
                number: context.names.number(),
                acknowledged_at,
                accepted: context.at.wall,
                deadline: context.at.now + self.settings.inject_timeout,
                told_pending: false,
            };
            self.timers
                .insert((injection.deadline, Timer::Delivery(injection_id.clone())));
            context.save(Change::Injection(injection.clone()));
            self.texts.add(prompt_number, content.len());
            self.injections.insert(injection_id.clone(), injection);
            context.effects.push(Effect::Follow {
                client: asker.client,
                injection_id: injection_id.clone(),
                place: place.clone(),
                end: just_before(acknowledged_at),
                from: None,
            });
            let request_id = asker.request_id.clone();
            self.say_of_node(
                place,
                Some((&injection_id, request_id.as_ref())),
                RouterWord::InjectAck {},
                context,
            );
            accepted.push((injection_id, place.clone(), acknowledged_at));
        }
        accepted
    }

    /// Puts a stored injection back after a restart of the router.
    pub(super) fn take_back(&mut self, mut injection: Injection, context: &mut Context<'_>) {
        let Some(node) = self.nodes.get_mut(&injection.place) else {
            return;
        };
        node.open += 1;
        if matches!(injection.state, InjectionState::Accepted | InjectionState::Sent) {
            node.line.push_back(Outgoing::Prompt(injection.injection_id.clone()));
            // The time in which no router was there does not count: what was acknowledged is delivered when one is back.
            injection.deadline = context.at.now + self.settings.inject_timeout;
            self.timers
                .insert((injection.deadline, Timer::Delivery(injection.injection_id.clone())));
            let bytes = injection.content.as_deref().map_or(0, str::len);
            self.texts.add(injection.prompt_number, bytes);
        } else {
            injection.content = None;
        }
        self.injections.insert(injection.injection_id.clone(), injection);
    }

    /// Sends the first waiting line of a node, unless one is under way or the mailbox files are not there yet.
    pub(super) fn deliver_next(&mut self, place: &Place, context: &mut Context<'_>) {
        let ready = self
            .jobs
            .get(&place.job_id)
            .is_some_and(|id| !self.preparing.contains(id));
        let ready = ready && self.link_is_up();
        let may_send = |node: &&mut Node| ready && !node.is_over() && node.appending.is_none();
        let Some(node) = self.nodes.get_mut(place).filter(may_send) else {
            return;
        };
        let Some(first) = node.line.front() else { return };
        if self.appending_bytes > MAX_APPENDING_BYTES {
            self.held_back.push_back(place.clone());
            return;
        }
        let (record, unless_present) = match first {
            Outgoing::Control { control, .. } => (
                InboxRecord::Control {
                    payload: control.clone(),
                },
                None,
            ),
            Outgoing::Prompt(id) => {
                // One that is over, or of which its worker has spoken meanwhile, is not sent again.
                let waits = |injection: &&mut Injection| injection.state <= InjectionState::Sent;
                let Some(injection) = self.injections.get_mut(id).filter(waits) else {
                    node.line.pop_front();
                    return self.deliver_next(place, context);
                };
                let unknown = injection.state == InjectionState::Sent;
                injection.state = InjectionState::Sent;
                if !unknown {
                    context.save(Change::InjectionState(id.clone(), InjectionState::Sent));
                }
                let record = InboxRecord::User {
                    injection_id: id.clone(),
                    content: injection.content.as_deref().unwrap_or_default().to_owned(),
                    steer: injection.steer,
                };
                (record, unknown.then(|| id.clone()))
            }
        };
        let Ok(line) = record.to_line() else { return };
        self.appending_bytes += line.len();
        let ticket = self.ticket(Awaited::Append(place.clone(), line.len()));
        if let Some(node) = self.nodes.get_mut(place) {
            node.appending = Some(ticket);
        }
        let append = Downward::Append {
            ticket,
            place: place.clone(),
            unless_present,
            line: Bytes::from(line),
        };
        self.ask_follower(append, context);
    }

    /// What was to be appended, if that is still under way: the first of its node's line, which it leaves.
    fn answered(&mut self, ticket: Ticket, context: &mut Context<'_>) -> Option<(Place, Outgoing)> {
        let Some(Awaited::Append(place, bytes)) = self.tickets.remove(&ticket) else {
            return None;
        };
        self.appending_bytes = self.appending_bytes.saturating_sub(bytes);
        for held_back in std::mem::take(&mut self.held_back) {
            self.deliver_next(&held_back, context);
        }
        let node = self.nodes.get_mut(&place)?;
        node.appending.take_if(|under_way| *under_way == ticket)?;
        Some((place, node.line.pop_front()?))
    }

    pub(super) fn appended(&mut self, ticket: Ticket, _offset: u64, context: &mut Context<'_>) {
        let Some((place, outgoing)) = self.answered(ticket, context) else {
            return;
        };
        match outgoing {
            Outgoing::Prompt(id) => self.is_delivered(&place, id.as_str(), context),
            Outgoing::Control {
                control,
                client,
                request_id,
            } => {
                let (word, injection_id) = match control {
                    Control::Interrupt { injection_id } => (RouterWord::InterruptAck {}, injection_id),
                    Control::Approval { call_id, .. } => (RouterWord::ApprovalAck { call_id }, None),
                };
                let mut event = self.about(&place, word, context);
                event.injection_id = injection_id;
                answer(&Asker { client, request_id }, event, context);
            }
        }
        self.ask_follower(Downward::Hint { place: place.clone() }, context);
        self.deliver_next(&place, context);
    }

    /// The prompt is in its inbox: its append was answered, or its worker speaks of it already.
    pub(super) fn is_delivered(&mut self, place: &Place, injection_id: &str, context: &mut Context<'_>) {
        let Some((id, injection)) = self.injections.get_key_value(injection_id) else {
            return;
        };
        // One that was not sent, as far as is known, was sent by an earlier life whose last words were not stored.
        if injection.state > InjectionState::Sent || injection.place != *place {
            return;
        }
        let id = id.clone();
        if let Some(injection) = self.injections.get_mut(&id) {
            self.timers.remove(&(injection.deadline, Timer::Delivery(id.clone())));
            injection.content = None;
            injection.state = InjectionState::Delivered;
            self.texts.remove(injection.prompt_number);
        }
        context.save(Change::InjectionState(id.clone(), InjectionState::Delivered));
        self.say_of_injection(&id, RouterWord::InjectDelivered {}, context);
    }

    /// Says something of an open injection in its node's stream.
    fn say_of_injection(&mut self, id: &InjectionId, word: RouterWord, context: &mut Context<'_>) {
        if let Some(injection) = self.injections.get(id) {
            let (place, request_id) = (injection.place.clone(), injection.request_id.clone());
            self.say_of_node(&place, Some((id, request_id.as_ref())), word, context);
        }
    }

    pub(super) fn append_failed(
        &mut self,
        ticket: Ticket,
        may_have_happened: bool,
        error: &str,
        context: &mut Context<'_>,
    ) {
        let Some((place, outgoing)) = self.answered(ticket, context) else {
            return;
        };
        match outgoing {
            Outgoing::Prompt(id) if !may_have_happened && self.is_undelivered(&id) => {
                self.fail_undelivered(&id, "mailbox", error, context);
            }
            // Settled by reading the inbox: the same append again, with `unless_present`.
            Outgoing::Prompt(id) => {
                let reason = format!("{error}. Whether it is in the inbox is looked into; do not inject it again");
                self.tell_pending(&id, "mailbox", reason, context);
                if let Some(node) = self.nodes.get_mut(&place) {
                    node.line.push_front(Outgoing::Prompt(id));
                }
                self.timers.insert((context.at.now + SETTLE_AFTER, Timer::Retry(place)));
                return;
            }
            Outgoing::Control { client, request_id, .. } => {
                let rejection = Rejection::new(RejectionCode::NotDelivered, format!("not delivered: {error}"));
                reject(&Asker { client, request_id }, rejection, context);
            }
        }
        self.deliver_next(&place, context);
    }

    fn is_undelivered(&self, id: &InjectionId) -> bool {
        self.injections
            .get(id)
            .is_some_and(|injection| injection.state <= InjectionState::Sent)
    }

    /// An accepted prompt has waited too long for its inbox.
    pub(super) fn delivery_timed_out(&mut self, injection_id: &InjectionId, context: &mut Context<'_>) {
        let seconds = self.settings.inject_timeout.as_secs();
        let state = self.injections.get(injection_id).map(|injection| injection.state);
        if state == Some(InjectionState::Sent) {
            let reason = format!(
                "sent {seconds} s ago and not answered; the inbox will be read to settle it. Do not inject it again"
            );
            self.tell_pending(injection_id, "timeout", reason, context);
        }
        if state == Some(InjectionState::Accepted) {
            let why = match &self.link {
                Link::Down(trouble) => super::link::sentence(trouble),
                Link::Up { .. } => "look at the mailbox's filesystem, then inject again".to_owned(),
            };
            let reason = format!(
                "not in the node's inbox after {seconds} s (router.inject_timeout_seconds); it will not be delivered: {why}"
            );
            self.fail_undelivered(injection_id, "timeout", &reason, context);
        }
    }

    /// Says once that it is not known whether a prompt is in its inbox.
    fn tell_pending(&mut self, id: &InjectionId, error: &str, reason: String, context: &mut Context<'_>) {
        let sent = |injection: &&mut Injection| injection.state == InjectionState::Sent && !injection.told_pending;
        let Some(injection) = self.injections.get_mut(id).filter(sent) else {
            return;
        };
        injection.told_pending = true;
        let error = error.to_owned();
        self.say_of_injection(id, RouterWord::InjectPending { error, reason }, context);
    }

    /// Ends a prompt that no inbox has, and never will.
    pub(super) fn fail_undelivered(&mut self, id: &InjectionId, error: &str, reason: &str, context: &mut Context<'_>) {
        let place = self.injections.get(id).map(|injection| &injection.place);
        if let Some(node) = place.and_then(|place| self.nodes.get_mut(place)) {
            node.line
                .retain(|waiting| !matches!(waiting, Outgoing::Prompt(other) if other == id));
        }
        let word = RouterWord::InjectFailed {
            error: error.to_owned(),
            reason: reason.to_owned(),
        };
        self.say_of_injection(id, word, context);
        self.end_injection(id, context);
    }

    /// Takes back a prompt of this node that was not sent yet; whether it was.
    pub(super) fn withdraw_undelivered(&mut self, place: &Place, id: &InjectionId, context: &mut Context<'_>) -> bool {
        match self.injections.get(id) {
            Some(injection) if injection.state == InjectionState::Accepted && injection.place == *place => {
                self.fail_undelivered(id, "interrupted", "withdrawn before it was delivered", context);
                true
            }
            _ => false,
        }
    }

    /// The injection is over, whoever said so.
    pub(super) fn end_injection(&mut self, id: &InjectionId, context: &mut Context<'_>) {
        let Some(injection) = self.injections.remove(id) else {
            return;
        };
        self.timers.remove(&(injection.deadline, Timer::Delivery(id.clone())));
        if injection.state <= InjectionState::Sent {
            self.texts.remove(injection.prompt_number);
        }
        if let Some(node) = self.nodes.get_mut(&injection.place) {
            node.open = node.open.saturating_sub(1);
            node.current.take_if(|current| current == id);
            if let Some(request_id) = injection.request_id {
                node.recent.truncate(RECENT - 1);
                node.recent.push_front((id.clone(), request_id));
            }
        }
        context.save(Change::InjectionState(id.clone(), InjectionState::Ended));
    }

    /// The node's worker is gone for good: every open injection of it ends now.
    pub(super) fn end_all_of(&mut self, place: &Place, error: &str, reason: &str, context: &mut Context<'_>) {
        use codeswarm_protocol::turn::{ErrorClass, TurnError, TurnStatus};
        let mut open: Vec<(u64, InjectionId, InjectionState)> = self
            .injections
            .values()
            .filter(|injection| injection.place == *place)
            .map(|injection| (injection.number, injection.injection_id.clone(), injection.state))
            .collect();
        open.sort();
        for (_, id, state) in open {
            let word = if state == InjectionState::Started {
                RouterWord::TurnComplete {
                    status: TurnStatus::Failed,
                    error: Some(TurnError::new(ErrorClass::WorkerDied, reason)),
                    usage: None,
                }
            } else {
                RouterWord::InjectFailed {
                    error: error.to_owned(),
                    reason: reason.to_owned(),
                }
            };
            self.say_of_injection(&id, word, context);
            self.end_injection(&id, context);
        }
        if let Some(node) = self.nodes.get_mut(place) {
            // The answer about an append under way is not about whatever waits next.
            node.appending = None;
            let waiting = std::mem::take(&mut node.line);
            for outgoing in waiting {
                if let Outgoing::Control { client, request_id, .. } = outgoing {
                    let rejection = Rejection::new(RejectionCode::SwarmEnded, reason.to_owned());
                    reject(&Asker { client, request_id }, rejection, context);
                }
            }
        }
    }

    /// Tells everybody about a swarm.
    pub(super) fn tell_swarm(&self, swarm_id: &codeswarm_protocol::SwarmId, context: &mut Context<'_>) {
        if let Some(mut event) = self.swarm_event(swarm_id, context.at) {
            event.request_id = self.swarms.get(swarm_id).and_then(|swarm| swarm.request_id.clone());
            context.tell(Whom::Swarm(swarm_id.clone()), event);
        }
    }
}
