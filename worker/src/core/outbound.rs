//! Records on their way into the outbox: numbered in the order in which they were said, and joined while they wait.
//!
//! While one write is under way, what is said meanwhile waits here. A delta that follows a delta of the same message is
//! added to it: its text is kept, its record is saved. What was handed out is never touched again.

use std::collections::VecDeque;

use codeswarm_protocol::record::{Word, WorkerRecord};
use codeswarm_protocol::{Epoch, InjectionId, Place, Seq, Timestamp};

/// A joined delta is not made longer than this, in bytes: a reader wants to see it move.
const JOINED_BYTES: usize = 32 << 10;

/// What a record's frame costs beside its text, in bytes, about.
const FRAME_BYTES: usize = 256;

/// Records in order, with their numbers.
#[derive(Debug)]
pub struct Outbound {
    place: Place,
    epoch: Epoch,
    last: Seq,
    waiting: VecDeque<(WorkerRecord, usize)>,
    bytes: usize,
}

impl Outbound {
    /// The records of one life, the first of which has the number after `last`.
    pub fn new(place: Place, epoch: Epoch, last: Seq) -> Self {
        Self {
            place,
            epoch,
            last,
            waiting: VecDeque::new(),
            bytes: 0,
        }
    }

    /// The last number given.
    pub fn last(&self) -> Seq {
        self.last
    }

    /// About how many bytes wait.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Takes in what is said next.
    pub fn push(&mut self, word: Word, injection_id: Option<InjectionId>, timestamp: Timestamp) {
        let cost = FRAME_BYTES + text_bytes(&word);
        let Some(word) = self.join(word, injection_id.as_ref()) else {
            return;
        };
        self.last = self.last.next();
        self.bytes += cost;
        let record = WorkerRecord {
            word,
            seq: self.last,
            epoch: self.epoch,
            timestamp,
            job_id: self.place.job_id.clone(),
            node_id: self.place.node_id,
            injection_id,
        };
        self.waiting.push_back((record, cost));
    }

    /// Adds a delta to the last waiting record if that is a piece of the same message; gives the word back if not.
    fn join(&mut self, word: Word, injection: Option<&InjectionId>) -> Option<Word> {
        let Some((record, cost)) = self.waiting.back_mut() else {
            return Some(word);
        };
        if record.injection_id.as_ref() != injection {
            return Some(word);
        }
        let (text, more) = match (&mut record.word, &word) {
            (
                Word::AssistantDelta { content: text, item_id },
                Word::AssistantDelta {
                    content: more,
                    item_id: same,
                },
            )
            | (
                Word::ReasoningDelta { content: text, item_id },
                Word::ReasoningDelta {
                    content: more,
                    item_id: same,
                },
            ) if item_id == same => (text, more),
            (
                Word::CommandOutputDelta { content: text, call_id },
                Word::CommandOutputDelta {
                    content: more,
                    call_id: same,
                },
            ) if call_id == same => (text, more),
            _ => return Some(word),
        };
        if text.len() + more.len() > JOINED_BYTES {
            return Some(word);
        }
        text.push_str(more);
        *cost += more.len();
        self.bytes += more.len();
        None
    }

    /// Hands out waiting records in order, about `bytes` of them and one at least.
    pub fn take(&mut self, bytes: usize) -> Vec<WorkerRecord> {
        let mut taken = Vec::new();
        let mut sum = 0;
        while let Some((_, cost)) = self.waiting.front() {
            if !taken.is_empty() && sum + cost > bytes {
                break;
            }
            if let Some((record, cost)) = self.waiting.pop_front() {
                sum += cost;
                taken.push(record);
            }
        }
        self.bytes -= sum;
        taken
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }
}

/// The bytes of a word's long fields.
fn text_bytes(word: &Word) -> usize {
    match word {
        Word::AssistantDelta { content, .. }
        | Word::Assistant { content, .. }
        | Word::ReasoningDelta { content, .. }
        | Word::Reasoning { content, .. }
        | Word::CommandOutputDelta { content, .. } => content.len(),
        Word::CommandStarted { command, .. } | Word::ApprovalRequired { command, .. } => command.len(),
        Word::CommandCompleted { command, output, .. } => command.len() + output.len(),
        Word::FileChange { changes, .. } => changes
            .iter()
            .map(|edit| edit.path.len() + edit.diff.as_ref().map_or(0, String::len))
            .sum(),
        Word::AgentRaw { payload } => json_bytes(payload),
        _ => 0,
    }
}

