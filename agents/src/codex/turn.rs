//! One turn of Codex, from the prompt to its end.

use std::collections::BTreeMap;

use codeswarm_protocol::turn::{TurnError, TurnStatus};

use super::items::{Item, Status};
use crate::driver::Now;

/// The running turn. It is known by Codex's own name for it, so that a late word of another turn is never taken for it.
#[derive(Debug, Default)]
pub struct Turn {
    /// Codex's name for it, once known.
    pub id: Option<String>,
    /// Steering texts that wait for that name, with the worker's tokens.
    pub steers: Vec<(u64, String)>,
    /// An interrupt was asked for.
    pub interrupt: Option<Interrupt>,
    /// Commands that have begun and are not over, with Codex's names for their terminals.
    pub commands: BTreeMap<String, Option<String>>,
    /// It is over for Codex; only its commands are being ended.
    pub ended: Option<Ended>,
}

/// The state of an interrupt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Interrupt {
    /// When the turn must have ended.
    pub until: Now,
    /// When it is asked for (again); none while an answer is awaited or was positive.
    pub send_at: Option<Now>,
}

/// How the turn ended.
#[derive(Debug, Clone, PartialEq)]
pub struct Ended {
    /// How.
    pub status: TurnStatus,
    /// Why.
    pub error: Option<TurnError>,
    /// Until when its commands may take to end.
    pub until: Now,
}

impl Turn {
    /// Whether this is the turn's name.
    pub fn is(&self, turn_id: &str) -> bool {
        self.id.as_deref() == Some(turn_id)
    }

    /// Notes a command that begins or ends.
    pub fn note(&mut self, item: &Item, started: bool) {
        let Item::CommandExecution {
            id, process_id, status, ..
        } = item
        else {
            return;
        };
        if started && *status == Status::InProgress {
            self.commands.insert(id.clone(), process_id.clone());
        } else {
            self.commands.remove(id);
        }
    }

    /// When something has to be done about it.
    pub fn deadline(&self) -> Option<Now> {
        let interrupt = self.interrupt.filter(|_| self.ended.is_none());
        let times = [
            interrupt.map(|interrupt| interrupt.until),
            interrupt
                .filter(|_| self.id.is_some())
                .and_then(|interrupt| interrupt.send_at),
            self.ended.as_ref().map(|ended| ended.until),
        ];
        times.into_iter().flatten().min()
    }
}
