//! `ping` and `shutdown`: about the router itself, so none is started for them.

use codeswarm_protocol::command::{Command, Ping, Shutdown};
use codeswarm_protocol::event::RouterWord;

use super::{ANSWER_PATIENCE, misunderstood};
use crate::event::{Event, Said};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::Output;
use crate::session::{Answer, Session};

/// A sign of life.
pub async fn ping(mut session: Session) -> Result<Exit, Failure> {
    if session.existing().await?.is_none() {
        return Err(Failure::new(
            Exit::Unreachable,
            "no router runs for this configuration",
            "any other command starts one, such as codeswarm list",
        ));
    }
    let request = session.request(Command::Ping(Ping {}));
    let id = request.id.clone();
    let is_pong = |event: &Event| match event.head.kind.as_str() {
        "pong" if event.head.answers(&id) => Answer::Last,
        _ => Answer::None,
    };
    let answers = session
        .ask(&[request], "waiting for the router", ANSWER_PATIENCE, is_pong)
        .await?;
    let Some(Said::Router(RouterWord::Pong {
        version,
        pid,
        live_swarms,
    })) = answers.last().map(Event::said)
    else {
        return Err(misunderstood("pong"));
    };
    if !session.json() {
        Output.line(format!("router {version}, process {pid}, {live_swarms} live swarms").as_bytes())?;
    }
    if version != codeswarm_protocol::VERSION {
        session.screen.note(&format!(
            "this command is version {}; codeswarm shutdown ends the other router, and swarms go on",
            codeswarm_protocol::VERSION
        ));
    }
    Ok(Exit::Done)
}

/// Ends the router; swarms go on.
pub async fn shutdown(mut session: Session) -> Result<Exit, Failure> {
    if session.existing().await?.is_none() {
        session.screen.note("no router runs for this configuration");
        return Ok(Exit::Done);
    }
    let request = session.request(Command::Shutdown(Shutdown {}));
    let is_bye = |event: &Event| match event.head.kind.as_str() {
        "shutting_down" => Answer::Last,
        _ => Answer::None,
    };
    session
        .ask(&[request], "waiting for the router to end", ANSWER_PATIENCE, is_bye)
        .await?;
    session.screen.note("the router ends; its swarms go on");
    Ok(Exit::Done)
}
