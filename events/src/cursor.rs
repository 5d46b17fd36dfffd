//! What a consumer was told, and what it may have been told. Pure.
//!
//! An event of a node has a place in the node's stream, so the last place says what was told. How a swarm is has no place; of it the
//! state that was told last is kept. Before lines are written they stand in the cursor as *in doubt*: a start that finds them there does
//! not know whether they reached their reader, tells them again, and says so.

use std::collections::BTreeMap;

use codeswarm_protocol::{Place, Position, SwarmId};
use serde::{Deserialize, Serialize};

use crate::start::LeftOut;

/// The version of the file.
const VERSION: u32 = 1;
/// So many states of one swarm are kept in doubt: more need as many deaths in a row, each while another one was being told.
const MOST_STATES: usize = 32;

/// Which event a line tells, as far as telling it once goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mark {
    /// One of a node's stream.
    Node(Place, Position),
    /// How a swarm is.
    Swarm(SwarmId, State),
    /// How the link to the login node is.
    Link(State),
    /// News of a moment, which nobody tells again.
    Moment,
}

/// How something is that has no stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// In a word.
    pub is: String,
    /// What else is said of it; absent: not known, or nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

impl State {
    /// A state of which no more is known than its word.
    pub fn word(is: impl Into<String>) -> Self {
        Self {
            is: is.into(),
            detail: None,
        }
    }

    /// Whether it is news to somebody who was told `told`.
    fn is_news_after(&self, told: &Self) -> bool {
        self.is != told.is || (self.detail.is_some() && told.detail.is_some() && self.detail != told.detail)
    }
}

/// Up to where something goes, node by node and swarm by swarm.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reach {
    /// The last place of each node's stream.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty", with = "by_stem")]
    pub nodes: BTreeMap<Place, Position>,
    /// The last state of each swarm.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub swarms: BTreeMap<SwarmId, State>,
    /// The last state of the link.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub link: Option<State>,
}

impl Reach {
    /// Nothing.
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty() && self.swarms.is_empty() && self.link.is_none()
    }

    /// Reaches to this, too.
    pub fn take(&mut self, mark: &Mark) {
        match mark {
            Mark::Node(place, position) => {
                let last = self.nodes.entry(place.clone()).or_default();
                *last = (*last).max(*position);
            }
            Mark::Swarm(swarm, state) => {
                self.swarms.insert(swarm.clone(), state.clone());
            }
            Mark::Link(state) => self.link = Some(state.clone()),
            Mark::Moment => {}
        }
    }

    /// Reaches as far as `other`, too, whose states are the later ones.
    pub fn extend(&mut self, other: &Self) {
        for (place, position) in &other.nodes {
            self.take(&Mark::Node(place.clone(), *position));
        }
        let swarms = other.swarms.iter();
        self.swarms
            .extend(swarms.map(|(swarm, state)| (swarm.clone(), state.clone())));
        if other.link.is_some() {
            self.link.clone_from(&other.link);
        }
    }
}

/// What may have been told.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InDoubt {
    /// Up to which place of each node's stream.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty", with = "by_stem")]
    pub nodes: BTreeMap<Place, Position>,
    /// Which states of each swarm; several, where one death followed another.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub swarms: BTreeMap<SwarmId, Vec<State>>,
    /// Which states of the link.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub link: Vec<State>,
}

impl InDoubt {
    /// Nothing.
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty() && self.swarms.is_empty() && self.link.is_empty()
    }

    /// This may have been told, too.
    fn add(&mut self, mark: &Mark) {
        match mark {
            Mark::Node(place, position) => {
                let last = self.nodes.entry(place.clone()).or_default();
                *last = (*last).max(*position);
            }
            Mark::Swarm(swarm, state) => add_state(self.swarms.entry(swarm.clone()).or_default(), state),
            Mark::Link(state) => add_state(&mut self.link, state),
            Mark::Moment => {}
        }
    }

    /// This was told: nothing is in doubt any more of its swarm, or of its node up to there.
    fn settle(&mut self, told: &Mark) {
        match told {
            Mark::Node(place, position) => {
                if self.nodes.get(place).is_some_and(|last| last <= position) {
                    self.nodes.remove(place);
                }
            }
            Mark::Swarm(swarm, _) => {
                self.swarms.remove(swarm);
            }
            Mark::Link(_) => self.link.clear(),
            Mark::Moment => {}
        }
    }
}

fn add_state(states: &mut Vec<State>, state: &State) {
    if !states.contains(state) {
        if states.len() == MOST_STATES {
            states.remove(0);
        }
        states.push(state.clone());
    }
}

/// Whether an event is to be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum News {
    /// It was told.
    No,
    /// It was not.
    Yes,
    /// It may have been.
    Perhaps,
}

/// What was told to one consumer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cursor {
    version: u32,
    /// The swarms that it asks for; empty: all.
    pub swarms: Vec<SwarmId>,
    /// What it is not told because of where it began, until that is settled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub left_out: Option<LeftOut>,
    /// What it was told, or what was passed over because nobody asked for it.
    pub told: Reach,
    /// What it may have been told beyond that.
    #[serde(default, skip_serializing_if = "InDoubt::is_empty")]
    pub in_doubt: InDoubt,
}

