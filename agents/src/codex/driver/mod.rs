//! The state machine of a session with Codex: what each message and command leads to. [`opening`] and [`turns`] hold the steps.

mod opening;
mod turns;

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use codeswarm_protocol::launch::AgentSpec;
use codeswarm_protocol::record::Word;
use codeswarm_protocol::turn::{CallStatus, ErrorClass, TurnError, TurnStatus};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::approvals::{Approvals, Question};
use super::handshake::{self, ThreadSettings};
use super::items::Item;
use super::notification::{ItemNews, Notification, TurnState};
use super::refusal::refusal;
use super::requests::{Asked, Requests};
use super::turn::Turn;
use super::usage::Meter;
use super::wire::{self, Message, RpcError};
use crate::driver::{AgentCommand, AgentEvent, Death, Driver, Effect, Now, answer_after_end};

/// How long a turn may take to end once it is interrupted.
const INTERRUPT: Duration = Duration::from_secs(10);

/// A refused interrupt is asked for again after this time: a turn that is about to begin cannot be interrupted yet.
const INTERRUPT_AGAIN: Duration = Duration::from_millis(100);

/// How long any answer may take that no other time is given for.
const ANSWER: Duration = Duration::from_secs(60);

/// A steering text without its answer is taken for a part of the turn: to run it once more would be worse.
const WITHOUT_ANSWER: Option<String> = None;

/// How many different warnings are passed on; Codex repeats some at every turn.
const WARNINGS: usize = 64;

/// What a session with Codex is opened with.
#[derive(Clone)]
pub struct CodexSettings {
    /// The agent's specification.
    pub agent: AgentSpec,
    /// The working directory.
    pub cwd: String,
    /// The thread to go on with.
    pub resume: Option<String>,
    /// The key to log in with; it is handed over in memory, and shown nowhere.
    pub api_key: Option<String>,
}

/// Where the session is.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Phase {
    /// `initialize` is not answered yet.
    Starting,
    /// The thread is not open yet.
    Opening,
    /// Turns are taken.
    Open,
    /// Its end was asked for.
    Ending,
    /// Its process has ended.
    Gone,
}

/// The Codex driver.
pub struct CodexDriver {
    thread: ThreadSettings,
    config: Map<String, Value>,
    resume: Option<String>,
    api_key: Option<String>,
    start_timeout: Duration,
    raw_events: bool,
    phase: Phase,
    thread_id: Option<String>,
    /// When the thread must be open.
    open_by: Now,
    requests: Requests,
    approvals: Approvals,
    meter: Meter,
    turn: Option<Turn>,
    /// The last turn that is over.
    over: Option<String>,
    /// The thread's file.
    file: Option<String>,
    /// Prompts for turns after the running one.
    waiting: VecDeque<String>,
    /// Warnings that came before the session was open.
    early: Vec<String>,
    warned: BTreeSet<String>,
    stopping: bool,
    junk: u64,
}

#[derive(Deserialize)]
struct TurnStarted {
    turn: TurnState,
}

impl CodexDriver {
    /// A session that is about to begin.
    pub fn new(settings: CodexSettings) -> Self {
        let agent = &settings.agent;
        Self {
            thread: ThreadSettings::new(agent, settings.cwd),
            config: agent.config.clone(),
            resume: settings.resume,
            api_key: settings.api_key,
            start_timeout: Duration::from_secs(agent.start_timeout_seconds),
            raw_events: agent.raw_events,
            phase: Phase::Starting,
            thread_id: None,
            open_by: Now::MAX,
            requests: Requests::default(),
            approvals: Approvals::new(agent.approvals, Duration::from_secs(agent.approval_timeout_seconds)),
            meter: Meter::default(),
            turn: None,
            over: None,
            file: None,
            waiting: VecDeque::new(),
            early: Vec::new(),
            warned: BTreeSet::new(),
            stopping: false,
            junk: 0,
        }
    }

    fn end(&mut self, reason: impl Into<String>, may_restart: bool) -> Effect {
        self.phase = Phase::Ending;
        Effect::End {
            reason: reason.into(),
            may_restart,
        }
    }

    fn answered(&mut self, asked: Asked, outcome: Result<&str, RpcError>, now: Now) -> Vec<Effect> {
        match asked {
            Asked::Initialize | Asked::Login | Asked::ResumeThread | Asked::StartThread => {
                self.answered_opening(&asked, outcome, now)
            }
            Asked::StartTurn => match outcome.map(serde_json::from_str::<TurnStarted>) {
                Ok(Ok(started)) => self.named(started.turn.id, now),
                Ok(Err(error)) => vec![self.end(format!("codex's answer to turn/start makes no sense: {error}"), true)],
                Err(error) => self.turn_refused(&error, now),
            },
            Asked::Steer(token) => vec![steered(token, outcome.err().map(|error| error.message))],
            Asked::Interrupt => {
                if let (Err(_), Some(turn)) = (outcome, &mut self.turn)
                    && let Some(interrupt) = &mut turn.interrupt
                {
                    interrupt.send_at = Some(now + INTERRUPT_AGAIN);
                }
                Vec::new()
            }
            Asked::EndCommand(call_id) => self.command_ended(call_id.as_deref(), outcome, now),
        }
    }

