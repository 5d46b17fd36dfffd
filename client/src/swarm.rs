//! A swarm as the router tells of it when it is asked.

use codeswarm_protocol::event::{NodeStatus, RouterWord, SwarmState};
use codeswarm_protocol::{NodeId, Position};

use crate::event::{Event, Said};

/// The answer to `swarm_status`.
#[derive(Debug)]
pub struct SwarmNow {
    /// The whole answer, as it came.
    pub event: Event,
    /// How the swarm is.
    pub status: SwarmState,
    /// Slurm's own word for its job.
    pub slurm_state: Option<String>,
    /// Why it waits or has ended.
    pub reason: Option<String>,
    /// How many nodes it was launched with.
    pub node_count: u32,
    /// Each of them; fewer while its job is not known yet.
    pub nodes: Vec<NodeStatus>,
}

impl SwarmNow {
    /// Nothing, if the event says something else.
    pub fn of(event: Event) -> Option<Self> {
        match event.said() {
            Said::Router(RouterWord::SwarmStatus {
                node_count,
                status,
                slurm_state,
                reason,
                nodes,
            }) => Some(Self {
                event,
                status,
                slurm_state,
                reason,
                node_count,
                nodes,
            }),
            _ => None,
        }
    }

    /// All its nodes.
    pub fn ranks(&self) -> impl Iterator<Item = NodeId> + use<> {
        (0..self.node_count).filter_map(|rank| NodeId::new(rank).ok())
    }

    /// Where each node's stream stands.
    pub fn positions(&self) -> impl Iterator<Item = (NodeId, Position)> {
        self.nodes.iter().map(|node| (node.node_id, Position::at(node.seq)))
    }
}
