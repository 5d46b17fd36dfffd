//! Appending to disks that fill up, fail and recover.

use std::fs;

use proptest::prelude::*;
use rustix::io::Errno;

use super::fake_file::{FakeFile, Read, Sync, Write};
use crate::{AppendError, Durability, FilesystemKind, LineFile};

const A: &[u8] = b"{\"seq\":1}\n";
const B: &[u8] = b"{\"seq\":2}\n";
const BOTH: &str = "{\"seq\":1}\n{\"seq\":2}\n";

fn open(file: &FakeFile, durability: Durability) -> LineFile {
    LineFile::over(Box::new(file.clone()), "outbox/27_01.jsonl", durability).unwrap()
}

#[test]
fn a_torn_last_line_is_ended_before_the_first_record_of_a_new_writer() {
    let file = FakeFile::holding(b"{\"seq\":0}\n{\"se");
    let mut lines = open(&file, Durability::Cached);
    assert!(lines.is_behind());
    assert_eq!(file.text(), "{\"seq\":0}\n{\"se", "opening writes nothing");
    let written = lines.append(A).unwrap();
    assert_eq!((written.offset, written.end), (15, 25));
    assert_eq!(file.text(), "{\"seq\":0}\n{\"se\n{\"seq\":1}\n");
    lines.append(B).unwrap();
    assert_eq!(file.written(), [1, 10, 10], "one write a line");
}

#[test]
fn p5_a_torn_line_that_lacks_only_its_newline_never_becomes_a_record() {
    for torn in ["{\"seq\":1}", "{\"seq\":1,\"usage\":{}"] {
        let file = FakeFile::holding(torn.as_bytes());
        open(&file, Durability::Cached).append(A).unwrap();
        let text = file.text();
        let (first, second) = text.split_once('\n').unwrap();
        assert!(serde_json::from_str::<serde::de::IgnoredAny>(first).is_err(), "{first}");
        assert_eq!(second.as_bytes(), A);
    }
}

#[test]
fn p9_what_an_earlier_process_left_unsynced_is_synced_or_lost_before_it_is_counted() {
    let file = FakeFile::holding(A);
    file.disk().bytes.extend_from_slice(B);
    file.next_syncs([Sync::FailsCut(0, Errno::NOSPC)]);
    let opened =
        |file: &FakeFile| LineFile::opened(Box::new(file.clone()), "outbox/27_01.jsonl".into(), Durability::Synced);
    let error = opened(&file).unwrap_err();
    assert!(error.may_pass(), "{error}");
    assert_eq!(opened(&file).unwrap().end(), A.len() as u64);
    file.disk().bytes.extend_from_slice(B);
    assert_eq!(opened(&file).unwrap().end(), 2 * A.len() as u64);
    assert_eq!(file.synced(), 2 * A.len(), "what is counted is durable");
}

#[test]
fn a_line_is_one_write_and_only_synced_where_others_read_it() {
    let file = FakeFile::default();
    open(&file, Durability::Cached).append(A).unwrap();
    assert_eq!(file.written(), [10]);
    assert_eq!(file.disk().sync_count, 0);
    open(&file, Durability::Synced).append(B).unwrap();
    assert_eq!(file.written(), [10, 10]);
    assert_eq!(file.disk().sync_count, 1);
    assert_eq!(file.synced(), 20);
}

#[test]
fn p9_a_full_disk_takes_nothing_and_says_so() {
    let file = FakeFile::default();
    let mut lines = open(&file, Durability::Cached);
    file.next_writes([Write::Fails(Errno::NOSPC)]);
    let error = lines.append(A).unwrap_err();
    assert!(matches!(error, AppendError::NoSpace { taken: false, .. }));
    assert!(error.may_pass() && !error.taken());
    assert!(
        error.to_string().contains("outbox/27_01.jsonl") && error.to_string().contains("byte 0"),
        "{error}"
    );
    assert_eq!(file.text(), "");
    lines.append(B).unwrap();
    assert_eq!(
        file.text(),
        "{\"seq\":2}\n",
        "a line that was not taken does not come later"
    );
}

