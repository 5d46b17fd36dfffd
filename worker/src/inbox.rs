//! Reading the inbox: lines become inputs, in order, each once.

use std::time::{Duration, Instant};

use bytes::Bytes;
use codeswarm_mailbox::{Mailbox, Outcome, Rings, Tail, TailStep, Wakes, WatchMode};
use codeswarm_protocol::inbox::InboxRecord;
use codeswarm_protocol::{InjectionId, Place};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::core::Input;
use crate::error::WorkerError;

/// How much is read at once, in bytes; a longer line is still read whole.
const CHUNK: usize = 256 << 10;

/// How often the inbox is looked at, for safety, while the follower would ring.
const SWEEP: Duration = Duration::from_secs(45);

/// How many inputs may wait for the worker; prompts can be long.
const WAITING: usize = 4;

/// How much of a bad line's description is kept, in characters.
const REASON: usize = 300;

/// The task that reads one inbox. It ends with this.
#[derive(Debug)]
pub struct InboxReader {
    /// What the inbox says.
    pub inputs: mpsc::Receiver<Input>,
    /// Where the doorbell tells of the inbox.
    pub rings: Rings,
    to_end: mpsc::Sender<()>,
    task: JoinHandle<()>,
}

impl InboxReader {
    /// Reads from the inbox's start. Needs a Tokio runtime.
    pub fn start(mailbox: &Mailbox, place: &Place) -> Result<Self, WorkerError> {
        let inbox = mailbox.inbox(place);
        // The file alone, not its folder: other nodes' prompts are no news here.
        let watched = if inbox.exists() { inbox } else { mailbox.inbox_folder() };
        let mut wakes =
            Wakes::new(WatchMode::Auto, mailbox.filesystem(), &[watched]).map_err(WorkerError::Configuration)?;
        if let Some(why) = wakes.why_polling() {
            tracing::info!(why, "the inbox is polled");
        }
        wakes.sweep_every(SWEEP);
        let rings = wakes.rings();
        wakes.add(place.clone());
        let (to_end, ends) = mpsc::channel(1);
        let (sender, inputs) = mpsc::channel(WAITING);
        let reading = Reading {
            tail: Some(Tail::inbox(mailbox, place.clone(), 0)),
            wakes,
            inputs: sender,
            ends,
            hindered: None,
        };
        Ok(Self {
            inputs,
            rings,
            to_end,
            task: tokio::spawn(reading.run()),
        })
    }

    /// Asks for one more look; everything up to the end that it finds comes as inputs, and then [`Input::InboxEnd`].
    pub fn read_to_end(&self) {
        // One request is enough: it is taken when the reader comes to look again.
        let _ = self.to_end.try_send(());
    }
}

impl Drop for InboxReader {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Reading {
    /// Away while a thread looks.
    tail: Option<Tail>,
    wakes: Wakes,
    inputs: mpsc::Sender<Input>,
    ends: mpsc::Receiver<()>,
    /// Where and why it could not be read at the last look.
    hindered: Option<(u64, String)>,
}

impl Reading {
    async fn run(mut self) {
        loop {
            let woken = tokio::select! {
                asked = self.ends.recv() => match asked {
                    Some(()) => None,
                    None => return,
                },
                place = self.wakes.next() => Some(place),
            };
            let mut took = Duration::ZERO;
            let Some((offset, outcome)) = self.read_on(&mut took).await else {
                return;
            };
            if let Some(place) = woken {
                self.wakes.read_to(&place, offset);
                self.wakes.looked(&place, outcome, took);
            } else if self.inputs.send(Input::InboxEnd { offset }).await.is_err() {
                return;
            }
        }
    }

