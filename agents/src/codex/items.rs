//! What happens in a turn (Codex calls it items), from Codex's words to ours.
//!
//! An item is started, has deltas, and is completed; only what is completed is the truth. A kind that is not known here is
//! passed over: the raw messages hold it for whoever asks for them.

use codeswarm_protocol::record::Word;
use codeswarm_protocol::turn::{CallStatus, FileEdit, FileOperation};
use serde::Deserialize;

/// A command's longer output is cut in the middle.
pub const LONGEST_OUTPUT: usize = 256 << 10;

/// An item of a thread.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(tag = "type", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Item {
    /// A message of the model's.
    AgentMessage {
        /// Its name.
        id: String,
        /// All of it.
        text: String,
        /// `commentary` or `final_answer`.
        #[serde(default)]
        phase: Option<String>,
    },
    /// The model's thoughts.
    Reasoning {
        /// Their name.
        id: String,
        /// A summary, in parts.
        #[serde(default)]
        summary: Vec<String>,
        /// The thoughts themselves, where the model shows them.
        #[serde(default)]
        content: Vec<String>,
    },
    /// A command line that is run.
    CommandExecution {
        /// The call's name.
        id: String,
        /// The command line.
        command: String,
        /// Where.
        #[serde(default)]
        cwd: Option<String>,
        /// Codex's own name for the terminal that it runs in; not a process id of the system's.
        #[serde(default)]
        process_id: Option<String>,
        /// How far it is.
        status: Status,
        /// Both of its outputs.
        #[serde(default)]
        aggregated_output: Option<String>,
        /// Its exit code.
        #[serde(default)]
        exit_code: Option<i32>,
        /// How long it took.
        #[serde(default)]
        duration_ms: Option<u64>,
    },
    /// A patch.
    FileChange {
        /// The call's name.
        id: String,
        /// What it changes.
        changes: Vec<Change>,
        /// How far it is.
        status: Status,
    },
    /// A tool of an MCP server.
    McpToolCall {
        /// The call's name.
        id: String,
        /// The server.
        server: String,
        /// The tool.
        tool: String,
        /// How far it is.
        status: Status,
    },
    /// A tool that a client serves.
    DynamicToolCall {
        /// The call's name.
        id: String,
        /// The tool.
        tool: String,
        /// How far it is.
        status: Status,
    },
    /// Work with other agents of Codex's own.
    CollabAgentToolCall {
        /// The call's name.
        id: String,
        /// What is done.
        tool: String,
        /// How far it is.
        status: Status,
    },
    /// A search on the web.
    WebSearch {
        /// The call's name.
        id: String,
        /// What for.
        #[serde(default)]
        query: String,
    },
    /// A look at a picture.
    ImageView {
        /// The call's name.
        id: String,
        /// Its path.
        path: String,
    },
    /// The history is summarised to fit the model's context window.
    ContextCompaction {
        /// Its name.
        #[serde(rename = "id")]
        _id: String,
    },
    /// Anything else, the echoed prompt among it.
    #[serde(other)]
    Other,
}

/// How far a call is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Status {
    /// It runs.
    InProgress,
    /// It succeeded.
    Completed,
    /// It failed.
    Failed,
    /// It was not allowed.
    Declined,
    /// It was stopped.
    Interrupted,
    /// A status that is not known here.
    #[serde(other)]
    Unknown,
}

impl Status {
    fn neutral(self) -> CallStatus {
        match self {
            Self::Completed => CallStatus::Completed,
            Self::Failed | Self::Unknown => CallStatus::Failed,
            Self::Declined => CallStatus::Declined,
            Self::Interrupted | Self::InProgress => CallStatus::Aborted,
        }
    }
}

/// One file of a patch.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Change {
    path: String,
    kind: ChangeKind,
    #[serde(default)]
    diff: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(tag = "type", rename_all = "camelCase")]
enum ChangeKind {
    Add,
    Delete,
    Update {
        #[serde(default)]
        move_path: Option<String>,
    },
    #[serde(other)]
    Other,
}

impl Change {
    fn edit(self) -> FileEdit {
        let (operation, moved_to) = match self.kind {
            ChangeKind::Add => (FileOperation::Add, None),
            ChangeKind::Delete => (FileOperation::Delete, None),
            ChangeKind::Update { move_path: Some(to) } => (FileOperation::Move, Some(to)),
            ChangeKind::Update { move_path: None } | ChangeKind::Other => (FileOperation::Update, None),
        };
        FileEdit {
            path: self.path,
            operation,
            moved_to,
            diff: self.diff.filter(|diff| !diff.is_empty()),
        }
    }

    /// A few words for whoever is asked to approve it.
    pub fn in_short(&self) -> String {
        match &self.kind {
            ChangeKind::Add => format!("add {}", self.path),
            ChangeKind::Delete => format!("delete {}", self.path),
            ChangeKind::Update { move_path: Some(to) } => format!("move {} to {to}", self.path),
            ChangeKind::Update { move_path: None } | ChangeKind::Other => {
                format!("change {}", self.path)
            }
        }
    }
}

impl Item {
    /// What is recorded when the item begins.
    pub fn started(self) -> Option<Word> {
        match self {
            Self::CommandExecution { id, command, cwd, .. } => Some(Word::CommandStarted {
                call_id: id,
                command,
                cwd,
            }),
            Self::ContextCompaction { .. } => Some(Word::Notice {
                message: "the agent summarises the conversation, which no longer fits the model's context window"
                    .into(),
            }),
            other => other.tool().map(|tool| Word::ToolStarted {
                call_id: tool.call_id,
                kind: tool.kind.to_owned(),
                name: tool.name,
            }),
        }
    }