impl Cursor {
    /// Of somebody who was told nothing yet.
    pub fn new(swarms: Vec<SwarmId>, left_out: Option<LeftOut>) -> Self {
        Self {
            version: VERSION,
            swarms,
            left_out,
            told: Reach::default(),
            in_doubt: InDoubt::default(),
        }
    }

    /// Reads a file's text.
    ///
    /// # Errors
    /// It is no cursor, or one of a later version; a sentence says which.
    pub fn read(text: &[u8]) -> Result<Self, String> {
        let cursor: Self = serde_json::from_slice(text).map_err(|error| error.to_string())?;
        if cursor.version != VERSION {
            return Err(format!(
                "it is of version {}, and this program writes {VERSION}",
                cursor.version
            ));
        }
        Ok(cursor)
    }

    /// The file's text.
    ///
    /// # Errors
    /// It cannot be written as JSON, which does not happen.
    pub fn write(&self) -> serde_json::Result<Vec<u8>> {
        let mut text = serde_json::to_vec(self)?;
        text.push(b'\n');
        Ok(text)
    }

    /// Lines with these marks are about to be written.
    pub fn intend<'a>(&mut self, marks: impl IntoIterator<Item = &'a Mark>) {
        for mark in marks {
            self.in_doubt.add(mark);
        }
    }

    /// The line with this mark was written.
    pub fn was_told(&mut self, mark: &Mark) {
        self.told.take(mark);
        self.in_doubt.settle(mark);
    }

    /// Everything that was taken in was written or passed over.
    pub fn was_told_all(&mut self, taken: &Taken) {
        self.told.extend(&taken.reach);
        // Only what was taken in again is out of doubt: that the cursor knows an earlier state of a swarm says nothing.
        self.in_doubt.clone_from(&taken.in_doubt);
    }
}

/// What was taken in while a consumer is being told: what it was told, and what is on its way to it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Taken {
    /// All of it.
    pub reach: Reach,
    in_doubt: InDoubt,
}

impl Taken {
    /// As a cursor has it.
    pub fn from_cursor(cursor: &Cursor) -> Self {
        Self {
            reach: cursor.told.clone(),
            in_doubt: cursor.in_doubt.clone(),
        }
    }

    /// Whether it is news.
    pub fn judge(&self, mark: &Mark) -> News {
        let (news, in_doubt) = match mark {
            Mark::Node(place, position) => {
                let news = self.reach.nodes.get(place).is_none_or(|told| position > told);
                let doubt = self.in_doubt.nodes.get(place);
                (news, doubt.is_some_and(|doubt| position <= doubt))
            }
            Mark::Swarm(swarm, state) => {
                let in_doubt = self.in_doubt.swarms.get(swarm).map(Vec::as_slice);
                judge_state(state, self.reach.swarms.get(swarm), in_doubt.unwrap_or_default())
            }
            Mark::Link(state) => judge_state(state, self.reach.link.as_ref(), &self.in_doubt.link),
            Mark::Moment => (true, false),
        };
        match (news, in_doubt) {
            (false, _) => News::No,
            (true, false) => News::Yes,
            (true, true) => News::Perhaps,
        }
    }

    /// Whether a state of this swarm may have been told.
    pub fn doubts(&self, swarm: &SwarmId) -> bool {
        self.in_doubt.swarms.contains_key(swarm)
    }

    /// It was taken in.
    pub fn take(&mut self, mark: &Mark) {
        self.reach.take(mark);
        self.in_doubt.settle(mark);
    }
}

/// Whether a state is to be told, and whether it may be the one that was told last. Where some are in doubt, that may be any of them, or
/// the one before them.
fn judge_state(state: &State, told: Option<&State>, in_doubt: &[State]) -> (bool, bool) {
    let as_told = told.is_some_and(|told| !state.is_news_after(told));
    let as_in_doubt = in_doubt.iter().any(|doubt| !state.is_news_after(doubt));
    (
        !as_told || !in_doubt.is_empty(),
        as_in_doubt || (as_told && !in_doubt.is_empty()),
    )
}

/// Places as `<JOB>_<NODE>`.
mod by_stem {
    use std::collections::BTreeMap;

    use codeswarm_protocol::{Place, Position};
    use serde::{Deserialize, Deserializer, Serializer};

    pub fn serialize<S: Serializer>(nodes: &BTreeMap<Place, Position>, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(nodes.iter().map(|(place, position)| (place.stem(), position)))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeMap<Place, Position>, D::Error> {
        let named = BTreeMap::<String, Position>::deserialize(deserializer)?;
        let place = |(stem, position): (String, Position)| {
            let place =
                Place::from_stem(&stem).map_err(|error| serde::de::Error::custom(format!("{stem:?}: {error}")))?;
            Ok((place, position))
        };
        named.into_iter().map(place).collect()
    }
}

#[cfg(test)]
mod tests;
