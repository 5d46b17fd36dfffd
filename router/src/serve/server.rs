//! The loop: take what has come, let the core decide, store, tell.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use codeswarm_follower::Follower;
use codeswarm_link::{Link, LoginNode};
use codeswarm_protocol::SwarmId;
use codeswarm_protocol::event::{RouterEvent, RouterWord};
use codeswarm_protocol::frame::{Downward, Ticket, Upward};

use super::carried::Carried;
use super::client_io::{self, FromClient};
use super::clock::Clock;
use super::door::{ClientEnd, Connection, Door};
use super::history::{FailedReads, UnderWay};
use super::link::{link_event, room_at, said_by};
use super::names::RandomNames;
use super::options::{MailboxAt, Options, ServeError, Stop};
use super::outputs::{Outputs, before, ending_of};
use super::queue::ClientQueue;
use crate::audience::{Audience, Heard, NodeNow, Pace, Recent};
use crate::core::{ClientId, Context, Core, Effect, Input, Moment, Names, ProviderCommand, ProviderEvent, Whom};
use crate::provider::{LocalProvider, SlurmProvider};
use crate::state::{Batch, Loaded, State, StateError, Store};

/// The router at work.
pub struct Server {
    pub(super) core: Core,
    pub(super) audience: Audience,
    pub(super) outputs: Outputs,
    pub(super) state: Box<dyn Store>,
    pub(super) down: VecDeque<Downward>,
    pub(super) reads: HashMap<Ticket, UnderWay>,
    pub(super) failed_reads: FailedReads,
    pub(super) last_ticket: u64,
    pub(super) carried: Carried,
    pub(super) pace: Pace,
    pub(super) recent: Recent,
    pub(super) names: Box<dyn Names + Send>,
    pub(super) batch: Batch,
    pub(super) follower: Option<Follower>,
    pub(super) link: Option<Link>,
    /// Programs that have said their last, and until when an answer that takes its time is waited for.
    pub(super) leaving: BTreeMap<ClientId, Instant>,
    /// Who was told that the link is down, since it is.
    pub(super) told_down: BTreeSet<ClientId>,
    pub(super) to_provider: VecDeque<ProviderCommand>,
    provider: mpsc::Sender<ProviderCommand>,
    provider_events: mpsc::Receiver<ProviderEvent>,
    from_clients: mpsc::Receiver<FromClient>,
    client_sender: mpsc::Sender<FromClient>,
    door: mpsc::Sender<Connection>,
    connections: mpsc::Receiver<Connection>,
    client_tasks: JoinSet<()>,
    pub(super) last_client: u64,
    pub(super) line_limit: usize,
    pub(super) clock: Clock,
    idle_exit: Option<Duration>,
    idle_since: Option<Instant>,
}

/// How long the connection to the login node may take to close.
const LETTING_GO: Duration = Duration::from_millis(900);

/// Tickets of reads for clients; the core's own start at 1.
const FIRST_READ_TICKET: u64 = 1 << 62;

/// How long a daemon's program may take to read its last lines; then the daemon leaves all the same.
const LAST_LINES: Duration = Duration::from_millis(1500);

/// How long a daemon waits for answers that take their time (of the login node, of the mailbox's files) once its program has
/// said its last. What was accepted goes on without it.
pub(super) const LAST_ANSWERS: Duration = Duration::from_millis(1200);

/// Bytes of outboxes that are kept in memory for clients that are a little behind.
const RECENT_BYTES: usize = 8 * 1024 * 1024;

/// How soon it is tried again to store what could not be stored.
const STORE_AGAIN: Duration = Duration::from_secs(2);

/// How many inputs are taken together before storing and telling.
const BATCH: usize = 256;

impl Server {
    /// Opens the state and the mailbox, and takes up what an earlier life left.
    pub fn open(options: Options) -> Result<Self, ServeError> {
        let state: Box<dyn Store> = Box::new(State::open(&options.database)?);
        let (follower, link, provider) = match &options.mailbox {
            MailboxAt::Here(config) => {
                let follower = codeswarm_follower::spawn(config.clone())?;
                let provider = LocalProvider::start(&config.root, options.worker_command.clone());
                (Some(follower), None, provider)
            }
            MailboxAt::LoginNodeHere(config) => {
                let follower = codeswarm_follower::spawn(config.clone())?;
                (Some(follower), None, SlurmProvider::start(LoginNode::here()))
            }
            MailboxAt::Linked(settings) => {
                let link = Link::start(settings.clone());
                let provider = SlurmProvider::start(link.login_node.clone());
                (None, Some(link), provider)
            }
        };
        let loaded = state.load()?;
        let names = Box::new(RandomNames::after(loaded.last_number));
        let clock = Clock::Ours(Instant::now());
        Self::assemble(options, (state, loaded), (names, clock), (follower, link), provider)
    }

