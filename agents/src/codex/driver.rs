//! The state machine of a session with Codex.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use codeswarm_protocol::launch::AgentSpec;
use codeswarm_protocol::record::Word;
use codeswarm_protocol::turn::{CallStatus, ErrorClass, TurnError, TurnStatus};
use serde::Deserialize;
use serde_json::{Value, json};

use super::approvals::{Approvals, Question};
use super::handshake::{self, Opened, ResumeRefusal, ThreadSettings};
use super::items::Item;
use super::notification::{ItemNews, Notification, TurnNews, TurnState};
use super::requests::{Asked, Requests};
use super::turn::{Ended, Interrupt, Turn};
use super::usage::Meter;
use super::wire::{self, Message, OVERLOADED, RpcError};
use crate::driver::{AgentCommand, AgentEvent, Death, Driver, Effect, Now, answer_after_end};

/// Codex takes no longer prompt; it counts characters.
pub const LONGEST_PROMPT: usize = 1_048_576;

/// How long a turn may take to end once it is interrupted.
const INTERRUPT: Duration = Duration::from_secs(10);

/// A refused interrupt is asked for again after this time: a turn that is about to begin cannot be interrupted yet.
const INTERRUPT_AGAIN: Duration = Duration::from_millis(100);

/// How long the commands of an interrupted turn may take to end.
const COMMANDS: Duration = Duration::from_secs(5);

/// How long any answer may take that no other time is given for.
const ANSWER: Duration = Duration::from_secs(60);

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

#[derive(Deserialize)]
struct Terminated {
    #[serde(default)]
    terminated: bool,
}

