//! The orderly end of a worker: no more prompts, the running turn interrupted, the agent gone, the inbox accounted for
//! to its end, and then the last record.

use std::time::Duration;

use codeswarm_agents::{AgentCommand, Now};
use codeswarm_protocol::record::Word;

use super::life::Life;
use super::turn::Cause;
use super::{Core, Effect, GivenUp};

/// Of the time that there is for ending, in percent: when the agent is killed if it has not ended.
const KILL_AT: u32 = 70;

/// Of the same: when the inbox's end is no longer waited for. The rest is for flushing and archiving.
const FINISH_AT: u32 = 85;

/// A worker that ends.
#[derive(Debug)]
pub struct Closing {
    reason: &'static str,
    error: &'static str,
    sentence: String,
    kill_at: Now,
    finish_at: Now,
    stage: Stage,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    AgentEnds,
    InboxEnds,
    Finished,
}

impl Closing {
    /// What prompts are told that were not started: a word and a sentence.
    pub fn refusal(&self) -> (&'static str, String) {
        (self.error, self.sentence.clone())
    }

    /// Whether the last record was said.
    pub fn finished(&self) -> bool {
        self.stage == Stage::Finished
    }

    /// Whether the agent has had its time.
    pub fn kill_due(&self, now: Now) -> bool {
        self.stage == Stage::AgentEnds && self.kill_at <= now
    }

    /// The next moment that matters.
    pub fn deadline(&self, life: &Life) -> Now {
        if life.has_session() {
            self.kill_at
        } else {
            self.finish_at
        }
    }
}

impl Core {
    pub(super) fn terminate(&mut self, reason: &'static str, now: Now) {
        let sentence = format!("the worker ended ({reason}) before this prompt was started");
        self.close(reason, ("worker_exit", sentence), now);
    }

    /// A life that is an end from its beginning: it says why, and accounts for what is open.
    pub(super) fn give_up(&mut self, GivenUp { reason, message }: GivenUp, now: Now) {
        self.life = Life::Unusable {
            reason: message.clone(),
        };
        let sentence = format!("this node's worker is not started again: {message}");
        self.record(Word::WorkerError { message }, None);
        self.close(reason, (reason, sentence), now);
    }

    /// Begins the end. A second reason changes nothing.
    pub(super) fn close(&mut self, reason: &'static str, (error, sentence): (&'static str, String), now: Now) {
        if self.closing.is_some() {
            return;
        }
        let share = |percent: u32| -> Duration { self.settings.shutdown_grace * percent / 100 };
        self.closing = Some(Closing {
            reason,
            error,
            sentence: sentence.clone(),
            kill_at: now + share(KILL_AT),
            finish_at: now + share(FINISH_AT),
            stage: Stage::AgentEnds,
        });
        self.fail_waiting(error, &sentence);
        self.interrupt_turn(Cause::WorkerEnds(reason), now);
    }

    /// Takes the next step towards the end, if it can be taken.
    pub(super) fn advance_closing(&mut self, now: Now) {
        let Some(closing) = &mut self.closing else { return };
        if closing.stage == Stage::AgentEnds && self.turn.is_none() {
            match self.life {
                Life::Up | Life::Starting { .. } => {
                    self.life = Life::Stopping;
                    self.effects.push(Effect::Command(AgentCommand::Stop));
                }
                Life::Stopping | Life::Dying => {}
                Life::Down | Life::Waiting { .. } | Life::Unusable { .. } | Life::Gone => {
                    self.life = Life::Gone;
                    closing.stage = Stage::InboxEnds;
                    self.effects.push(Effect::ReadInboxToEnd);
                }
            }
        }
        if closing.finish_at <= now {
            self.finish();
        }
    }

    pub(super) fn inbox_end(&mut self, offset: u64) {
        self.inbox_offset = self.inbox_offset.max(offset);
        self.finish();
    }

    /// Says the last record, if only the inbox's end was waited for.
    fn finish(&mut self) {
        let Some(closing) = self
            .closing
            .as_mut()
            .filter(|closing| closing.stage == Stage::InboxEnds)
        else {
            return;
        };
        closing.stage = Stage::Finished;
        let (reason, error, sentence) = (closing.reason, closing.error, closing.sentence.clone());
        // An earlier life had received them, and their text was not found again.
        let mut lost: Vec<_> = self.received.drain().collect();
        lost.sort();
        for injection in lost {
            self.fail(injection, error, sentence.clone());
        }
        let word = Word::WorkerExit {
            reason: reason.to_owned(),
            inbox_offset: self.inbox_offset,
        };
        self.record(word, None);
        self.effects.push(Effect::Finish { reason });
    }
}
