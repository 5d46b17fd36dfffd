//! What the router decides, without doing any of it: `step` takes what happened and returns what is to be done.
//!
//! Swarms, nodes, injections and requests live here. Who among the clients hears which event is `audience`'s; how
//! things are stored, sent or started is the shell's. No clock, file, socket or random number is read in this room.

mod adopt;
mod answer;
mod commands;
mod delivery;
mod effect;
mod hosts;
mod job;
mod job_end;
mod launch;
mod link;
mod model;
mod queue;
mod records;
mod status;
mod submission;
mod submitting;
mod terminate;
mod texts;

pub use answer::refusal;
pub use effect::{
    Change, Effect, Errand, Input, KnownRequest, Names, NotAnswered, ProviderCommand, ProviderEvent, Unread, Whom,
    WorkerToRun,
};
pub use job::SLURM;
pub use link::{Link, LinkTrouble};
pub use model::{ClientId, Injection, InjectionState, JobNow, Node, Swarm};
pub use records::Passage;
pub use submission::{Stage, Submission, batch_job};

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::time::Duration;

use codeswarm_configs::SlurmSection;
use codeswarm_protocol::event::{ProviderInfo, RouterEvent, RouterWord};
use codeswarm_protocol::frame::Ticket;
use codeswarm_protocol::launch::{AgentSpec, WorkerSpec};
use codeswarm_protocol::{InjectionId, JobId, NodeId, Place, Position, RequestId, SwarmId, Timestamp};

use model::{Awaited, Outgoing};

/// A moment: one clock that only goes forward, for deciding, and one for people.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    /// Since an arbitrary start.
    pub now: Duration,
    /// On the wall.
    pub wall: Timestamp,
}

/// What the configuration says to the core.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// How long an accepted prompt may wait for its inbox.
    pub inject_timeout: Duration,
    /// The longest prompt, in bytes.
    pub max_prompt_bytes: usize,
    /// The most nodes of one swarm.
    pub max_nodes: u32,
    /// The providers; one of them is the default.
    pub providers: Vec<ProviderInfo>,
    /// The agent of new swarms.
    pub agent: AgentSpec,
    /// The workers of new swarms.
    pub worker: WorkerSpec,
    /// This process.
    pub pid: u32,
    /// What a Slurm provider asks for; absent where there is none.
    pub slurm: Option<SlurmSettings>,
    /// How the link to the mailbox is at first.
    pub link: Link,
}

/// What the configuration says about Slurm.
#[derive(Debug, Clone, PartialEq)]
pub struct SlurmSettings {
    /// What is asked of `sbatch` unless a launch says otherwise.
    pub section: SlurmSection,
    /// The text of a batch script template that stands in for the built-in one.
    pub template: Option<String>,
    /// The mailbox's root folder, as the cluster names it.
    pub root: String,
    /// How often at most the queue is looked at.
    pub poll: Duration,
}

/// The whole of what the router knows.
#[derive(Debug)]
pub struct Core {
    settings: Settings,
    swarms: BTreeMap<SwarmId, Swarm>,
    jobs: HashMap<JobId, SwarmId>,
    nodes: BTreeMap<Place, Node>,
    /// Only those that have not ended.
    injections: HashMap<InjectionId, Injection>,
    texts: texts::Texts,
    tickets: HashMap<Ticket, Awaited>,
    last_ticket: u64,
    /// Swarms whose mailbox files are still being made.
    preparing: BTreeSet<SwarmId>,
    /// Swarms of an earlier life, whose workers may be running.
    resumed: BTreeSet<SwarmId>,
    /// Bytes of appends that are under way, and the nodes that wait for their number to fall.
    appending_bytes: usize,
    held_back: VecDeque<Place>,
    link: Link,
    /// Launches on their way to Slurm.
    submissions: BTreeMap<SwarmId, Submission>,
    /// Commands that name jobs which are being looked up.
    adopting: BTreeMap<JobId, adopt::Adoption>,
    /// Who waits for a swarm's heartbeats.
    asking_status: HashMap<SwarmId, Vec<answer::Asker>>,
    /// A look at the queue is under way.
    looking: bool,
    /// What was told about Slurm since it answered last.
    slurm_troubles: BTreeSet<String>,
    timers: BTreeSet<(Duration, Timer)>,
    stopping: bool,
}

