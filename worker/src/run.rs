//! The worker's one loop: waits for whatever comes next, asks the core, does what it says. It decides nothing.

use std::time::Duration;

use codeswarm_agents::Now;
use codeswarm_mailbox::{LineFile, Mailbox};
use codeswarm_protocol::launch::LaunchSpec;
use codeswarm_protocol::{Epoch, Place};
use tokio::time::{Instant, sleep_until};

use crate::agent::{Agent, Heard};
use crate::core::recovery::Recovered;
use crate::core::{Core, Effect, Identity, Input, Settings};
use crate::error::WorkerError;
use crate::heartbeat::Heartbeat;
use crate::inbox::InboxReader;
use crate::node::{self, Home};
use crate::outbox::Outbox;
use crate::signals::Signals;

/// Everything that a worker has found out and prepared before its loop begins.
#[derive(Debug)]
pub struct Prepared {
    /// The mailbox.
    pub mailbox: Mailbox,
    /// The place.
    pub place: Place,
    /// What it was launched with.
    pub launch: LaunchSpec,
    /// The agent's working directory.
    pub cwd: std::path::PathBuf,
    /// The agent's home.
    pub home: Home,
    /// The outbox, open and locked.
    pub outbox: LineFile,
    /// What the outbox told.
    pub recovered: Recovered,
    /// How long the inbox was, in bytes.
    pub inbox_length: u64,
}

/// How long preparing may still take once the worker is told to end.
const PREPARING_GRACE: Duration = Duration::from_secs(5);

struct Worker {
    core: Core,
    outbox: Outbox,
    agent: Agent,
    home: Home,
    inbox: InboxReader,
    signals: Signals,
    heartbeat: Heartbeat,
    identity: Identity,
    epoch: Epoch,
    mailbox: Mailbox,
    place: Place,
    started: Instant,
    grace: Duration,
    /// When the time for an orderly end is over.
    end_by: Option<Instant>,
    finished: Option<&'static str>,
}

/// Runs a worker to its end and answers with the reason in its `worker_exit`. Signals are heard from the beginning;
/// `prepare` may wait for the disk meanwhile.
pub async fn run(
    prepare: impl FnOnce() -> Result<Prepared, WorkerError> + Send + 'static,
) -> Result<&'static str, WorkerError> {
    let mut signals = Signals::listen()?;
    let mut preparing = tokio::task::spawn_blocking(prepare);
    let mut told_to_end = None;
    let prepared = tokio::select! {
        prepared = &mut preparing => prepared,
        reason = signals.next() => {
            told_to_end = Some(reason);
            match tokio::time::timeout(PREPARING_GRACE, preparing).await {
                Ok(prepared) => prepared,
                Err(_) => {
                    tracing::warn!(reason, "told to end before the worker had begun");
                    return Ok(reason);
                }
            }
        }
    };
    let prepared = prepared.map_err(|_| WorkerError::Fault("preparing the worker failed"))??;
    let mut worker = Worker::begin(prepared, signals)?;
    if let Some(reason) = told_to_end {
        worker.step(Input::Terminate(reason));
    }
    let reason = worker.work().await?;
    worker.end().await?;
    tracing::info!(reason, "the worker has ended in order");
    Ok(reason)
}

impl Worker {
    /// Starts reading, writing and the agent. Needs a Tokio runtime.
    fn begin(prepared: Prepared, signals: Signals) -> Result<Self, WorkerError> {
        let Prepared {
            mailbox,
            place,
            launch,
            cwd,
            home,
            outbox,
            recovered,
            inbox_length,
        } = prepared;
        let settings = Settings::of(&launch);
        let epoch = Epoch(recovered.last_epoch.0 + 1);
        let keep = mailbox.session_dir(&place);
        tracing::info!(%place, epoch = epoch.0, seq = recovered.last_seq.0, "the worker begins");
        let mut worker = Self {
            signals,
            outbox: Outbox::start(outbox, place.clone(), epoch, recovered.last_seq)?,
            inbox: InboxReader::start(&mailbox, &place)?,
            agent: Agent::new(launch.agent, cwd, home.path().to_owned(), keep),
            home,
            heartbeat: Heartbeat::every(Duration::from_secs(launch.worker.heartbeat_seconds)),
            identity: node::identity(),
            grace: settings.shutdown_grace,
            core: Core::new(settings),
            started: Instant::now(),
            end_by: None,
            finished: None,
            epoch,
            mailbox,
            place,
        };
        worker.step(Input::Started {
            identity: worker.identity.clone(),
            recovered,
            inbox_length,
        });
        Ok(worker)
    }