    pub(super) fn assemble(
        options: Options,
        (state, loaded): (Box<dyn Store>, Loaded),
        (names, clock): (Box<dyn Names + Send>, Clock),
        (follower, link): (Option<Follower>, Option<Link>),
        (provider, provider_events): (mpsc::Sender<ProviderCommand>, mpsc::Receiver<ProviderEvent>),
    ) -> Result<Self, ServeError> {
        let (client_sender, from_clients) = mpsc::channel(1024);
        let (door, connections) = mpsc::channel(64);
        // JSON may write a character in six bytes.
        let line_limit = options.settings.max_prompt_bytes.saturating_mul(6) + 64 * 1024;
        let mut server = Self {
            core: Core::new(options.settings),
            audience: Audience::default(),
            outputs: Outputs::default(),
            state,
            down: VecDeque::new(),
            reads: HashMap::new(),
            failed_reads: FailedReads::default(),
            last_ticket: FIRST_READ_TICKET,
            carried: Carried::default(),
            pace: Pace::default(),
            recent: Recent::new(RECENT_BYTES),
            names,
            batch: Batch::default(),
            follower,
            link,
            leaving: BTreeMap::new(),
            told_down: BTreeSet::new(),
            to_provider: VecDeque::new(),
            provider,
            provider_events,
            from_clients,
            client_sender,
            door,
            connections,
            client_tasks: JoinSet::new(),
            last_client: 0,
            line_limit,
            clock,
            idle_exit: options.idle_exit,
            idle_since: None,
        };
        let mut effects = Vec::new();
        let mut context = Context {
            at: server.now(),
            names: &mut *server.names,
            effects: &mut effects,
        };
        let (swarms, nodes) = (loaded.swarms, loaded.nodes);
        server
            .core
            .restore(swarms, nodes, loaded.injections, loaded.submissions, &mut context);
        server.carry_out(effects);
        Ok(server)
    }

    /// Where clients come in.
    pub fn door(&self) -> Door {
        Door(self.door.clone())
    }

    /// Serves until it is told to stop, or has nothing left to do.
    pub async fn run(mut self, mut stop: watch::Receiver<Stop>) -> Result<(), ServeError> {
        let ended = self.serve(&mut stop).await;
        self.carried.log();
        // Nobody listens to clients any more: who has something to say must not wait for it.
        self.from_clients.close();
        self.outputs.flush();
        for id in self.audience.ids() {
            self.outputs.leave(id);
        }
        let drained = async { while self.client_tasks.join_next().await.is_some() {} };
        if tokio::time::timeout(Duration::from_millis(1500), drained)
            .await
            .is_err()
        {
            tracing::warn!("a client did not read its last lines");
        }
        // The mailbox is given back before the router's lock is: whoever takes that finds this free.
        if let Some(Follower { commands, events, task }) = self.follower {
            drop((commands, events));
            if tokio::time::timeout(Duration::from_millis(300), task).await.is_err() {
                tracing::warn!("the mailbox's follower is held up by its filesystem");
            }
        }
        if let Some(Link { events, task, .. }) = self.link {
            drop(events);
            if tokio::time::timeout(LETTING_GO, task).await.is_err() {
                tracing::warn!("the connection to the login node does not close");
            }
        }
        ended
    }

    async fn serve(&mut self, stop: &mut watch::Receiver<Stop>) -> Result<(), ServeError> {
        let to_provider = self.provider.clone();
        loop {
            self.finish_batch(stop).await;
            if *stop.borrow() == Stop::Now || self.core.is_stopping() || self.is_idle_too_long() {
                return Ok(());
            }
            let began = self.now().now;
            let held = self.held_until();
            let wake = self.wake_after(held);
            let to_follower = self.follower.as_ref().map(|follower| follower.commands.clone());
            tokio::select! {
                changed = stop.changed() => if changed.is_err() { return Ok(()) },
                Some(connection) = self.connections.recv() => self.join(connection),
                Some(from) = self.from_clients.recv() => {
                    self.client_said(from);
                    for _ in 1..BATCH {
                        match self.from_clients.try_recv() {
                            Ok(from) => self.client_said(from),
                            Err(_) => break,
                        }
                    }
                }
                up = said_by(&mut self.follower), if held.is_none() => match up {
                    Some(up) => self.follower_and_more(up),
                    None if self.link.is_some() => self.follower_gone(),
                    None => return Err(ServeError::FollowerEnded),
                },
                Some(event) = link_event(&mut self.link) => self.link_said(event),
                Some(event) = self.provider_events.recv() => self.input(Input::Provider(event)),
                permit = room_at(to_follower), if !self.down.is_empty() => match permit {
                    Ok(room) => {
                        // It is taken again with all the room that there is.
                        drop(room);
                        self.hand_down();
                    }
                    // Its events end as well, and that is where it is noticed.
                    Err(_) if self.link.is_some() => self.down.clear(),
                    Err(_) => return Err(ServeError::FollowerEnded),
                },
                Ok(permit) = to_provider.reserve(), if !self.to_provider.is_empty() => {
                    if let Some(command) = self.to_provider.pop_front() {
                        permit.send(command);
                    }
                }
                () = tokio::time::sleep(wake) => self.input(Input::Tick),
            }
            if held.is_some() {
                self.carried.waited += self.now().now.saturating_sub(began);
            }
        }
    }

