//! The agent that is built in and needs nothing: it streams the prompt back in words.
//!
//! A prompt can ask it for more ([`script`]), so that tests and trials of a swarm can have an agent that is slow, fails,
//! hangs, crashes, asks for approval or writes a very long answer, without a model. It has no process; it keeps its
//! thread's name over a restart and remembers nothing else. Its tokens are words: `input_tokens` of the prompt,
//! `output_tokens` of what it has said.

mod noise;
pub mod script;

use std::collections::VecDeque;
use std::path::Path;
use std::time::Duration;

use codeswarm_protocol::launch::{AgentSpec, Approvals};
use codeswarm_protocol::record::Word;
use codeswarm_protocol::turn::{CallStatus, Decision, ErrorClass, TurnError, TurnStatus, Usage};
use serde_json::json;

use crate::driver::{AgentCommand, AgentEvent, Death, Driver, Effect, Now, answer_after_end};
use script::{Script, Step};

/// How many deltas are said in one step, when there is no pace.
const BATCH: u32 = 64;

/// The size of a delta of a long answer.
const LONG_DELTA: u64 = 4096;

/// The echo agent's state.
#[derive(Debug)]
pub struct EchoDriver {
    thread_id: String,
    resumed: bool,
    cwd: String,
    model: Option<String>,
    approvals: Approvals,
    approval_timeout: Duration,
    raw_events: bool,
    turns: u64,
    turn: Option<Turn>,
    waiting: VecDeque<String>,
    stopping: bool,
    gone: Option<String>,
}

#[derive(Debug)]
struct Turn {
    name: String,
    steps: VecDeque<Step>,
    pace: Duration,
    crash_after: Option<u64>,
    answer: String,
    deltas: u64,
    input_words: u64,
    /// When it goes on; none while it hangs.
    due: Option<Now>,
    question: Option<Question>,
    deaf: bool,
}

#[derive(Debug)]
struct Question {
    call_id: String,
    command: String,
}

/// What a step leads to.
enum Flow {
    GoOn,
    Wait,
    Ask(String),
    End(TurnStatus, Option<TurnError>),
}

impl EchoDriver {
    /// An agent on this thread, new or `resumed`.
    pub fn new(agent: &AgentSpec, thread_id: String, resumed: bool, cwd: &Path) -> Self {
        Self {
            thread_id,
            resumed,
            cwd: cwd.display().to_string(),
            model: agent.model.clone(),
            approvals: agent.approvals,
            approval_timeout: Duration::from_secs(agent.approval_timeout_seconds),
            raw_events: agent.raw_events,
            turns: 0,
            turn: None,
            waiting: VecDeque::new(),
            stopping: false,
            gone: None,
        }
    }

    fn begin(&mut self, prompt: &str, now: Now) -> Vec<Effect> {
        self.turns += 1;
        let name = format!("turn-{}", self.turns);
        let mut effects = Vec::new();
        if self.raw_events {
            effects.push(Effect::Tell(AgentEvent::Raw(json!({"prompt": prompt}))));
        }
        effects.push(tell_started(&name));
        let mut turn = Turn {
            name,
            steps: VecDeque::new(),
            pace: Duration::ZERO,
            crash_after: None,
            answer: String::new(),
            deltas: 0,
            input_words: words(prompt),
            due: Some(now),
            question: None,
            deaf: false,
        };
        match Script::parse(prompt) {
            Ok(script) => {
                turn.steps = script.steps.into();
                turn.pace = script.pace;
                turn.crash_after = script.crash_after;
            }
            Err(wrong) => turn
                .steps
                .push_back(Step::Fail(TurnError::new(ErrorClass::BadRequest, wrong))),
        }
        self.turn = Some(turn);
        effects
    }

    fn end_turn(&mut self, status: TurnStatus, error: Option<TurnError>, now: Now, effects: &mut Vec<Effect>) {
        let Some(turn) = self.turn.take() else {
            return;
        };
        if let Some(question) = &turn.question {
            effects.push(said(Word::ApprovalResolved {
                call_id: question.call_id.clone(),
                decision: Decision::Cancel,
                by: "agent".into(),
            }));
        }
        if status == TurnStatus::Completed && !turn.answer.is_empty() {
            effects.push(said(Word::Assistant {
                content: turn.answer.clone(),
                item_id: Some(turn.name.clone()),
                phase: Some("final_answer".into()),
            }));
        }
        effects.push(Effect::Tell(AgentEvent::TurnEnded {
            status,
            error,
            usage: Some(turn.usage()),
        }));
        if self.gone.is_none()
            && !self.stopping
            && let Some(prompt) = self.waiting.pop_front()
        {
            effects.extend(self.begin(&prompt, now));
        }
    }

