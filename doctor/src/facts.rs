//! What a probe tells the doctor: one JSON object on its standard output. Both are the same program, so there are no versions.

use codeswarm_protocol::launch::AgentSpec;
use serde::{Deserialize, Serialize};

/// What the probes are to look at; written into the exchange folder.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Ask {
    /// Tells this exchange from any other.
    pub nonce: String,
    /// The program, by its path on the cluster.
    pub program: String,
    /// The agent of the configuration; its `env` holds references, no secrets.
    pub agent: AgentSpec,
    /// How long the node waits for the login node.
    pub patience_seconds: u64,
}

/// The workspace as one machine sees it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WorkspaceFacts {
    /// That machine.
    pub host: String,
    /// The mailbox's root folder.
    pub root: String,
    /// Why it cannot be used, as a follower or a worker would say it.
    pub refused: Option<String>,
    /// A shared filesystem's name, such as `nfs`; absent for a disk of that machine.
    pub shared: Option<String>,
    /// How long a small file took to be written durably, read and removed, in milliseconds.
    pub write_ms: Option<f64>,
    /// Locks between two descriptors of that machine.
    pub lock: Lock,
    /// Room there.
    pub space: Option<Space>,
    /// Who holds the mailbox.
    pub held_by: Option<String>,
}

/// What a second flock(2) of a file that is locked got.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Lock {
    /// It was refused, as it should be.
    Excludes,
    /// It was granted.
    DoesNotExclude,
    /// The filesystem does not lock, in its own words.
    Fails(String),
    /// It was not tried.
    #[default]
    Untried,
}

/// Room on a filesystem.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Space {
    /// For us, in bytes.
    pub free_bytes: u64,
    /// All of it.
    pub total_bytes: u64,
    /// Files that can still be made.
    pub free_inodes: u64,
    /// All of them; 0 where the filesystem does not count.
    pub total_inodes: u64,
}

/// What the login node's end of the exchange saw.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ExchangeFacts {
    /// From a line written there, and synced, to the node's answer seen there, in milliseconds; absent: none came.
    pub round_trip_ms: Option<f64>,
    /// The node's clock less the login node's, in seconds, known to half of the round trip.
    pub node_clock_ahead: Option<f64>,
    /// Why the lock for the node to try could not be taken.
    pub no_lock: Option<String>,
    /// What the node told.
    pub node: Option<NodeFacts>,
}

/// What a compute node is like from within a job.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NodeFacts {
    /// The host's own name.
    pub host: String,
    /// Slurm's name for the node.
    pub node: Option<String>,
    /// A shared filesystem's name; absent for a disk of that machine.
    pub shared: Option<String>,
    /// What locking the file got that the login node holds.
    pub lock: Lock,
    /// Room in the workspace, seen from there.
    pub space: Option<Space>,
    /// Everything that is no matter of the exchange.
    pub host_facts: HostFacts,
}

/// A machine on which agents run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HostFacts {
    /// `TMPDIR`, where agents have their homes.
    pub tmp: String,
    /// Why nothing can be written there.
    pub tmp_refused: Option<String>,
    /// A shared filesystem's name.
    pub tmp_shared: Option<String>,
    /// Room there.
    pub tmp_space: Option<Space>,
    /// Memory in MiB: all, and what is available now.
    pub memory_mib: Option<(u64, u64)>,
    /// Whether an unprivileged process may make a user namespace; absent where the agent needs none or it cannot be tried.
    pub user_namespaces: Option<bool>,
    /// The agent.
    pub agent: AgentFacts,
    /// The model's service; absent where the agent has none or its address is not known.
    pub endpoint: Option<EndpointFacts>,
}

/// The agent's program and variables.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentFacts {
    /// The program; absent for an agent that is built in.
    pub program: Option<String>,
    /// What it says of its version.
    pub version: Option<String>,
    /// Why there is no program, or why it does not start.
    pub refused: Option<String>,
    /// The variables that the configuration names.
    pub variables: Vec<String>,
    /// Which of them is not set, as the worker would say it.
    pub missing: Option<String>,
}

/// An attempt to reach the model's service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndpointFacts {
    /// The address of the configuration, without what may be secret in it.
    pub url: String,
    /// The proxy that the environment names for it.
    pub proxy: Option<String>,
    /// What came back: the first line of an HTTP answer, or that the port is open.
    pub reached: Option<String>,
    /// Why not.
    pub refused: Option<String>,
    /// How long it took, in milliseconds.
    pub milliseconds: u64,
}
