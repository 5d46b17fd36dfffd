//! `interrupt`, `approve` and `terminate`.

use std::collections::BTreeSet;
use std::time::Duration;

use codeswarm_protocol::NodeId;
use codeswarm_protocol::command::{self, ApproveExecution, Command, SwarmTerminate, Target};
use codeswarm_protocol::event::{RouterWord, SwarmState};

use super::{ANSWER_PATIENCE, if_interrupted, swarm_now};
use crate::args::{Approve, Interrupt, Terminate};
use crate::event::{Event, Said};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::render::words;
use crate::session::{Answer, Session};

/// Workers may take their grace period, and Slurm its own time.
const END_PATIENCE: Duration = Duration::from_secs(180);

/// Ends the running turn of nodes.
pub async fn interrupt(mut session: Session, args: Interrupt) -> Result<Exit, Failure> {
    let now = swarm_now(&mut session, &args.swarm_id).await?;
    let nodes = args
        .nodes
        .resolve(now.node_count)
        .map_err(|error| Failure::usage(error.to_string(), ""))?;
    let target = Target {
        swarm_id: Some(args.swarm_id),
        nodes: Some(args.nodes),
        ..Target::default()
    };
    let interrupt = command::Interrupt {
        target,
        injection_id: args.injection,
    };
    let request = session.request(Command::Interrupt(interrupt));
    let id = request.id.clone();
    let mut missing: BTreeSet<NodeId> = nodes.into_iter().collect();
    let is_ack = |event: &Event| {
        if event.head.kind != "interrupt_ack" || !event.head.answers(&id) {
            return Answer::None;
        }
        if let Some(node) = event.head.node_id {
            missing.remove(&node);
        }
        if missing.is_empty() { Answer::Last } else { Answer::Part }
    };
    let answers = session
        .ask(
            &[request],
            "waiting for the interrupt to arrive",
            ANSWER_PATIENCE,
            is_ack,
        )
        .await?;
    let who = if answers.len() == 1 {
        "1 node".to_owned()
    } else {
        format!("{} nodes", answers.len())
    };
    session
        .screen
        .note(&format!("the interrupt is with {who}; turn_complete tells the rest"));
    Ok(Exit::Done)
}

/// Answers an agent's question.
pub async fn approve(mut session: Session, args: Approve) -> Result<Exit, Failure> {
    let target = Target {
        swarm_id: Some(args.swarm_id),
        node_id: Some(args.node),
        ..Target::default()
    };
    let decision = args.answer.into();
    let approval = ApproveExecution {
        target,
        call_id: args.call,
        approved: None,
        decision: Some(decision),
    };
    let request = session.request(Command::ApproveExecution(approval));
    let id = request.id.clone();
    let is_ack = |event: &Event| match event.head.kind.as_str() {
        "approval_ack" if event.head.answers(&id) => Answer::Last,
        _ => Answer::None,
    };
    session
        .ask(&[request], "waiting for the answer to arrive", ANSWER_PATIENCE, is_ack)
        .await?;
    session.screen.note(&format!(
        "{} is on its way to node {}",
        words::decision(decision),
        args.node
    ));
    Ok(Exit::Done)
}

/// Ends a swarm.
pub async fn terminate(mut session: Session, args: Terminate) -> Result<Exit, Failure> {
    let swarm_id = args.swarm_id;
    let request = session.request(Command::SwarmTerminate(SwarmTerminate {
        swarm_id: swarm_id.clone(),
    }));
    let id = request.id.clone();
    let is_end = |event: &Event| {
        if event.head.swarm_id.as_ref() != Some(&swarm_id) {
            return Answer::None;
        }
        match event.said() {
            Said::Router(RouterWord::SwarmTerminated { .. }) => Answer::Last,
            Said::Router(RouterWord::SwarmStatus { status, .. }) if status.is_over() => Answer::Last,
            Said::Router(RouterWord::SwarmStatus {
                status: SwarmState::Terminating,
                ..
            }) if args.no_wait => Answer::Last,
            Said::Router(RouterWord::SwarmStatus { .. }) if event.head.answers(&id) => Answer::Part,
            _ => Answer::None,
        }
    };
    let answers = session
        .ask(&[request], "waiting for the swarm to end", END_PATIENCE, is_end)
        .await
        .map_err(|failure| if_interrupted(failure, || format!("swarm {swarm_id} ends without you")))?;
    let is_over = answers.last().is_some_and(|event| match event.said() {
        Said::Router(RouterWord::SwarmStatus { status, .. }) => status.is_over(),
        _ => true,
    });
    session.screen.note(&format!(
        "swarm {swarm_id} {}",
        if is_over { "has ended" } else { "is ending" }
    ));
    Ok(Exit::Done)
}