    fn answer(&mut self, call_id: &str, decision: Decision, by: &str, now: Now, effects: &mut Vec<Effect>) {
        let open = self.turn.as_mut().and_then(|turn| {
            let question = turn.question.take_if(|question| question.call_id == call_id)?;
            turn.due = Some(now);
            Some(question)
        });
        let Some(question) = open else {
            effects.push(Effect::Tell(AgentEvent::ApprovalUnknown {
                call_id: call_id.to_owned(),
            }));
            return;
        };
        effects.push(said(Word::ApprovalResolved {
            call_id: question.call_id.clone(),
            decision,
            by: by.to_owned(),
        }));
        let allowed = matches!(decision, Decision::Accept | Decision::AcceptForSession);
        if allowed {
            effects.push(said(Word::CommandStarted {
                call_id: question.call_id.clone(),
                command: question.command.clone(),
                cwd: Some(self.cwd.clone()),
            }));
        }
        effects.push(said(Word::CommandCompleted {
            call_id: question.call_id,
            command: question.command,
            status: if allowed {
                CallStatus::Completed
            } else {
                CallStatus::Declined
            },
            exit_code: allowed.then_some(0),
            output: String::new(),
            output_truncated: false,
            duration_ms: allowed.then_some(0),
        }));
        if decision == Decision::Cancel {
            self.end_turn(TurnStatus::Interrupted, None, now, effects);
        }
    }

    /// Asks for approval; answered at once where the policy does.
    fn ask(&mut self, command: String, now: Now, effects: &mut Vec<Effect>) {
        let Some(turn) = &mut self.turn else {
            return;
        };
        let call_id = format!("{}-call-{}", turn.name, turn.deltas + 1);
        effects.push(said(Word::ApprovalRequired {
            call_id: call_id.clone(),
            kind: "command".into(),
            command: command.clone(),
            reason: Some("the prompt asked for a question".into()),
            cwd: Some(self.cwd.clone()),
            available_decisions: vec![Decision::Accept, Decision::Decline, Decision::Cancel],
        }));
        turn.due = Some(now.saturating_add(self.approval_timeout));
        turn.question = Some(Question {
            call_id: call_id.clone(),
            command,
        });
        if let Some(decision) = self.approvals.by_policy() {
            self.answer(&call_id, decision, "policy", now, effects);
        }
    }

    /// Does what is due, a batch at most.
    fn go_on(&mut self, now: Now) -> Vec<Effect> {
        let mut effects = Vec::new();
        let timed_out = self
            .turn
            .as_ref()
            .and_then(|turn| turn.question.as_ref())
            .map(|question| question.call_id.clone());
        if let Some(call_id) = timed_out {
            self.answer(&call_id, Decision::Decline, "timeout", now, &mut effects);
            return effects;
        }
        for _ in 0..BATCH {
            let Some(turn) = &mut self.turn else {
                break;
            };
            if turn.due.is_none_or(|due| due > now) {
                break;
            }
            if turn.crash_after.is_some_and(|limit| turn.deltas >= limit) {
                effects.push(crash());
                turn.due = None;
                break;
            }
            match turn.step(&self.cwd, now, &mut effects) {
                Flow::GoOn => {}
                Flow::Ask(command) => self.ask(command, now, &mut effects),
                Flow::Wait => break,
                Flow::End(status, error) => self.end_turn(status, error, now, &mut effects),
            }
        }
        effects
    }
}

impl Turn {
    fn step(&mut self, cwd: &str, now: Now, effects: &mut Vec<Effect>) -> Flow {
        match self.steps.front_mut() {
            None => return Flow::End(TurnStatus::Completed, None),
            Some(Step::Text(text, said)) => {
                let word = next_word(&text[*said..]).to_owned();
                *said += word.len();
                if *said == text.len() {
                    self.steps.pop_front();
                }
                self.say(word, effects);
            }
            Some(Step::Numbered(next, last)) => {
                if next > last {
                    self.steps.pop_front();
                    return Flow::GoOn;
                }
                let word = format!("word{next} ");
                *next += 1;
                self.say(word, effects);
            }
            Some(Step::Long(left)) => {
                let length = (*left).min(LONG_DELTA);
                *left -= length;
                if *left == 0 {
                    self.steps.pop_front();
                }
                let text = "long text ".bytes().cycle().map(char::from);
                self.say(text.take(usize::try_from(length).unwrap_or(0)).collect(), effects);
            }
            Some(Step::Pause(pause)) => {
                self.due = Some(now.saturating_add(*pause));
                self.steps.pop_front();
                return Flow::Wait;
            }
            Some(Step::Hang { deaf }) => {
                self.deaf = *deaf;
                self.due = None;
                return Flow::Wait;
            }
            Some(Step::Crash) => {
                effects.push(crash());
                self.due = None;
                return Flow::Wait;
            }
            Some(Step::Fail(error)) => {
                return Flow::End(TurnStatus::Failed, Some(error.clone()));
            }
            Some(Step::Noise) => {
                effects.extend(noise::one_of_each(&self.name, cwd).into_iter().map(said));
                self.steps.pop_front();
            }
            Some(Step::Approve(command)) => {
                let command = std::mem::take(command);
                self.steps.pop_front();
                return Flow::Ask(command);
            }
        }
        Flow::GoOn
    }

