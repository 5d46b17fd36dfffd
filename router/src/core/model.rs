//! What the core knows of a swarm, a node and an injection.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use codeswarm_protocol::event::{NodeState, RouterEvent, RouterWord, SwarmState};
use codeswarm_protocol::frame::Ticket;
use codeswarm_protocol::inbox::Control;
use codeswarm_protocol::launch::LaunchSpec;
use codeswarm_protocol::{Epoch, InjectionId, JobId, Place, Position, RequestId, SwarmId, Timestamp};

/// A connection of a client, named by the shell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClientId(pub u64);

/// One launch and its nodes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Swarm {
    /// Its name.
    pub swarm_id: SwarmId,
    /// Its job.
    pub job_id: JobId,
    /// How many nodes.
    pub node_count: u32,
    /// The first prompt of every node.
    pub system_prompt: Option<String>,
    /// How it is.
    pub status: SwarmState,
    /// Why it ended without being asked to.
    pub reason: Option<String>,
    /// What runs it.
    pub provider: String,
    /// Its agents.
    pub agent: String,
    /// When it was launched.
    pub created: Timestamp,
    /// The request that launched it.
    pub request_id: Option<RequestId>,
    /// What its workers are told.
    pub spec: LaunchSpec,
    /// What Slurm says of its job; absent where no Slurm runs it.
    #[serde(default)]
    pub job: Option<JobNow>,
}

/// A Slurm job, as far as it is known.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct JobNow {
    /// Slurm's word for its state.
    pub state: Option<String>,
    /// Why it waits, or what became of it.
    pub reason: Option<String>,
    /// How often it was run again.
    pub restarts: u32,
    /// How many workers share a node of the cluster.
    pub agents_per_node: u32,
    /// Its machines in Slurm's notation when some were missing and that was seen to, and in which of its lives (counted as
    /// in `restarts`).
    pub hosts: Option<(u32, String)>,
    /// It is over for good: what became of it, in a sentence.
    pub over: Option<String>,
    /// The controller did not know it when it was asked: how often in a row, and since when.
    #[serde(skip)]
    pub(super) missing: Option<(u32, Duration)>,
    /// When an answer about it came last.
    #[serde(skip)]
    pub(super) heard: Option<Duration>,
    /// How often it was looked at out of turn.
    #[serde(skip)]
    pub(super) looks: u32,
}

impl JobNow {
    /// What became of it. That a worker failed is all that Slurm knows; `said` is what a worker has said of it.
    pub(super) fn over_with(&self, said: Option<&str>) -> Option<String> {
        let over = self.over.as_deref()?;
        let said = said.filter(|_| self.state.as_deref() == Some("FAILED"));
        Some(said.map_or_else(|| over.to_owned(), |said| format!("{over}. A worker says: {said}")))
    }

    /// One of which nothing is known but how many workers share a node.
    pub fn of(agents_per_node: u32) -> Self {
        Self {
            agents_per_node,
            ..Self::default()
        }
    }
}

impl Swarm {
    /// An event about the swarm as a whole.
    pub fn event(&self, word: RouterWord, wall: Timestamp) -> RouterEvent {
        let mut event = RouterEvent::new(word, wall);
        event.swarm_id = Some(self.swarm_id.clone());
        event.job_id = Some(self.job_id.clone());
        event
    }
}