#[test]
fn p9_a_short_write_is_continued_when_there_is_space_again() {
    let file = FakeFile::default();
    let mut lines = open(&file, Durability::Cached);
    file.next_writes([Write::Short(4), Write::Fails(Errno::NOSPC)]);
    let error = lines.append(A).unwrap_err();
    assert!(error.taken() && error.may_pass() && lines.is_behind(), "{error}");
    assert_eq!(file.text(), "{\"se");
    file.next_writes([Write::Short(2), Write::Fails(Errno::DQUOT)]);
    assert!(lines.resume().unwrap_err().taken());
    // The next lines stay untouched as long as the earlier ones are not through.
    file.next_writes([Write::Fails(Errno::NOSPC)]);
    let error = lines.append(B).unwrap_err();
    assert!(!error.taken() && matches!(error, AppendError::NoSpace { .. }));
    assert_eq!(file.text(), "{\"seq\"");
    let written = lines.append(B).unwrap();
    assert_eq!((written.offset, written.end), (10, 20));
    assert_eq!(file.text(), BOTH);
}

#[test]
fn p9_a_sync_that_fails_is_repaired_by_comparing_and_writing_again() {
    for failure in [
        Sync::FailsWithGap(3, Errno::IO),
        Sync::FailsCut(3, Errno::IO),
        Sync::FailsCut(0, Errno::NOSPC),
    ] {
        let file = FakeFile::default();
        let mut lines = open(&file, Durability::Synced);
        lines.append(A).unwrap();
        file.next_syncs([failure]);
        let written = lines.append(B).unwrap();
        assert_eq!((written.offset, written.end), (10, 20));
        assert_eq!(file.text(), BOTH, "{failure:?}");
        assert_eq!(file.synced(), 20);
        assert_eq!(file.disk().reopened, 1);
    }
}

#[test]
fn p9_a_sync_that_goes_on_failing_may_have_happened_and_is_settled_later() {
    let file = FakeFile::default();
    let mut lines = open(&file, Durability::Synced);
    file.next_syncs([Sync::FailsCut(10, Errno::IO), Sync::FailsWithGap(5, Errno::IO)]);
    let error = lines.append(A).unwrap_err();
    assert!(matches!(error, AppendError::MayHaveHappened { .. }) && error.taken());
    assert!(error.to_string().contains("may be there"), "{error}");
    lines.append(B).unwrap();
    assert_eq!(file.text(), BOTH);
    assert_eq!(file.synced(), 20);
}

#[test]
fn p2_a_write_whose_outcome_is_unknown_is_looked_up_and_never_doubled() {
    for already in [0, 4, 10] {
        for durability in [Durability::Cached, Durability::Synced] {
            let file = FakeFile::default();
            let mut lines = open(&file, durability);
            file.next_writes([Write::FailsAfter(already, Errno::IO)]);
            let error = lines.append(A).unwrap_err();
            assert!(matches!(error, AppendError::MayHaveHappened { .. }), "{error}");
            lines.append(B).unwrap();
            assert_eq!(file.text(), BOTH, "{already} bytes had been written");
        }
    }
}

#[test]
fn bytes_of_another_writer_end_the_writing() {
    let file = FakeFile::default();
    let mut lines = open(&file, Durability::Cached);
    file.next_writes([Write::FailsAfter(4, Errno::IO)]);
    lines.append(A).unwrap_err();
    file.disk().bytes[2] = b'X';
    let error = lines.resume().unwrap_err();
    assert!(
        matches!(error, AppendError::Changed { offset: 2, .. }) && !error.may_pass(),
        "{error}"
    );
    file.disk().bytes = b"a stranger's much longer line\n".to_vec();
    assert!(matches!(lines.resume(), Err(AppendError::Changed { .. })));
    let error = lines.append(B).unwrap_err();
    assert!(
        matches!(error, AppendError::Changed { .. }) && !error.taken(),
        "{error}"
    );
}

#[test]
fn a_file_that_was_cut_back_ends_the_writing() {
    let file = FakeFile::default();
    let mut lines = open(&file, Durability::Cached);
    lines.append(A).unwrap();
    file.next_writes([Write::FailsAfter(4, Errno::IO)]);
    lines.append(B).unwrap_err();
    file.disk().bytes.truncate(7);
    let error = lines.resume().unwrap_err();
    assert!(matches!(error, AppendError::Changed { offset: 7, .. }), "{error}");
    assert!(error.to_string().contains("shorter"), "{error}");
    assert!(lines.is_behind() && format!("{lines:?}").contains("27_01.jsonl"));
}