/// What is handed in with every step besides the input: the moment, and a source of new names.
pub struct Context<'a> {
    /// When it happens.
    pub at: Moment,
    /// New ids.
    pub names: &'a mut dyn Names,
    /// Where effects go, in order.
    pub effects: &'a mut Vec<Effect>,
}

impl Context<'_> {
    fn save(&mut self, change: Change) {
        self.effects.push(Effect::Save(change));
    }

    fn tell(&mut self, whom: Whom, event: RouterEvent) {
        self.effects.push(Effect::Tell { whom, event });
    }

    fn event(&self, word: RouterWord) -> RouterEvent {
        RouterEvent::new(word, self.at.wall)
    }
}

impl Core {
    /// A router that knows nothing yet; what was stored is put in by [`Core::restore`].
    pub fn new(settings: Settings) -> Self {
        Self {
            link: settings.link.clone(),
            settings,
            submissions: BTreeMap::new(),
            adopting: BTreeMap::new(),
            asking_status: HashMap::new(),
            looking: false,
            slurm_troubles: BTreeSet::new(),
            swarms: BTreeMap::new(),
            jobs: HashMap::new(),
            nodes: BTreeMap::new(),
            injections: HashMap::new(),
            texts: texts::Texts::limited_to(texts::MAX_WAITING_BYTES),
            tickets: HashMap::new(),
            last_ticket: 0,
            preparing: BTreeSet::new(),
            resumed: BTreeSet::new(),
            appending_bytes: 0,
            held_back: VecDeque::new(),
            timers: BTreeSet::new(),
            stopping: false,
        }
    }

    /// Puts stored state back and says what follows from it: files to watch, prompts to settle, workers to find.
    pub fn restore(
        &mut self,
        swarms: Vec<Swarm>,
        nodes: Vec<(Place, Node)>,
        mut injections: Vec<Injection>,
        submissions: Vec<Submission>,
        context: &mut Context<'_>,
    ) {
        for swarm in swarms {
            self.jobs.insert(swarm.job_id.clone(), swarm.swarm_id.clone());
            self.swarms.insert(swarm.swarm_id.clone(), swarm);
        }
        for (place, node) in nodes {
            self.nodes.insert(place, node);
        }
        injections.sort_by_key(|injection| injection.number);
        for injection in injections {
            self.take_back(injection, context);
        }
        self.restore_submissions(submissions);
        let live = |swarm: &&Swarm| !swarm.status.is_over();
        for swarm in self.swarms.values().filter(live).cloned().collect::<Vec<_>>() {
            self.resume_swarm(&swarm, context);
        }
        for place in self.nodes.keys().cloned().collect::<Vec<_>>() {
            self.deliver_next(&place, context);
        }
        if self.link_is_up() {
            self.jobs_after_link_up(context);
        }
    }

    /// One thing happened.
    pub fn step(&mut self, input: Input, context: &mut Context<'_>) {
        match input {
            Input::Command { client, request, known } => self.command(client, request, known, context),
            Input::Appended { ticket, offset } => self.appended(ticket, offset, context),
            Input::AppendFailed {
                ticket,
                may_have_happened,
                error,
            } => {
                self.append_failed(ticket, may_have_happened, &error, context);
            }
            Input::Prepared { ticket, error } => self.prepared(ticket, error, context),
            Input::OutboxRead {
                ticket,
                next,
                done,
                unread,
            } => self.outbox_read(ticket, next, done, unread, context),
            Input::OutboxEnded { place } => self.outbox_ended(&place, context),
            Input::OutboxReopened { place } => self.outbox_reopened(&place, context),
            Input::Provider(event) => self.provider(event, context),
            Input::Heartbeats { ticket, data } => self.heartbeats(ticket, &data, context),
            Input::LinkUp { binary } => self.link_up(binary, context),
            Input::LinkDown(trouble) => self.link_down(trouble, context),
            Input::Tick => self.tick(context),
        }
    }

