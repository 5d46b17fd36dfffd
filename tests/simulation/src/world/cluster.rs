//! The compute nodes: jobs come and go, workers start, die and are started again, agents do what they are told.

use std::time::Duration;

use codeswarm_protocol::{JobId, NodeId, Place};
use codeswarm_worker::by_hand::{Asked, ByHand};
use codeswarm_worker::core::{Identity, Settings};

use super::{COMPUTE_NODES, LOGIN_NODES, World};
use crate::agent::Agent;
use crate::slurm::{Happens, Life};

/// From SIGTERM to the end, in milliseconds.
const GRACE: u64 = 20_000;

/// How long Slurm remembers a job that is over (slurm.conf(5), MinJobAge), in milliseconds.
const MIN_JOB_AGE: u64 = 300_000;

/// What is read of an inbox at once, in bytes.
const CHUNK: usize = 600;

/// One task of a job.
pub struct Worker {
    pub machine: usize,
    pub process: Process,
    pub agent: Option<Agent>,
    /// The time for an orderly end is over then; it has got a SIGTERM.
    pub end_by: Option<u64>,
}

/// Where its process is.
pub enum Process {
    /// It runs.
    Runs(Box<ByHand>),
    /// It is dead, and started again at this time.
    Dead(u64),
    /// It has ended in order.
    Ended,
    /// Its job does not run.
    Gone,
}

fn settings() -> Settings {
    Settings {
        agent: "echo",
        turn_timeout: Duration::from_secs(300),
        start_timeout: Duration::from_secs(20),
        shutdown_grace: Duration::from_millis(GRACE),
        queue_limit: 4,
    }
}

impl World {
    fn places_of(&self, job: &str) -> Vec<Place> {
        let Ok(job_id) = JobId::new(job) else { return Vec::new() };
        let nodes = self.slurm.jobs.get(job).map_or(0, |job| job.nodes);
        let ranks = (0..nodes).filter_map(|rank| NodeId::new(rank).ok());
        ranks.map(|rank| Place::new(job_id.clone(), rank)).collect()
    }

    /// A job begins to run, on nodes of Slurm's choice.
    pub(super) fn job_runs(&mut self, job: &str) {
        self.tell(|| format!("job {job} runs"));
        if let Some(job) = self.slurm.jobs.get_mut(job) {
            job.life = Life::Runs;
        }
        let withdrawn = self
            .slurm
            .jobs
            .get(job)
            .is_none_or(|job| self.launches.get(&job.swarm_id).is_none_or(|nodes| *nodes == 0));
        for place in self.places_of(job) {
            let machine = LOGIN_NODES + self.rng.below(COMPUTE_NODES);
            let worker = Worker {
                machine,
                process: if withdrawn {
                    Process::Ended
                } else {
                    Process::Dead(self.now)
                },
                agent: None,
                end_by: None,
            };
            self.workers.insert(place, worker);
        }
    }

    /// All processes of a job are gone. Slurm says so only when they have ended, and with that their files are closed.
    fn job_stops(&mut self, job: &str) {
        for place in self.places_of(job) {
            if let Some(worker) = self.workers.get_mut(&place) {
                let outbox = self.mailboxes[worker.machine].outbox(&place);
                self.disk.files().closed(worker.machine, &outbox);
                worker.process = Process::Gone;
                worker.agent = None;
            }
        }
    }

    pub(super) fn job_is_over(&mut self, job: &str, word: &'static str) {
        self.tell(|| format!("job {job} is over: {word}"));
        self.job_stops(job);
        let remembered = self.now + MIN_JOB_AGE;
        if let Some(job) = self.slurm.jobs.get_mut(job) {
            (job.life, job.held_until) = (Life::Over(word), remembered);
        }
    }

