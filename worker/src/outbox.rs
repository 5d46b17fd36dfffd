//! Writing the outbox: records are numbered as they are said, and go out in batches, one at a time.

use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::time::SystemTime;

use bytes::Bytes;
use codeswarm_mailbox::group_commit::Trouble;
use codeswarm_mailbox::{CommitError, GroupCommit, LineFile, Mailbox, archive, recover};
use codeswarm_protocol::record::{Word, WorkerRecord};
use codeswarm_protocol::{Epoch, InjectionId, Place, Seq, Timestamp};
use tokio::sync::watch;

use crate::core::outbound::Outbound;
use crate::core::recovery::{Reading, Recovered};
use crate::error::WorkerError;

/// About how many bytes go out in one batch.
const BATCH: usize = 1 << 20;

/// When so many bytes wait, nothing more is heard from the agent and the inbox until some have gone out.
const FULL: usize = 4 << 20;

/// How often the rename into the archive is tried.
const ARCHIVE_TRIES: u32 = 3;

/// Takes the place: brings an archived outbox back, opens it as its one writer, and reads what earlier lives said.
/// Blocks on the disk.
pub fn take(mailbox: &Mailbox, place: &Place) -> Result<(LineFile, Recovered), WorkerError> {
    if recover::reopen_archived(mailbox, place)? {
        tracing::info!(%place, "the outbox was archived; it is taken back, and its numbers go on");
    }
    let file = LineFile::open_in(mailbox, mailbox.outbox(place))?;
    let mut reading = Reading::default();
    for line in recover::records(mailbox, place) {
        reading.line(&line?.line);
    }
    if reading.unread() > 0 {
        tracing::warn!(lines = reading.unread(), "lines of the outbox are no records of ours");
    }
    Ok((file, reading.end()))
}

type Batch = Pin<Box<dyn Future<Output = Result<u64, CommitError>>>>;

/// The outbox of this life.
pub struct Outbox {
    outbound: Outbound,
    commit: Rc<GroupCommit>,
    under_way: Option<(Seq, Batch)>,
    durable: Seq,
    /// The file's size after the last batch, in bytes.
    size: u64,
    troubles: watch::Receiver<Option<Trouble>>,
    trouble: Option<Trouble>,
    /// The life's last record was said.
    ended: bool,
}

impl Outbox {
    /// Starts writing where the earlier lives ended. Needs a Tokio runtime.
    pub fn start(file: LineFile, place: Place, epoch: Epoch, last: Seq) -> Result<Self, CommitError> {
        let commit = GroupCommit::spawn(file, FULL)?;
        Ok(Self {
            outbound: Outbound::new(place, epoch, last),
            troubles: commit.troubles(),
            commit: Rc::new(commit),
            under_way: None,
            durable: last,
            size: 0,
            trouble: None,
            ended: false,
        })
    }

    /// Says the next record.
    pub fn say(&mut self, word: Word, injection: Option<InjectionId>) {
        self.ended |= matches!(word, Word::WorkerExit { .. });
        self.outbound.push(word, injection, Timestamp::from(SystemTime::now()));
    }

    /// Says something that a person may want to know, unless the life's last record was said.
    pub fn notice(&mut self, message: String) {
        if !self.ended {
            self.say(Word::Notice { message }, None);
        }
    }

    /// The last number given.
    pub fn last(&self) -> Seq {
        self.outbound.last()
    }

    /// Every record up to this one is durable.
    pub fn durable(&self) -> Seq {
        self.durable
    }

    /// The size of the file as far as it is durable, in bytes; 0 before this life's first batch.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Whether more may be said.
    pub fn has_room(&self) -> bool {
        self.outbound.bytes() < FULL
    }

    /// Whether everything said is durable.
    pub fn is_written(&self) -> bool {
        self.outbound.is_empty() && self.under_way.is_none()
    }

    /// Starts the next batch unless one is under way.
    pub fn write(&mut self) {
        if self.under_way.is_some() {
            return;
        }
        let records = self.outbound.take(BATCH);
        let Some(last) = records.last().map(|record| record.seq) else {
            return;
        };
        let mut lines = Vec::new();
        for record in records {
            write_line(record, &mut lines);
        }
        let commit = self.commit.clone();
        let batch = async move {
            commit.push(Bytes::from(lines)).await?;
            commit.flush().await
        };
        self.under_way = Some((last, Box::pin(batch)));
    }

    /// Waits until the batch under way is durable, or something is to be known about the writing. Never comes back when
    /// nothing is under way. May be dropped and called again.
    pub async fn progress(&mut self) -> Result<(), CommitError> {
        let Some((last, batch)) = &mut self.under_way else {
            return std::future::pending().await;
        };
        tokio::select! {
            biased;
            done = batch => {
                self.size = done?;
                self.durable = *last;
                self.under_way = None;
                self.trouble_is_over();
            }
            // Its sender lives as long as the writing does.
            Ok(()) = self.troubles.changed() => self.trouble_is_told(),
        }
        Ok(())
    }

