//! Which events a request is answered with. Pure: the request, the number of the attempt and fresh ids come in.

use std::time::Duration;

use serde_json::{Value, json};

use super::conversation::ModelRequest;
use super::script::{Act, Script, Text, Trouble, Usage};

/// The answer to one request.
#[derive(Debug)]
pub enum Answer {
    /// An HTTP error.
    Refusal {
        status: u16,
        retry_after: Option<u32>,
        body: Value,
    },
    /// A stream of events.
    Stream(Vec<Step>),
}

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

/// What the model says to a prompt that asks for nothing else.
pub fn answer_to(prompt: &str) -> String {
    let rest = Script::parse(prompt).map_or_else(|_| prompt.to_owned(), |script| script.rest);
    format!("You said: {rest}")
}

/// What the model says to `[[stream n=COUNT]]`.
pub fn stream_text(count: usize) -> String {
    (1..=count).map(stream_word).collect()
}

fn stream_word(number: usize) -> String {
    format!("word-{number} ")
}

/// What the model says to `[[big bytes=BYTES]]`: numbered lines of 16 bytes, so that a gap shows.
pub fn big_text(bytes: usize) -> String {
    let lines = bytes.div_ceil(16);
    let mut text: String = (0..lines).map(|line| format!("{line:015}\n")).collect();
    text.truncate(bytes);
    text
}

/// Answers a request that was made `attempt` times before at this point of its conversation; `id` is the server's
/// count of requests and makes the names of the response and its items.
pub fn answer(request: &ModelRequest, attempt: u32, id: u64) -> Answer {
    let prompt = request.prompt();
    match Script::parse(&prompt) {
        Ok(script) => respond(&script, request, attempt, id),
        Err(error) => refusal(400, "unknown_marker", &error.to_string(), None),
    }
}

/// An HTTP error in the form of the real service.
pub fn refusal(status: u16, code: &str, message: &str, retry_after: Option<u32>) -> Answer {
    let body = json!({"error": {"message": message, "type": code, "code": code}});
    Answer::Refusal {
        status,
        retry_after,
        body,
    }
}

fn respond(script: &Script, request: &ModelRequest, attempt: u32, id: u64) -> Answer {
    let mut response = Response::begin(id);
    let mut attempts_left = attempt;
    for act in pending(&script.acts, request.calls_answered()) {
        match act {
            Act::Reason(text) => response.reasoning(text),
            Act::Say(text) => response.message(&words(text), Duration::ZERO),
            Act::Usage(usage) => response.usage = *usage,
            Act::Exec(command) => return response.exec(command).complete(),
            Act::Patch(patch) => return response.patch(patch, request).complete(),
            Act::Text(text) => return response.text(text, &script.rest),
            Act::Trouble { trouble, times } => match times {
                // This trouble is over; the attempts that it took are not counted for the next one.
                Some(times) if attempts_left >= *times => attempts_left -= times,
                _ => return response.trouble(trouble, &script.rest),
            },
        }
    }
    response.message(&words(&quote(&script.rest)), Duration::ZERO);
    response.complete()
}

/// The acts that stand after the calls which have their results.
fn pending(acts: &[Act], calls_answered: usize) -> &[Act] {
    let mut calls = acts
        .iter()
        .enumerate()
        .filter(|(_, act)| matches!(act, Act::Exec(_) | Act::Patch(_)));
    match calls_answered {
        0 => acts,
        count => calls.nth(count - 1).map_or(&[], |(index, _)| &acts[index + 1..]),
    }
}

fn quote(rest: &str) -> String {
    format!("You said: {rest}")
}

/// A text cut behind each space.
fn words(text: &str) -> Vec<String> {
    text.split_inclusive(' ').map(str::to_owned).collect()
}

/// A text of one-byte characters in pieces of `size`.
fn pieces(text: &str, size: usize) -> Vec<String> {
    let piece = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    text.as_bytes().chunks(size).map(piece).collect()
}

/// A response in the making.
struct Response {
    id: u64,
    items: usize,
    usage: Usage,
    steps: Vec<Step>,
}

impl Response {
    fn begin(id: u64) -> Self {
        let mut response = Self {
            id,
            items: 0,
            usage: Usage::default(),
            steps: Vec::new(),
        };
        let name = response.name();
        response.event("response.created", json!({"response": {"id": name}}));
        response
    }

    fn name(&self) -> String {
        format!("resp_{}", self.id)
    }

    fn event(&mut self, kind: &str, mut fields: Value) {
        fields["type"] = json!(kind);
        fields["sequence_number"] = json!(self.steps.len());
        self.steps.push(Step::Event(fields));
    }

    /// The name and index of the next item.
    fn next_item(&mut self, prefix: &str) -> (String, usize) {
        let index = self.items;
        self.items += 1;
        (format!("{prefix}_{}_{index}", self.id), index)
    }

    fn item_done(&mut self, index: usize, item: Value) {
        self.event(
            "response.output_item.done",
            json!({"output_index": index, "item": item}),
        );
    }

