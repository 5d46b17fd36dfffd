//! What a worker decides: which prompt runs when, what is said about it, when the agent is started again, how it all ends.
//!
//! A pure state machine. It never learns about files, processes, signals or clocks: inputs and the time are handed in,
//! and what is to be done comes back as [`Effect`]s, in order. It does not number records either; [`outbound`] does.

mod agent;
mod closing;
mod due;
pub mod gate;
mod inbox;
mod life;
pub mod outbound;
mod queue;
pub mod recovery;
#[cfg(test)]
mod simulation;
mod steer;
#[cfg(test)]
mod tests;
mod turn;

use std::collections::HashSet;
use std::time::Duration;

use codeswarm_agents::{AgentCommand, AgentEvent, Now};
use codeswarm_protocol::inbox::InboxRecord;
use codeswarm_protocol::launch::{AgentSpec, LaunchSpec, WorkerSpec};
use codeswarm_protocol::record::{RECORD_VERSION, Word};
use codeswarm_protocol::turn::{ErrorClass, TurnError, TurnStatus};
use codeswarm_protocol::{InjectionId, VERSION};

use closing::Closing;
use life::{Backoff, Life};
use queue::Queue;
use recovery::Recovered;
use steer::Steering;
use turn::Turn;

/// The largest prompt that a worker takes, in bytes: twice what a router takes by default.
pub const MAX_PROMPT_BYTES: usize = 16 << 20;

/// How many bytes of prompts may wait in one worker, whatever their number.
pub const MAX_WAITING_BYTES: usize = 64 << 20;

/// How long an agent may take to end a turn that it was told to interrupt, before it is killed. Drivers have deadlines of
/// their own (10 s); this one stands behind them.
pub const INTERRUPT_GRACE: Duration = Duration::from_secs(15);

/// How long a steering text may stay unanswered after its turn has ended.
pub const STEER_GRACE: Duration = Duration::from_secs(5);

/// After so many starts in a row that did not come up, prompts are refused instead of kept waiting.
pub const FAILED_STARTS: u32 = 10;

/// The part of a launch that the core decides by.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The agent's name in records.
    pub agent: &'static str,
    /// The longest turn.
    pub turn_timeout: Duration,
    /// The longest start of the agent; the session has its own deadline, this one stands behind it.
    pub start_timeout: Duration,
    /// From SIGTERM to the end.
    pub shutdown_grace: Duration,
    /// How many prompts may wait.
    pub queue_limit: usize,
}

impl Settings {
    /// Of a worker whose launch cannot be read.
    pub fn unknown() -> Self {
        Self {
            agent: "unknown",
            ..Self::of(&LaunchSpec {
                version: VERSION.to_owned(),
                swarm_id: None,
                job_id: None,
                node_count: 1,
                agent: AgentSpec::default(),
                worker: WorkerSpec::default(),
                agents_md_content: None,
            })
        }
    }

    /// Takes them out of what the worker was launched with.
    pub fn of(launch: &LaunchSpec) -> Self {
        let agent = &launch.agent;
        Self {
            agent: agent.kind.as_str(),
            turn_timeout: Duration::from_secs(agent.turn_timeout_seconds.max(1)),
            start_timeout: Duration::from_secs(agent.start_timeout_seconds.max(1)),
            shutdown_grace: Duration::from_secs(launch.worker.shutdown_grace_seconds.max(1)),
            queue_limit: usize::try_from(launch.worker.queue_limit).unwrap_or(usize::MAX).max(1),
        }
    }
}

/// This process, for `worker_start`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// Version of the software.
    pub version: String,
    /// The host.
    pub host: String,
    /// The process id.
    pub pid: u32,
    /// When it started, in the host's ticks since boot.
    pub pid_started: Option<u64>,
}

/// Why a worker is not started again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GivenUp {
    /// The word in `worker_exit`, which open prompts are told too.
    pub reason: &'static str,
    /// What happened, and the worker's last words.
    pub message: String,
}

