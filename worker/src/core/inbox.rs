//! What the inbox asks for.

use codeswarm_agents::{AgentCommand, Now};
use codeswarm_protocol::InjectionId;
use codeswarm_protocol::inbox::{Control, InboxRecord};
use codeswarm_protocol::record::Word;
use codeswarm_protocol::turn::Decision;

use super::life::Life;
use super::queue::{Full, Prompt};
use super::turn::Cause;
use super::{Core, Effect, FAILED_STARTS, MAX_PROMPT_BYTES};

impl Core {
    pub(super) fn inbox(&mut self, record: InboxRecord, end: u64, now: Now) {
        self.inbox_offset = self.inbox_offset.max(end);
        match record {
            InboxRecord::User {
                injection_id,
                content,
                steer,
            } => self.prompt(injection_id, content, steer, end),
            InboxRecord::Control { payload } => self.control(payload, end, now),
            // One that an earlier life has obeyed is behind `consumed`; a requeued worker goes on.
            InboxRecord::Shutdown {} if end > self.consumed => self.terminate("shutdown", now),
            InboxRecord::Shutdown {} => {}
        }
    }

    pub(super) fn inbox_bad(&mut self, offset: u64, end: u64, reason: &str, injection: Option<InjectionId>) {
        self.inbox_offset = self.inbox_offset.max(end);
        let Some(injection) = injection else {
            if end > self.consumed {
                let message = format!("the line at byte {offset} of the inbox {reason}; it was skipped");
                self.record(Word::WorkerError { message }, None);
            }
            return;
        };
        if self.seen.insert(injection.clone()) {
            self.received.remove(&injection);
            self.fail(injection, "bad_record", format!("its line in the inbox {reason}"));
        }
    }

    fn prompt(&mut self, injection: InjectionId, content: String, steer: bool, place: u64) {
        // An earlier life's 'received' was said; everything else that was seen has run, waits, or has failed.
        if !self.seen.insert(injection.clone()) {
            return;
        }
        let said = self.received.remove(&injection);
        if let Some((error, reason)) = self.refusal(&content, said) {
            return self.fail(injection, error, reason);
        }
        let joins = steer && self.turn.as_ref().is_some_and(|turn| turn.ending.is_none());
        if !said {
            let behind = if joins {
                0
            } else {
                self.queue.len() + usize::from(self.turn.is_some())
            };
            let word = Word::InjectReceived {
                queued_behind: u32::try_from(behind).unwrap_or(u32::MAX),
            };
            self.record(word, Some(injection.clone()));
        }
        let prompt = Prompt {
            injection,
            content,
            place,
        };
        if joins {
            self.steer(prompt);
        } else {
            self.queue.insert(prompt);
        }
    }

    /// Why a prompt is not taken, if it is not. One that an earlier life has taken keeps its place in the queue.
    fn refusal(&self, content: &str, taken: bool) -> Option<(&'static str, String)> {
        if let Some(closing) = &self.closing {
            return Some(closing.refusal());
        }
        if let Life::Unusable { reason } = &self.life {
            return Some(("agent_unusable", reason.clone()));
        }
        if self.backoff.failed_starts() >= FAILED_STARTS {
            return Some(("agent_unusable", self.not_coming_up()));
        }
        if content.trim().is_empty() {
            return Some(("empty", "the prompt has no text".to_owned()));
        }
        if content.len() > MAX_PROMPT_BYTES {
            let reason = format!(
                "the prompt has {} bytes; a worker takes {MAX_PROMPT_BYTES} at most",
                content.len()
            );
            return Some(("too_large", reason));
        }
        match self.queue.room(content.len()) {
            Err(_) if taken => None,
            Ok(()) => None,
            Err(Full::Prompts(waiting)) => Some((
                "queue_full",
                format!("{waiting} prompts wait in this worker already (worker.queue_limit); send it again later"),
            )),
            Err(Full::Bytes(waiting)) => Some((
                "queue_full",
                format!("{waiting} bytes of prompts wait in this worker already; send it again later"),
            )),
        }
    }

    pub(super) fn not_coming_up(&self) -> String {
        let starts = self.backoff.failed_starts();
        format!(
            "the agent did not come up in {starts} starts in a row; its agent_exit records say why. It is tried again"
        )
    }

    fn control(&mut self, control: Control, end: u64, now: Now) {
        // What was said before this life began, without naming an injection, was said about an earlier life.
        let old = end <= self.backlog;
        match control {
            Control::Interrupt { injection_id: None } => {
                if old || !self.interrupt_turn(Cause::Client, now) {
                    let reason = match &self.turn {
                        _ if old => "an interrupt that was written before this life of the worker began",
                        Some(_) => "an interrupt for a turn that was told to end already",
                        None => "an interrupt, and no turn runs",
                    };
                    self.ignore_unless_consumed(end, reason, None);
                }
            }
            Control::Interrupt {
                injection_id: Some(injection),
            } => self.interrupt_injection(injection, end, now),
            Control::Approval { call_id, decision } => self.approval(call_id, decision, old, end),
        }
    }

    fn interrupt_injection(&mut self, injection: InjectionId, end: u64, now: Now) {
        if self.queue.remove(&injection).is_some() {
            return self.fail(
                injection,
                "interrupted",
                "a client interrupted it before it was started",
            );
        }
        if self.cancel_steering(&injection) {
            return;
        }
        let its_turn = self.turn.as_ref().is_some_and(|turn| {
            turn.injection == injection || turn.joined.iter().any(|(joined, _)| *joined == injection)
        });
        if !its_turn {
            let reason = "an interrupt for an injection that neither runs nor waits here";
            self.ignore_unless_consumed(end, reason, Some(injection));
        } else if !self.interrupt_turn(Cause::Client, now) {
            let reason = "an interrupt for a turn that was told to end already";
            self.ignore_unless_consumed(end, reason, Some(injection));
        }
    }

    fn approval(&mut self, call_id: String, decision: Decision, old: bool, end: u64) {
        if old || self.life != Life::Up {
            let reason = format!("an answer to {call_id}, a question that is not open");
            return self.ignore_unless_consumed(end, &reason, None);
        }
        self.effects.push(Effect::Command(AgentCommand::Approve {
            call_id,
            decision,
            by: "client",
        }));
    }

    /// Says that a control changed nothing, but not again for one that an earlier life's orderly end has dealt with.
    fn ignore_unless_consumed(&mut self, end: u64, reason: &str, injection: Option<InjectionId>) {
        if end > self.consumed {
            self.ignore(reason, injection);
        }
    }
}
