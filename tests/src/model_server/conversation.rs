//! What a request for a response holds, as far as the server and the tests ask.

use serde_json::Value;

/// One request for a response, as Codex sent it.
#[derive(Debug, Clone)]
pub struct ModelRequest {
    /// The whole JSON body.
    pub body: Value,
}

/// The result of a tool call that Codex sent back to the model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ToolOutput {
    /// The call that it answers.
    pub call_id: String,
    /// What the tool returned, as text.
    pub text: String,
}

impl ModelRequest {
    /// The conversation so far, oldest item first.
    fn input(&self) -> &[Value] {
        self.body["input"].as_array().map_or(&[], Vec::as_slice)
    }

    /// The text of the last message of the user; empty when there is none.
    pub fn prompt(&self) -> String {
        self.user_texts().pop().unwrap_or_default()
    }

    /// The texts of all messages of the user, oldest first, what Codex itself puts there (its environment) included.
    pub fn user_texts(&self) -> Vec<String> {
        self.texts("user")
    }

    /// The texts of all answers of the model, oldest first.
    pub fn assistant_texts(&self) -> Vec<String> {
        self.texts("assistant")
    }

    /// All results of tool calls in the conversation, oldest first.
    pub fn tool_outputs(&self) -> Vec<ToolOutput> {
        self.input().iter().filter_map(tool_output).collect()
    }

    /// How many results of tool calls came after the last message of the user.
    pub(super) fn calls_answered(&self) -> usize {
        let items = self.input();
        let after_prompt = items
            .iter()
            .rposition(|item| has_role(item, "user"))
            .map_or(0, |prompt| prompt + 1);
        items[after_prompt..].iter().filter_map(tool_output).count()
    }

    /// Whether the request offers the model a tool of this name.
    pub fn offers_tool(&self, name: &str) -> bool {
        self.body["tools"]
            .as_array()
            .is_some_and(|tools| tools.iter().any(|tool| tool["name"] == name))
    }

    /// The thread of the conversation, by Codex's own name.
    pub fn thread(&self) -> &str {
        self.body["prompt_cache_key"].as_str().unwrap_or_default()
    }

    /// A name for the point that the conversation has reached: the same when Codex asks again for an answer it did not
    /// get. The number of items will not do, since parts of a broken answer may stay in the conversation.
    pub(super) fn point(&self) -> String {
        let (users, calls) = (self.user_texts().len(), self.tool_outputs().len());
        format!("{} {users} {calls} {}", self.thread(), self.prompt())
    }

    fn texts(&self, role: &str) -> Vec<String> {
        self.input()
            .iter()
            .filter(|item| has_role(item, role))
            .map(|item| text_of(&item["content"]))
            .collect()
    }
}

fn has_role(item: &Value, role: &str) -> bool {
    item["type"] == "message" && item["role"] == role
}

fn tool_output(item: &Value) -> Option<ToolOutput> {
    let kind = item["type"].as_str()?;
    matches!(kind, "function_call_output" | "custom_tool_call_output").then(|| ToolOutput {
        call_id: item["call_id"].as_str().unwrap_or_default().to_owned(),
        text: text_of(&item["output"]),
    })
}

/// The text of a content, which is a string or a list of parts.
fn text_of(content: &Value) -> String {
    match content {
        Value::String(text) => text.clone(),
        Value::Array(parts) => parts.iter().filter_map(|part| part["text"].as_str()).collect(),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn user(text: &str) -> Value {
        json!({"type": "message", "role": "user", "content": [{"type": "input_text", "text": text}]})
    }

    #[test]
    fn only_the_calls_after_the_last_user_message_count() {
        let output = json!({"type": "function_call_output", "call_id": "c1", "output": "done"});
        let mut request = ModelRequest {
            body: json!({"input": [user("one"), output, user("two")]}),
        };
        assert_eq!(request.prompt(), "two");
        assert_eq!(request.calls_answered(), 0);
        assert_eq!(request.tool_outputs().len(), 1);
        let again = json!({"type": "custom_tool_call_output", "call_id": "c2", "output": [{"type": "input_text", "text": "ok"}]});
        request.body["input"].as_array_mut().unwrap().push(again);
        assert_eq!(request.calls_answered(), 1);
        assert_eq!(request.tool_outputs()[1].text, "ok");
    }

    #[test]
    fn a_conversation_without_messages_has_no_prompt() {
        let request = ModelRequest { body: json!({}) };
        assert_eq!((request.prompt().as_str(), request.calls_answered()), ("", 0));
    }
}
