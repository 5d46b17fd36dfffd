//! Random file actions against a model: whatever befalls an outbox, its reader has every whole record exactly once, in
//! order, and is told of every byte that it passes over.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::{Durability, FilesystemKind, LineFile, Mailbox, Tail, TailStep, archive, recover};
use codeswarm_protocol::Place;
use proptest::prelude::*;

const PATIENCE: Duration = Duration::from_secs(60);

/// One patience for everything, wherever the file lies.
fn reader(mailbox: &Mailbox, place: &Place, offset: u64) -> Tail {
    let mut tail = Tail::outbox(mailbox, place.clone(), offset);
    tail.set_patience(PATIENCE);
    tail
}

#[derive(Debug, Clone)]
enum Action {
    /// The writer appends a record of about this many bytes.
    Append(usize),
    /// The writer's line reaches the file in two pieces; the second comes with `Finish`.
    AppendPiece(usize, f64),
    Finish,
    /// The writer dies, and the next one finds what it left.
    WriterDies,
    /// A line that is no record.
    Garbage,
    /// A blank line.
    Blank,
    /// A record, then a record whose middle has not come: NULs (also over its neighbours' ends).
    Gap(f64, f64),
    /// The missing pages come.
    Fill,
    /// The file is cut back to a part of its size, and the reader looks often enough to see it.
    Truncate(f64),
    /// The file is cut back and written on before the reader looks.
    TruncateUnseen(f64),
    Archive,
    /// The job is requeued: the archive becomes the outbox again.
    Requeue,
    /// The reader takes a few steps of at most so many bytes.
    Steps(usize, usize),
    /// The reader dies; another goes on at its cursor.
    ReaderRestarts,
    Wait(u64),
}

fn action() -> impl Strategy<Value = Action> {
    prop_oneof![
        8 => (20usize..400).prop_map(Action::Append),
        3 => (20usize..400, 0.0..1.0).prop_map(|(size, at)| Action::AppendPiece(size, at)),
        3 => Just(Action::Finish),
        1 => Just(Action::WriterDies),
        1 => Just(Action::Garbage),
        1 => Just(Action::Blank),
        2 => (0.0..1.0, 0.0..1.0).prop_map(|(from, length)| Action::Gap(from, length)),
        2 => Just(Action::Fill),
        1 => (0.0..1.0).prop_map(Action::Truncate),
        1 => (0.0..1.0).prop_map(Action::TruncateUnseen),
        2 => Just(Action::Archive),
        2 => Just(Action::Requeue),
        8 => (1usize..1000, 1usize..5).prop_map(|(bytes, steps)| Action::Steps(bytes, steps)),
        2 => Just(Action::ReaderRestarts),
        2 => (0u64..30).prop_map(Action::Wait),
    ]
}

/// What the reader holds: offset → bytes, and whether they were records or skipped.
#[derive(Default)]
struct Copy {
    parts: BTreeMap<u64, (Vec<u8>, bool)>,
    ended: bool,
}

struct World {
    _folder: tempfile::TempDir,
    mailbox: Mailbox,
    place: Place,
    tail: Tail,
    copy: Copy,
    now: Instant,
    count: u32,
    archived: bool,
    /// The second piece of a line that is being written.
    unfinished: Vec<u8>,
    /// Where NULs stand that may still be filled, with what, and until when a reader must wait for it.
    gap: Option<(u64, Vec<u8>, Instant)>,
    /// Whether the reader has read anything since it started, so that it can recognise its place.
    has_read: bool,
    /// Whether the file was ever cut back.
    cut: bool,
    unnoticed_cut: bool,
}

impl World {
    fn new(kind: FilesystemKind) -> Self {
        // In memory where that is possible: the disk's syncs are not what is tried here.
        let folder = tempfile::tempdir_in("/dev/shm")
            .or_else(|_| tempfile::tempdir())
            .unwrap();
        let mailbox = Mailbox::at(folder.path().join("root")).on(kind);
        mailbox.create().unwrap();
        let place = Place::from_stem("27_01").unwrap();
        mailbox.prepare(&place.job_id, 2).unwrap();
        Self {
            tail: reader(&mailbox, &place, 0),
            _folder: folder,
            mailbox,
            place,
            copy: Copy::default(),
            now: Instant::now(),
            count: 0,
            archived: false,
            unfinished: Vec::new(),
            gap: None,
            has_read: false,
            cut: false,
            unnoticed_cut: false,
        }
    }

    fn path(&self) -> PathBuf {
        if self.archived {
            self.mailbox.archive(&self.place)
        } else {
            self.mailbox.outbox(&self.place)
        }
    }

    fn size(&self) -> u64 {
        fs::metadata(self.path()).unwrap().len()
    }

