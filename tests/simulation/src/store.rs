//! What the router has stored: what was committed outlives its death, and nothing else does.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use codeswarm_protocol::event::RouterEvent;
use codeswarm_protocol::{InjectionId, Place, Position, RequestId, SwarmId};
use codeswarm_router::core::{Change, Injection, InjectionState, KnownRequest, Node, Submission, Swarm};
use codeswarm_router::state::{Batch, Durability, Loaded, StateError, Store};

#[derive(Debug, Default)]
struct Kept {
    swarms: BTreeMap<SwarmId, Swarm>,
    nodes: BTreeMap<Place, Node>,
    prompts: BTreeMap<u64, Arc<str>>,
    injections: HashMap<InjectionId, Injection>,
    submissions: BTreeMap<SwarmId, Submission>,
    requests: HashMap<RequestId, KnownRequest>,
    said: BTreeMap<(Place, Position), RouterEvent>,
    full: bool,
}

/// A handle to it, for each life of the router.
#[derive(Debug, Clone, Default)]
pub struct Memory(Arc<Mutex<Kept>>);

/// As it comes back from a database: without what is not stored.
fn stored<T: serde::Serialize + serde::de::DeserializeOwned>(value: &T) -> T {
    let text = serde_json::to_string(value).unwrap_or_default();
    match serde_json::from_str(&text) {
        Ok(value) => value,
        Err(error) => panic!("what was stored cannot be read: {error}: {text}"),
    }
}

impl Memory {
    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on nothing can be stored, or can again.
    pub fn set_full(&self, full: bool) {
        self.kept().full = full;
    }

    /// Whether an acknowledged prompt is kept, with its text as long as it may be needed.
    pub fn keeps(&self, id: &InjectionId) -> bool {
        let kept = self.kept();
        kept.injections.get(id).is_some_and(|injection| {
            injection.state >= InjectionState::Delivered || kept.prompts.contains_key(&injection.prompt_number)
        })
    }
}

impl Kept {
    fn apply(&mut self, change: &Change) {
        match change {
            Change::Swarm(swarm) => drop(self.swarms.insert(swarm.swarm_id.clone(), (**swarm).clone())),
            Change::Node(place, node) => drop(self.nodes.insert(place.clone(), (**node).clone())),
            Change::Injection(injection) => {
                if let Some(content) = &injection.content {
                    self.prompts.insert(injection.prompt_number, content.clone());
                }
                let before = self
                    .injections
                    .insert(injection.injection_id.clone(), injection.clone());
                assert!(before.is_none(), "P1: an injection was accepted twice");
            }
            Change::InjectionState(id, state) => self.state(id, *state),
            Change::Submission(one) => drop(self.submissions.insert(one.swarm.swarm_id.clone(), (**one).clone())),
            Change::SubmissionOver(id) => drop(self.submissions.remove(id)),
            Change::Request { request_id, known } => drop(self.requests.insert(request_id.clone(), known.clone())),
            Change::Said { place, position, event } => {
                let before = self.said.insert((place.clone(), *position), event.clone());
                assert!(before.is_none(), "P5: two words at {position} of {place}");
            }
        }
    }

    fn state(&mut self, id: &InjectionId, state: InjectionState) {
        let Some(injection) = self.injections.get_mut(id) else {
            panic!("{id} is not known and is {state:?}")
        };
        injection.state = state;
        let number = injection.prompt_number;
        let waits = |other: &Injection| other.prompt_number == number && other.state < InjectionState::Delivered;
        if !self.injections.values().any(waits) {
            self.prompts.remove(&number);
        }
    }

    fn node(&self, place: &Place, node: &Node) -> Node {
        let mut back = stored(node);
        let last = Position::at(codeswarm_protocol::Seq(u64::MAX));
        let words = (place.clone(), Position::START)..=(place.clone(), last);
        let said = self.said.range(words).next_back().map(|((_, position), _)| *position);
        back.offset = node.offset;
        back.position = said.map_or(node.position, |said| said.max(node.position));
        back
    }
}

impl Store for Memory {
    fn load(&self) -> Result<Loaded, StateError> {
        let kept = self.kept();
        let numbers = |injection: &Injection| injection.number.max(injection.prompt_number);
        let open = kept
            .injections
            .values()
            .filter(|injection| injection.state < InjectionState::Ended);
        let mut injections: Vec<Injection> = open
            .map(|injection| Injection {
                content: kept.prompts.get(&injection.prompt_number).cloned(),
                deadline: Duration::ZERO,
                told_pending: false,
                ..injection.clone()
            })
            .collect();
        injections.sort_by_key(|injection| injection.number);
        Ok(Loaded {
            swarms: kept.swarms.values().map(stored).collect(),
            nodes: kept
                .nodes
                .iter()
                .map(|(place, node)| (place.clone(), kept.node(place, node)))
                .collect(),
            submissions: kept.submissions.values().map(stored).collect(),
            last_number: kept.injections.values().map(numbers).max().unwrap_or(0),
            injections,
        })
    }

    fn commit(&mut self, batch: &Batch, _durability: Durability) -> Result<(), StateError> {
        let mut kept = self.kept();
        if batch.changes.is_empty() && batch.cursors.is_empty() {
            return Ok(());
        }
        if kept.full {
            return Err(StateError::Elsewhere("no space left on device".to_owned()));
        }
        for change in &batch.changes {
            kept.apply(change);
        }
        for (place, (offset, position)) in &batch.cursors {
            if let Some(node) = kept.nodes.get_mut(place) {
                (node.offset, node.position) = (*offset, *position);
            }
        }
        Ok(())
    }

    fn request(&self, request_id: &RequestId) -> Result<Option<KnownRequest>, StateError> {
        Ok(self.kept().requests.get(request_id).cloned())
    }

    fn request_of(&self, injection_id: &str) -> Result<Option<RequestId>, StateError> {
        let kept = self.kept();
        let found = InjectionId::new(injection_id)
            .ok()
            .and_then(|id| kept.injections.get(&id));
        Ok(found.and_then(|injection| injection.request_id.clone()))
    }

    fn said(
        &self,
        place: &Place,
        from: Position,
        until: Position,
        limit: u32,
    ) -> Result<Vec<(Position, RouterEvent)>, StateError> {
        let kept = self.kept();
        let after = |(_, position): &(Place, Position)| *position > from;
        let words = kept
            .said
            .range((place.clone(), from)..=(place.clone(), until.max(from)));
        let words = words.filter(|(key, _)| after(key)).take(limit as usize);
        Ok(words.map(|((_, position), event)| (*position, event.clone())).collect())
    }
}
