//! The login nodes: the follower's lives, and the wire between it and the router.

use std::collections::VecDeque;

use codeswarm_follower::by_hand::ByHand;
use codeswarm_protocol::Place;
use codeswarm_protocol::frame::{Downward, Upward};

use super::{LOGIN_NODES, World};

/// Bytes of an outbox that go up at once.
const CHUNK: usize = 700;

/// Frames that wait for the router before reading stops.
const UNSENT: usize = 4;

/// One life.
pub struct Follower {
    pub hand: ByHand,
    pub machine: usize,
    /// Frames on their way to it.
    pub down: VecDeque<Downward>,
    /// Frames on their way to the router.
    pub up: VecDeque<Upward>,
    /// Whether its wire is whole. Without it, it finishes what it was told and ends.
    pub connected: bool,
}

fn place_of(down: &Downward) -> Option<&Place> {
    match down {
        Downward::Watch { place, .. }
        | Downward::Unwatch { place }
        | Downward::Hint { place }
        | Downward::Append { place, .. } => Some(place),
        _ => None,
    }
}

impl World {
    pub(super) fn send_down(&mut self, down: Downward) {
        // A wire that is cut takes everything and brings nothing.
        if let Some(follower) = self.follower.as_mut().filter(|follower| follower.connected) {
            follower.down.push_back(down);
        }
    }

    /// The link comes up: a new follower, on whichever login node the name leads to. The mailbox's lease lets it begin only
    /// when the one before has ended.
    pub(super) fn link_comes_up(&mut self) {
        if self.linked || self.follower.is_some() || self.router().is_none() {
            return;
        }
        let machine = self.rng.below(LOGIN_NODES);
        if self.is_stalled(machine) {
            return;
        }
        self.tell(|| format!("the link is up, to login node {machine}"));
        let open = 1 + self.rng.below(3);
        self.follower = Some(Follower {
            hand: ByHand::new(&self.mailboxes[machine], CHUNK, open),
            machine,
            down: VecDeque::new(),
            up: VecDeque::new(),
            connected: true,
        });
        self.linked = true;
        if let Some(router) = self.router() {
            router.hand.link_up("/m/bin/codeswarm".to_owned());
        }
    }

    /// The wire is cut: what was on its way to the follower has arrived up to somewhere, and nothing comes back.
    pub(super) fn cut_wire(&mut self) {
        let Some(follower) = self.follower.as_mut().filter(|follower| follower.connected) else {
            return;
        };
        follower.connected = false;
        follower.up.clear();
        let arrived = self.rng.below(follower.down.len() + 1);
        follower.down.truncate(arrived);
        self.tally.link_cuts += 1;
        self.tell(|| "the wire is cut".to_owned());
    }

    /// `kill -9`, perhaps while it writes.
    pub(super) fn kill_follower(&mut self) {
        let Some(follower) = &self.follower else { return };
        let machine = follower.machine;
        self.tally.follower_kills += 1;
        self.tell(|| "the follower dies".to_owned());
        if self.rng.once_in(2) {
            let after = self.rng.below(200);
            self.disk.files().kill_in_write(machine, after);
            if let Some(follower) = &mut self.follower {
                let append = follower
                    .down
                    .iter()
                    .position(|down| matches!(down, Downward::Append { .. }));
                if let Some(down) = append.and_then(|at| follower.down.remove(at)) {
                    follower.hand.carry_out(down);
                }
            }
            self.disk.files().killed(machine);
        }
        self.follower = None;
    }

    /// The follower carries out one of its commands; those for one place in order.
    pub(super) fn follower_acts(&mut self) -> bool {
        let stalled = self
            .follower
            .as_ref()
            .is_some_and(|follower| self.is_stalled(follower.machine));
        let Some(follower) = self.follower.as_mut().filter(|_| !stalled) else {
            return false;
        };
        if follower.down.is_empty() {
            if !follower.connected {
                self.follower = None;
            }
            return false;
        }
        let mut at = self.rng.below(follower.down.len());
        if let Some(place) = place_of(&follower.down[at]) {
            let same = |down: &Downward| place_of(down) == Some(place);
            at = follower.down.iter().position(same).unwrap_or(at);
        }
        let Some(down) = follower.down.remove(at) else {
            return false;
        };
        let text = self.told.then(|| format!("{down:?}"));
        let appended = match &down {
            Downward::Append { place, line, .. } => Some((place.clone(), line.clone())),
            _ => None,
        };
        let answer = match down {
            Downward::Launch { ticket, swarm_id, data } => {
                let nodes = serde_json::from_slice::<codeswarm_protocol::launch::LaunchSpec>(&data);
                self.launches
                    .insert(swarm_id.to_string(), nodes.map_or(0, |spec| spec.node_count));
                Some(Upward::Prepared { ticket, error: None })
            }
            other => follower.hand.carry_out(other),
        };
        if let Some(answer) = answer.clone().filter(|_| follower.connected) {
            follower.up.push_back(answer);
        }
        self.tell(|| format!("the follower: {} -> {answer:?}", text.unwrap_or_default()));
        if let (Some((place, line)), Some(Upward::Appended { already: false, .. })) = (appended, answer) {
            self.hold_append(&place, &line);
        }
        true
    }

    /// Some outbox is due for a look, or all are.
    pub(super) fn wake(&mut self, all: bool) {
        let Some(follower) = &mut self.follower else { return };
        let watched = follower.hand.watched();
        if all {
            for place in &watched {
                follower.hand.wake(place);
            }
        } else if let Some(place) = self.rng.pick(&watched) {
            follower.hand.wake(place);
        }
    }

    /// The follower looks at the outbox whose turn it is.
    pub(super) fn follower_looks(&mut self) -> bool {
        let at = self.instant();
        let stalled = self
            .follower
            .as_ref()
            .is_some_and(|follower| self.is_stalled(follower.machine));
        let Some(follower) = self.follower.as_mut().filter(|_| !stalled) else {
            return false;
        };
        if follower.up.len() >= UNSENT {
            return false;
        }
        let Some((say, _)) = follower.hand.look(at) else {
            return false;
        };
        let Some(say) = say else { return false };
        let text = self.told.then(|| format!("the follower sees {say:?}"));
        if follower.connected {
            follower.up.push_back(say);
        }
        self.tell(|| text.unwrap_or_default());
        true
    }

    /// The next frame reaches the router.
    pub(super) fn deliver(&mut self) -> bool {
        let Some(router) = self.router() else { return false };
        let takes_more = router.hand.takes_more();
        if !self.linked || self.follower.as_ref().is_none_or(|follower| follower.up.is_empty()) {
            return false;
        }
        if !takes_more {
            self.tally.waits += 1;
            return false;
        }
        let Some(up) = self.follower.as_mut().and_then(|follower| follower.up.pop_front()) else {
            return false;
        };
        if let Some(router) = self.router() {
            router.hand.follower_says(up);
        }
        true
    }
}
