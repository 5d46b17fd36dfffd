//! The worker's one loop: waits for whatever comes next, asks the core, does what it says. It decides nothing.

use std::time::Duration;

use codeswarm_agents::Now;
use codeswarm_mailbox::{LineFile, Mailbox};
use codeswarm_protocol::record::Word;
use codeswarm_protocol::{Epoch, Place};
use tokio::time::{Instant, sleep_until};

use crate::agent::{Agent, Heard};
use crate::core::recovery::Recovered;
use crate::core::{Core, Effect, GivenUp, Identity, Input, Settings};
use crate::doorbell::Doorbell;
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
    /// What it decides by.
    pub settings: Settings,
    /// How often it says that it lives.
    pub heartbeat: Duration,
    /// What this life is for.
    pub purpose: Purpose,
    /// The outbox, open and locked.
    pub outbox: LineFile,
    /// What the outbox told.
    pub recovered: Recovered,
    /// How long the inbox was, in bytes.
    pub inbox_length: u64,
}

/// What a life of a worker is for.
#[derive(Debug)]
pub enum Purpose {
    /// Prompts, run by an agent.
    Work {
        /// The agent, not started yet.
        agent: Box<Agent>,
        /// The agent's home.
        home: Home,
    },
    /// To say why there is no further life, and to account for what is open.
    GiveUp(GivenUp),
}

/// The pace of the heartbeat in a life that only gives up.
pub const LAST_HEARTBEAT: Duration = Duration::from_secs(5);

/// How long preparing may still take once the worker is told to end.
const PREPARING_GRACE: Duration = Duration::from_secs(5);

