//! What has become of one request's prompts, as far as the events of a recall have told. Pure.

use std::collections::{BTreeMap, BTreeSet};

use codeswarm_client::event::{Event, Said};
use codeswarm_protocol::event::RouterWord;
use codeswarm_protocol::record::Word;
use codeswarm_protocol::turn::{TurnError, TurnStatus};
use codeswarm_protocol::{InjectionId, NodeId, RequestId, SwarmId};

use crate::reply::{head, names, ranks};

/// So much of an answer is kept for news.
const ANSWER: usize = 2_000;

/// One prompt on one node.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Turn {
    /// How it ended, if it has.
    pub end: Option<End>,
    /// What it does, in few words, while it has not.
    pub doing: String,
    /// The last whole message of the agent, cut, and whether it is cut.
    pub answer: Option<(String, bool)>,
    /// What it asks and nobody has answered, by the question's name.
    pub questions: BTreeMap<String, String>,
}

/// How a turn ended.
#[derive(Debug, Clone, PartialEq)]
pub struct End {
    /// `completed`, `interrupted`, `failed` or `not_started`.
    pub how: &'static str,
    /// Why, where it is not `completed`.
    pub why: Option<String>,
}

/// All of them.
#[derive(Debug, Default)]
pub struct Turns {
    /// Whose name asked for them.
    asked: Option<RequestId>,
    /// Their swarm.
    pub swarm_id: Option<SwarmId>,
    nodes: BTreeMap<InjectionId, NodeId>,
    turns: BTreeMap<NodeId, Turn>,
    /// All that was until now has been told.
    pub told_all: bool,
}

/// What an earlier answer has covered: ends by node, and questions by name. As text: `0-3,7;call_3`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cursor(String);

impl Cursor {
    /// As a model gives it back; what is none covers nothing.
    pub fn of(text: Option<String>) -> Self {
        Self(text.unwrap_or_default())
    }

    fn ends(&self) -> &str {
        self.0.split(';').next().unwrap_or_default()
    }

    fn has_end_of(&self, node: NodeId) -> bool {
        names(self.ends(), node)
    }

    fn has_question(&self, call_id: &str) -> bool {
        self.0.split(';').skip(1).any(|known| known == call_id)
    }
}

impl Turns {
    /// Nothing heard; `asked` is the name of the recall.
    pub fn asked_by(asked: RequestId) -> Self {
        Self {
            asked: Some(asked),
            ..Self::default()
        }
    }

    /// An event of the connection on which the recall was made.
    pub fn hear(&mut self, event: &Event) {
        let is_answer = self.asked.as_ref().is_some_and(|asked| event.head.answers(asked));
        if is_answer && event.head.kind == "caught_up" {
            self.told_all = true;
        }
        if is_answer && let Said::Router(RouterWord::Recalled { injections, .. }) = event.said() {
            self.swarm_id.clone_from(&event.head.swarm_id);
            for one in injections {
                self.turns.entry(one.node_id).or_default().doing = "waiting to be delivered".to_owned();
                self.nodes.insert(one.injection_id, one.node_id);
            }
            return;
        }
        let node = event.head.injection_id.as_ref().and_then(|id| self.nodes.get(id));
        if let Some(turn) = node.and_then(|node| self.turns.get_mut(node)) {
            turn.hear(event);
        }
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.turns.len()
    }

    /// Each, by its node.
    pub fn each(&self) -> impl Iterator<Item = (NodeId, &Turn)> {
        self.turns.iter().map(|(node, turn)| (*node, turn))
    }

    /// Those that have not ended.
    pub fn pending(&self) -> impl Iterator<Item = (NodeId, &Turn)> {
        self.each().filter(|(_, turn)| turn.end.is_none())
    }

    /// Ends that `cursor` does not cover.
    pub fn new_ends(&self, cursor: &Cursor) -> impl Iterator<Item = (NodeId, &Turn, &End)> {
        let ended = self
            .each()
            .filter_map(|(node, turn)| Some((node, turn, turn.end.as_ref()?)));
        ended.filter(|(node, ..)| !cursor.has_end_of(*node))
    }

