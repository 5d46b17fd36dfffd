//! The tail in the cases that have a name.

use std::ffi::OsString;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use codeswarm_protocol::Place;
use rustix::io::Errno;

use super::append_line;
use crate::archive::rename_to_archive;
use crate::raw_file::RawFile;
use crate::storage::{Disk, ReadFile, Storage};
use crate::{Access, AppendError, FilesystemKind, Mailbox, MailboxError, Tail, TailError, TailStep, recover};

struct World {
    _folder: tempfile::TempDir,
    mailbox: Mailbox,
    place: Place,
    tail: Tail,
    now: Instant,
}

impl World {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mailbox = Mailbox::at(folder.path().join("root"));
        mailbox.create().unwrap();
        let place = Place::from_stem("27_03").unwrap();
        mailbox.prepare(&place.job_id, 4).unwrap();
        Self {
            tail: Tail::outbox(&mailbox, place.clone(), 0),
            _folder: folder,
            mailbox,
            place,
            now: Instant::now(),
        }
    }

    fn write(&self, bytes: &[u8]) {
        let mut file = OpenOptions::new()
            .append(true)
            .open(self.mailbox.outbox(&self.place))
            .unwrap();
        file.write_all(bytes).unwrap();
    }

    fn step(&mut self) -> TailStep {
        self.tail.step(64, self.now).unwrap()
    }

    fn archive(&self) {
        rename_to_archive(&self.mailbox, &self.place).unwrap();
    }
}

fn lines(offset: u64, data: &str) -> TailStep {
    TailStep::Lines {
        offset,
        data: data.to_owned().into(),
    }
}

#[test]
fn p4_an_outbox_archived_before_the_first_look_is_read_to_its_end() {
    let mut world = World::new();
    world.write(b"{\"seq\":1}\n");
    world.archive();
    assert_eq!(world.step(), lines(0, "{\"seq\":1}\n"));
    assert!(world.tail.has_more());
    assert_eq!(world.step(), TailStep::Ended { offset: 10 });
    assert_eq!(world.step(), TailStep::Nothing);
    assert!(world.tail.is_ended() && !world.tail.has_more());
}

#[test]
fn p4_a_line_written_after_the_rename_is_read() {
    let mut world = World::new();
    world.write(b"{\"seq\":1}\n");
    world.archive();
    world.step();
    world.step();
    append_line(&world.mailbox.archive(&world.place), "{\"seq\":2}");
    assert_eq!(world.step(), lines(10, "{\"seq\":2}\n"));
    assert_eq!(world.step(), TailStep::Ended { offset: 20 });
}

#[test]
fn a_requeued_job_goes_on_in_the_same_file() {
    let mut world = World::new();
    world.write(b"{\"seq\":1}\n");
    world.step();
    world.archive();
    assert_eq!(world.step(), TailStep::Ended { offset: 10 });
    assert!(recover::reopen_archived(&world.mailbox, &world.place).unwrap());
    assert_eq!(world.step(), TailStep::Reopened);
    assert!(world.tail.has_more(), "it may have grown before that was seen");
    assert_eq!(world.step(), TailStep::Nothing);
    world.write(b"{\"seq\":2}\n");
    assert_eq!(world.step(), lines(10, "{\"seq\":2}\n"));
}

#[test]
fn a_file_that_is_nowhere_is_missing_until_it_comes() {
    let mut world = World::new();
    let path = world.mailbox.outbox(&world.place);
    fs::remove_file(&path).unwrap();
    assert_eq!(world.step(), TailStep::Missing);
    fs::write(world.mailbox.outbox_folder().join("27_3.jsonl"), "{}\n").unwrap();
    assert_eq!(world.step(), lines(0, "{}\n"), "the rank may be unpadded");
}

