//! Records of an outbox: what a worker says, one JSON object a line.
//!
//! A line is `{"type":…, <its own fields>, "seq":…,"epoch":…,"timestamp":…,"job_id":…,"node_id":…,"injection_id":…}`.
//! The field `type` stands first in what this code writes, so that a line becomes a client's event by changing its
//! first bytes ([`crate::line`]); readers accept any order.

use std::borrow::Cow;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::ids::{Epoch, InjectionId, JobId, NodeId, Seq};
use crate::timestamp::Timestamp;
use crate::turn::{CallStatus, Decision, FileEdit, TurnError, TurnStatus, Usage};

/// The version of the record format, told in `worker_start`.
pub const RECORD_VERSION: u32 = 1;

/// One line of an outbox.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct WorkerRecord {
    /// What is said.
    #[serde(flatten)]
    pub word: Word,
    /// Its number in this outbox.
    pub seq: Seq,
    /// The worker's incarnation that says it.
    pub epoch: Epoch,
    /// When, by the compute node's clock.
    pub timestamp: Timestamp,
    /// The job.
    pub job_id: JobId,
    /// The rank in the job.
    pub node_id: NodeId,
    /// The injection that caused it, where one did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub injection_id: Option<InjectionId>,
}

/// What a worker can say.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Word {
    /// A life of the worker begins. The first record of each epoch.
    WorkerStart {
        /// Version of the record format.
        v: u32,
        /// Version of the software.
        version: String,
        /// The host it runs on.
        host: String,
        /// Its process id there.
        pid: u32,
        /// When that process started, in the host's own ticks since boot; with `pid` it names one process for ever.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pid_started: Option<u64>,
        /// Which agent it will launch.
        agent: String,
        /// Injections found in the outbox that the earlier life had started and not ended.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        recovered: Vec<InjectionId>,
    },
    /// The agent is up and takes turns.
    AgentReady {
        /// Which agent.
        agent: String,
        /// Its version.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        agent_version: Option<String>,
        /// The agent's name for the conversation; what a resume needs.
        thread_id: String,
        /// Whether an earlier conversation goes on.
        resumed: bool,
        /// The model.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        model: Option<String>,
        /// Its working directory.
        cwd: String,
    },
    /// The agent's process ended without being asked to, or did not come up.
    AgentExit {
        /// Its exit code.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        code: Option<i32>,
        /// The signal that ended it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        signal: Option<i32>,
        /// Why, as far as known.
        message: String,
        /// The last lines of its standard error.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        stderr_tail: Option<String>,
        /// When it is started again, in milliseconds from now; absent: it is not.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        restart_in_ms: Option<u64>,
    },
    /// Trouble that the agent itself reports; the turn may go on.
    AgentError {
        /// What.
        #[serde(flatten)]
        error: TurnError,
        /// Whether the agent tries again by itself.
        will_retry: bool,
    },
    /// Something a person may want to know, such as a warning about the configuration.
    Notice {
        /// What.
        message: String,
    },
    /// The worker has read this injection from its inbox.
    InjectReceived {
        /// How many injections stand before it, the running one included.
        queued_behind: u32,
    },
    /// The agent works on this injection.
    TurnStarted {
        /// The agent's own name for the turn, where it is known already: the start of a turn is durable before the agent hears
        /// of it, so only a prompt that joins a running turn has it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        turn_id: Option<String>,
        /// The injection whose running turn this one has joined.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        steered_into: Option<InjectionId>,
    },
    /// A piece of the answer, for the eye.
    AssistantDelta {
        /// The text.
        content: String,
        /// The message it is a piece of.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        item_id: Option<String>,
    },
    /// A whole message of the answer; this is the truth, deltas are not.
    Assistant {
        /// The text.
        content: String,
        /// The message's own name.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        item_id: Option<String>,
        /// `commentary` or `final_answer`, where the agent tells.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        phase: Option<String>,
    },
    /// A piece of the model's reasoning, for the eye.
    ReasoningDelta {
        /// The text.
        content: String,
        /// The item it is a piece of.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        item_id: Option<String>,
    },
    /// The model's reasoning, or its summary.
    Reasoning {
        /// The text.
        content: String,
        /// The item's own name.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        item_id: Option<String>,
    },
    /// The agent runs a command.
    CommandStarted {
        /// The call's name.
        call_id: String,
        /// The command line.
        command: String,
        /// Where.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        cwd: Option<String>,
    },
    /// A piece of a command's output, for the eye; pieces may be missing.
    CommandOutputDelta {
        /// The call's name.
        call_id: String,
        /// The text.
        content: String,
    },
    /// The command ended.
    CommandCompleted {
        /// The call's name.
        call_id: String,
        /// The command line.
        command: String,
        /// How it ended.
        status: CallStatus,
        /// Its exit code.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        exit_code: Option<i32>,
        /// What it printed.
        output: String,
        /// Whether `output` was cut in the middle.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        output_truncated: bool,
        /// How long it took.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        duration_ms: Option<u64>,
    },
    /// The agent uses another tool.
    ToolStarted {
        /// The call's name.
        call_id: String,
        /// What sort of tool: `mcp`, `search`, `image`, …
        kind: String,
        /// The tool.
        name: String,
    },
    /// That tool ended.
    ToolCompleted {
        /// The call's name.
        call_id: String,
        /// What sort of tool.
        kind: String,
        /// The tool.
        name: String,
        /// How it ended.
        status: CallStatus,
    },
    /// The agent changed files, or was not allowed to.
    FileChange {
        /// The call's name.
        call_id: String,
        /// The files.
        changes: Vec<FileEdit>,
        /// How it ended.
        status: CallStatus,
    },
    /// The agent asks whether it may.
    ApprovalRequired {
        /// The name to answer by.
        call_id: String,
        /// `command`, `file_change`, or another word of the agent's.
        kind: String,
        /// The command line, or what is asked for.
        command: String,
        /// Why, in the agent's words.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
        /// Where.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        cwd: Option<String>,
        /// What may be answered.
        available_decisions: Vec<Decision>,
    },
    /// That question is answered.
    ApprovalResolved {
        /// Its name.
        call_id: String,
        /// The answer.
        decision: Decision,
        /// Who answered: `policy`, `client`, `timeout`, or `agent` when it withdrew the question.
        by: String,
    },
    /// An answer or an interrupt came too late or for nothing; nothing has changed.
    ControlIgnored {
        /// What came and why it changes nothing.
        reason: String,
    },
    /// The end of an injection that had been started: exactly one each.
    TurnComplete {
        /// How it ended.
        status: TurnStatus,
        /// Why, unless `completed`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        error: Option<TurnError>,
        /// How long the turn took.
        duration_ms: u64,
        /// Its tokens, where the agent counts them.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        usage: Option<Usage>,
        /// The injection whose turn this one had joined.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        steered_into: Option<InjectionId>,
    },
    /// The turn's tokens once more, as an event of its own.
    Usage {
        /// The turn's own.
        #[serde(flatten)]
        usage: Usage,
    },
    /// The end of an injection that was never started and never will be.
    InjectFailed {
        /// A word to act on, such as `worker_exit` or `duplicate`.
        error: String,
        /// A sentence.
        reason: String,
    },
    /// A message of the agent as it came, where the configuration asks for it.
    AgentRaw {
        /// The message.
        payload: serde_json::Value,
    },
    /// Trouble of the worker's own, such as an inbox line that is no record.
    WorkerError {
        /// What, where, and what to do.
        message: String,
    },
    /// A life of the worker ends in order. The last record of the epoch; after it the outbox is renamed to the archive.
    WorkerExit {
        /// Why: `sigterm`, `shutdown`, `agent_unusable`, `worker_crashed`, `worker_refused`, `worker_killed`, …
        reason: String,
        /// Up to here, in bytes, the inbox was read and every prompt in it accounted for.
        inbox_offset: u64,
    },
}

