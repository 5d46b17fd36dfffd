//! A router among everything else: what it decides is held until it is stored, then let out; and it may die at any moment.

use std::time::Duration;

use bytes::Bytes;

use codeswarm_protocol::event::{ProviderInfo, RouterEvent};
use codeswarm_protocol::frame::{Downward, Upward};
use codeswarm_protocol::launch::{AgentSpec, WorkerSpec};
use codeswarm_protocol::record::RecordHead;
use codeswarm_protocol::{InjectionId, JobId, Place, Position, RequestId, SwarmId, Timestamp};

use super::Rng;
use super::clients::Clients;
use super::mailbox::Mailbox;
use super::promises::Seen;
use super::provider::{Provider, Workers};
use super::store::Store;
use super::tally::Tally;
use super::worker::Life;
use crate::core::{
    Context, Core, Effect, Input, KnownRequest, Link, LinkTrouble, Moment, Names, Passage, ProviderCommand, Settings,
    Unread, Whom,
};
use crate::state::Batch;

pub fn settings() -> Settings {
    Settings {
        inject_timeout: Duration::from_secs(60),
        max_prompt_bytes: 1000,
        max_nodes: 8,
        providers: vec![ProviderInfo {
            name: "local".to_owned(),
            default: true,
            description: String::new(),
        }],
        agent: AgentSpec::default(),
        worker: WorkerSpec::default(),
        pid: 1,
        slurm: None,
        link: Link::here(String::new()),
    }
}

/// Names that are never given out twice, and numbers that go on from the stored ones.
#[derive(Default)]
pub struct CountedNames {
    names: u64,
    pub last_number: u64,
}

impl CountedNames {
    fn name(&mut self, kind: &str) -> String {
        self.names += 1;
        format!("{kind}-{}", self.names)
    }
}

impl Names for CountedNames {
    fn swarm(&mut self) -> SwarmId {
        SwarmId::new(&self.name("sw")).unwrap()
    }
    fn job(&mut self) -> JobId {
        JobId::new(&self.name("job")).unwrap()
    }
    fn injection(&mut self) -> InjectionId {
        InjectionId::new(&self.name("i")).unwrap()
    }
    fn number(&mut self) -> u64 {
        self.last_number += 1;
        self.last_number
    }
}

/// Something that waits until what was decided with it is stored.
enum Held {
    Told(Whom, RouterEvent),
    Record(Place, Position, Bytes),
    Down(Downward),
    ToProvider(ProviderCommand),
}

/// One life of the router.
pub struct Router {
    pub core: Core,
    born: Duration,
    pub batch: Batch,
    held: Vec<Held>,
    down: Vec<Downward>,
    answers: Vec<Upward>,
    provider: Provider,
}

pub struct World {
    pub rng: Rng,
    pub tally: Tally,
    pub router: Option<Router>,
    pub clients: Clients,
    time: Duration,
    store: Store,
    mailbox: Mailbox,
    workers: Workers,
    names: CountedNames,
    seen: Seen,
    /// Tells what happens, for whoever looks into one history.
    told: bool,
}

impl World {
    pub fn new(seed: u64, with_database: bool) -> Self {
        let mut world = Self {
            told: super::asked_for().is_some(),
            rng: Rng(seed),
            tally: Tally::default(),
            router: None,
            clients: Clients::default(),
            time: Duration::ZERO,
            store: Store::new(with_database),
            mailbox: Mailbox::default(),
            workers: Workers::default(),
            names: CountedNames::default(),
            seen: Seen::default(),
        };
        world.start_router();
        world
    }

    /// Things happen, good and bad; mostly to swarms that are up.
    pub fn storm(&mut self) {
        if !self.rng.once_in(4) {
            self.mailbox.kind = true;
            self.launch();
            self.settle();
            self.mailbox.kind = false;
        }
        let steps = 40 + self.rng.below(140);
        for _ in 0..steps {
            let dice = self.rng.below(100);
            if self.router.is_none() {
                match dice {
                    0..50 => self.start_router(),
                    50..90 => drop(self.worker_acts(false)),
                    _ => self.time_passes(),
                }
                continue;
            }
            if !self.link_is_up() && self.rng.once_in(6) {
                self.input(Input::LinkUp { binary: String::new() });
            }
            match dice {
                0..18 => self.client(),
                18..34 => self.commit(),
                34..48 => drop(self.follower_acts()),
                48..58 => drop(self.answer()),
                58..76 => drop(self.worker_acts(false)),
                76..85 => drop(self.read()),
                85..92 => drop(self.provider_acts()),
                92..95 => self.time_passes(),
                95 => self.tick(),
                96..98 => self.worker_dies(),
                98 => self.drop_link(),
                _ => self.kill_router(),
            }
        }
    }

