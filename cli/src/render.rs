//! Events in, text for people out. Pure: time is handed in, and nothing is written here.
//!
//! Each node speaks under a header ([`floor`] decides when); text of agents is made harmless first ([`crate::plain`]); a message
//! that came in pieces is not shown again when it comes whole ([`message`]).

pub mod checkup;
pub mod colours;
pub mod floor;
pub mod line;
pub mod message;
pub mod words;

use std::collections::BTreeMap;
use std::time::Duration;

use codeswarm_protocol::event::RouterWord;
use codeswarm_protocol::record::Word;
use codeswarm_protocol::turn::CallStatus;
use codeswarm_protocol::{NodeId, SwarmId};

use crate::event::{Event, Said};
use crate::plain::plain;
use colours::{Colours, Look};
use floor::Floor;
use message::Message;

/// Who speaks.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Speaker {
    swarm: Option<SwarmId>,
    node: NodeId,
}

/// Turns the events of a swarm into text.
#[derive(Debug)]
pub struct Renderer {
    colours: Colours,
    floor: Floor<Speaker>,
    nodes: BTreeMap<Speaker, Node>,
    notes: Vec<String>,
}

#[derive(Debug, Default)]
struct Node {
    message: Message,
    /// The command whose `$` line was the last thing shown.
    last_call: Option<String>,
    usage_shown: bool,
}

impl Renderer {
    /// A renderer for one stream.
    pub fn new(colours: Colours) -> Self {
        Self {
            colours,
            floor: Floor::default(),
            nodes: BTreeMap::new(),
            notes: Vec::new(),
        }
    }

    /// Takes an event; `now` never runs backwards.
    pub fn event(&mut self, event: &Event, now: Duration) {
        let said = event.said();
        let Some(node) = event.head.node_id else {
            if let Said::Router(word) = &said {
                self.notes.extend(words::note(word, event.head.swarm_id.as_ref()));
            }
            return;
        };
        let speaker = Speaker {
            swarm: event.head.swarm_id.clone(),
            node,
        };
        match said {
            Said::Worker(word) => self.worker(&speaker, &word, now),
            Said::Router(word) => self.router(&speaker, &word, now),
            Said::Unknown => {}
        }
    }

    /// Lets those speak who have waited long enough. Needed a few times a second while [`Self::someone_waits`].
    pub fn tick(&mut self, now: Duration) {
        self.floor.tick(now, &header(self.colours));
    }

    /// Whether text is kept back.
    pub fn someone_waits(&self) -> bool {
        self.floor.someone_waits()
    }

    /// Shows all that was kept back and ends the last line.
    pub fn finish(&mut self, now: Duration) {
        self.floor.finish(now, &header(self.colours));
    }

    /// The text for standard output since the last call.
    pub fn take(&mut self) -> String {
        self.floor.take()
    }

    /// Notes for standard error since the last call: they are about no node.
    pub fn take_notes(&mut self) -> Vec<String> {
        std::mem::take(&mut self.notes)
    }

    /// Whether the text so far ends in the middle of a line.
    pub fn mid_line(&self) -> bool {
        self.floor.mid_line()
    }

