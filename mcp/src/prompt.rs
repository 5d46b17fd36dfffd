//! `prompt` and `steer`: accepted at once, answered later.

use codeswarm_client::event::{Event, Said};
use codeswarm_client::request::Request;
use codeswarm_protocol::command::{Command, Inject, Recall, Target};
use codeswarm_protocol::event::{RecalledInjection, RouterWord};
use codeswarm_protocol::{NodeSelector, RequestId, SwarmId};
use serde_json::json;
use tokio::time::Instant;

use crate::asking::{Desk, Heard, Question, act, look};
use crate::parameters::{Prompt, Steer};
use crate::reply::{Reply, ranks, sorry};
use crate::status::PATIENCE;

pub async fn prompt(desk: &Desk, prompt: Prompt) -> Reply {
    let Prompt {
        swarm_id,
        nodes,
        text,
        idempotency_key,
    } = prompt;
    inject(desk, swarm_id, nodes, text, idempotency_key, false).await
}

pub async fn steer(desk: &Desk, steer: Steer) -> Reply {
    let Steer {
        swarm_id,
        nodes,
        text,
        idempotency_key,
    } = steer;
    inject(desk, swarm_id, nodes, text, idempotency_key, true).await
}

/// Sends a prompt; when the first node has it, asks to which others it went.
struct Injecting {
    inject: Request,
    recall: Option<Request>,
    until: Instant,
}

impl Question for Injecting {
    type Answer = Vec<RecalledInjection>;

    fn begin(&mut self) -> Vec<Request> {
        self.recall = None;
        vec![self.inject.clone()]
    }

    fn until(&self) -> Instant {
        self.until
    }

    fn hear(&mut self, event: &Event) -> Heard<Self::Answer> {
        if event.head.kind == "inject_ack" && event.head.answers(&self.inject.id) && self.recall.is_none() {
            let of = self.inject.id.clone();
            let recall = self.recall.insert(look(Command::Recall(Recall { of })));
            return Heard::Ask(recall.clone());
        }
        let answers = self
            .recall
            .as_ref()
            .is_some_and(|recall| event.head.answers(&recall.id));
        match event.said() {
            Said::Router(RouterWord::Recalled { injections, .. }) if answers => Heard::Answer(injections),
            _ => Heard::More,
        }
    }
}

async fn inject(
    desk: &Desk,
    swarm_id: SwarmId,
    nodes: NodeSelector,
    content: String,
    name: RequestId,
    steer: bool,
) -> Reply {
    let target = Target {
        swarm_id: Some(swarm_id.clone()),
        nodes: Some(nodes),
        ..Target::default()
    };
    let inject = Inject { target, content, steer };
    let mut question = Injecting {
        inject: act(&name, Command::Inject(inject)),
        recall: None,
        until: Instant::now() + PATIENCE,
    };
    let asked = desk.ask(&mut question).await;
    let injections = asked.map_err(|trouble| {
        let late = "the router has not answered in 25 s, and the prompt may have been accepted: call again with the same arguments \
                    and idempotency_key, which never sends twice";
        sorry(trouble, late)
    })?;
    let nodes = injections.iter().map(|one| one.node_id).collect();
    Ok(json!({
        "prompt": name,
        "swarm_id": swarm_id,
        "turns": injections.len(),
        "nodes": ranks(&nodes),
        "next": format!("the prompt is durable and will be answered: call wait with prompt {:?}", name.as_str()),
    }))
}
