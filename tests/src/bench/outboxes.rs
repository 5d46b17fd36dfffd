//! Outboxes full of records, as workers write them: turns of many deltas, some commands with their output, whole messages.
//! The text is words drawn from a list by a generator with a fixed start, so that every run measures the same bytes.

use std::io::{BufWriter, Write};
use std::path::Path;

use codeswarm_protocol::record::{Word, WorkerRecord};
use codeswarm_protocol::turn::{CallStatus, TurnStatus};
use codeswarm_protocol::{Epoch, InjectionId, JobId, NodeId, Place, Seq, Timestamp};

/// What an agent talks about.
const WORDS: [&str; 64] = [
    "the",
    "a",
    "of",
    "to",
    "in",
    "file",
    "test",
    "function",
    "error",
    "line",
    "returns",
    "value",
    "we",
    "then",
    "check",
    "that",
    "should",
    "now",
    "read",
    "write",
    "mailbox",
    "worker",
    "node",
    "build",
    "module",
    "import",
    "struct",
    "match",
    "because",
    "failing",
    "assert",
    "expected",
    "found",
    "commit",
    "branch",
    "merge",
    "run",
    "output",
    "stdout",
    "path",
    "config",
    "missing",
    "update",
    "remove",
    "add",
    "first",
    "second",
    "both",
    "thread",
    "lock",
    "queue",
    "message",
    "parse",
    "bytes",
    "offset",
    "index",
    "loop",
    "while",
    "zero",
    "empty",
    "buffer",
    "size",
    "record",
    "`cargo test`",
];

/// Numbers that look like chance.
#[derive(Debug, Clone)]
struct Chance(u64);

impl Chance {
    /// One below `limit`.
    fn below(&mut self, limit: usize) -> usize {
        // xorshift64*
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let drawn = self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33;
        usize::try_from(drawn).unwrap_or_default() % limit
    }

    /// So many words.
    fn text(&mut self, words: usize) -> String {
        let mut text = String::new();
        for _ in 0..words {
            text.push_str(WORDS[self.below(WORDS.len())]);
            text.push(' ');
        }
        text
    }
}

/// The place of a node of a job, both known to be well spelled.
#[track_caller]
pub fn place(job: &str, node: u32) -> Place {
    let job = JobId::new(job).unwrap_or_else(|error| panic!("{job}: {error}"));
    let node = NodeId::new(node).unwrap_or_else(|error| panic!("{node}: {error}"));
    Place::new(job, node)
}

/// A worker that says what workers say, without an end.
pub struct Talker {
    place: Place,
    seq: Seq,
    chance: Chance,
    turns: u64,
    now: Timestamp,
}

impl Talker {
    /// At its first record.
    pub fn new(place: Place) -> Self {
        let start = u64::from(place.node_id.rank()) + 1;
        Self {
            place,
            seq: Seq(0),
            chance: Chance(start.wrapping_mul(0x9E37_79B9_7F4A_7C15)),
            turns: 0,
            now: Timestamp(1_790_000_000_000),
        }
    }

    /// How many records it has said.
    pub fn said(&self) -> u64 {
        self.seq.0
    }

    /// Says that it has started, which the first record of an outbox must.
    pub fn start(&mut self, out: &mut Vec<u8>) {
        let start = Word::WorkerStart {
            v: codeswarm_protocol::record::RECORD_VERSION,
            version: codeswarm_protocol::VERSION.to_owned(),
            host: "node0".into(),
            pid: 1,
            pid_started: None,
            agent: "echo".into(),
            recovered: Vec::new(),
        };
        self.say(start, None, out);
        let ready = Word::AgentReady {
            agent: "echo".into(),
            agent_version: None,
            thread_id: "t".into(),
            resumed: false,
            model: None,
            cwd: "/".into(),
        };
        self.say(ready, None, out);
    }

