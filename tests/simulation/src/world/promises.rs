//! What must be true of every history once it is over: what clients were told, against what workers and agents did, against
//! what is in the files.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use codeswarm_protocol::inbox::InboxRecord;
use codeswarm_protocol::record::{RecordHead, WorkerRecord};
use codeswarm_protocol::{InjectionId, Place};

use super::World;
use super::router_host::Router;
use crate::ledger::name_of;
use crate::slurm::Life;

impl World {
    /// The lines of an outbox, as the server has it under whichever name.
    fn lines_of(&self, place: &Place) -> Vec<Vec<u8>> {
        let files = self.disk.files();
        let mut bytes = Vec::new();
        for path in [self.mailboxes[0].archive(place), self.mailboxes[0].outbox(place)] {
            bytes.extend_from_slice(files.truth(&path).unwrap_or_default());
        }
        bytes
            .split_inclusive(|byte| *byte == b'\n')
            .map(<[u8]>::to_vec)
            .collect()
    }

    /// Its records.
    pub(super) fn records_of(&self, place: &Place) -> Vec<WorkerRecord> {
        let lines = self.lines_of(place);
        let whole = lines.iter().filter(|line| line.ends_with(b"\n"));
        let records = whole.filter(|line| RecordHead::parse(line).is_ok());
        records.filter_map(|line| serde_json::from_slice(line).ok()).collect()
    }

    /// The last of these that its worker knew to be durable. What stands behind it is owed to nobody: a worker that was killed
    /// may have left it in its machine's cache, and it may come to the file after the end of its job was told.
    pub(super) fn last_owed(&self, place: &Place) -> u64 {
        let durable = self.ledger.durable.get(place).into_iter().flatten();
        let records = durable.filter_map(|line| RecordHead::parse(line).ok());
        records.map(|record| record.seq.0).max().unwrap_or(0)
    }

    /// The prompts in an inbox.
    fn prompts_of(&self, place: &Place) -> Vec<(InjectionId, String)> {
        let files = self.disk.files();
        let inbox = files.truth(&self.mailboxes[0].inbox(place)).unwrap_or_default();
        let lines = inbox.split_inclusive(|byte| *byte == b'\n');
        let records = lines.filter_map(|line| serde_json::from_slice(line).ok());
        let prompts = records.filter_map(|record| match record {
            InboxRecord::User {
                injection_id, content, ..
            } => Some((injection_id, content)),
            _ => None,
        });
        prompts.collect()
    }

    /// P3: a prompt that clients were told has failed does not get into its inbox afterwards, as long as somebody reads that.
    pub(super) fn hold_append(&mut self, place: &Place, line: &[u8]) {
        let Ok(InboxRecord::User { injection_id, .. }) = serde_json::from_slice(line) else {
            return;
        };
        self.tally.checks += 1;
        let job = self.slurm.jobs.get(place.job_id.as_str());
        let is_read = job.is_some_and(|job| matches!(job.life, Life::Waits | Life::Runs));
        assert!(
            !is_read || !self.watcher.failed.contains(&injection_id),
            "P3: {injection_id} of {place} has failed and is delivered"
        );
    }

    /// Everything, at the very end.
    pub(super) fn hold_promises(&mut self) {
        let places: BTreeSet<Place> = self.workers.keys().chain(self.watcher.heard.keys()).cloned().collect();
        for place in &places {
            self.hold_files(place);
            // A job that was handed in unheard, has run, and was forgotten by Slurm before it could be looked for, stays unheard.
            let job = self.slurm.jobs.get(place.job_id.as_str());
            let is_known = |router: &Router| router.hand.core().node(place).is_some();
            if job.is_some_and(|job| job.life == Life::Forgotten) && !self.router.as_ref().is_some_and(is_known) {
                continue;
            }
            self.hold_stream(place);
            self.hold_prompts(place);
        }
        self.tally.swarms += self.slurm.jobs.len() as u64;
    }