#[test]
fn p2_a_look_that_fails_leaves_the_outcome_open_and_the_next_one_settles_it() {
    let file = FakeFile::default();
    let mut lines = open(&file, Durability::Cached);
    file.next_writes([Write::FailsAfter(10, Errno::IO)]);
    lines.append(A).unwrap_err();
    file.disk().reads.push_back(Read::Fails(Errno::IO));
    let error = lines.resume().unwrap_err();
    assert!(
        matches!(error, AppendError::MayHaveHappened { doing: "read", .. }),
        "{error}"
    );
    // A signal that came between is nothing, and neither is a page that has not come yet: what is missing is written again.
    file.disk().reads.extend([Read::Fails(Errno::INTR), Read::FindsNothing]);
    lines.append(B).unwrap();
    assert_eq!(file.text(), BOTH);
}

#[test]
fn p9_a_disk_that_takes_nothing_and_says_nothing_is_trouble_that_may_pass() {
    let file = FakeFile::default();
    let mut lines = open(&file, Durability::Cached);
    file.next_writes([Write::Short(0)]);
    let error = lines.append(A).unwrap_err();
    assert!(error.may_pass() && error.taken(), "{error}");
    lines.append(B).unwrap();
    assert_eq!(file.text(), BOTH);
}

#[test]
fn p9_a_sync_that_was_asked_for_and_fails_is_told() {
    let file = FakeFile::default();
    let mut lines = open(&file, Durability::Cached);
    lines.append(A).unwrap();
    file.next_syncs([Sync::FailsCut(10, Errno::IO)]);
    let error = lines.sync().unwrap_err();
    assert!(
        matches!(error, AppendError::Io { doing: "sync", .. }) && error.may_pass() && !error.taken(),
        "{error}"
    );
}

#[test]
fn a_file_that_cannot_be_opened_may_be_there_later_unless_it_was_refused() {
    let folder = tempfile::tempdir().unwrap();
    let missing = LineFile::open(folder.path().join("no/27_01.jsonl"), Durability::Cached).unwrap_err();
    assert!(matches!(missing, AppendError::Open(_)) && missing.may_pass() && !missing.taken());
    let link = folder.path().join("27_01.jsonl");
    std::os::unix::fs::symlink("elsewhere", &link).unwrap();
    let refused = LineFile::open(&link, Durability::Cached).unwrap_err();
    assert!(
        matches!(refused, AppendError::Open(_)) && !refused.may_pass(),
        "{refused}"
    );
}

#[test]
fn only_what_other_machines_read_is_synced_line_by_line() {
    assert_eq!(Durability::on(FilesystemKind::Local), Durability::Cached);
    assert_eq!(Durability::on(FilesystemKind::Network("nfs")), Durability::Synced);
}

#[test]
fn what_is_no_whole_line_is_not_appended() {
    let file = FakeFile::default();
    let mut lines = open(&file, Durability::Cached);
    let error = lines.append(b"{\"seq\":1}").unwrap_err();
    assert!(matches!(error, AppendError::NotLines { .. }) && !error.may_pass() && !error.taken());
    assert_eq!(lines.append(b"").unwrap().end, 0);
    assert_eq!(file.text(), "");
}

#[test]
fn a_read_only_filesystem_is_told_apart() {
    let file = FakeFile::default();
    let mut lines = open(&file, Durability::Cached);
    file.next_writes([Write::Fails(Errno::ROFS)]);
    let error = lines.append(A).unwrap_err();
    assert!(matches!(error, AppendError::ReadOnly { taken: false, .. }) && error.may_pass());
    assert!(error.to_string().contains("read-only"), "{error}");
}

#[derive(Debug, Clone, Copy)]
enum Trouble {
    Write(Write),
    Sync(Sync),
}

fn trouble() -> impl Strategy<Value = Trouble> {
    let errno = prop_oneof![
        Just(Errno::NOSPC),
        Just(Errno::DQUOT),
        Just(Errno::IO),
        Just(Errno::ROFS),
        Just(Errno::INTR)
    ];
    let failed_sync = prop_oneof![Just(Errno::NOSPC), Just(Errno::IO)];
    prop_oneof![
        Just(Trouble::Write(Write::Whole)),
        (1usize..30).prop_map(|most| Trouble::Write(Write::Short(most))),
        errno.prop_map(|error| Trouble::Write(Write::Fails(error))),
        (0usize..30).prop_map(|taken| Trouble::Write(Write::FailsAfter(taken, Errno::IO))),
        Just(Trouble::Sync(Sync::Done)),
        (0usize..3, failed_sync.clone()).prop_map(|(from, error)| Trouble::Sync(Sync::FailsWithGap(from, error))),
        (0usize..3, failed_sync).prop_map(|(from, error)| Trouble::Sync(Sync::FailsCut(from, error))),
    ]
}