    fn say(&mut self, text: String, effects: &mut Vec<Effect>) {
        self.answer.push_str(&text);
        self.deltas += 1;
        // Counted from when it was due, not from now: the pace holds although a clock is late.
        self.due = self.due.map(|due| due.saturating_add(self.pace));
        effects.push(said(Word::AssistantDelta {
            content: text,
            item_id: Some(self.name.clone()),
        }));
    }

    fn usage(&self) -> Usage {
        let output_tokens = words(&self.answer);
        Usage {
            total_tokens: self.input_words + output_tokens,
            input_tokens: self.input_words,
            output_tokens,
            ..Usage::default()
        }
    }
}

impl Driver for EchoDriver {
    fn open(&mut self, _now: Now) -> Vec<Effect> {
        vec![Effect::Tell(AgentEvent::Ready {
            thread_id: self.thread_id.clone(),
            resumed: self.resumed,
            agent_version: Some(codeswarm_protocol::VERSION.to_owned()),
            model: self.model.clone(),
            cwd: self.cwd.clone(),
        })]
    }

    fn command(&mut self, command: AgentCommand, now: Now) -> Vec<Effect> {
        if let Some(why) = &self.gone {
            return answer_after_end(command, ErrorClass::AgentDied, why)
                .map(Effect::Tell)
                .into_iter()
                .collect();
        }
        let mut effects = Vec::new();
        match command {
            AgentCommand::RunTurn { prompt } if self.turn.is_some() => {
                self.waiting.push_back(prompt);
            }
            AgentCommand::RunTurn { prompt } => effects = self.begin(&prompt, now),
            AgentCommand::Steer { token, prompt } => {
                let refused = match &mut self.turn {
                    None => Some("no turn is running".to_owned()),
                    Some(turn) => {
                        turn.input_words += words(&prompt);
                        let gap = if turn.answer.ends_with(char::is_whitespace) {
                            ""
                        } else {
                            " "
                        };
                        turn.steps.push_back(Step::Text(format!("{gap}{}", prompt.trim()), 0));
                        None
                    }
                };
                effects.push(Effect::Tell(AgentEvent::Steered { token, refused }));
            }
            AgentCommand::Interrupt => {
                if self.turn.as_ref().is_some_and(|turn| !turn.deaf) {
                    self.end_turn(TurnStatus::Interrupted, None, now, &mut effects);
                }
            }
            AgentCommand::Approve { call_id, decision, by } => self.answer(&call_id, decision, by, now, &mut effects),
            AgentCommand::Stop => {
                self.stopping = true;
                effects.push(Effect::End {
                    reason: "asked to stop".into(),
                    may_restart: true,
                });
            }
        }
        effects
    }

    fn line(&mut self, _line: &[u8], _now: Now) -> Vec<Effect> {
        Vec::new()
    }

    fn deadline(&self) -> Option<Now> {
        self.turn.as_ref()?.due
    }

    fn tick(&mut self, now: Now) -> Vec<Effect> {
        self.go_on(now)
    }

    fn gone(&mut self, _death: &Death, now: Now) -> Vec<Effect> {
        let mut effects = Vec::new();
        let why = "the echo agent has ended";
        self.gone = Some(why.to_owned());
        let (status, error) = if self.stopping {
            (TurnStatus::Interrupted, None)
        } else {
            let error = TurnError::new(ErrorClass::AgentDied, "the echo agent crashed, as it was asked to");
            (TurnStatus::Failed, Some(error))
        };
        self.end_turn(status, error, now, &mut effects);
        for prompt in std::mem::take(&mut self.waiting) {
            let answer = answer_after_end(AgentCommand::RunTurn { prompt }, ErrorClass::AgentDied, why);
            effects.extend(answer.map(Effect::Tell));
        }
        effects
    }
}

fn said(word: Word) -> Effect {
    Effect::Tell(AgentEvent::Said(word))
}

fn tell_started(turn: &str) -> Effect {
    Effect::Tell(AgentEvent::TurnStarted {
        turn_id: Some(turn.to_owned()),
    })
}

fn crash() -> Effect {
    Effect::End {
        reason: "the prompt asked the agent to crash".into(),
        may_restart: true,
    }
}

fn words(text: &str) -> u64 {
    text.split_whitespace().count() as u64
}

/// The text up to the beginning of its second word.
fn next_word(text: &str) -> &str {
    let mut in_gap = false;
    let mut seen_word = false;
    for (at, character) in text.char_indices() {
        if character.is_whitespace() {
            in_gap = seen_word;
        } else if in_gap {
            return &text[..at];
        } else {
            seen_word = true;
        }
    }
    text
}

#[cfg(test)]
mod tests;
