//! What a client may ask of the router, in either spelling, parsed once at the border.

use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::ROUTER_PROTOCOL;
use crate::ids::{InjectionId, JobId, NodeId, RequestId, SwarmId};
use crate::launch::{AgentSpec, WorkerSpec};
use crate::nodes::NodeSelector;
use crate::position::Position;
use crate::rejection::{Rejection, RejectionCode};
use crate::turn::Decision;

/// How a client spells its lines; it is answered in kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub enum Spelling {
    /// All fields at the top level.
    #[default]
    Flat,
    /// `{"protocol":"codeswarm.router.v1","type":…,"payload"|"data":{…}}`.
    Enveloped,
}

/// A command with its name and its spelling.
#[derive(Debug, Clone, PartialEq)]
pub struct Request {
    /// The client's name for it, if it gave one.
    pub request_id: Option<RequestId>,
    /// How it was spelled.
    pub spelling: Spelling,
    /// What is asked.
    pub command: Command,
}

/// A line that is no command, with as much of its name as could be read.
#[derive(Debug, Clone, PartialEq)]
pub struct BadRequest {
    /// The client's name for it, if it could be read.
    pub request_id: Option<RequestId>,
    /// How it was spelled.
    pub spelling: Spelling,
    /// What is wrong.
    pub rejection: Rejection,
}

/// What can be asked.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "command", rename_all = "snake_case")]
pub enum Command {
    /// Start a swarm.
    SwarmLaunch(SwarmLaunch),
    /// Take a job that this router did not launch for a swarm.
    SwarmAdopt(SwarmAdopt),
    /// Send a prompt to nodes of a swarm, or of a job.
    Inject(Inject),
    /// End the running turn of nodes.
    Interrupt(Interrupt),
    /// Answer an agent's question.
    ApproveExecution(ApproveExecution),
    /// Which swarms there are.
    SwarmList(SwarmList),
    /// How a swarm is, node by node.
    SwarmStatus(SwarmStatus),
    /// End a swarm.
    SwarmTerminate(SwarmTerminate),
    /// Receive the events of a swarm, or of all.
    Subscribe(Subscribe),
    /// Hear again what a request has caused, and what comes of it.
    Recall(Recall),
    /// Which providers there are.
    ProvidersList(ProvidersList),
    /// Is the router there?
    Ping(Ping),
    /// End the router; swarms go on.
    Shutdown(Shutdown),
}

/// Start a swarm.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SwarmLaunch {
    /// How many nodes, at least 1.
    #[schemars(range(min = 1))]
    pub nodes: u32,
    /// The first prompt of every node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub system_prompt: Option<String>,
    /// The content of `AGENTS.md` in each node's working directory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agents_md_content: Option<String>,
    /// The agent of this swarm, as in the configuration's `agent` section; absent: what the router's configuration says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<Box<AgentSpec>>,
    /// The workers of this swarm, as in the configuration's `worker` section; absent: what the router's configuration says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worker: Option<WorkerSpec>,
    /// `local` or `slurm`; absent: what the configuration says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider: Option<String>,
    /// Settings for the provider that differ from the configuration.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider_params: Option<Map<String, Value>>,
    /// Refuse instead of waiting in a queue: there must be that many idle nodes now.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub immediate: bool,
}

/// Take a job of this mailbox that another router launched for a swarm. A command that names an unknown `job_id` does the
/// same by itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SwarmAdopt {
    /// The job, as Slurm numbers it.
    pub job_id: JobId,
}

/// Send a prompt. The nodes are named by `swarm_id` and `nodes`, or by `job_id` and `node_id`, or a mixture.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Inject {
    /// Whom.
    #[serde(flatten)]
    pub target: Target,
    /// The prompt, not empty.
    pub content: String,
    /// Joins the running turn instead of waiting behind it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub steer: bool,
}

/// End the running turn, or keep a waiting prompt from starting.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Interrupt {
    /// Whom.
    #[serde(flatten)]
    pub target: Target,
    /// Only if this injection is the running one, or still waits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub injection_id: Option<InjectionId>,
}

/// Answer an `approval_required`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ApproveExecution {
    /// Whom.
    #[serde(flatten)]
    pub target: Target,
    /// The question's name.
    pub call_id: String,
    /// Yes or no; `decision` says it more finely.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approved: Option<bool>,
    /// The answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decision: Option<Decision>,
}

impl ApproveExecution {
    /// The answer meant. Saying yes in one field and no in the other is refused: nobody may guess here.
    pub fn decision(&self) -> Result<Decision, Rejection> {
        match (self.decision, self.approved) {
            (Some(decision), Some(approved)) if approved != decision.allows() => Err(Rejection::field(
                RejectionCode::BadField,
                "approved",
                format!("is {approved} and contradicts decision; say one of the two"),
            )),
            (Some(decision), _) => Ok(decision),
            (None, Some(true)) => Ok(Decision::Accept),
            (None, Some(false)) => Ok(Decision::Decline),
            (None, None) => Err(Rejection::field(
                RejectionCode::MissingField,
                "decision",
                "say accept, accept_for_session, decline or cancel, or approved: true or false",
            )),
        }
    }
}

