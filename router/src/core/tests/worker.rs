//! A model of a worker: reads its inbox in order, runs one turn at a time, says everything in its outbox, dies at any moment
//! and takes up from its outbox what it had begun.

use std::collections::{BTreeSet, VecDeque};

use codeswarm_protocol::inbox::{Control, InboxRecord};
use codeswarm_protocol::record::{RECORD_VERSION, Word, WorkerRecord};
use codeswarm_protocol::turn::{ErrorClass, TurnError, TurnStatus, Usage};
use codeswarm_protocol::{Epoch, InjectionId, Place, Timestamp};

use super::Rng;
use super::mailbox::Files;

/// Where a worker's process is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Life {
    Running,
    /// Gone without a word.
    Dead,
    /// Ended in order.
    Exited,
}

pub struct Worker {
    pub place: Place,
    pub life: Life,
    pub pid: u32,
    pub epoch: Epoch,
    said_start: bool,
    ready: bool,
    read: usize,
    queue: VecDeque<InjectionId>,
    current: Option<InjectionId>,
    /// Started, received or ended in this life or an earlier one.
    seen: BTreeSet<InjectionId>,
    /// Started and not ended by an earlier life.
    cut: Vec<InjectionId>,
    /// It was told to end.
    pub terminating: bool,
}

impl Worker {
    /// A new life at this place; it reads what earlier ones said.
    pub fn start(place: Place, pid: u32, files: &Files) -> Self {
        let records = files.records();
        let epoch = records.iter().map(|record| record.epoch.0).max().unwrap_or(0) + 1;
        let (mut started, mut ended) = (Vec::new(), BTreeSet::new());
        let mut last = Epoch(0);
        for record in &records {
            last = last.max(record.epoch);
            if record.epoch < last {
                continue;
            }
            let Some(id) = record.injection_id.clone() else {
                continue;
            };
            match record.word {
                Word::TurnStarted { .. } => started.push(id),
                Word::TurnComplete { .. } | Word::InjectFailed { .. } => drop(ended.insert(id)),
                _ => {}
            }
        }
        let cut: Vec<InjectionId> = started.into_iter().filter(|id| !ended.contains(id)).collect();
        ended.extend(cut.iter().cloned());
        Self {
            place,
            life: Life::Running,
            pid,
            epoch: Epoch(epoch),
            said_start: false,
            ready: false,
            read: 0,
            queue: VecDeque::new(),
            current: None,
            seen: ended,
            cut,
            terminating: false,
        }
    }

    fn say(&self, files: &mut Files, word: Word, injection: Option<&InjectionId>) {
        self.say_as(files, word, injection, self.epoch);
    }

    fn say_as(&self, files: &mut Files, word: Word, injection: Option<&InjectionId>, epoch: Epoch) {
        files.write(&WorkerRecord {
            word,
            seq: files.last_seq.next(),
            epoch,
            timestamp: Timestamp(0),
            job_id: self.place.job_id.clone(),
            node_id: self.place.node_id,
            injection_id: injection.cloned(),
        });
    }

