//! `launch`: a swarm, or the word that it is on its way.

use std::time::Duration;

use codeswarm_client::event::{Event, Said};
use codeswarm_protocol::command::{Command, SwarmLaunch};
use codeswarm_protocol::event::RouterWord;
use serde_json::{Map, Value, json};

use crate::asking::{Desk, Trouble, act};
use crate::parameters::Launch;
use crate::reply::{Reply, sorry};
use crate::status::Once;

/// How long the answer is waited for: `sbatch`, and on a first connection also the program on its way to the cluster.
const PATIENCE: Duration = Duration::from_secs(45);

pub async fn launch(desk: &Desk, launch: Launch) -> Reply {
    let name = launch.idempotency_key.clone();
    let with_prompt = launch.prompt.is_some();
    let request = act(&name, command(desk, launch));
    let is_launched = |event: &Event| match event.said() {
        Said::Router(RouterWord::SwarmLaunched {
            node_count,
            provider,
            slurm_state,
            slurm_reason,
            ..
        }) => Some(json!({
            "swarm_id": event.head.swarm_id,
            "job_id": event.head.job_id,
            "nodes": node_count,
            "provider": provider,
            "slurm_state": slurm_state,
            "slurm_reason": slurm_reason,
        })),
        _ => None,
    };
    match desk.ask(&mut Once::new(request, PATIENCE, is_launched)).await {
        Ok(mut launched) => {
            launched["next"] = json!(match with_prompt {
                true => format!(
                    "call wait with prompt {:?} for the answers; prompt sends further ones",
                    name.as_str()
                ),
                false => "call prompt to give its nodes work; prompts wait until the nodes are up".to_owned(),
            });
            Ok(launched)
        }
        Err(Trouble::Late) => Ok(json!({
            "swarm_id": null,
            "state": "on its way",
            "next": "the launch is not answered yet and goes on: call launch again with the same arguments and idempotency_key, which never launches twice",
        })),
        Err(trouble) => Err(sorry(trouble, "")),
    }
}

fn command(desk: &Desk, launch: Launch) -> Command {
    let settings = desk.configured.swarm.clone();
    let mut agent = settings.agent;
    if let Some(kind) = launch.agent {
        agent.kind = kind;
    }
    if launch.model.is_some() {
        agent.model = launch.model;
    }
    let words = [
        ("partition", launch.partition),
        ("account", launch.account),
        ("qos", launch.qos),
        ("time_limit", launch.time_limit),
        ("constraint", launch.constraint),
        ("gres", launch.gres),
    ];
    let words = words
        .into_iter()
        .filter_map(|(key, word)| Some((key.to_owned(), Value::from(word?))));
    let agents = launch
        .agents_per_node
        .map(|agents| ("agents_per_node".to_owned(), Value::from(agents)));
    let params: Map<String, Value> = words.chain(agents).collect();
    Command::SwarmLaunch(SwarmLaunch {
        nodes: launch.nodes,
        system_prompt: launch.prompt,
        agents_md_content: launch.instructions,
        agent: Some(Box::new(agent)),
        worker: Some(settings.worker),
        provider: launch.provider,
        provider_params: (!params.is_empty()).then_some(params),
        immediate: launch.immediate,
    })
}