    /// What is recorded when the item is over.
    pub fn completed(self) -> Option<Word> {
        match self {
            Self::AgentMessage { id, text, phase } => Some(Word::Assistant {
                content: text,
                item_id: Some(id),
                phase,
            }),
            Self::Reasoning { id, summary, content } => {
                let parts = if summary.is_empty() { content } else { summary };
                let content = parts.join("\n\n");
                (!content.is_empty()).then_some(Word::Reasoning {
                    content,
                    item_id: Some(id),
                })
            }
            Self::CommandExecution {
                id,
                command,
                status,
                aggregated_output,
                exit_code,
                duration_ms,
                ..
            } => {
                let (output, output_truncated) =
                    cut_in_the_middle(aggregated_output.unwrap_or_default(), LONGEST_OUTPUT);
                Some(Word::CommandCompleted {
                    call_id: id,
                    command,
                    status: status.neutral(),
                    exit_code,
                    output,
                    output_truncated,
                    duration_ms,
                })
            }
            Self::FileChange { id, changes, status } => Some(Word::FileChange {
                call_id: id,
                changes: changes.into_iter().map(Change::edit).collect(),
                status: status.neutral(),
            }),
            other => other.tool().map(|tool| Word::ToolCompleted {
                call_id: tool.call_id,
                kind: tool.kind.to_owned(),
                name: tool.name,
                status: tool.status.neutral(),
            }),
        }
    }

    fn tool(self) -> Option<Tool> {
        let (call_id, kind, name, status) = match self {
            Self::McpToolCall {
                id,
                server,
                tool,
                status,
            } => (id, "mcp", format!("{server}/{tool}"), status),
            Self::DynamicToolCall { id, tool, status } => (id, "tool", tool, status),
            Self::CollabAgentToolCall { id, tool, status } => (id, "agent", tool, status),
            Self::WebSearch { id, query } => (id, "search", query, Status::Completed),
            Self::ImageView { id, path } => (id, "image", path, Status::Completed),
            _ => return None,
        };
        Some(Tool {
            call_id,
            kind,
            name,
            status,
        })
    }
}

struct Tool {
    call_id: String,
    kind: &'static str,
    name: String,
    status: Status,
}

/// Keeps the beginning and the end of a text that is longer than `limit` bytes, and says how much is left out.
fn cut_in_the_middle(text: String, limit: usize) -> (String, bool) {
    if text.len() <= limit {
        return (text, false);
    }
    let half = limit / 2;
    let mut head = half;
    while !text.is_char_boundary(head) {
        head -= 1;
    }
    let mut tail = text.len() - half;
    while !text.is_char_boundary(tail) {
        tail += 1;
    }
    let left_out = tail - head;
    let cut = format!(
        "{}\n[... {left_out} bytes left out ...]\n{}",
        &text[..head],
        &text[tail..]
    );
    (cut, true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_output_keeps_both_ends_whole_characters_and_says_so() {
        let text = "ä".repeat(200);
        let (cut, truncated) = cut_in_the_middle(text.clone(), 101);
        assert!(truncated);
        assert_eq!(
            cut,
            format!("{}\n[... 300 bytes left out ...]\n{}", "ä".repeat(25), "ä".repeat(25))
        );
        assert_eq!(cut_in_the_middle(text.clone(), 400), (text, false));
    }

    fn words(item: &str) -> (Option<Word>, Option<Word>) {
        let item: Item = serde_json::from_str(item).unwrap();
        (item.clone().started(), item.completed())
    }

    #[test]
    fn kinds_that_no_recording_holds_are_read_by_the_schema() {
        let (started, completed) =
            words(r#"{"type":"mcpToolCall","id":"c1","server":"s","tool":"t","status":"failed","arguments":{}}"#);
        assert!(matches!(started, Some(Word::ToolStarted { name, kind, .. }) if name == "s/t" && kind == "mcp"));
        assert!(matches!(
            completed,
            Some(Word::ToolCompleted {
                status: CallStatus::Failed,
                ..
            })
        ));
        let (_, completed) = words(
            r#"{"type":"fileChange","id":"c2","status":"declined","changes":[
                {"path":"a","kind":{"type":"update","move_path":"b"},"diff":""},
                {"path":"c","kind":{"type":"delete"},"diff":"-x"}]}"#,
        );
        let Some(Word::FileChange { changes, status, .. }) = completed else {
            panic!("{completed:?}");
        };
        assert_eq!(status, CallStatus::Declined);
        assert_eq!(
            (changes[0].operation, changes[0].moved_to.as_deref()),
            (FileOperation::Move, Some("b"))
        );
        assert_eq!(
            (changes[1].operation, changes[1].diff.as_deref()),
            (FileOperation::Delete, Some("-x"))
        );
        let (_, completed) = words(r#"{"type":"reasoning","id":"r","summary":["a","b"],"content":["c"]}"#);
        assert!(matches!(completed, Some(Word::Reasoning { content, .. }) if content == "a\n\nb"));
        assert_eq!(words(r#"{"type":"reasoning","id":"r"}"#), (None, None));
        assert_eq!(words(r#"{"type":"brandNew","id":"r","x":[1]}"#), (None, None));
    }
}