    fn record(&mut self, size: usize) -> Vec<u8> {
        self.count += 1;
        let text = "x".repeat(size);
        format!(
            "{{\"type\":\"notice\",\"message\":\"{text}\",\"usage\":{{\"n\":1}},\"seq\":{}}}\n",
            self.count
        )
        .into_bytes()
    }

    /// Bytes at the end of the outbox, as another process's write would leave them.
    fn raw_append(&self, bytes: &[u8]) {
        let mut file = OpenOptions::new().append(true).open(self.path()).unwrap();
        file.write_all(bytes).unwrap();
    }

    fn open_writer(&self) -> LineFile {
        LineFile::open(self.path(), Durability::Cached).unwrap()
    }

    fn may_write(&self) -> bool {
        !self.archived && self.unfinished.is_empty()
    }

    fn act(&mut self, action: &Action) {
        match *action {
            Action::Append(size) if self.may_write() => {
                let line = self.record(size);
                self.open_writer().append(&line).unwrap();
            }
            Action::AppendPiece(size, at) if self.may_write() => {
                let mut line = self.record(size);
                // A new life ends a torn line first.
                self.open_writer().resume().unwrap();
                let rest = line.split_off(part(line.len() as u64, at) as usize);
                self.raw_append(&line);
                self.unfinished = rest;
            }
            Action::Finish if !self.archived => {
                let rest = std::mem::take(&mut self.unfinished);
                self.raw_append(&rest);
            }
            Action::WriterDies => self.unfinished.clear(),
            Action::Garbage if self.may_write() => self
                .open_writer()
                .append(b"Traceback (most recent call last):\n")
                .map(drop)
                .unwrap(),
            Action::Blank if self.may_write() => self.open_writer().append(b"\n").map(drop).unwrap(),
            Action::Gap(from, length) if self.may_write() && self.gap.is_none() => {
                let mut lines = self.record(60);
                lines.extend(self.record(60));
                lines.extend(self.record(60));
                let start = part(lines.len() as u64, from) as usize;
                let end = start + part((lines.len() - start) as u64, length) as usize;
                let missing = lines[start..end].to_vec();
                let mut shown = lines;
                shown[start..end].fill(0);
                let mut file = self.open_writer();
                file.resume().unwrap();
                let at = file.end() + start as u64;
                drop(file);
                self.raw_append(&shown);
                if !missing.is_empty() {
                    self.gap = Some((at, missing, self.now));
                }
            }
            Action::Fill => self.fill(),
            Action::Truncate(at) if !self.archived => {
                self.unfinished.clear();
                self.cut(at);
                for _ in 0..2 {
                    self.step(1000);
                    self.now += PATIENCE;
                }
                self.step(1000);
            }
            Action::TruncateUnseen(at) if !self.archived && self.has_read => {
                self.unfinished.clear();
                self.cut(at);
                let line = self.record(40);
                self.open_writer().append(&line).unwrap();
            }
            Action::Archive if self.unfinished.is_empty() && !self.archived => {
                let file = self.open_writer();
                archive::archive(&self.mailbox, file, &self.place).unwrap();
                self.archived = true;
            }
            Action::Requeue if self.archived => {
                assert!(recover::reopen_archived(&self.mailbox, &self.place).unwrap());
                self.archived = false;
            }
            Action::Steps(bytes, steps) => (0..steps).for_each(|_| drop(self.step(bytes))),
            // A reader that starts after a cut which none has noticed cannot know of it: a cursor is a place, not a content.
            Action::ReaderRestarts if !self.unnoticed_cut => self.restart_reader(),
            Action::Wait(seconds) => self.now += Duration::from_secs(seconds),
            _ => {}
        }
    }

    fn cut(&mut self, at: f64) {
        let size = part(self.size() + 1, at);
        OpenOptions::new()
            .write(true)
            .open(self.path())
            .unwrap()
            .set_len(size)
            .unwrap();
        if let Some((from, missing, _)) = &mut self.gap {
            missing.truncate(size.saturating_sub(*from) as usize);
        }
        self.cut = true;
        self.unnoticed_cut = true;
        self.gap = self.gap.take().filter(|(_, missing, _)| !missing.is_empty());
    }

    /// The bytes of the gap arrive, if a patient reader would still be waiting for them.
    fn fill(&mut self) {
        if let Some((at, missing, since)) = self.gap.take()
            && self.now - since < PATIENCE
        {
            let file = OpenOptions::new().write(true).open(self.path()).unwrap();
            file.write_all_at(&missing, at).unwrap();
        }
    }

    fn restart_reader(&mut self) {
        self.tail = reader(&self.mailbox, &self.place, self.tail.offset());
        self.has_read = false;
    }

