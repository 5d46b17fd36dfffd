//! Keeping one worker running, since Slurm does not start a task again that has died.
//!
//! The keeper is what `srun` starts. It runs this program once more as the plain worker, starts it again when it crashes,
//! passes on the signals that end it, and otherwise does nothing. When it gives up, or the worker dies over its own end,
//! it lives the worker's last life itself: without an agent, to say in the outbox what happened and to end what is open.

use std::ffi::OsString;
use std::fs;
use std::io::ErrorKind;
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};

use codeswarm_mailbox::Mailbox;
use codeswarm_protocol::Place;
use codeswarm_protocol::worker::{Ended, MAX_CRASHES, Restarts};
use rustix::process::{Pid, Signal};
use tokio::process::{Child, Command};

use crate::assignment::Assignment;
use crate::core::{GivenUp, Settings};
use crate::error::{WorkerError, exit};
use crate::last_words::LastWords;
use crate::launch_file;
use crate::node::Home;
use crate::outbox;
use crate::run::{self, Prepared, Purpose};
use crate::signals::Signals;

/// The flag that makes a keeper.
const KEEP: &str = "--keep";

/// The flag by which a worker knows its keeper.
const KEPT_BY: &str = "--kept-by";

/// What the keeper knows.
#[derive(Debug)]
pub struct Keeper {
    mailbox: Mailbox,
    assignment: Assignment,
    signals: Signals,
    /// The reason to end that was heard first.
    told_to_end: Option<&'static str>,
}

/// How one life of the worker ended.
struct Life {
    ended: Ended,
    code: u8,
    /// How, in words, with the last of its standard error.
    message: String,
    /// Its outbox is in the archive, and was not before.
    archived: bool,
}

impl Keeper {
    /// Listens to signals from now on. Needs a Tokio runtime on the process's first thread, which must stay the one that runs
    /// it: a worker is told to end when the thread that has started it ends.
    pub fn new(mailbox: Mailbox, assignment: Assignment) -> Result<Self, WorkerError> {
        Ok(Self {
            mailbox,
            assignment,
            signals: Signals::listen()?,
            told_to_end: None,
        })
    }

    /// Keeps a worker running until it has ended for good; answers with the exit code.
    pub async fn run(mut self) -> Result<u8, WorkerError> {
        let mut restarts = Restarts::default();
        loop {
            let began = Instant::now();
            let life = self.live().await;
            if life.archived || matches!(life.ended, Ended::InOrder | Ended::Withdrawn) {
                return Ok(life.code);
            }
            tracing::warn!("{}", life.message);
            let pause = match life.ended {
                Ended::Held => Some(restarts.after_held()),
                Ended::Crashed => restarts.after_crash(began.elapsed()),
                Ended::Hopeless | Ended::InOrder | Ended::Withdrawn => None,
            };
            let Some(pause) = pause else {
                let given_up = match life.ended {
                    Ended::Crashed => GivenUp {
                        reason: "worker_crashed",
                        message: format!("given up after {MAX_CRASHES} crashes in a row: {}", life.message),
                    },
                    _ => GivenUp {
                        reason: "worker_refused",
                        message: life.message,
                    },
                };
                self.live_the_last(given_up).await;
                return Ok(life.code);
            };
            if self.is_told_within(pause).await {
                if life.ended == Ended::Held {
                    return Ok(life.code);
                }
                let given_up = GivenUp {
                    reason: self.told_to_end.unwrap_or("sigterm"),
                    message: format!("the job ends, and its worker is not started again: {}", life.message),
                };
                let in_order = self.live_the_last(given_up).await;
                return Ok(if in_order { exit::OK } else { life.code });
            }
        }
    }

    /// Waits, unless told to end.
    async fn is_told_within(&mut self, pause: Duration) -> bool {
        if self.told_to_end.is_none()
            && let Ok(reason) = tokio::time::timeout(pause, self.signals.next()).await
        {
            self.told_to_end = Some(reason);
        }
        self.told_to_end.is_some()
    }

