//! What a request holds, as far as scripts and tests ask.

use serde_json::{Value, json};

use super::Move;

/// One request for a completion, as OpenClaw sent it.
#[derive(Debug, Clone)]
pub struct ChatRequest {
    /// The whole JSON body.
    pub body: Value,
}

/// A tool call of the model, with what came of it.
#[derive(Debug, Clone, PartialEq)]
pub struct ToolResult {
    /// The tool, also where it was called through `tool_call`.
    pub tool: String,
    /// Its arguments.
    pub arguments: Value,
    /// What it returned, as the model sees it.
    pub text: String,
}

impl ChatRequest {
    fn messages(&self) -> &[Value] {
        self.body["messages"].as_array().map_or(&[], Vec::as_slice)
    }

    /// The text of the last message of the user; empty when there is none.
    pub fn prompt(&self) -> String {
        let last = self.messages().iter().rev().find(|message| is_prompt(message));
        last.map(|message| text_of(&message["content"])).unwrap_or_default()
    }

    /// What the system says: the prompt that OpenClaw composes, with its list of skills.
    pub fn system(&self) -> String {
        let is_system = |message: &&Value| message["role"] == "system" || message["role"] == "developer";
        let texts = self.messages().iter().filter(is_system);
        texts
            .map(|message| text_of(&message["content"]))
            .collect::<Vec<_>>()
            .join("\n")
    }

    /// The names of the tools that are offered directly.
    pub fn tools(&self) -> Vec<&str> {
        let tools = self.body["tools"].as_array().map_or(&[][..], Vec::as_slice);
        tools
            .iter()
            .filter_map(|tool| tool["function"]["name"].as_str())
            .collect()
    }

    /// The tool calls since the last message of the user that have their results, oldest first.
    pub fn results(&self) -> Vec<ToolResult> {
        let messages = self.messages();
        let begin = messages.iter().rposition(is_prompt).map_or(0, |prompt| prompt + 1);
        let since = &messages[begin..];
        let calls = || {
            since
                .iter()
                .filter_map(|message| message["tool_calls"].as_array())
                .flatten()
        };
        let results = since.iter().filter(|message| message["role"] == "tool");
        let with_call = results.filter_map(|result| {
            let call = calls().find(|call| call["id"] == result["tool_call_id"])?;
            Some(ToolResult::of(&call["function"], text_of(&result["content"])))
        });
        with_call.collect()
    }

    /// The call of a tool that may not be offered directly: then it goes through `tool_call`.
    pub fn call(&self, tool: &str, arguments: Value) -> Move {
        if self.tools().contains(&tool) {
            let tool = tool.to_owned();
            return Move::Call { tool, arguments };
        }
        Move::Call {
            tool: "tool_call".into(),
            arguments: json!({"id": tool, "args": arguments}),
        }
    }
}

impl ToolResult {
    fn of(function: &Value, text: String) -> Self {
        let mut tool = function["name"].as_str().unwrap_or_default().to_owned();
        let arguments = function["arguments"].as_str().unwrap_or_default();
        let mut arguments: Value = serde_json::from_str(arguments).unwrap_or_default();
        if tool == "tool_call" {
            tool = arguments["id"].as_str().unwrap_or_default().to_owned();
            arguments = arguments["args"].take();
        }
        Self { tool, arguments, text }
    }

    /// The object that the tool returned. OpenClaw wraps what comes through `tool_call` in words and in objects of its own.
    #[track_caller]
    pub fn value(&self) -> Value {
        let outer =
            object_in(&self.text).unwrap_or_else(|| panic!("no object in what {} returned: {}", self.tool, self.text));
        let inner = outer
            .pointer("/result/content/0/text")
            .or(outer.pointer("/content/0/text"))
            .and_then(Value::as_str)
            .and_then(object_in);
        inner.unwrap_or(outer)
    }
}

/// OpenClaw adds messages of its own under the user's name.
fn is_prompt(message: &Value) -> bool {
    message["role"] == "user" && !text_of(&message["content"]).starts_with("<<<BEGIN_OPENCLAW_INTERNAL_CONTEXT>>>")
}

/// The first whole JSON object in a text.
fn object_in(text: &str) -> Option<Value> {
    text.match_indices('{').find_map(|(begin, _)| {
        let mut values = serde_json::Deserializer::from_str(&text[begin..]).into_iter::<Value>();
        values
            .next()?
            .ok()
            .filter(|value| value.as_object().is_some_and(|object| !object.is_empty()))
    })
}

/// A content is a text or a list of parts.
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

    fn request(messages: Value) -> ChatRequest {
        ChatRequest {
            body: json!({"messages": messages, "tools": [{"type": "function", "function": {"name": "tool_call"}}]}),
        }
    }

    #[test]
    fn a_result_is_that_of_its_call_also_through_tool_call() {
        let arguments = json!({"id": "codeswarm__launch", "args": {"nodes": 2}}).to_string();
        let request = request(json!([
            {"role": "user", "content": "earlier"},
            {"role": "assistant", "tool_calls": [{"id": "a", "function": {"name": "read", "arguments": "{}"}}]},
            {"role": "tool", "tool_call_id": "a", "content": "old"},
            {"role": "user", "content": [{"type": "text", "text": "launch"}]},
            {"role": "assistant", "tool_calls": [{"id": "b", "function": {"name": "tool_call", "arguments": arguments}}]},
            {"role": "tool", "tool_call_id": "b", "content": "NOTICE {not json} {\"swarm_id\":\"sw-1\"}\nend"},
            {"role": "user", "content": [{"type": "text", "text": "<<<BEGIN_OPENCLAW_INTERNAL_CONTEXT>>>\nnone"}]},
        ]));
        assert_eq!(request.prompt(), "launch");
        let results = request.results();
        assert_eq!(results.len(), 1);
        assert_eq!(
            (results[0].tool.as_str(), &results[0].arguments),
            ("codeswarm__launch", &json!({"nodes": 2}))
        );
        assert_eq!(results[0].value(), json!({"swarm_id": "sw-1"}));
    }
}