    /// From here on everything works. What was begun comes to its end, then all swarms do.
    pub fn calm(&mut self) {
        self.mailbox.kind = true;
        self.settle();
        let core = &self.router.as_ref().unwrap().core;
        assert!(core.injections.is_empty(), "P6: still open: {:?}", core.injections);
        let live: Vec<SwarmId> = core
            .swarms()
            .filter(|swarm| !swarm.status.is_over())
            .map(|s| s.swarm_id.clone())
            .collect();
        for swarm_id in live {
            self.terminate(swarm_id);
        }
        self.settle();
        let core = &self.router.as_ref().unwrap().core;
        for swarm in core.swarms() {
            assert!(swarm.status.is_over(), "never ended: {swarm:?}");
        }
        self.seen.everything_ended(&self.mailbox);
    }

    /// Goes on until nothing moves any more.
    fn settle(&mut self) {
        for _ in 0..10_000 {
            if self.router.is_none() {
                self.start_router();
            }
            if !self.link_is_up() {
                self.input(Input::LinkUp { binary: String::new() });
            }
            self.commit();
            let mut moved = false;
            for _ in 0..8 {
                moved |= self.follower_acts() | self.answer() | self.read();
                moved |= self.worker_acts(true) | self.provider_acts();
            }
            self.commit();
            if moved || self.is_moving() {
                continue;
            }
            let router = self.router.as_ref().unwrap();
            if let Some(when) = router.core.deadline() {
                self.time = self.time.max(router.born + when);
                self.tick();
            } else if router.core.nodes.values().any(|node| node.appending.is_some()) {
                // An append that is never answered: only another life of the router and its follower settles it.
                self.kill_router();
            } else {
                return;
            }
        }
        panic!("it never comes to rest");
    }

    fn is_moving(&self) -> bool {
        let Some(router) = &self.router else { return true };
        let busy = |place: &Place, life| {
            let worker = &self.workers.all[place];
            life == Life::Running && (worker.has_work(&self.mailbox.files[place]) || worker.terminating)
        };
        !router.down.is_empty()
            || !router.answers.is_empty()
            || router.provider.is_moving(&self.workers)
            || self.workers.all.iter().any(|(place, worker)| busy(place, worker.life))
    }

    /// What is stored about a request, or about to be.
    pub fn known(&self, request_id: &RequestId) -> Option<KnownRequest> {
        let router = self.router.as_ref().unwrap();
        router
            .batch
            .request(request_id)
            .or_else(|| self.store.request(request_id))
    }

    /// The core takes one input; what it decides is held.
    pub fn input(&mut self, input: Input) -> Vec<Effect> {
        let at = self.moment();
        self.tell(|| format!("{input:?}"));
        let router = self.router.as_mut().unwrap();
        let mut effects = Vec::new();
        let mut context = Context {
            at,
            names: &mut self.names,
            effects: &mut effects,
        };
        router.core.step(input, &mut context);
        router.hold(effects.clone());
        self.tell(|| format!("    so {effects:?}"));
        self.check();
        effects
    }

    fn tell(&self, what: impl Fn() -> String) {
        if self.told {
            eprintln!("{:>6} s  {}", self.time.as_secs(), what());
        }
    }

    fn check(&mut self) {
        let core = &self.router.as_ref().unwrap().core;
        self.seen.core(core);
        for swarm in core.swarms().filter(|swarm| swarm.status.is_over()) {
            for place in core.places(&swarm.swarm_id) {
                let life = self.workers.life(&place);
                assert!(
                    life != Some(Life::Running),
                    "{} is over and the worker of {place} runs",
                    swarm.swarm_id
                );
            }
        }
    }

    fn moment(&self) -> Moment {
        let born = self.router.as_ref().map_or(Duration::ZERO, |router| router.born);
        Moment {
            now: self.time - born,
            wall: Timestamp(i64::try_from(self.time.as_millis()).unwrap()),
        }
    }

    /// Stores what was decided, then lets it out.
    fn commit(&mut self) {
        self.tell(|| "commit".to_owned());
        let Some(router) = &mut self.router else { return };
        self.store.commit(&std::mem::take(&mut router.batch));
        for held in std::mem::take(&mut router.held) {
            match held {
                Held::Told(whom, event) => {
                    self.seen
                        .told(&whom, &event, &self.store, &self.mailbox, &mut self.tally);
                }
                Held::Record(place, position, line) => self.seen.record(&place, position, &line, &mut self.tally),
                Held::Down(down) => router.down.push(down),
                Held::ToProvider(command) => router.provider.commands.push_back(command),
            }
        }
    }

