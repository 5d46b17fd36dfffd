//! Which nodes of a swarm a command is for.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::ids::NodeId;

/// `"all"`, a rank, a list of ranks, or ranges such as `"0,2-4"`.
#[derive(Debug, Clone, PartialEq, Eq, Default, JsonSchema)]
#[schemars(with = "SelectorSchema")]
pub enum NodeSelector {
    /// Every node of the swarm.
    #[default]
    All,
    /// These ranks.
    Ranks(Ranks),
}

/// Some ranks: at least one, no rank twice. A short text can name a million of them, so they are kept as ranges.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ranks(
    /// First and last of each range: in order, with a rank at least between two of them.
    Vec<(u32, u32)>,
);

impl Ranks {
    /// The same ranks, from ranges in any order, which may touch and overlap.
    fn of(mut ranges: Vec<(u32, u32)>) -> Self {
        ranges.sort_unstable();
        ranges.dedup_by(|next, kept| {
            let joined = next.0 <= kept.1.saturating_add(1);
            if joined {
                kept.1 = kept.1.max(next.1);
            }
            joined
        });
        Self(ranges)
    }

    /// Each of them, in order.
    pub fn iter(&self) -> impl Iterator<Item = NodeId> + '_ {
        let ranks = self.0.iter().flat_map(|(from, to)| *from..=*to);
        ranks.filter_map(|rank| NodeId::new(rank).ok())
    }

    /// The first that a swarm of `node_count` nodes does not have.
    fn beyond(&self, node_count: u32) -> Option<NodeId> {
        let (from, _) = self.0.iter().find(|(_, to)| *to >= node_count)?;
        NodeId::new(node_count.max(*from)).ok()
    }
}

impl FromIterator<NodeId> for Ranks {
    fn from_iter<I: IntoIterator<Item = NodeId>>(ranks: I) -> Self {
        Self::of(ranks.into_iter().map(|node| (node.rank(), node.rank())).collect())
    }
}

const SPELLING: &str = r"^\s*([Aa][Ll][Ll]|[0-9]{1,8}(\s*-\s*[0-9]{1,8})?(\s*,\s*[0-9]{1,8}(\s*-\s*[0-9]{1,8})?)*)\s*$";

#[derive(JsonSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "only its schema is used")]
enum SelectorSchema {
    /// One rank.
    Rank(NodeId),
    /// Several ranks.
    List(#[schemars(length(min = 1))] Vec<NodeId>),
    /// `"all"`, or ranks and ranges such as `"0,2-4"`.
    Text(#[schemars(regex(pattern = SPELLING))] String),
}

/// Why a text or value selects no nodes, or a swarm does not have them.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SelectorError {
    /// Not one of the four spellings.
    #[error("{0:?} selects no nodes; write \"all\", a rank, a list of ranks, or ranges such as \"0,2-4\"")]
    Spelling(String),
    /// A rank that the swarm does not have.
    #[error("node {rank} is out of range: the swarm has {node_count} nodes, 0 to {last}", last = node_count.saturating_sub(1))]
    OutOfRange {
        /// The first rank that is too high.
        rank: NodeId,
        /// How many nodes there are.
        node_count: u32,
    },
}

impl NodeSelector {
    /// The ranks meant, for a swarm of `node_count` nodes.
    pub fn resolve(&self, node_count: u32) -> Result<Vec<NodeId>, SelectorError> {
        match self {
            Self::All => Ok((0..node_count).filter_map(|rank| NodeId::new(rank).ok()).collect()),
            Self::Ranks(ranks) => match ranks.beyond(node_count) {
                Some(rank) => Err(SelectorError::OutOfRange { rank, node_count }),
                None => Ok(ranks.iter().collect()),
            },
        }
    }

    /// One rank.
    pub fn one(node: NodeId) -> Self {
        Self::Ranks(Ranks::from_iter([node]))
    }
}

impl FromStr for NodeSelector {
    type Err = SelectorError;
    fn from_str(text: &str) -> Result<Self, SelectorError> {
        let wrong = || SelectorError::Spelling(text.chars().take(64).collect());
        let rank = |part: &str| part.trim().parse::<NodeId>().map_err(|_| wrong());
        if text.trim().eq_ignore_ascii_case("all") {
            return Ok(Self::All);
        }
        let mut ranges = Vec::new();
        for part in text.split(',') {
            let (from, to) = part.split_once('-').unwrap_or((part, part));
            let (from, to) = (rank(from)?.rank(), rank(to)?.rank());
            if from > to {
                return Err(wrong());
            }
            ranges.push((from, to));
        }
        Ok(Self::Ranks(Ranks::of(ranges)))
    }
}

impl fmt::Display for NodeSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self::Ranks(ranks) = self else {
            return f.write_str("all");
        };
        let mut comma = "";
        for (from, to) in &ranks.0 {
            match from == to {
                true => write!(f, "{comma}{from}")?,
                false => write!(f, "{comma}{from}-{to}")?,
            }
            comma = ",";
        }
        Ok(())
    }
}

