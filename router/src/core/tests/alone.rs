//! A core that is told each thing by hand, and what it answers.

use std::time::Duration;

use codeswarm_protocol::command::{Command, Request, Spelling};
use codeswarm_protocol::event::{RouterEvent, RouterWord};
use codeswarm_protocol::frame::{Downward, Ticket};
use codeswarm_protocol::record::{RecordHead, Word, WorkerRecord};
use codeswarm_protocol::turn::TurnStatus;
use codeswarm_protocol::{Epoch, InjectionId, NodeId, Place, Timestamp};
use serde_json::json;

use super::world::{CountedNames, settings};
use crate::core::{
    Change, ClientId, Context, Core, Effect, Injection, Input, Moment, Node, Passage, Settings, Submission, Swarm,
};

/// A core that is told each thing by hand.
pub(super) struct Alone {
    pub(super) core: Core,
    pub(super) names: CountedNames,
    pub(super) now: Duration,
    pub(super) end: u64,
}

impl Alone {
    pub(super) fn new(settings: Settings) -> Self {
        Self {
            core: Core::new(settings),
            names: CountedNames::default(),
            now: Duration::ZERO,
            end: 0,
        }
    }

    /// One with a swarm of so many nodes, whose mailbox files are there.
    pub(super) fn with_swarm(nodes: u32) -> Self {
        let mut alone = Self::new(settings());
        alone.launch(nodes);
        alone
    }

    /// The place of rank 0.
    pub(super) fn launch(&mut self, nodes: u32) -> Place {
        let effects = self.command(json!({"command": "swarm_launch", "nodes": nodes}));
        let Some(Downward::Prepare { ticket, job_id, .. }) = down(&effects).pop() else {
            panic!("{effects:?}")
        };
        self.step(Input::Prepared { ticket, error: None });
        Place::new(job_id, NodeId::new(0).unwrap())
    }