    fn heard(&mut self, notification: Notification, now: Now) -> Vec<Effect> {
        match notification {
            Notification::TurnStarted(news) if self.is_ours(&news.thread_id) => self.named(news.turn.id, now),
            Notification::TurnCompleted(news) if self.is_ours(&news.thread_id) => self.turn_completed(&news, now),
            Notification::Tokens(news) if self.is_ours(&news.thread_id) => {
                let ours = self.turn.as_ref().is_some_and(|turn| turn.is(&news.turn_id));
                self.meter.told(news.token_usage, ours);
                Vec::new()
            }
            Notification::Resolved(news) => self.approvals.resolved(&news.request_id).into_iter().collect(),
            Notification::ItemStarted(news) if self.is_ours(&news.thread_id) => {
                self.note_item(&news, true);
                news.item.started().map(said).into_iter().collect()
            }
            Notification::ItemCompleted(news) if self.is_ours(&news.thread_id) => self.item_completed(news, now),
            // The turn's end says the same.
            Notification::Error(news)
                if !news.will_retry && self.turn.as_ref().is_some_and(|turn| turn.is(&news.turn_id)) =>
            {
                Vec::new()
            }
            Notification::Error(ref news) if news.thread_id.is_empty() || self.is_ours(&news.thread_id) => {
                notification.word().map(said).into_iter().collect()
            }
            Notification::Delta(ref delta, _) if self.is_ours(&delta.thread_id) => {
                notification.word().map(said).into_iter().collect()
            }
            Notification::Warning(message) => self.warn(message),
            _ => Vec::new(),
        }
    }

    /// Codex's own helpers talk in threads of their own, on the same wire.
    fn is_ours(&self, thread_id: &str) -> bool {
        self.thread_id.as_deref() == Some(thread_id)
    }

    fn note_item(&mut self, news: &ItemNews, started: bool) {
        if let Some(turn) = self.turn.as_mut().filter(|turn| turn.is(&news.turn_id)) {
            turn.note(&news.item, started);
        }
        if let Item::FileChange { id, changes, .. } = &news.item {
            if started {
                let in_short: Vec<_> = changes.iter().map(|change| change.in_short()).collect();
                self.approvals.patch_begins(id.clone(), in_short.join(", "));
            } else {
                self.approvals.patch_ends(id);
            }
        }
    }

    fn item_completed(&mut self, news: ItemNews, now: Now) -> Vec<Effect> {
        let stopped = self
            .turn
            .as_ref()
            .is_some_and(|turn| turn.ended.is_some() && turn.is(&news.turn_id));
        self.note_item(&news, false);
        let mut word = news.item.completed();
        if let Some(Word::CommandCompleted { status, .. }) = &mut word
            && stopped
            && *status == CallStatus::Failed
        {
            *status = CallStatus::Aborted;
        }
        let mut effects: Vec<_> = word.map(said).into_iter().collect();
        effects.extend(self.finish_if_quiet(now));
        effects
    }

    fn warn(&mut self, message: String) -> Vec<Effect> {
        if message.is_empty() || self.warned.len() >= WARNINGS || !self.warned.insert(message.clone()) {
            return Vec::new();
        }
        if self.thread_id.is_none() {
            self.early.push(message);
            return Vec::new();
        }
        vec![said(Word::Notice { message })]
    }

    fn asked(&mut self, id: Value, method: &str, params: &str, now: Now) -> Vec<Effect> {
        if let Some(question) = Question::parse(method, params) {
            return self.approvals.ask(id, question, now);
        }
        let mut effects = vec![Effect::Write(wire::not_served(&id, method))];
        effects.extend(self.warn(format!("codex asked for {method}, which a worker cannot give")));
        effects
    }

    fn overdue(&mut self, asked: Asked, waited: Duration, now: Now) -> Vec<Effect> {
        if let Asked::EndCommand(_) = asked {
            return self.give_up_commands(now);
        }
        let reason = format!("codex did not answer {} within {} s", asked.method(), waited.as_secs());
        let mut effects = Vec::new();
        if let Asked::Steer(token) = asked {
            effects.push(steered(token, WITHOUT_ANSWER));
        }
        effects.push(self.end(reason, true));
        effects
    }
}

impl Driver for CodexDriver {
    fn open(&mut self, now: Now) -> Vec<Effect> {
        self.open_by = now.saturating_add(self.start_timeout);
        let asked = Asked::Initialize;
        vec![
            self.requests
                .send(asked, &handshake::initialize(), self.start_timeout, now),
        ]
    }

    fn command(&mut self, command: AgentCommand, now: Now) -> Vec<Effect> {
        if self.phase == Phase::Gone {
            return answer_after_end(command, ErrorClass::AgentDied, "codex has ended")
                .map(Effect::Tell)
                .into_iter()
                .collect();
        }
        match command {
            AgentCommand::RunTurn { prompt } => {
                self.waiting.push_back(prompt);
                self.begin_next(now)
            }
            AgentCommand::Steer { token, prompt } => self.steer(token, prompt, now),
            AgentCommand::Interrupt => self.interrupt(now),
            AgentCommand::Approve { call_id, decision, by } => self
                .approvals
                .answer(&call_id, decision, by)
                .unwrap_or_else(|| vec![Effect::Tell(AgentEvent::ApprovalUnknown { call_id })]),
            AgentCommand::Stop => {
                self.stopping = true;
                vec![self.end("asked to stop", true)]
            }
        }
    }