proptest! {
    /// Whatever the disk does: a line that was taken is in the file once, one that was not is not, none is torn, and
    /// what was confirmed on a shared filesystem is on the disk.
    #[test]
    fn p9_no_disk_trouble_tears_doubles_or_loses_a_line(
        troubles in prop::collection::vec(trouble(), 0..40),
        synced in any::<bool>(),
        lines in 1usize..20,
    ) {
        let file = FakeFile::default();
        let mut writer = open(&file, if synced { Durability::Synced } else { Durability::Cached });
        for trouble in troubles {
            match trouble {
                Trouble::Write(write) => file.next_writes([write]),
                Trouble::Sync(sync) => file.next_syncs([sync]),
            }
        }
        let mut expected = Vec::new();
        for number in 0..lines {
            let line = format!("{{\"seq\":{number}}}\n");
            match writer.append(line.as_bytes()) {
                Ok(written) => {
                    prop_assert_eq!(written.offset, expected.len() as u64);
                    expected.extend_from_slice(line.as_bytes());
                    prop_assert_eq!(written.end, expected.len() as u64);
                    prop_assert!(!synced || file.synced() == expected.len());
                }
                Err(error) if error.taken() => expected.extend_from_slice(line.as_bytes()),
                Err(error) => prop_assert!(error.may_pass()),
            }
        }
        file.disk().writes.clear();
        file.disk().syncs.clear();
        writer.resume().unwrap();
        prop_assert_eq!(&file.disk().bytes, &expected);
    }
}

#[test]
fn a_second_writer_is_refused_and_told_who_holds_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("27_01.jsonl");
    let first = LineFile::open(&path, Durability::Cached).unwrap();
    let error = LineFile::open(&path, Durability::Cached).unwrap_err();
    let AppendError::Held { by, .. } = &error else {
        panic!("{error}")
    };
    assert!(!error.may_pass() && !error.taken());
    if cfg!(target_os = "linux") {
        assert!(by.contains(&std::process::id().to_string()), "{by}");
    }
    drop(first);
    LineFile::open(&path, Durability::Cached).unwrap();
}

#[test]
fn on_a_real_disk_lines_stand_as_they_were_appended() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("27_01.jsonl");
    let mut lines = LineFile::open(&path, Durability::Synced).unwrap();
    lines.append(A).unwrap();
    drop(lines);
    let mut lines = LineFile::open(&path, Durability::Cached).unwrap();
    assert_eq!(lines.end(), 10);
    lines.append(B).unwrap();
    lines.sync().unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap(), BOTH);
    use std::os::unix::fs::PermissionsExt;
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn a_repair_writes_over_the_real_file_in_place() {
    use crate::open::{self, How};
    use crate::raw_file::{DiskFile, RawFile};
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("27_01.jsonl");
    fs::write(&path, "{\"se\0\0\0\0\0").unwrap();
    for network in [false, true] {
        let file = open::open(&path, How::Append(0o600)).unwrap();
        let mut file = DiskFile::new(path.clone(), file, network);
        file.reopen().unwrap();
        file.rewrite(A, 0).unwrap();
        assert_eq!(file.append(B).unwrap(), 10, "still at the end");
        assert!(fs::read_to_string(&path).unwrap().starts_with(BOTH));
    }
    let mut moved = DiskFile::new(path.clone(), open::open(&path, How::Append(0o600)).unwrap(), true);
    fs::rename(&path, folder.path().join("elsewhere")).unwrap();
    let gone = moved.reopen().unwrap_err();
    assert_eq!(gone.kind(), std::io::ErrorKind::NotFound);
    std::os::unix::fs::symlink("elsewhere", &path).unwrap();
    assert!(moved.reopen().unwrap_err().to_string().contains("symbolic link"));
    fs::remove_file(&path).unwrap();
    fs::write(&path, "").unwrap();
    assert!(moved.reopen().is_err(), "another file under the same name is not ours");
}