    fn reasoning(&mut self, text: &str) {
        let (item_id, index) = self.next_item("rs");
        let begun = json!({"type": "reasoning", "id": item_id, "summary": []});
        self.event(
            "response.output_item.added",
            json!({"output_index": index, "item": begun}),
        );
        let part = json!({"type": "summary_text", "text": ""});
        let place = json!({"item_id": item_id, "output_index": index, "summary_index": 0, "part": part});
        self.event("response.reasoning_summary_part.added", place);
        for delta in words(text) {
            let place = json!({"item_id": item_id, "output_index": index, "summary_index": 0, "delta": delta});
            self.event("response.reasoning_summary_text.delta", place);
        }
        let summary = json!([{"type": "summary_text", "text": text}]);
        self.item_done(index, json!({"type": "reasoning", "id": item_id, "summary": summary}));
    }

    /// The beginning of a message and its deltas; returns what its end needs.
    fn message_begun(&mut self, deltas: &[String], pace: Duration) -> (String, usize) {
        let (item_id, index) = self.next_item("msg");
        let item =
            json!({"type": "message", "id": item_id, "role": "assistant", "status": "in_progress", "content": []});
        self.event(
            "response.output_item.added",
            json!({"output_index": index, "item": item}),
        );
        for delta in deltas {
            let place = json!({"item_id": item_id, "output_index": index, "content_index": 0, "delta": delta});
            self.event("response.output_text.delta", place);
            if !pace.is_zero() {
                self.steps.push(Step::Wait(pace));
            }
        }
        (item_id, index)
    }

    fn message(&mut self, deltas: &[String], pace: Duration) {
        let (item_id, index) = self.message_begun(deltas, pace);
        let content = json!([{"type": "output_text", "text": deltas.concat(), "annotations": []}]);
        let item =
            json!({"type": "message", "id": item_id, "role": "assistant", "status": "completed", "content": content});
        self.item_done(index, item);
    }

    fn exec(mut self, command: &str) -> Self {
        let (call_id, index) = self.next_item("call");
        // As long as Codex lets a call wait; a shorter wait would end the call with the command still running.
        let arguments = json!({"cmd": command, "yield_time_ms": 30_000}).to_string();
        let item = json!({"type": "function_call", "id": format!("fc_{call_id}"), "call_id": call_id,
                          "name": "exec_command", "arguments": arguments, "status": "completed"});
        self.item_done(index, item);
        self
    }

    /// With a tool for it where Codex offers one (that depends on the model's name), else as a command.
    fn patch(mut self, patch: &str, request: &ModelRequest) -> Self {
        let patch = format!("*** Begin Patch\n{patch}\n*** End Patch\n");
        if !request.offers_tool("apply_patch") {
            return self.exec(&format!("apply_patch <<'PATCH'\n{patch}PATCH\n"));
        }
        let (call_id, index) = self.next_item("call");
        let item = json!({"type": "custom_tool_call", "id": format!("ctc_{call_id}"), "call_id": call_id,
                          "name": "apply_patch", "input": patch, "status": "completed"});
        self.item_done(index, item);
        self
    }

    fn text(mut self, text: &Text, rest: &str) -> Answer {
        match *text {
            Text::Stream { count, pace_ms } => {
                let deltas: Vec<_> = (1..=count).map(stream_word).collect();
                self.message(&deltas, Duration::from_millis(pace_ms));
            }
            Text::Big { bytes, delta_bytes } => {
                self.message(&pieces(&big_text(bytes), delta_bytes), Duration::ZERO);
            }
            Text::Empty => {}
            Text::Incomplete => {
                self.message(&words(&quote(rest)), Duration::ZERO);
                let reason = json!({"reason": "max_output_tokens"});
                let response = json!({"id": self.name(), "status": "incomplete", "incomplete_details": reason});
                self.event("response.incomplete", json!({"response": response}));
                return Answer::Stream(self.steps);
            }
        }
        self.complete()
    }

    fn trouble(mut self, trouble: &Trouble, rest: &str) -> Answer {
        match trouble {
            Trouble::Http {
                status,
                code,
                retry_after,
            } => {
                return refusal(
                    *status,
                    code,
                    &format!("HTTP {status} as the prompt asked"),
                    *retry_after,
                );
            }
            Trouble::Fail { code } => {
                let error = json!({"code": code, "message": format!("{code} as the prompt asked")});
                let response = json!({"id": self.name(), "status": "failed", "error": error});
                self.event("response.failed", json!({"response": response}));
            }
            Trouble::Cut { after } => {
                let mut deltas = words(&quote(rest));
                deltas.truncate(*after);
                self.message_begun(&deltas, Duration::ZERO);
                self.steps.push(Step::Break);
            }
            Trouble::Hang => self.steps.push(Step::Silence),
        }
        Answer::Stream(self.steps)
    }

    fn complete(mut self) -> Answer {
        let usage = json!({
            "input_tokens": self.usage.input,
            "input_tokens_details": {"cached_tokens": self.usage.cached},
            "output_tokens": self.usage.output,
            "output_tokens_details": {"reasoning_tokens": self.usage.reasoning},
            "total_tokens": self.usage.input + self.usage.output,
        });
        let response = json!({"id": self.name(), "status": "completed", "usage": usage});
        self.event("response.completed", json!({"response": response}));
        Answer::Stream(self.steps)
    }
}