    /// Trouble goes to the log while it lasts.
    fn trouble_is_told(&mut self) {
        let Some(trouble) = self.troubles.borrow_and_update().clone() else {
            return;
        };
        if self.trouble.is_none() {
            tracing::error!(error = %trouble.error, "the outbox cannot be written; records wait, and are written when it can");
        }
        self.trouble = Some(trouble);
    }

    /// And into the outbox once it is over.
    fn trouble_is_over(&mut self) {
        let Some(over) = self.trouble.take() else { return };
        let message = format!(
            "the outbox could not be written for {} s: {}; all records have been kept and written since",
            over.since.elapsed().as_secs(),
            over.error
        );
        tracing::info!(message);
        if !self.ended {
            self.say(Word::WorkerError { message }, None);
        }
    }

    /// Ends the writing and archives the outbox. Everything said must be written.
    pub async fn archive(self, mailbox: &Mailbox, place: &Place) -> Result<(), WorkerError> {
        let Self { commit, under_way, .. } = self;
        drop(under_way);
        let commit = Rc::into_inner(commit).ok_or(WorkerError::Fault("the outbox is still being written"))?;
        let file = commit.close().await?;
        let (mailbox, place) = (mailbox.clone(), place.clone());
        let archived = tokio::task::spawn_blocking(move || {
            let mut outcome = archive::archive(&mailbox, file, &place);
            for _ in 1..ARCHIVE_TRIES {
                if outcome.is_ok() {
                    break;
                }
                std::thread::sleep(std::time::Duration::from_millis(200));
                outcome = archive::rename_to_archive(&mailbox, &place).map_err(Into::into);
            }
            outcome
        });
        match archived.await {
            Ok(outcome) => Ok(outcome?),
            Err(error) => Err(WorkerError::System {
                what: "a thread to archive the outbox",
                source: std::io::Error::other(error),
            }),
        }
    }
}

/// Adds a record's line. A record that cannot be written as JSON (none can be made so far) leaves its number to a
/// word about it.
pub fn write_line(record: WorkerRecord, lines: &mut Vec<u8>) {
    let before = lines.len();
    if let Err(error) = record.write_line(lines) {
        lines.truncate(before);
        let message = format!("a record could not be written as JSON: {error}; this is a fault of Codeswarm's");
        tracing::error!(message);
        let instead = WorkerRecord {
            word: Word::WorkerError { message },
            ..record
        };
        // A text alone always can.
        let _ = instead.write_line(lines);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn p9_an_archive_that_cannot_be_written_is_tried_again_and_told_and_keeps_the_outbox() {
        let folder = tempfile::tempdir().unwrap();
        let mailbox = Mailbox::at(folder.path().join("root"));
        mailbox.create().unwrap();
        let place = Place::from_stem("7_00").unwrap();
        let (file, recovered) = take(&mailbox, &place).unwrap();
        let mut outbox = Outbox::start(file, place.clone(), Epoch(1), recovered.last_seq).unwrap();
        let message = "a word".to_owned();
        outbox.say(Word::WorkerError { message }, None);
        outbox.write();
        while !outbox.is_written() {
            outbox.progress().await.unwrap();
        }
        std::fs::remove_dir(mailbox.archive_folder()).unwrap();
        let told = outbox.archive(&mailbox, &place).await.unwrap_err().to_string();
        assert!(told.contains("archive"), "{told}");
        let (_, recovered) = take(&mailbox, &place).unwrap();
        assert_eq!(recovered.last_seq, Seq(1));
    }

    #[tokio::test]
    async fn a_notice_becomes_a_record_and_none_stands_behind_the_last_one_of_a_life() {
        let folder = tempfile::tempdir().unwrap();
        let mailbox = Mailbox::at(folder.path().join("root"));
        mailbox.create().unwrap();
        let place = Place::from_stem("7_00").unwrap();
        let (file, recovered) = take(&mailbox, &place).unwrap();
        let mut outbox = Outbox::start(file, place, Epoch(1), recovered.last_seq).unwrap();
        outbox.notice("in time".to_owned());
        let exit = Word::WorkerExit {
            reason: "sigterm".to_owned(),
            inbox_offset: 0,
        };
        outbox.say(exit.clone(), None);
        outbox.notice("late".to_owned());
        let message = "in time".to_owned();
        let said: Vec<Word> = outbox
            .outbound
            .take(BATCH)
            .into_iter()
            .map(|record| record.word)
            .collect();
        assert_eq!(said, [Word::Notice { message }, exit]);
    }
}
