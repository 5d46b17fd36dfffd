//! `inject`.

use std::collections::BTreeSet;

use codeswarm_protocol::NodeId;
use codeswarm_protocol::command::{self, Command, Target};

use super::{ANSWER_PATIENCE, swarm_now};
use crate::args::Inject;
use crate::event::Event;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::follow::Follow;
use crate::request::{RandomNames, Request};
use crate::session::{Answer, Session};

/// Sends a prompt, and follows its turns unless told not to.
pub async fn inject(mut session: Session, args: Inject, prompt: String) -> Result<Exit, Failure> {
    let now = swarm_now(&mut session, &args.swarm_id).await?;
    let nodes = args
        .nodes
        .resolve(now.node_count)
        .map_err(|error| Failure::usage(error.to_string(), ""))?;
    let target = Target {
        swarm_id: Some(args.swarm_id.clone()),
        nodes: Some(args.nodes.clone()),
        ..Target::default()
    };
    let inject = session.request(Command::Inject(command::Inject {
        target,
        content: prompt,
        steer: args.steer,
    }));
    if args.no_wait {
        return accepted(session, inject, nodes).await;
    }
    let options = session.options_to_repeat();
    let positions = now.positions().collect();
    session
        .follow(Follow::inject(
            args.swarm_id,
            inject,
            nodes,
            positions,
            Box::new(RandomNames),
            options,
        ))
        .await
}

/// Waits until every node's injection is accepted.
async fn accepted(mut session: Session, inject: Request, nodes: Vec<NodeId>) -> Result<Exit, Failure> {
    let id = inject.id.clone();
    let mut missing: BTreeSet<NodeId> = nodes.iter().copied().collect();
    let is_accepted = |event: &Event| {
        if event.head.kind != "inject_ack" || !event.head.answers(&id) {
            return Answer::None;
        }
        if let Some(node) = event.head.node_id {
            missing.remove(&node);
        }
        if missing.is_empty() { Answer::Last } else { Answer::Part }
    };
    session
        .ask(
            &[inject],
            "waiting for the prompt to be accepted",
            ANSWER_PATIENCE,
            is_accepted,
        )
        .await?;
    let who = if nodes.len() == 1 {
        "1 node".to_owned()
    } else {
        format!("{} nodes", nodes.len())
    };
    session
        .screen
        .note(&format!("accepted for {who}; it will be delivered"));
    Ok(Exit::Done)
}
