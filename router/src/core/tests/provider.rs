//! A model of the local provider in one life of the router: starts workers, finds them again, starts crashed ones anew, ends
//! them when told.

use std::collections::{BTreeMap, VecDeque};

use codeswarm_protocol::{JobId, Place, SwarmId};

use super::Rng;
use super::mailbox::Mailbox;
use super::tally::Tally;
use super::worker::{Life, Worker};
use crate::core::{ProviderCommand, ProviderEvent, WorkerToRun};

struct Job {
    swarm_id: SwarmId,
    waiting: Vec<WorkerToRun>,
    terminating: bool,
}

struct Supervisor {
    known: Option<u32>,
    done: bool,
}

#[derive(Default)]
pub struct Provider {
    pub commands: VecDeque<ProviderCommand>,
    pub events: VecDeque<ProviderEvent>,
    jobs: BTreeMap<JobId, Job>,
    supervisors: BTreeMap<Place, Supervisor>,
}

/// All workers there are, whoever supervises them.
#[derive(Default)]
pub struct Workers {
    pub all: BTreeMap<Place, Worker>,
    last_pid: u32,
}

impl Workers {
    fn start(&mut self, place: &Place, mailbox: &Mailbox) -> u32 {
        self.last_pid += 1;
        let files = &mailbox.files[place];
        assert!(!files.archived, "a worker was started on an archived outbox");
        let worker = Worker::start(place.clone(), self.last_pid, files);
        self.all.insert(place.clone(), worker);
        self.last_pid
    }

    pub fn life(&self, place: &Place) -> Option<Life> {
        self.all.get(place).map(|worker| worker.life)
    }

    pub fn any_of(&self, job_id: &JobId) -> bool {
        self.all.keys().any(|place| place.job_id == *job_id)
    }
}

impl Provider {
    /// Carries out the next command; whether there was one.
    pub fn carry_out(&mut self, workers: &Workers, kind: bool, rng: &mut Rng, tally: &mut Tally) -> bool {
        let Some(command) = self.commands.pop_front() else {
            return false;
        };
        match command {
            ProviderCommand::Call { .. } => panic!("there is no Slurm here"),
            ProviderCommand::Launch {
                swarm_id,
                job_id,
                workers,
                ..
            } => {
                let job = Job {
                    swarm_id,
                    waiting: workers,
                    terminating: false,
                };
                let before = self.jobs.insert(job_id, job);
                assert!(before.is_none(), "launched twice in one life");
            }
            ProviderCommand::Go { job_id } => {
                let job = self.jobs.get_mut(&job_id).unwrap();
                if !kind && !workers.any_of(&job_id) && rng.once_in(15) {
                    tally.failed_launches += 1;
                    self.events.push_back(ProviderEvent::LaunchFailed {
                        swarm_id: job.swarm_id.clone(),
                        error: "no processes left".to_owned(),
                    });
                    return true;
                }
                for WorkerToRun { place, pid, .. } in std::mem::take(&mut job.waiting) {
                    let supervisor = Supervisor {
                        known: pid,
                        done: false,
                    };
                    let before = self.supervisors.insert(place, supervisor);
                    assert!(before.is_none(), "a worker is supervised twice");
                }
            }
            ProviderCommand::Known { place, pid, .. } => {
                if let Some(supervisor) = self.supervisors.get_mut(&place) {
                    supervisor.known = Some(pid);
                }
            }
            ProviderCommand::Terminate { job_id } => {
                let job = self.jobs.get_mut(&job_id).unwrap();
                assert!(!job.terminating, "told twice to end");
                job.terminating = true;
            }
        }
        true
    }

    /// Whether something is left to do without anybody asking.
    pub fn is_moving(&self, workers: &Workers) -> bool {
        let moves = |(place, supervisor): (&Place, &Supervisor)| {
            let told = self.jobs[&place.job_id].terminating;
            let ending = workers.all.get(place).is_some_and(|worker| worker.terminating);
            !supervisor.done && (workers.life(place) != Some(Life::Running) || told != ending)
        };
        !self.commands.is_empty() || !self.events.is_empty() || self.supervisors.iter().any(moves)
    }

    /// One supervisor looks after its worker; whether anything came of it.
    pub fn supervise(&mut self, workers: &mut Workers, mailbox: &Mailbox, rng: &mut Rng, tally: &mut Tally) -> bool {
        let places: Vec<Place> = self
            .supervisors
            .iter()
            .filter(|(_, s)| !s.done)
            .map(|(place, _)| place.clone())
            .collect();
        let Some(place) = rng.pick(&places).cloned() else {
            return false;
        };
        let terminating = self.jobs[&place.job_id].terminating;
        let Some(supervisor) = self.supervisors.get_mut(&place) else {
            return false;
        };
        let life = workers.life(&place);
        let event = match life {
            Some(Life::Running) if supervisor.known != workers.all.get(&place).map(|worker| worker.pid) => {
                if mailbox.kind {
                    return false;
                }
                ProviderEvent::WorkerRestarting {
                    place,
                    reason: "another worker has this node's outbox".to_owned(),
                }
            }
            Some(Life::Running) => {
                let worker = workers.all.get_mut(&place).unwrap();
                return terminating && !std::mem::replace(&mut worker.terminating, true);
            }
            Some(Life::Exited) => {
                supervisor.done = true;
                ProviderEvent::WorkerEnded { place }
            }
            None | Some(Life::Dead) if terminating || (life.is_some() && !mailbox.kind && rng.once_in(3)) => {
                supervisor.done = true;
                tally.workers_lost += 1;
                let reason = "it is gone".to_owned();
                ProviderEvent::WorkerLost { place, reason }
            }
            None => {
                supervisor.known = Some(workers.start(&place, mailbox));
                return true;
            }
            Some(Life::Dead) => {
                supervisor.known = Some(workers.start(&place, mailbox));
                let reason = "it died".to_owned();
                ProviderEvent::WorkerRestarting { place, reason }
            }
        };
        self.events.push_back(event);
        true
    }
}
