//! A client that watches everything, loses its connection and comes back, and says each time where its copy ends. It must hear
//! every event of every node exactly once, in order.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use codeswarm_protocol::{InjectionId, Place, Position};
use codeswarm_router::serve::by_hand::Ear;
use serde_json::json;

use super::World;
use crate::heard::Heard;

/// An event that it has heard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    pub position: Position,
    pub kind: String,
    pub epoch: u64,
    pub injection_id: Option<InjectionId>,
    pub content: Option<String>,
}

/// What it has heard.
#[derive(Default)]
pub struct Watcher {
    pub ear: Option<Ear>,
    /// It has asked for everything again and passes over what it has.
    repeats: bool,
    pub heard: BTreeMap<Place, Vec<Event>>,
    /// Trouble that was told.
    pub troubles: Vec<String>,
    pub failed: BTreeSet<InjectionId>,
}

impl Watcher {
    pub fn position(&self, place: &Place) -> Position {
        let last = self.heard.get(place).and_then(|events| events.last());
        last.map_or(Position::START, |event| event.position)
    }
}

impl World {
    pub(super) fn watcher_leaves(&mut self) {
        if let (Some(router), Some(ear)) = (&mut self.router, self.watcher.ear.take()) {
            router.hand.leaves(&ear);
            self.tally.client_cuts += 1;
        }
    }

    pub(super) fn watcher_comes(&mut self) {
        if self.watcher.ear.is_some() || self.router().is_none() {
            return;
        }
        self.watcher.repeats = self.rng.once_in(4);
        let since = if self.watcher.repeats {
            json!("0")
        } else {
            let mut since: BTreeMap<String, String> = BTreeMap::new();
            let Some(router) = self.router() else { return };
            let core = router.hand.core();
            let places: Vec<Place> = core.swarms().flat_map(|swarm| core.places(&swarm.swarm_id)).collect();
            for place in places {
                since.insert(place.stem(), self.watcher.position(&place).to_string());
            }
            json!(since)
        };
        let command = json!({"command": "subscribe", "since": since});
        self.tell(|| format!("the watcher comes: {command}"));
        let limit = if self.rng.once_in(2) {
            1 << 20
        } else {
            400 + self.rng.below(4000)
        };
        if let Some(router) = self.router() {
            let ear = router.hand.join(limit);
            router.hand.says(&ear, Bytes::from(command.to_string()));
            self.watcher.ear = Some(ear);
        }
    }

    pub(super) fn watcher_reads(&mut self) {
        let (Some(ear), Some(router)) = (&self.watcher.ear, &mut self.router) else {
            return;
        };
        for lines in router.hand.read(ear) {
            for line in lines.split_inclusive(|byte| *byte == b'\n') {
                self.watcher_hears(line);
            }
        }
    }

    fn watcher_hears(&mut self, line: &[u8]) {
        let heard = Heard::read(line);
        self.tell(|| format!("the watcher hears {}", String::from_utf8_lossy(line).trim_end()));
        if matches!(&*heard.kind, "router_trouble" | "records_skipped" | "command_rejected") {
            self.watcher.troubles.push(String::from_utf8_lossy(line).into_owned());
        }
        assert_ne!(
            heard.kind, "command_rejected",
            "P10: the watcher is refused: {:?}",
            heard.reason
        );
        let Some((place, position)) = heard.position() else {
            return;
        };
        let before = self.watcher.position(&place);
        if position <= before {
            assert!(
                self.watcher.repeats,
                "P10: {} at {position} of {place} comes again, after {before}",
                heard.kind
            );
            return;
        }
        if position.sub > 0 {
            let follows = position.seq == before.seq && position.sub == before.sub + 1;
            assert!(
                follows,
                "P10: the router's word {} at {position} of {place} comes after {before}",
                heard.kind
            );
        }
        self.tally.events += 1;
        if let Some(id) = &heard.injection_id {
            if heard.kind == "inject_failed" && position.sub > 0 {
                self.tally.failed_prompts += 1;
                self.watcher.failed.insert(id.clone());
            }
            if heard.kind == "inject_ack" {
                assert!(self.store.keeps(id), "P1: {id} is acknowledged and not stored");
                self.tally.prompts += 1;
            }
        }
        let event = Event {
            position,
            kind: heard.kind.to_string(),
            epoch: heard.epoch,
            injection_id: heard.injection_id.clone(),
            content: heard.content.as_ref().map(ToString::to_string),
        };
        self.watcher.heard.entry(place).or_default().push(event);
    }
}