    fn worker(&mut self, speaker: &Speaker, word: &Word, now: Duration) {
        let node = self.nodes.entry(speaker.clone()).or_default();
        match word {
            Word::AssistantDelta { content, item_id } => {
                let addition = node.message.delta(item_id.as_deref(), content);
                self.add(speaker, &addition, false, now);
            }
            Word::Assistant { content, item_id, .. } => {
                let addition = node.message.whole(item_id.as_deref(), content);
                self.add(speaker, &addition, true, now);
            }
            Word::TurnStarted { .. } => {
                node.usage_shown = false;
                node.message.forget();
            }
            Word::CommandStarted { call_id, command, .. } => {
                self.call(speaker, call_id, &words::command_line(self.colours, command), now);
            }
            Word::ToolStarted { call_id, kind, name } => {
                self.call(speaker, call_id, &words::tool_line(self.colours, kind, name), now);
            }
            Word::ToolCompleted {
                status: CallStatus::Completed,
                ..
            } => {}
            Word::ToolCompleted {
                call_id,
                kind,
                name,
                status,
            } => {
                let mut text = match node.last_call.as_ref() == Some(call_id) {
                    true => String::new(),
                    false => words::tool_line(self.colours, kind, name),
                };
                text += &words::command_end(self.colours, *status, None, None);
                self.lines(speaker, &text, now);
            }
            Word::CommandCompleted {
                call_id,
                command,
                status,
                exit_code,
                output,
                output_truncated,
                duration_ms,
            } => {
                let mut text = match node.last_call.as_ref() == Some(call_id) {
                    true => String::new(),
                    false => words::command_line(self.colours, command),
                };
                text += &words::command_output(self.colours, output, *output_truncated);
                text += &words::command_end(self.colours, *status, *exit_code, *duration_ms);
                self.lines(speaker, &text, now);
            }
            Word::TurnComplete {
                status,
                error,
                duration_ms,
                usage,
                ..
            } => {
                node.usage_shown = usage.is_some();
                node.message.forget();
                let text = words::turn_end(
                    self.colours,
                    *status,
                    error.as_ref(),
                    Some(*duration_ms),
                    usage.as_ref(),
                );
                self.lines(speaker, &text, now);
                self.floor.release(speaker, now, &header(self.colours));
            }
            Word::Usage { usage } => {
                if !std::mem::replace(&mut node.usage_shown, true) {
                    let text = words::usage_line(self.colours, usage);
                    self.lines(speaker, &text, now);
                }
            }
            other => {
                let text = words::worker(self.colours, other, speaker.swarm.as_ref(), speaker.node);
                self.lines(speaker, &text, now);
            }
        }
    }

    fn router(&mut self, speaker: &Speaker, word: &RouterWord, now: Duration) {
        let text = words::router(self.colours, word);
        self.lines(speaker, &text, now);
        if let RouterWord::TurnComplete { usage, .. } = word {
            let node = self.nodes.entry(speaker.clone()).or_default();
            node.usage_shown = usage.is_some();
            node.message.forget();
            self.floor.release(speaker, now, &header(self.colours));
        }
    }

    fn add(&mut self, speaker: &Speaker, addition: &message::Addition, whole: bool, now: Duration) {
        let header = header(self.colours);
        self.forget_call(speaker);
        if addition.starts_anew {
            self.floor.end_line(speaker, now);
        }
        if !addition.text.is_empty() {
            self.floor.stream(speaker, &plain(&addition.text), now, &header);
        }
        if whole {
            self.floor.end_line(speaker, now);
        }
    }

    fn lines(&mut self, speaker: &Speaker, text: &str, now: Duration) {
        if !text.is_empty() {
            self.forget_call(speaker);
            self.floor.lines(speaker, text, now, &header(self.colours));
        }
    }

    /// Shows that a call begins; its end follows without naming it again, unless something comes between.
    fn call(&mut self, speaker: &Speaker, call_id: &str, line: &str, now: Duration) {
        self.lines(speaker, line, now);
        if let Some(node) = self.nodes.get_mut(speaker) {
            node.last_call = Some(call_id.to_owned());
        }
    }

    fn forget_call(&mut self, speaker: &Speaker) {
        if let Some(node) = self.nodes.get_mut(speaker) {
            node.last_call = None;
        }
    }
}

fn header(colours: Colours) -> impl Fn(&Speaker) -> String {
    move |speaker| {
        let header = match &speaker.swarm {
            Some(swarm) => format!("[swarm {swarm} | node {}]", speaker.node),
            None => format!("[node {}]", speaker.node),
        };
        colours.paint(Look::Header, &header)
    }
}

#[cfg(test)]
mod tests;
