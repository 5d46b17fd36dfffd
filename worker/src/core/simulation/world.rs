//! Everything around the core: an inbox that clients write, an outbox that may lag, an agent, a clock, and misfortune.

use std::collections::HashMap;
use std::time::Duration;

use codeswarm_agents::{AgentCommand, AgentEvent, Now};
use codeswarm_protocol::inbox::{Control, InboxRecord};
use codeswarm_protocol::record::{Word, WorkerRecord};
use codeswarm_protocol::turn::Decision;
use codeswarm_protocol::{Epoch, InjectionId, JobId, NodeId, Place, Seq, Timestamp};

use super::Rng;
use super::agent::FakeAgent;
use crate::core::gate::Gate;
use crate::core::outbound::Outbound;
use crate::core::recovery::Reading;
use crate::core::{Core, Effect, Identity, Input, Settings};

/// How long each line of this world's inbox is, in bytes.
pub const LINE: u64 = 10;

/// A line of the inbox; `None` is garbage.
pub type Line = Option<InboxRecord>;

/// One life of the worker.
struct Process {
    core: Core,
    outbound: Outbound,
    gate: Gate,
    durable: Seq,
    read: usize,
    reading_to_end: bool,
    agent: Option<FakeAgent>,
    finished: bool,
}

/// How often something happened, over all histories.
#[derive(Debug, Default, Clone, Copy)]
pub struct Tally {
    pub kills: u64,
    pub orderly_ends: u64,
    pub agent_deaths: u64,
    pub timeouts: u64,
    pub steered: u64,
    pub recovered: u64,
    pub queue_full: u64,
    pub unusable: u64,
    pub agent_kills: u64,
    pub duplicates: u64,
    pub interrupted_waiting: u64,
}

impl Tally {
    fn counts(&mut self) -> [(&'static str, &mut u64); 11] {
        [
            ("kills of the worker", &mut self.kills),
            ("orderly ends", &mut self.orderly_ends),
            ("deaths of the agent", &mut self.agent_deaths),
            ("turns that took too long", &mut self.timeouts),
            ("prompts that joined a turn", &mut self.steered),
            ("turns cut by a kill", &mut self.recovered),
            ("prompts refused by a full queue", &mut self.queue_full),
            ("agents that cannot be used", &mut self.unusable),
            ("agents that had to be killed", &mut self.agent_kills),
            ("prompts sent twice", &mut self.duplicates),
            ("waiting prompts that were interrupted", &mut self.interrupted_waiting),
        ]
    }

    pub fn add(&mut self, mut other: Self) {
        for ((_, sum), (_, more)) in self.counts().into_iter().zip(other.counts()) {
            *sum += *more;
        }
    }

    /// A simulation that never reaches a rare path tests nothing there.
    pub fn everything_happened(mut self) {
        for (what, count) in self.counts() {
            assert!(*count >= 100, "only {count} {what} in all histories");
        }
    }
}

pub struct World {
    pub rng: Rng,
    pub now: Now,
    pub inbox: Vec<Line>,
    pub outbox: Vec<WorkerRecord>,
    /// How often an agent was told to run each prompt.
    pub ran: HashMap<InjectionId, u32>,
    /// Injections that the durable outbox calls started; kept beside it, to be quick.
    started: std::collections::HashSet<InjectionId>,
    pub tally: Tally,
    process: Option<Process>,
    injections: usize,
}

fn settings() -> Settings {
    Settings {
        agent: "echo",
        turn_timeout: Duration::from_secs(30),
        start_timeout: Duration::from_secs(20),
        shutdown_grace: Duration::from_secs(20),
        queue_limit: 4,
    }
}

impl World {
    pub fn new(seed: u64) -> Self {
        Self {
            rng: Rng(seed),
            now: Duration::ZERO,
            inbox: Vec::new(),
            outbox: Vec::new(),
            ran: HashMap::new(),
            started: std::collections::HashSet::new(),
            tally: Tally::default(),
            process: None,
            injections: 0,
        }
    }

    /// Things happen, good and bad.
    pub fn storm(&mut self) {
        let steps = 50 + self.rng.below(250);
        for _ in 0..steps {
            match self.rng.below(100) {
                0..16 => self.client(),
                16..30 => self.read_inbox(),
                30..48 => self.write_outbox(),
                48..58 => self.pass_command(),
                58..74 => self.agent_acts(false),
                74..90 => self.hear_agent(),
                90..92 => self.close_session(),
                92..97 => self.time_passes(),
                97 => self.input(Input::Terminate("sigterm")),
                98 => self.kill_worker(),
                _ => self.start_worker(),
            }
        }
    }

