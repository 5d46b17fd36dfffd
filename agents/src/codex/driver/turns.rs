//! A turn: begun, steered, interrupted, ended with its commands.

use std::time::Duration;

use codeswarm_protocol::record::Word;
use codeswarm_protocol::turn::{ErrorClass, TurnError, TurnStatus};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{ANSWER, CodexDriver, INTERRUPT, Phase, ended, said, steered};
use crate::codex::notification::TurnNews;
use crate::codex::requests::Asked;
use crate::codex::turn::{Ended, Interrupt, Turn};
use crate::codex::wire::{OVERLOADED, RpcError};
use crate::driver::{AgentEvent, Effect, Now};

/// Codex takes no longer prompt; it counts characters.
const LONGEST_PROMPT: usize = 1_048_576;

/// How long the commands of an interrupted turn may take to end.
const COMMANDS: Duration = Duration::from_secs(5);

#[derive(Deserialize)]
struct Terminated {
    #[serde(default)]
    terminated: bool,
}

impl CodexDriver {
    pub(super) fn begin_next(&mut self, now: Now) -> Vec<Effect> {
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
    pub(super) fn named(&mut self, turn_id: String, now: Now) -> Vec<Effect> {
        // The answer to turn/start may come when that turn is over, and then names no other.
        let late = self.over.as_ref() == Some(&turn_id);
        let Some(turn) = self.turn.as_mut().filter(|turn| turn.id.is_none() && !late) else {
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

    pub(super) fn turn_refused(&mut self, error: &RpcError, now: Now) -> Vec<Effect> {
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

    pub(super) fn turn_completed(&mut self, news: &TurnNews, now: Now) -> Vec<Effect> {
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

    pub(super) fn end_commands(&mut self, now: Now) -> Vec<Effect> {
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

    pub(super) fn command_ended(
        &mut self,
        call_id: Option<&str>,
        outcome: Result<&str, RpcError>,
        now: Now,
    ) -> Vec<Effect> {
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
    pub(super) fn finish_if_quiet(&mut self, now: Now) -> Vec<Effect> {
        match self.turn.as_mut() {
            Some(turn) if turn.commands.is_empty() => match turn.ended.take() {
                Some(ended) => self.finish(ended.status, ended.error, now),
                None => Vec::new(),
            },
            _ => Vec::new(),
        }
    }

    pub(super) fn finish(&mut self, status: TurnStatus, error: Option<TurnError>, now: Now) -> Vec<Effect> {
        self.over = self.turn.take().and_then(|turn| turn.id);
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

    pub(super) fn steer(&mut self, token: u64, prompt: String, now: Now) -> Vec<Effect> {
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

    pub(super) fn interrupt(&mut self, now: Now) -> Vec<Effect> {
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

    pub(super) fn send_interrupt(&mut self, now: Now) -> Vec<Effect> {
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

    pub(super) fn give_up_commands(&mut self, now: Now) -> Vec<Effect> {
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

fn text_input(prompt: &str) -> Value {
    json!([{"type": "text", "text": prompt}])
}