    /// Takes what the follower says, and what else it has said meanwhile.
    fn follower_and_more(&mut self, up: Upward) {
        self.follower_said(up);
        for _ in 1..BATCH {
            if self.held_until().is_some() {
                break;
            }
            match self.follower.as_mut().map(|follower| follower.events.try_recv()) {
                Some(Ok(up)) => self.follower_said(up),
                _ => break,
            }
        }
    }

    /// Hands down as much as there is room for.
    fn hand_down(&mut self) {
        while let Some(follower) = &self.follower
            && let Ok(room) = follower.commands.try_reserve()
            && let Some(down) = self.down.pop_front()
        {
            room.send(down);
        }
    }

    pub(super) fn now(&self) -> Moment {
        self.clock.now()
    }

    fn wake_after(&self, held: Option<Duration>) -> Duration {
        let now = self.now().now;
        let due = [self.core.deadline(), self.failed_reads.next(now), held]
            .into_iter()
            .flatten();
        let due = due.map(|when| when.saturating_sub(now));
        let idle = self.idle_exit.filter(|_| self.idle_since.is_some());
        let leaving = self
            .leaving
            .values()
            .map(|until| until.saturating_duration_since(Instant::now()));
        due.chain(idle)
            .chain(leaving)
            .min()
            .unwrap_or(Duration::from_secs(3600))
            .max(Duration::from_millis(1))
    }

    fn is_idle_too_long(&mut self) -> bool {
        let Some(limit) = self.idle_exit else { return false };
        if !self.audience.is_empty() || self.core.live_swarms() > 0 {
            self.idle_since = None;
            return false;
        }
        self.idle_since.get_or_insert_with(Instant::now).elapsed() >= limit
    }

    /// Stores what this batch decided, then lets its words out. While the state cannot be written nothing is told but that.
    async fn finish_batch(&mut self, stop: &mut watch::Receiver<Stop>) {
        self.pump_history();
        let durability = self.batch.durability();
        while let Err(error) = self.state.commit(&self.batch, durability) {
            self.cannot_store(&error);
            let told_to_stop = stop.wait_for(|stop| *stop == Stop::Now);
            if tokio::time::timeout(STORE_AGAIN, told_to_stop).await.is_ok() {
                // What is not stored was not promised: nobody hears of it.
                return self.outputs.forget();
            }
        }
        self.let_out();
    }

    /// Nobody is told anything else meanwhile.
    pub(super) fn cannot_store(&mut self, error: &StateError) {
        tracing::error!(%error, "the state cannot be written; commands wait");
        let word = RouterWord::RouterTrouble {
            message: format!("{error}. Commands wait until it can be written"),
        };
        let event = RouterEvent::new(word, self.now().wall);
        self.outputs.urgent(&self.audience, &event);
    }

    /// The batch is stored: its words go to their hearers.
    pub(super) fn let_out(&mut self) {
        self.batch = Batch::default();
        self.outputs.flush();
        for id in self.audience.ids() {
            if self.audience.client(id).is_some_and(|client| client.is_done()) && !self.waits_for_an_answer(id) {
                self.leave(id);
            }
        }
        while self.client_tasks.try_join_next().is_some() {}
    }

    /// Whether a client that has said its last has an answer to come. A daemon leaves before long all the same.
    fn waits_for_an_answer(&self, id: ClientId) -> bool {
        self.core.owes_an_answer(id) && self.leaving.get(&id).is_none_or(|until| Instant::now() < *until)
    }

