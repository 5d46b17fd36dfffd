//! The turn under way: at most one, tied to the injection that asked for it.

use codeswarm_agents::{AgentCommand, Now};
use codeswarm_protocol::InjectionId;
use codeswarm_protocol::record::Word;
use codeswarm_protocol::turn::{ErrorClass, TurnError, TurnStatus, Usage};

use super::{Core, Effect, INTERRUPT_GRACE};
use crate::core::life::Life;

/// A turn from the moment it was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Turn {
    /// Who asked for it.
    pub injection: InjectionId,
    /// When.
    pub since: Now,
    /// The agent's own name for it.
    pub turn_id: Option<String>,
    /// Whether the agent has said that it began.
    pub running: bool,
    /// When it is ended for taking too long.
    pub deadline: Now,
    /// Why it is to end, once it was told to.
    pub ending: Option<Ending>,
    /// The injections that have joined it, and when.
    pub joined: Vec<(InjectionId, Now)>,
}

/// A turn was told to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ending {
    /// Why.
    pub cause: Cause,
    /// When the agent is killed if it has not ended the turn by then.
    pub kill_at: Now,
}

/// Why a turn was told to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// A client's interrupt.
    Client,
    /// It took too long.
    Deadline,
    /// The worker ends, for this reason.
    WorkerEnds(&'static str),
}

/// How a turn ended.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// How.
    pub status: TurnStatus,
    /// Why, unless completed.
    pub error: Option<TurnError>,
    /// Its tokens.
    pub usage: Option<Usage>,
}

impl Outcome {
    /// What is told when the agent is gone before it could say how the turn ended.
    pub fn died(message: &str, stderr_tail: Option<String>) -> Self {
        let error = TurnError {
            stderr_tail,
            ..TurnError::new(ErrorClass::AgentDied, message)
        };
        Self {
            status: TurnStatus::Failed,
            error: Some(error),
            usage: None,
        }
    }

    /// What the agent said, seen in the light of what it was told: a turn that was to end and did not complete ended
    /// because of that, however the agent puts it.
    fn because(self, ending: Option<Ending>, seconds: u64) -> Self {
        let Some(ending) = ending.filter(|_| self.status != TurnStatus::Completed) else {
            return self;
        };
        let (status, class, message) = match ending.cause {
            Cause::Client => (
                TurnStatus::Interrupted,
                ErrorClass::Other,
                "a client interrupted it".to_owned(),
            ),
            Cause::Deadline => (
                TurnStatus::Failed,
                ErrorClass::Timeout,
                format!("it took longer than {seconds} s (agent.turn_timeout_seconds) and was interrupted"),
            ),
            Cause::WorkerEnds(reason) => (
                TurnStatus::Interrupted,
                ErrorClass::WorkerDied,
                format!("the worker was told to end ({reason})"),
            ),
        };
        let stderr_tail = self.error.and_then(|error| error.stderr_tail);
        Self {
            status,
            error: Some(TurnError {
                stderr_tail,
                ..TurnError::new(class, message)
            }),
            usage: self.usage,
        }
    }
}

impl Core {
    /// Starts the next turn if the agent is free for one.
    pub(super) fn next_turn(&mut self, now: Now) {
        let free = self.life == Life::Up && self.turn.is_none() && self.closing.is_none() && self.steering.settled();
        if !free {
            return;
        }
        let Some(prompt) = self.queue.pop() else { return };
        let started = Word::TurnStarted {
            turn_id: None,
            steered_into: None,
        };
        self.record(started, Some(prompt.injection.clone()));
        self.effects
            .push(Effect::Command(AgentCommand::RunTurn { prompt: prompt.content }));
        self.turn = Some(Turn {
            injection: prompt.injection,
            since: now,
            turn_id: None,
            running: false,
            deadline: now + self.settings.turn_timeout,
            ending: None,
            joined: Vec::new(),
        });
    }

    /// Tells the agent to end the running turn, unless it was told already.
    pub(super) fn interrupt_turn(&mut self, cause: Cause, now: Now) -> bool {
        let Some(turn) = &mut self.turn else { return false };
        if turn.ending.is_some() {
            return false;
        }
        turn.ending = Some(Ending {
            cause,
            kill_at: now + INTERRUPT_GRACE,
        });
        self.effects.push(Effect::Command(AgentCommand::Interrupt));
        true
    }

    /// The running turn is over: its injection and those that joined it end here.
    pub(super) fn end_turn(&mut self, outcome: Outcome, now: Now) {
        let Some(turn) = self.turn.take() else { return };
        let outcome = outcome.because(turn.ending, self.settings.turn_timeout.as_secs());
        if outcome.status == TurnStatus::Completed {
            self.backoff.completed();
        }
        self.complete(&outcome, turn.injection.clone(), None, turn.since, now);
        if let Some(usage) = outcome.usage {
            self.record(Word::Usage { usage }, Some(turn.injection.clone()));
        }
        for (joined, since) in turn.joined {
            self.complete(&outcome, joined, Some(turn.injection.clone()), since, now);
        }
        self.settle_steering(turn.injection, outcome, now);
    }

    /// Says the end of one injection.
    pub(super) fn complete(
        &mut self,
        outcome: &Outcome,
        injection: InjectionId,
        steered_into: Option<InjectionId>,
        since: Now,
        now: Now,
    ) {
        let word = Word::TurnComplete {
            status: outcome.status,
            error: outcome.error.clone(),
            duration_ms: u64::try_from(now.saturating_sub(since).as_millis()).unwrap_or(u64::MAX),
            usage: outcome.usage.filter(|_| steered_into.is_none()),
            steered_into,
        };
        self.record(word, Some(injection));
    }
}
