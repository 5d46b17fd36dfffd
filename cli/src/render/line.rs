//! An event as one line for people: when, who, what.

use codeswarm_client::event::{Event, Said};
use codeswarm_events::line::Wording;
use codeswarm_protocol::Timestamp;
use codeswarm_protocol::event::RouterWord;
use codeswarm_protocol::record::Word;
use serde::Deserialize;

use super::colours::{Colours, Look};
use super::words;
use crate::plain::one_line;

/// The longest text of an event.
const LONGEST: usize = 300;

/// One line an event.
#[derive(Debug, Clone, Copy)]
pub struct Text {
    colours: Colours,
}

#[derive(Deserialize)]
struct Moment {
    timestamp: Timestamp,
}

impl Text {
    /// With these colours.
    pub fn new(colours: Colours) -> Self {
        Self { colours }
    }
}

impl Wording for Text {
    fn line(&self, event: &Event, repeated: bool) -> Vec<u8> {
        let head = &event.head;
        let when = serde_json::from_slice::<Moment>(event.line());
        let when = when.map_or_else(|_| "-".to_owned(), |when| when.timestamp.to_string());
        let who = match (&head.swarm_id, head.node_id) {
            (Some(swarm), Some(node)) => format!("[swarm {swarm} | node {node}] "),
            (Some(swarm), None) => format!("[swarm {swarm}] "),
            (None, Some(node)) => format!("[node {node}] "),
            (None, None) => String::new(),
        };
        let what = one_line(&what(event), LONGEST);
        let colon = if what.is_empty() { "" } else { ": " };
        let again = if repeated { " (may be repeated)" } else { "" };
        let kind = one_line(&head.kind, 60);
        format!(
            "{} {}{kind}{colon}{what}{again}\n",
            self.colours.paint(Look::Dim, &when),
            self.colours.paint(Look::Header, &who),
        )
        .into_bytes()
    }
}

/// What is said, without colours: it becomes one line.
fn what(event: &Event) -> String {
    let plain = Colours::OFF;
    match event.said() {
        Said::Worker(word) => match &word {
            Word::TurnComplete {
                status,
                error,
                duration_ms,
                usage,
                ..
            } => match words::turn_end(plain, *status, error.as_ref(), Some(*duration_ms), usage.as_ref()) {
                end if *status == codeswarm_protocol::turn::TurnStatus::Completed => format!("completed {end}"),
                end => end,
            },
            Word::AssistantDelta { content, .. } | Word::Assistant { content, .. } => content.clone(),
            Word::CommandStarted { command, .. } => words::command_line(plain, command),
            Word::CommandCompleted {
                command,
                status,
                exit_code,
                duration_ms,
                ..
            } => {
                let end = words::command_end(plain, *status, *exit_code, *duration_ms);
                format!("{} {end}", words::command_line(plain, command))
            }
            Word::ToolStarted { kind, name, .. } => words::tool_line(plain, kind, name),
            Word::Usage { usage } => words::usage_line(plain, usage),
            Word::WorkerExit { reason, .. } => reason.clone(),
            other => match event.head.node_id {
                Some(node) => words::worker(plain, other, event.head.swarm_id.as_ref(), node),
                None => String::new(),
            },
        },
        Said::Router(word) => match &word {
            RouterWord::NodeReady { host, agent } => format!("{agent} on {host}"),
            RouterWord::SwarmLaunched {
                node_count, provider, ..
            }
            | RouterWord::SwarmAdopted {
                node_count, provider, ..
            } => format!("{node_count} nodes, {provider}"),
            RouterWord::SwarmStatus { status, reason, .. } => {
                let why = reason.as_ref().map(|reason| format!(", {reason}")).unwrap_or_default();
                format!("{}{why}", crate::tables::swarm_state(*status))
            }
            RouterWord::SwarmTerminated { status, reason } => {
                let why = reason.as_ref().map(|reason| format!(", {reason}")).unwrap_or_default();
                format!("{}{why}", crate::tables::swarm_state(*status))
            }
            word if event.head.node_id.is_some() => words::router(plain, word),
            word => words::note(word, event.head.swarm_id.as_ref()).unwrap_or_default(),
        },
        Said::Unknown => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(event: &str, repeated: bool) -> String {
        let event = Event::parse(event.into()).unwrap();
        String::from_utf8(Text::new(Colours::OFF).line(&event, repeated)).unwrap()
    }

    #[test]
    fn an_event_is_one_line_whatever_is_in_it() {
        let at = r#""timestamp":"2026-03-01T12:00:07.106Z","swarm_id":"s-1","job_id":"7""#;
        let answer = format!(
            r#"{{"type":"assistant","content":"two\nlines \u001b[31mred","item_id":"m",{at},"node_id":0,"seq":8}}"#
        );
        insta::assert_snapshot!(line(&answer, false), @"2026-03-01T12:00:07.106Z [swarm s-1 | node 0] assistant: two lines red");
        let end = format!(
            r#"{{"type":"turn_complete","status":"failed","duration_ms":2100,"error":{{"class":"quota","message":"no more"}},{at},"node_id":1,"seq":9}}"#
        );
        insta::assert_snapshot!(line(&end, true), @"2026-03-01T12:00:07.106Z [swarm s-1 | node 1] turn_complete: the turn failed: no more; the account's quota is used up (2.1 s) (may be repeated)");
        let over = format!(r#"{{"type":"swarm_terminated","status":"failed","reason":"TIMEOUT",{at}}}"#);
        insta::assert_snapshot!(line(&over, false), @"2026-03-01T12:00:07.106Z [swarm s-1] swarm_terminated: failed, TIMEOUT");
        insta::assert_snapshot!(line(r#"{"type":"of_a_later_version"}"#, false), @"- of_a_later_version");
    }
}
