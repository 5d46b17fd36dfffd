//! Where commands for the login node run.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, watch};

use crate::call::{Answer, Call};
use crate::run::{RunError, run_here};
use crate::session::Session;
use crate::trouble::Trouble;

/// The login node: this machine, or the other end of a link. Clones are the same place.
#[derive(Debug, Clone)]
pub struct LoginNode(Place);

#[derive(Debug, Clone)]
enum Place {
    Here,
    Linked(Linked),
}

#[derive(Debug, Clone)]
struct Linked {
    /// The connection that stands, or why none does.
    now: watch::Receiver<Result<Session, Trouble>>,
    /// Rung when somebody does not want to wait for the next attempt.
    asked: Arc<Notify>,
}

impl LoginNode {
    /// This machine is the login node.
    pub fn here() -> Self {
        Self(Place::Here)
    }

    /// The other end of a connection that was made once, for checks.
    pub fn through(session: Session) -> Self {
        let (_kept_nowhere, now) = watch::channel(Ok(session));
        Self::linked(now, Arc::default())
    }

    /// The connection; `None` on this machine itself.
    ///
    /// # Errors
    /// Why there is none now.
    pub(crate) fn session(&self) -> Option<Result<Session, Trouble>> {
        match &self.0 {
            Place::Here => None,
            Place::Linked(linked) => Some(linked.now.borrow().clone()),
        }
    }

    pub(crate) fn linked(now: watch::Receiver<Result<Session, Trouble>>, asked: Arc<Notify>) -> Self {
        Self(Place::Linked(Linked { now, asked }))
    }

    /// Whether commands run on this machine itself.
    pub fn is_here(&self) -> bool {
        matches!(self.0, Place::Here)
    }

    /// Runs a command. Through a link at most two run at one time.
    ///
    /// # Errors
    /// Each says whether the command may have run; nothing is tried twice.
    pub async fn run(&self, call: &Call, deadline: Duration) -> Result<Answer, RunError> {
        match &self.0 {
            Place::Here => run_here(call, deadline).await,
            Place::Linked(linked) => {
                let now = linked.now.borrow().clone();
                match now {
                    Ok(session) => session.run(call, deadline).await,
                    Err(trouble) => Err(RunError::NotConnected {
                        program: call.program.clone(),
                        trouble,
                    }),
                }
            }
        }
    }

    /// Somebody asks for something now: a link that waits before its next attempt makes it at once.
    pub fn retry_now(&self) {
        if let Place::Linked(linked) = &self.0 {
            linked.asked.notify_one();
        }
    }
}
