//! What goes into the core and what comes out of it.

use std::time::Duration;

use codeswarm_protocol::command::Request;
use codeswarm_protocol::event::RouterEvent;
use codeswarm_protocol::frame::{Downward, Ticket};
use codeswarm_protocol::launch::LaunchSpec;
use codeswarm_protocol::{InjectionId, JobId, Place, Position, RequestId, SwarmId};
use codeswarm_slurm::{Answer, Call};

use super::link::LinkTrouble;
use super::model::{ClientId, Injection, InjectionState, Node, Swarm};
use super::submission::Submission;

/// New ids, unique for ever.
pub trait Names {
    /// For a swarm.
    fn swarm(&mut self) -> SwarmId;
    /// For a job of the local provider.
    fn job(&mut self) -> JobId;
    /// For an injection.
    fn injection(&mut self) -> InjectionId;
    /// A number higher than all before it, in this life and earlier ones.
    fn number(&mut self) -> u64;
}

/// What is stored about a request that was carried out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownRequest {
    /// The command as it was, in one spelling.
    pub fingerprint: String,
    /// The swarm that it launched.
    pub swarm_id: Option<SwarmId>,
    /// The injections that it caused, where each one's acknowledgement stands.
    pub injections: Vec<(InjectionId, Place, Position)>,
}

/// Why a part of an outbox was not read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unread {
    /// The file could not be read.
    Failed,
    /// It has bytes there that have not come yet; its follower waits for them.
    Late,
}

/// Something that happened.
#[derive(Debug)]
pub enum Input {
    /// A client asks for something.
    Command {
        /// Which client.
        client: ClientId,
        /// What.
        request: Request,
        /// What is stored under its `request_id`.
        known: Option<KnownRequest>,
    },
    /// A line is in its inbox and durable.
    Appended {
        /// Of which append.
        ticket: Ticket,
        /// Where it starts.
        offset: u64,
    },
    /// A line could not be appended.
    AppendFailed {
        /// Of which append.
        ticket: Ticket,
        /// It may be there all the same.
        may_have_happened: bool,
        /// Why.
        error: String,
    },
    /// The mailbox files of a job are there, or could not be made.
    Prepared {
        /// Of which request.
        ticket: Ticket,
        /// Why not.
        error: Option<String>,
    },
    /// A part of an outbox was read, or could not be.
    OutboxRead {
        /// Of which request.
        ticket: Ticket,
        /// The byte behind it.
        next: u64,
        /// Nothing stands behind it.
        done: bool,
        /// Why not.
        unread: Option<Unread>,
    },
    /// An outbox is in the archive and was read to its end.
    OutboxEnded {
        /// Whose.
        place: Place,
    },
    /// An outbox that had ended is written again.
    OutboxReopened {
        /// Whose.
        place: Place,
    },
    /// A provider says something.
    Provider(ProviderEvent),
    /// What the workers of a job wrote as their heartbeats.
    Heartbeats {
        /// Of which request.
        ticket: Ticket,
        /// One line for each node that has one.
        data: bytes::Bytes,
    },
    /// The follower is there, a new one.
    LinkUp {
        /// The `codeswarm` program on its side; empty where no job needs one.
        binary: String,
    },
    /// The follower is gone, or cannot be had for another reason than before.
    LinkDown(LinkTrouble),
    /// The deadline that the core named has come.
    Tick,
}

/// Something to be done, in this order; what is saved must be durable before anything else of the same step is done.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    /// Store this.
    Save(Change),
    /// Tell clients.
    Tell {
        /// Whom.
        whom: Whom,
        /// What.
        event: RouterEvent,
    },
    /// From now on this client hears this injection; `from` asks for what was said of it already.
    Follow {
        /// Who.
        client: ClientId,
        /// Which.
        injection_id: InjectionId,
        /// Whose stream.
        place: Place,
        /// Where the stream ended before anything was said of the injection in this step.
        end: Position,
        /// Everything after this place; absent: from now on.
        from: Option<Position>,
    },
    /// A client has heard all that was, when it has been told what it lacks of these nodes.
    CatchUp {
        /// Which client.
        client: ClientId,
        /// Under which name it asked.
        request_id: Option<RequestId>,
        /// Whose nodes they are.
        swarm_id: Option<SwarmId>,
        /// The nodes.
        places: Vec<Place>,
    },
    /// From now on this client hears how this swarm is.
    FollowSwarm {
        /// Who.
        client: ClientId,
        /// Which.
        swarm_id: SwarmId,
        /// The command that asked for the swarm's end.
        request_id: Option<RequestId>,
    },
    /// Ask the follower.
    Follower(Downward),
    /// Ask a provider.
    Provider(ProviderCommand),
}

