//! What a filesystem can answer instead of a mailbox: each is told as what it is, and nothing is made of it.

use std::fs;
use std::os::unix::fs::symlink;
use std::time::Instant;

use codeswarm_protocol::ids::MAX_NODE;
use codeswarm_protocol::{JobId, Place, SwarmId};

use crate::{FilesystemKind, Mailbox, MailboxError, Tail, TailError, TailStep, heartbeat, launch, recover};

fn prepared() -> (tempfile::TempDir, Mailbox, Place) {
    let folder = tempfile::tempdir().unwrap();
    let mailbox = Mailbox::at(folder.path().join("root"));
    mailbox.create().unwrap();
    let place = Place::from_stem("27_03").unwrap();
    mailbox.prepare(&place.job_id, 4).unwrap();
    (folder, mailbox, place)
}

#[test]
fn a_file_in_the_place_of_a_folder_is_told_as_that() {
    let folder = tempfile::tempdir().unwrap();
    let mailbox = Mailbox::at(folder.path().join("root"));
    fs::create_dir_all(mailbox.folder()).unwrap();
    for path in [mailbox.root().to_owned(), mailbox.folder()] {
        use std::os::unix::fs::PermissionsExt;
        fs::set_permissions(path, fs::Permissions::from_mode(0o700)).unwrap();
    }
    fs::write(mailbox.inbox_folder(), "").unwrap();
    let error = mailbox.create().unwrap_err();
    assert!(error.to_string().contains("it is not a folder"), "{error}");
    let below = mailbox.make_folder(&mailbox.inbox_folder().join("below")).unwrap_err();
    assert!(matches!(below, MailboxError::Io { doing: "create", .. }), "{below}");
}

#[test]
fn a_folder_of_another_user_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let root = if rustix::process::geteuid().is_root() {
        std::os::unix::fs::chown(folder.path(), Some(1), None).unwrap();
        folder.path()
    } else {
        std::path::Path::new("/usr")
    };
    let error = Mailbox::at(root).make_folder(root).unwrap_err();
    assert!(error.to_string().contains("belongs to user"), "{error}");
}

#[test]
fn p12_a_job_of_more_nodes_than_there_can_be_is_refused_before_any_file_is_made() {
    let (_folder, mailbox, _) = prepared();
    let job = JobId::new("28").unwrap();
    for count in [MAX_NODE + 2, u32::MAX] {
        let error = mailbox.prepare(&job, count).unwrap_err();
        assert!(error.to_string().contains(&(count - 1).to_string()), "{error}");
    }
    assert_eq!(fs::read_dir(mailbox.inbox_folder()).unwrap().count(), 4);
}

#[test]
fn an_outbox_that_became_a_link_is_refused_by_whoever_reads_it() {
    let (folder, mailbox, place) = prepared();
    let elsewhere = folder.path().join("elsewhere");
    fs::write(&elsewhere, "{}\n{}\n").unwrap();
    fs::remove_file(mailbox.outbox(&place)).unwrap();
    symlink(&elsewhere, mailbox.outbox(&place)).unwrap();
    let mut tail = Tail::outbox(&mailbox, place.clone(), 0);
    assert_eq!(tail.place(), &place);
    let error = tail.step(1000, Instant::now()).unwrap_err();
    assert!(
        matches!(error, TailError::Refused(_)) && error.to_string().contains("symbolic link"),
        "{error}"
    );
    let recovered: Vec<_> = recover::records(&mailbox, &place).take(2).collect();
    assert!(matches!(recovered[0], Err(TailError::Refused(_))), "{recovered:?}");
    fs::remove_file(mailbox.outbox(&place)).unwrap();
    fs::write(mailbox.outbox(&place), "{}\n").unwrap();
    let TailStep::Lines { offset: 0, data } = tail.step(1000, Instant::now()).unwrap() else {
        panic!("what was refused is read when it is put right")
    };
    assert_eq!(&data[..], b"{}\n");
}

#[test]
fn an_outbox_folder_that_is_away_is_tried_again() {
    let (folder, mailbox, place) = prepared();
    let mut tail = Tail::outbox(&mailbox, place.clone(), 0);
    assert_eq!(tail.step(1000, Instant::now()).unwrap(), TailStep::Nothing);
    let away = folder.path().join("away");
    fs::rename(mailbox.outbox_folder(), &away).unwrap();
    fs::write(mailbox.outbox_folder(), "").unwrap();
    let error = tail.step(1000, Instant::now()).unwrap_err();
    assert!(matches!(error, TailError::Later { .. }), "{error}");
    fs::remove_file(mailbox.outbox_folder()).unwrap();
    fs::rename(&away, mailbox.outbox_folder()).unwrap();
    fs::write(mailbox.outbox(&place), "{}\n").unwrap();
    assert!(matches!(tail.step(1000, Instant::now()), Ok(TailStep::Lines { .. })));
}

#[test]
fn an_inbox_that_is_not_there_is_told_as_missing_and_found_when_it_is() {
    let (_folder, mailbox, place) = prepared();
    fs::remove_file(mailbox.inbox(&place)).unwrap();
    let mut tail = Tail::inbox(&mailbox, place.clone(), 0);
    assert_eq!(tail.step(1000, Instant::now()).unwrap(), TailStep::Missing);
    fs::write(mailbox.inbox(&place), "{}\n").unwrap();
    assert!(matches!(tail.step(1000, Instant::now()), Ok(TailStep::Lines { .. })));
}

#[test]
fn a_heartbeat_of_a_shared_filesystem_is_read_back_and_one_that_is_a_link_is_not() {
    let (folder, mailbox, place) = prepared();
    let mailbox = mailbox.on(FilesystemKind::Network("nfs"));
    heartbeat::write(&mailbox, &place, b"{\"seq\":1}").unwrap();
    assert_eq!(heartbeat::read(&mailbox, &place).unwrap().unwrap(), b"{\"seq\":1}");
    let path = mailbox.heartbeat(&place);
    let elsewhere = folder.path().join("elsewhere");
    fs::rename(&path, &elsewhere).unwrap();
    symlink(&elsewhere, &path).unwrap();
    for error in [
        heartbeat::read(&mailbox, &place).map(drop).unwrap_err(),
        heartbeat::write(&mailbox, &place, b"{}").unwrap_err(),
    ] {
        assert!(error.to_string().contains("symbolic link"), "{error}");
    }
}

#[test]
fn a_launch_file_whose_way_is_blocked_leaves_the_old_one() {
    let (_folder, mailbox, _) = prepared();
    let swarm = SwarmId::new("s-1").unwrap();
    launch::write(&mailbox, &swarm, b"one").unwrap();
    fs::create_dir(mailbox.launch_folder().join("s-1.new")).unwrap();
    let error = launch::write(&mailbox, &swarm, b"two").unwrap_err();
    assert!(matches!(error, MailboxError::Io { doing: "remove", .. }), "{error}");
    assert_eq!(fs::read(mailbox.swarm_launch_file(&swarm)).unwrap(), b"one");
}

#[test]
fn a_size_is_found_by_opening_where_the_kernel_has_no_better_way() {
    let (_folder, mailbox, place) = prepared();
    let outbox = mailbox.outbox(&place);
    fs::write(&outbox, "{}\n").unwrap();
    assert_eq!(crate::open::size_by_opening(&outbox).unwrap(), Some(3));
    fs::remove_file(&outbox).unwrap();
    assert_eq!(crate::open::size_by_opening(&outbox).unwrap(), None);
    symlink("elsewhere", &outbox).unwrap();
    assert!(crate::open::size_by_opening(&outbox).is_err());
}