struct Worker {
    core: Core,
    outbox: Outbox,
    /// None in a life that is only to say why there is no further one.
    agent: Option<Box<Agent>>,
    home: Option<Home>,
    inbox: InboxReader,
    doorbell: Doorbell,
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
    let preparing = tokio::task::spawn_blocking(prepare);
    let (prepared, told_to_end) = match prepared(preparing, signals.next(), PREPARING_GRACE).await {
        Ok(prepared) => prepared,
        Err(reason) => {
            tracing::warn!(reason, "told to end before the worker had begun");
            return Ok(reason);
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

/// Waits until all is prepared; once `told` to end, for so long at most (the error is the reason to end).
async fn prepared<T>(
    mut preparing: impl Future<Output = T> + Unpin,
    told: impl Future<Output = &'static str>,
    grace: Duration,
) -> Result<(T, Option<&'static str>), &'static str> {
    tokio::select! {
        prepared = &mut preparing => Ok((prepared, None)),
        reason = told => match tokio::time::timeout(grace, preparing).await {
            Ok(prepared) => Ok((prepared, Some(reason))),
            Err(_) => Err(reason),
        },
    }
}

impl Worker {
    /// Starts reading, writing and the agent. Needs a Tokio runtime.
    fn begin(prepared: Prepared, signals: Signals) -> Result<Self, WorkerError> {
        let Prepared {
            mailbox,
            place,
            settings,
            heartbeat,
            purpose,
            outbox,
            recovered,
            inbox_length,
        } = prepared;
        let epoch = Epoch(recovered.last_epoch.0 + 1);
        let (agent, home, given_up) = match purpose {
            Purpose::Work { agent, home } => (Some(agent), Some(home), None),
            Purpose::GiveUp(given_up) => (None, None, Some(given_up)),
        };
        tracing::info!(%place, epoch = epoch.0, seq = recovered.last_seq.0, "the worker begins");
        let inbox = InboxReader::start(&mailbox, &place)?;
        let mut worker = Self {
            signals,
            outbox: Outbox::start(outbox, place.clone(), epoch, recovered.last_seq)?,
            doorbell: Doorbell::start(&mailbox, &place, inbox.rings.clone()),
            inbox,
            agent,
            home,
            heartbeat: Heartbeat::every(heartbeat),
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
        let identity = worker.identity.clone();
        worker.step(match given_up {
            None => Input::Started {
                identity,
                recovered,
                inbox_length,
            },
            Some(given_up) => Input::GivenUp {
                identity,
                recovered,
                inbox_length,
                given_up,
            },
        });
        Ok(worker)
    }

    async fn work(&mut self) -> Result<&'static str, WorkerError> {
        loop {
            self.outbox.write();
            self.doorbell.ring(self.outbox.size());
            let durable = self.outbox.durable();
            let command_waits = self.agent.as_mut().is_some_and(|agent| agent.pass_on(durable));
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
            Some(message) = self.doorbell.notices.recv(), if listens => {
                self.outbox.notice(message);
                Ok(None)
            }
            input = self.inbox.inputs.recv(), if listens => match input {
                Some(input) => Ok(Some(input)),
                None => Err(WorkerError::Fault("the inbox's reader ended")),
            },
            heard = hear(&mut self.agent, listens, command_waits) => Ok(match heard {
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
            Effect::Record(word, injection) => {
                log(&word);
                self.outbox.say(word, injection);
            }
            Effect::StartAgent { resume } => {
                if let Some(agent) = &mut self.agent {
                    agent.open(resume);
                }
            }
            Effect::Command(command) => {
                if let Some(agent) = &mut self.agent {
                    agent.command(command, self.outbox.last(), self.grace / 4);
                }
            }
            Effect::KillAgent => {
                if let Some(agent) = &mut self.agent {
                    agent.kill();
                }
            }
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
            agent,
            home,
            inbox,
            doorbell,
            mailbox,
            place,
            end_by,
            grace,
            ..
        } = self;
        // Whatever is left of it is killed.
        drop(agent);
        drop(inbox);
        // Kept until the outbox is in the archive, where the follower looks for it when the connection ends.
        let _rung = doorbell;
        within(grace, end_by, outbox.archive(&mailbox, &place)).await?;
        if let Some(home) = home {
            home.remove();
        }
        Ok(())
    }
}

/// The last of the work, unless the time for an orderly end is over first.
async fn within(
    grace: Duration,
    end_by: Option<Instant>,
    work: impl Future<Output = Result<(), WorkerError>>,
) -> Result<(), WorkerError> {
    tokio::select! {
        done = work => done,
        () = at(end_by) => Err(WorkerError::GraceOver(grace.as_secs())),
    }
}

/// Trouble goes to the log too: in a job's error file it stands beside what Slurm says.
fn log(word: &Word) {
    match word {
        Word::AgentExit {
            message, stderr_tail, ..
        } => tracing::warn!(stderr_tail, "the agent: {message}"),
        Word::WorkerError { message } => tracing::warn!("{message}"),
        _ => {}
    }
}

async fn hear(agent: &mut Option<Box<Agent>>, listens: bool, command_waits: bool) -> Heard {
    match agent {
        Some(agent) => agent.hear(listens, command_waits).await,
        None => std::future::pending().await,
    }
}

async fn at(moment: Option<Instant>) {
    match moment {
        Some(moment) => sleep_until(moment).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use codeswarm_protocol::Seq;
    use tokio::sync::{Mutex, oneshot};

    use super::*;

    /// A signal reaches whoever listens in this process: one test at a time.
    static LISTENING: Mutex<()> = Mutex::const_new(());

    #[tokio::test]
    async fn p7_what_is_still_prepared_after_the_word_to_end_is_taken_or_given_up_in_time() {
        let (prepare, preparing) = oneshot::channel();
        let told = async {
            prepare.send(7).unwrap();
            "sigterm"
        };
        let patient = Duration::from_secs(3600);
        let (got, reason) = prepared(preparing, told, patient).await.unwrap();
        assert_eq!((got, reason), (Ok(7), Some("sigterm")));

        let (_prepare, preparing) = oneshot::channel::<()>();
        let given_up = prepared(preparing, ready("sigint"), Duration::from_millis(1)).await;
        assert_eq!(given_up, Err("sigint"));
    }

    #[tokio::test]
    async fn p7_an_archive_that_does_not_come_back_does_not_outlast_the_grace() {
        let grace = Duration::from_secs(7);
        let late = within(grace, Some(Instant::now()), pending()).await;
        assert!(matches!(late, Err(WorkerError::GraceOver(7))), "{late:?}");
        within(grace, None, ready(Ok(()))).await.unwrap();
    }

    #[tokio::test]
    async fn p7_a_worker_that_is_told_to_end_while_the_disk_holds_up_its_beginning_ends() {
        let _alone = LISTENING.lock().await;
        let (let_go, held) = std::sync::mpsc::channel::<()>();
        let ended = run(move || {
            // Signals are heard by now.
            rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::TERM).unwrap();
            let _nobody_sends = held.recv();
            Err(WorkerError::Fault("a worker that has not begun"))
        })
        .await;
        assert_eq!(ended.unwrap(), "sigterm");
        drop(let_go);
    }

    /// A worker with the built-in agent, in a mailbox of its own.
    fn prepared_to_work(folder: &std::path::Path) -> (Prepared, Mailbox, Place) {
        let mailbox = Mailbox::at(folder.join("root"));
        mailbox.create().unwrap();
        let place = Place::from_stem("7_00").unwrap();
        mailbox.prepare(&place.job_id, 1).unwrap();
        let (outbox, recovered) = crate::outbox::take(&mailbox, &place).unwrap();
        let home = Home::make(folder, &place).unwrap();
        let below = |name: &str| folder.join(name);
        let spec = serde_json::from_str(r#"{"kind":"echo"}"#).unwrap();
        let agent = Agent::new(spec, below(""), home.path().to_owned(), below("keep"));
        let minute = Duration::from_secs(60);
        let prepared = Prepared {
            mailbox: mailbox.clone(),
            place: place.clone(),
            settings: Settings {
                agent: "echo",
                turn_timeout: minute,
                start_timeout: minute,
                shutdown_grace: minute,
                queue_limit: 2,
            },
            heartbeat: minute,
            purpose: Purpose::Work {
                agent: Box::new(agent),
                home,
            },
            outbox,
            recovered,
            inbox_length: 0,
        };
        (prepared, mailbox, place)
    }

    #[tokio::test]
    async fn p7_a_worker_that_is_told_to_end_while_it_begins_ends_in_order() {
        let _alone = LISTENING.lock().await;
        let folder = tempfile::tempdir().unwrap();
        let (prepared, mailbox, place) = prepared_to_work(folder.path());
        let ended = run(move || {
            // Signals are heard by now, and this one while there is still something to prepare.
            rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::TERM).unwrap();
            std::thread::sleep(Duration::from_millis(200));
            Ok(prepared)
        });
        assert_eq!(ended.await.unwrap(), "sigterm");
        let records = std::fs::read_to_string(mailbox.archive(&place)).unwrap();
        assert!(
            records.contains("worker_exit") && records.contains("sigterm"),
            "{records}"
        );
    }

    #[tokio::test]
    async fn a_prompt_behind_more_commands_than_the_agent_takes_at_once_is_run() {
        let folder = tempfile::tempdir().unwrap();
        let minute = Duration::from_secs(60);
        let (prepared, mailbox, place) = prepared_to_work(folder.path());
        let _alone = LISTENING.lock().await;
        let mut worker = Worker::begin(prepared, Signals::listen().unwrap()).unwrap();
        // The session takes none before this test waits for something.
        let agent = worker.agent.as_mut().unwrap();
        for _ in 0..1_000 {
            agent.command(codeswarm_agents::AgentCommand::Interrupt, Seq(0), minute);
        }
        assert!(agent.pass_on(Seq(0)), "one waits");
        let line = br#"{"type":"user","injection_id":"i1","content":"hello"}"#;
        let record = serde_json::from_slice(line).unwrap();
        worker.step(Input::Inbox { record, end: 0 });
        let told = async {
            while !std::fs::read_to_string(mailbox.outbox(&place))
                .unwrap()
                .contains("turn_complete")
            {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::select! {
            ended = worker.work() => panic!("{ended:?}"),
            () = told => {}
        }
        worker.step(Input::Terminate("sigint"));
        assert_eq!(worker.work().await.unwrap(), "sigint");
        worker.end().await.unwrap();
        let said = std::fs::read_to_string(mailbox.archive(&place)).unwrap();
        assert!(said.contains(r#""status":"completed""#), "{said}");
    }
}
