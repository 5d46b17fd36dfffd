//! What a request is answered with. Pure: the request, the number of the attempt and a fresh id come in.

use std::time::Duration;

use serde_json::{Value, json};

use super::conversation::ModelRequest;
use super::response::{Response, Step};
use super::script::{Act, Script, Text, Trouble};

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

/// What the model says to a prompt that asks for nothing else.
pub fn answer_to(prompt: &str) -> String {
    let script = Script::parse(prompt);
    quote(script.as_ref().map_or(prompt, |script| &script.rest))
}

/// What the model says to `[[stream n=COUNT]]`.
pub fn stream_text(count: usize) -> String {
    (1..=count).map(stream_word).collect()
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
    let script = match Script::parse(&request.prompt()) {
        Ok(script) => script,
        Err(error) => return refusal(400, "unknown_marker", &error.to_string(), None),
    };
    let mut response = Response::begin(id);
    let mut attempts_left = attempt;
    for act in pending(&script.acts, request.calls_answered()) {
        match act {
            Act::Reason(text) => response.reasoning(&words(text)),
            Act::Say(text) => response.message(&words(text), Duration::ZERO),
            Act::Usage(usage) => response.usage = *usage,
            Act::Exec(command) => {
                response.command(command);
                return Answer::Stream(response.completed());
            }
            Act::Call(tool, arguments) => {
                response.tool(tool, arguments);
                return Answer::Stream(response.completed());
            }
            Act::Patch(patch) => {
                response.patch(patch, request.offers_tool("apply_patch"));
                return Answer::Stream(response.completed());
            }
            Act::Text(text) => return Answer::Stream(final_text(response, text, &script.rest)),
            Act::Trouble { trouble, times } => match times {
                // This trouble is over; the attempts that it took are not counted for the next one.
                Some(times) if attempts_left >= *times => attempts_left -= times,
                _ => return in_trouble(response, trouble, &script.rest),
            },
        }
    }
    response.message(&words(&quote(&script.rest)), Duration::ZERO);
    Answer::Stream(response.completed())
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

/// The acts that stand after the calls which have their results.
fn pending(acts: &[Act], calls_answered: usize) -> &[Act] {
    let mut calls = acts
        .iter()
        .enumerate()
        .filter(|(_, act)| matches!(act, Act::Exec(_) | Act::Call(..) | Act::Patch(_)));
    match calls_answered {
        0 => acts,
        count => calls.nth(count - 1).map_or(&[], |(index, _)| &acts[index + 1..]),
    }
}

fn final_text(mut response: Response, text: &Text, rest: &str) -> Vec<Step> {
    match *text {
        Text::Stream { count, pace_ms } => {
            let deltas: Vec<_> = (1..=count).map(stream_word).collect();
            response.message(&deltas, Duration::from_millis(pace_ms));
        }
        Text::Big { bytes, delta_bytes } => response.message(&pieces(&big_text(bytes), delta_bytes), Duration::ZERO),
        Text::Empty => {}
        Text::Incomplete => {
            response.message(&words(&quote(rest)), Duration::ZERO);
            return response.incomplete();
        }
    }
    response.completed()
}

fn in_trouble(response: Response, trouble: &Trouble, rest: &str) -> Answer {
    Answer::Stream(match trouble {
        Trouble::Http {
            status,
            code,
            retry_after,
        } => {
            let message = format!("HTTP {status} as the prompt asked");
            return refusal(*status, code, &message, *retry_after);
        }
        Trouble::Fail { code } => response.failed(code),
        Trouble::Cut { after } => {
            let mut deltas = words(&quote(rest));
            deltas.truncate(*after);
            response.broken_after(&deltas)
        }
        Trouble::Hang => response.silent(),
    })
}

fn quote(rest: &str) -> String {
    format!("You said: {rest}")
}

fn stream_word(number: usize) -> String {
    format!("word-{number} ")
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

#[cfg(test)]
mod tests {
    use super::*;

    /// The request of a conversation whose last prompt is `prompt`, with so many calls answered since.
    fn request(prompt: &str, calls: usize) -> ModelRequest {
        let mut input = vec![json!({"type": "message", "role": "user", "content": prompt})];
        input.resize(
            1 + calls,
            json!({"type": "function_call_output", "call_id": "c", "output": ""}),
        );
        ModelRequest {
            body: json!({"input": input}),
        }
    }

    /// The answer in words: the status of a refusal, or the types of the items and the end of a stream.
    fn outline(prompt: &str, calls: usize, attempt: u32) -> Vec<String> {
        let steps = match answer(&request(prompt, calls), attempt, 1) {
            Answer::Refusal { status, .. } => return vec![status.to_string()],
            Answer::Stream(steps) => steps,
        };
        let word = |step: &Step| match step {
            Step::Event(event) if event["type"] == "response.output_item.done" => Some(event["item"]["type"].clone()),
            Step::Event(event) if event.get("response").is_some() => Some(event["type"].clone()),
            Step::Event(_) | Step::Wait(_) => None,
            Step::Break => Some(json!("break")),
            Step::Silence => Some(json!("silence")),
        };
        let words = steps.iter().filter_map(word).skip(1);
        words.map(|word| word.as_str().unwrap().to_owned()).collect()
    }

    #[test]
    fn each_call_answered_brings_the_next_marker() {
        let prompt = "[[reason a]] [[exec x]] [[say b]] [[exec y]] end";
        assert_eq!(
            outline(prompt, 0, 0),
            ["reasoning", "function_call", "response.completed"]
        );
        assert_eq!(
            outline(prompt, 1, 0),
            ["message", "function_call", "response.completed"]
        );
        assert_eq!(outline(prompt, 2, 0), ["message", "response.completed"]);
        assert_eq!(outline(prompt, 9, 0), ["message", "response.completed"]);
    }

    #[test]
    fn a_tool_is_called_by_its_name_and_namespace() {
        let call = |prompt: &str| match answer(&request(prompt, 0), 0, 1) {
            Answer::Stream(steps) => steps.into_iter().find_map(|step| match step {
                Step::Event(event) if event["item"]["type"] == "function_call" => Some(event["item"].clone()),
                _ => None,
            }),
            Answer::Refusal { body, .. } => panic!("{body}"),
        };
        let item = call(r#"[[call mcp__codeswarm.wait {"prompt": "k"}]] and"#).unwrap();
        assert_eq!(
            (&item["namespace"], &item["name"]),
            (&json!("mcp__codeswarm"), &json!("wait"))
        );
        assert_eq!(item["arguments"], r#"{"prompt": "k"}"#);
        let item = call("[[call view_image]]").unwrap();
        assert_eq!(
            (&item["name"], &item["arguments"]),
            (&json!("view_image"), &json!("{}"))
        );
        assert_eq!(item.get("namespace"), None);
    }

    #[test]
    fn trouble_passes_after_its_times() {
        let prompt = "[[http 503 times=2]] [[cut times=1]] end";
        let outlines: Vec<_> = (0..4).map(|attempt| outline(prompt, 0, attempt)).collect();
        assert_eq!(outlines[0], ["503"]);
        assert_eq!(outlines[1], ["503"]);
        assert_eq!(outlines[2], ["break"]);
        assert_eq!(outlines[3], ["message", "response.completed"]);
        assert_eq!(outline("[[hang]]", 0, 7), ["silence"]);
    }

    #[test]
    fn a_big_text_has_the_length_asked_for() {
        for bytes in [0, 1, 15, 16, 17, 1_000_000] {
            assert_eq!(big_text(bytes).len(), bytes);
        }
        assert_eq!(pieces(&big_text(10), 4), ["0000", "0000", "00"]);
    }
}