    /// Open questions that `cursor` does not cover, with the node that asks and the question's name.
    pub fn new_questions(&self, cursor: &Cursor) -> impl Iterator<Item = (NodeId, &str, &str)> {
        let questions = self.pending().flat_map(|(node, turn)| {
            let questions = turn.questions.iter();
            questions.map(move |(call_id, asks)| (node, call_id.as_str(), asks.as_str()))
        });
        questions.filter(|(_, call_id, _)| !cursor.has_question(call_id))
    }

    /// The cursor that covers what `cursor` does, these ends, and all open questions.
    pub fn cursor(&self, cursor: &Cursor, told: &BTreeSet<NodeId>) -> String {
        let covered =
            |(node, turn): &(NodeId, &Turn)| turn.end.is_some() && (told.contains(node) || cursor.has_end_of(*node));
        let ended: BTreeSet<NodeId> = self.each().filter(covered).map(|(node, _)| node).collect();
        let mut text = ranks(&ended);
        for call_id in self.pending().flat_map(|(_, turn)| turn.questions.keys()) {
            text += ";";
            text += call_id;
        }
        text
    }
}

impl Turn {
    fn hear(&mut self, event: &Event) {
        let doing = match event.said() {
            Said::Worker(word) => match word {
                Word::InjectReceived { queued_behind } => format!("waiting behind {queued_behind} other prompts"),
                Word::TurnStarted { .. } => "started".to_owned(),
                Word::AssistantDelta { .. } | Word::Assistant { .. } => {
                    if let Word::Assistant { content, .. } = word {
                        let (shown, all) = head(&content, ANSWER);
                        self.answer = Some((shown, !all));
                    }
                    "writing".to_owned()
                }
                Word::Reasoning { .. } | Word::ReasoningDelta { .. } => "thinking".to_owned(),
                Word::CommandStarted { command, .. } => format!("running {}", head(&command, 100).0),
                Word::CommandCompleted { command, .. } => format!("has run {}", head(&command, 100).0),
                Word::ToolStarted { name, .. } => format!("using {}", head(&name, 60).0),
                Word::FileChange { changes, .. } => format!("changed {} files", changes.len()),
                Word::ApprovalRequired { call_id, command, .. } => {
                    let asks = head(&command, 500).0;
                    self.questions.insert(call_id, asks);
                    "asks whether it may".to_owned()
                }
                Word::ApprovalResolved { call_id, .. } => {
                    self.questions.remove(&call_id);
                    return;
                }
                Word::InjectFailed { reason, .. } => return self.ended("not_started", Some(reason)),
                Word::TurnComplete { status, error, .. } => return self.completed(status, error),
                _ => return,
            },
            Said::Router(word) => match word {
                RouterWord::InjectAck {} => "accepted".to_owned(),
                RouterWord::InjectDelivered {} => "delivered to its node, which has not read it yet".to_owned(),
                RouterWord::InjectPending { reason, .. } => head(&reason, 200).0,
                RouterWord::InjectFailed { reason, .. } => return self.ended("not_started", Some(reason)),
                RouterWord::TurnComplete { status, error, .. } => return self.completed(status, error),
                _ => return,
            },
            Said::Unknown => return,
        };
        self.doing = doing;
    }

    fn completed(&mut self, status: TurnStatus, error: Option<TurnError>) {
        let how = match status {
            TurnStatus::Completed => "completed",
            TurnStatus::Interrupted => "interrupted",
            TurnStatus::Failed => "failed",
        };
        self.ended(how, error.map(|error| error.message));
    }

    fn ended(&mut self, how: &'static str, why: Option<String>) {
        let why = why.map(|why| head(&why, 300).0);
        self.end.get_or_insert(End { how, why });
        self.questions.clear();
    }
}

#[cfg(test)]
mod tests;
