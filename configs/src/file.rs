//! The configuration file as it is written: the one definition of its keys, their defaults and their ranges.
//!
//! Doc comments of fields are the text of `docs/CONFIGURATION.md`.

use std::path::PathBuf;

use codeswarm_protocol::launch::{AgentSpec, WorkerSpec};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The whole file.
#[derive(Debug, Clone, PartialEq, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ConfigFile {
    /// How to reach the login node of a cluster. Absent: the router runs where the workspace is, on this machine or on
    /// the login node itself.
    pub ssh: Option<SshSection>,
    /// Where the agents run and which folder everybody there shares.
    pub cluster: ClusterSection,
    /// The router's own settings.
    pub router: RouterSection,
    /// Which agent a worker starts, and how.
    pub agent: AgentSpec,
    /// The process beside each agent.
    pub worker: WorkerSpec,
}

/// The `ssh` section.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SshSection {
    /// The host as your own ssh configuration knows it: an alias, a host name, or `user@host`. `ssh <login_alias>` must
    /// work without a question.
    pub login_alias: String,
    /// The control socket of an ssh connection that you have already opened (`ssh -M -S <control_path> …`, for instance
    /// after a second factor); it is used as it is. Absent: a connection of our own is opened.
    #[serde(default)]
    pub control_path: Option<String>,
    /// The ssh configuration file to use (`ssh -F`) instead of your own. Absent: your own, as `ssh` finds it.
    #[serde(default)]
    pub config_file: Option<String>,
}

/// The `cluster` section.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ClusterSection {
    /// Where the workers run.
    pub backend: Option<BackendWord>,
    /// The folder that the router's side and every node share. On a cluster that is reached by ssh it is the absolute
    /// path there.
    pub workspace_root: Option<String>,
    /// The folder below `workspace_root` that is ours: mailbox, working directories and deployed binaries.
    pub cluster_subdir: Option<String>,
    /// How the follower learns that an outbox grew.
    pub watch: Watch,
    /// Where the follower listens for the workers' hints that a file has grown, on the cluster's own network: `"auto"`, `"off"`,
    /// or `{"listen": "ADDRESS"}` with an IP address of the login node, with or without a port (`10.0.0.7:4711`).
    pub doorbell: DoorbellSetting,
    /// The absolute path of a `codeswarm` binary that is already installed on the cluster. Absent: one is deployed into
    /// the workspace.
    pub remote_binary: Option<String>,
    /// A `codeswarm` binary on this machine to deploy into the workspace: a static build, say, or one for the cluster's
    /// platform. Absent: the running one is deployed. Not together with `remote_binary`.
    pub binary: Option<String>,
    /// What is asked of Slurm for each swarm.
    pub slurm: Option<SlurmSection>,
}

/// The words of `cluster.backend`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum BackendWord {
    /// Workers are processes on this machine.
    Local,
    /// Workers are the tasks of a Slurm job.
    Slurm,
}

/// How the follower watches the mailbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Watch {
    /// The kind of the filesystem decides: inotify on a local one, polling on a network filesystem.
    #[default]
    Auto,
    /// Always inotify; right only where every writer is on the follower's own machine.
    Inotify,
    /// Always polling.
    Poll,
}

/// What may be written for `cluster.doorbell`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum DoorbellSetting {
    /// A word.
    Word(DoorbellWord),
    /// An address.
    At(DoorbellAddress),
}

impl Default for DoorbellSetting {
    fn default() -> Self {
        Self::Word(DoorbellWord::Auto)
    }
}

/// The words of `cluster.doorbell`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum DoorbellWord {
    /// Where the mailbox must be polled, at all addresses of the login node and a port that the system gives; elsewhere
    /// nowhere.
    Auto,
    /// Nowhere.
    Off,
}

/// An address to listen at.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DoorbellAddress {
    /// At this IP address of the login node, with or without a port. `0.0.0.0` is all of its addresses.
    pub listen: String,
}

/// The `cluster.slurm` section: defaults of a launch, each handed to the `sbatch` option of the same name, and how the
/// router deals with Slurm. Written out, it is what a launch asked for; absent options are left out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SlurmSection {
    /// The partition; absent: the cluster's default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub partition: Option<String>,
    /// The account that is charged.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    /// The quality of service.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub qos: Option<String>,
    /// The longest a swarm may run, as `sbatch --time` takes it: `minutes`, `minutes:seconds`, `hours:minutes:seconds`,
    /// `days-hours`, `days-hours:minutes` or `days-hours:minutes:seconds`. Absent: the partition's default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time_limit: Option<String>,
    /// Features that the nodes must have.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub constraint: Option<String>,
    /// Generic resources of each node, such as `gpu:1`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gres: Option<String>,
    /// How many workers, each with its agent, share one node.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1024))]
    pub agents_per_node: Option<u32>,
    /// Further options for `sbatch`, each one written whole (`--reservation=tuesday`).
    pub sbatch_args: Vec<String>,
    /// A file of this machine that takes the place of the built-in template of the batch script.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub template: Option<PathBuf>,
    /// How many seconds pass at least between two calls of `squeue`. Below 30 is for tests only: Slurm's controller is
    /// shared with everybody on the cluster.
    #[schemars(range(min = 1, max = 3600))]
    pub poll_seconds: u64,
}

impl Default for SlurmSection {
    fn default() -> Self {
        Self {
            partition: None,
            account: None,
            qos: None,
            time_limit: None,
            constraint: None,
            gres: None,
            agents_per_node: None,
            sbatch_args: Vec::new(),
            template: None,
            poll_seconds: 30,
        }
    }
}

/// The `router` section.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RouterSection {
    /// How long an accepted prompt may wait for its delivery, in seconds; then it fails and is never delivered.
    #[schemars(range(min = 1, max = 31_536_000))]
    pub inject_timeout_seconds: u64,
    /// Where the router keeps its state and its socket, on a local disk of this machine.
    pub state_dir: Option<String>,
    /// The longest prompt, in bytes of UTF-8. (Codex itself takes 1,048,576 characters.)
    #[schemars(range(min = 1, max = 10_485_760))]
    pub max_prompt_bytes: u64,
    /// A router in the background that has no client and no live swarm ends after this many seconds. Absent: 600. One that is a
    /// program's child or follows a batch ends with its input instead.
    #[schemars(range(min = 1, max = 31_536_000))]
    pub idle_exit_seconds: Option<u64>,
}

impl Default for RouterSection {
    fn default() -> Self {
        Self {
            inject_timeout_seconds: 60,
            state_dir: None,
            max_prompt_bytes: 8 * 1024 * 1024,
            idle_exit_seconds: None,
        }
    }
}