    fn start_router(&mut self) {
        self.tell(|| "the router starts".to_owned());
        let loaded = self.store.load();
        self.names.last_number = loaded.last_number;
        self.router = Some(Router {
            core: Core::new(settings()),
            born: self.time,
            batch: Batch::default(),
            held: Vec::new(),
            down: Vec::new(),
            answers: Vec::new(),
            provider: Provider::default(),
        });
        let at = self.moment();
        let router = self.router.as_mut().unwrap();
        let mut effects = Vec::new();
        let mut context = Context {
            at,
            names: &mut self.names,
            effects: &mut effects,
        };
        router.core.restore(
            loaded.swarms,
            loaded.nodes,
            loaded.injections,
            loaded.submissions,
            &mut context,
        );
        router.hold(effects);
        self.check();
    }

    /// What was decided and not stored is gone; what was sent may arrive all the same.
    fn kill_router(&mut self) {
        let Some(router) = self.router.take() else { return };
        self.tally.router_deaths += 1;
        self.told.then(|| eprintln!("the router dies"));
        self.tally.decisions_lost += u64::from(!router.batch.changes.is_empty());
        for down in router.down {
            if matches!(down, Downward::Append { .. }) && self.rng.once_in(2) {
                self.carry_out(down);
            }
        }
        self.mailbox.reopen();
    }

    fn link_is_up(&self) -> bool {
        self.router.as_ref().is_none_or(|router| router.core.link_is_up())
    }

    /// The link breaks, or breaks for another reason: no answer comes any more; what was sent may have arrived.
    fn drop_link(&mut self) {
        self.tell(|| "the link breaks".to_owned());
        self.tally.link_drops += 1;
        let router = self.router.as_mut().unwrap();
        router.held.retain(|held| !matches!(held, Held::Down(_)));
        router.answers.clear();
        for down in std::mem::take(&mut router.down) {
            if matches!(down, Downward::Append { .. }) && self.rng.once_in(2) {
                let answer = self.carry_out(down);
                self.tally.appends_after_a_drop += u64::from(matches!(answer, Some(Upward::Appended { .. })));
            }
        }
        self.mailbox.reopen();
        let trouble = LinkTrouble {
            what: "the wire is cut".to_owned(),
            advice: None,
            lasting: self.rng.once_in(2),
        };
        self.input(Input::LinkDown(trouble));
    }

    /// The follower carries out one of its commands; those for one inbox in order.
    fn follower_acts(&mut self) -> bool {
        let Some(router) = &mut self.router else { return false };
        if router.down.is_empty() {
            return false;
        }
        let mut at = self.rng.below(router.down.len());
        if let Downward::Append { place, .. } = &router.down[at] {
            let same = |down: &Downward| matches!(down, Downward::Append { place: other, .. } if other == place);
            at = router.down.iter().position(same).unwrap();
        }
        let down = router.down.remove(at);
        if let Some(answer) = self.carry_out(down) {
            self.router.as_mut().unwrap().answers.push(answer);
        }
        true
    }

    fn carry_out(&mut self, down: Downward) -> Option<Upward> {
        let place = match &down {
            Downward::Append { place, .. } => Some(place.clone()),
            _ => None,
        };
        let answer = self.mailbox.carry_out(down, &mut self.rng, &mut self.tally);
        if let Some(place) = place {
            self.seen.hold_inbox(&place, &self.mailbox);
        }
        answer
    }

    /// One of the follower's answers arrives; they may overtake each other.
    fn answer(&mut self) -> bool {
        let Some(router) = &mut self.router else { return false };
        if router.answers.is_empty() {
            return false;
        }
        let at = self.rng.below(router.answers.len());
        let answer = router.answers.remove(at);
        self.hear(answer);
        true
    }

    /// The follower has read on in some outbox.
    fn read(&mut self) -> bool {
        let up = self.mailbox.read(&mut self.rng);
        up.map(|up| self.hear(up)).is_some()
    }

    fn hear(&mut self, up: Upward) {
        let input = match up {
            Upward::Appended { ticket, offset, .. } => Input::Appended { ticket, offset },
            Upward::AppendFailed {
                ticket,
                may_have_happened,
                error,
            } => Input::AppendFailed {
                ticket,
                may_have_happened,
                error,
            },
            Upward::Prepared { ticket, error } => Input::Prepared { ticket, error },
            Upward::Part {
                ticket,
                next,
                done,
                error,
                late,
                ..
            } => Input::OutboxRead {
                ticket,
                next,
                done,
                unread: error.map(|_| if late { Unread::Late } else { Unread::Failed }),
            },
            Upward::Heartbeats { ticket, data } => Input::Heartbeats { ticket, data },
            Upward::Ended { place, .. } => Input::OutboxEnded { place },
            Upward::Chunk { place, offset, data } => return self.chunk(&place, offset, &data),
            Upward::Skipped {
                place, offset, length, ..
            } => {
                self.router.as_mut().unwrap().core.read_to(&place, offset + length);
                return;
            }
            other => panic!("{other:?}"),
        };
        let unreadable = matches!(&input, Input::OutboxRead { unread: Some(_), .. });
        let effects = self.input(input);
        if unreadable {
            self.seen.gave_up(&effects);
        }
    }