/// Who hears an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Whom {
    /// One client: an answer.
    Client(ClientId),
    /// All who follow this node, at this place of its stream.
    Node {
        /// Whose stream.
        place: Place,
        /// Where in it.
        position: Position,
    },
    /// All who follow this swarm.
    Swarm(SwarmId),
    /// The same, but for this one, who is told by an answer.
    OthersOfSwarm(SwarmId, ClientId),
    /// Everybody.
    Everybody,
}

/// A change of what is stored.
#[derive(Debug, Clone, PartialEq)]
pub enum Change {
    /// A swarm is new or different.
    Swarm(Box<Swarm>),
    /// A node is new or different.
    Node(Place, Box<Node>),
    /// An injection was accepted.
    Injection(Injection),
    /// An injection is further.
    InjectionState(InjectionId, InjectionState),
    /// A launch is about to be handed to Slurm, or is further on its way.
    Submission(Box<Submission>),
    /// It has become a swarm, or came to nothing.
    SubmissionOver(SwarmId),
    /// A request was carried out.
    Request {
        /// Its name.
        request_id: RequestId,
        /// What it was and did.
        known: KnownRequest,
    },
    /// The router said something in a node's stream.
    Said {
        /// Whose stream.
        place: Place,
        /// Where in it.
        position: Position,
        /// What.
        event: RouterEvent,
    },
}

impl Change {
    /// A swarm is new or different.
    pub(super) fn of_swarm(swarm: Swarm) -> Self {
        Self::Swarm(Box::new(swarm))
    }
}

/// What is asked of a provider.
#[derive(Debug, Clone, PartialEq)]
pub enum ProviderCommand {
    /// Make ready to start the workers of this swarm; they start at [`ProviderCommand::Go`].
    Launch {
        /// Which.
        swarm_id: SwarmId,
        /// Its job.
        job_id: JobId,
        /// What the workers are told.
        spec: Box<LaunchSpec>,
        /// Its workers; one that is known to run already is looked for, and started again if it is gone.
        workers: Vec<WorkerToRun>,
    },
    /// The mailbox files of this job are there: start what was launched, look for what is to be found.
    Go {
        /// Its job.
        job_id: JobId,
    },
    /// A worker said which process it is.
    Known {
        /// Where.
        place: Place,
        /// Its process.
        pid: u32,
        /// When that process started.
        pid_started: Option<u64>,
    },
    /// End all workers of this job in order.
    Terminate {
        /// Its job.
        job_id: JobId,
    },
    /// Run a command beside Slurm; each is answered once by [`ProviderEvent::Answered`].
    Call {
        /// What it is for.
        errand: Errand,
        /// The command.
        call: Call,
    },
}

/// What a command beside Slurm is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Errand {
    /// How many nodes are idle, for a launch that will not wait.
    Idle(SwarmId),
    /// Hand the job in.
    Submit(SwarmId),
    /// Whether the job was handed in: nobody heard the answer.
    Find(SwarmId),
    /// How a job is that was just handed in.
    Announce(SwarmId),
    /// How a job is; asked at this moment.
    Show(JobId, Duration),
    /// How these jobs are; asked at this moment.
    Queue(Vec<JobId>, Duration),
    /// The names of its machines, of a list in Slurm's notation that it has in one of its lives; asked at this moment.
    Hosts(JobId, (u32, String), Duration),
    /// SIGTERM to its workers.
    Signal(JobId),
    /// Its end, whatever it does.
    Cancel(JobId),
    /// The last words in its error file.
    Log(JobId),
    /// How a job is that is not known here.
    Adopt(JobId),
}

/// A command that has no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotAnswered {
    /// It may have run all the same.
    pub may_have_run: bool,
    /// What failed, where, and what to do.
    pub error: String,
}

/// A worker that should be running.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkerToRun {
    /// Where.
    pub place: Place,
    /// Its process, as it said itself in an earlier life of the router.
    pub pid: Option<u32>,
    /// When that process started.
    pub pid_started: Option<u64>,
}

/// What a provider says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProviderEvent {
    /// The workers could not be started; nothing of the swarm runs.
    LaunchFailed {
        /// Which swarm.
        swarm_id: SwarmId,
        /// Why, and what to do.
        error: String,
    },
    /// A worker has ended in order.
    WorkerEnded {
        /// Where.
        place: Place,
    },
    /// A worker is gone and is being started again.
    WorkerRestarting {
        /// Where.
        place: Place,
        /// What is known.
        reason: String,
    },
    /// A command has come back, or never will.
    Answered {
        /// What it was for.
        errand: Errand,
        /// What it said.
        outcome: Result<Answer, NotAnswered>,
    },
    /// A worker is gone for good.
    WorkerLost {
        /// Where.
        place: Place,
        /// What is known.
        reason: String,
    },
}
