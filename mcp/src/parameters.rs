//! What each tool takes. The comments are what a model reads.

use codeswarm_protocol::launch::AgentKind;
use codeswarm_protocol::turn::Decision;
use codeswarm_protocol::{InjectionId, NodeId, NodeSelector, RequestId, SwarmId};
use schemars::JsonSchema;
use serde::Deserialize;

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Launch {
    /// How many nodes, each with a coding agent of its own.
    #[schemars(range(min = 1))]
    pub nodes: u32,
    /// A name that you choose for this launch, such as "launch-review-1". The same name again never launches twice.
    pub idempotency_key: RequestId,
    /// A first prompt for every node. Its answers are waited for under the same idempotency_key.
    #[serde(default)]
    pub prompt: Option<String>,
    /// Standing instructions, written as AGENTS.md into each agent's working directory.
    #[serde(default)]
    pub instructions: Option<String>,
    /// Another agent than the configured one.
    #[serde(default)]
    pub agent: Option<AgentKind>,
    /// Another model than the configured one.
    #[serde(default)]
    pub model: Option<String>,
    /// "slurm" or "local" (this machine), where the configuration allows both.
    #[serde(default)]
    pub provider: Option<String>,
    /// The Slurm partition.
    #[serde(default)]
    pub partition: Option<String>,
    /// The Slurm account that is charged.
    #[serde(default)]
    pub account: Option<String>,
    /// The Slurm quality of service.
    #[serde(default)]
    pub qos: Option<String>,
    /// The longest the swarm may run, as sbatch --time takes it, such as "02:00:00".
    #[serde(default)]
    pub time_limit: Option<String>,
    /// Features that the nodes must have.
    #[serde(default)]
    pub constraint: Option<String>,
    /// Generic resources of each node, such as "gpu:1".
    #[serde(default)]
    pub gres: Option<String>,
    /// How many agents share one node.
    #[serde(default)]
    #[schemars(range(min = 1, max = 1024))]
    pub agents_per_node: Option<u32>,
    /// Refuse instead of waiting in the queue: that many nodes must be idle now.
    #[serde(default)]
    pub immediate: bool,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Prompt {
    /// The swarm, as launch and status name it.
    pub swarm_id: SwarmId,
    /// "all", a rank, a list of ranks, or ranges such as "0,2-4". Ranks begin at 0.
    pub nodes: NodeSelector,
    /// What the agents are asked to do. Each sees only this text and its own working directory, so say everything.
    #[schemars(length(min = 1))]
    pub text: String,
    /// A name that you choose for this prompt, such as "review-1"; wait and output take it. The same name again never sends twice.
    pub idempotency_key: RequestId,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Wait {
    /// Wait for answers: the idempotency_key of a prompt, or of a launch that had one.
    #[serde(default)]
    pub prompt: Option<RequestId>,
    /// Or wait for a swarm to come up, change or end.
    #[serde(default)]
    pub swarm_id: Option<SwarmId>,
    /// What the last wait for this returned as cursor; leave it out the first time. What it covers is not told again.
    #[serde(default)]
    pub cursor: Option<String>,
    /// How many seconds to wait at most for a change; 30 if left out, 50 at most.
    #[serde(default)]
    #[schemars(range(max = 50))]
    pub timeout_s: Option<u32>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Status {
    /// One swarm, node by node; leave it out for a list of all swarms.
    #[serde(default)]
    pub swarm_id: Option<SwarmId>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Output {
    /// The idempotency_key of the prompt.
    pub prompt: RequestId,
    /// Which node's answer; may be left out if the prompt went to one node.
    #[serde(default)]
    pub node: Option<NodeId>,
    /// Where to begin, in characters; next_offset of the page before.
    #[serde(default)]
    pub offset: u64,
    /// How many characters at most; 6000 if left out, 8000 at most.
    #[serde(default)]
    #[schemars(range(min = 1, max = 8000))]
    pub limit: Option<u32>,
    /// Also the commands that the agent ran, what they printed, and the files that it changed.
    #[serde(default)]
    pub detail: bool,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Steer {
    /// The swarm.
    pub swarm_id: SwarmId,
    /// "all", a rank, a list of ranks, or ranges such as "0,2-4".
    pub nodes: NodeSelector,
    /// What to tell the agents while they work.
    #[schemars(length(min = 1))]
    pub text: String,
    /// A name that you choose. The same name again never sends twice.
    pub idempotency_key: RequestId,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Interrupt {
    /// The swarm.
    pub swarm_id: SwarmId,
    /// "all", a rank, a list of ranks, or ranges such as "0,2-4".
    pub nodes: NodeSelector,
    /// Only this injection, as status names it, whether it runs or waits.
    #[serde(default)]
    pub injection_id: Option<InjectionId>,
    /// A name that you choose. The same name again never interrupts another turn.
    pub idempotency_key: RequestId,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Approve {
    /// The swarm.
    pub swarm_id: SwarmId,
    /// The node that asks.
    pub node: NodeId,
    /// The question, as wait names it.
    pub call_id: String,
    /// The answer.
    pub decision: Decision,
    /// A name that you choose.
    pub idempotency_key: RequestId,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Terminate {
    /// The swarm to end. Its agents stop, its Slurm job is cancelled, its answers stay readable.
    pub swarm_id: SwarmId,
    /// A name that you choose.
    pub idempotency_key: RequestId,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Doctor {
    /// For how many nodes the cluster must have room; 1 if left out.
    #[serde(default)]
    #[schemars(range(min = 1))]
    pub nodes: Option<u32>,
}