    /// As the server does it.
    fn chunk(&mut self, place: &Place, offset: u64, data: &Bytes) {
        let at = self.moment();
        let mut end = offset;
        for line in data.split_inclusive(|byte| *byte == b'\n') {
            end += line.len() as u64;
            let head = RecordHead::parse(line).unwrap();
            let router = self.router.as_mut().unwrap();
            if head.kind == "turn_started" {
                let under_way = router.core.nodes[place].appending.is_some();
                self.tally.faster_than_the_answer += u64::from(under_way);
            }
            let mut effects = Vec::new();
            let mut context = Context {
                at,
                names: &mut self.names,
                effects: &mut effects,
            };
            router.core.before_record(place, &head, &mut context);
            router.hold(std::mem::take(context.effects));
            if let Passage::Next(position) = router.core.record(place, line, &head, end, &mut context) {
                router
                    .held
                    .push(Held::Record(place.clone(), position, data.slice_ref(line)));
            }
            router.hold(effects);
            self.tell(|| String::from_utf8_lossy(line).trim_end().to_owned());
            self.check();
        }
        let router = self.router.as_mut().unwrap();
        let (position, offset) = router.core.stream_end(place);
        router.batch.cursors.insert(place.clone(), (offset, position));
    }

    fn worker_acts(&mut self, in_earnest: bool) -> bool {
        let places: Vec<Place> = self.workers.all.keys().cloned().collect();
        let Some(place) = self.rng.pick(&places) else {
            return false;
        };
        let files = self.mailbox.files.get_mut(place).unwrap();
        let worker = self.workers.all.get_mut(place).unwrap();
        let did = worker.act(files, &mut self.rng, in_earnest);
        self.tally.exits_without_archive += u64::from(did == Some("ended, not archived"));
        did.is_some_and(|did| did != "said something")
    }

    /// A worker dies, or is told to end by somebody else.
    fn worker_dies(&mut self) {
        let running = |worker: &&mut super::worker::Worker| worker.life == Life::Running;
        let mut alive: Vec<_> = self.workers.all.values_mut().filter(running).collect();
        if !alive.is_empty() {
            let at = self.rng.below(alive.len());
            if self.rng.once_in(5) {
                alive[at].terminating = true;
            } else {
                alive[at].life = Life::Dead;
                self.tally.worker_deaths += 1;
            }
        }
    }

    /// The provider carries something out, looks after a worker, or is heard.
    fn provider_acts(&mut self) -> bool {
        let Some(router) = &mut self.router else { return false };
        let (provider, kind) = (&mut router.provider, self.mailbox.kind);
        let acted = match self.rng.below(3) {
            0 => provider.carry_out(&self.workers, kind, &mut self.rng, &mut self.tally),
            1 => provider.supervise(&mut self.workers, &self.mailbox, &mut self.rng, &mut self.tally),
            _ => false,
        };
        if acted {
            return true;
        }
        match provider.events.pop_front() {
            Some(event) => {
                self.input(Input::Provider(event));
                true
            }
            None => false,
        }
    }

    fn time_passes(&mut self) {
        let seconds = [1, 5, 30, 61, 200];
        self.time += Duration::from_secs(seconds[self.rng.below(seconds.len())]);
    }

    fn tick(&mut self) {
        self.input(Input::Tick);
    }
}

impl Router {
    fn hold(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Save(change) => self.batch.changes.push(change),
                Effect::Tell { whom, event } => self.held.push(Held::Told(whom, event)),
                Effect::Follower(down) => self.held.push(Held::Down(down)),
                Effect::Provider(command) => self.held.push(Held::ToProvider(command)),
                Effect::Follow { place, .. } => assert!(self.core.nodes.contains_key(&place)),
                Effect::FollowSwarm { swarm_id, .. } => assert!(self.core.swarm(&swarm_id).is_some()),
                Effect::CatchUp { places, .. } => {
                    assert!(places.iter().all(|place| self.core.nodes.contains_key(place)))
                }
            }
        }
    }
}
