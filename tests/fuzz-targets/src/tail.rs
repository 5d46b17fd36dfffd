//! Telling records from garbage: by the splitter alone, and by a tail over a file that grows in any pieces.

use std::cell::RefCell;
use std::fs::OpenOptions;
use std::io::Write;
use std::time::{Duration, Instant};

use codeswarm_mailbox::archive::rename_to_archive;
use codeswarm_mailbox::lines::{Front, front, looks_like_record};
use codeswarm_mailbox::{Mailbox, Tail, TailStep};
use codeswarm_protocol::Place;
use serde::de::IgnoredAny;

use crate::pieces::pieces;

/// The splitter comes forward with each look, never passes a NUL on, and says the same of a longer look.
pub fn record_splitter(data: &[u8]) {
    let mut rest = data;
    loop {
        let passed = match front(rest) {
            Front::Records(length) => {
                let records = &rest[..length];
                assert!(!records.contains(&0) && records.ends_with(b"\n"));
                let body = &records[..length - 1];
                assert!(body.split(|byte| *byte == b'\n').all(looks_like_record));
                length
            }
            Front::Garbage(length) => {
                let garbage = &rest[..length];
                assert!(!garbage.contains(&0) && garbage.ends_with(b"\n"));
                let body = &garbage[..length - 1];
                assert!(!body.split(|byte| *byte == b'\n').any(looks_like_record));
                length
            }
            Front::Gap { length, after } => {
                let line = &rest[..length];
                assert!(after < length && line[after - 1] == 0 && !line[after..].contains(&0));
                assert_eq!(line.iter().position(|byte| *byte == b'\n'), Some(length - 1));
                after
            }
            Front::Partial { nul } => {
                assert!(!rest.contains(&b'\n'));
                assert_eq!(rest.contains(&0), nul);
                break;
            }
        };
        assert!(passed > 0 && passed <= rest.len());
        rest = &rest[passed..];
    }
}

/// The records that a file of these bytes holds: each whole line that looks like one, and of a line with NULs what stands
/// behind the last of them, if it is whole.
fn records_of(data: &[u8]) -> Vec<&[u8]> {
    let mut lines: Vec<&[u8]> = data.split(|byte| *byte == b'\n').collect();
    lines.pop();
    let record = |line: &'_ [u8]| match line.iter().rposition(|byte| *byte == 0) {
        None => looks_like_record(line),
        Some(nul) => {
            let behind = &line[nul + 1..];
            looks_like_record(behind) && serde_json::from_slice::<IgnoredAny>(behind).is_ok()
        }
    };
    let behind_nul = |line: &'_ [u8]| line.iter().rposition(|byte| *byte == 0).map_or(0, |at| at + 1);
    lines
        .into_iter()
        .filter(|line| record(line))
        .map(|line| &line[behind_nul(line)..])
        .collect()
}

struct World {
    _folder: tempfile::TempDir,
    mailbox: Mailbox,
    place: Place,
}

impl World {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mailbox = Mailbox::at(folder.path().join("root"));
        mailbox.create().unwrap();
        let place = Place::from_stem("27_03").unwrap();
        mailbox.prepare(&place.job_id, 4).unwrap();
        Self {
            _folder: folder,
            mailbox,
            place,
        }
    }
}

/// A file that grows in any pieces and is then archived is read as the same records, each once and in order; what is
/// passed on and what is skipped lie side by side from its first byte to its last.
pub fn mailbox_tail(data: &[u8]) {
    thread_local! {
        static WORLD: RefCell<Option<World>> = const { RefCell::new(None) };
    }
    WORLD.with_borrow_mut(|world| {
        let world = world.get_or_insert_with(World::new);
        follow(world, data);
    });
}

fn follow(world: &World, data: &[u8]) {
    let World { mailbox, place, .. } = world;
    let _ = std::fs::remove_file(mailbox.archive(place));
    let outbox = mailbox.outbox(place);
    let mut file = OpenOptions::new()
        .create(true)
        .write(true)
        .truncate(true)
        .open(&outbox)
        .unwrap();
    let mut reader = Reader {
        tail: Tail::outbox(mailbox, place.clone(), 0),
        now: Instant::now(),
        at: 0,
        lines: Vec::new(),
        ended: None,
    };
    for piece in pieces(data, 12) {
        file.write_all(piece).unwrap();
        reader.look();
        assert!(reader.ended.is_none());
    }
    rename_to_archive(mailbox, place).unwrap();
    // Each thing in doubt is looked at, waited for, and looked at again.
    for _ in 0..=data.len() {
        if reader.ended.is_some() {
            break;
        }
        reader.look();
        reader.now += Duration::from_secs(120);
    }
    assert_eq!(reader.ended, Some(data.len() as u64), "read to byte {}", reader.at);
    let read: Vec<&[u8]> = reader.lines.iter().map(Vec::as_slice).collect();
    assert_eq!(read, records_of(data));
}

struct Reader {
    tail: Tail,
    now: Instant,
    at: u64,
    lines: Vec<Vec<u8>>,
    ended: Option<u64>,
}

impl Reader {
    /// Takes steps until nothing comes.
    fn look(&mut self) {
        loop {
            match self.tail.step(32, self.now).unwrap() {
                TailStep::Lines { offset, data } => {
                    assert_eq!(offset, self.at);
                    self.at += data.len() as u64;
                    let lines = data.strip_suffix(b"\n").unwrap();
                    self.lines
                        .extend(lines.split(|byte| *byte == b'\n').map(<[u8]>::to_vec));
                }
                TailStep::Skipped { offset, length, head } => {
                    assert_eq!(offset, self.at);
                    assert!(length > 0 && head.len() <= 64 * 4 && head.is_ascii());
                    self.at += length;
                }
                TailStep::Nothing => return,
                TailStep::Ended { offset } => {
                    assert_eq!(offset, self.at);
                    self.ended = Some(offset);
                    return;
                }
                other => panic!("{other:?}"),
            }
        }
    }
}