    /// Nothing bad happens any more: all that can end, ends; then the worker is told to end as well.
    pub fn calm(&mut self) {
        self.start_worker();
        for _ in 0..200 {
            self.settle();
            if self
                .process
                .as_ref()
                .is_none_or(|process| process.core.doing() != "turn")
            {
                break;
            }
        }
        self.start_worker();
        self.input(Input::Terminate("sigterm"));
        for _ in 0..200 {
            self.settle();
            if self.process.is_none() {
                return;
            }
        }
        panic!("the worker did not end");
    }

    fn settle(&mut self) {
        for _ in 0..=self.inbox.len() {
            self.read_inbox();
        }
        for _ in 0..20 {
            self.write_outbox();
            self.read_inbox();
            self.pass_command();
            self.agent_acts(true);
            self.hear_agent();
        }
        self.time_passes();
    }

    fn client(&mut self) {
        let known = |rng: &mut Rng, count: usize| name(rng.below(count.max(1)));
        let line = match self.rng.below(20) {
            0..10 => {
                self.injections += 1;
                Some(self.prompt(self.injections - 1))
            }
            10..12 => {
                self.tally.duplicates += 1;
                let again = self.rng.below(self.injections.max(1));
                self.injections = self.injections.max(1);
                Some(self.prompt(again))
            }
            12 | 13 => Some(InboxRecord::Control {
                payload: Control::Interrupt { injection_id: None },
            }),
            14..17 => Some(InboxRecord::Control {
                payload: Control::Interrupt {
                    injection_id: Some(known(&mut self.rng, self.injections)),
                },
            }),
            17 => Some(InboxRecord::Control {
                payload: Control::Approval {
                    call_id: format!("call-{}", self.rng.below(4)),
                    decision: Decision::Accept,
                },
            }),
            18 => None,
            _ if self.rng.once_in(6) => Some(InboxRecord::Shutdown {}),
            _ => return,
        };
        self.inbox.push(line);
    }

    fn prompt(&mut self, number: usize) -> InboxRecord {
        InboxRecord::User {
            injection_id: name(number),
            content: name(number).to_string(),
            steer: self.rng.once_in(3),
        }
    }

    fn start_worker(&mut self) {
        if self.process.is_some() {
            return;
        }
        let mut reading = Reading::default();
        for record in &self.outbox {
            let mut line = Vec::new();
            record.write_line(&mut line).unwrap();
            reading.line(&line);
        }
        assert_eq!(reading.unread(), 0);
        let recovered = reading.end();
        self.tally.recovered += u64::try_from(recovered.started.len()).unwrap();
        let place = Place::new(JobId::new("7").unwrap(), NodeId::new(0).unwrap());
        let epoch = Epoch(recovered.last_epoch.0 + 1);
        self.process = Some(Process {
            core: Core::new(settings()),
            outbound: Outbound::new(place, epoch, recovered.last_seq),
            gate: Gate::default(),
            durable: recovered.last_seq,
            read: 0,
            reading_to_end: false,
            agent: None,
            finished: false,
        });
        let identity = Identity {
            version: "0".to_owned(),
            host: "h".to_owned(),
            pid: 1,
            pid_started: None,
        };
        self.input(Input::Started {
            identity,
            recovered,
            inbox_length: u64::try_from(self.inbox.len()).unwrap() * LINE,
        });
    }

    /// `kill -9`: what was being written is there up to some record, the agent is gone, the rest never was.
    fn kill_worker(&mut self) {
        let Some(mut process) = self.process.take() else { return };
        self.tally.kills += 1;
        let mut records = process.outbound.take(usize::MAX);
        records.truncate(self.rng.below(records.len() + 1));
        self.keep(records);
    }

    fn keep(&mut self, records: Vec<WorkerRecord>) {
        for record in records {
            match &record.word {
                Word::TurnStarted { steered_into, .. } => {
                    if let Some(injection) = &record.injection_id {
                        self.started.insert(injection.clone());
                    }
                    self.tally.steered += u64::from(steered_into.is_some());
                }
                Word::InjectFailed { error, .. } => match error.as_str() {
                    "queue_full" => self.tally.queue_full += 1,
                    "interrupted" => self.tally.interrupted_waiting += 1,
                    _ => {}
                },
                Word::TurnComplete { error: Some(error), .. } => {
                    self.tally.timeouts += u64::from(error.class == codeswarm_protocol::turn::ErrorClass::Timeout);
                }
                Word::AgentExit { .. } => self.tally.agent_deaths += 1,
                Word::WorkerExit { reason, .. } => {
                    self.tally.orderly_ends += 1;
                    self.tally.unusable += u64::from(reason == "agent_unusable");
                }
                _ => {}
            }
            self.outbox.push(record);
        }
    }

