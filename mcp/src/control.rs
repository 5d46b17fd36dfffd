//! `interrupt`, `approve` and `terminate`.

use std::collections::BTreeSet;

use codeswarm_client::event::{Event, Said};
use codeswarm_protocol::NodeId;
use codeswarm_protocol::command::{ApproveExecution, Command, Interrupt as InterruptCommand, SwarmTerminate, Target};
use codeswarm_protocol::event::RouterWord;
use serde_json::json;

use crate::asking::{Desk, act};
use crate::parameters::{Approve, Interrupt, Terminate};
use crate::reply::{Reply, ranks, sorry};
use crate::status::{LATE, Once, PATIENCE, swarm_now};

/// What to say when an act is not answered.
const AGAIN: &str = "the router has not answered in 25 s, and may have done it: call again with the same arguments and \
                     idempotency_key, which never does it twice";

pub async fn interrupt(desk: &Desk, interrupt: Interrupt) -> Reply {
    let now = swarm_now(desk, &interrupt.swarm_id)
        .await
        .map_err(|trouble| sorry(trouble, LATE))?;
    let nodes = interrupt
        .nodes
        .resolve(now.node_count)
        .map_err(|error| format!("nodes: {error}"))?;
    let mut missing: BTreeSet<NodeId> = nodes.into_iter().collect();
    let told = ranks(&missing);
    let target = Target {
        swarm_id: Some(interrupt.swarm_id),
        nodes: Some(interrupt.nodes),
        ..Target::default()
    };
    let command = InterruptCommand {
        target,
        injection_id: interrupt.injection_id,
    };
    let request = act(&interrupt.idempotency_key, Command::Interrupt(command));
    let is_acknowledged = |event: &Event| {
        if event.head.kind == "interrupt_ack" {
            missing.retain(|node| event.head.node_id != Some(*node));
        }
        missing.is_empty().then_some(())
    };
    let asked = desk.ask(&mut Once::new(request, PATIENCE, is_acknowledged)).await;
    asked.map_err(|trouble| sorry(trouble, AGAIN))?;
    Ok(json!({
        "interrupted_nodes": told,
        "next": "the running turns of these nodes end as interrupted, if there were any; wait on their prompts tells",
    }))
}

pub async fn approve(desk: &Desk, approve: Approve) -> Reply {
    let target = Target {
        swarm_id: Some(approve.swarm_id),
        node_id: Some(approve.node),
        ..Target::default()
    };
    let command = ApproveExecution {
        target,
        call_id: approve.call_id,
        approved: None,
        decision: Some(approve.decision),
    };
    let request = act(&approve.idempotency_key, Command::ApproveExecution(command));
    let is_acknowledged = |event: &Event| (event.head.kind == "approval_ack").then_some(());
    let asked = desk.ask(&mut Once::new(request, PATIENCE, is_acknowledged)).await;
    asked.map_err(|trouble| sorry(trouble, AGAIN))?;
    Ok(json!({"answered": true, "next": "the turn goes on; call wait with its prompt"}))
}

pub async fn terminate(desk: &Desk, terminate: Terminate) -> Reply {
    let swarm_id = terminate.swarm_id.clone();
    let command = SwarmTerminate {
        swarm_id: terminate.swarm_id,
    };
    let request = act(&terminate.idempotency_key, Command::SwarmTerminate(command));
    // Whether it has ended already.
    let is_ending = |event: &Event| match event.said() {
        Said::Router(RouterWord::SwarmStatus { .. }) => Some(false),
        Said::Router(RouterWord::SwarmTerminated { .. }) => Some(true),
        _ => None,
    };
    let asked = desk.ask(&mut Once::new(request, PATIENCE, is_ending)).await;
    let has_ended = asked.map_err(|trouble| sorry(trouble, AGAIN))?;
    Ok(json!({
        "swarm_id": swarm_id,
        "state": if has_ended { "ended" } else { "terminating" },
        "next": "wait with swarm_id tells when it has ended; output still reads its answers",
    }))
}
