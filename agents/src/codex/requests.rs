//! Our requests to Codex that wait for their answers, each with a deadline.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;

use super::wire;
use crate::driver::{Effect, Now};

/// What was asked, and what its answer is needed for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Asked {
    /// `initialize`.
    Initialize,
    /// `account/login/start`.
    Login,
    /// `thread/resume`.
    ResumeThread,
    /// `thread/start`.
    StartThread,
    /// `turn/start`.
    StartTurn,
    /// `turn/steer` with the worker's token.
    Steer(u64),
    /// `turn/interrupt`.
    Interrupt,
    /// `thread/backgroundTerminals/terminate` for this call, or `…/clean` for all.
    EndCommand(Option<String>),
}

impl Asked {
    /// The method on the wire.
    pub fn method(&self) -> &'static str {
        match self {
            Self::Initialize => "initialize",
            Self::Login => "account/login/start",
            Self::ResumeThread => "thread/resume",
            Self::StartThread => "thread/start",
            Self::StartTurn => "turn/start",
            Self::Steer(_) => "turn/steer",
            Self::Interrupt => "turn/interrupt",
            Self::EndCommand(Some(_)) => "thread/backgroundTerminals/terminate",
            Self::EndCommand(None) => "thread/backgroundTerminals/clean",
        }
    }
}

/// The requests under way.
#[derive(Debug, Default)]
pub struct Requests {
    last_id: u64,
    waiting: BTreeMap<u64, Waiting>,
}

#[derive(Debug)]
struct Waiting {
    asked: Asked,
    since: Now,
    until: Now,
}

impl Requests {
    /// Sends a request that is to be answered within `patience`.
    pub fn send(&mut self, asked: Asked, params: &Value, patience: Duration, now: Now) -> Effect {
        self.last_id += 1;
        let line = wire::request(self.last_id, asked.method(), params);
        self.waiting.insert(
            self.last_id,
            Waiting {
                asked,
                since: now,
                until: now.saturating_add(patience),
            },
        );
        Effect::Write(line)
    }

    /// What the answer with this id is for; none when nothing of the kind waits.
    pub fn answered(&mut self, id: u64) -> Option<Asked> {
        self.waiting.remove(&id).map(|waiting| waiting.asked)
    }

    /// When the first answer is overdue.
    pub fn deadline(&self) -> Option<Now> {
        self.waiting.values().map(|waiting| waiting.until).min()
    }

    /// Takes out a request whose answer is overdue, and tells how long it was waited for.
    pub fn overdue(&mut self, now: Now) -> Option<(Asked, Duration)> {
        let id = self
            .waiting
            .iter()
            .find(|(_, waiting)| waiting.until <= now)
            .map(|(id, _)| *id)?;
        let waiting = self.waiting.remove(&id)?;
        Some((waiting.asked, now.saturating_sub(waiting.since)))
    }

    /// Nothing is waited for any more; answers with what was.
    pub fn forget(&mut self) -> Vec<Asked> {
        std::mem::take(&mut self.waiting)
            .into_values()
            .map(|waiting| waiting.asked)
            .collect()
    }
}
