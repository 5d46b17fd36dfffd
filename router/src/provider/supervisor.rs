//! One worker on this machine: started, or found again; started again when it crashes; ended in order when asked.

use std::ffi::OsString;
use std::fs::OpenOptions;
use std::io::ErrorKind;
use std::os::unix::fs::OpenOptionsExt;
use std::process::Stdio;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use tokio::sync::{mpsc, watch};

use codeswarm_mailbox::{Located, Mailbox};
use codeswarm_protocol::Place;
use codeswarm_protocol::worker::{Ended, MAX_CRASHES, Restarts};

use super::process::{self, Process};
use crate::core::ProviderEvent;

/// What a supervisor needs to know.
pub(super) struct Supervisor {
    pub place: Place,
    pub mailbox: Mailbox,
    /// Program and first arguments.
    pub command: Vec<OsString>,
    /// The process that the worker itself said it is.
    pub known: watch::Receiver<Option<Process>>,
    /// Set when the worker is to end, with how long it may take.
    pub terminate: watch::Receiver<Option<Duration>>,
    pub events: mpsc::Sender<ProviderEvent>,
}

/// How a worker's process ended.
enum End {
    /// In order.
    Ended,
    /// Another worker has the outbox.
    Held,
    /// It refuses to run.
    Hopeless(String),
    /// Otherwise.
    Crashed(String),
}

impl Supervisor {
    /// Runs until the worker has ended for good; says how.
    pub(super) async fn run(mut self) {
        let event = self.supervise().await;
        // The server may be ending itself; its next life finds the worker again.
        let _ = self.events.send(event).await;
    }

    async fn supervise(&mut self) -> ProviderEvent {
        let mut restarts = Restarts::default();
        loop {
            let began = Instant::now();
            let known = *self.known.borrow_and_update();
            let end = match known {
                Some(process) if process.is_alive() => self.wait_for_found(process).await,
                _ if self.is_archived() => End::Ended,
                _ => self.spawn_and_wait().await,
            };
            let place = self.place.clone();
            let (reason, pause) = match end {
                End::Ended => return ProviderEvent::WorkerEnded { place },
                End::Hopeless(reason) => return ProviderEvent::WorkerLost { place, reason },
                // It lives, and says in its outbox which process it is: then it is found.
                End::Held => (
                    "another worker has this node's outbox".to_owned(),
                    Some(restarts.after_held()),
                ),
                End::Crashed(reason) => (reason, restarts.after_crash(began.elapsed())),
            };
            if self.terminate.borrow().is_some() {
                return ProviderEvent::WorkerLost { place, reason };
            }
            let Some(pause) = pause else {
                let reason = format!("{reason}; given up after {MAX_CRASHES} starts in a row");
                return ProviderEvent::WorkerLost { place, reason };
            };
            let restarting = ProviderEvent::WorkerRestarting { place, reason };
            if self.events.send(restarting).await.is_err() {
                return ProviderEvent::WorkerEnded {
                    place: self.place.clone(),
                };
            }
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                _ = self.terminate.changed() => {}
            }
        }
    }

    fn is_archived(&self) -> bool {
        matches!(self.mailbox.locate(&self.place), Ok(Located::Archive))
    }

    async fn spawn_and_wait(&mut self) -> End {
        if self.terminate.borrow().is_some() {
            return End::Crashed("it was not running when it was told to end".to_owned());
        }
        let mut child = match self.spawn() {
            Ok(child) => child,
            Err(error) => {
                let reason = format!("the worker could not be started: {error}");
                // A missing program stays missing; a machine that is short of something may have it soon.
                return match error.kind() {
                    ErrorKind::NotFound | ErrorKind::PermissionDenied | ErrorKind::Other => End::Hopeless(reason),
                    _ => End::Crashed(reason),
                };
            }
        };
        let pid = child.id().unwrap_or_default();
        let process = Process {
            pid,
            started: process::started(pid),
        };
        let status = match self.end_when_told(process, child.wait()).await {
            Ok(status) => status,
            Err(error) => return End::Crashed(format!("its end was not seen: {error}")),
        };
        match Ended::of(status.code()) {
            Ended::InOrder => End::Ended,
            Ended::Held => End::Held,
            Ended::Hopeless | Ended::Withdrawn => {
                End::Hopeless(format!("the worker refused to run ({status}): {}", self.log_tail()))
            }
            Ended::Crashed => End::Crashed(format!("the worker died ({status}): {}", self.log_tail())),
        }
    }

    async fn wait_for_found(&mut self, process: Process) -> End {
        self.end_when_told(process, process.ended()).await;
        if self.is_archived() {
            End::Ended
        } else {
            End::Crashed(format!("the worker died: {}", self.log_tail()))
        }
    }

    /// Waits for the process's end; meanwhile, when told to, asks it to end, and kills it when its time is up.
    async fn end_when_told<T>(&mut self, process: Process, ended: impl Future<Output = T>) -> T {
        tokio::pin!(ended);
        let grace = loop {
            if let Some(grace) = *self.terminate.borrow_and_update() {
                break grace;
            }
            tokio::select! {
                end = &mut ended => return end,
                changed = self.terminate.changed() => if changed.is_err() {
                    return ended.await;
                },
            }
        };
        process.signal(Signal::TERM);
        match tokio::time::timeout(grace, &mut ended).await {
            Ok(end) => end,
            Err(_) => {
                tracing::warn!(place = %self.place, "the worker did not end within its grace period and is killed");
                process.signal(Signal::KILL);
                ended.await
            }
        }
    }

    fn spawn(&self) -> std::io::Result<tokio::process::Child> {
        let log = self.log_file();
        let out = OpenOptions::new().create(true).append(true).mode(0o600).open(&log)?;
        let Some((program, first)) = self.command.split_first() else {
            return Err(std::io::Error::other("no worker program is known"));
        };
        let mut command = tokio::process::Command::new(program);
        command
            .args(first)
            .arg("--root")
            .arg(self.mailbox.root())
            .args(["--job-id", self.place.job_id.as_str()])
            .args(["--node-id", &self.place.node_id.to_string()])
            .stdin(Stdio::null())
            .stdout(out.try_clone()?)
            .stderr(out)
            .process_group(0)
            .kill_on_drop(false);
        command.spawn()
    }

    fn log_file(&self) -> std::path::PathBuf {
        self.mailbox.run_dir(&self.place).with_extension("log")
    }

    /// The last words of the worker, on one line.
    fn log_tail(&self) -> String {
        let file = self.log_file();
        let text = std::fs::read(&file).unwrap_or_default();
        let tail =
            String::from_utf8_lossy(text.get(text.len().saturating_sub(2000)..).unwrap_or_default()).into_owned();
        let lines: Vec<&str> = tail
            .lines()
            .rev()
            .filter(|line| !line.trim().is_empty())
            .take(3)
            .collect();
        let last = lines.into_iter().rev().collect::<Vec<_>>().join(" | ");
        format!("{last} (its log: {})", file.display())
    }
}

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests;