    /// P9: what a worker was told is durable is in the file, once. P5: no number twice.
    fn hold_files(&mut self, place: &Place) {
        let lines = self.lines_of(place);
        let there: HashSet<&[u8]> = lines.iter().map(Vec::as_slice).collect();
        for line in self.ledger.durable.get(place).into_iter().flatten() {
            self.tally.checks += 1;
            assert!(
                there.contains(line.as_slice()),
                "P9: a durable record is not in the outbox of {place}: {}",
                String::from_utf8_lossy(line)
            );
        }
        let mut last = 0;
        for record in self.records_of(place) {
            self.tally.checks += 1;
            assert!(
                record.seq.0 > last,
                "P5: after {last} in the outbox of {place}: {record:?}"
            );
            last = record.seq.0;
        }
    }

    /// P4, P5, P10: the stream has each record of the file once, in order, as it is, and no other.
    fn hold_stream(&mut self, place: &Place) {
        let (records, owed) = (self.records_of(place), self.last_owed(place));
        let empty = Vec::new();
        let heard = self.watcher.heard.get(place).unwrap_or(&empty);
        let mut heard_records = heard.iter().filter(|event| event.position.sub == 0);
        for record in &records {
            self.tally.checks += 1;
            let Some(event) = heard_records.next() else {
                assert!(
                    record.seq.0 > owed,
                    "P4: a record of {place} was never heard: {record:?}"
                );
                break;
            };
            let written = serde_json::to_value(record).unwrap_or_default();
            let same = event.position.seq == record.seq
                && written["type"] == event.kind.as_str()
                && event.epoch == u64::from(record.epoch.0)
                && event.injection_id == record.injection_id
                && event.content.as_deref() == written["content"].as_str();
            assert!(same, "P4: {place} has {record:?}, and {event:?} was heard");
        }
        if let Some(event) = heard_records.next() {
            panic!("P5: nobody has written what was heard of {place}: {event:?}");
        }
    }

    /// P1, P2, P3, P6, for each prompt that was acknowledged.
    fn hold_prompts(&mut self, place: &Place) {
        let empty = Vec::new();
        let heard = self.watcher.heard.get(place).unwrap_or(&empty);
        let mut ends: BTreeMap<InjectionId, Vec<String>> = BTreeMap::new();
        let (mut acknowledged, mut started) = (BTreeSet::new(), BTreeSet::new());
        for event in heard {
            let Some(id) = event.injection_id.clone() else { continue };
            if event.kind == "inject_ack" {
                assert!(acknowledged.insert(id), "P1: acknowledged twice: {event:?}");
            } else if event.kind == "turn_started" {
                started.insert(id);
            } else if event.kind == "turn_complete" || event.kind == "inject_failed" {
                ends.entry(id)
                    .or_default()
                    .push(format!("{} at {}", event.kind, event.position));
            }
        }
        let prompts = self.prompts_of(place);
        for id in &acknowledged {
            self.tally.checks += 3;
            let ends = ends.get(id).cloned().unwrap_or_default();
            assert_eq!(ends.len(), 1, "P6: {id} of {place} has these ends: {ends:?}");
            let text = prompts
                .iter()
                .find(|(other, _)| other == id)
                .map(|(_, text)| name_of(text));
            let failed = self.watcher.failed.contains(id);
            // A machine that was cut off may hand over old bytes when the line has been read: what its worker has started was there.
            let delivered = text.is_some() || started.contains(id);
            assert!(failed || delivered, "P1: {id} of {place} was never delivered");
            let ran = text.is_some_and(|text| self.ledger.ran.contains_key(&(place.clone(), text.to_owned())));
            assert!(!(failed && ran), "P3: {id} of {place} has failed and was run");
        }
        for id in self
            .asker
            .acknowledged
            .iter()
            .filter(|(_, at)| *at == place)
            .map(|(id, _)| id)
        {
            assert!(
                acknowledged.contains(id),
                "P4: the acknowledgement of {id} is not in the stream"
            );
        }
    }
}