/// Nodes of a swarm or job.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub struct Target {
    /// The swarm.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub swarm_id: Option<SwarmId>,
    /// The job, also one that this router did not launch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job_id: Option<JobId>,
    /// Which nodes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nodes: Option<NodeSelector>,
    /// One node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node_id: Option<NodeId>,
}

impl Target {
    /// The nodes meant: `nodes`, else `node_id`; saying neither is refused, since 'all' by mistake costs much.
    pub fn selector(&self) -> Result<NodeSelector, Rejection> {
        match (&self.nodes, self.node_id) {
            (Some(nodes), None) => Ok(nodes.clone()),
            (None, Some(node)) => Ok(NodeSelector::one(node)),
            (Some(_), Some(_)) => Err(Rejection::field(
                RejectionCode::BadField,
                "node_id",
                "say nodes or node_id, not both",
            )),
            (None, None) => Err(Rejection::field(
                RejectionCode::MissingField,
                "nodes",
                "which nodes? \"all\", a rank, a list of ranks, or ranges such as \"0,2-4\"",
            )),
        }
    }
}

/// Which swarms there are.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub struct SwarmList {}

/// How a swarm is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SwarmStatus {
    /// The swarm.
    pub swarm_id: SwarmId,
}

/// End a swarm.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SwarmTerminate {
    /// The swarm.
    pub swarm_id: SwarmId,
}

/// Receive events. Without `since` they begin now; with it, everything after that place comes first.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub struct Subscribe {
    /// One swarm; absent: all, also those to come.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub swarm_id: Option<SwarmId>,
    /// Where the client's copy ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Since>,
}

/// Where a client's copy of the stream ends: one place for every node, or a place for each.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Since {
    /// The same place for every node; 0 is the very beginning.
    Everywhere(Position),
    /// By `<job_id>_<node_id>` or, for one swarm, by `<node_id>`; `*` is every node that is not named. Without it these start
    /// at the beginning where one swarm is meant, and from now on where all are.
    ByNode(std::collections::BTreeMap<String, Position>),
}

impl Since {
    /// The name in [`Since::ByNode`] of every node that is not named.
    pub const ALL_OTHERS: &str = "*";
}

/// Hear again what an earlier request has caused, from its start, and what comes of it; of any client, and without its content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Recall {
    /// The `request_id` of that request.
    pub of: RequestId,
}

/// Which providers there are.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub struct ProvidersList {}

/// Is the router there?
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub struct Ping {}

/// End the router; swarms go on.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub struct Shutdown {}

/// The names of all commands, for messages.
pub const COMMANDS: [&str; 13] = [
    "swarm_launch",
    "swarm_adopt",
    "inject",
    "interrupt",
    "approve_execution",
    "swarm_list",
    "swarm_status",
    "swarm_terminate",
    "subscribe",
    "recall",
    "providers_list",
    "ping",
    "shutdown",
];

impl Command {
    /// The command's name on the wire.
    pub fn name(&self) -> &'static str {
        match self {
            Self::SwarmLaunch(_) => "swarm_launch",
            Self::SwarmAdopt(_) => "swarm_adopt",
            Self::Inject(_) => "inject",
            Self::Interrupt(_) => "interrupt",
            Self::ApproveExecution(_) => "approve_execution",
            Self::SwarmList(_) => "swarm_list",
            Self::SwarmStatus(_) => "swarm_status",
            Self::SwarmTerminate(_) => "swarm_terminate",
            Self::Subscribe(_) => "subscribe",
            Self::Recall(_) => "recall",
            Self::ProvidersList(_) => "providers_list",
            Self::Ping(_) => "ping",
            Self::Shutdown(_) => "shutdown",
        }
    }
}

impl Request {
    /// Reads one line of a client, without its newline.
    pub fn parse(line: &[u8]) -> Result<Self, BadRequest> {
        let (mut spelling, mut request_id) = (Spelling::Flat, None);
        Self::parse_into(line, &mut spelling, &mut request_id)
            .map(|command| Self {
                request_id: request_id.clone(),
                spelling,
                command,
            })
            .map_err(|rejection| BadRequest {
                request_id,
                spelling,
                rejection,
            })
    }