    pub(super) fn with<T>(&mut self, act: impl FnOnce(&mut Core, &mut Context<'_>) -> T) -> (T, Vec<Effect>) {
        let mut effects = Vec::new();
        let mut context = Context {
            at: Moment {
                now: self.now,
                wall: Timestamp(i64::try_from(self.now.as_millis()).unwrap()),
            },
            names: &mut self.names,
            effects: &mut effects,
        };
        let done = act(&mut self.core, &mut context);
        (done, effects)
    }

    pub(super) fn step(&mut self, input: Input) -> Vec<Effect> {
        self.with(|core, context| core.step(input, context)).1
    }

    pub(super) fn command(&mut self, command: serde_json::Value) -> Vec<Effect> {
        let command: Command = serde_json::from_value(command).unwrap();
        let request = Request {
            request_id: None,
            spelling: Spelling::Flat,
            command,
        };
        self.step(Input::Command {
            client: ClientId(1),
            request,
            known: None,
        })
    }

    /// The injection and the ticket of its append.
    pub(super) fn inject(&mut self, place: &Place) -> (InjectionId, Ticket) {
        let command = json!({"command": "inject", "job_id": place.job_id, "node_id": place.node_id, "content": "x"});
        let effects = self.command(command);
        (accepted(&effects).remove(0), append(&effects).unwrap().0)
    }

    /// The worker's next record is read.
    pub(super) fn record(&mut self, place: &Place, epoch: u32, word: Word, id: Option<&InjectionId>) -> Vec<Effect> {
        let seq = self.core.stream_end(place).0.seq.next();
        let record = WorkerRecord {
            word,
            seq,
            epoch: Epoch(epoch),
            timestamp: Timestamp(0),
            job_id: place.job_id.clone(),
            node_id: place.node_id,
            injection_id: id.cloned(),
        };
        let mut line = Vec::new();
        record.write_line(&mut line).unwrap();
        self.line(place, &line)
    }

    /// A record is read, whatever stands in it.
    pub(super) fn line(&mut self, place: &Place, line: &[u8]) -> Vec<Effect> {
        self.end += line.len() as u64;
        let end = self.end;
        let (passage, effects) = self.with(|core, context| {
            let head = RecordHead::parse(line).unwrap();
            core.before_record(place, &head, context);
            core.record(place, line, &head, end, context)
        });
        assert!(matches!(passage, Passage::Next(_)));
        effects
    }

    /// What another life of the router finds, if all of this was stored.
    pub(super) fn restarted(&self, effects: &[Effect]) -> (Alone, Vec<Effect>) {
        let mut next = Self::new(self.core.settings.clone());
        let back = |node: &Node| -> Node { serde_json::from_str(&serde_json::to_string(node).unwrap()).unwrap() };
        let swarms: Vec<Swarm> = self.core.swarms.values().cloned().collect();
        let mut nodes: Vec<(Place, Node)> = self
            .core
            .nodes
            .iter()
            .map(|(place, node)| (place.clone(), back(node)))
            .collect();
        for effect in effects {
            let Effect::Save(Change::Node(place, node)) = effect else {
                continue;
            };
            nodes.retain(|(other, _)| other != place);
            nodes.push((place.clone(), back(node)));
        }
        let injections: Vec<Injection> = self.core.injections.values().cloned().collect();
        let stored = |one: &Submission| serde_json::from_str(&serde_json::to_string(one).unwrap()).unwrap();
        let submissions = self.core.submissions.values().map(stored).collect();
        let ((), effects) = next.with(|core, context| core.restore(swarms, nodes, injections, submissions, context));
        (next, effects)
    }
}

pub(super) fn down(effects: &[Effect]) -> Vec<Downward> {
    let of = |effect: &Effect| match effect {
        Effect::Follower(down) => Some(down.clone()),
        _ => None,
    };
    effects.iter().filter_map(of).collect()
}

/// The ticket of the first append, and whether it looks before it writes.
pub(super) fn append(effects: &[Effect]) -> Option<(Ticket, bool)> {
    down(effects).into_iter().find_map(|down| match down {
        Downward::Append {
            ticket, unless_present, ..
        } => Some((ticket, unless_present.is_some())),
        _ => None,
    })
}

pub(super) fn accepted(effects: &[Effect]) -> Vec<InjectionId> {
    let of = |effect: &Effect| match effect {
        Effect::Save(Change::Injection(injection)) => Some(injection.injection_id.clone()),
        _ => None,
    };
    effects.iter().filter_map(of).collect()
}

pub(super) fn told(effects: &[Effect]) -> Vec<&RouterEvent> {
    let mut events = Vec::new();
    for effect in effects {
        if let Effect::Tell { event, .. } = effect {
            events.push(event);
        }
    }
    events
}

pub(super) fn failed(effects: &[Effect]) -> Vec<&InjectionId> {
    let of = |event: &&RouterEvent| matches!(event.word, RouterWord::InjectFailed { .. });
    told(effects)
        .into_iter()
        .filter(of)
        .filter_map(|event| event.injection_id.as_ref())
        .collect()
}

pub(super) fn started() -> Word {
    Word::TurnStarted {
        turn_id: None,
        steered_into: None,
    }
}

pub(super) fn complete() -> Word {
    Word::TurnComplete {
        status: TurnStatus::Completed,
        error: None,
        duration_ms: 1,
        usage: None,
        steered_into: None,
    }
}

pub(super) fn worker_start() -> Word {
    worker_start_on("h")
}

pub(super) fn worker_start_on(host: &str) -> Word {
    Word::WorkerStart {
        v: 1,
        version: "0".to_owned(),
        host: host.to_owned(),
        pid: 7,
        pid_started: None,
        agent: "echo".to_owned(),
        recovered: Vec::new(),
    }
}

pub(super) fn a_read(effects: &[Effect]) -> Ticket {
    let reads = down(effects).into_iter().find_map(|down| match down {
        Downward::Read { ticket, .. } => Some(ticket),
        _ => None,
    });
    reads.unwrap()
}

/// The places of the controls that are sent by these effects.
pub(super) fn controls(effects: &[Effect]) -> Vec<Place> {
    let of = |down| match down {
        Downward::Append { place, line, .. } if line.starts_with(b"{\"type\":\"control\"") => Some(place),
        _ => None,
    };
    down(effects).into_iter().filter_map(of).collect()
}

pub(super) fn question(call_id: &str) -> Word {
    Word::ApprovalRequired {
        call_id: call_id.to_owned(),
        kind: "command".to_owned(),
        command: "rm".to_owned(),
        reason: None,
        cwd: None,
        available_decisions: Vec::new(),
    }
}
