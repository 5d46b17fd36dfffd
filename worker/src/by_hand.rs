//! A worker without its loop, its clock and its threads: whoever holds it says what happens next. The same parts, for a
//! simulation that plays the disk, the agent and the time around them.

use std::collections::VecDeque;
use std::time::Instant;

use codeswarm_agents::{AgentCommand, AgentEvent, Now};
use codeswarm_mailbox::group_commit::Attempts;
use codeswarm_mailbox::{AppendError, LineFile, Mailbox, Tail, TailError, TailStep, archive};
use codeswarm_protocol::{Epoch, Place, Seq, Timestamp};

use crate::core::gate::Gate;
use crate::core::outbound::Outbound;
use crate::core::{Core, Effect, Identity, Input, Settings};
use crate::error::WorkerError;
use crate::inbox::inputs_of;
use crate::outbox;

/// What the worker wants of whoever plays its agent.
#[derive(Debug, PartialEq)]
pub enum Asked {
    /// A session.
    Start {
        /// The thread to go on with.
        resume: Option<String>,
    },
    /// Its end, at once.
    Kill,
}

/// One life of a worker.
pub struct ByHand {
    mailbox: Mailbox,
    place: Place,
    core: Core,
    outbound: Outbound,
    gate: Gate,
    /// Away once it is closed for the archive.
    file: Option<LineFile>,
    batch: Option<(Seq, Vec<u8>, Attempts)>,
    durable: Seq,
    inbox: Tail,
    inputs: VecDeque<Input>,
    /// A look at the inbox was asked for that is to find its end.
    to_end: bool,
    began: Now,
    finished: Option<&'static str>,
}

impl ByHand {
    /// Takes the place and begins. `now` is the time of whoever holds it.
    pub fn begin(
        mailbox: &Mailbox,
        place: &Place,
        settings: Settings,
        identity: Identity,
        now: Now,
    ) -> Result<(Self, Vec<Asked>), WorkerError> {
        let (file, recovered) = outbox::take(mailbox, place)?;
        let inbox_length = mailbox.inbox_length(place)?;
        let epoch = Epoch(recovered.last_epoch.0 + 1);
        let mut worker = Self {
            core: Core::new(settings),
            outbound: Outbound::new(place.clone(), epoch, recovered.last_seq),
            gate: Gate::default(),
            file: Some(file),
            batch: None,
            durable: recovered.last_seq,
            inbox: Tail::inbox(mailbox, place.clone(), 0),
            inputs: VecDeque::new(),
            to_end: false,
            began: now,
            finished: None,
            mailbox: mailbox.clone(),
            place: place.clone(),
        };
        let started = Input::Started {
            identity,
            recovered,
            inbox_length,
        };
        let asked = worker.step(started, now);
        Ok((worker, asked))
    }

