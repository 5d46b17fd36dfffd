//! The command line: what can be said, and the help that teaches it.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use codeswarm_protocol::launch::AgentKind;
use codeswarm_protocol::turn::Decision;
use codeswarm_protocol::{InjectionId, JobId, NodeId, NodeSelector, SwarmId};

use codeswarm_events::{ConsumerName, Kind, Since};

use crate::follow::positions::SinceArgument;

mod examples;
pub mod openclaw;
use examples::{
    ADOPT, APPROVE, ATTACH, COMPLETIONS, DOCTOR, EVENTS, FOLLOWER, INJECT, INTERRUPT, LAUNCH, LIST, MCP, OPENCLAW,
    PING, PROBE, ROUTER, RUN, SHUTDOWN, STATUS, TERMINATE, WORKER, overview,
};

/// Turn a Slurm allocation, or this machine, into a fleet of coding agents
///
/// A swarm is one launch: a number of nodes, each with its agent. Prompts go to nodes, answers stream back. A router in the
/// background keeps track of swarms; it is started when none runs.
#[derive(Debug, Parser)]
#[command(name = "codeswarm", version, after_help = overview(), max_term_width = 110)]
#[command(subcommand_required = true, arg_required_else_help = true)]
pub struct Cli {
    /// Options that every client command takes too.
    #[command(flatten)]
    pub options: Options,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Options of every command that talks to the router.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Common options")]
pub struct Options {
    /// The configuration; without one: a local swarm on this machine
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Print the router's events as they are, one JSON object a line; errors too (on standard error)
    #[arg(long)]
    pub json: bool,
    /// No notes and no progress on standard error; errors still
    #[arg(long, short)]
    pub quiet: bool,
}

impl Options {
    /// Options before the subcommand and behind it mean the same; the ones behind it win.
    pub fn over(self, before: Self) -> Self {
        Self {
            config: self.config.or(before.config),
            json: self.json || before.json,
            quiet: self.quiet || before.quiet,
        }
    }
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// One that talks to a router.
    #[command(flatten)]
    Client(Client),
    /// Check a set-up: the way to the cluster, Slurm, the workspace, the agent and its model
    #[command(after_help = DOCTOR)]
    Doctor(Doctor),
    /// Tell a script or an automation what happens in swarms, every event once
    #[command(after_help = EVENTS)]
    Events(Events),
    /// Serve the router's commands as tools for a model, by the Model Context Protocol on standard input and output
    #[command(after_help = MCP)]
    Mcp(Common),
    /// Make OpenClaw's agents drive swarms: install, check and uninstall the tools and the skill
    #[command(after_help = OPENCLAW)]
    Openclaw(openclaw::OpenClaw),
    /// Print a completion script for a shell
    #[command(after_help = COMPLETIONS)]
    Completions(Completions),
    /// Run the router: JSON lines on standard input and output, logs on standard error
    #[command(after_help = ROUTER)]
    Router(codeswarm_router::command::Args),
    /// Run one node's worker, as a job's task does
    #[command(after_help = WORKER)]
    Worker(codeswarm_worker::command::Args),
    /// Follow the outboxes of a mailbox for a router, or print the lines of a folder as they grow
    #[command(after_help = FOLLOWER)]
    Follower(codeswarm_follower::command::Args),
    /// Look at this machine for `codeswarm doctor`, which starts it on the cluster
    #[command(hide = true, after_help = PROBE)]
    Probe(codeswarm_doctor::probe::Args),
}

/// The commands that talk to a router.
#[derive(Debug, Subcommand)]
pub enum Client {
    /// Launch a swarm, give every node a prompt, stream the answers, end the swarm
    #[command(after_help = RUN)]
    Run(Run),
    /// Launch a swarm that stays, and print its id
    #[command(after_help = LAUNCH)]
    Launch(Launch),
    /// Take a Slurm job that another router launched for a swarm, and print its id
    #[command(after_help = ADOPT)]
    Adopt(Adopt),
    /// Show the swarms that the router knows
    #[command(visible_alias = "ls", after_help = LIST)]
    List(Common),
    /// Show how a swarm is, node by node
    #[command(after_help = STATUS)]
    Status(OfSwarm),
    /// Send a prompt to nodes of a swarm and follow the answers
    #[command(after_help = INJECT)]
    Inject(Inject),
    /// Show all that a swarm says, until it ends or you leave
    #[command(after_help = ATTACH)]
    Attach(Attach),
    /// End the running turn of nodes
    #[command(after_help = INTERRUPT)]
    Interrupt(Interrupt),
    /// Answer an agent that asks whether it may
    #[command(after_help = APPROVE)]
    Approve(Approve),
    /// End a swarm
    #[command(after_help = TERMINATE)]
    Terminate(Terminate),
    /// Ask the router for a sign of life; none is started
    #[command(after_help = PING)]
    Ping(Common),
    /// End the router in the background; swarms go on
    #[command(after_help = SHUTDOWN)]
    Shutdown(Common),
}

impl Client {
    /// The common options.
    pub fn options(&self) -> &Options {
        match self {
            Self::Run(args) => &args.options,
            Self::Launch(args) => &args.options,
            Self::Adopt(args) => &args.options,
            Self::List(args) | Self::Ping(args) | Self::Shutdown(args) => &args.options,
            Self::Status(args) => &args.options,
            Self::Inject(args) => &args.options,
            Self::Attach(args) => &args.options,
            Self::Interrupt(args) => &args.options,
            Self::Approve(args) => &args.options,
            Self::Terminate(args) => &args.options,
        }
    }
}

/// Only the common options.
#[derive(Debug, Args)]
pub struct Common {
    /// The common options.
    #[command(flatten)]
    pub options: Options,
}

/// A swarm and the common options.
#[derive(Debug, Args)]
pub struct OfSwarm {
    /// The swarm, as launch and list print it
    #[arg(value_name = "SWARM")]
    pub swarm_id: SwarmId,
    /// The common options.
    #[command(flatten)]
    pub options: Options,
}

/// Where a prompt comes from.
#[derive(Debug, Clone, Default, Args)]
pub struct PromptArgs {
    /// The prompt
    #[arg(long, value_name = "TEXT", conflicts_with = "prompt_file")]
    pub prompt: Option<String>,
    /// A file with the prompt; `-` is standard input
    #[arg(long, value_name = "FILE")]
    pub prompt_file: Option<PathBuf>,
}

/// What is launched.
#[derive(Debug, Clone, Args)]
pub struct LaunchArgs {
    /// How many nodes, each with an agent
    #[arg(long, short = 'n', value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub nodes: u32,
    /// Another agent than the configuration's
    #[arg(long, value_name = "AGENT")]
    pub agent: Option<Agent>,
    /// A file whose content becomes AGENTS.md in each agent's working directory
    #[arg(long, value_name = "FILE")]
    pub agents_md: Option<PathBuf>,
    /// What runs the nodes, where the configuration allows several
    #[arg(long, value_name = "NAME")]
    pub provider: Option<String>,
    /// Refuse instead of waiting in the queue: there must be that many idle nodes now
    #[arg(long)]
    pub immediate: bool,
    /// What is asked of Slurm, where it differs from the configuration.
    #[command(flatten)]
    pub slurm: SlurmArgs,
    /// A setting for the provider that differs from the configuration; may be given several times
    #[arg(long = "param", value_name = "KEY=VALUE", value_parser = key_value)]
    pub params: Vec<(String, serde_json::Value)>,
}

/// What is asked of Slurm for one launch; each is also a key of `cluster.slurm`.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Slurm")]
pub struct SlurmArgs {
    /// How many agents share a node, each with its own worker
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub agents_per_node: Option<u32>,
    /// The partition
    #[arg(long, value_name = "NAME")]
    pub partition: Option<String>,
    /// The account that is charged
    #[arg(long, value_name = "NAME")]
    pub account: Option<String>,
    /// The quality of service
    #[arg(long, value_name = "NAME")]
    pub qos: Option<String>,
    /// The longest the swarm may run, as sbatch --time takes it
    #[arg(long, value_name = "TIME")]
    pub time_limit: Option<String>,
    /// Features that the nodes must have
    #[arg(long, value_name = "FEATURES")]
    pub constraint: Option<String>,
    /// Generic resources of each node, such as gpu:1
    #[arg(long, value_name = "LIST")]
    pub gres: Option<String>,
}

impl SlurmArgs {
    /// As settings for the provider.
    pub fn params(self) -> impl Iterator<Item = (String, serde_json::Value)> {
        let words = [
            ("partition", self.partition),
            ("account", self.account),
            ("qos", self.qos),
            ("time_limit", self.time_limit),
            ("constraint", self.constraint),
            ("gres", self.gres),
        ];
        let words = words
            .into_iter()
            .filter_map(|(key, word)| Some((key.to_owned(), word?.into())));
        let agents = self
            .agents_per_node
            .map(|agents| ("agents_per_node".to_owned(), agents.into()));
        words.chain(agents)
    }
}

/// An agent, by its word in a configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "snake_case")]
pub enum Agent {
    /// Built in: streams the prompt back
    Echo,
    /// OpenAI's Codex
    Codex,
}

impl From<Agent> for AgentKind {
    fn from(agent: Agent) -> Self {
        match agent {
            Agent::Echo => Self::Echo,
            Agent::Codex => Self::Codex,
        }
    }
}

/// `run`.
#[derive(Debug, Args)]
pub struct Run {
    /// What is launched.
    #[command(flatten)]
    pub launch: LaunchArgs,
    /// The prompt.
    #[command(flatten)]
    pub prompt: PromptArgs,
    /// The common options.
    #[command(flatten)]
    pub options: Options,
}

/// `launch`.
#[derive(Debug, Args)]
pub struct Launch {
    /// What is launched.
    #[command(flatten)]
    pub launch: LaunchArgs,
    /// The first prompt of every node; may be left out.
    #[command(flatten)]
    pub prompt: PromptArgs,
    /// Come back only when all nodes are up
    #[arg(long)]
    pub wait: bool,
    /// The common options.
    #[command(flatten)]
    pub options: Options,
}

/// `adopt`.
#[derive(Debug, Args)]
pub struct Adopt {
    /// The job, as Slurm numbers it
    #[arg(value_name = "JOB")]
    pub job_id: JobId,
    /// The common options.
    #[command(flatten)]
    pub options: Options,
}

/// `inject`.
#[derive(Debug, Args)]
pub struct Inject {
    /// The swarm, as launch and list print it
    #[arg(value_name = "SWARM")]
    pub swarm_id: SwarmId,
    /// Which nodes: all, or ranks and ranges such as 0,2-4
    #[arg(long, short = 'n', value_name = "NODES", default_value = "all")]
    pub nodes: NodeSelector,
    /// The prompt; standard input if neither is given.
    #[command(flatten)]
    pub prompt: PromptArgs,
    /// Come back when the prompt is accepted; it will be delivered
    #[arg(long)]
    pub no_wait: bool,
    /// Join the running turn instead of waiting behind it, where the agent can
    #[arg(long)]
    pub steer: bool,
    /// The common options.
    #[command(flatten)]
    pub options: Options,
}

/// `attach`.
#[derive(Debug, Args)]
pub struct Attach {
    /// The swarm, as launch and list print it
    #[arg(value_name = "SWARM")]
    pub swarm_id: SwarmId,
    /// Begin behind this place: 0 is the beginning; 17 or 17.2 as an event's seq and sub tell; 0-2=17,3=4.1 by node
    #[arg(long, value_name = "POS")]
    pub since: Option<SinceArgument>,
    /// The common options.
    #[command(flatten)]
    pub options: Options,
}

/// `interrupt`.
#[derive(Debug, Args)]
pub struct Interrupt {
    /// The swarm, as launch and list print it
    #[arg(value_name = "SWARM")]
    pub swarm_id: SwarmId,
    /// Which nodes: all, or ranks and ranges such as 0,2-4
    #[arg(long, short = 'n', value_name = "NODES", default_value = "all")]
    pub nodes: NodeSelector,
    /// Only if this injection is the running one, or still waits
    #[arg(long, value_name = "ID")]
    pub injection: Option<InjectionId>,
    /// The common options.
    #[command(flatten)]
    pub options: Options,
}

/// `approve`.
#[derive(Debug, Args)]
pub struct Approve {
    /// The swarm, as launch and list print it
    #[arg(value_name = "SWARM")]
    pub swarm_id: SwarmId,
    /// The node that asks
    #[arg(long, short = 'n', value_name = "NODE")]
    pub node: NodeId,
    /// The question's call_id
    #[arg(long, value_name = "ID")]
    pub call: String,
    /// The answer
    #[arg(value_enum, default_value_t = Answer::Accept)]
    pub answer: Answer,
    /// The common options.
    #[command(flatten)]
    pub options: Options,
}

/// An answer to an approval.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "snake_case")]
pub enum Answer {
    /// This once
    Accept,
    /// This, and the like of it for the rest of the session
    AcceptForSession,
    /// Not this; the turn goes on
    Decline,
    /// Not this, and the turn ends
    Cancel,
}

impl From<Answer> for Decision {
    fn from(answer: Answer) -> Self {
        match answer {
            Answer::Accept => Self::Accept,
            Answer::AcceptForSession => Self::AcceptForSession,
            Answer::Decline => Self::Decline,
            Answer::Cancel => Self::Cancel,
        }
    }
}

/// `terminate`.
#[derive(Debug, Args)]
pub struct Terminate {
    /// The swarm, as launch and list print it
    #[arg(value_name = "SWARM")]
    pub swarm_id: SwarmId,
    /// Come back when the end is asked for
    #[arg(long)]
    pub no_wait: bool,
    /// The common options.
    #[command(flatten)]
    pub options: Options,
}

/// `events`.
#[derive(Debug, Args)]
pub struct Events {
    /// Only these swarms, as launch and list print them; without any: all, also those to come
    #[arg(value_name = "SWARM")]
    pub swarms: Vec<SwarmId>,
    /// Go on with what comes; without it: what there is up to now
    #[arg(long, short)]
    pub follow: bool,
    /// Remember under this name what was told, and go on behind it next time
    #[arg(long, value_name = "NAME")]
    pub consumer: Option<ConsumerName>,
    /// Where to begin: beginning, now, a moment (2026-03-01T12:00:00Z) or how long ago (90s, 30m, 2h, 7d). A consumer that was told
    /// something goes on there instead. Otherwise without it: now, but with neither --follow nor --consumer the beginning
    #[arg(long, value_name = "WHEN")]
    pub since: Option<Since>,
    /// Which events, by type, several with commas: default, all, or such as turn_complete,assistant
    #[arg(long, value_name = "KIND", value_delimiter = ',')]
    pub kind: Vec<Kind>,
    /// The common options.
    #[command(flatten)]
    pub options: Options,
}

/// `doctor`.
#[derive(Debug, Args)]
pub struct Doctor {
    /// For how many nodes the cluster must have room
    #[arg(long, short = 'n', value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub nodes: u32,
    /// Submit no short job: nothing is looked at from a compute node
    #[arg(long)]
    pub no_job: bool,
    /// How many seconds the short job may wait in the queue
    #[arg(long, value_name = "SECONDS", default_value_t = 60, conflicts_with = "no_job")]
    pub wait: u32,
    /// The common options.
    #[command(flatten)]
    pub options: Options,
}

/// `completions`.
#[derive(Debug, Args)]
pub struct Completions {
    /// The shell
    #[arg(value_enum)]
    pub shell: clap_complete::Shell,
}

/// `KEY=VALUE`; a value that is JSON (a number, `true`, a list) is taken as such, anything else as text.
fn key_value(text: &str) -> Result<(String, serde_json::Value), String> {
    let (key, value) = text
        .split_once('=')
        .filter(|(key, _)| !key.is_empty())
        .ok_or("write it as KEY=VALUE")?;
    let value = serde_json::from_str(value).unwrap_or_else(|_| value.into());
    Ok((key.to_owned(), value))
}

#[cfg(test)]
mod tests;