    /// When [`Input::Tick`] is wanted next.
    pub fn deadline(&self) -> Option<Duration> {
        self.timers.first().map(|(when, _)| *when)
    }

    /// Whether a client asked for the router's end.
    pub fn is_stopping(&self) -> bool {
        self.stopping
    }

    /// How many swarms are not over, those on their way to Slurm included.
    pub fn live_swarms(&self) -> usize {
        self.submissions.len() + self.swarms.values().filter(|swarm| !swarm.status.is_over()).count()
    }

    /// Whether an answer to this client waits for the login node or for files.
    pub fn owes_an_answer(&self, client: ClientId) -> bool {
        let launching = self
            .submissions
            .values()
            .filter_map(|submission| submission.asker.as_ref());
        let adopting = self.adopting.values().flat_map(adopt::Adoption::askers);
        let asking = self.asking_status.values().flatten();
        launching
            .chain(adopting)
            .chain(asking)
            .any(|asker| asker.client == client)
    }

    /// A swarm by name.
    pub fn swarm(&self, swarm_id: &SwarmId) -> Option<&Swarm> {
        self.swarms.get(swarm_id)
    }

    /// All swarms.
    pub fn swarms(&self) -> impl Iterator<Item = &Swarm> {
        self.swarms.values()
    }

    /// The swarm of a job.
    pub fn swarm_of(&self, job_id: &JobId) -> Option<&SwarmId> {
        self.jobs.get(job_id)
    }

    /// A node by place.
    pub fn node(&self, place: &Place) -> Option<&Node> {
        self.nodes.get(place)
    }

    /// Whether an injection has not ended.
    pub fn is_open(&self, id: &InjectionId) -> bool {
        self.injections.contains_key(id)
    }

    /// The request that caused an injection that is open, or ended not long ago.
    pub fn request_of(&self, place: &Place, injection: &str) -> Option<&RequestId> {
        let id = InjectionId::new(injection).ok()?;
        match self.injections.get(&id) {
            Some(open) if open.place == *place => open.request_id.as_ref(),
            _ => {
                let recent = &self.nodes.get(place)?.recent;
                recent
                    .iter()
                    .find(|(ended, _)| *ended == id)
                    .map(|(_, request_id)| request_id)
            }
        }
    }

    /// The word about a swarm that tells a newcomer how it is now.
    pub fn swarm_event(&self, swarm_id: &SwarmId, at: Moment) -> Option<RouterEvent> {
        let swarm = self.swarms.get(swarm_id)?;
        let word = if swarm.status.is_over() {
            RouterWord::SwarmTerminated {
                status: swarm.status,
                reason: swarm.reason.clone(),
            }
        } else {
            RouterWord::SwarmStatus {
                node_count: swarm.node_count,
                status: swarm.status,
                slurm_state: swarm.slurm_state(),
                reason: swarm.job.as_ref().and_then(|job| job.reason.clone()),
                nodes: Vec::new(),
            }
        };
        Some(swarm.event(word, at.wall))
    }

    fn swarm_of_job(&self, job_id: &JobId) -> Option<&Swarm> {
        self.swarms.get(self.jobs.get(job_id)?)
    }

    fn swarm_of_job_mut(&mut self, job_id: &JobId) -> Option<&mut Swarm> {
        self.swarms.get_mut(self.jobs.get(job_id)?)
    }

    /// The nodes of a job, in order of rank; none of a job that is not known.
    fn nodes_of(&self, job_id: &JobId) -> impl Iterator<Item = (&Place, &Node)> + Clone {
        let first = Place::new(job_id.clone(), NodeId::FIRST);
        let of_job = move |(place, _): &(&Place, &Node)| place.job_id == *job_id;
        self.nodes.range(first..).take_while(of_job)
    }

