//! How a swarm is, node by node, with the last sign of life of each worker.

use std::time::Duration;

use codeswarm_protocol::event::{NodeStatus, RouterWord};
use codeswarm_protocol::frame::{Downward, Ticket};
use codeswarm_protocol::{NodeId, Place, Rejection, RejectionCode, SwarmId, Timestamp};
use serde::Deserialize;

use super::answer::{Asker, answer};
use super::model::Awaited;
use super::{Context, Core, Node, Swarm, Timer};

/// How long heartbeats are waited for; then the answer goes without new ones.
const PATIENCE: Duration = Duration::from_secs(2);

/// A line of [`Upward::Heartbeats`](codeswarm_protocol::frame::Upward::Heartbeats).
#[derive(Deserialize)]
struct Beat {
    node_id: NodeId,
    beat: Said,
}

#[derive(Deserialize)]
struct Said {
    timestamp: Timestamp,
}

impl Core {
    /// Answers when the heartbeats are read; several who ask meanwhile share one reading.
    pub(super) fn answer_status(
        &mut self,
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
        if swarm.status.is_over() || !self.link_is_up() {
            self.answer_status_now(asker, swarm, context);
            return Ok(());
        }
        let (job_id, node_count) = (swarm.job_id.clone(), swarm.node_count);
        let waiting = self.asking_status.entry(swarm_id.clone()).or_default();
        waiting.push(asker.clone());
        if waiting.len() > 1 {
            return Ok(());
        }
        let ticket = self.ticket(Awaited::Heartbeats(swarm_id.clone(), job_id.clone()));
        self.timers
            .insert((context.at.now + PATIENCE, Timer::Status(swarm_id.clone())));
        let ask = Downward::Heartbeats {
            ticket,
            job_id,
            node_count,
        };
        self.ask_follower(ask, context);
        Ok(())
    }

    pub(super) fn heartbeats(&mut self, ticket: Ticket, data: &[u8], context: &mut Context<'_>) {
        let Some(Awaited::Heartbeats(swarm_id, job_id)) = self.tickets.remove(&ticket) else {
            return;
        };
        for line in data.split(|byte| *byte == b'\n') {
            if let Ok(Beat { node_id, beat }) = serde_json::from_slice(line)
                && let Some(node) = self.nodes.get_mut(&Place::new(job_id.clone(), node_id))
            {
                node.heartbeat_at = Some(beat.timestamp);
            }
        }
        self.answer_waiting_status(&swarm_id, context);
    }

    /// Answers whoever waits, with what is known.
    pub(super) fn answer_waiting_status(&mut self, swarm_id: &SwarmId, context: &mut Context<'_>) {
        let waiting = self.asking_status.remove(swarm_id).unwrap_or_default();
        if let Some(swarm) = self.swarms.get(swarm_id) {
            for asker in waiting {
                self.answer_status_now(&asker, swarm, context);
            }
        }
    }

    fn answer_status_now(&self, asker: &Asker, swarm: &Swarm, context: &mut Context<'_>) {
        let nodes = self.nodes_of(&swarm.job_id);
        let nodes = nodes
            .map(|(place, node)| node_status(place, node, &swarm.agent))
            .collect();
        let word = RouterWord::SwarmStatus {
            node_count: swarm.node_count,
            status: swarm.status,
            slurm_state: swarm.slurm_state(),
            reason: swarm
                .reason
                .clone()
                .or_else(|| swarm.job.as_ref().and_then(|job| job.reason.clone())),
            nodes,
        };
        answer(asker, swarm.event(word, context.at.wall), context);
    }
}

fn node_status(place: &Place, node: &Node, agent: &str) -> NodeStatus {
    NodeStatus {
        node_id: place.node_id,
        state: node.state,
        host: node.host.clone(),
        agent: (!agent.is_empty()).then(|| agent.to_owned()),
        epoch: node.epoch,
        injection_id: node.current.clone(),
        open_injections: node.open,
        turns: node.turns,
        tokens: node.tokens,
        seq: node.position.seq,
        last_event: node.last_event.clone(),
        last_event_at: node.last_event_at,
        error: node.error.clone(),
        heartbeat_at: node.heartbeat_at,
    }
}