    async fn work(&mut self) -> Result<&'static str, WorkerError> {
        loop {
            self.outbox.write();
            let command_waits = self.agent.pass_on(self.outbox.durable());
            if let Some(reason) = self.finished
                && self.outbox.is_written()
            {
                return Ok(reason);
            }
            if let Some(input) = self.next(command_waits).await? {
                self.step(input);
            }
        }
    }

    /// Waits for what comes next, be it for the core or not. The order matters: the scheduler's signal reaches the agent too, and must be known
    /// before the agent's death is.
    async fn next(&mut self, command_waits: bool) -> Result<Option<Input>, WorkerError> {
        // At the end the agent must be heard even if nothing can be written; what it says by then is bounded.
        let listens = self.outbox.has_room() || self.end_by.is_some();
        let due = self.core.deadline().map(|deadline| self.started + deadline);
        tokio::select! {
            biased;
            reason = self.signals.next() => Ok(Some(Input::Terminate(reason))),
            () = at(self.end_by) => Err(WorkerError::GraceOver(self.grace.as_secs())),
            () = at(due) => Ok(Some(Input::Tick)),
            done = self.outbox.progress() => done.map(|()| None).map_err(WorkerError::from),
            () = self.heartbeat.due() => {
                self.beat();
                Ok(None)
            }
            input = self.inbox.inputs.recv(), if listens => match input {
                Some(input) => Ok(Some(input)),
                None => Err(WorkerError::Fault("the inbox's reader ended")),
            },
            heard = self.agent.hear(listens, command_waits) => Ok(match heard {
                Heard::Event(event) => Some(Input::Agent(event)),
                Heard::Closed => Some(Input::AgentClosed),
                Heard::Room => None,
            }),
        }
    }

    fn now(&self) -> Now {
        self.started.elapsed()
    }

    fn step(&mut self, input: Input) {
        let now = self.now();
        for effect in self.core.step(input, now) {
            self.carry_out(effect);
        }
        if self.end_by.is_none() && self.core.is_closing() {
            self.end_by = Some(Instant::now() + self.grace);
        }
    }

    fn carry_out(&mut self, effect: Effect) {
        match effect {
            Effect::Record(word, injection) => self.outbox.say(word, injection),
            Effect::StartAgent { resume } => self.agent.open(resume),
            Effect::Command(command) => self.agent.command(command, self.outbox.last(), self.grace / 4),
            Effect::KillAgent => self.agent.kill(),
            Effect::ReadInboxToEnd => self.inbox.read_to_end(),
            Effect::Finish { reason } => self.finished = Some(reason),
        }
    }

    fn beat(&mut self) {
        let says = (
            self.epoch,
            self.outbox.durable(),
            self.core.doing(),
            self.core.waiting(),
        );
        self.heartbeat.beat(&self.mailbox, &self.place, &self.identity, says);
    }

    /// Everything is said and written: the outbox goes to the archive.
    async fn end(self) -> Result<(), WorkerError> {
        let Self {
            outbox,
            mut agent,
            home,
            inbox,
            mailbox,
            place,
            end_by,
            grace,
            ..
        } = self;
        agent.kill();
        drop(inbox);
        tokio::select! {
            archived = outbox.archive(&mailbox, &place) => archived?,
            () = at(end_by) => return Err(WorkerError::GraceOver(grace.as_secs())),
        }
        home.remove();
        Ok(())
    }
}

async fn at(moment: Option<Instant>) {
    match moment {
        Some(moment) => sleep_until(moment).await,
        None => std::future::pending().await,
    }
}