    /// A whole turn.
    pub fn turn(&mut self, out: &mut Vec<u8>) {
        self.turns += 1;
        let name = format!("i-{}-{}", self.place.node_id.rank(), self.turns);
        let injection = InjectionId::new(&name).ok();
        let item_id = Some(format!("msg_{}", self.turns));
        let mut answer = String::new();
        let turn_id = Some(format!("turn_{}", self.turns));
        self.say(
            Word::TurnStarted {
                turn_id,
                steered_into: None,
            },
            injection.as_ref(),
            out,
        );
        for call in 0..4 {
            for _ in 0..20 + self.chance.below(20) {
                let words = 1 + self.chance.below(6);
                let content = self.chance.text(words);
                answer.push_str(&content);
                let item_id = item_id.clone();
                self.say(Word::AssistantDelta { content, item_id }, injection.as_ref(), out);
            }
            let call_id = format!("call_{}_{call}", self.turns);
            let command = format!("bash -lc '{}'", self.chance.text(5));
            let started = Word::CommandStarted {
                call_id: call_id.clone(),
                command: command.clone(),
                cwd: Some("/work".into()),
            };
            self.say(started, injection.as_ref(), out);
            let words = 50 + self.chance.below(400);
            let completed = Word::CommandCompleted {
                call_id,
                command,
                status: CallStatus::Completed,
                exit_code: Some(0),
                output: self.chance.text(words),
                output_truncated: false,
                duration_ms: Some(12),
            };
            self.say(completed, injection.as_ref(), out);
        }
        let answer = Word::Assistant {
            content: answer,
            item_id,
            phase: None,
        };
        self.say(answer, injection.as_ref(), out);
        let complete = Word::TurnComplete {
            status: TurnStatus::Completed,
            error: None,
            duration_ms: 1234,
            usage: None,
            steered_into: None,
        };
        self.say(complete, injection.as_ref(), out);
    }

    fn say(&mut self, word: Word, injection_id: Option<&InjectionId>, out: &mut Vec<u8>) {
        self.seq = self.seq.next();
        self.now.0 += 3;
        let record = WorkerRecord {
            word,
            seq: self.seq,
            epoch: Epoch(1),
            timestamp: self.now,
            job_id: self.place.job_id.clone(),
            node_id: self.place.node_id,
            injection_id: injection_id.cloned(),
        };
        record
            .write_line(out)
            .unwrap_or_else(|error| panic!("a record: {error}"));
    }
}

/// What is in a file that was written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Written {
    /// Bytes.
    pub bytes: u64,
    /// Records.
    pub records: u64,
}

/// Writes an outbox of about so many bytes: whole turns.
#[track_caller]
pub fn write(path: &Path, place: Place, bytes: u64) -> Written {
    match try_write(path, place, bytes) {
        Ok(written) => written,
        Err(error) => panic!("{}: {error}", path.display()),
    }
}

fn try_write(path: &Path, place: Place, bytes: u64) -> std::io::Result<Written> {
    let file = std::fs::File::create(path)?;
    let mut file = BufWriter::with_capacity(1 << 20, file);
    let mut talker = Talker::new(place);
    let mut lines = Vec::new();
    let mut written = Written::default();
    talker.start(&mut lines);
    while written.bytes < bytes {
        talker.turn(&mut lines);
        file.write_all(&lines)?;
        written.bytes += lines.len() as u64;
        lines.clear();
    }
    file.flush()?;
    written.records = talker.said();
    Ok(written)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_numbered_without_gaps_and_the_same_each_time() {
        let folder = tempfile::tempdir().unwrap();
        let (one, two) = (folder.path().join("one"), folder.path().join("two"));
        let written = write(&one, place("7", 3), 100_000);
        assert_eq!(write(&two, place("7", 3), 100_000), written);
        let text = std::fs::read_to_string(&one).unwrap();
        assert_eq!(text, std::fs::read_to_string(&two).unwrap());
        assert_eq!(text.len() as u64, written.bytes);
        let seqs = text.lines().map(|line| {
            let record: WorkerRecord = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
            record.seq.0
        });
        assert!(seqs.eq(1..=written.records));
    }
}