    /// Whether no worker of a job will ever read an inbox again.
    fn all_over(&self, job_id: &JobId) -> bool {
        self.nodes_of(job_id).all(|(_, node)| node.is_over())
    }

    /// Stores a swarm as it is now.
    fn save_swarm_of(&self, job_id: &JobId, context: &mut Context<'_>) {
        if let Some(swarm) = self.swarm_of_job(job_id) {
            context.save(Change::of_swarm(swarm.clone()));
        }
    }

    fn ticket(&mut self, awaited: Awaited) -> Ticket {
        self.last_ticket += 1;
        let ticket = Ticket(self.last_ticket);
        self.tickets.insert(ticket, awaited);
        ticket
    }

    /// Says something in a node's stream: numbered behind the record passed on last, stored, then told.
    fn say_of_node(
        &mut self,
        place: &Place,
        injection: Option<(&InjectionId, Option<&RequestId>)>,
        word: RouterWord,
        context: &mut Context<'_>,
    ) -> Position {
        let mut event = context.event(word);
        let position = self.nodes.get_mut(place).map_or(Position::START, |node| {
            node.position.sub += 1;
            node.position
        });
        event.seq = Some(position.seq);
        event.sub = Some(position.sub);
        event.swarm_id = self.jobs.get(&place.job_id).cloned();
        event.job_id = Some(place.job_id.clone());
        event.node_id = Some(place.node_id);
        if let Some((id, request_id)) = injection {
            event.injection_id = Some(id.clone());
            event.request_id = request_id.cloned();
        }
        context.save(Change::Said {
            place: place.clone(),
            position,
            event: event.clone(),
        });
        context.tell(
            Whom::Node {
                place: place.clone(),
                position,
            },
            event,
        );
        position
    }

    fn tick(&mut self, context: &mut Context<'_>) {
        while let Some(timer) = self.pop_due(context.at.now) {
            match timer {
                Timer::Delivery(injection_id) => self.delivery_timed_out(&injection_id, context),
                Timer::Retry(place) => self.deliver_next(&place, context),
                Timer::Rest(place) => self.look_for_the_end(&place, context),
                Timer::LastRecord(place) => self.last_record(&place, context),
                Timer::Prepare(swarm_id) => self.prepare(&swarm_id, context),
                Timer::Submission(swarm_id) => self.submission_due(&swarm_id, context),
                Timer::Adoption(job_id) => self.adoption_due(&job_id, context),
                Timer::Job(job_id) => self.show_job(&job_id, context),
                Timer::Cancel(job_id) => self.cancel_job(&job_id, context),
                Timer::Queue => self.look_at_the_queue(context),
                Timer::Status(swarm_id) => self.answer_waiting_status(&swarm_id, context),
            }
        }
    }

    fn pop_due(&mut self, now: Duration) -> Option<Timer> {
        if self.deadline()? > now {
            return None;
        }
        self.timers.pop_first().map(|(_, timer)| timer)
    }
}

/// What is to be looked at when its time comes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Timer {
    /// An accepted prompt should be in its inbox by now.
    Delivery(InjectionId),
    /// An append whose outcome is unknown is to be settled.
    Retry(Place),
    /// Whether an outbox whose worker is gone was read to its end.
    Rest(Place),
    /// The last record of an outbox in the archive was waited for.
    LastRecord(Place),
    /// The mailbox files of a swarm of an earlier life could not be made.
    Prepare(SwarmId),
    /// A launch on its way to Slurm is to go on, or has waited too long.
    Submission(SwarmId),
    /// A command has waited too long for its job to be looked up.
    Adoption(JobId),
    /// A job is to be looked at out of turn.
    Job(JobId),
    /// A job's workers had time to end.
    Cancel(JobId),
    /// The queue is to be looked at.
    Queue,
    /// Heartbeats are not waited for any longer.
    Status(SwarmId),
}

/// What waits to be appended to one node's inbox, in order; one append is under way at a time.
type Line = VecDeque<Outgoing>;

#[cfg(test)]
mod tests;