#[test]
fn a_line_longer_than_a_step_is_returned_whole_when_its_end_is_there() {
    let mut world = World::new();
    let text = format!("{{\"content\":\"{}\"}}\n", "x".repeat(5000));
    for piece in text.as_bytes().chunks(700) {
        assert_eq!(world.step(), TailStep::Nothing);
        world.write(piece);
    }
    world.write(b"{}\n");
    let mut read = Vec::new();
    while let TailStep::Lines { data, .. } = world.step() {
        read.extend_from_slice(&data);
    }
    assert_eq!(read, [text.as_bytes(), b"{}\n"].concat());
}

#[test]
fn of_a_full_file_a_step_reads_no_more_than_it_was_told() {
    let mut world = World::new();
    world.write(&b"{\"seq\":1}\n".repeat(100));
    for step in 1..=16 {
        let TailStep::Lines { data, .. } = world.step() else {
            panic!("there is more")
        };
        // Six lines of ten bytes are whole in 64.
        assert_eq!(data.len(), 60, "step {step}");
        assert!(world.tail.has_more());
    }
}

#[test]
fn a_line_beyond_all_measure_is_skipped_without_being_held() {
    let mut world = World::new();
    world.tail.set_max_line(1000);
    for _ in 0..7 {
        world.write(&[b'x'; 400]);
        assert_eq!(world.step(), TailStep::Nothing);
    }
    world.write(b"\n{}\n");
    let TailStep::Skipped {
        offset: 0,
        length: 2801,
        head,
    } = world.step()
    else {
        panic!()
    };
    assert_eq!(head, "x".repeat(64));
    assert_eq!(world.step(), lines(2801, "{}\n"));
}

#[test]
fn a_gap_is_waited_for_and_then_skipped_and_told() {
    for network in [false, true] {
        let mut world = World::new();
        if network {
            world.mailbox = world.mailbox.clone().on(FilesystemKind::Network("nfs"));
            world.tail = Tail::outbox(&world.mailbox, world.place.clone(), 0);
        }
        world.tail.set_patience(Duration::from_secs(60));
        world.write(b"{\"seq\":1}\n\0\0\0\0\0\0\0\0\0\0{\"seq\":3}\n");
        assert_eq!(world.step(), lines(0, "{\"seq\":1}\n"));
        assert_eq!(world.step(), TailStep::Nothing);
        assert!(world.tail.in_doubt());
        world.now += Duration::from_secs(59);
        assert_eq!(world.step(), TailStep::Nothing);
        if network {
            let file = OpenOptions::new()
                .write(true)
                .open(world.mailbox.outbox(&world.place))
                .unwrap();
            file.write_all_at(b"{\"seq\":2}\n", 10).unwrap();
            assert_eq!(
                world.step(),
                lines(10, "{\"seq\":2}\n{\"seq\":3}\n"),
                "it had only been late"
            );
        } else {
            world.now += Duration::from_secs(1);
            let head = "\\x00".repeat(10);
            assert_eq!(
                world.step(),
                TailStep::Skipped {
                    offset: 10,
                    length: 10,
                    head
                }
            );
            assert_eq!(
                world.step(),
                lines(20, "{\"seq\":3}\n"),
                "what follows the gap is a record"
            );
        }
        assert!(!world.tail.in_doubt());
    }
}

#[test]
fn p4_a_page_that_a_machine_hands_over_minutes_late_is_waited_for_and_told_meanwhile() {
    let mut world = World::new();
    world.mailbox = world.mailbox.clone().on(FilesystemKind::Network("nfs"));
    world.tail = Tail::outbox(&world.mailbox, world.place.clone(), 0);
    world.write(b"\0\0\0\0\0\0\0\0\0\0{\"seq\":2}\n");
    assert_eq!(world.step(), TailStep::Nothing);
    world.now += Duration::from_secs(61);
    let told = world.tail.step(1000, world.now).unwrap_err().to_string();
    assert!(
        told.contains("at byte 0") && told.contains("passed over after 600 s"),
        "{told}"
    );
    assert!(world.tail.in_doubt(), "it is looked at again");
    world.now += Duration::from_secs(500);
    let file = OpenOptions::new()
        .write(true)
        .open(world.mailbox.outbox(&world.place))
        .unwrap();
    file.write_all_at(b"{\"seq\":1}\n", 0).unwrap();
    assert_eq!(world.step(), lines(0, "{\"seq\":1}\n{\"seq\":2}\n"));
}

