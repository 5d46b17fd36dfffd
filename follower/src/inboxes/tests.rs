use std::fs;
use std::os::unix::fs::symlink;
use std::sync::Arc;

use codeswarm_mailbox::FilesystemKind;

use super::*;
use crate::tests::Faults;

fn prepared() -> (tempfile::TempDir, Mailbox) {
    let folder = tempfile::tempdir().unwrap();
    let mailbox = Mailbox::at(folder.path().join("root"));
    mailbox.create().unwrap();
    mailbox.prepare(&"7".parse().unwrap(), 3).unwrap();
    (folder, mailbox)
}

fn line(rank: u32, injection: &str, again: bool) -> Line {
    let id = InjectionId::new(injection).unwrap();
    Line {
        ticket: Ticket(1),
        place: Place::from_stem(&format!("7_{rank}")).unwrap(),
        bytes: format!("{{\"type\":\"user\",\"injection_id\":\"{id}\",\"content\":\"x\"}}\n").into(),
        unless_present: again.then_some(id),
    }
}

fn is_told_as(answer: &Upward, wanted: bool) -> bool {
    matches!(answer, Upward::AppendFailed { may_have_happened, .. } if *may_have_happened == wanted)
}

#[tokio::test]
async fn p2_p3_a_line_for_a_mailbox_that_was_lost_is_not_written_and_an_earlier_append_stays_open() {
    let (_folder, mailbox) = prepared();
    let holding = Holding::begin(true, Instant::now());
    holding.is_lost();
    let (events, mut answers) = mpsc::channel(4);
    let inboxes = Inboxes::start(&mailbox, &holding, 8, &Stalls::default(), &Doorbell::default(), &events).unwrap();
    for again in [false, true] {
        assert!(inboxes.append(line(0, "i1", again)).await);
        let answer = answers.recv().await.unwrap();
        assert!(is_told_as(&answer, again), "{answer:?}");
    }
    tokio::task::spawn_blocking(|| inboxes.finish()).await.unwrap();
    let inbox = mailbox.inbox(&Place::from_stem("7_0").unwrap());
    assert_eq!(fs::read(inbox).unwrap(), b"");
}

#[test]
fn p2_an_inbox_that_cannot_be_opened_leaves_only_a_repeated_append_open() {
    let (folder, mailbox) = prepared();
    let inbox = mailbox.inbox(&line(0, "i1", false).place);
    fs::remove_file(&inbox).unwrap();
    symlink(folder.path().join("elsewhere"), &inbox).unwrap();
    let mut open = OpenInboxes::new(mailbox, 2);
    assert!(is_told_as(&open.append(&line(0, "i1", false)), false));
    assert!(is_told_as(&open.append(&line(0, "i1", true)), true));
    assert!(!folder.path().join("elsewhere").exists());
}

#[test]
fn p2_an_inbox_that_cannot_be_searched_leaves_the_outcome_open() {
    let (folder, mailbox) = prepared();
    let inbox = mailbox.inbox(&line(0, "i1", false).place);
    let mut open = OpenInboxes::new(mailbox, 2);
    assert!(matches!(
        open.append(&line(0, "i1", false)),
        Upward::Appended { already: false, .. }
    ));
    fs::rename(&inbox, folder.path().join("elsewhere")).unwrap();
    symlink(folder.path().join("elsewhere"), &inbox).unwrap();
    assert!(is_told_as(&open.append(&line(0, "i1", true)), true));
    fs::remove_file(&inbox).unwrap();
    fs::rename(folder.path().join("elsewhere"), &inbox).unwrap();
    let found = open.append(&line(0, "i1", true));
    assert!(
        matches!(
            found,
            Upward::Appended {
                already: true,
                offset: 0,
                ..
            }
        ),
        "{found:?}"
    );
    assert_eq!(fs::read_to_string(&inbox).unwrap().lines().count(), 1);
}

#[test]
fn p2_on_a_shared_filesystem_what_is_found_is_made_durable_before_it_is_told() {
    let (_folder, mailbox) = prepared();
    let faults = Faults::default();
    let mailbox = mailbox
        .on(FilesystemKind::Network("nfs"))
        .stored_on(Arc::new(faults.clone()));
    let mut open = OpenInboxes::new(mailbox, 2);
    open.append(&line(1, "i1", false));
    faults.next_syncs(1);
    let unknown = open.append(&line(1, "i1", true));
    assert!(is_told_as(&unknown, true), "{unknown:?}");
    let found = open.append(&line(1, "i1", true));
    assert!(matches!(found, Upward::Appended { already: true, .. }), "{found:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_quiet_while_inboxes_are_closed_and_the_next_line_is_taken_all_the_same() {
    let (_folder, mailbox) = prepared();
    let mut open = OpenInboxes::new(mailbox.clone(), 2);
    open.append(&line(0, "i1", false));
    let (queue, mut lines) = mpsc::channel(1);
    let runtime = Handle::current();
    let writer = std::thread::spawn(move || {
        let taken = next(&mut lines, &mut open, &runtime, Duration::from_millis(1));
        (taken, open)
    });
    // An open inbox is locked: another process gets it when it has been closed.
    let inbox = mailbox.inbox(&line(0, "i1", false).place);
    let deadline = Instant::now() + Duration::from_secs(30);
    while LineFile::open(&inbox, Durability::Cached).is_err() {
        assert!(Instant::now() < deadline, "it was not closed");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    queue.send(line(1, "i2", false)).await.unwrap();
    let (taken, mut open) = tokio::task::spawn_blocking(|| writer.join()).await.unwrap().unwrap();
    assert!(open.is_empty());
    let appended = open.append(&taken.unwrap());
    assert!(
        matches!(appended, Upward::Appended { already: false, .. }),
        "{appended:?}"
    );
}

#[test]
fn idle_inboxes_are_closed_and_no_more_are_open_than_may_be() {
    let (_folder, mailbox) = prepared();
    let mut open = OpenInboxes::new(mailbox, 2);
    for rank in 0..3 {
        open.append(&line(rank, "i1", false));
        assert!(open.files.len() <= 2);
    }
    open.close_all();
    assert!(open.is_empty());
    let again = open.append(&line(0, "i2", false));
    assert!(matches!(again, Upward::Appended { offset: 1.., .. }), "{again:?}");
}
