//! Prompts that are to join the running turn: given to the agent as soon as it is able to, and queued like any other
//! when it will not have them.

use codeswarm_agents::{AgentCommand, Now};
use codeswarm_protocol::InjectionId;
use codeswarm_protocol::record::Word;

use super::queue::Prompt;
use super::turn::{Cause, Outcome};
use super::{Core, Effect, STEER_GRACE};

/// Texts on their way into a turn.
#[derive(Debug, Default)]
pub struct Steering {
    texts: Vec<Steer>,
    last_token: u64,
    /// The turn they were meant for, once it is over while some are unanswered.
    over: Option<Over>,
}

#[derive(Debug)]
struct Steer {
    prompt: Prompt,
    /// The agent was asked under this token.
    sent: Option<u64>,
    /// A client has interrupted it since.
    cancelled: bool,
}

#[derive(Debug)]
struct Over {
    into: InjectionId,
    outcome: Outcome,
    give_up: Now,
}

impl Steering {
    /// Whether nothing stands in the way of the next turn.
    pub fn settled(&self) -> bool {
        self.over.is_none()
    }

    /// When the agent has had long enough to answer.
    pub fn give_up(&self) -> Option<Now> {
        self.over.as_ref().map(|over| over.give_up)
    }
}

impl Core {
    /// A prompt that is to join the running turn.
    pub(super) fn steer(&mut self, prompt: Prompt) {
        self.steering.texts.push(Steer {
            prompt,
            sent: None,
            cancelled: false,
        });
        self.send_steering();
    }

    /// Gives the agent what it has not been asked yet, if its turn runs.
    pub(super) fn send_steering(&mut self) {
        if !self
            .turn
            .as_ref()
            .is_some_and(|turn| turn.running && turn.ending.is_none())
        {
            return;
        }
        for text in self.steering.texts.iter_mut().filter(|text| text.sent.is_none()) {
            self.steering.last_token += 1;
            text.sent = Some(self.steering.last_token);
            self.effects.push(Effect::Command(AgentCommand::Steer {
                token: self.steering.last_token,
                prompt: text.prompt.content.clone(),
            }));
        }
    }

    /// The agent's answer.
    pub(super) fn steered(&mut self, token: u64, refused: bool, now: Now) {
        let Some(at) = self.steering.texts.iter().position(|text| text.sent == Some(token)) else {
            return;
        };
        let text = self.steering.texts.remove(at);
        if refused {
            self.run_by_itself(text);
        } else {
            self.join(text, now);
        }
        if self.steering.texts.is_empty() {
            self.steering.over = None;
        }
    }

    fn join(&mut self, text: Steer, now: Now) {
        let injection = text.prompt.injection;
        let into = match (&self.steering.over, &self.turn) {
            (Some(over), _) => over.into.clone(),
            (None, Some(turn)) => turn.injection.clone(),
            (None, None) => return,
        };
        let started = Word::TurnStarted {
            turn_id: self.turn.as_ref().and_then(|turn| turn.turn_id.clone()),
            steered_into: Some(into.clone()),
        };
        self.record(started, Some(injection.clone()));
        if let Some(over) = &self.steering.over {
            let outcome = over.outcome.clone();
            self.complete(&outcome, injection, Some(into), now, now);
        } else if let Some(turn) = &mut self.turn {
            turn.joined.push((injection, now));
            if text.cancelled {
                self.interrupt_turn(Cause::Client, now);
            }
        }
    }

    /// The agent will not have it in this turn.
    fn run_by_itself(&mut self, text: Steer) {
        let injection = text.prompt.injection.clone();
        if text.cancelled {
            self.fail(
                injection,
                "interrupted",
                "a client interrupted it before it was started",
            );
        } else if let Some(closing) = &self.closing {
            let (error, reason) = closing.refusal();
            self.fail(injection, error, reason);
        } else {
            self.queue.insert(text.prompt);
        }
    }

    /// The turn is over; texts that the agent was asked to take may still be answered, the others run by themselves.
    pub(super) fn settle_steering(&mut self, into: InjectionId, outcome: Outcome, now: Now) {
        let (sent, held): (Vec<Steer>, Vec<Steer>) = std::mem::take(&mut self.steering.texts)
            .into_iter()
            .partition(|text| text.sent.is_some());
        for text in held {
            self.run_by_itself(text);
        }
        if !sent.is_empty() {
            self.steering.texts = sent;
            self.steering.over = Some(Over {
                into,
                outcome,
                give_up: now + STEER_GRACE,
            });
        }
    }

    /// No answer will come. What the agent was asked to add to a turn that is over has not started a turn of its own.
    pub(super) fn give_up_steering(&mut self) {
        self.steering.over = None;
        for text in std::mem::take(&mut self.steering.texts) {
            self.run_by_itself(text);
        }
    }

    /// A client interrupts a text that has not joined the turn yet. Answers whether it is one.
    pub(super) fn cancel_steering(&mut self, injection: &InjectionId) -> bool {
        let Some(at) = self
            .steering
            .texts
            .iter()
            .position(|text| text.prompt.injection == *injection)
        else {
            return false;
        };
        if self.steering.texts[at].sent.is_some() {
            self.steering.texts[at].cancelled = true;
        } else {
            let mut text = self.steering.texts.remove(at);
            text.cancelled = true;
            self.run_by_itself(text);
        }
        true
    }
}