    /// One life of the worker, from its start to its end.
    async fn live(&mut self) -> Life {
        let archive_before = archive_size(&self.mailbox, &self.assignment.place);
        let mut child = match start() {
            Ok(child) => child,
            Err(error) => {
                let missing = matches!(error.kind(), ErrorKind::NotFound | ErrorKind::PermissionDenied);
                return Life {
                    ended: if missing { Ended::Hopeless } else { Ended::Crashed },
                    code: exit::INTERNAL,
                    message: format!("the worker could not be started: {error}"),
                    archived: false,
                };
            }
        };
        let words = child.stderr.take().map(LastWords::hear);
        let waited = self.wait(&mut child).await;
        let last_words = match words {
            Some(words) => words.end().await,
            None => None,
        };
        let (ended, code, mut message) = match waited {
            Ok(status) => end_of(status),
            Err(error) => (
                Ended::Crashed,
                exit::INTERNAL,
                format!("the worker's end was not seen: {error}"),
            ),
        };
        if let Some(words) = last_words {
            message = format!("{message}; its last words: {words}");
        }
        let archive = archive_size(&self.mailbox, &self.assignment.place);
        Life {
            ended,
            code,
            message,
            archived: archive.is_some() && archive != archive_before,
        }
    }

    /// Waits for the worker's end. The first signal that ends a worker is passed on; the worker knows how long it may take.
    async fn wait(&mut self, child: &mut Child) -> std::io::Result<ExitStatus> {
        loop {
            let reason = tokio::select! {
                biased;
                status = child.wait() => return status,
                reason = self.signals.next() => reason,
            };
            if self.told_to_end.is_some() {
                continue;
            }
            self.told_to_end = Some(reason);
            let signal = match reason {
                "sigint" => Signal::INT,
                _ => Signal::TERM,
            };
            let pid = child
                .id()
                .and_then(|pid| i32::try_from(pid).ok())
                .and_then(Pid::from_raw);
            if let Some(pid) = pid {
                // It is our child and was not waited for, so the number is still its own.
                let _ = rustix::process::kill_process(pid, signal);
            }
        }
    }

    /// The worker's last life, lived here. Whether it came to its end; if not, the log is all that tells.
    async fn live_the_last(&self, given_up: GivenUp) -> bool {
        if !self.mailbox.folder().is_dir() {
            // Then nobody reads here either: it is the wrong place, or one that was taken away.
            tracing::error!(root = %self.mailbox.root().display(), "there is no mailbox to say it in");
            return false;
        }
        let (mailbox, assignment) = (self.mailbox.clone(), self.assignment.clone());
        let lived = run::run(move || prepare_the_last(mailbox, &assignment, given_up)).await;
        if let Err(error) = &lived {
            tracing::error!("the outbox could not be told: {error}");
        }
        lived.is_ok()
    }
}

/// Starts this program again with its own arguments, as a plain worker.
fn start() -> std::io::Result<Child> {
    let mut command = Command::new(std::env::current_exe()?);
    command
        .args(arguments_of_worker(std::env::args_os().skip(1)))
        .stdin(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(false);
    command.spawn()
}

fn arguments_of_worker(own: impl Iterator<Item = OsString>) -> Vec<OsString> {
    let mut arguments: Vec<OsString> = own.filter(|argument| argument != KEEP).collect();
    arguments.extend([KEPT_BY.into(), std::process::id().to_string().into()]);
    arguments
}

fn end_of(status: ExitStatus) -> (Ended, u8, String) {
    let ended = Ended::of(status.code());
    let code = status.code().and_then(|code| u8::try_from(code).ok());
    let message = match ended {
        Ended::Hopeless => format!("the worker refused to run ({status})"),
        Ended::Held => format!("the worker could not begin or go on ({status})"),
        Ended::InOrder | Ended::Withdrawn | Ended::Crashed => format!("the worker died ({status})"),
    };
    (ended, code.unwrap_or(exit::INTERNAL), message)
}

/// The size of what is in the archive, in bytes. A worker that ends in order leaves more there than it found, or
/// leaves it there where nothing was: on this node, so no cache of another one stands in between.
fn archive_size(mailbox: &Mailbox, place: &Place) -> Option<u64> {
    let size = fs::metadata(mailbox.archive(place)).ok()?.len();
    (size > 0).then_some(size)
}

fn prepare_the_last(mailbox: Mailbox, assignment: &Assignment, given_up: GivenUp) -> Result<Prepared, WorkerError> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_gets_its_keepers_arguments_and_knows_it() {
        let own = ["worker", "--keep", "--root", "/r"].map(OsString::from);
        let me = std::process::id().to_string();
        assert_eq!(
            arguments_of_worker(own.into_iter()),
            ["worker", "--root", "/r", "--kept-by", me.as_str()].map(OsString::from)
        );
    }
}