#[test]
fn zeros_that_stay_are_passed_over_at_last_and_in_the_archive_soon() {
    for archived in [false, true] {
        let mut world = World::new();
        world.mailbox = world.mailbox.clone().on(FilesystemKind::Network("nfs"));
        world.tail = Tail::outbox(&world.mailbox, world.place.clone(), 0);
        world.write(b"\0\0{\"seq\":2}\n");
        if archived {
            world.archive();
        }
        assert_eq!(world.step(), TailStep::Nothing);
        world.now += Duration::from_secs(if archived { 60 } else { 600 });
        let step = world.step();
        assert!(
            matches!(
                step,
                TailStep::Skipped {
                    offset: 0,
                    length: 2,
                    ..
                }
            ),
            "{archived} {step:?}"
        );
        assert_eq!(world.step(), lines(2, "{\"seq\":2}\n"));
    }
}

#[test]
fn nuls_at_the_end_of_a_living_outbox_are_never_given_up() {
    let mut world = World::new();
    world.write(b"\0\0\0\0\0\0\0\0");
    for _ in 0..10 {
        assert_eq!(world.step(), TailStep::Nothing);
        world.now += Duration::from_secs(3600);
    }
    let file = OpenOptions::new()
        .write(true)
        .open(world.mailbox.outbox(&world.place))
        .unwrap();
    file.write_all_at(b"{\"a\":1}\n", 0).unwrap();
    assert_eq!(world.step(), lines(0, "{\"a\":1}\n"));
}

#[test]
fn the_torn_end_of_an_archived_outbox_is_told_before_the_end() {
    let mut world = World::new();
    world.write(b"{\"seq\":1}\n{\"se");
    world.archive();
    assert_eq!(world.step(), lines(0, "{\"seq\":1}\n"));
    assert_eq!(world.step(), TailStep::Nothing);
    world.now += Duration::from_secs(60);
    assert_eq!(
        world.step(),
        TailStep::Skipped {
            offset: 10,
            length: 4,
            head: "{\\\"se".into()
        }
    );
    assert_eq!(world.step(), TailStep::Ended { offset: 14 });
    // The next life ends the torn line; a reader that starts at the end it was told goes on there.
    recover::reopen_archived(&world.mailbox, &world.place).unwrap();
    append_line(&world.mailbox.outbox(&world.place), "{\"seq\":2}");
    for mut tail in [Tail::outbox(&world.mailbox, world.place.clone(), 14), world.tail] {
        let mut steps = Vec::new();
        loop {
            match tail.step(64, world.now).unwrap() {
                TailStep::Nothing => break,
                TailStep::Reopened => {}
                step => steps.push(step),
            }
        }
        let blank = TailStep::Skipped {
            offset: 14,
            length: 1,
            head: "\\n".into(),
        };
        assert_eq!(steps, [blank, lines(15, "{\"seq\":2}\n")]);
    }
}

#[test]
fn a_file_that_was_replaced_is_told_and_read_from_its_start() {
    let mut world = World::new();
    world.write(b"{\"seq\":1}\n{\"seq\":2}\n");
    assert_eq!(world.step(), lines(0, "{\"seq\":1}\n{\"seq\":2}\n"));
    fs::write(
        world.mailbox.outbox(&world.place),
        "{\"another\":\"file, longer than the first\"}\n",
    )
    .unwrap();
    assert_eq!(world.step(), TailStep::Nothing, "not believed at once");
    world.now += Duration::from_secs(60);
    assert_eq!(world.step(), TailStep::Shrunk { offset: 0, was: 20 });
    assert!(matches!(world.step(), TailStep::Lines { offset: 0, .. }));
}

