//! A model of the mailbox's files and of the follower beside them, with every misfortune that its contract allows.

use std::collections::BTreeMap;

use bytes::Bytes;

use codeswarm_protocol::frame::{Downward, ReadFrom, Upward};
use codeswarm_protocol::inbox::InboxRecord;
use codeswarm_protocol::record::WorkerRecord;
use codeswarm_protocol::{InjectionId, Place, Seq};

use super::Rng;
use super::tally::Tally;

/// The files of one node.
#[derive(Default)]
pub struct Files {
    pub inbox: Vec<InboxRecord>,
    /// A line that is only half in the inbox. The follower that wrote it finishes it before it looks or writes again; another
    /// one ends it, and it is garbage.
    half: Option<InboxRecord>,
    pub outbox: Vec<u8>,
    pub last_seq: Seq,
    pub archived: bool,
}

impl Files {
    pub fn write(&mut self, record: &WorkerRecord) {
        self.last_seq = record.seq;
        record.write_line(&mut self.outbox).unwrap();
    }

    /// The records of the outbox, garbage left out.
    pub fn records(&self) -> Vec<WorkerRecord> {
        let lines = self.outbox.split_inclusive(|byte| *byte == b'\n');
        lines.filter_map(|line| serde_json::from_slice(line).ok()).collect()
    }

    pub fn holds(&self, id: &InjectionId) -> usize {
        self.inbox
            .iter()
            .filter(|record| injection_of(record) == Some(id))
            .count()
    }
}

pub fn injection_of(record: &InboxRecord) -> Option<&InjectionId> {
    match record {
        InboxRecord::User { injection_id, .. } => Some(injection_id),
        _ => None,
    }
}

/// All files, and one life of the follower.
#[derive(Default)]
pub struct Mailbox {
    pub files: BTreeMap<Place, Files>,
    /// What this life watches, and how far it has read.
    watched: BTreeMap<Place, u64>,
    ended: Vec<Place>,
    /// How long the outboxes are whose readers fell silent for good: see `be_kind`.
    pub kind: bool,
}

impl Mailbox {
    /// Another follower: it knows nothing of the earlier one's half lines and watches nothing yet.
    pub fn reopen(&mut self) {
        self.watched.clear();
        self.ended.clear();
        for files in self.files.values_mut() {
            files.half = None;
        }
    }

    /// Carries out one command; the answer, unless there is none (or none ever comes).
    pub fn carry_out(&mut self, down: Downward, rng: &mut Rng, tally: &mut Tally) -> Option<Upward> {
        match down {
            Downward::Prepare {
                ticket,
                job_id,
                node_count,
            } => {
                if !self.kind && rng.once_in(12) {
                    tally.unprepared += 1;
                    let error = Some("no space".to_owned());
                    return Some(Upward::Prepared { ticket, error });
                }
                for rank in 0..node_count {
                    let place = Place::new(job_id.clone(), codeswarm_protocol::NodeId::new(rank).unwrap());
                    self.files.entry(place).or_default();
                }
                Some(Upward::Prepared { ticket, error: None })
            }
            Downward::Watch { place, offset } => {
                assert!(self.files.contains_key(&place), "watched before it was made");
                self.ended.retain(|ended| *ended != place);
                self.watched.insert(place, offset);
                None
            }
            Downward::Append {
                ticket,
                place,
                unless_present,
                line,
            } => {
                let record: InboxRecord = serde_json::from_slice(&line).unwrap();
                if unless_present.is_some() {
                    assert_eq!(unless_present.as_ref(), injection_of(&record));
                }
                match self.append(&place, record, unless_present.as_ref(), rng, tally) {
                    Outcome::Done => Some(Upward::Appended {
                        ticket,
                        offset: 0,
                        end: 0,
                        already: false,
                    }),
                    Outcome::Failed { may_have_happened } => Some(Upward::AppendFailed {
                        ticket,
                        may_have_happened,
                        error: "the disk says no".to_owned(),
                    }),
                    Outcome::Silence => None,
                }
            }
            Downward::Read {
                ticket, place, from, ..
            } => {
                let ReadFrom::Offset(offset) = from else {
                    panic!("the core reads from an offset")
                };
                if !self.kind && rng.once_in(8) {
                    let error = Some("stale handle".to_owned());
                    return Some(part(ticket, offset, offset, false, error));
                }
                let end = self.files.get(&place).map_or(0, |files| files.outbox.len() as u64);
                let next = end.min(offset + rng.below(600) as u64);
                // Whole lines only; which ones is of no interest to the core.
                let next = if self.kind || next < offset {
                    end
                } else {
                    self.line_end(&place, next)
                };
                Some(part(ticket, offset, next, next == end && rng.once_in(2), None))
            }
            Downward::Launch { ticket, .. } => Some(Upward::Prepared { ticket, error: None }),
            Downward::Heartbeats { ticket, .. } => Some(Upward::Heartbeats {
                ticket,
                data: Bytes::new(),
            }),
            Downward::Hint { .. } | Downward::Unwatch { .. } | Downward::Ping { .. } => None,
        }
    }

