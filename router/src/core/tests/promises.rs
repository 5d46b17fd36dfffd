//! What was promised, watched from outside: what clients were told, once it is durable, against what is in the files.

use std::collections::{BTreeMap, HashMap, HashSet};

use codeswarm_protocol::event::{RouterEvent, RouterWord};
use codeswarm_protocol::record::RecordHead;
use codeswarm_protocol::{Epoch, InjectionId, Place, Position, Seq, SwarmId};

use super::mailbox::{Mailbox, injection_of};
use super::store::Store;
use super::tally::Tally;
use crate::core::{Change, Core, Effect, Injection, InjectionState, Whom};

/// Everything that clients were told, over all lives of the router.
#[derive(Default)]
pub struct Seen {
    positions: HashMap<Place, Position>,
    epochs: HashMap<Place, Epoch>,
    pub acknowledged: BTreeMap<InjectionId, Place>,
    ends: HashMap<InjectionId, Vec<String>>,
    /// By the router: nothing of them may be in an inbox.
    failed: HashSet<InjectionId>,
    ended_swarms: HashSet<SwarmId>,
    /// No worker will read these inboxes any more, whatever they hold.
    over: HashSet<Place>,
    /// Their outboxes could not be read for too long.
    given_up: HashSet<Place>,
}

impl Seen {
    /// A word of the router's that is durable and on its way to clients.
    pub fn told(&mut self, whom: &Whom, event: &RouterEvent, store: &Store, mailbox: &Mailbox, tally: &mut Tally) {
        if let Whom::Node { place, position } = whom {
            self.next(place, *position);
            assert_eq!((event.seq, event.sub), (Some(position.seq), Some(position.sub)));
            assert_eq!(event.job_id.as_ref(), Some(&place.job_id));
        }
        if let (Whom::Swarm(swarm_id), RouterWord::SwarmTerminated { .. }) = (whom, &event.word) {
            assert!(self.ended_swarms.insert(swarm_id.clone()), "{swarm_id} ended twice");
        }
        let Some(id) = &event.injection_id else { return };
        match &event.word {
            RouterWord::InjectAck {} => {
                let Whom::Node { place, .. } = whom else {
                    panic!("acknowledged outside the stream")
                };
                let stored = store
                    .injection(id)
                    .unwrap_or_else(|| panic!("P1: {id} is acknowledged and not stored"));
                assert!(
                    stored.state >= InjectionState::Delivered || store.has_prompt(id),
                    "P1: {id} has no text"
                );
                let before = self.acknowledged.insert(id.clone(), place.clone());
                assert!(before.is_none(), "{id} is acknowledged twice");
            }
            RouterWord::InjectDelivered {} => {
                let place = &self.acknowledged[id];
                assert_eq!(mailbox.files[place].holds(id), 1, "{id} is said to be delivered");
                assert!(!self.failed.contains(id), "{id} is delivered after it failed");
            }
            RouterWord::InjectFailed { error, .. } => {
                tally.timeouts += u64::from(error == "timeout");
                self.failed.insert(id.clone());
                self.end(id, format!("router: inject_failed {error}"));
                self.hold_inbox(&self.acknowledged[id], mailbox);
            }
            RouterWord::InjectPending { .. } => tally.pending_told += 1,
            RouterWord::TurnComplete { .. } => self.end(id, "router: turn_complete".to_owned()),
            _ => {}
        }
    }

    /// A record that is on its way to clients.
    pub fn record(&mut self, place: &Place, position: Position, line: &[u8], tally: &mut Tally) {
        let head = RecordHead::parse(line).unwrap();
        let last = self.positions.get(place).map_or(Seq(0), |position| position.seq);
        assert_eq!(
            position.seq,
            last.next(),
            "P4: records of {place} are missing or doubled"
        );
        self.next(place, position);
        let epoch = self.epochs.entry(place.clone()).or_default();
        if head.epoch < *epoch {
            tally.late_words += 1;
            return;
        }
        *epoch = head.epoch;
        if let Some(id) = head
            .injection_id
            .as_deref()
            .filter(|_| matches!(&*head.kind, "turn_complete" | "inject_failed"))
        {
            self.end(
                &InjectionId::new(id).unwrap(),
                format!("record {}: {}", head.seq, head.kind),
            );
        }
    }

    fn next(&mut self, place: &Place, position: Position) {
        let before = self.positions.insert(place.clone(), position);
        assert!(
            before < Some(position),
            "the stream of {place} goes from {before:?} to {position:?}"
        );
    }

    fn end(&mut self, id: &InjectionId, how: String) {
        let ends = self.ends.entry(id.clone()).or_default();
        ends.push(how);
        let given_up = self
            .acknowledged
            .get(id)
            .is_some_and(|place| self.given_up.contains(place));
        assert!(ends.len() == 1 || given_up, "P6: {id} ended more than once: {ends:?}");
    }

    /// After each step of the core.
    pub fn core(&mut self, core: &Core) {
        let waits = |injection: &&Injection| injection.state <= InjectionState::Sent;
        let waiting: BTreeMap<u64, usize> = core
            .injections
            .values()
            .filter(waits)
            .map(|injection| (injection.prompt_number, injection.content.as_ref().unwrap().len()))
            .collect();
        assert_eq!(
            core.texts.bytes(),
            waiting.values().sum::<usize>(),
            "the texts that wait are miscounted"
        );
        for (place, node) in &core.nodes {
            let open = core
                .injections
                .values()
                .filter(|injection| injection.place == *place)
                .count();
            assert_eq!(node.open as usize, open, "{place} miscounts its open injections");
            if node.is_over() {
                assert_eq!(open, 0, "P6: {place} is over and has open injections");
                self.over.insert(place.clone());
            }
        }
    }

    /// A node may have ended since the rest of its outbox could not be read.
    pub fn gave_up(&mut self, effects: &[Effect]) {
        let ended = effects.iter().filter_map(|effect| match effect {
            Effect::Save(Change::Node(place, node)) if node.is_over() => Some(place.clone()),
            _ => None,
        });
        self.given_up.extend(ended);
    }

    /// P2 and P3, whenever an inbox has changed.
    pub fn hold_inbox(&self, place: &Place, mailbox: &Mailbox) {
        let Some(files) = mailbox.files.get(place) else { return };
        for id in files.inbox.iter().filter_map(injection_of) {
            assert_eq!(files.holds(id), 1, "P2: {id} is in its inbox more than once");
            let failed = self.failed.contains(id) && !self.over.contains(place);
            assert!(
                !failed,
                "P3: {id} has failed and is in the inbox all the same: {:?}",
                self.ends[id]
            );
        }
    }

    /// At the very end.
    pub fn everything_ended(&self, mailbox: &Mailbox) {
        for (id, place) in &self.acknowledged {
            assert!(self.ends.contains_key(id), "P6: {id} of {place} never ended");
        }
        for (place, files) in mailbox.files.iter().filter(|(place, _)| !self.given_up.contains(place)) {
            let last = self.positions.get(place).map_or(Seq(0), |position| position.seq);
            assert_eq!(last, files.last_seq, "P4: records of {place} never reached the stream");
        }
    }
}