    /// Does the next thing, whatever it may be. In earnest: no misfortune any more.
    pub fn act(&mut self, files: &mut Files, rng: &mut Rng, in_earnest: bool) -> Option<&'static str> {
        if self.life != Life::Running {
            return None;
        }
        if !self.said_start {
            return Some(self.begin(files));
        }
        if let Some(id) = self.cut.pop() {
            self.complete(files, &id, TurnStatus::Failed, None);
            return Some("cut");
        }
        if self.terminating {
            return Some(self.end(files, rng.once_in(6) && !in_earnest));
        }
        if !self.ready {
            self.ready = true;
            let ready = Word::AgentReady {
                agent: "echo".to_owned(),
                agent_version: None,
                thread_id: "t".to_owned(),
                resumed: false,
                model: None,
                cwd: "/".to_owned(),
            };
            self.say(files, ready, None);
            return Some("ready");
        }
        match if in_earnest { 6 + rng.below(14) } else { rng.below(20) } {
            0 => self.agent_dies(files),
            1..3 if self.epoch > Epoch(1) => return self.late_word(files),
            1 => {
                files.outbox.extend_from_slice(b"torn \xff line\n");
            }
            2 => drop(self.refuse(files)),
            3..6 => {
                let current = self.current.clone();
                let word = Word::AssistantDelta {
                    content: "a".to_owned(),
                    item_id: None,
                };
                self.say(files, word, current.as_ref());
            }
            6..14 => return self.take_next(files),
            _ => return self.turn(files, rng),
        }
        Some("said something")
    }

    fn begin(&mut self, files: &mut Files) -> &'static str {
        self.said_start = true;
        let start = Word::WorkerStart {
            v: RECORD_VERSION,
            version: "0".to_owned(),
            host: "h".to_owned(),
            pid: self.pid,
            pid_started: Some(u64::from(self.pid)),
            agent: "echo".to_owned(),
            recovered: self.cut.clone(),
        };
        self.say(files, start, None);
        "start"
    }

    fn agent_dies(&mut self, files: &mut Files) {
        if let Some(id) = self.current.take() {
            self.complete(files, &id, TurnStatus::Failed, None);
        }
        self.ready = false;
        let exit = Word::AgentExit {
            code: None,
            signal: Some(9),
            message: "killed".to_owned(),
            stderr_tail: None,
            restart_in_ms: Some(1),
        };
        self.say(files, exit, None);
    }

    /// A record that an earlier life wrote and that arrives now: it changes nothing.
    fn late_word(&mut self, files: &mut Files) -> Option<&'static str> {
        let exit = Word::WorkerExit {
            reason: "late".to_owned(),
            inbox_offset: 0,
        };
        let ready = Word::TurnComplete {
            status: TurnStatus::Completed,
            error: None,
            duration_ms: 0,
            usage: None,
            steered_into: None,
        };
        self.say_as(files, exit, None, Epoch(self.epoch.0 - 1));
        let waiting = self.queue.front().or(self.current.as_ref()).cloned();
        self.say_as(files, ready, waiting.as_ref(), Epoch(self.epoch.0 - 1));
        Some("late")
    }

    fn refuse(&mut self, files: &mut Files) -> Option<()> {
        let id = self.queue.pop_back()?;
        self.fail(files, &id, "queue_full");
        Some(())
    }

    fn fail(&self, files: &mut Files, id: &InjectionId, error: &str) {
        let failed = Word::InjectFailed {
            error: error.to_owned(),
            reason: error.to_owned(),
        };
        self.say(files, failed, Some(id));
    }

    fn take_next(&mut self, files: &mut Files) -> Option<&'static str> {
        let record = files.inbox.get(self.read)?.clone();
        self.read += 1;
        match record {
            InboxRecord::User { injection_id, .. } if self.seen.insert(injection_id.clone()) => {
                let received = Word::InjectReceived { queued_behind: 0 };
                self.say(files, received, Some(&injection_id));
                self.queue.push_back(injection_id);
            }
            InboxRecord::Control {
                payload: Control::Interrupt { injection_id },
            } => {
                let waits = self
                    .queue
                    .iter()
                    .position(|waiting| Some(waiting) == injection_id.as_ref());
                if let Some(id) = waits.and_then(|at| self.queue.remove(at)) {
                    self.fail(files, &id, "interrupted");
                } else if let Some(id) = self
                    .current
                    .take_if(|running| injection_id.is_none_or(|id| id == *running))
                {
                    self.complete(files, &id, TurnStatus::Interrupted, None);
                }
            }
            _ => {}
        }
        Some("read")
    }

    fn turn(&mut self, files: &mut Files, rng: &mut Rng) -> Option<&'static str> {
        if let Some(id) = self.current.take() {
            let usage = rng.once_in(2).then(|| Usage {
                total_tokens: 3,
                ..Usage::default()
            });
            self.complete(files, &id, TurnStatus::Completed, usage);
            return Some("completed");
        }
        let id = self.queue.pop_front()?;
        let started = Word::TurnStarted {
            turn_id: None,
            steered_into: None,
        };
        self.say(files, started, Some(&id));
        self.current = Some(id);
        Some("started")
    }

    fn complete(&self, files: &mut Files, id: &InjectionId, status: TurnStatus, usage: Option<Usage>) {
        let error = (status != TurnStatus::Completed).then(|| TurnError::new(ErrorClass::AgentDied, "it died"));
        let complete = Word::TurnComplete {
            status,
            error,
            duration_ms: 1,
            usage,
            steered_into: None,
        };
        self.say(files, complete, Some(id));
        if let Some(usage) = usage {
            self.say(files, Word::Usage { usage }, Some(id));
        }
    }

    /// An orderly end; its outbox goes to the archive, if that can be done.
    fn end(&mut self, files: &mut Files, archive_fails: bool) -> &'static str {
        if let Some(id) = self.current.take() {
            self.complete(files, &id, TurnStatus::Interrupted, None);
        }
        for id in std::mem::take(&mut self.queue) {
            self.fail(files, &id, "worker_exit");
        }
        let exit = Word::WorkerExit {
            reason: "sigterm".to_owned(),
            inbox_offset: 0,
        };
        self.say(files, exit, None);
        self.life = Life::Exited;
        files.archived = !archive_fails;
        if archive_fails { "ended, not archived" } else { "ended" }
    }

    /// The injection that runs, or waits.
    pub fn has_work(&self, files: &Files) -> bool {
        self.current.is_some() || !self.queue.is_empty() || self.read < files.inbox.len() || !self.cut.is_empty()
    }
}
