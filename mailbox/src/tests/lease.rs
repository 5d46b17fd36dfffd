//! One follower a mailbox, by lock and by asking.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::lease::Holder;
use crate::{FilesystemKind, Lease, LeaseError, Mailbox};

const QUICK: Duration = Duration::from_millis(60);

fn mailbox(kind: FilesystemKind) -> (tempfile::TempDir, Mailbox) {
    let folder = tempfile::tempdir().unwrap();
    let mailbox = Mailbox::at(folder.path().join("root")).on(kind);
    mailbox.create().unwrap();
    (folder, mailbox)
}

fn holder(host: &str, pid: u32) -> Holder {
    Holder {
        host: host.into(),
        pid,
        holder: "follower of a test".into(),
    }
}

fn ask(mailbox: &Mailbox, host: &str, pid: u32, within: Duration) -> Result<Lease, LeaseError> {
    Lease::take_by_asking(mailbox, holder(host, pid), within)
}

#[test]
fn a_second_follower_is_refused_and_told_who_holds_the_mailbox() {
    let (_folder, mailbox) = mailbox(FilesystemKind::Local);
    let mut first = Lease::take(&mailbox, "login1", 4711, "follower of a test").unwrap();
    let error = Lease::take(&mailbox, "login1", 4712, "another").unwrap_err();
    let LeaseError::Held { by, .. } = &error else {
        panic!("{error}")
    };
    assert_eq!(by, "follower of a test (process 4711 on login1)");
    first.attend().unwrap();
    drop(first);
    Lease::take(&mailbox, "login1", 4712, "another").unwrap();
}

#[test]
fn on_a_shared_filesystem_a_lease_given_back_is_free_at_once() {
    let (_folder, mailbox) = mailbox(FilesystemKind::Network("nfs"));
    let mut first = ask(&mailbox, "login1", 1, QUICK).unwrap();
    first.attend().unwrap();
    drop(first);
    // Far longer than any test may take: nobody is waited for.
    let asked = std::time::Instant::now();
    let second = ask(&mailbox, "login2", 2, Duration::from_secs(900)).unwrap();
    assert!(asked.elapsed() < Duration::from_secs(600));
    drop(second);
}

#[test]
fn a_holder_that_lives_answers_and_keeps_the_lease() {
    let (_folder, mailbox) = mailbox(FilesystemKind::Network("nfs"));
    let mut first = ask(&mailbox, "login1", 1, QUICK).unwrap();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Acquire) {
                first.attend().unwrap();
                std::thread::sleep(Duration::from_millis(5));
            }
        });
        let error = ask(&mailbox, "login2", 2, Duration::from_secs(60)).unwrap_err();
        done.store(true, Ordering::Release);
        assert!(error.to_string().contains("process 1 on login1"), "{error}");
    });
    first.attend().unwrap();
}

#[test]
fn a_silent_holder_loses_the_lease_and_hears_of_it() {
    let (_folder, mailbox) = mailbox(FilesystemKind::Network("nfs"));
    let mut frozen = ask(&mailbox, "login1", 1, QUICK).unwrap();
    let mut second = ask(&mailbox, "login2", 2, QUICK).unwrap();
    let error = frozen.attend().unwrap_err();
    assert!(
        matches!(error, LeaseError::Lost { .. }) && error.to_string().contains("login2"),
        "{error}"
    );
    drop(frozen);
    second.attend().unwrap();
}

#[test]
fn a_holder_whose_lease_was_removed_must_stop() {
    let (_folder, mailbox) = mailbox(FilesystemKind::Network("nfs"));
    let mut first = ask(&mailbox, "login1", 1, QUICK).unwrap();
    std::fs::remove_file(mailbox.folder().join("follower.lease")).unwrap();
    let error = first.attend().unwrap_err();
    assert!(
        matches!(error, LeaseError::Lost { .. }) && error.to_string().contains("removed the lease"),
        "{error}"
    );
    drop(first);
    assert_eq!(
        crate::lease::holder(&mailbox).unwrap(),
        None,
        "what was lost is not given back"
    );
}

#[test]
fn a_lease_file_that_says_nothing_still_is_held_by_its_lock() {
    let (_folder, mailbox) = mailbox(FilesystemKind::Local);
    let first = Lease::take(&mailbox, "login1", 4711, "follower of a test").unwrap();
    std::fs::write(mailbox.folder().join("follower.lease"), "").unwrap();
    let error = Lease::take(&mailbox, "login1", 4712, "another").unwrap_err();
    let LeaseError::Held { by, .. } = &error else {
        panic!("{error}")
    };
    if cfg!(target_os = "linux") {
        assert!(by.contains(&std::process::id().to_string()), "{by}");
    }
    drop(first);
}

