//! One client: what it follows, what it lacks, and what it still waits for.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};

use codeswarm_protocol::command::Spelling;
use codeswarm_protocol::{InjectionId, Place, Position, RequestId, Seq, SwarmId};

use super::{Behind, Heard, NodeNow, Read};

/// Injections of a client that are remembered after their end, for words that come later.
pub(super) const MAX_ENDED: usize = 1024;

/// Whether an event is the last of its injection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// More may come.
    No,
    /// The end, and its usage follows.
    BeforeUsage,
    /// The end.
    Yes,
    /// It belongs to none: nothing more comes of its node.
    OfNode,
}

/// One client.
#[derive(Debug, Default)]
pub struct Client {
    /// How it spells; it is answered in kind.
    pub spelling: Spelling,
    /// It follows every node of every swarm.
    pub everything: bool,
    /// It follows every node of these swarms.
    pub swarms: HashSet<SwarmId>,
    /// It hears how these swarms are.
    pub told_of: HashSet<SwarmId>,
    /// Swarms whose end it asked for and has not heard of, and under which name it asked.
    pub awaits_end: BTreeMap<SwarmId, Option<RequestId>>,
    /// Injections that it caused, and their nodes.
    pub own: HashMap<InjectionId, Place>,
    /// Of these, the ones whose end it has not heard.
    pub open: HashSet<InjectionId>,
    /// Of these, the ones whose turn is over and whose usage comes next, with the turn's last record.
    usage_due: BTreeMap<Place, (InjectionId, Seq)>,
    ended: VecDeque<InjectionId>,
    /// Nodes of which it lacks something.
    pub behind: BTreeMap<Place, Behind>,
    /// A read for it is under way.
    pub reading: bool,
    /// Swarms that changed while it had no room.
    pub stale: BTreeSet<SwarmId>,
    /// Subscriptions whose past is still on its way.
    pub(super) catching_up: Vec<CatchingUp>,
    /// It will send nothing more.
    pub finished_asking: bool,
    /// Then it is done at once, whatever is still open.
    pub waits_for_nothing: bool,
}

/// A subscription whose past is still on its way.
#[derive(Debug, Clone)]
pub struct CatchingUp {
    /// The command's name.
    pub request_id: Option<RequestId>,
    /// How it was spelled.
    pub spelling: Spelling,
    /// The swarm; absent: all.
    pub swarm_id: Option<SwarmId>,
    /// Nodes that are not read to their end yet.
    pub remaining: BTreeSet<Place>,
}

impl Client {
    pub(super) fn wants_all(&self, swarm_id: Option<&SwarmId>) -> bool {
        self.everything || swarm_id.is_some_and(|id| self.swarms.contains(id))
    }

    pub(super) fn wants(&self, event: &Heard<'_>) -> bool {
        self.wants_all(event.swarm_id)
            || match event.injection_id {
                Some(id) => self.owns(id, event.place),
                None => self.is_told_of(event.swarm_id),
            }
    }

    /// Whether it follows this injection, which went to this node.
    fn owns(&self, injection_id: &str, place: &Place) -> bool {
        self.own.get(injection_id) == Some(place)
    }

    fn is_told_of(&self, swarm_id: Option<&SwarmId>) -> bool {
        swarm_id.is_some_and(|id| self.told_of.contains(id))
    }

    pub(super) fn follows_swarm(&self, swarm_id: &SwarmId) -> bool {
        self.wants_all(Some(swarm_id)) || self.told_of.contains(swarm_id)
    }

    /// The client was handed this event.
    pub fn heard(&mut self, event: &Heard<'_>) {
        let Some(id) = event.injection_id.filter(|id| self.owns(id, event.place)) else {
            return;
        };
        match event.ending {
            Ending::BeforeUsage => {
                if let Some(id) = self.open.get(id) {
                    self.usage_due
                        .insert(event.place.clone(), (id.clone(), event.position.seq));
                }
            }
            Ending::Yes => self.has_ended(id),
            Ending::No | Ending::OfNode => {}
        }
    }

    /// A node's stream has come to this event, whether the client wants it or not. A worker that dies between the end of a
    /// turn and its usage never says the latter: nobody waits for it once anything else follows.
    pub(super) fn passes(&mut self, event: &Heard<'_>) {
        if let Some((id, seq)) = self.usage_due.get(event.place)
            && (event.position.seq > *seq || event.ending == Ending::OfNode)
            && event.injection_id != Some(id.as_str())
        {
            let id = id.clone();
            self.has_ended(id.as_str());
        }
    }

    fn has_ended(&mut self, id: &str) {
        self.usage_due.retain(|_, (due, _)| due.as_str() != id);
        if let Some(id) = self.open.take(id) {
            self.ended.push_back(id);
            if self.ended.len() > MAX_ENDED
                && let Some(oldest) = self.ended.pop_front()
            {
                self.own.remove(&oldest);
            }
        }
    }