    pub(super) fn requeue(&mut self, job: &str) {
        self.tell(|| format!("job {job} is run again"));
        self.tally.requeues += 1;
        self.job_stops(job);
        let until = self.now + 5_000;
        if let Some(job) = self.slurm.jobs.get_mut(job) {
            (job.life, job.restarts, job.held_until) = (Life::Waits, job.restarts + 1, until);
        }
    }

    /// What Slurm was told happens.
    pub(super) fn happens(&mut self, happens: Happens) {
        match happens {
            Happens::Nothing => {}
            Happens::Signal(job) => self.signal(job.as_str()),
            Happens::Cancel(job) => {
                let life = self.slurm.jobs.get(job.as_str()).map(|job| job.life);
                if matches!(life, Some(Life::Waits | Life::Runs)) {
                    self.job_is_over(job.as_str(), "CANCELLED");
                }
            }
        }
    }

    /// SIGTERM to all workers of a job.
    pub(super) fn signal(&mut self, job: &str) {
        self.tell(|| format!("SIGTERM to the workers of job {job}"));
        let now = self.now;
        for place in self.places_of(job) {
            let Some(worker) = self.workers.get_mut(&place) else {
                continue;
            };
            match &mut worker.process {
                Process::Runs(hand) if worker.end_by.is_none() => {
                    worker.end_by = Some(now + GRACE);
                    let asked = hand.terminate("sigterm", Duration::from_millis(now));
                    self.agent_asked(&place, asked);
                }
                // Its keeper does not start it again.
                Process::Dead(_) => worker.process = Process::Ended,
                _ => {}
            }
        }
    }

    /// A worker is started, if one is due at this place.
    pub(super) fn start_worker(&mut self, place: &Place) -> bool {
        let now = self.now;
        let Some(worker) = self.workers.get_mut(place) else {
            return false;
        };
        let due = matches!(worker.process, Process::Dead(at) if at <= now);
        if !due || self.stalled.contains_key(&worker.machine) {
            return false;
        }
        let identity = Identity {
            version: "0".to_owned(),
            host: format!("n{}", worker.machine),
            pid: 1,
            pid_started: Some(now),
        };
        let mailbox = &self.mailboxes[worker.machine];
        match ByHand::begin(mailbox, place, settings(), identity, Duration::from_millis(now)) {
            Ok((hand, asked)) => {
                worker.process = Process::Runs(Box::new(hand));
                (worker.agent, worker.end_by) = (None, None);
                self.tell(|| format!("the worker of {place} starts"));
                self.agent_asked(place, asked);
            }
            Err(error) => {
                worker.process = Process::Dead(now + 1_000);
                self.tell(|| format!("the worker of {place} cannot begin: {error}"));
            }
        }
        true
    }

    /// `kill -9`, perhaps while it writes.
    pub(super) fn kill_worker(&mut self, place: &Place, in_write: bool) {
        let after = self.rng.below(600);
        let Some(worker) = self.workers.get_mut(place) else {
            return;
        };
        let Process::Runs(hand) = &mut worker.process else {
            return;
        };
        let (machine, now) = (worker.machine, self.now);
        self.tally.worker_kills += 1;
        if in_write {
            self.disk.files().kill_in_write(machine, after);
            let _it_is_dead = hand.write(1000);
            self.disk.files().killed(machine);
        }
        let ending = worker.end_by.is_some();
        worker.process = if ending {
            Process::Ended
        } else {
            Process::Dead(now + 1_000)
        };
        worker.agent = None;
        self.tell(|| {
            format!(
                "the worker of {place} dies{}",
                if in_write { " while it writes" } else { "" }
            )
        });
    }

    /// Whoever writes on this machine has come to the middle of it, and some of its pages have left.
    fn is_amid_writing(&mut self, machine: usize) {
        if self
            .follower
            .as_ref()
            .is_some_and(|follower| follower.machine == machine)
        {
            self.cut_wire();
            self.kill_follower();
        }
        for place in self.workers.keys().cloned().collect::<Vec<_>>() {
            let here = self.workers.get(&place).is_some_and(|worker| worker.machine == machine);
            if here && !self.rng.once_in(4) {
                self.kill_worker(&place, true);
            }
        }
        for _ in 0..self.rng.below(4) {
            self.disk.files().some_write_back();
        }
    }

