//! Things happen, good and bad.

use codeswarm_protocol::Place;

use super::{COMPUTE_NODES, LOGIN_NODES, World};
use crate::slurm::Life;

/// How bad this history is: each is once in so many steps, 0 for never.
struct Fate {
    router_dies: usize,
    follower_dies: usize,
    link_is_cut: usize,
    worker_dies: usize,
    agent_dies: usize,
    node_is_lost: usize,
    requeue: usize,
    time_limit: usize,
    client_leaves: usize,
    disk_fills: usize,
    state_fills: usize,
    stall: usize,
    /// How long a full disk stays so, in steps, about.
    full_for: usize,
    /// Of how many passages of time one is long.
    long_times: usize,
}

impl World {
    fn fate(&mut self) -> Fate {
        let full_for = [20, 20, 150][self.rng.below(3)];
        let long_times = [12, 12, 3][self.rng.below(3)];
        let mut sometimes = |often: usize| if self.rng.once_in(2) { often } else { 0 };
        Fate {
            full_for,
            long_times,
            router_dies: sometimes(150),
            follower_dies: sometimes(150),
            link_is_cut: sometimes(100),
            worker_dies: sometimes(80),
            agent_dies: sometimes(120),
            node_is_lost: sometimes(250),
            requeue: sometimes(250),
            time_limit: sometimes(200),
            client_leaves: sometimes(60),
            disk_fills: sometimes(200),
            state_fills: sometimes(250),
            stall: sometimes(200),
        }
    }

    /// See the module.
    pub(super) fn storm(&mut self) {
        let fate = self.fate();
        self.come_up();
        let long = if self.rng.once_in(8) { 600 } else { 0 };
        let steps = 60 + self.rng.below(280 + long);
        for _ in 0..steps {
            self.tally.steps += 1;
            self.misfortune(&fate);
            self.step(&fate);
        }
    }

    /// Most histories begin with a swarm that is up.
    fn come_up(&mut self) {
        self.start_router();
        self.link_comes_up();
        self.watcher_comes();
        self.launch();
        for _ in 0..8 {
            self.commit();
            self.follower_acts();
            self.deliver();
            self.slurm_acts();
        }
    }

    fn misfortune(&mut self, fate: &Fate) {
        if self.rng.once_in(fate.router_dies) {
            self.kill_router();
        }
        if self.rng.once_in(fate.follower_dies) {
            self.cut_wire();
            self.kill_follower();
        }
        if self.rng.once_in(fate.link_is_cut) {
            self.cut_wire();
        }
        if self.rng.once_in(fate.worker_dies)
            && let Some(place) = self.a_place()
        {
            let in_write = self.rng.once_in(2);
            self.kill_worker(&place, in_write);
        }
        if self.rng.once_in(fate.agent_dies)
            && let Some(place) = self.a_place()
        {
            self.agent_dies(&place);
        }
        if self.rng.once_in(fate.node_is_lost) {
            self.lose_machine();
        }
        if self.rng.once_in(fate.requeue)
            && let Some(job) = self.a_job(Life::Runs)
        {
            self.requeue(&job);
        }
        if self.rng.once_in(fate.time_limit)
            && let Some(job) = self.a_job(Life::Runs)
        {
            self.tally.time_limits += 1;
            self.signal(&job);
        }
        if self.rng.once_in(fate.client_leaves) {
            self.watcher_leaves();
        }
        if self.rng.once_in(fate.client_leaves) {
            self.asker_leaves();
        }
        if self.rng.once_in(fate.disk_fills) {
            self.disk.files().full = true;
        } else if self.rng.once_in(fate.full_for) {
            self.disk.files().full = false;
        }
        if self.rng.once_in(fate.state_fills) {
            self.store.set_full(true);
        } else if self.rng.once_in(15) {
            self.store.set_full(false);
        }
        let newly_stalled = std::mem::take(&mut self.disk.files().newly_stalled);
        for machine in newly_stalled {
            self.stall(machine);
        }
        if self.rng.once_in(fate.stall) {
            let some = self.rng.below(LOGIN_NODES + COMPUTE_NODES);
            // Most often where somebody has just begun to hand over what it has written.
            let machine = self.disk.files().amid_writing().unwrap_or(some);
            self.stall(machine);
        }
    }

    fn stall(&mut self, machine: usize) {
        // Less than a reader waits for a page that is late (`tail::LATE_PAGE_PATIENCE`).
        let until = self.now + 20_000 + self.rng.below_long(100_000);
        self.stalled.insert(machine, until);
        self.disk.files().stalled.insert(machine);
        self.tally.stalls += 1;
        self.tell(|| format!("the filesystem of machine {machine} stalls"));
    }

    fn a_place(&mut self) -> Option<Place> {
        let places: Vec<Place> = self.workers.keys().cloned().collect();
        self.rng.pick(&places).cloned()
    }

    fn a_job(&mut self, life: Life) -> Option<String> {
        let jobs = self.slurm.jobs.iter().filter(|(_, job)| job.life == life);
        let jobs: Vec<String> = jobs.map(|(id, _)| id.clone()).collect();
        self.rng.pick(&jobs).cloned()
    }

    fn step(&mut self, fate: &Fate) {
        match self.rng.below(100) {
            0..6 => self.asker_acts(),
            6..18 => self.commit(),
            18..26 => drop(self.follower_acts()),
            26..34 => {
                self.wake(false);
                self.follower_looks();
            }
            34..42 => drop(self.deliver()),
            42..80 => {
                if let Some(place) = self.a_place() {
                    self.worker_acts(&place);
                }
            }
            80..84 => drop(self.slurm_acts()),
            84..88 => drop(self.disk.files().some_write_back()),
            88..91 => {
                self.asker_reads();
                self.watcher_reads();
            }
            91..93 => {
                self.start_router();
                self.watcher_comes();
            }
            93..95 => {
                self.router_hears_of_cut();
                self.link_comes_up();
            }
            95 => self.jobs_move(),
            96..99 => {
                let by = match self.rng.below(fate.long_times) {
                    0 => [5_000, 16_000, 31_000, 62_000][self.rng.below(4)],
                    _ => [100, 300, 1_000, 2_500][self.rng.below(4)],
                };
                self.time_passes(by);
            }
            _ => drop(self.disk.files().some_write_back()),
        }
    }

    fn worker_acts(&mut self, place: &Place) {
        match self.rng.below(10) {
            0 => drop(self.start_worker(place)),
            1 | 2 => drop(self.worker_reads(place)),
            3 | 4 => drop(self.worker_writes(place)),
            5 => drop(self.command_passes(place)),
            6 | 7 => drop(self.agent_acts(place)),
            _ => drop(self.agent_is_heard(place)),
        }
    }

    /// Jobs go their way.
    pub(super) fn jobs_move(&mut self) {
        let waiting = self
            .slurm
            .jobs
            .iter()
            .filter(|(_, job)| job.life == Life::Waits && job.held_until <= self.now);
        let waiting: Vec<String> = waiting.map(|(id, _)| id.clone()).collect();
        if let Some(job) = self.rng.pick(&waiting).cloned() {
            self.job_runs(&job);
        }
        if !self.calm && self.rng.once_in(40) {
            let over = self
                .slurm
                .jobs
                .values_mut()
                .find(|job| matches!(job.life, Life::Over(_)) && job.held_until <= self.now);
            if let Some(job) = over {
                job.life = Life::Forgotten;
            }
        }
        for job in self.slurm.jobs.keys().cloned().collect::<Vec<_>>() {
            self.perhaps_completed(&job);
        }
    }
}
