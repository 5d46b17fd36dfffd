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

#[cfg(test)]
mod tests {
    use super::*;

    fn line(kind: &str, seq: u64, rest: &str) -> String {
        format!(
            "{{\"type\":\"{kind}\",\"seq\":{seq},\"epoch\":2,\"timestamp\":\"2026-01-01T00:00:00.000Z\",\"job_id\":\"7\",\
             \"node_id\":0{rest}}}"
        )
    }

    #[test]
    fn p2_lines_that_are_no_records_of_ours_say_nothing_and_are_counted() {
        let mut reading = Reading::default();
        for bad in [
            "noise".to_owned(),
            r#"{"type":"codex_rpc","payload":{}}"#.to_owned(),
            // Ours by its head, and of a shape that a restart cannot use.
            line("turn_started", 5, r#","injection_id":"../x""#),
        ] {
            reading.line(bad.as_bytes());
        }
        assert_eq!(reading.unread(), 3);
        reading.line(line("turn_started", 6, r#","injection_id":"i1""#).as_bytes());
        // Without an injection it is of none.
        reading.line(line("turn_started", 7, "").as_bytes());
        let told = reading.end();
        assert_eq!((told.last_seq, told.last_epoch), (Seq(7), Epoch(2)));
        let started: Vec<&str> = told.started.iter().map(|cut| cut.injection.as_str()).collect();
        assert_eq!(started, ["i1"]);
    }
}
