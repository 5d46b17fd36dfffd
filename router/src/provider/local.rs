//! Workers as processes of this machine.

use std::collections::HashMap;
use std::ffi::OsString;
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use codeswarm_mailbox::Mailbox;
use codeswarm_protocol::launch::LaunchSpec;
use codeswarm_protocol::{JobId, Place, SwarmId};

use super::process::Process;
use super::supervisor::Supervisor;
use crate::core::{ProviderCommand, ProviderEvent, WorkerToRun};

/// What a worker may take beyond its own grace period before it is killed.
const BEYOND_GRACE: Duration = Duration::from_secs(5);

struct Job {
    swarm_id: SwarmId,
    grace: Duration,
    spec: LaunchSpec,
    waiting: Vec<WorkerToRun>,
    terminate: watch::Sender<Option<Duration>>,
}

/// The local provider: one task that owns the supervisors of all workers on this machine.
pub struct LocalProvider {
    mailbox: Mailbox,
    command: Vec<OsString>,
    events: mpsc::Sender<ProviderEvent>,
    jobs: HashMap<JobId, Job>,
    known: HashMap<Place, watch::Sender<Option<Process>>>,
    supervisors: JoinSet<()>,
}

impl LocalProvider {
    /// Starts it; it ends when its commands end, and leaves the workers running.
    pub fn start(
        root: &Path,
        command: Vec<OsString>,
    ) -> (mpsc::Sender<ProviderCommand>, mpsc::Receiver<ProviderEvent>) {
        let (commands, received) = mpsc::channel(256);
        let (events, told) = mpsc::channel(256);
        let provider = Self {
            mailbox: Mailbox::at(root),
            command,
            events,
            jobs: HashMap::new(),
            known: HashMap::new(),
            supervisors: JoinSet::new(),
        };
        tokio::spawn(provider.run(received));
        (commands, told)
    }

    async fn run(mut self, mut commands: mpsc::Receiver<ProviderCommand>) {
        loop {
            tokio::select! {
                command = commands.recv() => match command {
                    Some(command) => self.carry_out(command).await,
                    None => return,
                },
                Some(_) = self.supervisors.join_next(), if !self.supervisors.is_empty() => {}
            }
        }
    }

    async fn carry_out(&mut self, command: ProviderCommand) {
        match command {
            ProviderCommand::Launch {
                swarm_id,
                job_id,
                spec,
                workers,
            } => {
                let grace = Duration::from_secs(spec.worker.shutdown_grace_seconds) + BEYOND_GRACE;
                let (terminate, _) = watch::channel(None);
                let job = Job {
                    swarm_id,
                    grace,
                    spec: *spec,
                    waiting: workers,
                    terminate,
                };
                self.jobs.insert(job_id, job);
            }
            ProviderCommand::Go { job_id } => {
                if let Err(error) = self.go(&job_id)
                    && let Some(job) = self.jobs.get(&job_id)
                {
                    let error = format!("the workers of job {job_id} could not be started: {error}");
                    let failed = ProviderEvent::LaunchFailed {
                        swarm_id: job.swarm_id.clone(),
                        error,
                    };
                    let _ = self.events.send(failed).await;
                }
            }
            ProviderCommand::Known {
                place,
                pid,
                pid_started,
            } => {
                let process = Some(Process {
                    pid,
                    started: pid_started,
                });
                match self.known.get(&place) {
                    Some(known) => {
                        known.send_replace(process);
                    }
                    None => {
                        self.known.insert(place, watch::channel(process).0);
                    }
                }
            }
            // Not this provider's.
            ProviderCommand::Call { .. } => {}
            ProviderCommand::Terminate { job_id } => {
                if let Some(job) = self.jobs.get(&job_id) {
                    job.terminate.send_replace(Some(job.grace));
                }
            }
        }
    }

    fn go(&mut self, job_id: &JobId) -> std::io::Result<()> {
        let Some(job) = self.jobs.get_mut(job_id) else {
            return Ok(());
        };
        write_launch_file(&self.mailbox.launch_file(job_id), &job.spec)?;
        for worker in std::mem::take(&mut job.waiting) {
            let known = self.known.entry(worker.place.clone()).or_insert_with(|| {
                let process = worker.pid.map(|pid| Process {
                    pid,
                    started: worker.pid_started,
                });
                watch::channel(process).0
            });
            let supervisor = Supervisor {
                place: worker.place,
                mailbox: self.mailbox.clone(),
                command: self.command.clone(),
                known: known.subscribe(),
                terminate: job.terminate.subscribe(),
                events: self.events.clone(),
            };
            self.supervisors.spawn(supervisor.run());
        }
        Ok(())
    }
}