/// The few fields that decide where a record goes; everything else in the line is passed on unread.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct RecordHead<'line> {
    /// The record's type.
    #[serde(rename = "type", borrow)]
    pub kind: Cow<'line, str>,
    /// Its number; 0 in what is not of an outbox.
    #[serde(default)]
    pub seq: Seq,
    /// The incarnation; 0 in what is not of an outbox.
    #[serde(default)]
    pub epoch: Epoch,
    /// When it was written.
    #[serde(default, borrow)]
    pub timestamp: Cow<'line, str>,
    /// The injection, where one caused it.
    #[serde(default, borrow)]
    pub injection_id: Option<Cow<'line, str>>,
}

impl<'line> RecordHead<'line> {
    /// Reads the head of a line; fails when it is not a record of ours.
    ///
    /// The rest of the line is passed on as it is, so it is made sure here that it can be: in what it skips, the JSON reader
    /// takes any bytes.
    pub fn parse(line: &'line [u8]) -> Result<Self, serde_json::Error> {
        let line = std::str::from_utf8(line).map_err(serde::de::Error::custom)?;
        if let Some(head) = crate::record_head::quick(line) {
            return Ok(head);
        }
        // An array of the same values would be taken, too, and no event can be made of one.
        if !line.trim_start().starts_with('{') {
            return Err(serde::de::Error::custom("a record is a JSON object"));
        }
        serde_json::from_str(line)
    }
}

