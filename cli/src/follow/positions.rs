//! Where a client's copy of a swarm's stream ends, node by node: what `--since` takes and what a new connection resumes from.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use codeswarm_protocol::command::Since;
use codeswarm_protocol::{NodeId, NodeSelector, Position};

/// The last place seen of each node; a node that is not named is at its beginning.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Positions(BTreeMap<NodeId, Position>);

impl Positions {
    /// Notes a place. Returns whether it is new: a place at or before the last one was seen already.
    pub fn advance(&mut self, node: NodeId, position: Position) -> bool {
        let last = self.0.entry(node).or_default();
        let new = position > *last;
        if new {
            *last = position;
        }
        new
    }

    /// For a subscription to one swarm.
    pub fn since(&self) -> Since {
        if self.0.values().all(|position| *position == Position::START) {
            return Since::Everywhere(Position::START);
        }
        Since::ByNode(
            self.0
                .iter()
                .map(|(node, position)| (node.to_string(), *position))
                .collect(),
        )
    }
}

impl FromIterator<(NodeId, Position)> for Positions {
    fn from_iter<I: IntoIterator<Item = (NodeId, Position)>>(places: I) -> Self {
        Self(places.into_iter().collect())
    }
}

/// As `--since` takes it: `0-2=17,3=4.1`.
impl fmt::Display for Positions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.values().all(|position| *position == Position::START) {
            return f.write_str("0");
        }
        let mut rest = self.0.iter().peekable();
        let mut comma = "";
        while let Some((from, position)) = rest.next() {
            let mut to = from;
            while let Some((node, _)) = rest.next_if(|(node, other)| node.rank() == to.rank() + 1 && *other == position)
            {
                to = node;
            }
            if from == to {
                write!(f, "{comma}{from}={position}")?;
            } else {
                write!(f, "{comma}{from}-{to}={position}")?;
            }
            comma = ",";
        }
        Ok(())
    }
}

/// What stands behind `--since`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SinceArgument {
    /// The same place for every node.
    Everywhere(Position),
    /// A place for each; the others from their beginning.
    ByNode(Positions),
}

impl SinceArgument {
    /// The places of the swarm's `nodes`.
    pub fn positions(&self, nodes: impl IntoIterator<Item = NodeId>) -> Positions {
        match self {
            Self::Everywhere(position) => nodes.into_iter().map(|node| (node, *position)).collect(),
            Self::ByNode(positions) => positions.clone(),
        }
    }
}

impl FromStr for SinceArgument {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        if !text.contains('=') {
            return text.parse().map(Self::Everywhere).map_err(|error| error.to_string());
        }
        let mut positions = BTreeMap::new();
        for part in text.split(',') {
            let (nodes, position) = part
                .split_once('=')
                .ok_or_else(|| format!("{part:?} names no node; write <node>=<position>, such as 0-2=17,3=4.1"))?;
            let position: Position = position.parse().map_err(|error| format!("{error}"))?;
            match nodes.parse::<NodeSelector>().map_err(|error| error.to_string())? {
                NodeSelector::Ranks(ranks) => positions.extend(ranks.iter().map(|node| (node, position))),
                NodeSelector::All => return Err("write the position alone for all nodes".to_owned()),
            }
        }
        Ok(Self::ByNode(Positions(positions)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(rank: u32) -> NodeId {
        NodeId::new(rank).unwrap()
    }

    #[test]
    fn a_place_is_new_once() {
        let mut positions = Positions::default();
        let place = |text: &str| text.parse::<Position>().unwrap();
        assert!(positions.advance(node(0), place("0.1")));
        assert!(positions.advance(node(0), place("3")));
        assert!(!positions.advance(node(0), place("3")));
        assert!(!positions.advance(node(0), place("0.2")));
        assert!(positions.advance(node(1), place("1")));
        assert!(positions.advance(node(0), place("3.1")));
    }

    #[test]
    fn the_printed_form_reads_back() {
        assert_eq!(Positions::default().to_string(), "0");
        for text in ["0-2=17,3=4.1,9=17", "4=1"] {
            let SinceArgument::ByNode(read) = text.parse().unwrap() else {
                panic!()
            };
            assert_eq!(read.to_string(), text);
        }
        assert_eq!("17.2".parse(), Ok(SinceArgument::Everywhere("17.2".parse().unwrap())));
        for bad in ["", "x", "1=", "=1", "all=3", "1=2,3", "2-1=3"] {
            assert!(bad.parse::<SinceArgument>().is_err(), "{bad}");
        }
    }

    #[test]
    fn everything_is_said_shortly_on_the_wire() {
        assert_eq!(Positions::default().since(), Since::Everywhere(Position::START));
        let some: Positions = [(node(3), "4.1".parse().unwrap())].into_iter().collect();
        assert_eq!(serde_json::to_string(&some.since()).unwrap(), r#"{"3":"4.1"}"#);
    }
}