#[test]
fn a_lease_that_leads_elsewhere_is_neither_taken_nor_believed() {
    for kind in [FilesystemKind::Local, FilesystemKind::Network("nfs")] {
        let (folder, mailbox) = mailbox(kind);
        let elsewhere = folder.path().join("elsewhere");
        std::fs::write(&elsewhere, "{}").unwrap();
        std::os::unix::fs::symlink(&elsewhere, mailbox.folder().join("follower.lease")).unwrap();
        for outcome in [
            crate::lease::holder(&mailbox).map(drop).map_err(LeaseError::from),
            Lease::take(&mailbox, "login1", 1, "follower of a test").map(drop),
        ] {
            let error = outcome.unwrap_err();
            assert!(error.to_string().contains("symbolic link"), "{kind:?}: {error}");
        }
        assert_eq!(std::fs::read(&elsewhere).unwrap(), b"{}");
    }
}

#[test]
fn on_a_shared_filesystem_a_free_mailbox_is_taken_after_a_moment() {
    let (_folder, mailbox) = mailbox(FilesystemKind::Network("nfs"));
    let mut lease = Lease::take(&mailbox, "login1", 1, "follower of a test").unwrap();
    lease.attend().unwrap();
}

#[test]
fn a_holder_that_is_dead_on_this_very_host_is_not_waited_for() {
    let (_folder, mailbox) = mailbox(FilesystemKind::Network("nfs"));
    let mut child = std::process::Command::new("true").spawn().unwrap();
    child.wait().unwrap();
    // Forgotten without being given back, as after SIGKILL.
    std::mem::forget(ask(&mailbox, "login1", child.id(), QUICK).unwrap());
    let asked = std::time::Instant::now();
    drop(ask(&mailbox, "login1", 2, Duration::from_secs(900)).unwrap());
    assert!(asked.elapsed() < Duration::from_secs(600));
}

#[test]
fn an_idle_holder_writes_nothing() {
    let (_folder, mailbox) = mailbox(FilesystemKind::Network("nfs"));
    let mut lease = ask(&mailbox, "login1", 1, QUICK).unwrap();
    let state = || {
        let mut files: Vec<_> = std::fs::read_dir(mailbox.folder())
            .unwrap()
            .map(|entry| {
                let entry = entry.unwrap();
                let seen = entry.metadata().unwrap();
                (entry.file_name(), seen.len(), seen.modified().unwrap())
            })
            .collect();
        files.sort();
        files
    };
    let before = state();
    for _ in 0..100 {
        lease.attend().unwrap();
    }
    assert_eq!(state(), before);
}

#[test]
fn who_holds_it_is_told_without_asking() {
    for kind in [FilesystemKind::Local, FilesystemKind::Network("nfs")] {
        let (_folder, mailbox) = mailbox(kind);
        assert_eq!(crate::lease::holder(&mailbox).unwrap(), None);
        let lease = match kind {
            FilesystemKind::Local => Lease::take(&mailbox, "here", 17, "follower of a test").unwrap(),
            FilesystemKind::Network(_) => ask(&mailbox, "elsewhere", 17, QUICK).unwrap(),
        };
        let told = crate::lease::holder(&mailbox).unwrap().unwrap();
        assert!(told.starts_with("follower of a test (process 17 on "), "{told}");
        drop(lease);
        assert_eq!(crate::lease::holder(&mailbox).unwrap(), None, "{kind:?}");
    }
}

#[test]
fn p2_a_lease_whose_bytes_are_on_their_way_may_be_held() {
    let (_folder, mailbox) = mailbox(FilesystemKind::Network("nfs"));
    let first = ask(&mailbox, "login1", 1, QUICK).unwrap();
    let path = mailbox.folder().join("follower.lease");
    let text = std::fs::read(&path).unwrap();
    for early in [Vec::new(), vec![0; text.len()], text[..9].to_vec()] {
        std::fs::write(&path, early).unwrap();
        let (late, whole) = (path.clone(), text.clone());
        let writer = std::thread::spawn(move || {
            std::thread::sleep(QUICK);
            std::fs::write(late, whole).unwrap();
        });
        let refused = ask(&mailbox, "login2", 2, Duration::from_secs(60)).unwrap_err();
        assert!(matches!(refused, LeaseError::Held { .. }), "{refused}");
        writer.join().unwrap();
    }
    // What never becomes a lease is nobody's.
    std::fs::write(&path, "{").unwrap();
    let second = ask(&mailbox, "login2", 2, QUICK).unwrap();
    drop((first, second));
}

#[test]
fn p9_a_lease_that_cannot_be_given_back_is_free_when_nobody_answers_for_it() {
    let (_folder, mailbox) = mailbox(FilesystemKind::Network("nfs"));
    let first = ask(&mailbox, "login1", 1, QUICK).unwrap();
    let path = mailbox.folder().join("follower.lease");
    let read = || serde_json::from_slice::<serde_json::Value>(&std::fs::read(&path).unwrap()).unwrap();
    // The name beside it, under which it is written anew, is taken.
    let beside = format!("follower.lease.{:016x}", read()["taken"].as_u64().unwrap());
    std::fs::create_dir(mailbox.folder().join(beside)).unwrap();
    drop(first);
    assert_eq!(read()["released"], false);
    let second = ask(&mailbox, "login2", 2, QUICK).unwrap();
    assert_eq!(read()["host"], "login2");
    drop(second);
    assert_eq!(read()["released"], true);
}
