//! What a worker learns from its own outbox about its earlier lives.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

use codeswarm_protocol::record::{Word, WorkerRecord};
use codeswarm_protocol::{Epoch, InjectionId, Seq, Timestamp};
use serde::Deserialize;

/// An injection whose turn was cut by the end of the life that ran it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cut {
    /// Which.
    pub injection: InjectionId,
    /// The injection whose turn it had joined.
    pub steered_into: Option<InjectionId>,
    /// From its start to the last record of that life, in milliseconds.
    pub duration_ms: u64,
}

/// The agent's conversation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Thread {
    /// Of which agent.
    pub agent: String,
    /// The agent's name for it.
    pub thread_id: String,
}

/// All that matters of the earlier lives.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Recovered {
    /// The last record's number.
    pub last_seq: Seq,
    /// The last life.
    pub last_epoch: Epoch,
    /// The conversation to go on with.
    pub thread: Option<Thread>,
    /// Started and not ended, in the order of their starts.
    pub started: Vec<Cut>,
    /// Received, and neither started nor ended.
    pub waiting: HashSet<InjectionId>,
    /// Ended.
    pub ended: HashSet<InjectionId>,
    /// Up to here in the inbox an orderly end accounted for everything.
    pub inbox_offset: u64,
}

/// Reads an outbox from its start, line by line.
#[derive(Debug, Default)]
pub struct Reading {
    told: Recovered,
    running: HashMap<InjectionId, Running>,
    last_timestamp: String,
    unread: u64,
}

#[derive(Debug)]
struct Running {
    seq: Seq,
    since: Timestamp,
    steered_into: Option<InjectionId>,
}

/// The fields that every record has. Deltas are nearly all of an outbox, so nothing else of them is read.
#[derive(Deserialize)]
struct Head<'line> {
    #[serde(rename = "type", borrow)]
    kind: Cow<'line, str>,
    seq: Seq,
    epoch: Epoch,
    #[serde(borrow)]
    timestamp: Cow<'line, str>,
}

/// The kinds that a restart must know.
const TELLING: [&str; 6] = [
    "agent_ready",
    "inject_received",
    "turn_started",
    "turn_complete",
    "inject_failed",
    "worker_exit",
];

impl Reading {
    /// Takes one line. Lines that are no records of ours (an earlier system's, or garbage) say nothing.
    pub fn line(&mut self, line: &[u8]) {
        let Ok(head) = serde_json::from_slice::<Head<'_>>(line) else {
            self.unread += 1;
            return;
        };
        self.told.last_seq = self.told.last_seq.max(head.seq);
        self.told.last_epoch = self.told.last_epoch.max(head.epoch);
        self.last_timestamp.clear();
        self.last_timestamp.push_str(&head.timestamp);
        if TELLING.contains(&head.kind.as_ref()) {
            match serde_json::from_slice::<WorkerRecord>(line) {
                Ok(record) => self.record(record),
                Err(_) => self.unread += 1,
            }
        }
    }

    fn record(&mut self, record: WorkerRecord) {
        let told = &mut self.told;
        match (record.word, record.injection_id) {
            (Word::AgentReady { agent, thread_id, .. }, _) => told.thread = Some(Thread { agent, thread_id }),
            (Word::InjectReceived { .. }, Some(injection))
                if !told.ended.contains(&injection) && !self.running.contains_key(&injection) =>
            {
                told.waiting.insert(injection);
            }
            (Word::TurnStarted { steered_into, .. }, Some(injection)) => {
                told.waiting.remove(&injection);
                if !told.ended.contains(&injection) {
                    let running = Running {
                        seq: record.seq,
                        since: record.timestamp,
                        steered_into,
                    };
                    self.running.insert(injection, running);
                }
            }
            (Word::TurnComplete { .. } | Word::InjectFailed { .. }, Some(injection)) => {
                told.waiting.remove(&injection);
                self.running.remove(&injection);
                told.ended.insert(injection);
            }
            (Word::WorkerExit { inbox_offset, .. }, _) => told.inbox_offset = told.inbox_offset.max(inbox_offset),
            _ => {}
        }
    }

    /// How many lines were no records of ours.
    pub fn unread(&self) -> u64 {
        self.unread
    }

    /// What was told.
    pub fn end(self) -> Recovered {
        let mut running: Vec<(InjectionId, Running)> = self.running.into_iter().collect();
        running.sort_by_key(|(_, running)| running.seq);
        let until = Timestamp::try_from(self.last_timestamp).unwrap_or_default();
        let cut = |(injection, running): (InjectionId, Running)| Cut {
            injection,
            steered_into: running.steered_into,
            duration_ms: u64::try_from(until.0 - running.since.0).unwrap_or(0),
        };
        Recovered {
            started: running.into_iter().map(cut).collect(),
            ..self.told
        }
    }
}