    fn step(&mut self, max_bytes: usize) -> TailStep {
        let step = self.tail.step(max_bytes, self.now).unwrap();
        match &step {
            TailStep::Lines { offset, data } => {
                assert!(data.ends_with(b"\n") && !data.contains(&0));
                self.has_read = true;
                self.take(*offset, data.to_vec(), true);
            }
            TailStep::Skipped { offset, length, head } => {
                let mut bytes = vec![0; *length as usize];
                let file = fs::File::open(self.path()).unwrap();
                // What was read before a cut is told after it.
                if file.read_exact_at(&mut bytes, *offset).is_err() || self.unnoticed_cut {
                    assert!(self.unnoticed_cut, "garbage that is not there");
                } else {
                    assert_eq!(*head, bytes[..bytes.len().min(64)].escape_ascii().to_string());
                }
                self.has_read = true;
                self.take(*offset, bytes, false);
            }
            TailStep::Shrunk { offset: 0, was } => {
                assert_eq!(*was, self.copy_end());
                assert!(self.cut, "nobody has cut the file");
                self.copy = Copy::default();
                self.unnoticed_cut = false;
                self.has_read = false;
            }
            TailStep::Ended { offset } => {
                assert!(self.archived);
                assert_eq!(*offset, self.size());
                self.copy.ended = true;
            }
            TailStep::Reopened => {
                assert!(std::mem::take(&mut self.copy.ended), "only what had ended is reopened");
            }
            TailStep::Nothing => {}
            TailStep::Shrunk { .. } => panic!("reading begins again at the start"),
            TailStep::Missing => panic!("the file is there all the time"),
        }
        step
    }

    fn copy_end(&self) -> u64 {
        let last = self.copy.parts.last_key_value();
        last.map_or(0, |(offset, (bytes, _))| offset + bytes.len() as u64)
    }

    fn take(&mut self, offset: u64, bytes: Vec<u8>, record: bool) {
        assert_eq!(offset, self.copy_end(), "nothing twice, nothing left out");
        for line in bytes.split_inclusive(|byte| *byte == b'\n') {
            self.copy.parts.insert(self.copy_end(), (line.to_vec(), record));
        }
        self.copy.ended = false;
    }

    /// Time passes until nothing more happens; then the copy must be what the file is.
    fn settle_and_compare(&mut self) {
        self.fill();
        if self.cut {
            // A file that was cut and has grown to its very size again looks untouched until it grows more.
            self.act(&Action::Requeue);
            self.act(&Action::Finish);
            while self.size() == self.copy_end() {
                self.act(&Action::Append(40));
            }
        }
        let mut quiet = 0;
        while quiet < 8 {
            match self.step(777) {
                TailStep::Nothing => {
                    quiet += 1;
                    self.now += PATIENCE / 2;
                }
                _ => quiet = 0,
            }
        }
        let file = fs::read(self.path()).unwrap();
        let end = if self.archived {
            assert!(self.copy.ended);
            file.len()
        } else {
            memchr::memrchr(b'\n', &file).map_or(0, |at| at + 1)
        };
        let copied: Vec<u8> = self.copy.parts.values().flat_map(|(bytes, _)| bytes.clone()).collect();
        assert_eq!(
            copied.escape_ascii().to_string(),
            file[..end].escape_ascii().to_string()
        );
        let expected: Vec<&[u8]> = file[..end]
            .split_inclusive(|byte| *byte == b'\n')
            .filter_map(salvage)
            .collect();
        let records: Vec<&[u8]> = self
            .copy
            .parts
            .values()
            .filter(|(_, record)| *record)
            .map(|(bytes, _)| &bytes[..])
            .collect();
        assert_eq!(records, expected);
    }
}

/// The record in a line, if one is: the model's own and slow judgement.
fn salvage(line: &[u8]) -> Option<&[u8]> {
    let behind = memchr::memrchr(0, line).map_or(0, |at| at + 1);
    let text = &line[behind..];
    if behind > 0 {
        let whole =
            text.ends_with(b"\n") && serde_json::from_slice::<serde_json::Map<String, serde_json::Value>>(text).is_ok();
        return whole.then_some(text);
    }
    let inner = text.strip_suffix(b"\n")?;
    (inner.len() > 1 && inner.starts_with(b"{") && inner.ends_with(b"}")).then_some(text)
}

fn part(of: u64, share: f64) -> u64 {
    (of as f64 * share) as u64
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, max_shrink_iters: 20_000, ..ProptestConfig::default() })]

    #[test]
    fn p4_every_whole_record_is_read_exactly_once_and_in_order(
        actions in prop::collection::vec(action(), 1..60),
        shared in any::<bool>(),
    ) {
        let kind = if shared { FilesystemKind::Network("nfs") } else { FilesystemKind::Local };
        let mut world = World::new(kind);
        for action in &actions {
            world.act(action);
        }
        world.settle_and_compare();
    }
}
