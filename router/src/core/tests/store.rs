//! What is stored: a model of the database, and beside it, where wanted, the real one, held to give back the same.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use codeswarm_protocol::event::RouterEvent;
use codeswarm_protocol::{InjectionId, Place, Position, RequestId, SwarmId};

use crate::core::{Change, Injection, InjectionState, KnownRequest, Node, Swarm};
use crate::state::{Batch, Durability, Loaded, State};

/// The real one, in a folder of its own.
struct Database {
    state: Option<State>,
    file: PathBuf,
    _folder: tempfile::TempDir,
}

/// Everything that was committed.
#[derive(Default)]
pub struct Store {
    swarms: BTreeMap<SwarmId, Swarm>,
    nodes: BTreeMap<Place, Node>,
    prompts: BTreeMap<u64, Arc<str>>,
    injections: HashMap<InjectionId, Injection>,
    requests: HashMap<RequestId, KnownRequest>,
    said: BTreeMap<(Place, Position), RouterEvent>,
    database: Option<Database>,
}

impl Store {
    pub fn new(with_database: bool) -> Self {
        let database = with_database.then(|| {
            let folder = tempfile::tempdir().unwrap();
            let file = folder.path().join("state.sqlite");
            let state = Some(State::open(&file).unwrap());
            Database {
                state,
                file,
                _folder: folder,
            }
        });
        Self {
            database,
            ..Self::default()
        }
    }

    pub fn commit(&mut self, batch: &Batch) {
        for change in &batch.changes {
            self.apply(change);
        }
        for (place, (offset, position)) in &batch.cursors {
            let node = self.nodes.get_mut(place).unwrap();
            (node.offset, node.position) = (*offset, *position);
        }
        if let Some(database) = &mut self.database {
            database
                .state
                .as_mut()
                .unwrap()
                .commit(batch, Durability::Process)
                .unwrap();
        }
    }

    fn apply(&mut self, change: &Change) {
        match change {
            Change::Swarm(swarm) => drop(self.swarms.insert(swarm.swarm_id.clone(), (**swarm).clone())),
            Change::Node(place, node) => drop(self.nodes.insert(place.clone(), (**node).clone())),
            Change::Injection(injection) => {
                let content = injection.content.clone().unwrap();
                self.prompts.insert(injection.prompt_number, content);
                let before = self
                    .injections
                    .insert(injection.injection_id.clone(), injection.clone());
                assert!(before.is_none(), "an injection was accepted twice");
            }
            Change::InjectionState(id, state) => {
                let number = {
                    let injection = self.injections.get_mut(id).unwrap();
                    assert!(
                        *state >= injection.state,
                        "{id} went back from {:?} to {state:?}",
                        injection.state
                    );
                    injection.state = *state;
                    injection.prompt_number
                };
                let waits =
                    |other: &Injection| other.prompt_number == number && other.state < InjectionState::Delivered;
                if !self.injections.values().any(waits) {
                    self.prompts.remove(&number);
                }
            }
            // The worlds of these histories have no Slurm.
            Change::Submission(_) | Change::SubmissionOver(_) => panic!("{change:?}"),
            Change::Request { request_id, known } => {
                let before = self.requests.insert(request_id.clone(), known.clone());
                assert!(before.is_none(), "request {request_id} was carried out twice");
            }
            Change::Said { place, position, event } => {
                let before = self.said.insert((place.clone(), *position), event.clone());
                assert!(before.is_none(), "two words at {position} of {place}");
            }
        }
    }

    pub fn request(&self, request_id: &RequestId) -> Option<KnownRequest> {
        let known = self.requests.get(request_id).cloned();
        if let Some(database) = &self.database {
            assert_eq!(database.state.as_ref().unwrap().request(request_id).unwrap(), known);
        }
        known
    }

    pub fn injection(&self, id: &InjectionId) -> Option<&Injection> {
        self.injections.get(id)
    }

    /// Whether the text of an injection is kept.
    pub fn has_prompt(&self, id: &InjectionId) -> bool {
        self.injections
            .get(id)
            .is_some_and(|injection| self.prompts.contains_key(&injection.prompt_number))
    }

    /// What a new life finds.
    pub fn load(&mut self) -> Loaded {
        let numbers = |injection: &Injection| injection.number.max(injection.prompt_number);
        let mut loaded = Loaded {
            swarms: self.swarms.values().cloned().collect(),
            nodes: self
                .nodes
                .iter()
                .map(|(place, node)| self.stored_node(place, node))
                .collect(),
            injections: self
                .injections
                .values()
                .filter(|injection| injection.state < InjectionState::Ended)
                .map(|injection| Injection {
                    content: self.prompts.get(&injection.prompt_number).cloned(),
                    deadline: Duration::ZERO,
                    told_pending: false,
                    ..injection.clone()
                })
                .collect(),
            submissions: Vec::new(),
            last_number: self.injections.values().map(numbers).max().unwrap_or(0),
        };
        loaded.injections.sort_by_key(|injection| injection.number);
        self.compare(&loaded);
        loaded
    }

    /// A node as it comes back: without what is not stored, and its stream's end behind every word that was said.
    fn stored_node(&self, place: &Place, node: &Node) -> (Place, Node) {
        let mut back: Node = serde_json::from_str(&serde_json::to_string(node).unwrap()).unwrap();
        let words = (place.clone(), Position::START)..=(place.clone(), Position::at(codeswarm_protocol::Seq(u64::MAX)));
        let last_said = self.said.range(words).next_back().map(|((_, position), _)| *position);
        back.offset = node.offset;
        back.position = last_said.map_or(node.position, |said| said.max(node.position));
        (place.clone(), back)
    }

    fn compare(&mut self, model: &Loaded) {
        let Some(database) = &mut self.database else { return };
        drop(database.state.take());
        let state = State::open(&database.file).unwrap();
        let mut found = state.load().unwrap();
        found.injections.sort_by_key(|injection| injection.number);
        found.nodes.sort_by(|(one, _), (other, _)| one.cmp(other));
        found.swarms.sort_by(|one, other| one.swarm_id.cmp(&other.swarm_id));
        assert_eq!(found.swarms, model.swarms);
        assert_eq!(found.nodes, model.nodes);
        assert_eq!(found.injections, model.injections);
        assert_eq!(found.last_number, model.last_number);
        for ((place, position), event) in &self.said {
            let before = crate::core::delivery::just_before(*position);
            assert_eq!(
                state.said(place, before, *position, 9).unwrap(),
                [(*position, event.clone())]
            );
        }
        for injection in self.injections.values() {
            let request = state.request_of(injection.injection_id.as_str()).unwrap();
            assert_eq!(request, injection.request_id);
        }
        database.state = Some(state);
    }
}