    /// Reads until nothing more is there. Answers with how far that is; `None` when nobody listens any more. `took` is how
    /// long the filesystem was waited for, and not the worker, which may have something better to do.
    async fn read_on(&mut self, took: &mut Duration) -> Option<(u64, Outcome)> {
        let mut outcome = Outcome::Nothing;
        loop {
            let mut tail = self.tail.take()?;
            // A shared filesystem may make us wait for minutes; signals must be heard meanwhile.
            let since = Instant::now();
            let looked = tokio::task::spawn_blocking(move || {
                let step = tail.step(CHUNK, Instant::now());
                (tail, step)
            });
            let (tail, step) = looked.await.ok()?;
            *took = (*took).max(since.elapsed());
            let (offset, in_doubt) = (tail.offset(), tail.in_doubt());
            self.tail = Some(tail);
            if step.is_ok() {
                self.hindered = None;
            }
            match step {
                Ok(TailStep::Nothing | TailStep::Missing | TailStep::Ended { .. } | TailStep::Reopened) => {
                    let doubt = in_doubt && outcome == Outcome::Nothing;
                    return Some((offset, if doubt { Outcome::Doubt } else { outcome }));
                }
                Ok(step) => {
                    if !matches!(step, TailStep::Shrunk { .. }) {
                        outcome = Outcome::Data;
                    }
                    for input in inputs_of(step) {
                        self.inputs.send(input).await.ok()?;
                    }
                }
                Err(error) => {
                    // It may last for minutes, at two looks a second: it is said once.
                    let hindered = Some((offset, error.to_string()));
                    if self.hindered != hindered {
                        tracing::warn!(%error, "the inbox cannot be read now; it is tried again");
                        self.hindered = hindered;
                    }
                    tokio::time::sleep(Duration::from_millis(500)).await;
                    return Some((offset, Outcome::Doubt));
                }
            }
        }
    }
}

/// What one step of reading means for the worker.
pub fn inputs_of(step: TailStep) -> Vec<Input> {
    let bad = |offset, end, reason| Input::InboxBad {
        offset,
        end,
        reason,
        injection_id: None,
    };
    match step {
        TailStep::Lines { offset, data } => inputs(offset, data).collect(),
        TailStep::Skipped { offset, length, head } => {
            let reason = format!("is no record ({length} bytes that begin with {head})");
            vec![bad(offset, offset + length, reason)]
        }
        TailStep::Shrunk { offset, was } => {
            let reason = format!("is read again: the file was cut back from {was} bytes to {offset}");
            vec![bad(offset, offset, reason)]
        }
        TailStep::Nothing | TailStep::Missing | TailStep::Ended { .. } | TailStep::Reopened => Vec::new(),
    }
}

/// The inputs in a chunk of whole lines that stands at `offset`.
pub fn inputs(offset: u64, data: Bytes) -> impl Iterator<Item = Input> {
    let mut at = offset;
    let mut rest = data;
    std::iter::from_fn(move || {
        let length = rest.iter().position(|byte| *byte == b'\n').map(|at| at + 1)?;
        let line = rest.split_to(length);
        let offset = at;
        at += line.len() as u64;
        Some(input(line.trim_ascii_end(), offset, at))
    })
}

/// What one line asks for.
fn input(line: &[u8], offset: u64, end: u64) -> Input {
    let error = match serde_json::from_slice::<InboxRecord>(line) {
        Ok(record) => return Input::Inbox { record, end },
        Err(error) => error,
    };
    #[derive(serde::Deserialize)]
    struct About {
        injection_id: InjectionId,
    }
    let reason: String = format!("is not understood: {error}").chars().take(REASON).collect();
    Input::InboxBad {
        offset,
        end,
        reason,
        injection_id: serde_json::from_slice::<About>(line)
            .ok()
            .map(|about| about.injection_id),
    }
}

#[cfg(test)]
mod tests {
    use codeswarm_mailbox::FilesystemKind;

    use super::*;

    #[test]
    fn lines_become_inputs_with_their_ends() {
        let data = Bytes::from_static(b"{\"type\":\"shutdown\"}\n{\"type\":\"nap\"}\n");
        let got: Vec<Input> = inputs(100, data).collect();
        assert_eq!(
            got[0],
            Input::Inbox {
                record: InboxRecord::Shutdown {},
                end: 120
            }
        );
        let Input::InboxBad {
            offset, end, reason, ..
        } = &got[1]
        else {
            panic!("{:?}", got[1])
        };
        assert_eq!((*offset, *end), (120, 135));
        assert!(reason.contains("nap"), "{reason}");
    }