    fn line_end(&self, place: &Place, at: u64) -> u64 {
        let outbox = &self.files[place].outbox;
        let at = usize::try_from(at).unwrap();
        let rest = outbox[at..]
            .iter()
            .position(|byte| *byte == b'\n')
            .map_or(0, |newline| newline + 1);
        (at + rest) as u64
    }

    fn append(
        &mut self,
        place: &Place,
        record: InboxRecord,
        unless_present: Option<&InjectionId>,
        rng: &mut Rng,
        tally: &mut Tally,
    ) -> Outcome {
        let files = self.files.get_mut(place).unwrap();
        let dice = if self.kind { 99 } else { rng.below(100) };
        if unless_present.is_some() && dice < 15 {
            return Outcome::Failed {
                may_have_happened: true,
            };
        }
        if let Some(half) = files.half.take() {
            files.inbox.push(half);
        }
        if unless_present.is_some_and(|id| files.holds(id) > 0) {
            tally.settled_as_there += 1;
            return Outcome::Done;
        }
        match dice {
            15..22 => {
                tally.refused_appends += 1;
                Outcome::Failed {
                    may_have_happened: false,
                }
            }
            22..40 => {
                tally.unknown_outcomes += 1;
                match rng.below(3) {
                    0 => files.inbox.push(record),
                    1 => files.half = Some(record),
                    _ => {}
                }
                Outcome::Failed {
                    may_have_happened: true,
                }
            }
            40..44 => {
                tally.never_answered += 1;
                if rng.once_in(2) {
                    files.inbox.push(record);
                }
                Outcome::Silence
            }
            _ => {
                files.inbox.push(record);
                Outcome::Done
            }
        }
    }

    /// What reading the outboxes brings now, of one of them.
    pub fn read(&mut self, rng: &mut Rng) -> Option<Upward> {
        let places: Vec<Place> = self.watched.keys().cloned().collect();
        let first = rng.below(places.len().max(1));
        let (before, after) = places.split_at(first.min(places.len()));
        after.iter().chain(before).find_map(|place| self.read_one(place, rng))
    }

    fn read_one(&mut self, place: &Place, rng: &mut Rng) -> Option<Upward> {
        let files = self.files.get(place)?;
        let at = self.watched.get_mut(place)?;
        let rest = files.outbox.get(usize::try_from(*at).unwrap()..)?;
        if rest.is_empty() {
            if !files.archived || self.ended.contains(place) {
                return None;
            }
            self.ended.push(place.clone());
            return Some(Upward::Ended {
                place: place.clone(),
                offset: *at,
            });
        }
        let garbage = |line: &&[u8]| !line.starts_with(b"{");
        let mut lines = rest.split_inclusive(|byte| *byte == b'\n');
        let offset = *at;
        if let Some(skipped) = lines.clone().next().filter(garbage) {
            *at += skipped.len() as u64;
            return Some(Upward::Skipped {
                place: place.clone(),
                offset,
                length: skipped.len() as u64,
                head: String::new(),
            });
        }
        let wanted = 1 + rng.below(8);
        let length: usize = lines
            .by_ref()
            .take_while(|line| !garbage(line))
            .take(wanted)
            .map(<[u8]>::len)
            .sum();
        *at += length as u64;
        Some(Upward::Chunk {
            place: place.clone(),
            offset,
            data: Bytes::copy_from_slice(&rest[..length]),
        })
    }
}

enum Outcome {
    Done,
    Failed { may_have_happened: bool },
    Silence,
}

fn part(
    ticket: codeswarm_protocol::frame::Ticket,
    offset: u64,
    next: u64,
    done: bool,
    error: Option<String>,
) -> Upward {
    Upward::Part {
        ticket,
        offset,
        next,
        done,
        error,
        may_pass: false,
        late: false,
        data: Bytes::new(),
    }
}