/// What happens to a worker.
#[derive(Debug, Clone, PartialEq)]
pub enum Input {
    /// This life begins: the first input, once.
    Started {
        /// Who says so.
        identity: Identity,
        /// What the own outbox told of earlier lives.
        recovered: Recovered,
        /// The inbox's length at this moment; what stands before it was written before this life.
        inbox_length: u64,
    },
    /// This is the last life, without an agent: whoever kept the worker running has given up. In the place of
    /// [`Input::Started`].
    GivenUp {
        /// Who says so.
        identity: Identity,
        /// What the own outbox told of earlier lives.
        recovered: Recovered,
        /// The inbox's length at this moment.
        inbox_length: u64,
        /// Why.
        given_up: GivenUp,
    },
    /// A line of the inbox.
    Inbox {
        /// What it says.
        record: InboxRecord,
        /// Where the line ends.
        end: u64,
    },
    /// A line of the inbox that says nothing to us.
    InboxBad {
        /// Where it begins.
        offset: u64,
        /// Where it ends.
        end: u64,
        /// What is wrong with it.
        reason: String,
        /// The injection it seems to be about.
        injection_id: Option<InjectionId>,
    },
    /// The answer to [`Effect::ReadInboxToEnd`]: everything before `offset` was handed in.
    InboxEnd {
        /// The inbox's end.
        offset: u64,
    },
    /// A word of the agent's.
    Agent(AgentEvent),
    /// The session went away without its last word.
    AgentClosed,
    /// The worker is to end in order; the reason goes into `worker_exit`.
    Terminate(&'static str),
    /// Time has passed.
    Tick,
}

/// What a worker does, in this order.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    /// Append this to the outbox.
    Record(Word, Option<InjectionId>),
    /// Open a session with the agent.
    StartAgent {
        /// The thread to go on with.
        resume: Option<String>,
    },
    /// Tell the agent. [`AgentCommand::RunTurn`] only once all records before it are durable: a worker that
    /// dies in between must find in its outbox that the prompt may have run.
    Command(AgentCommand),
    /// Kill the agent and everything of its tree; nothing more of this session is handed in.
    KillAgent,
    /// Read the inbox to its end, then hand in [`Input::InboxEnd`].
    ReadInboxToEnd,
    /// Nothing more comes: flush, archive, exit.
    Finish {
        /// What `worker_exit` says.
        reason: &'static str,
    },
}

/// A worker's state.
#[derive(Debug)]
pub struct Core {
    settings: Settings,
    /// Every injection that must not be taken again.
    seen: HashSet<InjectionId>,
    /// Injections that an earlier life has received and neither started nor ended; the inbox still has their text.
    received: HashSet<InjectionId>,
    queue: Queue,
    life: Life,
    backoff: Backoff,
    /// Whether the agent came up in this life.
    been_up: bool,
    thread: Option<String>,
    turn: Option<Turn>,
    steering: Steering,
    closing: Option<Closing>,
    /// Up to here an earlier life has accounted for the inbox.
    consumed: u64,
    /// What stands before this was written before this life began.
    backlog: u64,
    /// Up to here the inbox was handed in.
    inbox_offset: u64,
    effects: Vec<Effect>,
}

impl Core {
    /// A worker before its first input.
    pub fn new(settings: Settings) -> Self {
        Self {
            queue: Queue::new(settings.queue_limit, MAX_WAITING_BYTES),
            settings,
            seen: HashSet::new(),
            received: HashSet::new(),
            life: Life::Down,
            backoff: Backoff::default(),
            been_up: false,
            thread: None,
            turn: None,
            steering: Steering::default(),
            closing: None,
            consumed: 0,
            backlog: 0,
            inbox_offset: 0,
            effects: Vec::new(),
        }
    }