impl Serialize for NodeSelector {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for NodeSelector {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> serde::de::Visitor<'de> for Visitor {
            type Value = NodeSelector;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("\"all\", a rank, a list of ranks, or ranges such as \"0,2-4\"")
            }
            fn visit_u64<E: serde::de::Error>(self, rank: u64) -> Result<NodeSelector, E> {
                NodeId::try_from(rank)
                    .map(NodeSelector::one)
                    .map_err(|e| E::custom(format!("{rank} {e}")))
            }
            fn visit_i64<E: serde::de::Error>(self, rank: i64) -> Result<NodeSelector, E> {
                Err(E::custom(format!("{rank} is not a task rank")))
            }
            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<NodeSelector, E> {
                text.parse().map_err(E::custom)
            }
            fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut list: A) -> Result<NodeSelector, A::Error> {
                let mut ranks = Vec::new();
                while let Some(rank) = list.next_element::<NodeId>()? {
                    ranks.push(rank);
                }
                if ranks.is_empty() {
                    return Err(serde::de::Error::custom("an empty list selects no nodes"));
                }
                Ok(NodeSelector::Ranks(ranks.into_iter().collect()))
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::MAX_NODE;

    fn ranks(json: &str) -> Vec<u32> {
        let selector: NodeSelector = serde_json::from_str(json).unwrap();
        selector.resolve(10).unwrap().into_iter().map(NodeId::rank).collect()
    }

    #[test]
    fn every_spelling_selects() {
        assert_eq!(ranks("\"all\""), (0..10).collect::<Vec<_>>());
        assert_eq!(ranks("3"), [3]);
        assert_eq!(ranks("[2,0,2]"), [0, 2]);
        assert_eq!(ranks("\"0,2-4\""), [0, 2, 3, 4]);
        assert_eq!(ranks("\"07\""), [7]);
    }

    #[test]
    fn anything_else_is_refused_with_the_spellings() {
        for bad in [
            "\"\"",
            "\"-\"",
            "\"4-2\"",
            "\"a\"",
            "[]",
            "[-1]",
            "-1",
            "1.5",
            "null",
            "{}",
            "\"0,\"",
            "\"0-999999999\"",
        ] {
            let error = serde_json::from_str::<NodeSelector>(bad).unwrap_err().to_string();
            assert!(!error.is_empty(), "{bad}");
        }
    }

    #[test]
    fn a_short_text_that_names_a_million_ranks_costs_no_more_than_it_is_long() {
        let all = format!("0-{MAX_NODE}");
        let again = vec![all.as_str(); 1000].join(",");
        for text in [all.as_str(), &again, "0-9,5-999999,3,11-12", "0-4,5-999999"] {
            let selector: NodeSelector = text.parse().unwrap();
            assert_eq!(selector, NodeSelector::Ranks(Ranks(vec![(0, MAX_NODE)])), "{text}");
            assert_eq!(selector.to_string(), all);
            let refused = selector.resolve(4).unwrap_err();
            let rank = NodeId::new(4).unwrap();
            assert_eq!(refused, SelectorError::OutOfRange { rank, node_count: 4 });
        }
    }

    #[test]
    fn ranges_that_touch_or_overlap_are_one_and_each_rank_is_meant_once() {
        for (text, printed, meant) in [
            ("4,2-3,0", "0,2-4", vec![0, 2, 3, 4]),
            ("1-3,2-5,5", "1-5", vec![1, 2, 3, 4, 5]),
            ("7,7,7", "7", vec![7]),
            ("0-6,2-3,8", "0-6,8", vec![0, 1, 2, 3, 4, 5, 6, 8]),
        ] {
            assert_eq!(ranks(&format!("\"{text}\"")), meant, "{text}");
            assert_eq!(text.parse::<NodeSelector>().unwrap().to_string(), printed);
        }
    }

    #[test]
    fn a_rank_out_of_range_is_named() {
        let selector: NodeSelector = "0,7".parse().unwrap();
        assert_eq!(
            selector.resolve(4).unwrap_err().to_string(),
            "node 7 is out of range: the swarm has 4 nodes, 0 to 3"
        );
        assert_eq!(selector.to_string(), "0,7");
        let selector: NodeSelector = "0-2,6-9".parse().unwrap();
        for (node_count, first) in [(2, 2), (3, 6), (6, 6), (8, 8)] {
            let rank = NodeId::new(first).unwrap();
            let refused = selector.resolve(node_count).unwrap_err();
            assert_eq!(refused, SelectorError::OutOfRange { rank, node_count });
        }
        assert_eq!(selector.resolve(10).unwrap().len(), 7);
        assert_eq!("0,1,2,5".parse::<NodeSelector>().unwrap().to_string(), "0-2,5");
    }
}