    /// A machine loses its power; Slurm ends its jobs, or runs them again.
    pub(super) fn lose_machine(&mut self) {
        let some = self.rng.below(LOGIN_NODES + COMPUTE_NODES);
        let machines: Vec<usize> = self.workers.values().map(|worker| worker.machine).collect();
        let of_a_worker = self.rng.pick(&machines).copied();
        let machine = of_a_worker.filter(|_| !self.rng.once_in(3)).unwrap_or(some);
        self.is_amid_writing(machine);
        let lost = self.disk.files().lose_machine(machine);
        self.tally.lost_machines += 1;
        self.tell(|| format!("node {machine} is lost, and what nobody had synced of {lost:?}"));
        let here = |worker: &Worker| worker.machine == machine && !matches!(worker.process, Process::Gone);
        let jobs: std::collections::BTreeSet<String> = self
            .workers
            .iter()
            .filter(|(_, worker)| here(worker))
            .map(|(place, _)| place.job_id.to_string())
            .collect();
        for job in jobs {
            if self.slurm.jobs.get(&job).is_some_and(|job| job.life == Life::Runs) {
                if self.rng.once_in(3) {
                    self.job_is_over(&job, "NODE_FAIL");
                } else {
                    self.requeue(&job);
                }
            }
        }
    }

    pub(super) fn agent_asked(&mut self, place: &Place, asked: Vec<Asked>) {
        let Some(worker) = self.workers.get_mut(place) else {
            return;
        };
        for asked in asked {
            match asked {
                Asked::Start { resume } => {
                    assert!(
                        worker.agent.as_ref().is_none_or(Agent::is_over),
                        "two agents at once at {place}"
                    );
                    worker.agent = Some(Agent::new(resume));
                }
                Asked::Kill => worker.agent = None,
            }
        }
    }

    pub(super) fn worker_writes(&mut self, place: &Place) -> bool {
        let bytes = 1 + self.rng.below(3000);
        let stalled = self.stalled.clone();
        let Some(worker) = self.workers.get_mut(place) else {
            return false;
        };
        let Process::Runs(hand) = &mut worker.process else {
            return false;
        };
        if stalled.contains_key(&worker.machine) {
            return false;
        }
        match hand.write(bytes) {
            Ok(None) => return self.archive(place),
            Ok(Some(lines)) => {
                self.tell(|| format!("durable at {place}: {}", String::from_utf8_lossy(&lines).trim_end()));
                self.tally.records += self.ledger.durable(place, &lines);
            }
            Err(error) => {
                let passes = error.may_pass();
                self.tell(|| format!("the worker of {place} cannot write: {error}"));
                if !passes {
                    panic!("the worker of {place} gives up writing: {error}");
                }
            }
        }
        true
    }

    /// A worker that has said everything archives its outbox and is gone.
    fn archive(&mut self, place: &Place) -> bool {
        let Some(worker) = self.workers.get_mut(place) else {
            return false;
        };
        let Process::Runs(hand) = &mut worker.process else {
            return false;
        };
        let Some(reason) = hand.finished() else { return false };
        match hand.archive() {
            Ok(()) => {
                assert!(
                    worker.agent.as_ref().is_none_or(Agent::is_over),
                    "P7: an agent was left behind at {place}"
                );
                worker.process = Process::Ended;
                self.tell(|| format!("the worker of {place} has ended: {reason}"));
                self.perhaps_completed(place.job_id.as_str());
            }
            Err(error) => self.tell(|| format!("the worker of {place} cannot archive: {error}")),
        }
        true
    }

