//! The events of one response, as the Responses API spells them.

use std::time::Duration;

use serde_json::{Value, json};

use super::script::Usage;

/// A piece of a stream, in the order in which it is carried out.
#[derive(Debug)]
pub enum Step {
    /// Send this event.
    Event(Value),
    /// Send nothing for so long.
    Wait(Duration),
    /// Break the connection without ending the stream.
    Break,
    /// Send nothing more until the client goes away.
    Silence,
}

/// A response in the making.
pub struct Response {
    /// What it will count.
    pub usage: Usage,
    id: u64,
    items: usize,
    steps: Vec<Step>,
}

impl Response {
    /// Opens the response with this number.
    pub fn begin(id: u64) -> Self {
        let mut response = Self {
            usage: Usage::default(),
            id,
            items: 0,
            steps: Vec::new(),
        };
        response.about_itself("created", json!({}));
        response
    }

    /// Adds reasoning whose summary comes in these deltas.
    pub fn reasoning(&mut self, deltas: &[String]) {
        let (id, index) = self.next_item("rs");
        self.item("added", index, json!({"type": "reasoning", "id": id, "summary": []}));
        let place = json!({"item_id": id, "output_index": index, "summary_index": 0});
        let part = json!({"part": {"type": "summary_text", "text": ""}});
        self.event("response.reasoning_summary_part.added", &place, part);
        for delta in deltas {
            self.event("response.reasoning_summary_text.delta", &place, json!({"delta": delta}));
        }
        let summary = json!([{"type": "summary_text", "text": deltas.concat()}]);
        self.item(
            "done",
            index,
            json!({"type": "reasoning", "id": id, "summary": summary}),
        );
    }

    /// Adds a whole message in these deltas, with a pause behind each.
    pub fn message(&mut self, deltas: &[String], pace: Duration) {
        let (id, index) = self.message_begun(deltas, pace);
        let content = json!([{"type": "output_text", "text": deltas.concat(), "annotations": []}]);
        let item = json!({"type": "message", "id": id, "role": "assistant", "status": "completed", "content": content});
        self.item("done", index, item);
    }

    fn message_begun(&mut self, deltas: &[String], pace: Duration) -> (String, usize) {
        let (id, index) = self.next_item("msg");
        let item = json!({"type": "message", "id": id, "role": "assistant", "status": "in_progress", "content": []});
        self.item("added", index, item);
        let place = json!({"item_id": id, "output_index": index, "content_index": 0});
        for delta in deltas {
            self.event("response.output_text.delta", &place, json!({"delta": delta}));
            if !pace.is_zero() {
                self.steps.push(Step::Wait(pace));
            }
        }
        (id, index)
    }

    /// Adds the call of a command.
    pub fn command(&mut self, command: &str) {
        // As long as Codex lets a call wait; a shorter wait would end the call with the command still running.
        let arguments = json!({"cmd": command, "yield_time_ms": 30_000}).to_string();
        self.call(json!({"type": "function_call", "name": "exec_command", "arguments": arguments}));
    }

    /// Adds the call of a tool by its name, behind a dot where it is in a namespace.
    pub fn tool(&mut self, name: &str, arguments: &str) {
        let mut call = json!({"type": "function_call", "name": name, "arguments": arguments});
        if let Some((namespace, name)) = name.split_once('.') {
            (call["namespace"], call["name"]) = (namespace.into(), name.into());
        }
        self.call(call);
    }

    /// Adds a change of files: with the tool for it where Codex offers one, which depends on the model's name, else as
    /// a command, which Codex recognises.
    pub fn patch(&mut self, patch: &str, has_tool: bool) {
        let patch = format!("*** Begin Patch\n{patch}\n*** End Patch\n");
        if has_tool {
            self.call(json!({"type": "custom_tool_call", "name": "apply_patch", "input": patch}));
        } else {
            self.command(&format!("apply_patch <<'PATCH'\n{patch}PATCH\n"));
        }
    }

    fn call(&mut self, mut item: Value) {
        let (call_id, index) = self.next_item("call");
        item["id"] = json!(format!("item_{call_id}"));
        item["call_id"] = json!(call_id);
        item["status"] = json!("completed");
        self.item("done", index, item);
    }

    /// Ends it well.
    pub fn completed(mut self) -> Vec<Step> {
        let usage = json!({
            "input_tokens": self.usage.input,
            "input_tokens_details": {"cached_tokens": self.usage.cached},
            "output_tokens": self.usage.output,
            "output_tokens_details": {"reasoning_tokens": self.usage.reasoning},
            "total_tokens": self.usage.input + self.usage.output,
        });
        self.about_itself("completed", json!({"status": "completed", "usage": usage}));
        self.steps
    }

    /// Ends it with the word that it stopped early.
    pub fn incomplete(mut self) -> Vec<Step> {
        let details = json!({"reason": "max_output_tokens"});
        self.about_itself(
            "incomplete",
            json!({"status": "incomplete", "incomplete_details": details}),
        );
        self.steps
    }

    /// Ends it with a failure.
    pub fn failed(mut self, code: &str) -> Vec<Step> {
        let error = json!({"code": code, "message": format!("{code} as the prompt asked")});
        self.about_itself("failed", json!({"status": "failed", "error": error}));
        self.steps
    }

    /// Breaks off in a message, after these deltas.
    pub fn broken_after(mut self, deltas: &[String]) -> Vec<Step> {
        self.message_begun(deltas, Duration::ZERO);
        self.steps.push(Step::Break);
        self.steps
    }

    /// Says nothing more.
    pub fn silent(mut self) -> Vec<Step> {
        self.steps.push(Step::Silence);
        self.steps
    }

    /// The name and the index of the next item.
    fn next_item(&mut self, prefix: &str) -> (String, usize) {
        let index = self.items;
        self.items += 1;
        (format!("{prefix}_{}_{index}", self.id), index)
    }

    fn item(&mut self, what: &str, index: usize, item: Value) {
        let place = json!({"output_index": index});
        self.event(&format!("response.output_item.{what}"), &place, json!({"item": item}));
    }

    fn about_itself(&mut self, what: &str, mut response: Value) {
        response["id"] = json!(format!("resp_{}", self.id));
        self.event(&format!("response.{what}"), &json!({}), json!({"response": response}));
    }

    fn event(&mut self, kind: &str, place: &Value, fields: Value) {
        let mut event = json!({"type": kind, "sequence_number": self.steps.len()});
        for part in [place, &fields] {
            for (key, value) in part.as_object().into_iter().flatten() {
                event[key] = value.clone();
            }
        }
        self.steps.push(Step::Event(event));
    }
}