    fn line(&mut self, line: &[u8], now: Now) -> Vec<Effect> {
        let Some(message) = Message::parse(line) else {
            self.junk += 1;
            if self.junk > 1 || line.trim_ascii().is_empty() {
                return Vec::new();
            }
            let beginning = String::from_utf8_lossy(&line[..line.len().min(80)]).into_owned();
            return self.warn(format!(
                "codex wrote a line that is no message, which is passed over, as others will be: {beginning:?}"
            ));
        };
        let mut effects = Vec::new();
        // Not before the session is open: its first event is that it is.
        if self.raw_events
            && self.thread_id.is_some()
            && let Ok(raw) = serde_json::from_slice(line)
        {
            effects.push(Effect::Tell(AgentEvent::Raw(raw)));
        }
        effects.extend(match message {
            Message::Response { id, outcome } => match self.requests.answered(id) {
                Some(asked) => self.answered(asked, outcome, now),
                None => Vec::new(),
            },
            Message::Request { id, method, params } => self.asked(id, method, params, now),
            Message::Notification { method, params } => self.heard(Notification::parse(method, params), now),
        });
        effects
    }

    fn deadline(&self) -> Option<Now> {
        let opening = matches!(self.phase, Phase::Starting | Phase::Opening);
        match self.phase {
            Phase::Ending | Phase::Gone => None,
            _ => [
                opening.then_some(self.open_by),
                self.requests.deadline(),
                self.approvals.deadline(),
                self.turn.as_ref().and_then(Turn::deadline),
            ]
            .into_iter()
            .flatten()
            .min(),
        }
    }

    fn tick(&mut self, now: Now) -> Vec<Effect> {
        let opening = matches!(self.phase, Phase::Starting | Phase::Opening);
        if opening && self.open_by <= now {
            let reason = format!(
                "codex did not open its thread within {} s",
                self.start_timeout.as_secs()
            );
            return vec![self.end(reason, true)];
        }
        if let Some((asked, waited)) = self.requests.overdue(now) {
            return self.overdue(asked, waited, now);
        }
        let mut effects = self.approvals.tick(now);
        let Some(turn) = &self.turn else {
            return effects;
        };
        if turn.ended.as_ref().is_some_and(|ended| ended.until <= now) {
            effects.extend(self.give_up_commands(now));
        } else if turn.ended.is_none() && turn.interrupt.is_some_and(|interrupt| interrupt.until <= now) {
            let reason = format!(
                "codex did not end its turn within {} s of the interrupt",
                INTERRUPT.as_secs()
            );
            effects.push(self.end(reason, true));
        } else {
            effects.extend(self.send_interrupt(now));
        }
        effects
    }

    fn gone(&mut self, death: &Death, _now: Now) -> Vec<Effect> {
        let mut effects = Vec::new();
        let mut why = death.to_string();
        let mut class = ErrorClass::AgentDied;
        if self.phase == Phase::Starting {
            let (reason, may_restart) = refusal(death, &self.config);
            if !may_restart {
                class = ErrorClass::Config;
            }
            why.clone_from(&reason);
            effects.push(Effect::End { reason, may_restart });
        }
        self.phase = Phase::Gone;
        for asked in self.requests.forget() {
            if let Asked::Steer(token) = asked {
                effects.push(steered(token, WITHOUT_ANSWER));
            }
        }
        let how = |interrupted| match interrupted {
            true => (TurnStatus::Interrupted, None),
            false => (TurnStatus::Failed, Some(TurnError::new(class, why.clone()))),
        };
        if let Some(turn) = self.turn.take() {
            let refused = |(token, _)| steered(token, Some(why.clone()));
            effects.extend(turn.steers.into_iter().map(refused));
            effects.extend(self.approvals.close());
            effects.extend(self.file.as_ref().map(|file| Effect::Keep(file.into())));
            let (status, error) = match turn.ended {
                Some(ended) => (ended.status, ended.error),
                None => how(self.stopping || turn.interrupt.is_some()),
            };
            effects.push(Effect::Tell(AgentEvent::TurnEnded {
                status,
                error,
                usage: self.meter.turn(),
            }));
        }
        for _ in std::mem::take(&mut self.waiting) {
            let (status, error) = how(self.stopping);
            effects.push(ended(status, error));
        }
        effects
    }
}

fn said(word: Word) -> Effect {
    Effect::Tell(AgentEvent::Said(word))
}

fn steered(token: u64, refused: Option<String>) -> Effect {
    Effect::Tell(AgentEvent::Steered { token, refused })
}

fn ended(status: TurnStatus, error: Option<TurnError>) -> Effect {
    Effect::Tell(AgentEvent::TurnEnded {
        status,
        error,
        usage: None,
    })
}