    /// The reason of its orderly end, once everything is said and durable: then only the archive is left.
    pub fn finished(&self) -> Option<&'static str> {
        self.finished
            .filter(|_| self.outbound.is_empty() && self.batch.is_none())
    }

    /// When [`ByHand::tick`] is wanted.
    pub fn deadline(&self) -> Option<Now> {
        self.core.deadline().map(|due| due + self.began)
    }

    /// Time has passed.
    pub fn tick(&mut self, now: Now) -> Vec<Asked> {
        self.step(Input::Tick, now)
    }

    /// A signal.
    pub fn terminate(&mut self, reason: &'static str, now: Now) -> Vec<Asked> {
        self.step(Input::Terminate(reason), now)
    }

    /// The agent's next word; `None`: its session is over without a last one.
    pub fn hears(&mut self, event: Option<AgentEvent>, now: Now) -> Vec<Asked> {
        if !matches!(&event, Some(event) if !matches!(event, AgentEvent::Exited { .. })) {
            // What waits was meant for the session that is over.
            self.gate.clear();
        }
        self.step(event.map_or(Input::AgentClosed, Input::Agent), now)
    }

    /// The next command for the agent, if everything before it is durable.
    pub fn command(&mut self) -> Option<AgentCommand> {
        self.gate.pop(self.durable)
    }

    /// Looks into the inbox once. Whether it brought something.
    pub fn look(&mut self, chunk: usize, at: Instant) -> Result<bool, TailError> {
        match self.inbox.step(chunk, at)? {
            TailStep::Nothing | TailStep::Missing | TailStep::Ended { .. } | TailStep::Reopened => {
                let offset = self.inbox.offset();
                let asked = std::mem::take(&mut self.to_end);
                if asked {
                    self.inputs.push_back(Input::InboxEnd { offset });
                }
                Ok(asked)
            }
            step => {
                self.inputs.extend(inputs_of(step));
                Ok(true)
            }
        }
    }

    /// Whether something that was read of the inbox waits.
    pub fn has_read(&self) -> bool {
        !self.inputs.is_empty()
    }

    /// Takes in the next thing that was read of the inbox.
    pub fn take_in(&mut self, now: Now) -> Vec<Asked> {
        match self.inputs.pop_front() {
            Some(input) => self.step(input, now),
            None => Vec::new(),
        }
    }

    /// Tries to write the next batch, of about so many bytes, or the one that is under way; its lines are durable then. `None`:
    /// there is none. An error that may pass is to be tried again; any other ends the worker.
    pub fn write(&mut self, bytes: usize) -> Result<Option<Vec<u8>>, AppendError> {
        if self.batch.is_none() {
            let records = self.outbound.take(bytes);
            let Some(last) = records.last().map(|record| record.seq) else {
                return Ok(None);
            };
            let mut lines = Vec::new();
            for record in records {
                outbox::write_line(record, &mut lines);
            }
            self.batch = Some((last, lines, Attempts::default()));
        }
        let (Some((_, lines, attempts)), Some(file)) = (&mut self.batch, &mut self.file) else {
            return Ok(None);
        };
        attempts.next(file, lines)?;
        Ok(self.batch.take().map(|(last, lines, _)| {
            self.durable = last;
            lines
        }))
    }

    /// The last step of an orderly end. After an error it may be tried again.
    pub fn archive(&mut self) -> Result<(), WorkerError> {
        match self.file.take() {
            Some(file) => Ok(archive::archive(&self.mailbox, file, &self.place)?),
            None => Ok(archive::rename_to_archive(&self.mailbox, &self.place)?),
        }
    }

    fn step(&mut self, input: Input, now: Now) -> Vec<Asked> {
        let mut asked = Vec::new();
        for effect in self.core.step(input, now.saturating_sub(self.began)) {
            match effect {
                Effect::Record(word, injection) => {
                    let at = i64::try_from(now.as_millis()).unwrap_or(i64::MAX);
                    self.outbound.push(word, injection, Timestamp(at));
                }
                Effect::StartAgent { resume } => {
                    self.gate.clear();
                    asked.push(Asked::Start { resume });
                }
                Effect::Command(command) => self.gate.hold(command, self.outbound.last()),
                Effect::KillAgent => {
                    self.gate.clear();
                    asked.push(Asked::Kill);
                }
                Effect::ReadInboxToEnd => self.to_end = true,
                Effect::Finish { reason } => self.finished = Some(reason),
            }
        }
        asked
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn by_hand_nothing_is_taken_in_that_was_not_read_and_nothing_written_behind_the_archive() {
        let folder = tempfile::tempdir().unwrap();
        let mailbox = Mailbox::at(folder.path().join("root"));
        mailbox.create().unwrap();
        let place = Place::from_stem("7_00").unwrap();
        mailbox.prepare(&place.job_id, 1).unwrap();
        let settings = Settings::unknown();
        let identity = crate::node::identity();
        let (mut worker, asked) = ByHand::begin(&mailbox, &place, settings, identity, Duration::ZERO).unwrap();
        assert_eq!(asked, [Asked::Start { resume: None }]);
        assert_eq!(worker.take_in(Duration::ZERO), []);
        worker.archive().unwrap();
        let archived = std::fs::read(mailbox.archive(&place)).unwrap();
        assert!(worker.write(1000).unwrap().is_none());
        worker.archive().unwrap();
        assert_eq!(std::fs::read(mailbox.archive(&place)).unwrap(), archived);
    }
}
