//! One question to the router: over a connection of its own, which is made again when it breaks. Requests carry names, so that
//! asking again does nothing twice.

use std::time::Duration;

use codeswarm_client::configuration::Configured;
use codeswarm_client::event::Event;
use codeswarm_client::failure::Failure;
use codeswarm_client::rejection::refusal;
use codeswarm_client::request::{RandomNames, Request};
use codeswarm_protocol::command::Command;
use codeswarm_protocol::{RejectionCode, RequestId};
use tokio::time::{Instant, sleep, timeout_at};

/// The pause before the first new connection; each further one waits twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
/// The longest such pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// Where questions are asked.
#[derive(Debug)]
pub struct Desk {
    /// The router, and what the configuration means by a swarm.
    pub configured: Configured,
    /// The program itself, for what is another process.
    pub program: std::path::PathBuf,
    /// Its options that name the configuration.
    pub options: Vec<String>,
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq)]
pub enum Trouble {
    /// The router says no.
    Refused(RejectionCode, String),
    /// It has not answered in time. What was asked for may happen all the same.
    Late,
    /// Anything else: a sentence with what to do.
    Failed(String),
}

impl From<Failure> for Trouble {
    fn from(failure: Failure) -> Self {
        let Failure { what, advice, .. } = failure;
        Self::Failed(match advice.is_empty() {
            true => what,
            false => format!("{what}. {advice}"),
        })
    }
}

/// What an event is to whoever asked.
#[derive(Debug)]
pub enum Heard<T> {
    /// The answer is complete.
    Answer(T),
    /// More is to come.
    More,
    /// Ask this as well, on the same connection.
    Ask(Request),
}

/// One way of asking: what is said first on a connection, and what is made of the events.
pub trait Question {
    /// What comes of it.
    type Answer;
    /// What to ask on a new connection; what was heard on an earlier one is forgotten.
    fn begin(&mut self) -> Vec<Request>;
    /// When nobody waits any longer, as it is now.
    fn until(&self) -> Instant;
    /// An event.
    fn hear(&mut self, event: &Event) -> Heard<Self::Answer>;
}

impl Desk {
    /// Asks, until it is answered or nobody waits any longer.
    ///
    /// # Errors
    /// See [`Trouble`].
    pub async fn ask<Q: Question>(&self, question: &mut Q) -> Result<Q::Answer, Trouble> {
        let mut pause = FIRST_PAUSE;
        loop {
            let mut asked = question.begin();
            let mut note = |note: &str| tracing::info!("{note}");
            let connecting = self.configured.router.connect(&mut note);
            let mut connection = timeout_at(question.until(), connecting)
                .await
                .map_err(|_| Trouble::Late)??;
            for request in &asked {
                connection.send(request).await?;
            }
            while let Some(event) = timeout_at(question.until(), connection.event())
                .await
                .map_err(|_| Trouble::Late)?
            {
                pause = FIRST_PAUSE;
                if let Some((code, failure)) = refusal(&event)
                    && asked.iter().any(|request| event.head.answers(&request.id))
                {
                    return Err(refused(code, failure));
                }
                match question.hear(&event) {
                    Heard::Answer(answer) => return Ok(answer),
                    Heard::More => {}
                    Heard::Ask(request) => {
                        connection.send(&request).await?;
                        asked.push(request);
                    }
                }
            }
            // The router has gone; the next connection finds another or starts one.
            timeout_at(question.until(), sleep(pause))
                .await
                .map_err(|_| Trouble::Late)?;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }
}

fn refused(code: RejectionCode, failure: Failure) -> Trouble {
    match Trouble::from(failure) {
        Trouble::Failed(sentence) => Trouble::Refused(code, sentence),
        other => other,
    }
}

/// A request that only looks, with a name of its own.
pub fn look(command: Command) -> Request {
    Request::new(&mut RandomNames, command)
}

/// A request under the name that its asker chose.
pub fn act(name: &RequestId, command: Command) -> Request {
    Request {
        id: name.clone(),
        command,
    }
}
