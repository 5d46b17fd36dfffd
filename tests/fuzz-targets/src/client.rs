//! What clients say to the router.

use bytes::Bytes;
use codeswarm_protocol::ROUTER_PROTOCOL;
use codeswarm_protocol::command::{Command, Request, Spelling, Target};
use codeswarm_router::serve::{LineReader, ReadLine};
use serde_json::{Value, json};

use crate::lines;
use crate::pieces::{Pipe, run};

/// Each line is a command or is refused with a reason of bounded length; a command written again, in either spelling,
/// is the same command.
pub fn client_commands(data: &[u8]) {
    for line in lines(data) {
        match Request::parse(line) {
            Ok(request) => reads_back(&request),
            Err(bad) => {
                let reason = &bad.rejection.reason;
                assert!(!reason.is_empty(), "refused without a reason");
                assert!(
                    reason.len() <= 4096 + 4 * line.len(),
                    "a reason of {} bytes",
                    reason.len()
                );
                if let Some(field) = &bad.rejection.field {
                    assert!(reason.starts_with(field.as_str()), "{field} is not named by {reason}");
                }
            }
        }
    }
}

fn reads_back(request: &Request) {
    let command = serde_json::to_value(&request.command).unwrap();
    let Value::Object(mut fields) = command else {
        panic!("a command is no object")
    };
    assert_eq!(fields["command"], request.command.name());
    if let Some(id) = &request.request_id {
        fields.insert("request_id".to_owned(), id.as_str().into());
    }
    let flat = Request::parse(&serde_json::to_vec(&fields).unwrap()).unwrap();
    assert_eq!(
        (&flat.command, &flat.request_id, flat.spelling),
        (&request.command, &request.request_id, Spelling::Flat)
    );

    fields.remove("command");
    fields.remove("request_id");
    let enveloped = json!({
        "protocol": ROUTER_PROTOCOL,
        "type": "command",
        "command": request.command.name(),
        "request_id": request.request_id,
        "payload": fields,
    });
    let enveloped = Request::parse(&serde_json::to_vec(&enveloped).unwrap()).unwrap();
    assert_eq!(
        (&enveloped.command, &enveloped.request_id, enveloped.spelling),
        (&request.command, &request.request_id, Spelling::Enveloped)
    );
    match &request.command {
        Command::Inject(inject) => selects_within(&inject.target),
        Command::Interrupt(interrupt) => selects_within(&interrupt.target),
        Command::ApproveExecution(approve) => {
            selects_within(&approve.target);
            // Either an answer or a refusal; never a guess.
            if let Ok(decision) = approve.decision() {
                assert!(approve.approved.is_none_or(|approved| approved == decision.allows()));
            }
        }
        _ => {}
    }
}

fn selects_within(target: &Target) {
    let Ok(selector) = target.selector() else { return };
    for node_count in [1, 8, 1000] {
        if let Ok(ranks) = selector.resolve(node_count) {
            assert!(!ranks.is_empty() && ranks.len() <= node_count as usize);
            assert!(ranks.iter().all(|node| node.rank() < node_count));
            assert!(ranks.windows(2).all(|pair| pair[0] < pair[1]));
        }
    }
}

/// The lines that the router reads are the same for any pieces in which they come, and a line beyond the limit is never kept.
pub fn client_stream(data: &[u8]) {
    const LIMIT: usize = 64;
    let mut wanted: Vec<&[u8]> = data.split(|byte| *byte == b'\n').collect();
    let last = wanted.pop().unwrap_or_default();
    if !last.iter().all(u8::is_ascii_whitespace) || last.len() > LIMIT {
        wanted.push(last);
    }
    let mut reader = LineReader::new(Pipe::of(data), LIMIT);
    run(async {
        for line in wanted {
            let expected = match line.len() > LIMIT {
                true => ReadLine::TooLong(line.len() as u64),
                false => ReadLine::Line(Bytes::copy_from_slice(line)),
            };
            assert_eq!(reader.next().await.unwrap(), expected);
        }
        assert_eq!(reader.next().await.unwrap(), ReadLine::End);
    });
    let (kept, _) = reader.into_parts();
    assert!(
        kept.is_empty() && kept.capacity() <= 256 * 1024,
        "{} bytes are kept",
        kept.capacity()
    );

    // What a program left unfinished is no line; everything else is the same.
    let whole = data.iter().filter(|byte| **byte == b'\n').count();
    let mut reader = LineReader::of_a_program(Pipe::of(data));
    run(async {
        for _ in 0..whole {
            assert!(matches!(reader.next().await.unwrap(), ReadLine::Line(_)));
        }
        assert_eq!(reader.next().await.unwrap(), ReadLine::End);
    });
}