    #[tokio::test]
    async fn p9_an_inbox_that_cannot_be_read_now_is_read_when_it_can() {
        let folder = tempfile::tempdir().unwrap();
        let mailbox = Mailbox::at(folder.path().join("root"));
        mailbox.create().unwrap();
        let place = Place::from_stem("7_00").unwrap();
        mailbox.prepare(&place.job_id, 1).unwrap();
        let inbox = mailbox.inbox(&place);
        std::fs::write(&inbox, "{\"type\":\"shutdown\"}\n").unwrap();
        let elsewhere = folder.path().join("elsewhere");
        std::fs::rename(&inbox, &elsewhere).unwrap();
        std::os::unix::fs::symlink(&elsewhere, &inbox).unwrap();
        let mut reader = InboxReader::start(&mailbox, &place).unwrap();
        reader.read_to_end();
        assert_eq!(reader.inputs.recv().await, Some(Input::InboxEnd { offset: 0 }));
        std::fs::remove_file(&inbox).unwrap();
        std::fs::rename(&elsewhere, &inbox).unwrap();
        reader.read_to_end();
        let record = InboxRecord::Shutdown {};
        assert_eq!(reader.inputs.recv().await, Some(Input::Inbox { record, end: 20 }));
    }

    /// What is logged while it lives, by this test's thread.
    fn logged() -> (impl Fn() -> usize, tracing::subscriber::DefaultGuard) {
        let log = tempfile::NamedTempFile::new().unwrap();
        let writer = std::sync::Arc::new(log.reopen().unwrap());
        let subscriber = tracing_subscriber::fmt().with_writer(writer).finish();
        let warnings = move || {
            let text = std::fs::read_to_string(log.path()).unwrap();
            text.matches("the inbox cannot be read now").count()
        };
        (warnings, tracing::subscriber::set_default(subscriber))
    }

    async fn looked_to_end(reader: &mut InboxReader) -> Vec<Input> {
        reader.read_to_end();
        let mut inputs = Vec::new();
        loop {
            match reader.inputs.recv().await.unwrap() {
                Input::InboxEnd { .. } => return inputs,
                input => inputs.push(input),
            }
        }
    }