impl CodexDriver {
    /// A session that is about to begin.
    pub fn new(settings: CodexSettings) -> Self {
        let agent = &settings.agent;
        Self {
            thread: ThreadSettings::new(agent, settings.cwd),
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

    // Opening.

    fn answered_opening(&mut self, asked: &Asked, outcome: Result<&str, RpcError>, now: Now) -> Vec<Effect> {
        match (asked, outcome) {
            (Asked::Initialize, Ok(_)) => self.initialized(now),
            (Asked::Login, Ok(_)) => vec![self.open_thread(now)],
            (_, Ok(result)) => self.opened(result, *asked == Asked::ResumeThread, now),
            (Asked::ResumeThread, Err(error)) => match ResumeRefusal::of(&error) {
                ResumeRefusal::Later => {
                    vec![self.end(
                        format!("codex cannot go on with its thread yet: {}", error.message),
                        true,
                    )]
                }
                ResumeRefusal::Gone => {
                    let thread = self.resume.take().unwrap_or_default();
                    self.early.push(format!(
                        "the earlier conversation {thread} cannot be gone on with, so a new one begins: {}",
                        error.message
                    ));
                    vec![self.open_thread(now)]
                }
            },
            (_, Err(error)) => {
                let reason = format!("codex refused {}: {}", asked.method(), error.message);
                vec![self.end(reason, error.code == OVERLOADED)]
            }
        }
    }

    fn initialized(&mut self, now: Now) -> Vec<Effect> {
        self.phase = Phase::Opening;
        let mut effects = vec![Effect::Write(wire::notification("initialized"))];
        effects.push(match self.api_key.take() {
            Some(key) => self
                .requests
                .send(Asked::Login, &handshake::login(&key), self.start_timeout, now),
            None => self.open_thread(now),
        });
        effects
    }

    fn open_thread(&mut self, now: Now) -> Effect {
        let (asked, params) = match &self.resume {
            Some(thread_id) => (Asked::ResumeThread, self.thread.resume(thread_id)),
            None => (Asked::StartThread, self.thread.start()),
        };
        self.requests.send(asked, &params, self.start_timeout, now)
    }

    fn opened(&mut self, result: &str, resumed: bool, now: Now) -> Vec<Effect> {
        let opened: Opened = match serde_json::from_str(result) {
            Ok(opened) => opened,
            Err(error) => {
                let reason = format!("this codex speaks another protocol than version 0.169: {error}");
                return vec![self.end(reason, false)];
            }
        };
        if let Err(difference) = self.thread.check(&opened) {
            return vec![self.end(difference, false)];
        }
        if !resumed {
            self.meter.new_thread();
        }
        self.file = opened.thread.path;
        self.phase = Phase::Open;
        self.thread_id = Some(opened.thread.id.clone());
        let mut effects = vec![Effect::Tell(AgentEvent::Ready {
            thread_id: opened.thread.id,
            resumed,
            agent_version: opened.thread.cli_version,
            model: opened.model,
            cwd: opened.cwd.unwrap_or_default(),
        })];
        for message in std::mem::take(&mut self.early) {
            effects.push(said(Word::Notice { message }));
        }
        effects.extend(self.begin_next(now));
        effects
    }

    // Turns.

    fn begin_next(&mut self, now: Now) -> Vec<Effect> {
        let mut effects = Vec::new();
        while self.turn.is_none()
            && self.phase == Phase::Open
            && let Some(thread_id) = self.thread_id.clone()
            && let Some(prompt) = self.waiting.pop_front()
        {
            let length = prompt.chars().count();
            if length > LONGEST_PROMPT {
                let message = format!("the prompt has {length} characters; codex takes {LONGEST_PROMPT} at most");
                effects.push(ended(
                    TurnStatus::Failed,
                    Some(TurnError::new(ErrorClass::BadRequest, message)),
                ));
                continue;
            }
            self.meter.begin();
            self.turn = Some(Turn::default());
            let params = json!({"threadId": thread_id, "input": text_input(&prompt)});
            effects.push(self.requests.send(Asked::StartTurn, &params, ANSWER, now));
        }
        effects
    }

    /// Codex has told its name for the turn.
    fn named(&mut self, turn_id: String, now: Now) -> Vec<Effect> {
        let Some(turn) = self.turn.as_mut().filter(|turn| turn.id.is_none()) else {
            return Vec::new();
        };
        turn.id = Some(turn_id.clone());
        let steers = std::mem::take(&mut turn.steers);
        let mut effects = vec![Effect::Tell(AgentEvent::TurnStarted { turn_id: Some(turn_id) })];
        for (token, prompt) in steers {
            effects.extend(self.steer(token, prompt, now));
        }
        effects.extend(self.send_interrupt(now));
        effects
    }

    fn turn_refused(&mut self, error: &RpcError, now: Now) -> Vec<Effect> {
        let class = if error.code == OVERLOADED {
            ErrorClass::Overloaded
        } else {
            ErrorClass::BadRequest
        };
        let message = format!("codex refused the turn: {}", error.message);
        let mut effects = Vec::new();
        for (token, _) in self
            .turn
            .as_mut()
            .map(|turn| std::mem::take(&mut turn.steers))
            .unwrap_or_default()
        {
            effects.push(steered(token, Some("no turn is running".into())));
        }
        effects.extend(self.finish(TurnStatus::Failed, Some(TurnError::new(class, message)), now));
        effects
    }

    fn turn_completed(&mut self, news: &TurnNews, now: Now) -> Vec<Effect> {
        let Some(turn) = self
            .turn
            .as_mut()
            .filter(|turn| turn.is(&news.turn.id) && turn.ended.is_none())
        else {
            return Vec::new();
        };
        let (status, error) = news.turn.end();
        if status != TurnStatus::Interrupted || turn.commands.is_empty() {
            return self.finish(status, error, now);
        }
        // Codex leaves the commands of an interrupted turn running; they are ended before the turn's end is told.
        turn.ended = Some(Ended {
            status,
            error,
            until: now + COMMANDS,
        });
        self.end_commands(now)
    }

    fn end_commands(&mut self, now: Now) -> Vec<Effect> {
        let Some(thread_id) = self.thread_id.clone() else {
            return Vec::new();
        };
        let Some(turn) = &self.turn else {
            return Vec::new();
        };
        let mut wishes = Vec::new();
        for (call_id, terminal) in &turn.commands {
            let Some(terminal) = terminal else {
                // One that has no name can only be ended together with all others.
                wishes = vec![(Asked::EndCommand(None), json!({"threadId": thread_id}))];
                break;
            };
            let params = json!({"threadId": thread_id, "processId": terminal});
            wishes.push((Asked::EndCommand(Some(call_id.clone())), params));
        }
        wishes
            .into_iter()
            .map(|(asked, params)| self.requests.send(asked, &params, COMMANDS, now))
            .collect()
    }

    fn command_ended(&mut self, call_id: Option<&str>, outcome: Result<&str, RpcError>, now: Now) -> Vec<Effect> {
        let ended = outcome.ok().and_then(|result| serde_json::from_str(result).ok());
        let gone = matches!(ended, Some(Terminated { terminated: true })) || call_id.is_none();
        if let Some(turn) = &mut self.turn
            && let Some(call_id) = call_id
            && !gone
        {
            // There is no such terminal any more: nothing will be told of it.
            turn.commands.remove(call_id);
        }
        self.finish_if_quiet(now)
    }

    /// Tells the end of an interrupted turn when its commands have ended.
    fn finish_if_quiet(&mut self, now: Now) -> Vec<Effect> {
        match self.turn.as_mut() {
            Some(turn) if turn.commands.is_empty() => match turn.ended.take() {
                Some(ended) => self.finish(ended.status, ended.error, now),
                None => Vec::new(),
            },
            _ => Vec::new(),
        }
    }

    fn finish(&mut self, status: TurnStatus, error: Option<TurnError>, now: Now) -> Vec<Effect> {
        self.turn = None;
        let mut effects = self.approvals.close();
        if let Some(file) = &self.file {
            effects.push(Effect::Keep(file.into()));
        }
        effects.push(Effect::Tell(AgentEvent::TurnEnded {
            status,
            error,
            usage: self.meter.turn(),
        }));
        effects.extend(self.begin_next(now));
        effects
    }

    // What the worker asks.

    fn steer(&mut self, token: u64, prompt: String, now: Now) -> Vec<Effect> {
        let thread_id = self.thread_id.clone();
        let turn = self.turn.as_mut().filter(|turn| turn.ended.is_none());
        let (Some(thread_id), Some(turn)) = (thread_id, turn) else {
            return vec![steered(token, Some("no turn is running".into()))];
        };
        let Some(turn_id) = turn.id.clone() else {
            turn.steers.push((token, prompt));
            return Vec::new();
        };
        if prompt.chars().count() > LONGEST_PROMPT {
            let reason = format!("codex takes {LONGEST_PROMPT} characters at most");
            return vec![steered(token, Some(reason))];
        }
        let params = json!({
            "threadId": thread_id,
            "input": text_input(&prompt),
            "expectedTurnId": turn_id,
        });
        vec![self.requests.send(Asked::Steer(token), &params, ANSWER, now)]
    }

    fn interrupt(&mut self, now: Now) -> Vec<Effect> {
        match &mut self.turn {
            Some(turn) if turn.interrupt.is_none() => {
                turn.interrupt = Some(Interrupt {
                    until: now + INTERRUPT,
                    send_at: Some(now),
                });
                self.send_interrupt(now)
            }
            Some(_) => Vec::new(),
            None => match self.waiting.pop_front() {
                Some(_) => vec![ended(TurnStatus::Interrupted, None)],
                None => Vec::new(),
            },
        }
    }

    fn send_interrupt(&mut self, now: Now) -> Vec<Effect> {
        let Some(thread_id) = self.thread_id.clone() else {
            return Vec::new();
        };
        let Some(turn) = self.turn.as_mut().filter(|turn| turn.ended.is_none()) else {
            return Vec::new();
        };
        let (Some(turn_id), Some(interrupt)) = (&turn.id, &mut turn.interrupt) else {
            return Vec::new();
        };
        if interrupt.send_at.take_if(|at| *at <= now).is_none() {
            return Vec::new();
        }
        let params = json!({"threadId": thread_id, "turnId": turn_id});
        vec![self.requests.send(Asked::Interrupt, &params, INTERRUPT, now)]
    }

    // What Codex says.

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
        vec![self.end(reason, true)]
    }

    fn give_up_commands(&mut self, now: Now) -> Vec<Effect> {
        let Some(turn) = &mut self.turn else {
            return Vec::new();
        };
        let Some(ended) = turn.ended.take() else {
            return Vec::new();
        };
        let names: Vec<_> = std::mem::take(&mut turn.commands).into_keys().collect();
        let message = format!(
            "these commands of the interrupted turn did not end, and may run on until the agent does: {}",
            names.join(", ")
        );
        let mut effects = vec![said(Word::Notice { message })];
        effects.extend(self.finish(ended.status, ended.error, now));
        effects
    }
}

impl Driver for CodexDriver {
    fn open(&mut self, now: Now) -> Vec<Effect> {
        self.open_by = now + self.start_timeout;
        let asked = Asked::Initialize;
        vec![
            self.requests
                .send(asked, &handshake::initialize(), self.start_timeout, now),
        ]
    }

