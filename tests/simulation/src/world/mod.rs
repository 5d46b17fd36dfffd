//! Everything that there is, in one process: a router, a follower behind a link, a Slurm with its nodes, workers and agents on
//! them, the files between them, and clients. One generator decides what happens next and to whom.

mod calm;
mod clients;
mod cluster;
mod login;
mod promises;
mod router_host;
mod storm;
mod watcher;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use codeswarm_mailbox::{FilesystemKind, Mailbox};
use codeswarm_protocol::Place;
use codeswarm_router::core::Errand;
use codeswarm_slurm::Call;

use crate::disk::{Disk, Weather};
use crate::ledger::Ledger;
use crate::rng::Rng;
use crate::slurm::Slurm;
use crate::store::Memory;
use crate::tally::Tally;
use clients::Asker;
use cluster::Worker;
use login::Follower;
use router_host::Router;
use watcher::Watcher;

/// Machines: two login nodes, and the compute nodes behind them.
const LOGIN_NODES: usize = 2;
const COMPUTE_NODES: usize = 4;

/// What every world's clock shows at first, in milliseconds.
const BEGINNING: u64 = 1_000_000;

/// See the module.
pub struct World {
    rng: Rng,
    /// Milliseconds since the beginning of this world.
    now: u64,
    clock: Arc<AtomicU64>,
    began: Instant,
    disk: Disk,
    /// The mailbox, as each machine sees it.
    mailboxes: Vec<Mailbox>,
    store: Memory,
    names: Arc<AtomicU64>,
    router: Option<Router>,
    follower: Option<Follower>,
    /// The router believes that it has a link.
    linked: bool,
    calls: std::collections::VecDeque<(Errand, Call)>,
    slurm: Slurm,
    workers: BTreeMap<Place, Worker>,
    /// What each swarm is launched with: how many nodes.
    launches: BTreeMap<String, u32>,
    /// Machines whose filesystem does not answer, and until when.
    stalled: BTreeMap<usize, u64>,
    asker: Asker,
    watcher: Watcher,
    ledger: Ledger,
    tally: Tally,
    /// Nothing bad happens any more.
    calm: bool,
    /// Since when, in milliseconds.
    calm_since: u64,
    told: bool,
}

impl World {
    /// The world of a seed.
    pub fn new(seed: u64, told: bool) -> Self {
        let mut rng = Rng::new(seed);
        let weather = weather(&mut rng);
        let disk = Disk::new(rng.number(), LOGIN_NODES + COMPUTE_NODES, weather);
        let kind = if weather.network {
            FilesystemKind::Network("simulated")
        } else {
            FilesystemKind::Local
        };
        let mailboxes = (0..LOGIN_NODES + COMPUTE_NODES)
            .map(|machine| {
                let mailbox = Mailbox::at("/m").on(kind);
                mailbox.stored_on(Arc::new(disk.seen_from(machine)))
            })
            .collect();
        let now = BEGINNING;
        let slurm = Slurm {
            nodes: 1 + u32::from(rng.once_in(2)),
            ..Slurm::default()
        };
        let world = Self {
            rng,
            now,
            clock: Arc::new(AtomicU64::new(now)),
            began: Instant::now(),
            disk,
            mailboxes,
            store: Memory::default(),
            names: Arc::default(),
            router: None,
            follower: None,
            linked: false,
            calls: std::collections::VecDeque::new(),
            slurm,
            workers: BTreeMap::new(),
            launches: BTreeMap::new(),
            stalled: BTreeMap::new(),
            asker: Asker::default(),
            watcher: Watcher::default(),
            ledger: Ledger::default(),
            tally: Tally::default(),
            calm: false,
            calm_since: 0,
            told,
        };
        world.disk.files().time_is(now);
        world.tell(|| format!("{weather:?}"));
        world
    }

    /// One history, from its beginning to its end; the promises are held against it.
    pub fn play(mut self) -> Tally {
        self.storm();
        self.calm();
        self.hold_promises();
        let files = self.disk.files();
        self.tally.add(&files.tally);
        drop(files);
        self.tally.histories += 1;
        self.tally.seconds += (self.now - BEGINNING) / 1_000;
        self.tally
    }

    fn tell(&self, what: impl FnOnce() -> String) {
        if self.told {
            let line = format!("{:>9}  {}\n", self.now - BEGINNING, what());
            // Whoever looks into a history has asked for it.
            let _ = std::io::Write::write_all(&mut std::io::stderr(), line.as_bytes());
        }
    }

    fn time_passes(&mut self, by: u64) {
        self.now += by;
        self.clock.store(self.now, Ordering::Relaxed);
        let now = self.now;
        self.stalled.retain(|_, until| *until > now);
        let stalled = self.stalled.keys().copied().collect();
        let mut files = self.disk.files();
        files.stalled = stalled;
        files.time_is(now);
        drop(files);
        self.tell(|| format!("{by} ms pass"));
        self.worker_deadlines();
        self.router_deadline();
    }

    /// The simulated time, as the tails count it.
    fn instant(&self) -> Instant {
        self.began + Duration::from_millis(self.now)
    }

    fn is_stalled(&self, machine: usize) -> bool {
        self.stalled.contains_key(&machine)
    }
}

/// How bad the disk is: different in each history, so that some vices are met alone.
fn weather(rng: &mut Rng) -> Weather {
    let network = !rng.once_in(5);
    let mut sometimes = |often: usize| if rng.once_in(2) { often } else { 0 };
    Weather {
        network,
        stale_names: sometimes(2),
        stale_pages: sometimes(4),
        bad_writes: sometimes(30),
        bad_syncs: sometimes(60),
        short_writes: sometimes(12),
        bad_reads: sometimes(80),
        bad_renames: sometimes(3),
        renames_happened: 2,
        stalled_syncs: if network { sometimes(60) } else { 0 },
    }
}