    /// Takes one input and says what is to be done. `now` never goes back.
    pub fn step(&mut self, input: Input, now: Now) -> Vec<Effect> {
        if self.finished() {
            return Vec::new();
        }
        match input {
            Input::Started {
                identity,
                recovered,
                inbox_length,
            } => {
                self.begin(identity, recovered, inbox_length);
                self.start_agent(now);
            }
            Input::GivenUp {
                identity,
                recovered,
                inbox_length,
                given_up,
            } => {
                self.begin(identity, recovered, inbox_length);
                self.give_up(given_up, now);
            }
            Input::Inbox { record, end } => self.inbox(record, end, now),
            Input::InboxBad {
                offset,
                end,
                reason,
                injection_id,
            } => self.inbox_bad(offset, end, &reason, injection_id),
            Input::InboxEnd { offset } => self.inbox_end(offset),
            Input::Agent(event) => self.agent(event, now),
            Input::AgentClosed => self.agent_closed(now),
            Input::Terminate(reason) => self.terminate(reason, now),
            Input::Tick => {}
        }
        self.due(now);
        self.next_turn(now);
        self.advance_closing(now);
        std::mem::take(&mut self.effects)
    }

    /// Whether [`Effect::Finish`] was said.
    pub fn finished(&self) -> bool {
        self.closing.as_ref().is_some_and(Closing::finished)
    }

    /// Whether the worker has begun to end.
    pub fn is_closing(&self) -> bool {
        self.closing.is_some()
    }

    /// A word for the heartbeat: what the worker is doing.
    pub fn doing(&self) -> &'static str {
        match (&self.closing, &self.turn, &self.life) {
            (Some(_), _, _) => "ending",
            (None, Some(_), _) => "turn",
            (None, None, Life::Up) => "idle",
            (None, None, Life::Unusable { .. }) => "agent_unusable",
            _ => "starting",
        }
    }

    /// How many prompts wait.
    pub fn waiting(&self) -> usize {
        self.queue.len()
    }

    /// The first records of a life, and what is known of the earlier ones.
    fn begin(&mut self, identity: Identity, recovered: Recovered, inbox_length: u64) {
        let started: Vec<InjectionId> = recovered.started.iter().map(|s| s.injection.clone()).collect();
        let word = Word::WorkerStart {
            v: RECORD_VERSION,
            version: identity.version,
            host: identity.host,
            pid: identity.pid,
            pid_started: identity.pid_started,
            agent: self.settings.agent.to_owned(),
            recovered: started.clone(),
        };
        self.effects.push(Effect::Record(word, None));
        for cut in recovered.started {
            let word = Word::TurnComplete {
                status: TurnStatus::Failed,
                error: Some(TurnError::new(
                    ErrorClass::WorkerDied,
                    "the worker ended in mid-turn without a word; what the agent had done by then stays done",
                )),
                duration_ms: cut.duration_ms,
                usage: None,
                steered_into: cut.steered_into,
            };
            self.effects.push(Effect::Record(word, Some(cut.injection)));
        }
        self.seen = recovered.ended;
        self.seen.extend(started);
        self.received = recovered.waiting;
        self.consumed = recovered.inbox_offset;
        self.backlog = inbox_length;
        self.thread = recovered
            .thread
            .filter(|thread| thread.agent == self.settings.agent)
            .map(|thread| thread.thread_id);
    }

    fn record(&mut self, word: Word, injection: Option<InjectionId>) {
        self.effects.push(Effect::Record(word, injection));
    }

    fn fail(&mut self, injection: InjectionId, error: &str, reason: impl Into<String>) {
        let word = Word::InjectFailed {
            error: error.to_owned(),
            reason: reason.into(),
        };
        self.record(word, Some(injection));
    }

    fn ignore(&mut self, reason: impl Into<String>, injection: Option<InjectionId>) {
        self.record(Word::ControlIgnored { reason: reason.into() }, injection);
    }
}
