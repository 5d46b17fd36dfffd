//! Each client command: what it asks of the router, and what it shows.

mod adopt;
mod attach;
mod control;
pub mod doctor;
pub mod events;
mod inject;
mod launch;
mod look;
pub mod mcp;
mod router;

use std::time::Duration;

use codeswarm_client::swarm::SwarmNow;
use codeswarm_protocol::SwarmId;
use codeswarm_protocol::command::{Command as Asked, SwarmStatus};

use crate::args::{Client, Options};
use crate::event::Event;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::prompt;
use crate::session::{Answer, Session};

/// How long the router may be silent before an answer to a simple question.
const ANSWER_PATIENCE: Duration = Duration::from_secs(30);

/// Carries out a client command; `options` stood before it.
pub async fn run(command: Client, options: Options) -> Result<Exit, Failure> {
    let session = |mine: Options| Session::open(mine.over(options));
    match command {
        // Prompts are read before signals are listened to, so that Ctrl-C ends a prompt that is typed.
        Client::Run(args) => {
            let prompt = prompt::required(&args.prompt)?;
            launch::run(session(args.options)?, args.launch, prompt).await
        }
        Client::Launch(args) => {
            let prompt = prompt::given(&args.prompt)?;
            launch::launch(session(args.options)?, args.launch, prompt, args.wait).await
        }
        Client::Adopt(args) => adopt::adopt(session(args.options)?, args.job_id).await,
        Client::List(args) => look::list(session(args.options)?).await,
        Client::Status(args) => look::status(session(args.options)?, args.swarm_id).await,
        Client::Inject(args) => {
            let prompt = prompt::required(&args.prompt)?;
            inject::inject(session(args.options.clone())?, args, prompt).await
        }
        Client::Attach(args) => attach::attach(session(args.options.clone())?, args).await,
        Client::Interrupt(args) => control::interrupt(session(args.options.clone())?, args).await,
        Client::Approve(args) => control::approve(session(args.options.clone())?, args).await,
        Client::Terminate(args) => control::terminate(session(args.options.clone())?, args).await,
        Client::Ping(args) => router::ping(session(args.options)?).await,
        Client::Shutdown(args) => router::shutdown(session(args.options)?).await,
    }
}

/// Asks for a swarm, without printing the answer.
async fn swarm_now(session: &mut Session, swarm_id: &SwarmId) -> Result<SwarmNow, Failure> {
    let request = session.request(Asked::SwarmStatus(SwarmStatus {
        swarm_id: swarm_id.clone(),
    }));
    let id = request.id.clone();
    let is_status = |event: &Event| match event.head.kind.as_str() {
        "swarm_status" if event.head.answers(&id) => Answer::LastUnprinted,
        _ => Answer::None,
    };
    let mut answers = session
        .ask(&[request], "asking how the swarm is", ANSWER_PATIENCE, is_status)
        .await?;
    answers
        .pop()
        .and_then(SwarmNow::of)
        .ok_or_else(|| misunderstood("swarm_status"))
}

/// What an interrupted command tells besides.
fn if_interrupted(failure: Failure, advice: impl FnOnce() -> String) -> Failure {
    if failure.exit == Exit::Interrupted {
        Failure {
            advice: advice(),
            ..failure
        }
    } else {
        failure
    }
}

/// The router answered in words of another version.
fn misunderstood(what: &str) -> Failure {
    Failure::new(
        Exit::Internal,
        format!("the router's {what} cannot be read"),
        "the router may be of another version: codeswarm ping tells, codeswarm shutdown ends it",
    )
}
