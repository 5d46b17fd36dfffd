//! What the router itself says to its clients. Together with the words of workers ([`crate::record`]) these are all events.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::ids::{Epoch, InjectionId, JobId, NodeId, RequestId, Seq, SwarmId};
use crate::position::Position;
use crate::rejection::RejectionCode;
use crate::timestamp::Timestamp;
use crate::turn::{TurnError, TurnStatus, Usage};

/// One event of the router's own.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RouterEvent {
    /// What is said.
    #[serde(flatten)]
    pub word: RouterWord,
    /// The command that caused it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<RequestId>,
    /// The swarm.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub swarm_id: Option<SwarmId>,
    /// The job.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job_id: Option<JobId>,
    /// The node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node_id: Option<NodeId>,
    /// The injection.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub injection_id: Option<InjectionId>,
    /// For an event of a node's stream: the outbox record that it stands behind.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seq: Option<Seq>,
    /// The how-manieth of the router's words behind that record, from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sub: Option<u32>,
    /// When, by the router's clock.
    pub timestamp: Timestamp,
}

impl RouterEvent {
    /// An event that names nothing yet.
    pub fn new(word: RouterWord, timestamp: Timestamp) -> Self {
        Self {
            word,
            request_id: None,
            swarm_id: None,
            job_id: None,
            node_id: None,
            injection_id: None,
            seq: None,
            sub: None,
            timestamp,
        }
    }
}

/// The life of a swarm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SwarmState {
    /// Its job waits, or its workers are on their way up.
    Pending,
    /// All its workers are up.
    Running,
    /// Its end was asked for.
    Terminating,
    /// All its workers have ended.
    Terminated,
    /// It ended without being asked to.
    Failed,
}

impl SwarmState {
    /// Whether it takes prompts.
    pub fn takes_prompts(self) -> bool {
        matches!(self, Self::Pending | Self::Running)
    }

    /// Whether nothing more will come of it.
    pub fn is_over(self) -> bool {
        matches!(self, Self::Terminated | Self::Failed)
    }
}

/// The life of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum NodeState {
    /// Its worker has not said anything yet.
    Pending,
    /// Its worker is up, its agent not yet.
    Starting,
    /// Waits for a prompt.
    Idle,
    /// In a turn.
    Busy,
    /// Its worker has ended in order.
    Exited,
    /// Its worker is gone without a word.
    Lost,
}

/// One prompt in `recalled`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RecalledInjection {
    /// The injection.
    pub injection_id: InjectionId,
    /// The job.
    pub job_id: JobId,
    /// The node.
    pub node_id: NodeId,
}

/// One node in `swarm_status`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct NodeStatus {
    /// The rank.
    pub node_id: NodeId,
    /// How it is.
    pub state: NodeState,
    /// The host it runs on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// Its agent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<String>,
    /// The worker's incarnation.
    pub epoch: Epoch,
    /// The injection it works on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub injection_id: Option<InjectionId>,
    /// Injections accepted for it and not yet ended, the running one included.
    pub open_injections: u32,
    /// Turns that have ended.
    pub turns: u64,
    /// Tokens of all its turns.
    pub tokens: u64,
    /// The last record read.
    pub seq: Seq,
    /// Its type.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_event: Option<String>,
    /// When the worker wrote it, by the compute node's clock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_event_at: Option<Timestamp>,
    /// The last trouble, until a turn completes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// When its worker last said that it lives, by the compute node's clock; absent where that is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub heartbeat_at: Option<Timestamp>,
}

/// One swarm in `swarm_list`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SwarmSummary {
    /// Its job.
    pub job_id: JobId,
    /// How many nodes.
    pub node_count: u32,
    /// Its first prompt, cut at 200 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub system_prompt: Option<String>,
    /// How it is.
    pub status: SwarmState,
    /// What runs it.
    pub provider: String,
    /// Its agents.
    pub agent: String,
    /// When it was launched.
    pub created: Timestamp,
}

/// One provider in `providers_list`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ProviderInfo {
    /// Its name.
    pub name: String,
    /// Whether a launch without `provider` uses it.
    pub default: bool,
    /// What it does.
    pub description: String,
}