    fn write_outbox(&mut self) {
        let Some(process) = &mut self.process else { return };
        let records = process.outbound.take(1 + self.rng.below(2000));
        if let Some(last) = records.last() {
            process.durable = last.seq;
        }
        if process.finished && process.outbound.is_empty() {
            self.process = None;
        }
        self.keep(records);
    }

    fn read_inbox(&mut self) {
        let Some(process) = &mut self.process else { return };
        let end = u64::try_from(process.read + 1).unwrap() * LINE;
        let input = match self.inbox.get(process.read) {
            Some(Some(record)) => Input::Inbox {
                record: record.clone(),
                end,
            },
            Some(None) => Input::InboxBad {
                offset: end - LINE,
                end,
                reason: "is not JSON".to_owned(),
                injection_id: None,
            },
            None if process.reading_to_end => Input::InboxEnd { offset: end - LINE },
            None => return,
        };
        process.read += 1;
        if matches!(input, Input::InboxEnd { .. }) {
            process.read -= 1;
        }
        self.input(input);
    }

    fn pass_command(&mut self) {
        let Some(process) = &mut self.process else { return };
        let Some(command) = process.gate.pop(process.durable) else {
            return;
        };
        if let AgentCommand::RunTurn { prompt } = &command {
            let injection = InjectionId::new(prompt).unwrap();
            assert!(
                self.started.contains(&injection),
                "{injection} ran before that was durable"
            );
            *self.ran.entry(injection).or_default() += 1;
        }
        if let Some(agent) = &mut process.agent {
            agent.command(command);
        }
    }

    fn agent_acts(&mut self, calm: bool) {
        if let Some(agent) = self.process.as_mut().and_then(|process| process.agent.as_mut()) {
            agent.act(&mut self.rng, calm);
        }
    }

    fn hear_agent(&mut self) {
        let Some(process) = &mut self.process else { return };
        let Some(agent) = &mut process.agent else { return };
        let input = match agent.said.pop_front() {
            Some(event) => {
                if matches!(event, AgentEvent::Exited { .. }) {
                    process.gate.clear();
                }
                Input::Agent(event)
            }
            None if agent.over() => {
                process.agent = None;
                process.gate.clear();
                Input::AgentClosed
            }
            None => return,
        };
        self.input(input);
    }

    /// The session is torn down under the worker.
    fn close_session(&mut self) {
        if !self.rng.once_in(8) {
            return;
        }
        let Some(process) = &mut self.process else { return };
        if process.agent.take().is_some() {
            process.gate.clear();
            self.input(Input::AgentClosed);
        }
    }

    fn time_passes(&mut self) {
        let due = self.process.as_ref().and_then(|process| process.core.deadline());
        self.now = match due {
            Some(due) if self.rng.once_in(2) => self.now.max(due),
            _ => self.now + Duration::from_millis(self.rng.next() % 3000),
        };
        self.input(Input::Tick);
        let due = self.process.as_ref().and_then(|process| process.core.deadline());
        assert!(due.is_none_or(|due| due > self.now), "what was due is still due");
    }

    fn input(&mut self, input: Input) {
        let Some(process) = &mut self.process else { return };
        for effect in process.core.step(input, self.now) {
            assert!(!process.finished, "{effect:?} after the end");
            match effect {
                Effect::Record(word, injection) => {
                    let millis = i64::try_from(self.now.as_millis()).unwrap();
                    process.outbound.push(word, injection, Timestamp(millis));
                }
                Effect::StartAgent { resume } => {
                    assert!(process.agent.as_ref().is_none_or(FakeAgent::over), "two agents at once");
                    process.gate.clear();
                    process.agent = Some(FakeAgent::new(resume, self.rng.once_in(20)));
                }
                Effect::Command(command) => process.gate.hold(command, process.outbound.last()),
                Effect::KillAgent => {
                    self.tally.agent_kills += 1;
                    process.agent = None;
                    process.gate.clear();
                }
                Effect::ReadInboxToEnd => process.reading_to_end = true,
                Effect::Finish { .. } => process.finished = true,
            }
        }
        if process.finished {
            assert!(
                process.agent.as_ref().is_none_or(FakeAgent::over),
                "an agent was left behind"
            );
        }
    }
}

fn name(number: usize) -> InjectionId {
    InjectionId::new(&format!("i{number}")).unwrap()
}
