//! Waking up for files that move: with events and without.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use codeswarm_protocol::Place;

use super::append_line;
use crate::archive::rename_to_archive;
use crate::{FilesystemKind, Limits, Mailbox, Outcome, Tail, TailStep, Wakes, WatchMode};

const SOON: Duration = Duration::from_secs(20);

/// So rare that only events can have woken anyone within [`SOON`].
fn events_only() -> Limits {
    Limits {
        cold: Duration::from_secs(3600),
        warm: Duration::from_secs(3600),
        hot: Duration::from_secs(3600),
        ..Limits::default()
    }
}

fn prepared(nodes: u32) -> (tempfile::TempDir, Mailbox) {
    // In memory where that is possible: thousands of syncs are not what is tried here.
    let folder = tempfile::tempdir_in("/dev/shm")
        .or_else(|_| tempfile::tempdir())
        .unwrap();
    let mailbox = Mailbox::at(folder.path().join("root"));
    mailbox.create().unwrap();
    mailbox.prepare(&place(0).job_id, nodes).unwrap();
    (folder, mailbox)
}

fn place(node: u32) -> Place {
    Place::from_stem(&format!("27_{node:02}")).unwrap()
}

fn folders(mailbox: &Mailbox) -> [std::path::PathBuf; 2] {
    [mailbox.outbox_folder(), mailbox.archive_folder()]
}

async fn next(wakes: &mut Wakes) -> Place {
    tokio::time::timeout(SOON, wakes.next()).await.expect("nothing woke us")
}

/// Waits for a wake for this file; whoever else is woken meanwhile is answered.
async fn until(wakes: &mut Wakes, wanted: &Place) -> HashSet<Place> {
    let mut others = HashSet::new();
    loop {
        let place = next(wakes).await;
        wakes.looked(&place, Outcome::Nothing, Duration::ZERO);
        if place == *wanted {
            return others;
        }
        others.insert(place);
    }
}

#[tokio::test]
async fn an_event_wakes_for_the_file_that_moved_also_into_the_archive() {
    let (_folder, mailbox) = prepared(8);
    let mut wakes = Wakes::with_limits(
        WatchMode::Inotify,
        FilesystemKind::Local,
        &folders(&mailbox),
        Some(events_only()),
    )
    .unwrap();
    assert!(wakes.has_events() && wakes.why_polling().is_none());
    for node in 0..8 {
        wakes.add(place(node));
    }
    let mut looked = HashSet::new();
    while looked.len() < 8 {
        looked.insert(next(&mut wakes).await);
    }
    append_line(&mailbox.outbox(&place(5)), "{}");
    until(&mut wakes, &place(5)).await;
    rename_to_archive(&mailbox, &place(3)).unwrap();
    until(&mut wakes, &place(3)).await;
    wakes.remove(&place(5));
    append_line(&mailbox.outbox(&place(5)), "{}");
    append_line(&mailbox.outbox(&place(6)), "{}");
    let others = until(&mut wakes, &place(6)).await;
    assert!(!others.contains(&place(5)), "a file that nobody follows wakes nobody");
}

#[tokio::test]
async fn one_file_alone_can_be_watched() {
    let (_folder, mailbox) = prepared(2);
    let inbox = [mailbox.inbox(&place(1))];
    let mut wakes = Wakes::with_limits(WatchMode::Auto, FilesystemKind::Local, &inbox, Some(events_only())).unwrap();
    wakes.add(place(1));
    // Once for being added, and once as the schedule's first look.
    until(&mut wakes, &place(1)).await;
    until(&mut wakes, &place(1)).await;
    append_line(&inbox[0], "{}");
    until(&mut wakes, &place(1)).await;
}

#[tokio::test]
async fn a_shared_filesystem_is_polled_and_says_why() {
    let (_folder, mailbox) = prepared(4);
    let kind = FilesystemKind::Network("nfs");
    let mut wakes = Wakes::new(WatchMode::Auto, kind, &folders(&mailbox)).unwrap();
    assert!(!wakes.has_events() && wakes.why_polling().unwrap().contains("nfs"));
    let mut looked = HashSet::new();
    for node in 0..4 {
        wakes.add(place(node));
    }
    while looked.len() < 4 {
        let place = next(&mut wakes).await;
        wakes.looked(&place, Outcome::Nothing, Duration::ZERO);
        looked.insert(place);
    }
    wakes.hint(&place(2));
    assert_eq!(next(&mut wakes).await, place(2), "a hint comes first");
}

#[tokio::test]
async fn what_cannot_be_watched_is_polled_unless_events_were_demanded() {
    let (_folder, mailbox) = prepared(1);
    let nowhere = [mailbox.root().join("not-there")];
    let wakes = Wakes::new(WatchMode::Auto, FilesystemKind::Local, &nowhere).unwrap();
    assert!(wakes.why_polling().unwrap().contains("not-there"));
    assert!(Wakes::new(WatchMode::Inotify, FilesystemKind::Local, &nowhere).is_err());
    assert!(
        Wakes::new(WatchMode::Poll, FilesystemKind::Local, &nowhere)
            .unwrap()
            .why_polling()
            .is_some()
    );
}

/// A follower of a thousand outboxes: every record of all of them, once each, however they are watched.
#[tokio::test]
async fn p4_a_thousand_outboxes_are_read_to_their_ends() {
    const NODES: u32 = 1_000;
    const RECORDS: usize = 3;
    for mode in [WatchMode::Inotify, WatchMode::Poll] {
        let (_folder, mailbox) = prepared(NODES);
        let generous = Limits {
            empty_looks_per_second: 10_000,
            cold: Duration::from_millis(100),
            ..Limits::default()
        };
        let limits = (mode == WatchMode::Poll).then_some(generous);
        let mut wakes = Wakes::with_limits(mode, FilesystemKind::Local, &folders(&mailbox), limits).unwrap();
        for node in 0..NODES {
            wakes.add(place(node));
        }
        let mut tails: Vec<Tail> = (0..NODES).map(|node| Tail::outbox(&mailbox, place(node), 0)).collect();
        let writer = {
            let mailbox = mailbox.clone();
            std::thread::spawn(move || {
                for record in 0..RECORDS {
                    for node in 0..NODES {
                        append_line(&mailbox.outbox(&place(node)), &format!("{{\"seq\":{}}}", record + 1));
                    }
                }
                for node in 0..NODES {
                    rename_to_archive(&mailbox, &place(node)).unwrap();
                }
            })
        };
        let mut read = vec![String::new(); NODES as usize];
        let mut ended = 0;
        let deadline = Instant::now() + Duration::from_secs(120);
        while ended < NODES {
            assert!(
                Instant::now() < deadline,
                "{ended} of {NODES} were read to their ends by {mode:?}"
            );
            let woken = next(&mut wakes).await;
            let node = woken.node_id.rank() as usize;
            let mut outcome = Outcome::Nothing;
            loop {
                match tails[node].step(1 << 16, Instant::now()).unwrap() {
                    TailStep::Lines { data, .. } => {
                        read[node].push_str(std::str::from_utf8(&data).unwrap());
                        outcome = Outcome::Data;
                    }
                    TailStep::Ended { .. } => {
                        ended += 1;
                        outcome = Outcome::Data;
                    }
                    TailStep::Nothing => break,
                    step => panic!("{step:?}"),
                }
                if !tails[node].has_more() {
                    break;
                }
            }
            wakes.looked(&woken, outcome, Duration::ZERO);
        }
        writer.join().unwrap();
        assert!(
            read.iter()
                .all(|text| text == "{\"seq\":1}\n{\"seq\":2}\n{\"seq\":3}\n")
        );
    }
}
