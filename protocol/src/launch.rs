//! What a worker is told at its start: the file `runs/<JOB>/launch.json`, written by the router before the job runs.
//!
//! It holds no secrets: environment values stay references such as `${NAME}` until the worker expands them.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::ids::{JobId, SwarmId};
use crate::turn::Decision;

/// The whole file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct LaunchSpec {
    /// Version of the software that wrote it; a worker of another version refuses it and names both.
    pub version: String,
    /// The swarm; absent for a job whose swarm is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub swarm_id: Option<SwarmId>,
    /// The job; absent when the job's number is known only to the job itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job_id: Option<JobId>,
    /// How many nodes the swarm has.
    pub node_count: u32,
    /// Which agent, and how.
    pub agent: AgentSpec,
    /// The worker's own settings.
    #[serde(default)]
    pub worker: WorkerSpec,
    /// What is written into `AGENTS.md` of each working directory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agents_md_content: Option<String>,
}

/// Which agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum AgentKind {
    /// Built in: streams the prompt back in words, and does what scripted prompts ask.
    #[default]
    Echo,
    /// OpenAI's Codex, through `codex app-server`.
    Codex,
}

impl AgentKind {
    /// The word in configurations and records.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Echo => "echo",
            Self::Codex => "codex",
        }
    }
}

/// What an agent's commands may touch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Sandbox {
    /// Nothing is written.
    ReadOnly,
    /// The working directory is written.
    WorkspaceWrite,
    /// No sandbox.
    DangerFullAccess,
}

/// When an agent asks before it acts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ApprovalPolicy {
    /// Before everything that is not known to be harmless.
    Untrusted,
    /// When it wants more than its sandbox allows.
    OnRequest,
    /// Never.
    Never,
}

/// Who answers when the agent asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Approvals {
    /// The worker says yes.
    Accept,
    /// The worker says no, and the turn goes on.
    #[default]
    Decline,
    /// A client answers with `approve_execution`; after `approval_timeout_seconds` the worker says no.
    Ask,
}

impl Approvals {
    /// The answer that needs nobody.
    pub fn by_policy(self) -> Option<Decision> {
        match self {
            Self::Accept => Some(Decision::Accept),
            Self::Decline => Some(Decision::Decline),
            Self::Ask => None,
        }
    }
}

/// The `agent` section of the configuration.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct AgentSpec {
    /// Which agent.
    pub kind: AgentKind,
    /// The program that is started, with arguments that stand before the adapter's own (`app-server --listen stdio://`).
    /// Absent: `codex` on the PATH. Where npm put its script there, the native binary beside it is started.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub command: Option<Vec<String>>,
    /// The model; absent: the agent's own default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// The model provider, for agents that know several.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model_provider: Option<String>,
    /// What the agent's commands may touch.
    pub sandbox: Sandbox,
    /// When the agent asks before it acts.
    pub approval_policy: ApprovalPolicy,
    /// Who answers when it asks.
    pub approvals: Approvals,
    /// How long a client may take to answer an approval, in seconds.
    #[schemars(range(min = 1, max = 31_536_000))]
    pub approval_timeout_seconds: u64,
    /// Variables for the agent's environment; `${NAME}` is taken from the worker's environment.
    pub env: BTreeMap<String, String>,
    /// The variable of the worker's environment whose value is handed to the agent as its API key, in memory only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub api_key_env: Option<String>,
    /// Written into the agent's own configuration; dotted keys or nested objects.
    pub config: serde_json::Map<String, serde_json::Value>,
    /// The longest a turn may take, in seconds; it ends as `failed` then.
    #[schemars(range(min = 1, max = 31_536_000))]
    pub turn_timeout_seconds: u64,
    /// How long the agent may take to start and to open its thread, in seconds.
    #[schemars(range(min = 1, max = 31_536_000))]
    pub start_timeout_seconds: u64,
    /// Also record each message of the agent as it came (`agent_raw`).
    pub raw_events: bool,
}

impl Default for AgentSpec {
    fn default() -> Self {
        Self {
            kind: AgentKind::Echo,
            command: None,
            model: None,
            model_provider: None,
            sandbox: Sandbox::WorkspaceWrite,
            approval_policy: ApprovalPolicy::Never,
            approvals: Approvals::Decline,
            approval_timeout_seconds: 600,
            env: BTreeMap::new(),
            api_key_env: None,
            config: serde_json::Map::new(),
            turn_timeout_seconds: 3600,
            start_timeout_seconds: 60,
            raw_events: false,
        }
    }
}

/// The `worker` section of the configuration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct WorkerSpec {
    /// How often an idle worker says that it lives, in seconds, at least 1.
    #[schemars(range(min = 1, max = 3600))]
    pub heartbeat_seconds: u64,
    /// How long a worker may take from SIGTERM to its end, in seconds; should be below the cluster's grace period.
    #[schemars(range(min = 1, max = 3600))]
    pub shutdown_grace_seconds: u64,
    /// How many prompts may wait in one worker; more are refused with `inject_failed`.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub queue_limit: u32,
}

impl Default for WorkerSpec {
    fn default() -> Self {
        Self {
            heartbeat_seconds: 15,
            shutdown_grace_seconds: 20,
            queue_limit: 1024,
        }
    }
}
