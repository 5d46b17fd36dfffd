//! `status`: all swarms, or one, node by node.

use std::collections::BTreeMap;
use std::time::Duration;

use codeswarm_client::event::{Event, Said};
use codeswarm_client::request::Request;
use codeswarm_client::swarm::SwarmNow;
use codeswarm_protocol::SwarmId;
use codeswarm_protocol::command::{Command, SwarmList, SwarmStatus};
use codeswarm_protocol::event::{NodeState, RouterWord};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::asking::{Desk, Heard, Question, Trouble, look};
use crate::parameters::Status;
use crate::reply::{Reply, head, shortened, sorry};

/// How long the router may take to answer.
pub const PATIENCE: Duration = Duration::from_secs(25);
/// What to say when it does not.
pub const LATE: &str = "the router has not answered in 25 s; call doctor, which tells what is wrong";

/// What a wait holds against later: its state and how many nodes are up.
pub fn cursor(now: &SwarmNow) -> String {
    let up = now.nodes.iter().filter(|node| is_up(node.state)).count();
    let slurm = now.slurm_state.as_deref().unwrap_or_default();
    format!("{} {up}/{} {slurm}", word(now.status), now.node_count)
        .trim_end()
        .to_owned()
}

fn is_up(state: NodeState) -> bool {
    matches!(state, NodeState::Idle | NodeState::Busy)
}

/// A state as it is spelled on the wire.
fn word(state: impl serde::Serialize) -> String {
    let spelled = serde_json::to_value(state).ok();
    spelled
        .and_then(|word| word.as_str().map(str::to_owned))
        .unwrap_or_default()
}

/// One question with one answer.
pub struct Once<T, F: FnMut(&Event) -> Option<T>> {
    request: Request,
    until: Instant,
    answer: F,
}

impl<T, F: FnMut(&Event) -> Option<T>> Once<T, F> {
    /// `answer` is shown the events that answer the request.
    pub fn new(request: Request, patience: Duration, answer: F) -> Self {
        let until = Instant::now() + patience;
        Self { request, until, answer }
    }
}

impl<T, F: FnMut(&Event) -> Option<T>> Question for Once<T, F> {
    type Answer = T;

    fn begin(&mut self) -> Vec<Request> {
        vec![self.request.clone()]
    }

    fn until(&self) -> Instant {
        self.until
    }

    fn hear(&mut self, event: &Event) -> Heard<T> {
        let answers = event.head.answers(&self.request.id);
        match answers.then(|| (self.answer)(event)).flatten() {
            Some(answer) => Heard::Answer(answer),
            None => Heard::More,
        }
    }
}

pub async fn status(desk: &Desk, status: Status) -> Reply {
    match status.swarm_id {
        Some(swarm_id) => {
            let now = swarm_now(desk, &swarm_id).await;
            now.map(|now| summary(&swarm_id, &now))
                .map_err(|trouble| sorry(trouble, LATE))
        }
        None => list(desk).await,
    }
}

/// Asks for a swarm.
pub async fn swarm_now(desk: &Desk, swarm_id: &SwarmId) -> Result<SwarmNow, Trouble> {
    let swarm_id = swarm_id.clone();
    let request = look(Command::SwarmStatus(SwarmStatus { swarm_id }));
    let is_status = |event: &Event| SwarmNow::of(event.clone());
    desk.ask(&mut Once::new(request, PATIENCE, is_status)).await
}

/// One swarm for a model.
pub fn summary(swarm_id: &SwarmId, now: &SwarmNow) -> Value {
    let mut states: BTreeMap<String, u32> = BTreeMap::new();
    for node in &now.nodes {
        *states.entry(word(node.state)).or_default() += 1;
    }
    let nodes = now.nodes.iter().map(|node| {
        let mut told = json!({"node": node.node_id, "state": word(node.state), "turns": node.turns, "waiting": node.open_injections});
        if let Some(host) = &node.host {
            told["host"] = json!(host);
        }
        if let Some(id) = &node.injection_id {
            told["injection_id"] = json!(id);
        }
        if let Some(event) = &node.last_event {
            told["last_event"] = json!(event);
        }
        if let Some(error) = &node.error {
            told["error"] = json!(head(error, 200).0);
        }
        told
    });
    let mut value = json!({
        "swarm_id": swarm_id,
        "job_id": now.event.head.job_id,
        "status": word(now.status),
        "node_count": now.node_count,
        "nodes_by_state": states,
        "tokens": now.nodes.iter().map(|node| node.tokens).sum::<u64>(),
    });
    if let Some(state) = &now.slurm_state {
        value["slurm_state"] = json!(state);
    }
    if let Some(reason) = &now.reason {
        value["reason"] = json!(head(reason, 600).0);
    }
    value["nodes"] = json!(nodes.collect::<Vec<_>>());
    let shown = shortened(&mut value, "nodes");
    if shown < now.nodes.len() {
        value["nodes_not_shown"] = json!(now.nodes.len() - shown);
    }
    value
}

async fn list(desk: &Desk) -> Reply {
    let request = look(Command::SwarmList(SwarmList {}));
    let is_list = |event: &Event| match event.said() {
        Said::Router(RouterWord::SwarmList { swarms }) => Some(swarms),
        _ => None,
    };
    let asked = desk.ask(&mut Once::new(request, PATIENCE, is_list)).await;
    let swarms = asked.map_err(|trouble| sorry(trouble, LATE))?;
    let count = swarms.len();
    let mut swarms: Vec<_> = swarms.into_iter().collect();
    // Those that live first, then the youngest.
    swarms.sort_by_key(|(_, swarm)| (swarm.status.is_over(), std::cmp::Reverse(swarm.created.to_string())));
    let told = swarms.iter().map(|(swarm_id, swarm)| {
        json!({
            "swarm_id": swarm_id,
            "status": word(swarm.status),
            "nodes": swarm.node_count,
            "agent": swarm.agent,
            "provider": swarm.provider,
            "job_id": swarm.job_id,
            "created": swarm.created,
            "first_prompt": swarm.system_prompt.as_deref().map(|prompt| head(prompt, 80).0),
        })
    });
    let mut value = json!({"swarms": told.take(200).collect::<Vec<_>>()});
    let shown = shortened(&mut value, "swarms");
    if shown < count {
        value["swarms_not_shown"] = json!(count - shown);
    }
    if count == 0 {
        value["next"] = json!("there is no swarm; launch starts one");
    }
    Ok(value)
}
