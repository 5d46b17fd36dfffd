//! Example lines: the golden files, and what stands in the page's code blocks.

use codeswarm_protocol::SwarmId;
use codeswarm_protocol::command::Spelling;
use codeswarm_protocol::line::{Added, write_event};
use codeswarm_protocol::record::RecordHead;
use serde_json::Value;

pub const COMMANDS: &str = include_str!("../golden/v1/commands.jsonl");
pub const ROUTER_EVENTS: &str = include_str!("../golden/v1/router_events.jsonl");
pub const OUTBOX: &str = include_str!("../golden/v1/outbox.jsonl");
pub const INBOX: &str = include_str!("../golden/v1/inbox.jsonl");
pub const LAUNCH: &str = include_str!("../golden/v1/launch.json");

/// The lines of a golden file.
pub fn lines(file: &str) -> impl Iterator<Item = Value> {
    file.lines().map(|line| serde_json::from_str(line).unwrap())
}

/// A record or a router event as a client sees it, made by the code that makes it in the router.
pub fn event_line(line: &str, spelling: Spelling) -> String {
    let swarm = SwarmId::new("s-5c1e").unwrap();
    let known: Value = serde_json::from_str(line).unwrap();
    let added = Added {
        swarm_id: known.get("epoch").is_some().then_some(&swarm),
        request_id: None,
    };
    let mut out = Vec::new();
    write_event(
        &mut out,
        spelling,
        line.as_bytes(),
        &RecordHead::parse(line.as_bytes()).unwrap(),
        added,
    )
    .unwrap();
    String::from_utf8(out).unwrap().trim_end().to_owned()
}

pub fn as_event(line: &str, spelling: Spelling) -> Value {
    serde_json::from_str(&event_line(line, spelling)).unwrap()
}

/// All JSON lines in the page's code blocks; in a transcript they stand behind `> ` and `< `.
pub fn on_the_page(page: &str) -> impl Iterator<Item = Value> {
    let mut inside = false;
    page.lines().filter_map(move |line| {
        if line.starts_with("```") {
            inside = !inside;
            return None;
        }
        let line = line
            .strip_prefix("> ")
            .or_else(|| line.strip_prefix("< "))
            .unwrap_or(line);
        (inside && line.starts_with('{')).then(|| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}")))
    })
}

pub fn is_event(line: &Value) -> bool {
    line.get("timestamp").is_some()
}

/// Commands carry no time, so an event with a field `command` is none.
pub fn is_command(line: &Value) -> bool {
    !is_event(line) && (line.get("command").is_some() || line.get("action").is_some())
}