fn json_bytes(value: &serde_json::Value) -> usize {
    match value {
        serde_json::Value::String(text) => text.len() + 2,
        serde_json::Value::Array(values) => values.iter().map(|value| json_bytes(value) + 1).sum(),
        serde_json::Value::Object(fields) => fields
            .iter()
            .map(|(key, value)| key.len() + 4 + json_bytes(value))
            .sum(),
        _ => 8,
    }
}

#[cfg(test)]
mod tests {
    use codeswarm_protocol::{JobId, NodeId};

    use super::*;

    fn outbound() -> Outbound {
        let place = Place::new(JobId::new("7").unwrap(), NodeId::new(0).unwrap());
        Outbound::new(place, Epoch(2), Seq(10))
    }

    fn delta(text: &str, item: &str) -> Word {
        Word::AssistantDelta {
            content: text.to_owned(),
            item_id: Some(item.to_owned()),
        }
    }

    #[test]
    fn deltas_of_one_message_join_while_they_wait_and_numbers_have_no_gap() {
        let mut out = outbound();
        let injection = InjectionId::new("i").ok();
        for (text, item) in [("a", "m1"), ("b", "m1"), ("c", "m2"), ("d", "m1")] {
            out.push(delta(text, item), injection.clone(), Timestamp(0));
        }
        out.push(delta("e", "m1"), None, Timestamp(0));
        let said: Vec<(u64, Word)> = out.take(usize::MAX).into_iter().map(|r| (r.seq.0, r.word)).collect();
        assert_eq!(
            said,
            [
                (11, delta("ab", "m1")),
                (12, delta("c", "m2")),
                (13, delta("d", "m1")),
                (14, delta("e", "m1"))
            ]
        );
        out.push(delta("f", "m1"), None, Timestamp(0));
        assert_eq!(
            out.take(usize::MAX)[0].seq,
            Seq(15),
            "what was handed out is not touched again"
        );
        assert_eq!((out.bytes(), out.is_empty()), (0, true));
    }

    #[test]
    fn reasoning_and_output_join_as_well_and_never_with_another_kind() {
        let reasoning = |text: &str| Word::ReasoningDelta {
            content: text.to_owned(),
            item_id: None,
        };
        let output = |text: &str, call: &str| Word::CommandOutputDelta {
            call_id: call.to_owned(),
            content: text.to_owned(),
        };
        let mut out = outbound();
        for word in [
            reasoning("a"),
            reasoning("b"),
            output("c", "1"),
            output("d", "1"),
            output("e", "2"),
            reasoning("f"),
        ] {
            out.push(word, None, Timestamp(0));
        }
        let said: Vec<Word> = out.take(usize::MAX).into_iter().map(|record| record.word).collect();
        assert_eq!(
            said,
            [reasoning("ab"), output("cd", "1"), output("e", "2"), reasoning("f")]
        );
    }

    #[test]
    fn p8_a_raw_message_weighs_what_is_in_it() {
        let mut out = outbound();
        let payload = serde_json::json!({"list": ["x".repeat(5000), 7, null], "more": {"text": "y".repeat(3000)}});
        let length = payload.to_string().len();
        out.push(Word::AgentRaw { payload }, None, Timestamp(0));
        assert!(out.bytes() >= length, "{} for {length} bytes", out.bytes());
        out.take(usize::MAX);
        assert_eq!(out.bytes(), 0);
    }

    #[test]
    fn a_joined_delta_stays_short_and_its_text_whole() {
        let mut out = outbound();
        let piece = "x".repeat(1000);
        for _ in 0..100 {
            out.push(delta(&piece, "m"), None, Timestamp(0));
        }
        let records = out.take(usize::MAX);
        let lengths: Vec<usize> = records.iter().map(|r| text_bytes(&r.word)).collect();
        assert_eq!(lengths, [32_000, 32_000, 32_000, 4_000]);
    }

    #[test]
    fn a_batch_has_one_record_at_least() {
        let mut out = outbound();
        out.push(Word::Notice { message: "a".into() }, None, Timestamp(0));
        out.push(Word::Notice { message: "b".into() }, None, Timestamp(0));
        assert_eq!(out.take(0).len(), 1);
        assert_eq!(out.take(usize::MAX).len(), 1);
    }
}
