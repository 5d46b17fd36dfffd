//! How a swarm is, node by node.

use codeswarm_protocol::event::{NodeStatus, RouterWord};
use codeswarm_protocol::{Place, Rejection, RejectionCode, SwarmId};

use super::answer::{Asker, answer};
use super::{Context, Core};

impl Core {
    pub(super) fn answer_status(
        &self,
        asker: &Asker,
        swarm_id: &SwarmId,
        context: &mut Context<'_>,
    ) -> Result<(), Rejection> {
        let Some(swarm) = self.swarms.get(swarm_id) else {
            return Err(Rejection::field(
                RejectionCode::UnknownSwarm,
                "swarm_id",
                format!("no swarm {swarm_id} is known here; swarm_list tells which are"),
            ));
        };
        let nodes = self
            .places(swarm_id)
            .iter()
            .filter_map(|place| self.node_status(place, &swarm.agent))
            .collect();
        let word = RouterWord::SwarmStatus {
            node_count: swarm.node_count,
            status: swarm.status,
            slurm_state: None,
            reason: None,
            nodes,
        };
        answer(asker, swarm.event(word, context.at.wall), context);
        Ok(())
    }

    fn node_status(&self, place: &Place, agent: &str) -> Option<NodeStatus> {
        let node = self.nodes.get(place)?;
        Some(NodeStatus {
            node_id: place.node_id,
            state: node.state,
            host: node.host.clone(),
            agent: Some(agent.to_owned()),
            epoch: node.epoch,
            injection_id: node.current.clone(),
            open_injections: node.open,
            turns: node.turns,
            tokens: node.tokens,
            seq: node.position.seq,
            last_event: node.last_event.clone(),
            last_event_at: node.last_event_at,
            error: node.error.clone(),
            heartbeat_at: None,
        })
    }
}
