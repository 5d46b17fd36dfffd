//! `ping` and `shutdown`: about the router itself, so none is started for them.

use std::time::Duration;

use codeswarm_protocol::command::{Command, Ping, Shutdown};
use codeswarm_protocol::event::RouterWord;

use super::{ANSWER_PATIENCE, misunderstood};
use crate::event::{Event, Said};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::Output;
use crate::session::{Answer, Session};

/// How long a router may take to leave: it answers what it has accepted first.
const LEAVE_PATIENCE: Duration = Duration::from_secs(30);
/// How often it is looked for meanwhile.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

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
    // Who comes next must not meet one that is leaving.
    let deadline = session.screen.now() + LEAVE_PATIENCE;
    while session.existing().await?.is_some() {
        if session.screen.now() >= deadline {
            let what = format!("the router has not ended within {} seconds", LEAVE_PATIENCE.as_secs());
            return Err(Failure::new(
                Exit::Unreachable,
                what,
                "codeswarm ping tells its process",
            ));
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
    session.screen.note("the router has ended; its swarms go on");
    Ok(Exit::Done)
}