    /// The past of this node cannot be read, so the ends of these, which nobody waits for, will not be heard.
    pub fn cannot_hear(&mut self, place: &Place, is_open: impl Fn(&InjectionId) -> bool) -> bool {
        let lost = |id: &&InjectionId| self.own.get(*id) == Some(place) && !is_open(id);
        let lost: Vec<InjectionId> = self.open.iter().filter(lost).cloned().collect();
        for id in &lost {
            self.has_ended(id.as_str());
        }
        !lost.is_empty()
    }

    pub(super) fn fall_behind(&mut self, place: &Place, swarm_id: Option<&SwarmId>, before: Position) {
        let behind = self.lacking_from(place, swarm_id, before);
        self.behind.insert(place.clone(), behind);
    }

    /// All that it follows of this node, from here on.
    fn lacking_from(&self, place: &Place, swarm_id: Option<&SwarmId>, before: Position) -> Behind {
        let mut behind = Behind::new(before);
        if self.wants_all(swarm_id) {
            behind.all = Some(before);
        }
        behind.lifecycle = self.is_told_of(swarm_id).then_some(before);
        behind.only = self.own_at(place).map(|id| (id, before)).collect();
        behind
    }

    fn own_at<'a>(&'a self, place: &'a Place) -> impl Iterator<Item = InjectionId> + 'a {
        self.own
            .iter()
            .filter(move |(_, at)| *at == place)
            .map(|(id, _)| id.clone())
    }

    /// Puts the client behind at this node, to be read back from `from` on; what it had live goes on from the stream's end.
    fn behind_at(&mut self, node: &NodeNow, from: Position) -> &mut Behind {
        let behind = match self.behind.remove(&node.place) {
            Some(behind) => behind,
            None => self.lacking_from(&node.place, node.swarm_id.as_ref(), node.end),
        };
        let behind = self.behind.entry(node.place.clone()).or_insert(behind);
        behind.reach_back(from);
        behind
    }

    pub(super) fn replay_all(&mut self, node: &NodeNow, since: Position) {
        let all = &mut self.behind_at(node, since).all;
        *all = Some(all.map_or(since, |lacked| lacked.min(since)));
    }

    pub(super) fn also_all_from_now(&mut self, node: &NodeNow) {
        if let Some(behind) = self.behind.get_mut(&node.place) {
            behind.all.get_or_insert(node.end);
        }
    }

    pub(super) fn also_lifecycle_from_now(&mut self, node: &NodeNow) {
        if let Some(behind) = self.behind.get_mut(&node.place) {
            behind.lifecycle.get_or_insert(node.end);
        }
    }

    pub(super) fn replay_one(&mut self, node: &NodeNow, injection_id: &InjectionId, from: Position) {
        let lacked = self
            .behind_at(node, from)
            .only
            .entry(injection_id.clone())
            .or_insert(from);
        *lacked = from.min(*lacked);
    }

    pub(super) fn also_one_from_now(&mut self, node: &NodeNow, injection_id: &InjectionId) {
        if let Some(behind) = self.behind.get_mut(&node.place) {
            behind.only.entry(injection_id.clone()).or_insert(node.end);
        }
    }

    /// The next part of an outbox to read for this client, if it lacks one and none is under way.
    pub fn next_read(&self, waits: impl Fn(&Place) -> bool) -> Option<Read> {
        if self.reading {
            return None;
        }
        let mut behind = self.behind.iter().filter(|(place, _)| !waits(place));
        behind.next().map(|(place, behind)| Read {
            place: place.clone(),
            at: behind.at,
            from: behind.from(),
        })
    }

    /// A part was read back up to this place, and up to this byte of the outbox; at the stream's end the client is live again.
    pub fn has_read(&mut self, place: &Place, up_to: Position, next: u64, at_the_end: bool) {
        if let Some((id, seq)) = self.usage_due.get(place)
            && up_to.seq > *seq
        {
            let id = id.clone();
            self.has_ended(id.as_str());
        }
        if at_the_end {
            self.is_live_at(place);
        } else if let Some(behind) = self.behind.get_mut(place) {
            behind.at = up_to;
            behind.offset = Some(next);
        }
    }

    /// The client has everything of this node up to its stream's end: it is live again.
    pub fn is_live_at(&mut self, place: &Place) {
        self.behind.remove(place);
        for catching_up in &mut self.catching_up {
            catching_up.remaining.remove(place);
        }
    }

    /// Subscriptions whose past has arrived.
    pub fn caught_up(&mut self) -> Vec<CatchingUp> {
        let (done, rest) = self
            .catching_up
            .drain(..)
            .partition(|subscription| subscription.remaining.is_empty());
        self.catching_up = rest;
        done
    }

    /// Whether everything that it asked for has come, and it asks for nothing more.
    pub fn is_done(&self) -> bool {
        let nothing_open =
            self.open.is_empty() && self.awaits_end.is_empty() && self.behind.is_empty() && self.catching_up.is_empty();
        self.finished_asking && (self.waits_for_nothing || nothing_open)
    }
}