    #[tokio::test]
    async fn p9_an_inbox_that_cannot_be_read_for_long_is_told_once_for_each_place_and_time() {
        let (warnings, _guard) = logged();
        let line = "{\"type\":\"shutdown\"}\n";
        let (folder, mailbox, place) = prepared(line.as_bytes());
        let (inbox, elsewhere) = (mailbox.inbox(&place), folder.path().join("elsewhere"));
        let hinder = || {
            std::fs::rename(&inbox, &elsewhere).unwrap();
            std::os::unix::fs::symlink(&elsewhere, &inbox).unwrap();
        };
        let mend = || {
            std::fs::remove_file(&inbox).unwrap();
            std::fs::rename(&elsewhere, &inbox).unwrap();
        };
        hinder();
        let mut reader = InboxReader::start(&mailbox, &place).unwrap();
        for _ in 0..3 {
            assert_eq!(looked_to_end(&mut reader).await, []);
            assert_eq!(warnings(), 1);
        }
        mend();
        assert_eq!(looked_to_end(&mut reader).await.len(), 1);
        std::fs::write(&inbox, line.repeat(2)).unwrap();
        hinder();
        for _ in 0..3 {
            assert_eq!(looked_to_end(&mut reader).await, []);
            assert_eq!(warnings(), 2, "it has come right in between");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn p1_zeros_that_stay_in_the_inbox_are_told_once() {
        let (warnings, _guard) = logged();
        let mut bytes = vec![0; 100];
        bytes.extend_from_slice(b"\n{\"type\":\"shutdown\"}\n");
        let (_folder, mailbox, place) = prepared(&bytes);
        let mailbox = mailbox.on(FilesystemKind::Network("nfs"));
        let mut tail = Tail::inbox(&mailbox, place, 0);
        // It has stood like this for longer than a page takes, and not for as long as it is waited for.
        let long_ago = Instant::now().checked_sub(Duration::from_secs(100)).unwrap();
        tail.step(CHUNK, long_ago).unwrap();
        let (inputs, _heard) = mpsc::channel(1);
        let mut reading = Reading {
            tail: Some(tail),
            wakes: Wakes::new(WatchMode::Poll, mailbox.filesystem(), &[]).unwrap(),
            inputs,
            ends: mpsc::channel(1).1,
            hindered: None,
        };
        for _ in 0..5 {
            assert_eq!(
                reading.read_on(&mut Duration::default()).await,
                Some((0, Outcome::Doubt))
            );
        }
        assert_eq!(warnings(), 1);
    }

    fn prepared(inbox: &[u8]) -> (tempfile::TempDir, Mailbox, Place) {
        let folder = tempfile::tempdir().unwrap();
        let mailbox = Mailbox::at(folder.path().join("root"));
        mailbox.create().unwrap();
        let place = Place::from_stem("7_00").unwrap();
        mailbox.prepare(&place.job_id, 1).unwrap();
        std::fs::write(mailbox.inbox(&place), inbox).unwrap();
        (folder, mailbox, place)
    }

    #[tokio::test]
    async fn a_reader_to_whom_nobody_listens_ends() {
        for inbox in ["", "{\"type\":\"shutdown\"}\n"] {
            let (_folder, mailbox, place) = prepared(inbox.as_bytes());
            let mut reader = InboxReader::start(&mailbox, &place).unwrap();
            reader.inputs = mpsc::channel(1).1;
            reader.read_to_end();
            (&mut reader.task).await.unwrap();
        }
    }

    #[tokio::test]
    async fn p1_a_line_whose_bytes_come_late_is_no_end_and_is_read_when_they_have_come() {
        let line = "{\"type\":\"shutdown\"}\n";
        let mut late = line.as_bytes().to_vec();
        late[5..15].fill(0);
        let (_folder, mailbox, place) = prepared(&late);
        let mut reader = InboxReader::start(&mailbox, &place).unwrap();
        reader.read_to_end();
        assert_eq!(reader.inputs.recv().await, Some(Input::InboxEnd { offset: 0 }));
        let file = std::fs::OpenOptions::new()
            .write(true)
            .open(mailbox.inbox(&place))
            .unwrap();
        std::os::unix::fs::FileExt::write_all_at(&file, line.as_bytes(), 0).unwrap();
        let record = InboxRecord::Shutdown {};
        assert_eq!(reader.inputs.recv().await, Some(Input::Inbox { record, end: 20 }));
    }

    #[test]
    fn an_inbox_that_was_cut_back_is_told_as_a_bad_line_and_nothing_new_as_nothing() {
        let told = inputs_of(TailStep::Shrunk { offset: 0, was: 40 });
        assert!(
            matches!(&told[..], [Input::InboxBad { offset: 0, end: 0, reason, injection_id: None }]
                if reason.contains("cut back from 40 bytes")),
            "{told:?}"
        );
        for nothing in [
            TailStep::Nothing,
            TailStep::Missing,
            TailStep::Ended { offset: 40 },
            TailStep::Reopened,
        ] {
            assert_eq!(inputs_of(nothing), []);
        }
    }

    #[test]
    fn p12_a_bad_prompt_still_names_its_injection() {
        let input = input(br#"{"type":"user","injection_id":"i1","content":7}"#, 0, 9);
        let Input::InboxBad {
            injection_id, reason, ..
        } = input
        else {
            panic!("{input:?}")
        };
        assert_eq!(injection_id, InjectionId::new("i1").ok());
        assert!(reason.contains("invalid type"), "{reason}");
    }

    #[test]
    fn p12_a_hostile_id_is_no_id() {
        let input = input(br#"{"type":"user","injection_id":"../../etc","content":"x"}"#, 0, 9);
        assert!(matches!(input, Input::InboxBad { injection_id: None, .. }), "{input:?}");
    }
}