    fn parse_into(line: &[u8], spelling: &mut Spelling, id: &mut Option<RequestId>) -> Result<Command, Rejection> {
        let mut fields: Map<String, Value> = serde_json::from_slice(line).map_err(|error| {
            Rejection::new(
                RejectionCode::NotJson,
                format!("the line is not a JSON object: {error}"),
            )
        })?;
        let enveloped = fields.contains_key("protocol") || fields.contains_key("payload");
        if enveloped {
            *spelling = Spelling::Enveloped;
        }
        *id = take_request_id(&mut fields)?;
        if enveloped {
            check_envelope(&fields)?;
        }
        let name = ["command", "action"]
            .into_iter()
            .find_map(|key| fields.remove(key))
            .ok_or_else(|| {
                Rejection::field(
                    RejectionCode::MissingField,
                    "command",
                    format!("one of {}", COMMANDS.join(", ")),
                )
            })?;
        let Value::String(name) = name else {
            return Err(Rejection::field(RejectionCode::BadField, "command", "must be a string"));
        };
        if enveloped {
            fields = match fields.remove("payload") {
                None => Map::new(),
                Some(Value::Object(payload)) => payload,
                Some(_) => {
                    return Err(Rejection::field(
                        RejectionCode::BadField,
                        "payload",
                        "must be an object",
                    ));
                }
            };
        }
        command(&name, fields)
    }
}

fn take_request_id(fields: &mut Map<String, Value>) -> Result<Option<RequestId>, Rejection> {
    match fields.remove("request_id") {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => RequestId::new(&text)
            .map(Some)
            .map_err(|error| Rejection::field(RejectionCode::BadField, "request_id", error)),
        Some(_) => Err(Rejection::field(
            RejectionCode::BadField,
            "request_id",
            "must be a string",
        )),
    }
}

fn check_envelope(fields: &Map<String, Value>) -> Result<(), Rejection> {
    let wrong = |field, expected: &str| Err(Rejection::field(RejectionCode::BadField, field, expected));
    match fields.get("protocol") {
        Some(Value::String(protocol)) if protocol == ROUTER_PROTOCOL => {}
        _ => return wrong("protocol", "this router speaks \"codeswarm.router.v1\""),
    }
    match fields.get("type") {
        Some(Value::String(kind)) if kind == "command" => Ok(()),
        _ => wrong("type", "must be \"command\""),
    }
}

fn command(name: &str, fields: Map<String, Value>) -> Result<Command, Rejection> {
    if name != "swarm_launch" {
        field::<NodeSelector>(&fields, "nodes")?;
    } else if fields.get("agents_bundle").is_some_and(|bundle| !bundle.is_null()) {
        let instead = "is not known here; agents_md_content takes the text of AGENTS.md";
        return Err(Rejection::field(RejectionCode::BadField, "agents_bundle", instead));
    }
    Ok(match name {
        "swarm_launch" => Command::SwarmLaunch(take(fields)?),
        "swarm_adopt" => Command::SwarmAdopt(take(fields)?),
        "inject" => Command::Inject(take(fields)?),
        "interrupt" => Command::Interrupt(take(fields)?),
        "approve_execution" => Command::ApproveExecution(take(fields)?),
        "swarm_list" => Command::SwarmList(take(fields)?),
        "swarm_status" => Command::SwarmStatus(take(fields)?),
        "swarm_terminate" => Command::SwarmTerminate(take(fields)?),
        "subscribe" => Command::Subscribe(take(fields)?),
        "recall" => Command::Recall(take(fields)?),
        "providers_list" => Command::ProvidersList(take(fields)?),
        "ping" => Command::Ping(take(fields)?),
        "shutdown" => Command::Shutdown(take(fields)?),
        other => {
            let shown: String = other.chars().take(64).collect();
            return Err(Rejection::field(
                RejectionCode::UnknownCommand,
                "command",
                format!("{shown:?} is unknown; known are {}", COMMANDS.join(", ")),
            ));
        }
    })
}

/// Fields that clients spell in several places are checked one by one first, so that a refusal can name them:
/// serde does not know the field of a flattened struct.
fn take<T: DeserializeOwned>(fields: Map<String, Value>) -> Result<T, Rejection> {
    field::<SwarmId>(&fields, "swarm_id")?;
    field::<JobId>(&fields, "job_id")?;
    field::<NodeId>(&fields, "node_id")?;
    field::<InjectionId>(&fields, "injection_id")?;
    field::<Since>(&fields, "since").map_err(|_| {
        Rejection::field(
            RejectionCode::BadField,
            "since",
            "a position such as 0, 17 or \"17.2\", or an object of them by node",
        )
    })?;
    serde_path_to_error::deserialize(Value::Object(fields)).map_err(|error| {
        let path = error.path().to_string();
        let message = error.inner().to_string();
        if let Some(name) = message
            .strip_prefix("missing field `")
            .and_then(|rest| rest.split('`').next())
        {
            return Rejection::field(RejectionCode::MissingField, name, "is required");
        }
        let path = if path == "." { "payload" } else { &path };
        Rejection::field(RejectionCode::BadField, path, message)
    })
}

fn field<T: DeserializeOwned>(fields: &Map<String, Value>, name: &str) -> Result<(), Rejection> {
    match fields.get(name) {
        None | Some(Value::Null) => Ok(()),
        Some(value) => T::deserialize(value)
            .map(drop)
            .map_err(|error| Rejection::field(RejectionCode::BadField, name, error)),
    }
}

#[cfg(test)]
mod tests;
