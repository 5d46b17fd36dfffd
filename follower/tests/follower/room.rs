//! A mailbox in a temporary folder, a worker's hand on its files, and a follower that is listened to.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::Write;
use std::time::Duration;

use codeswarm_follower::{Follower, FollowerConfig, WatchMode, spawn};
use codeswarm_mailbox::Mailbox;
use codeswarm_protocol::frame::{Downward, Ticket, Upward};
use codeswarm_protocol::ids::{JobId, NodeId, Place};

/// Longer than anything here takes; a test that fails waits for it.
pub const DEADLINE: Duration = Duration::from_secs(60);

pub struct Room {
    folder: tempfile::TempDir,
    pub mailbox: Mailbox,
}

impl Room {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mailbox = Mailbox::at(folder.path().join("swarm"));
        mailbox.create().unwrap();
        Self { folder, mailbox }
    }

    pub fn config(&self, watch: WatchMode) -> FollowerConfig {
        FollowerConfig {
            watch,
            ..FollowerConfig::at(self.folder.path().join("swarm"))
        }
    }

    pub fn follower(&self, watch: WatchMode) -> Ear {
        Ear::of(spawn(self.config(watch)).unwrap())
    }

    /// Appends bytes to an outbox as its worker would, whole lines or not.
    pub fn say(&self, place: &Place, bytes: impl AsRef<[u8]>) {
        append(&self.mailbox.outbox(place), bytes);
    }

    /// Ends an outbox as its worker would.
    pub fn archive(&self, place: &Place) {
        std::fs::rename(self.mailbox.outbox(place), self.mailbox.archive(place)).unwrap();
    }

    pub fn inbox(&self, place: &Place) -> String {
        std::fs::read_to_string(self.mailbox.inbox(place)).unwrap()
    }
}

pub fn append(path: &std::path::Path, bytes: impl AsRef<[u8]>) {
    let mut file = OpenOptions::new().append(true).create(true).open(path).unwrap();
    file.write_all(bytes.as_ref()).unwrap();
}

pub fn place(rank: u32) -> Place {
    Place::new(JobId::new("77").unwrap(), NodeId::new(rank).unwrap())
}

/// A record's line.
pub fn record(seq: u64) -> String {
    format!(
        "{{\"type\":\"notice\",\"message\":\"number {seq}\",\"seq\":{seq},\"epoch\":1,\
         \"timestamp\":\"2026-01-01T00:00:00.000Z\",\"job_id\":\"77\",\"node_id\":0}}\n"
    )
}

pub fn records(seqs: impl IntoIterator<Item = u64>) -> String {
    seqs.into_iter().map(record).collect()
}

/// A follower and what it was heard to say.
pub struct Ear {
    pub follower: Follower,
    /// All events but chunks, in order.
    pub said: Vec<Upward>,
    /// What came of each outbox, and where the next byte belongs.
    pub outboxes: BTreeMap<Place, Received>,
}

#[derive(Default)]
pub struct Received {
    pub data: Vec<u8>,
    pub next: Option<u64>,
}

impl Ear {
    pub fn of(follower: Follower) -> Self {
        Self {
            follower,
            said: Vec::new(),
            outboxes: BTreeMap::new(),
        }
    }

    pub async fn tell(&self, command: Downward) {
        self.follower.commands.send(command).await.unwrap();
    }

    pub async fn watch(&self, place: &Place, offset: u64) {
        self.tell(Downward::Watch {
            place: place.clone(),
            offset,
        })
        .await;
    }

    /// Listens to one event. Chunks are checked for their places: each goes on where the last one ended.
    pub async fn listen(&mut self) -> Upward {
        let event = tokio::time::timeout(DEADLINE, self.follower.events.recv())
            .await
            .expect("nothing was said for too long")
            .expect("the follower has ended");
        match &event {
            Upward::Chunk { place, offset, data } => {
                assert!(data.ends_with(b"\n"), "a chunk is whole lines");
                let received = self.outboxes.entry(place.clone()).or_default();
                assert_eq!(
                    received.next.unwrap_or(*offset),
                    *offset,
                    "{place} goes on where it ended"
                );
                received.data.extend_from_slice(data);
                received.next = Some(offset + data.len() as u64);
            }
            Upward::Skipped {
                place, offset, length, ..
            } => {
                let received = self.outboxes.entry(place.clone()).or_default();
                received.next = Some(offset + length);
                self.said.push(event.clone());
            }
            _ => self.said.push(event.clone()),
        }
        event
    }

    /// Listens until something holds.
    pub async fn until(&mut self, holds: impl Fn(&Self) -> bool) {
        while !holds(self) {
            self.listen().await;
        }
    }

    /// Listens until this much has come of an outbox.
    pub async fn until_received(&mut self, place: &Place, data: &str) {
        self.until(|ear| ear.received(place).len() >= data.len()).await;
        assert_eq!(self.received(place), data);
    }

    pub fn received(&self, place: &Place) -> &str {
        let received = self.outboxes.get(place);
        received.map_or("", |received| std::str::from_utf8(&received.data).unwrap())
    }

    /// Listens until an event of this kind comes, and returns it.
    pub async fn hear(&mut self, wanted: impl Fn(&Upward) -> bool) -> Upward {
        loop {
            let event = self.listen().await;
            if wanted(&event) {
                return event;
            }
        }
    }

    /// Everything that was ordered before is taken into account when the answer has come.
    pub async fn ping(&mut self) {
        let ticket = Ticket(u64::MAX);
        self.tell(Downward::Ping { ticket }).await;
        self.hear(|event| *event == Upward::Pong { ticket }).await;
    }

    /// Ends the follower in order; it has then given back its lease.
    pub async fn end(self) {
        let Follower {
            commands,
            mut events,
            task,
        } = self.follower;
        drop(commands);
        while events.recv().await.is_some() {}
        tokio::time::timeout(DEADLINE, task)
            .await
            .expect("the follower does not end")
            .unwrap();
    }
}
