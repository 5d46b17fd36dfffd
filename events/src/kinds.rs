//! Which events are told.

use std::collections::BTreeSet;
use std::str::FromStr;

/// What is told unless somebody says otherwise: what an automation acts on. Not what an agent says and does meanwhile.
pub const DEFAULT: [&str; 12] = [
    "turn_complete",
    "inject_failed",
    "approval_required",
    "node_ready",
    "node_lost",
    "agent_exit",
    "worker_error",
    "worker_exit",
    "swarm_launched",
    "swarm_adopted",
    "swarm_status",
    "swarm_terminated",
];

/// All other events that can be told.
pub const OTHERS: [&str; 26] = [
    "inject_ack",
    "inject_delivered",
    "inject_pending",
    "inject_received",
    "turn_started",
    "assistant",
    "assistant_delta",
    "reasoning",
    "reasoning_delta",
    "command_started",
    "command_output_delta",
    "command_completed",
    "tool_started",
    "tool_completed",
    "file_change",
    "approval_resolved",
    "control_ignored",
    "usage",
    "notice",
    "worker_start",
    "agent_ready",
    "agent_error",
    "agent_raw",
    "records_skipped",
    "router_trouble",
    "link",
];

/// One word behind `--kind`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// Every event, also of kinds that a later version adds.
    All,
    /// The usual ones.
    Default,
    /// One, by its `type`.
    Event(&'static str),
}

impl FromStr for Kind {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "all" => return Ok(Self::All),
            "default" => return Ok(Self::Default),
            _ => {}
        }
        let known = DEFAULT.iter().chain(&OTHERS);
        known
            .copied()
            .find(|kind| *kind == text)
            .map(Self::Event)
            .ok_or_else(|| {
                let known: Vec<&str> = DEFAULT.iter().chain(&OTHERS).copied().collect();
                format!(
                    "there is no such kind of event; there are all, default, {}",
                    known.join(", ")
                )
            })
    }
}

/// The chosen kinds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kinds {
    all: bool,
    some: BTreeSet<&'static str>,
}

impl Kinds {
    /// What was asked for; nothing means the usual ones.
    pub fn chosen(asked: &[Kind]) -> Self {
        let mut kinds = Self {
            all: false,
            some: BTreeSet::new(),
        };
        let usual = [Kind::Default];
        for kind in if asked.is_empty() { usual.as_slice() } else { asked } {
            match kind {
                Kind::All => kinds.all = true,
                Kind::Default => kinds.some.extend(DEFAULT),
                Kind::Event(kind) => {
                    kinds.some.insert(kind);
                }
            }
        }
        kinds
    }

    /// Whether an event of this type is among them.
    pub fn has(&self, kind: &str) -> bool {
        self.all || self.some.contains(kind)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use codeswarm_protocol::schema;

    #[test]
    fn kinds_are_chosen_by_name() {
        let usual = Kinds::chosen(&[]);
        assert!(usual.has("turn_complete") && !usual.has("assistant_delta"));
        let some = Kinds::chosen(&["assistant".parse().unwrap(), "link".parse().unwrap()]);
        assert!(some.has("assistant") && some.has("link") && !some.has("turn_complete"));
        let more = Kinds::chosen(&["default".parse().unwrap(), "assistant".parse().unwrap()]);
        assert!(more.has("assistant") && more.has("turn_complete") && !more.has("usage"));
        assert!(Kinds::chosen(&[Kind::All]).has("of_a_later_version"));
        assert!("turn_completed".parse::<Kind>().unwrap_err().contains("turn_complete,"));
    }

    /// What is nobody's event but an answer to a command of one's own is left out.
    #[test]
    fn every_event_of_the_protocol_can_be_chosen() {
        const ANSWERS: [&str; 10] = [
            "interrupt_ack",
            "approval_ack",
            "command_rejected",
            "recalled",
            "swarm_list",
            "subscribed",
            "caught_up",
            "providers_list",
            "pong",
            "shutting_down",
        ];
        let schema = schema::flat_event();
        let words = schema["anyOf"].as_array().unwrap();
        let words: BTreeSet<&str> = words.iter().map(|word| word["title"].as_str().unwrap()).collect();
        let ours: BTreeSet<&str> = DEFAULT.iter().chain(&OTHERS).chain(&ANSWERS).copied().collect();
        assert_eq!(ours, words);
    }
}
