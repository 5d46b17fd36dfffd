//! Records of an inbox: what the router asks of a worker, one JSON object a line.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::ids::InjectionId;
use crate::turn::Decision;

/// One line of an inbox. The earlier Python system's lines are read too.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum InboxRecord {
    /// A prompt.
    User {
        /// Its name; a worker takes the same name once.
        injection_id: InjectionId,
        /// The text.
        content: String,
        /// Joins the running turn instead of waiting behind it.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        steer: bool,
    },
    /// Something about the running turn.
    Control {
        /// What is asked.
        payload: Control,
    },
    /// An orderly end, as on SIGTERM.
    Shutdown {},
}

/// What can be asked about a running turn.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Control {
    /// End the running turn; its injection ends as `interrupted`.
    Interrupt {
        /// Only if this injection is the running one; it may also still be queued, and then never starts.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        injection_id: Option<InjectionId>,
    },
    /// An answer to `approval_required`.
    Approval {
        /// The question's name.
        call_id: String,
        /// The answer.
        decision: Decision,
    },
}

impl InboxRecord {
    /// The record as one line with its newline.
    pub fn to_line(&self) -> Result<Vec<u8>, serde_json::Error> {
        let mut line = serde_json::to_vec(self)?;
        line.push(b'\n');
        Ok(line)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_the_earlier_python_system_are_read() {
        let line = r#"{"type":"user","content":"Hello","injection_id":"3e1c"}"#;
        let InboxRecord::User {
            injection_id,
            content,
            steer,
        } = serde_json::from_str(line).unwrap()
        else {
            panic!()
        };
        assert_eq!(
            (injection_id.as_str(), content.as_str(), steer),
            ("3e1c", "Hello", false)
        );
        assert_eq!(
            serde_json::from_str::<InboxRecord>(r#"{"type":"shutdown"}"#).unwrap(),
            InboxRecord::Shutdown {}
        );
    }
}