impl WorkerRecord {
    /// Appends the record to `out` as one line with its newline.
    pub fn write_line(&self, out: &mut Vec<u8>) -> Result<(), serde_json::Error> {
        serde_json::to_writer(&mut *out, self)?;
        out.push(b'\n');
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(word: Word) -> WorkerRecord {
        WorkerRecord {
            word,
            seq: Seq(5),
            epoch: Epoch(2),
            timestamp: Timestamp(0),
            job_id: JobId::new("27").unwrap(),
            node_id: NodeId::new(1).unwrap(),
            injection_id: Some(InjectionId::new("i1").unwrap()),
        }
    }

    #[test]
    fn a_line_that_is_not_utf8_is_no_record_wherever_that_is() {
        let line = b"{\"type\":\"notice\",\"message\":\"\xff\xfe\",\"seq\":9}\n";
        assert!(RecordHead::parse(line).is_err());
    }

    #[test]
    fn p12_a_line_that_is_an_array_is_no_record() {
        let line = b"[\"notice\",9,1,\"2026-01-01T00:00:00.000Z\",null]\n";
        assert!(
            serde_json::from_slice::<RecordHead<'_>>(line).is_ok(),
            "else the check is for nothing"
        );
        assert!(RecordHead::parse(line).is_err());
        assert!(RecordHead::parse(b" {\"type\":\"notice\",\"seq\":9}\n").is_ok());
    }

    #[test]
    fn p9_a_number_behind_which_none_can_come_is_no_record_s() {
        for (bad, good) in [
            (
                format!(r#"{{"type":"notice","seq":{}}}"#, u64::MAX),
                r#"{"type":"notice","seq":9223372036854775806}"#,
            ),
            (
                format!(r#"{{"type":"notice","epoch":{}}}"#, u32::MAX),
                r#"{"type":"notice","epoch":2147483647}"#,
            ),
        ] {
            assert!(RecordHead::parse(bad.as_bytes()).is_err(), "{bad}");
            assert!(RecordHead::parse(good.as_bytes()).is_ok(), "{good}");
        }
        assert!(
            i64::try_from(Seq::MAX.next().0).is_ok(),
            "the router's database holds it"
        );
    }

    #[test]
    fn the_type_stands_first_and_the_line_reads_back() {
        let said = record(Word::AssistantDelta {
            content: "a\n\u{0}\"b".into(),
            item_id: None,
        });
        let mut line = Vec::new();
        said.write_line(&mut line).unwrap();
        assert_eq!(
            String::from_utf8(line.clone()).unwrap(),
            "{\"type\":\"assistant_delta\",\"content\":\"a\\n\\u0000\\\"b\",\"seq\":5,\"epoch\":2,\
             \"timestamp\":\"1970-01-01T00:00:00.000Z\",\"job_id\":\"27\",\"node_id\":1,\"injection_id\":\"i1\"}\n"
        );
        assert_eq!(serde_json::from_slice::<WorkerRecord>(&line).unwrap(), said);
        let head = RecordHead::parse(&line).unwrap();
        assert_eq!(
            (head.kind.as_ref(), head.seq, head.epoch),
            ("assistant_delta", Seq(5), Epoch(2))
        );
        assert_eq!(head.injection_id.as_deref(), Some("i1"));
    }

    #[test]
    fn flattened_words_read_back() {
        let error = TurnError::new(crate::turn::ErrorClass::RateLimit, "slow down");
        for word in [
            Word::AgentError {
                error,
                will_retry: true,
            },
            Word::Usage {
                usage: Usage {
                    total_tokens: 3,
                    ..Usage::default()
                },
            },
            Word::WorkerExit {
                reason: "sigterm".into(),
                inbox_offset: 9,
            },
        ] {
            let said = record(word);
            let mut line = Vec::new();
            said.write_line(&mut line).unwrap();
            assert_eq!(serde_json::from_slice::<WorkerRecord>(&line).unwrap(), said);
        }
    }
}
