//! `list` and `status`.

use std::io::{self, IsTerminal};

use codeswarm_protocol::SwarmId;
use codeswarm_protocol::command::{Command, SwarmList};
use codeswarm_protocol::event::RouterWord;

use super::{ANSWER_PATIENCE, misunderstood, swarm_now};
use crate::event::{Event, Said};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::Output;
use crate::render::colours::Colours;
use crate::session::{Answer, Session};
use crate::tables::{self, SwarmView};

/// The swarms that the router knows.
pub async fn list(mut session: Session) -> Result<Exit, Failure> {
    let request = session.request(Command::SwarmList(SwarmList {}));
    let id = request.id.clone();
    let is_list = |event: &Event| match event.head.kind.as_str() {
        "swarm_list" if event.head.answers(&id) => Answer::Last,
        _ => Answer::None,
    };
    let answers = session
        .ask(&[request], "asking for the swarms", ANSWER_PATIENCE, is_list)
        .await?;
    if session.json() {
        return Ok(Exit::Done);
    }
    let Some(Said::Router(RouterWord::SwarmList { swarms })) = answers.last().map(Event::said) else {
        return Err(misunderstood("swarm_list"));
    };
    if swarms.is_empty() {
        session.screen.note("no swarms; codeswarm launch starts one");
        return Ok(Exit::Done);
    }
    let colours = Colours::for_stream(io::stdout().is_terminal());
    Output.write(tables::swarms(colours, &swarms).as_bytes())?;
    Ok(Exit::Done)
}

/// A swarm, node by node.
pub async fn status(mut session: Session, swarm_id: SwarmId) -> Result<Exit, Failure> {
    let now = swarm_now(&mut session, &swarm_id).await?;
    if session.json() {
        Output.line(now.event.line())?;
        return Ok(Exit::Done);
    }
    let view = SwarmView {
        swarm_id: swarm_id.as_str(),
        job_id: now.event.head.job_id.as_ref().map(|job| job.as_str()),
        status: now.status,
        provider_state: now.slurm_state.as_deref(),
        reason: now.reason.as_deref(),
        node_count: now.node_count,
        nodes: &now.nodes,
    };
    let colours = Colours::for_stream(io::stdout().is_terminal());
    Output.write(tables::swarm(colours, &view).as_bytes())?;
    Ok(Exit::Done)
}