    /// A job is over when all its tasks are.
    pub(super) fn perhaps_completed(&mut self, job: &str) {
        let ended = |place: &Place| {
            self.workers
                .get(place)
                .is_some_and(|worker| matches!(worker.process, Process::Ended))
        };
        let runs = self.slurm.jobs.get(job).is_some_and(|job| job.life == Life::Runs);
        if runs && self.places_of(job).iter().all(ended) {
            self.job_is_over(job, "COMPLETED");
        }
    }

    pub(super) fn worker_reads(&mut self, place: &Place) -> bool {
        let (at, now) = (self.instant(), Duration::from_millis(self.now));
        let stalled = self.stalled.clone();
        let Some(worker) = self.workers.get_mut(place) else {
            return false;
        };
        let Process::Runs(hand) = &mut worker.process else {
            return false;
        };
        if hand.has_read() {
            let asked = hand.take_in(now);
            self.agent_asked(place, asked);
            return true;
        }
        if stalled.contains_key(&worker.machine) {
            return false;
        }
        match hand.look(CHUNK, at) {
            Ok(moved) => moved,
            Err(error) => {
                self.tell(|| format!("the worker of {place} cannot read its inbox: {error}"));
                false
            }
        }
    }

    /// A command reaches the agent.
    pub(super) fn command_passes(&mut self, place: &Place) -> bool {
        let Some(worker) = self.workers.get_mut(place) else {
            return false;
        };
        let Process::Runs(hand) = &mut worker.process else {
            return false;
        };
        let Some(command) = hand.command() else { return false };
        if let Some(agent) = &mut worker.agent
            && let Some(prompt) = agent.told(command, &mut self.rng)
        {
            self.tally.turns += 1;
            self.tell(|| format!("the agent of {place} runs {prompt:.20}"));
            self.ledger.ran(place, &prompt);
        }
        true
    }

    pub(super) fn agent_acts(&mut self, place: &Place) -> bool {
        let Some(worker) = self.workers.get_mut(place) else {
            return false;
        };
        let Some(agent) = worker.agent.as_mut().filter(|agent| agent.is_busy()) else {
            return false;
        };
        agent.act(&mut self.rng);
        true
    }

    pub(super) fn agent_dies(&mut self, place: &Place) {
        if let Some(agent) = self.workers.get_mut(place).and_then(|worker| worker.agent.as_mut()) {
            agent.die(false, &mut self.rng);
            self.tally.agent_deaths += 1;
        }
    }

    pub(super) fn agent_is_heard(&mut self, place: &Place) -> bool {
        let now = Duration::from_millis(self.now);
        let Some(worker) = self.workers.get_mut(place) else {
            return false;
        };
        let (Process::Runs(hand), Some(agent)) = (&mut worker.process, &mut worker.agent) else {
            return false;
        };
        let event = agent.next_word();
        if event.is_none() {
            if !agent.is_over() {
                return false;
            }
            worker.agent = None;
        }
        let asked = hand.hears(event, now);
        self.agent_asked(place, asked);
        true
    }

    /// What is due at the workers is done; those whose time to end is over are killed.
    pub(super) fn worker_deadlines(&mut self) {
        let now = self.now;
        for place in self.workers.keys().cloned().collect::<Vec<_>>() {
            let Some(worker) = self.workers.get_mut(&place) else {
                continue;
            };
            let Process::Runs(hand) = &mut worker.process else {
                continue;
            };
            if let Some(by) = worker.end_by.filter(|by| *by <= now) {
                assert!(
                    !self.calm || by < self.calm_since + GRACE,
                    "P7: the worker of {place} did not end in time, and nothing was in its way"
                );
                worker.process = Process::Ended;
                worker.agent = None;
                self.tell(|| format!("the worker of {place} did not end in time and is killed"));
                self.perhaps_completed(place.job_id.as_str());
                continue;
            }
            if hand.deadline().is_some_and(|due| due <= Duration::from_millis(now)) {
                let asked = hand.tick(Duration::from_millis(now));
                self.agent_asked(&place, asked);
            }
        }
    }
}
