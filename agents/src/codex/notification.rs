//! Notifications of `codex app-server`, parsed once; what of them is recorded in neutral words.

use codeswarm_protocol::record::Word;
use codeswarm_protocol::turn::{ErrorClass, TurnError, TurnStatus};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::errors::CodexError;
use super::items::Item;
use super::usage::TokenUsage;

/// Methods that nobody needs to hear; Codex is asked not to send them. The diff is repeated whole at every model response.
pub const UNHEARD: [&str; 4] = [
    "account/rateLimits/updated",
    "remoteControl/status/changed",
    "turn/diff/updated",
    "thread/status/changed",
];

/// A notification that means something here.
#[derive(Debug)]
pub enum Notification {
    /// `turn/started`.
    TurnStarted(TurnNews),
    /// `turn/completed`.
    TurnCompleted(TurnNews),
    /// `item/started`.
    ItemStarted(ItemNews),
    /// `item/completed`.
    ItemCompleted(ItemNews),
    /// A piece of something, for the eye.
    Delta(Delta, Piece),
    /// `thread/tokenUsage/updated`.
    Tokens(TokenNews),
    /// `error`.
    Error(ErrorNews),
    /// `serverRequest/resolved`: a question to us is answered or withdrawn.
    Resolved(ResolvedNews),
    /// A warning of some kind.
    Warning(String),
    /// Nothing that we use.
    Other,
}

/// Which kind of piece.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Piece {
    /// Of a message.
    Message,
    /// Of reasoning.
    Reasoning,
    /// Of a command's output.
    Output,
}

/// About a turn.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TurnNews {
    /// Its thread.
    pub thread_id: String,
    /// The turn.
    pub turn: TurnState,
}

/// A turn as it stands.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TurnState {
    /// Its name.
    pub id: String,
    /// `inProgress`, `completed`, `interrupted` or `failed`.
    #[serde(default)]
    status: String,
    #[serde(default)]
    error: Option<CodexError>,
    #[serde(default)]
    duration_ms: Option<u64>,
}

impl TurnState {
    /// How the turn ended.
    pub fn end(&self) -> (TurnStatus, Option<TurnError>) {
        let error = self.error.as_ref().map(CodexError::to_turn_error);
        match self.status.as_str() {
            "completed" => (TurnStatus::Completed, None),
            "interrupted" => (TurnStatus::Interrupted, error),
            status => {
                let unknown = || {
                    TurnError::new(
                        ErrorClass::Other,
                        format!("the turn ended as {status:?} and said no reason"),
                    )
                };
                (TurnStatus::Failed, Some(error.unwrap_or_else(unknown)))
            }
        }
    }
}

/// About an item.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ItemNews {
    /// Its thread.
    #[serde(default)]
    pub thread_id: String,
    /// Its turn.
    #[serde(default)]
    pub turn_id: String,
    /// The item.
    pub item: Item,
}

/// A piece of an item.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Delta {
    /// Its thread.
    #[serde(default)]
    pub thread_id: String,
    item_id: String,
    #[serde(default)]
    delta: String,
    #[serde(default)]
    summary_index: u64,
}

/// Totals of a thread.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TokenNews {
    /// The thread.
    pub thread_id: String,
    /// The turn that they were counted in.
    #[serde(default)]
    pub turn_id: String,
    /// The totals.
    pub token_usage: TokenUsage,
}

/// About trouble.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ErrorNews {
    /// Whose.
    #[serde(default)]
    pub thread_id: String,
    /// In which turn.
    #[serde(default)]
    pub turn_id: String,
    /// What.
    pub error: CodexError,
    /// Whether Codex tries again by itself; if not, the turn's end says the same once more.
    #[serde(default)]
    pub will_retry: bool,
}

/// About a question to us.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ResolvedNews {
    /// The id of the server's request.
    pub request_id: Value,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WarningNews {
    #[serde(default)]
    message: Option<String>,
    #[serde(default)]
    summary: Option<String>,
    #[serde(default)]
    details: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ReroutedNews {
    from_model: String,
    to_model: String,
}

impl Notification {
    /// Reads one; what does not have the expected shape is [`Notification::Other`], since Codex adds to its protocol.
    pub fn parse(method: &str, params: &str) -> Self {
        Self::read(method, params).unwrap_or(Self::Other)
    }

    fn read(method: &str, params: &str) -> Option<Self> {
        Some(match method {
            "item/agentMessage/delta" => Self::Delta(parse(params)?, Piece::Message),
            "item/reasoning/summaryTextDelta" | "item/reasoning/textDelta" => {
                Self::Delta(parse(params)?, Piece::Reasoning)
            }
            "item/reasoning/summaryPartAdded" => {
                let mut gap: Delta = parse(params)?;
                if gap.summary_index == 0 {
                    return None;
                }
                gap.delta = "\n\n".into();
                Self::Delta(gap, Piece::Reasoning)
            }
            "item/commandExecution/outputDelta" => Self::Delta(parse(params)?, Piece::Output),
            "item/started" => Self::ItemStarted(parse(params)?),
            "item/completed" => Self::ItemCompleted(parse(params)?),
            "turn/started" => Self::TurnStarted(parse(params)?),
            "turn/completed" => Self::TurnCompleted(parse(params)?),
            "thread/tokenUsage/updated" => Self::Tokens(parse(params)?),
            "error" => Self::Error(parse(params)?),
            "serverRequest/resolved" => Self::Resolved(parse(params)?),
            "warning" | "configWarning" | "guardianWarning" | "deprecationNotice" => {
                let news: WarningNews = parse(params)?;
                let words = [news.message.or(news.summary), news.details];
                Self::Warning(words.into_iter().flatten().collect::<Vec<_>>().join(" "))
            }
            "model/rerouted" => {
                let news: ReroutedNews = parse(params)?;
                Self::Warning(format!(
                    "the model server answers with {} instead of {}",
                    news.to_model, news.from_model
                ))
            }
            _ => return None,
        })
    }

    /// What is recorded of it, whoever drives the agent. Turns and approvals are the driver's.
    pub fn word(self) -> Option<Word> {
        match self {
            Self::ItemStarted(news) => news.item.started(),
            Self::ItemCompleted(news) => news.item.completed(),
            Self::Delta(delta, _) if delta.delta.is_empty() => None,
            Self::Delta(delta, piece) => Some(delta.word(piece)),
            Self::Error(news) => Some(Word::AgentError {
                error: news.error.to_turn_error(),
                will_retry: news.will_retry,
            }),
            Self::Warning(message) => Some(Word::Notice { message }),
            Self::TurnStarted(_) | Self::TurnCompleted(_) | Self::Tokens(_) | Self::Resolved(_) | Self::Other => None,
        }
    }
}

impl Delta {
    fn word(self, piece: Piece) -> Word {
        match piece {
            Piece::Message => Word::AssistantDelta {
                content: self.delta,
                item_id: Some(self.item_id),
            },
            Piece::Reasoning => Word::ReasoningDelta {
                content: self.delta,
                item_id: Some(self.item_id),
            },
            Piece::Output => Word::CommandOutputDelta {
                call_id: self.item_id,
                content: self.delta,
            },
        }
    }
}

impl TurnNews {
    /// The end of a turn as a record, for whoever has no driver.
    pub fn complete(&self) -> Word {
        let (status, error) = self.turn.end();
        Word::TurnComplete {
            status,
            error,
            duration_ms: self.turn.duration_ms.unwrap_or(0),
            usage: None,
            steered_into: None,
        }
    }
}

fn parse<T: DeserializeOwned>(params: &str) -> Option<T> {
    serde_json::from_str(params).ok()
}
