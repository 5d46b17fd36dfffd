//! One of each thing that an agent may say besides its answer, for whoever shows or stores them.

use codeswarm_protocol::record::Word;
use codeswarm_protocol::turn::{CallStatus, ErrorClass, FileEdit, FileOperation, TurnError};

/// The words; `turn` goes into the names of calls.
pub fn one_of_each(turn: &str, cwd: &str) -> Vec<Word> {
    let call_id = format!("{turn}-command");
    let tool_id = format!("{turn}-tool");
    let item_id = Some(format!("{turn}-reasoning"));
    let command = "printf 'noise\\n'".to_owned();
    vec![
        Word::Notice {
            message: "the prompt asked for noise".into(),
        },
        Word::ReasoningDelta {
            content: "Thinking about ".into(),
            item_id: item_id.clone(),
        },
        Word::Reasoning {
            content: "Thinking about noise.".into(),
            item_id,
        },
        Word::CommandStarted {
            call_id: call_id.clone(),
            command: command.clone(),
            cwd: Some(cwd.to_owned()),
        },
        Word::CommandOutputDelta {
            call_id: call_id.clone(),
            content: "noise\n".into(),
        },
        Word::CommandCompleted {
            call_id,
            command,
            status: CallStatus::Completed,
            exit_code: Some(0),
            output: "noise\n".into(),
            output_truncated: false,
            duration_ms: Some(1),
        },
        Word::ToolStarted {
            call_id: tool_id.clone(),
            kind: "search".into(),
            name: "noise".into(),
        },
        Word::ToolCompleted {
            call_id: tool_id,
            kind: "search".into(),
            name: "noise".into(),
            status: CallStatus::Failed,
        },
        Word::FileChange {
            call_id: format!("{turn}-change"),
            changes: vec![FileEdit {
                path: "noise.txt".into(),
                operation: FileOperation::Add,
                moved_to: None,
                diff: Some("+noise\n".into()),
            }],
            status: CallStatus::Declined,
        },
        Word::AgentError {
            error: TurnError {
                http_status: Some(503),
                ..TurnError::new(ErrorClass::Overloaded, "an error that passes")
            },
            will_retry: true,
        },
    ]
}