#[test]
fn an_inbox_is_followed_under_its_one_name() {
    let mut world = World::new();
    let mut tail = Tail::inbox(&world.mailbox, world.place.clone(), 0);
    assert_eq!(tail.step(64, world.now).unwrap(), TailStep::Nothing);
    append_line(&world.mailbox.inbox(&world.place), "{\"type\":\"shutdown\"}");
    assert_eq!(tail.step(64, world.now).unwrap(), lines(0, "{\"type\":\"shutdown\"}\n"));
    assert_eq!(world.step(), TailStep::Nothing);
}

#[test]
fn many_tails_take_turns_with_few_descriptors() {
    let world = World::new();
    let text: String = (0..100).map(|number| format!("{{\"seq\":{number}}}\n")).collect();
    world.write(text.as_bytes());
    let mut tails: Vec<Tail> = (0..50)
        .map(|_| Tail::outbox(&world.mailbox, world.place.clone(), 0))
        .collect();
    let mut read = vec![String::new(); tails.len()];
    let mut steps = 0;
    loop {
        for (tail, read) in tails.iter_mut().zip(&mut read) {
            let TailStep::Lines { data, .. } = tail.step(64, world.now).unwrap() else {
                panic!("a step was said to bring something");
            };
            read.push_str(std::str::from_utf8(&data).unwrap());
            steps += 1;
            tail.put_down();
        }
        if !tails.iter().any(Tail::has_more) {
            break;
        }
    }
    assert!(steps > 50 * 10);
    assert!(read.iter().all(|read| *read == text));
}

/// The real disk, but for files that cannot be opened to be read: so many.
#[derive(Debug)]
struct Unreadable(AtomicU32);

impl Storage for Unreadable {
    fn open_to_read(&self, path: &Path) -> Result<Box<dyn ReadFile>, MailboxError> {
        let one_less = |left: u32| left.checked_sub(1);
        match self.0.fetch_update(Ordering::SeqCst, Ordering::SeqCst, one_less) {
            Ok(_) => Err(MailboxError::io("open", path)(Errno::IO.into())),
            Err(_) => Disk.open_to_read(path),
        }
    }

    fn size(&self, path: &Path, fresh: bool) -> io::Result<Option<u64>> {
        Disk.size(path, fresh)
    }

    fn open_to_append(&self, path: &Path, kind: FilesystemKind) -> Result<Box<dyn RawFile>, AppendError> {
        Disk.open_to_append(path, kind)
    }

    fn make_file(&self, path: &Path, access: Access) -> Result<(), MailboxError> {
        Disk.make_file(path, access)
    }

    fn make_folder(&self, path: &Path, access: Access) -> Result<bool, MailboxError> {
        Disk.make_folder(path, access)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        Disk.rename(from, to)
    }

    fn is_same_file(&self, one: &Path, other: &Path) -> io::Result<bool> {
        Disk.is_same_file(one, other)
    }

    fn names(&self, folder: &Path) -> io::Result<Vec<OsString>> {
        Disk.names(folder)
    }

    fn sync_folder(&self, folder: &Path) -> Result<(), MailboxError> {
        Disk.sync_folder(folder)
    }
}

#[test]
fn p9_the_torn_end_of_an_archived_outbox_that_cannot_be_read_now_is_told_when_it_can() {
    let mut world = World::new();
    world.write(b"{\"seq\":1}\n{\"seq\":");
    world.archive();
    let storage = Arc::new(Unreadable(AtomicU32::new(0)));
    let mailbox = world.mailbox.clone().stored_on(storage.clone());
    world.tail = Tail::outbox(&mailbox, world.place.clone(), 0);
    assert_eq!(world.step(), lines(0, "{\"seq\":1}\n"));
    assert_eq!(world.step(), TailStep::Nothing, "somebody may end it");
    world.now += Duration::from_secs(3600);
    storage.0.store(1, Ordering::SeqCst);
    let later = world.tail.step(64, world.now);
    assert!(matches!(later, Err(TailError::Later { offset: 10, .. })), "{later:?}");
    assert!(matches!(
        world.step(),
        TailStep::Skipped {
            offset: 10,
            length: 7,
            ..
        }
    ));
    assert_eq!(world.step(), TailStep::Ended { offset: 17 });
}
