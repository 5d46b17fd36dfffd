//! The injections of one prompt: which are open, how the others ended.

use std::collections::{BTreeMap, BTreeSet};

use codeswarm_protocol::turn::TurnStatus;
use codeswarm_protocol::{InjectionId, NodeId};

/// One prompt to some nodes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Turns {
    nodes: BTreeSet<NodeId>,
    injections: BTreeMap<InjectionId, Turn>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Turn {
    node: NodeId,
    end: Option<End>,
    started: bool,
    usage_owed: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Turn(TurnStatus),
    NotTaken,
}

/// How the injections stand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tally {
    /// Nodes that the prompt is for.
    pub expected: usize,
    /// Whose turn has begun, ended ones included.
    pub started: usize,
    /// Whose injection has ended in any way.
    pub ended: usize,
    /// Whose turn completed.
    pub completed: usize,
    /// The nodes whose injection has not ended.
    pub open: BTreeSet<NodeId>,
}

impl Turns {
    /// A prompt for these nodes.
    pub fn of(nodes: impl IntoIterator<Item = NodeId>) -> Self {
        Self {
            nodes: nodes.into_iter().collect(),
            injections: BTreeMap::new(),
        }
    }

    /// The router has accepted the prompt for a node.
    pub fn accepted(&mut self, injection: &InjectionId, node: NodeId) {
        let turn = Turn {
            node,
            end: None,
            started: false,
            usage_owed: false,
        };
        self.injections.entry(injection.clone()).or_insert(turn);
    }

    /// Whether the injection is one of these.
    pub fn has(&self, injection: &InjectionId) -> bool {
        self.injections.contains_key(injection)
    }

    /// The agent works on it.
    pub fn started(&mut self, injection: &InjectionId) {
        if let Some(turn) = self.injections.get_mut(injection) {
            turn.started = true;
        }
    }

    /// Its turn has ended; a `usage` follows if the agent counted tokens. Only the first end counts.
    pub fn completed(&mut self, injection: &InjectionId, status: TurnStatus, usage_follows: bool) {
        if let Some(turn) = self.injections.get_mut(injection).filter(|turn| turn.end.is_none()) {
            turn.started = true;
            turn.end = Some(End::Turn(status));
            turn.usage_owed = usage_follows;
        }
    }

    /// It was not started and never will be.
    pub fn failed(&mut self, injection: &InjectionId) {
        if let Some(turn) = self.injections.get_mut(injection) {
            turn.end.get_or_insert(End::NotTaken);
        }
    }

    /// Its `usage` has come.
    pub fn usage(&mut self, injection: &InjectionId) {
        if let Some(turn) = self.injections.get_mut(injection) {
            turn.usage_owed = false;
        }
    }

    /// Whether every node has an injection and every one has ended.
    pub fn all_ended(&self) -> bool {
        self.tally().open.is_empty()
    }

    /// Whether a `usage` is still to come.
    pub fn usage_owed(&self) -> bool {
        self.injections.values().any(|turn| turn.usage_owed)
    }

    /// Whether all turns completed.
    pub fn all_completed(&self) -> bool {
        let tally = self.tally();
        tally.open.is_empty() && tally.completed == self.injections.len()
    }

    /// Counts.
    pub fn tally(&self) -> Tally {
        let mut tally = Tally {
            expected: self.nodes.len(),
            started: 0,
            ended: 0,
            completed: 0,
            open: self.nodes.clone(),
        };
        for turn in self.injections.values() {
            tally.started += usize::from(turn.started);
            tally.ended += usize::from(turn.end.is_some());
            tally.completed += usize::from(turn.end == Some(End::Turn(TurnStatus::Completed)));
            if turn.end.is_some() {
                tally.open.remove(&turn.node);
            }
        }
        tally
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(rank: u32) -> NodeId {
        NodeId::new(rank).unwrap()
    }

    fn injection(id: &str) -> InjectionId {
        InjectionId::new(id).unwrap()
    }

    #[test]
    fn a_prompt_is_over_when_every_node_has_ended_its_own() {
        let mut turns = Turns::of([node(0), node(1)]);
        assert!(!turns.all_ended(), "nothing was accepted yet");
        turns.accepted(&injection("a"), node(0));
        turns.completed(&injection("a"), TurnStatus::Completed, true);
        assert!(!turns.all_ended() && turns.usage_owed());
        turns.accepted(&injection("b"), node(1));
        turns.started(&injection("b"));
        turns.usage(&injection("a"));
        assert_eq!(
            turns.tally(),
            Tally {
                expected: 2,
                started: 2,
                ended: 1,
                completed: 1,
                open: BTreeSet::from([node(1)])
            }
        );
        turns.completed(&injection("b"), TurnStatus::Interrupted, false);
        assert!(turns.all_ended() && !turns.all_completed() && !turns.usage_owed());
    }

    #[test]
    fn the_first_end_counts_and_strangers_do_not() {
        let mut turns = Turns::of([node(0)]);
        turns.completed(&injection("x"), TurnStatus::Completed, false);
        assert!(!turns.all_ended());
        turns.accepted(&injection("a"), node(0));
        turns.failed(&injection("a"));
        turns.completed(&injection("a"), TurnStatus::Completed, false);
        assert!(turns.all_ended() && !turns.all_completed());
    }
}