    fn command(&mut self, command: AgentCommand, now: Now) -> Vec<Effect> {
        if self.phase == Phase::Gone {
            return answer_after_end(command, "codex has ended")
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
        if self.raw_events
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
        let refused_to_start = self.phase == Phase::Starting && death.code.is_some_and(|code| code != 0);
        let why = death.to_string();
        if refused_to_start && !self.stopping {
            let words = death
                .stderr_tail
                .as_deref()
                .and_then(|tail| tail.lines().last())
                .unwrap_or("nothing");
            effects.push(Effect::End {
                reason: format!("codex refused to start ({why}); its last words: {words}"),
                may_restart: false,
            });
        }
        self.phase = Phase::Gone;
        // A steering text without its answer is taken for a part of the turn: to run it once more would be worse.
        for asked in self.requests.forget() {
            if let Asked::Steer(token) = asked {
                effects.push(steered(token, None));
            }
        }
        if let Some(turn) = self.turn.take() {
            effects.extend(
                turn.steers
                    .into_iter()
                    .map(|(token, _)| steered(token, Some(why.clone()))),
            );
            effects.extend(self.approvals.close());
            if let Some(file) = &self.file {
                effects.push(Effect::Keep(file.into()));
            }
            let asked_for = self.stopping || turn.interrupt.is_some();
            let (status, error) = match turn.ended {
                Some(ended) => (ended.status, ended.error),
                None if asked_for => (TurnStatus::Interrupted, None),
                None => (
                    TurnStatus::Failed,
                    Some(TurnError::new(ErrorClass::AgentDied, why.clone())),
                ),
            };
            effects.push(Effect::Tell(AgentEvent::TurnEnded {
                status,
                error,
                usage: self.meter.turn(),
            }));
        }
        for _ in std::mem::take(&mut self.waiting) {
            effects.push(if self.stopping {
                ended(TurnStatus::Interrupted, None)
            } else {
                ended(
                    TurnStatus::Failed,
                    Some(TurnError::new(ErrorClass::AgentDied, why.clone())),
                )
            });
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

fn text_input(prompt: &str) -> Value {
    json!([{"type": "text", "text": prompt}])
}