    fn join(&mut self, Connection { source, sink, pipes }: Connection) {
        self.last_client += 1;
        let id = ClientId(self.last_client);
        let queue = ClientQueue::default();
        self.audience.join(id);
        self.outputs.join(id, queue.clone());
        let sender = self.client_sender.clone();
        let written = queue.clone();
        let mut writer = client_io::start(id, source, sink, queue, self.line_limit, sender);
        if let (Some(client), Some(pipes)) = (self.audience.client(id), &pipes) {
            client.waits_for_nothing = pipes.daemon;
        }
        self.client_tasks.spawn(async move {
            if pipes.as_ref().is_some_and(|pipes| pipes.daemon) {
                written.closed().await;
                if tokio::time::timeout(LAST_LINES, &mut writer).await.is_err() {
                    tracing::warn!("the last lines were not read in time");
                    writer.abort();
                }
            } else {
                let _ = writer.await;
            }
            if let Some(pipes) = pipes {
                let failed = written.has_failed();
                let _ = pipes.end.send(ClientEnd { failed });
            }
        });
    }

    pub(super) fn leave(&mut self, id: ClientId) {
        self.audience.leave(id);
        self.outputs.leave(id);
        self.told_down.remove(&id);
        self.failed_reads.client_left(id);
        self.pace.forget(id);
        self.leaving.remove(&id);
    }

    pub(super) fn input(&mut self, input: Input) {
        let mut effects = Vec::new();
        let at = self.now();
        self.core.step(
            input,
            &mut Context {
                at,
                names: &mut *self.names,
                effects: &mut effects,
            },
        );
        self.carry_out(effects);
    }

    pub(super) fn carry_out(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Save(change) => self.batch.changes.push(change),
                Effect::Tell { whom, event } => self.tell(&whom, &event),
                Effect::Follow {
                    client,
                    injection_id,
                    place,
                    end,
                    from,
                } => {
                    let swarm_id = self.core.swarm_of(&place.job_id).cloned();
                    let node = NodeNow { place, swarm_id, end };
                    self.audience.follow(client, injection_id, &node, from);
                }
                Effect::CatchUp {
                    client,
                    request_id,
                    swarm_id,
                    places,
                } => self.audience.catch_up(client, swarm_id, places, request_id),
                Effect::FollowSwarm {
                    client,
                    swarm_id,
                    request_id,
                } => {
                    let ending = self
                        .core
                        .swarm(&swarm_id)
                        .is_some_and(|swarm| !swarm.status.takes_prompts() && !swarm.status.is_over());
                    let places = self.core.places(&swarm_id);
                    let nodes = places.into_iter().map(|place| NodeNow {
                        swarm_id: Some(swarm_id.clone()),
                        end: self.core.stream_end(&place).0,
                        place,
                    });
                    let nodes = nodes.collect();
                    self.audience.follow_swarm(client, &swarm_id, nodes);
                    if ending && let Some(client) = self.audience.client(client) {
                        client.awaits_end.insert(swarm_id, request_id);
                    }
                }
                Effect::Follower(down) => self.down.push_back(down),
                Effect::Provider(command) => self.to_provider.push_back(command),
            }
        }
    }

    fn tell(&mut self, whom: &Whom, event: &RouterEvent) {
        match whom {
            Whom::Client(id) => self.tell_client(*id, event),
            Whom::Node { place, position } => {
                let heard = Heard {
                    place,
                    swarm_id: event.swarm_id.as_ref(),
                    position: *position,
                    before: before(*position),
                    offset: self.core.stream_end(place).1,
                    injection_id: event.injection_id.as_ref().map(|id| id.as_str()),
                    ending: ending_of(&event.word),
                };
                self.outputs.node_event(&mut self.audience, event, heard);
            }
            Whom::Swarm(swarm_id) => self.tell_swarm(swarm_id, None, event),
            Whom::OthersOfSwarm(swarm_id, asker) => self.tell_swarm(swarm_id, Some(*asker), event),
            Whom::Everybody => {
                for id in self.audience.ids() {
                    if self.outputs.has_room(id) {
                        self.tell_client(id, event);
                    }
                }
            }
        }
    }

    fn tell_swarm(&mut self, swarm_id: &SwarmId, but: Option<ClientId>, event: &RouterEvent) {
        for id in self.audience.hear_swarm(swarm_id, |id| self.outputs.has_room(id)) {
            if Some(id) != but {
                self.tell_client(id, event);
            }
        }
    }

    pub(super) fn tell_client(&mut self, id: ClientId, event: &RouterEvent) {
        let spelling = self.audience.spelling(id);
        let asked_for = match (&event.word, &event.swarm_id, self.audience.client(id)) {
            (RouterWord::SwarmTerminated { .. }, Some(swarm_id), Some(client)) => client.awaits_end.remove(swarm_id),
            _ => None,
        };
        match asked_for.flatten() {
            // The end is told under the name of the command that asked for it, to the client that did.
            Some(request_id) => {
                let mut event = event.clone();
                event.request_id = Some(request_id);
                self.outputs.event(id, spelling, &event);
            }
            None => self.outputs.event(id, spelling, event),
        }
    }
}

#[cfg(test)]
mod tests;
