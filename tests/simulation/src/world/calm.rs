//! Nothing bad happens any more: what was begun comes to its end, then all swarms do, and what was promised is looked at.

use codeswarm_protocol::{Place, Position};

use super::World;
use crate::disk::Weather;

/// How many rounds it may take until nothing moves.
const ROUNDS: usize = 1_500;

impl World {
    /// See the module.
    pub(super) fn calm(&mut self) {
        self.tell(|| "from here on everything works".to_owned());
        self.calm = true;
        self.calm_since = self.now;
        {
            let mut files = self.disk.files();
            files.full = false;
            // Orderly ends are few before this; what befalls them goes on.
            files.weather = Weather {
                network: files.weather.network,
                stale_names: files.weather.stale_names,
                bad_renames: files.weather.bad_renames,
                renames_happened: files.weather.renames_happened,
                ..Weather::default()
            };
        }
        self.store.set_full(false);
        self.stalled.clear();
        self.disk.files().stalled.clear();
        self.until("P6: a prompt never ended", |world| world.open_prompts().is_empty());
        self.until("a swarm never ended", |world| {
            let Some(router) = &world.router else { return false };
            let live: Vec<String> = router
                .hand
                .core()
                .swarms()
                .filter(|swarm| swarm.status.takes_prompts())
                .map(|swarm| swarm.swarm_id.to_string())
                .collect();
            let over = router.hand.core().live_swarms() == 0;
            for swarm in live {
                world.terminate(&swarm);
            }
            over
        });
        self.until("P4: a record never reached the stream", |world| world.is_caught_up());
    }

    fn until(&mut self, what: &str, holds: impl Fn(&mut Self) -> bool) {
        for _ in 0..ROUNDS {
            self.round();
            if holds(self) {
                return;
            }
        }
        let open = self.open_prompts();
        let core = self.router.as_ref().map(|router| {
            let core = router.hand.core();
            let nodes: Vec<_> = core
                .swarms()
                .flat_map(|swarm| core.places(&swarm.swarm_id))
                .filter_map(|place| core.node(&place).cloned().map(|node| (place, node)))
                .collect();
            format!("{:?} {nodes:?}", core.swarms().collect::<Vec<_>>())
        });
        panic!("{what}: open {open:?}, jobs {:?}, {core:?}", self.slurm.jobs);
    }

    /// A second or so in which everybody does what there is to do.
    fn round(&mut self) {
        self.start_router();
        self.router_hears_of_cut();
        self.link_comes_up();
        self.watcher_comes();
        self.jobs_move();
        let mut quiet = true;
        for _ in 0..40 {
            let mut moved = false;
            self.commit();
            while self.follower_acts() {
                moved = true;
            }
            self.wake(true);
            while self.follower_looks() || self.deliver() {
                moved = true;
            }
            self.commit();
            moved |= self.slurm_acts();
            for place in self.workers.keys().cloned().collect::<Vec<_>>() {
                moved |= self.start_worker(&place);
                moved |= self.worker_reads(&place) | self.worker_writes(&place) | self.command_passes(&place);
                moved |= self.agent_acts(&place) | self.agent_is_heard(&place);
            }
            self.asker_reads();
            self.watcher_reads();
            if !moved {
                break;
            }
            quiet = false;
        }
        let by = if quiet { 12_000 } else { 1_000 } + self.rng.below_long(4_000);
        self.time_passes(by);
    }

    fn open_prompts(&self) -> Vec<String> {
        let Some(router) = &self.router else {
            return vec!["no router".to_owned()];
        };
        let core = router.hand.core();
        let acknowledged = self.asker.acknowledged.keys();
        let heard = self.watcher.heard.values().flatten();
        let heard = heard.filter(|event| event.kind == "inject_ack");
        let all = acknowledged.chain(heard.filter_map(|event| event.injection_id.as_ref()));
        all.filter(|id| core.is_open(id)).map(ToString::to_string).collect()
    }

    fn is_caught_up(&mut self) -> bool {
        self.disk.files().settle();
        let Some(router) = &self.router else { return false };
        let core = router.hand.core();
        let places: Vec<Place> = core.swarms().flat_map(|swarm| core.places(&swarm.swarm_id)).collect();
        places.iter().all(|place| {
            let last = self.last_owed(place);
            let position = self.watcher.position(place);
            position == core.stream_end(place).0 && position >= Position::at(codeswarm_protocol::Seq(last))
        })
    }
}
