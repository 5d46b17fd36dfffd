//! HTTP/1.1 and the Chat Completions API's stream of events, as much of both as OpenClaw speaks to a model server.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;

use serde_json::{Value, json};

use super::{CHAT_MODEL, Move, State};

/// The longest body that is read, in bytes.
const BODY_LIMIT: u64 = 64 << 20;

/// One connection, over several requests. An error means that the client is gone, which is its right.
pub(super) fn serve(connection: TcpStream, state: &State) {
    let mut writer = match connection.try_clone() {
        Ok(writer) => writer,
        Err(error) => panic!("a connection cannot be written to: {error}"),
    };
    let mut reader = BufReader::new(connection);
    while let Ok(Some((line, body))) = request(&mut reader) {
        let response = match line.split_once("/v1/") {
            Some(("POST ", rest)) if rest.starts_with("chat/completions") => match serde_json::from_slice(&body) {
                Ok(body) => streamed(&state.answer(body)),
                Err(error) => whole("400 Bad Request", &json!({"error": {"message": error.to_string()}})),
            },
            Some(("GET ", rest)) if rest.starts_with("models") => whole(
                "200 OK",
                &json!({"object": "list", "data": [{"id": CHAT_MODEL, "object": "model"}]}),
            ),
            _ => whole(
                "404 Not Found",
                &json!({"error": {"message": format!("nothing answers {line}")}}),
            ),
        };
        if writer.write_all(response.as_bytes()).is_err() {
            return;
        }
    }
}

/// The first line and the body of the next request; `None` when the client has closed the connection.
fn request(reader: &mut impl BufRead) -> io::Result<Option<(String, Vec<u8>)>> {
    let mut line = String::new();
    if reader.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let mut length = 0;
    loop {
        let mut header = String::new();
        reader.read_line(&mut header)?;
        let Some((name, value)) = header.trim().split_once(':') else {
            break;
        };
        if name.eq_ignore_ascii_case("content-length") {
            length = value.trim().parse().map_err(io::Error::other)?;
        }
    }
    if length > BODY_LIMIT {
        return Err(io::Error::other("the body is too long"));
    }
    let mut body = Vec::new();
    reader.take(length).read_to_end(&mut body)?;
    Ok(Some((line.trim().to_owned(), body)))
}

fn whole(status: &str, body: &Value) -> String {
    let body = body.to_string();
    format!(
        "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// The completion as events, with its end.
fn streamed(what: &Move) -> String {
    let (mut chunks, reason) = match what {
        Move::Say(text) => {
            let words = text.split_inclusive(' ');
            (words.map(|word| json!({"content": word})).collect(), "stop")
        }
        Move::Call { tool, arguments } => {
            let call = json!({"index": 0, "id": format!("call_{}", unique()), "type": "function",
                "function": {"name": tool, "arguments": arguments.to_string()}});
            (vec![json!({"tool_calls": [call]})], "tool_calls")
        }
    };
    chunks.insert(0, json!({"role": "assistant", "content": ""}));
    let id = format!("chatcmpl-{}", unique());
    let head = json!({"id": id, "object": "chat.completion.chunk", "created": 0, "model": CHAT_MODEL});
    let mut events: Vec<Value> = chunks
        .into_iter()
        .map(|delta| json!([{"index": 0, "delta": delta, "finish_reason": null}]))
        .chain([json!([{"index": 0, "delta": {}, "finish_reason": reason}])])
        .map(|choices| with(&head, "choices", choices))
        .collect();
    let usage = json!({"prompt_tokens": 1000, "completion_tokens": 50, "total_tokens": 1050});
    events.push(with(&with(&head, "choices", json!([])), "usage", usage));
    let body: String = events.iter().map(|event| format!("data: {event}\n\n")).collect();
    let body = body + "data: [DONE]\n\n";
    format!(
        "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
}

fn with(object: &Value, key: &str, value: Value) -> Value {
    let mut object = object.clone();
    object[key] = value;
    object
}

/// No two calls may have the same name, also not in different sessions.
fn unique() -> u64 {
    use std::sync::atomic::{AtomicU64, Ordering};
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}
