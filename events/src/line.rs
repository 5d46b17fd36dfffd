//! An event as a line.

use codeswarm_client::event::Event;

/// How events are worded for who reads them.
pub trait Wording {
    /// The event's line, with its newline. `repeated`: it may have been told before.
    fn line(&self, event: &Event, repeated: bool) -> Vec<u8>;
}

/// The event as the router says it, for programs.
#[derive(Debug, Clone, Copy)]
pub struct Json;

impl Wording for Json {
    fn line(&self, event: &Event, repeated: bool) -> Vec<u8> {
        let line = event.line();
        let mut line = match line.trim_ascii_end().strip_suffix(b"}") {
            Some(fields) if repeated => [fields, b",\"repeated\":true}"].concat(),
            _ => line.to_vec(),
        };
        line.push(b'\n');
        line
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_may_have_been_told_says_so() {
        let event = Event::parse(br#"{"type":"node_lost","reason":"a \"}\" in it","node_id":1}"#.to_vec()).unwrap();
        assert_eq!(
            Json.line(&event, false),
            b"{\"type\":\"node_lost\",\"reason\":\"a \\\"}\\\" in it\",\"node_id\":1}\n"
        );
        let repeated: serde_json::Value = serde_json::from_slice(&Json.line(&event, true)).unwrap();
        assert_eq!(
            repeated,
            serde_json::json!({"type": "node_lost", "reason": "a \"}\" in it", "node_id": 1, "repeated": true})
        );
    }
}
