//! Many records, few writes; and what happens to them while the disk is full.

use std::time::Duration;

use bytes::Bytes;
use rustix::io::Errno;

use super::fake_file::{FakeFile, Write};
use crate::group_commit::{GroupCommit, Retry};
use crate::{Durability, LineFile};

const MIB: usize = 1 << 20;
const QUICK: Retry = Retry {
    first: Duration::from_millis(1),
    longest: Duration::from_millis(4),
    stalled_after: Duration::from_secs(600),
};

fn spawn(file: &FakeFile, limit: usize) -> GroupCommit {
    let lines = LineFile::over(Box::new(file.clone()), "outbox/27_01.jsonl", Durability::Synced).unwrap();
    GroupCommit::spawn_with(lines, limit, QUICK).unwrap()
}

fn line(number: usize) -> Bytes {
    format!("{{\"seq\":{number}}}\n").into()
}

fn all(numbers: std::ops::Range<usize>) -> String {
    numbers
        .map(|number| String::from_utf8(line(number).to_vec()).unwrap())
        .collect()
}

#[tokio::test]
async fn records_pushed_during_a_write_go_in_the_next_one_together_and_in_order() {
    let file = FakeFile::default();
    file.hold(true);
    let commit = spawn(&file, MIB);
    commit.push(line(0)).await.unwrap();
    file.until_a_write_waits();
    for number in 1..1000 {
        commit.push(line(number)).await.unwrap();
    }
    file.hold(false);
    commit.flush().await.unwrap();
    assert_eq!(file.text(), all(0..1000));
    assert_eq!(file.written().len(), 2, "one record, then all that had waited");
    assert_eq!(file.disk().sync_count, 2);
    assert_eq!(file.synced(), file.text().len(), "a flush says durable");
    assert_eq!(commit.queued_bytes(), 0);
}

#[tokio::test]
async fn a_full_queue_makes_the_pusher_wait_and_nothing_else() {
    let file = FakeFile::default();
    file.hold(true);
    let commit = spawn(&file, 25);
    commit.push(line(0)).await.unwrap();
    file.until_a_write_waits();
    commit.push(line(1)).await.unwrap();
    let third = commit.push(line(2));
    tokio::pin!(third);
    assert!(
        is_pending(third.as_mut()).await,
        "20 of 25 bytes are queued or being written"
    );
    file.hold(false);
    third.await.unwrap();
    commit.flush().await.unwrap();
    assert_eq!(file.text(), all(0..3));
    // A line longer than the whole queue goes through alone.
    let long = Bytes::from([vec![b'x'; 100], b"\n".to_vec()].concat());
    commit.push(long.clone()).await.unwrap();
    commit.flush().await.unwrap();
    assert!(file.disk().bytes.ends_with(&long));
}

/// Whether a future is still pending after everything else that is ready has run.
async fn is_pending(future: impl Future + Unpin) -> bool {
    tokio::select! {
        biased;
        _ = future => false,
        () = tokio::task::yield_now() => true,
    }
}

#[tokio::test]
async fn p9_trouble_is_told_and_waited_out_and_no_record_is_dropped() {
    let file = FakeFile::default();
    let commit = spawn(&file, MIB);
    let mut troubles = commit.troubles();
    commit.push(line(0)).await.unwrap();
    commit.flush().await.unwrap();
    file.next_writes([Write::Short(3)]);
    file.disk().failing = Some(Errno::NOSPC);
    for number in 1..50 {
        commit.push(line(number)).await.unwrap();
    }
    let told = troubles.wait_for(Option::is_some).await.unwrap().clone().unwrap();
    assert!(
        told.retried && told.error.contains("no space") && told.error.contains("27_01.jsonl"),
        "{told:?}"
    );
    file.disk().failing = None;
    commit.flush().await.unwrap();
    troubles.wait_for(Option::is_none).await.unwrap();
    assert_eq!(file.text(), all(0..50));
}

#[tokio::test]
async fn trouble_that_cannot_pass_ends_the_writing_and_everyone_hears_it() {
    let file = FakeFile::default();
    file.next_writes([Write::FailsAfter(2, Errno::IO)]);
    file.hold(true);
    let commit = spawn(&file, MIB);
    commit.push(line(0)).await.unwrap();
    file.until_a_write_waits();
    file.disk().bytes = b"a stranger's much longer line\n".to_vec();
    file.hold(false);
    let error = commit.flush().await.unwrap_err();
    assert!(error.to_string().contains("changed by somebody else"), "{error}");
    assert!(!commit.troubles().borrow().as_ref().unwrap().retried);
    assert!(commit.push(line(1)).await.is_err());
    assert!(commit.close().await.is_err());
}

#[tokio::test]
async fn a_writer_that_dies_of_a_fault_is_heard_of_by_everyone() {
    let file = FakeFile::default();
    file.next_writes([Write::Panics]);
    let commit = spawn(&file, MIB);
    commit.push(line(0)).await.unwrap();
    let error = commit.flush().await.unwrap_err();
    assert!(error.to_string().contains("closed"), "{error}");
    let error = commit.push(line(1)).await.unwrap_err();
    assert!(error.to_string().contains("closed"), "{error}");
    assert!(commit.close().await.is_err());
}

#[tokio::test]
async fn closing_gives_the_file_back_with_everything_in_it() {
    let file = FakeFile::default();
    let commit = spawn(&file, MIB);
    for number in 0..10 {
        commit.push(line(number)).await.unwrap();
    }
    let mut lines = commit.close().await.unwrap();
    assert_eq!(file.text(), all(0..10));
    lines.append(&line(10)).unwrap();
    assert_eq!(file.text(), all(0..11));
}

#[tokio::test]
async fn a_dropped_handle_still_writes_what_it_can() {
    let file = FakeFile::default();
    file.hold(true);
    let commit = spawn(&file, MIB);
    for number in 0..10 {
        commit.push(line(number)).await.unwrap();
    }
    drop(commit);
    file.hold(false);
    let deadline = std::time::Instant::now() + Duration::from_secs(20);
    while file.synced() < all(0..10).len() {
        assert!(std::time::Instant::now() < deadline, "the queue was not written");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(file.text(), all(0..10));
}

#[tokio::test]
async fn p9_a_write_that_hangs_is_told_as_a_stalled_filesystem() {
    let file = FakeFile::default();
    file.hold(true);
    let lines = LineFile::over(Box::new(file.clone()), "outbox/27_01.jsonl", Durability::Synced).unwrap();
    let impatient = Retry {
        stalled_after: Duration::from_millis(1),
        ..QUICK
    };
    let commit = GroupCommit::spawn_with(lines, MIB, impatient).unwrap();
    commit.push(line(0)).await.unwrap();
    file.until_a_write_waits();
    let mut troubles = commit.troubles();
    let told = troubles.wait_for(Option::is_some).await.unwrap().clone().unwrap();
    assert!(told.error.contains("does not answer"), "{told:?}");
    file.hold(false);
    commit.flush().await.unwrap();
    troubles.wait_for(Option::is_none).await.unwrap();
}