/// What the router can say.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum RouterWord {
    /// The prompt is accepted and durable: it will be delivered, or fail with a word. One for each node.
    InjectAck {},
    /// The prompt is in the node's inbox and durable there.
    InjectDelivered {},
    /// Whether the prompt reached the inbox is not known yet; it will be settled by reading the inbox.
    InjectPending {
        /// A word, such as `timeout`.
        error: String,
        /// A sentence.
        reason: String,
    },
    /// The prompt was not started and never will be. (Workers say it too.)
    InjectFailed {
        /// A word to act on: `timeout`, `node_lost`, `swarm_ended`, `worker_exit`, `queue_full`, …
        error: String,
        /// A sentence.
        reason: String,
    },
    /// The end of a turn whose worker can no longer say it.
    TurnComplete {
        /// `failed`.
        status: TurnStatus,
        /// Why.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        error: Option<TurnError>,
        /// Tokens, where known.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        usage: Option<Usage>,
    },
    /// The interrupt is on its way to the node; `turn_complete` tells the rest.
    InterruptAck {},
    /// The answer is on its way to the node; `approval_resolved` tells the rest.
    ApprovalAck {
        /// The question's name.
        call_id: String,
    },
    /// A command was refused and has changed nothing.
    CommandRejected {
        /// For programs.
        code: RejectionCode,
        /// The field that is wrong.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        field: Option<String>,
        /// For people.
        reason: String,
    },
    /// The swarm exists, durably, and its job is submitted.
    SwarmLaunched {
        /// How many nodes.
        node_count: u32,
        /// `pending` at first.
        status: SwarmState,
        /// What runs it.
        provider: String,
        /// Slurm's word for how its job is.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        slurm_state: Option<String>,
        /// Why the job waits, in Slurm's word.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        slurm_reason: Option<String>,
    },
    /// A job that this router did not launch is known from now on, as a swarm.
    SwarmAdopted {
        /// How many nodes: the tasks of the job.
        node_count: u32,
        /// How it is.
        status: SwarmState,
        /// What runs it.
        provider: String,
    },
    /// A node's worker and agent are up.
    NodeReady {
        /// The host it runs on.
        host: String,
        /// Its agent.
        agent: String,
    },
    /// A node's worker is gone without a word; its open injections end.
    NodeLost {
        /// What is known.
        reason: String,
    },
    /// How a swarm is: an answer to `swarm_status`, and whenever its state changes.
    SwarmStatus {
        /// How many nodes.
        node_count: u32,
        /// How it is.
        status: SwarmState,
        /// The provider's own word, such as Slurm's job state.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        slurm_state: Option<String>,
        /// Why the job waits, or what became of it, in a sentence.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
        /// Each node; only in the answer to the command.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        nodes: Vec<NodeStatus>,
    },
    /// A request is known; what it has caused is told again from its start; then `caught_up`, then what comes of it.
    Recalled {
        /// The request's own `request_id`, which all that it caused carries.
        of: RequestId,
        /// The prompts that it caused: one `inject_ack` each, and one end. None of a launch without a first prompt.
        injections: Vec<RecalledInjection>,
    },
    /// All swarms that this router knows.
    SwarmList {
        /// By `swarm_id`.
        swarms: BTreeMap<SwarmId, SwarmSummary>,
    },
    /// A swarm has ended and its outboxes are in the archive.
    SwarmTerminated {
        /// `terminated`, or `failed` when it ended without being asked to.
        status: SwarmState,
        /// What is known, when it was not asked to.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    },
    /// The subscription stands; what it brings follows.
    Subscribed {
        /// Behind which place it begins in the stream of each node, by `<job_id>_<node_id>`, also of a node that has said
        /// nothing yet.
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        positions: BTreeMap<String, Position>,
    },
    /// Everything before the subscription has been sent; what follows is new.
    CaughtUp {
        /// Where the stream of each node stands, by `<job_id>_<node_id>`: what a client that comes back says in `since`,
        /// also of a node of which it has heard nothing. A node that has said nothing yet is left out.
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        positions: BTreeMap<String, Position>,
    },
    /// Bytes of an outbox that are no record were passed over.
    RecordsSkipped {
        /// The file.
        file: String,
        /// Where they start, in bytes.
        offset: u64,
        /// How many.
        length: u64,
        /// The first of them.
        head: String,
    },
    /// Trouble with the shared filesystem or the state, and what to do.
    RouterTrouble {
        /// What, where, what to do.
        message: String,
    },
    /// The link to the login node is up or down, or on its way up. While it is down, commands wait.
    Link {
        /// Up.
        up: bool,
        /// The login node's own name, when it is up.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        host: Option<String>,
        /// Why it is down, or what is being done to bring it up.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
        /// What to do, where a person must act; absent where it passes by itself.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        advice: Option<String>,
    },
    /// The providers.
    ProvidersList {
        /// All of them.
        providers: Vec<ProviderInfo>,
    },
    /// An answer to `ping`.
    Pong {
        /// Version of the router.
        version: String,
        /// Its process id.
        pid: u32,
        /// How many swarms are not over.
        live_swarms: u32,
    },
    /// The router ends; swarms go on.
    ShuttingDown {},
}