/// One node: what its outbox has said so far. What an older version did not store is as in the beginning.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Node {
    /// How it is.
    pub state: NodeState,
    /// The host it runs on.
    pub host: Option<String>,
    /// The worker's process there.
    pub pid: Option<u32>,
    /// When that process started, in the host's ticks.
    pub pid_started: Option<u64>,
    /// The worker's incarnation.
    pub epoch: Epoch,
    /// The end of its stream as passed on.
    pub position: Position,
    /// Bytes of its outbox that were read.
    pub offset: u64,
    /// Whether its outbox is in the archive and was read to its end.
    pub ended: bool,
    /// The injection it works on.
    pub current: Option<InjectionId>,
    /// Turns that have ended.
    pub turns: u64,
    /// Tokens of all its turns.
    pub tokens: u64,
    /// The last trouble, until a turn completes.
    pub error: Option<String>,
    /// The type of the last record.
    #[serde(skip)]
    pub last_event: Option<String>,
    /// When it was written.
    #[serde(skip)]
    pub last_event_at: Option<Timestamp>,
    /// Questions of its agent that are not answered.
    pub approvals: BTreeSet<String>,
    /// How it ends once its outbox is read to the end: its worker is gone.
    #[serde(skip)]
    pub(super) ending: Option<Ending>,
    /// Until when its worker's last record is waited for, on the forward clock of this life: its outbox is in the archive.
    #[serde(skip)]
    pub(super) last_record_until: Option<Duration>,
    /// Whether its worker's last record was read.
    pub exit_said: bool,
    /// Whether a signal had told its worker to end, as Slurm does to a job that it will run again.
    pub told_to_end: bool,
    /// The requests of the injections that ended last, for the words that follow an end.
    #[serde(skip)]
    pub recent: VecDeque<(InjectionId, RequestId)>,
    /// Injections that have not ended, the running one included.
    #[serde(skip)]
    pub open: u32,
    /// What waits for its inbox.
    #[serde(skip)]
    pub(super) line: super::Line,
    /// The append that is under way.
    #[serde(skip)]
    pub(super) appending: Option<Ticket>,
    /// When its last record came, on the forward clock of this life.
    #[serde(skip)]
    pub(super) heard: Duration,
    /// When its worker last said that it lives, by its own clock.
    #[serde(skip)]
    pub(super) heartbeat_at: Option<Timestamp>,
    /// Clients were told that its outbox speaks of prompts of other nodes.
    #[serde(skip)]
    pub(super) told_of_anothers: bool,
}

impl Default for Node {
    fn default() -> Self {
        Self {
            state: NodeState::Pending,
            host: None,
            pid: None,
            pid_started: None,
            epoch: Epoch(0),
            position: Position::START,
            offset: 0,
            ended: false,
            current: None,
            turns: 0,
            tokens: 0,
            error: None,
            last_event: None,
            last_event_at: None,
            approvals: BTreeSet::new(),
            ending: None,
            last_record_until: None,
            exit_said: false,
            told_to_end: false,
            recent: VecDeque::new(),
            open: 0,
            line: super::Line::new(),
            appending: None,
            heard: Duration::ZERO,
            heartbeat_at: None,
            told_of_anothers: false,
        }
    }
}

impl Node {
    /// Whether no worker will ever read its inbox again.
    pub fn is_over(&self) -> bool {
        matches!(self.state, NodeState::Exited | NodeState::Lost)
    }
}

/// How far an injection is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum InjectionState {
    /// Acknowledged; not sent to the inbox yet.
    Accepted,
    /// Sent; whether it is in the inbox is not known.
    Sent,
    /// In the inbox.
    Delivered,
    /// The agent works on it.
    Started,
    /// Over.
    Ended,
}

/// One prompt to one node.
#[derive(Debug, Clone, PartialEq)]
pub struct Injection {
    /// Its name.
    pub injection_id: InjectionId,
    /// Where it goes.
    pub place: Place,
    /// The request that caused it.
    pub request_id: Option<RequestId>,
    /// The text, until it is delivered; nodes of one command share it.
    pub content: Option<Arc<str>>,
    /// Names the text in the store.
    pub prompt_number: u64,
    /// Joins the running turn.
    pub steer: bool,
    /// How far it is.
    pub state: InjectionState,
    /// Order of acceptance, over all nodes.
    pub number: u64,
    /// Where its acknowledgement stands in the node's stream.
    pub acknowledged_at: Position,
    /// When it was accepted, on the wall (survives a restart).
    pub accepted: Timestamp,
    /// When it is given up, on the forward clock of this life.
    pub deadline: Duration,
    /// Clients were told that its delivery is pending.
    pub told_pending: bool,
}

/// A worker is gone, and what it wrote last may not be read yet.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Ending {
    /// How the node is then.
    pub state: NodeState,
    /// What is known.
    pub reason: String,
    /// Since when the outbox cannot be read by the follower that is there now.
    pub unread_since: Option<Duration>,
}

/// Something on its way to an inbox.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Outgoing {
    /// A prompt.
    Prompt(InjectionId),
    /// A word about the running turn; acknowledged to this client when it is durable.
    Control {
        control: Control,
        client: ClientId,
        request_id: Option<RequestId>,
    },
}

/// What a ticket's answer is for.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Awaited {
    /// An append to this node's inbox, of so many bytes: the first of its line.
    Append(Place, usize),
    /// The mailbox files of a swarm that is being launched or found again.
    Prepare(SwarmId),
    /// The launch file of a swarm that is being launched.
    LaunchFile(SwarmId),
    /// The heartbeats of a swarm, which is this job.
    Heartbeats(SwarmId, JobId),
    /// What stands in this node's outbox behind what was read.
    Rest(Place),
}
