//! The last life of a worker that is not started again: without an agent, to say in the outbox what happened and to end what
//! is open. Whoever lives it must know that nobody else writes the outbox any more.

use std::time::Duration;

use codeswarm_mailbox::Mailbox;

use crate::assignment::Assignment;
use crate::core::{GivenUp, Settings};
use crate::error::WorkerError;
use crate::node::Home;
use crate::run::{self, Prepared, Purpose};
use crate::{launch_file, outbox};

/// Lives it to its end: what is open has ended, and the outbox is in the archive. Needs a Tokio runtime.
pub async fn live(mailbox: &Mailbox, assignment: &Assignment, given_up: GivenUp) -> Result<(), WorkerError> {
    if !mailbox.folder().is_dir() {
        // Then nobody reads here either: it is the wrong place, or one that was taken away.
        return Err(WorkerError::NoMailbox(mailbox.root().to_owned()));
    }
    let (mailbox, assignment) = (mailbox.clone(), assignment.clone());
    run::run(move || prepare(mailbox, &assignment, given_up)).await?;
    Ok(())
}

fn prepare(mailbox: Mailbox, assignment: &Assignment, given_up: GivenUp) -> Result<Prepared, WorkerError> {
    mailbox.create()?;
    let place = assignment.place.clone();
    let (outbox, recovered) = outbox::take(&mailbox, &place)?;
    // A worker that was killed could not end its agent.
    let left = codeswarm_agents::kill_left_over(&Home::path_for(&std::env::temp_dir(), &place));
    if !left.is_empty() {
        tracing::warn!(?left, "processes of the agent cannot be killed");
    }
    let launch = launch_file::read_within(Duration::ZERO, &mailbox, &place, assignment.launch.as_deref());
    let settings = launch.as_ref().map_or_else(|_| Settings::unknown(), Settings::of);
    mailbox.make_folder(&mailbox.job_dir(&place.job_id))?;
    Ok(Prepared {
        inbox_length: mailbox.inbox_length(&place)?,
        mailbox,
        place,
        settings,
        heartbeat: run::LAST_HEARTBEAT,
        purpose: Purpose::GiveUp(given_up),
        outbox,
        recovered,
    })
}
