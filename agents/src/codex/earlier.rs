//! The records of the earlier Python workers: they wrote the messages of `codex app-server` as they came (`codex_rpc`).

use codeswarm_protocol::record::Word;

use super::approvals::Question;
use super::notification::Notification;
use super::wire::Message;

/// What a `codex_rpc` record's `payload` (a message of `codex app-server`, as JSON) says in neutral words; nothing for
/// answers to requests and for what is not recorded. Tokens are not counted: a single message holds a total only.
pub fn words_of_message(payload: &str) -> Vec<Word> {
    match Message::parse(payload.as_bytes()) {
        Some(Message::Notification { method, params }) => match Notification::parse(method, params) {
            Notification::TurnStarted(news) => vec![Word::TurnStarted {
                turn_id: Some(news.turn.id),
                steered_into: None,
            }],
            Notification::TurnCompleted(news) => vec![news.complete()],
            other => other.word().into_iter().collect(),
        },
        Some(Message::Request { method, params, .. }) => Question::parse(method, params)
            .map(|question| question.word(None))
            .into_iter()
            .collect(),
        Some(Message::Response { .. }) | None => Vec::new(),
    }
}