/// Written once for a job; a later life of the router finds it there, and needs no space on the disk for going on.
fn write_launch_file(file: &Path, spec: &LaunchSpec) -> std::io::Result<()> {
    if file.exists() {
        return Ok(());
    }
    if let Some(folder) = file.parent() {
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    }
    let unfinished = file.with_extension("json.new");
    let mut out = std::fs::OpenOptions::new()
        .create(true)
        .truncate(true)
        .write(true)
        .mode(0o600)
        .open(&unfinished)?;
    out.write_all(&serde_json::to_vec_pretty(spec)?)?;
    out.sync_all()?;
    std::fs::rename(&unfinished, file)
}

#[cfg(test)]
mod tests {
    use codeswarm_protocol::NodeId;

    use super::*;
    use crate::core::Errand;

    fn spec() -> LaunchSpec {
        LaunchSpec {
            version: "0".to_owned(),
            swarm_id: None,
            job_id: None,
            node_count: 1,
            agent: Default::default(),
            worker: Default::default(),
            agents_md_content: None,
        }
    }

    /// What the provider says to one swarm of one worker, after these commands about it.
    struct Told {
        folder: tempfile::TempDir,
        commands: mpsc::Sender<ProviderCommand>,
        events: mpsc::Receiver<ProviderEvent>,
        swarm_id: SwarmId,
        place: Place,
    }

    impl Told {
        fn start(script: &str) -> Self {
            let folder = tempfile::tempdir().unwrap();
            let command = ["sh", "-c", script].map(OsString::from);
            let (commands, events) = LocalProvider::start(folder.path(), command.into());
            Self {
                folder,
                commands,
                events,
                swarm_id: SwarmId::new("s").unwrap(),
                place: Place::new(JobId::new("j").unwrap(), NodeId::new(0).unwrap()),
            }
        }

        async fn tell(&self, command: ProviderCommand) {
            self.commands.send(command).await.unwrap();
        }

        async fn launch(&self) {
            let worker = WorkerToRun {
                place: self.place.clone(),
                pid: None,
                pid_started: None,
            };
            self.tell(ProviderCommand::Launch {
                swarm_id: self.swarm_id.clone(),
                job_id: self.place.job_id.clone(),
                spec: Box::new(spec()),
                workers: vec![worker],
            })
            .await;
        }

        async fn go(&self) {
            let job_id = self.place.job_id.clone();
            self.tell(ProviderCommand::Go { job_id }).await;
        }

        async fn terminate(&self) {
            let job_id = self.place.job_id.clone();
            self.tell(ProviderCommand::Terminate { job_id }).await;
        }

        async fn event(&mut self) -> ProviderEvent {
            let event = tokio::time::timeout(Duration::from_secs(60), self.events.recv()).await;
            event.unwrap().unwrap()
        }
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn p2_a_worker_that_says_who_it_is_before_it_is_looked_for_is_found_and_no_second_one_started() {
        let mut told = Told::start("exit 1");
        let mut child = std::process::Command::new("sleep").arg("600").spawn().unwrap();
        let pid = child.id();
        told.tell(ProviderCommand::Known {
            place: told.place.clone(),
            pid,
            pid_started: super::super::process::started(pid),
        })
        .await;
        told.launch().await;
        told.go().await;
        told.terminate().await;
        match told.event().await {
            ProviderEvent::WorkerLost { reason, .. } => assert!(reason.contains("the worker died"), "{reason}"),
            other => panic!("{other:?}"),
        }
        assert!(!child.wait().unwrap().success(), "it was not ended");
    }

    #[tokio::test]
    async fn p11_what_is_not_about_a_job_of_its_own_changes_nothing_and_the_next_command_is_carried_out() {
        let mut told = Told::start("exit 0");
        told.go().await;
        told.terminate().await;
        told.tell(ProviderCommand::Call {
            errand: Errand::Idle(told.swarm_id.clone()),
            call: codeswarm_slurm::queue::search(),
        })
        .await;
        told.launch().await;
        told.go().await;
        let place = told.place.clone();
        assert_eq!(told.event().await, ProviderEvent::WorkerEnded { place });
        // A second word to go starts nothing a second time.
        told.go().await;
        drop(told.commands);
        assert_eq!(told.events.recv().await, None);
        assert!(told.folder.path().join("runs/j/launch.json").exists());
    }

    #[test]
    fn p9_the_launch_file_of_an_earlier_life_is_left_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("runs/job/launch.json");
        let spec = spec();
        write_launch_file(&file, &spec).unwrap();
        let written = std::fs::read_to_string(&file).unwrap();
        assert_eq!(serde_json::from_str::<LaunchSpec>(&written).unwrap(), spec);
        let later = LaunchSpec { node_count: 2, ..spec };
        write_launch_file(&file, &later).unwrap();
        assert_eq!(std::fs::read_to_string(&file).unwrap(), written);
    }
}
