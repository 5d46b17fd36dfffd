//! Outboxes are followed: each line once, in order, wherever the file is, whatever is ended and begun meanwhile.

use std::time::Duration;

use crate::room::{DEADLINE, Ear, Room, place, record, records};
use codeswarm_follower::{FollowerConfig, FollowerError, WatchMode, spawn};
use codeswarm_protocol::frame::{Downward, Upward};

const BOTH: [WatchMode; 2] = [WatchMode::Inotify, WatchMode::Poll];

fn is_ended(event: &Upward) -> bool {
    matches!(event, Upward::Ended { .. })
}

#[tokio::test]
async fn the_first_word_is_hello() {
    let room = Room::new();
    let mut ear = room.follower(WatchMode::Auto);
    let Upward::Hello {
        version,
        host,
        pid,
        root,
    } = ear.listen().await
    else {
        panic!("{:?}", ear.said)
    };
    assert_eq!(version, env!("CARGO_PKG_VERSION"));
    assert!(!host.is_empty());
    assert_eq!(pid, std::process::id());
    assert_eq!(std::path::Path::new(&root), room.mailbox.root().canonicalize().unwrap());
}

#[tokio::test]
async fn lines_come_as_they_are_written_and_a_line_without_its_end_does_not() {
    for watch in BOTH {
        let room = Room::new();
        let mut ear = room.follower(watch);
        room.say(&place(0), records(1..=3));
        ear.watch(&place(0), 0).await;
        ear.until_received(&place(0), &records(1..=3)).await;
        for seq in 4..20 {
            let line = record(seq);
            let (torn, rest) = line.split_at(line.len() / 2);
            room.say(&place(0), torn);
            ear.ping().await;
            assert_eq!(ear.received(&place(0)), records(1..seq));
            room.say(&place(0), rest);
            ear.until_received(&place(0), &records(1..=seq)).await;
        }
    }
}

#[tokio::test]
async fn an_outbox_that_appears_after_it_is_watched_is_found() {
    for watch in BOTH {
        let room = Room::new();
        let mut ear = room.follower(watch);
        ear.watch(&place(0), 0).await;
        ear.ping().await;
        room.say(&place(0), records(1..=2));
        ear.until_received(&place(0), &records(1..=2)).await;
    }
}

/// The earlier Python system never read an outbox that was archived before its follower first looked.
#[tokio::test]
async fn p4_an_outbox_archived_before_the_first_look_is_read_to_its_end() {
    for watch in BOTH {
        let room = Room::new();
        room.say(&place(0), records(1..=1000));
        room.archive(&place(0));
        let mut ear = room.follower(watch);
        ear.watch(&place(0), 0).await;
        let ended = ear.hear(is_ended).await;
        assert_eq!(ear.received(&place(0)), records(1..=1000));
        let offset = records(1..=1000).len() as u64;
        assert_eq!(
            ended,
            Upward::Ended {
                place: place(0),
                offset
            }
        );
    }
}

/// In the earlier Python system a line written shortly before the rename was lost.
#[tokio::test]
async fn p4_an_outbox_that_is_renamed_while_it_is_read_loses_nothing() {
    for watch in BOTH {
        let room = Room::new();
        let config = FollowerConfig {
            chunk_bytes: 4096,
            events: 1,
            ..room.config(watch)
        };
        let mut ear = Ear::of(spawn(config).unwrap());
        room.say(&place(0), records(1..=2000));
        ear.watch(&place(0), 0).await;
        ear.until(|ear| !ear.received(&place(0)).is_empty()).await;
        room.say(&place(0), records(2001..=2100));
        room.archive(&place(0));
        ear.hear(is_ended).await;
        assert_eq!(ear.received(&place(0)), records(1..=2100));
    }
}

#[tokio::test]
async fn an_outbox_that_had_ended_is_followed_again_when_its_job_is_requeued() {
    for watch in BOTH {
        let room = Room::new();
        let mut ear = room.follower(watch);
        ear.watch(&place(0), 0).await;
        for life in 1..=2 {
            room.say(&place(0), record(life));
            ear.until_received(&place(0), &records(1..=life)).await;
            room.archive(&place(0));
            ear.hear(is_ended).await;
            if life == 1 {
                std::fs::rename(room.mailbox.archive(&place(0)), room.mailbox.outbox(&place(0))).unwrap();
                ear.hear(|event| matches!(event, Upward::Reopened { .. })).await;
            }
        }
        assert_eq!(ear.said.iter().filter(|event| is_ended(event)).count(), 2);
    }
}

#[tokio::test]
async fn p4_a_follower_that_begins_at_a_cursor_goes_on_there() {
    for watch in BOTH {
        let room = Room::new();
        room.say(&place(0), records(1..=10));
        let mut first = room.follower(watch);
        first.watch(&place(0), 0).await;
        first.until_received(&place(0), &records(1..=10)).await;
        first.end().await;

        room.say(&place(0), records(11..=20));
        let mut second = room.follower(watch);
        second.watch(&place(0), records(1..=10).len() as u64).await;
        second.until_received(&place(0), &records(11..=20)).await;
    }
}

#[tokio::test]
async fn a_second_follower_is_refused_and_told_who_holds_the_mailbox() {
    let room = Room::new();
    let ear = room.follower(WatchMode::Auto);
    let Err(FollowerError::Lease(error)) = spawn(room.config(WatchMode::Auto)).map(|_| ()) else {
        panic!("a second follower began")
    };
    let told = error.to_string();
    let pid = std::process::id().to_string();
    assert!(
        told.contains(&pid) && told.contains(room.mailbox.root().to_str().unwrap()),
        "{told}"
    );

    ear.end().await;
    let third = room.follower(WatchMode::Auto);
    third.end().await;
}

#[tokio::test]
async fn a_hot_file_does_not_keep_quiet_ones_waiting() {
    let room = Room::new();
    let config = FollowerConfig {
        chunk_bytes: 16 * 1024,
        ..room.config(WatchMode::Inotify)
    };
    let mut ear = Ear::of(spawn(config).unwrap());
    let hot = place(0);
    let burst = records(1..=100_000);
    room.say(&hot, &burst);
    ear.watch(&hot, 0).await;
    ear.until(|ear| !ear.received(&hot).is_empty()).await;
    for rank in 1..64 {
        room.say(&place(rank), record(1));
        ear.watch(&place(rank), 0).await;
    }
    ear.until(|ear| (1..64).all(|rank| ear.received(&place(rank)) == record(1)))
        .await;
    let hot_had = ear.received(&hot).len();
    // Each quiet file waits for at most a turn of the hot one, besides what had been sent before.
    assert!(
        hot_had < burst.len() / 2,
        "{hot_had} of {} bytes of the hot file came first",
        burst.len()
    );
    ear.until_received(&hot, &burst).await;
}

#[tokio::test]
async fn what_is_no_record_is_reported_and_what_follows_it_comes() {
    let room = Room::new();
    let mut ear = room.follower(WatchMode::Inotify);
    room.say(&place(0), format!("{}torn {{\"half\n{}", record(1), record(2)));
    ear.watch(&place(0), 0).await;
    ear.until(|ear| ear.received(&place(0)).len() >= records(1..=2).len())
        .await;
    assert_eq!(ear.received(&place(0)), records(1..=2));
    let skipped = ear.said.iter().find(|event| matches!(event, Upward::Skipped { .. }));
    let Some(Upward::Skipped {
        offset, length, head, ..
    }) = skipped
    else {
        panic!("{:?}", ear.said)
    };
    assert_eq!((*offset, *length), (record(1).len() as u64, 12));
    assert!(head.starts_with("torn"), "{head}");
}

#[tokio::test]
async fn an_outbox_that_is_no_longer_watched_is_silent() {
    let room = Room::new();
    let mut ear = room.follower(WatchMode::Inotify);
    ear.watch(&place(0), 0).await;
    ear.watch(&place(1), 0).await;
    room.say(&place(0), record(1));
    ear.until_received(&place(0), &record(1)).await;
    ear.tell(Downward::Unwatch { place: place(0) }).await;
    // Orders are obeyed in order: when rank 2 is followed, rank 0 is not any more.
    room.say(&place(2), record(1));
    ear.watch(&place(2), 0).await;
    ear.until_received(&place(2), &record(1)).await;
    room.say(&place(0), record(2));
    room.say(&place(1), record(1));
    ear.until_received(&place(1), &record(1)).await;
    assert_eq!(ear.received(&place(0)), record(1));
}

#[tokio::test]
async fn p8_a_consumer_that_does_not_take_stops_the_reading_and_loses_nothing() {
    let room = Room::new();
    let config = FollowerConfig {
        chunk_bytes: 4096,
        events: 4,
        ..room.config(WatchMode::Inotify)
    };
    let mut ear = Ear::of(spawn(config).unwrap());
    let all = records(1..=20_000);
    room.say(&place(0), &all);
    ear.watch(&place(0), 0).await;
    // The channel fills, and then nothing more is read: what waits stays in the file.
    let full = tokio::time::timeout(DEADLINE, async {
        while ear.follower.events.len() < 4 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    });
    full.await.unwrap();
    room.say(&place(0), records(20_001..=20_010));
    ear.until_received(&place(0), &records(1..=20_010)).await;
}

#[tokio::test]
async fn a_file_that_cannot_be_trusted_is_told_once_and_the_others_go_on() {
    let room = Room::new();
    let mut ear = room.follower(WatchMode::Inotify);
    std::os::unix::fs::symlink("/etc/hostname", room.mailbox.outbox(&place(0))).unwrap();
    ear.watch(&place(0), 0).await;
    let trouble = ear.hear(|event| matches!(event, Upward::Trouble { .. })).await;
    let Upward::Trouble { place: whose, error } = trouble else {
        unreachable!()
    };
    assert_eq!(whose, Some(place(0)));
    assert!(error.contains("symbolic link"), "{error}");
    room.say(&place(1), record(1));
    ear.watch(&place(1), 0).await;
    ear.until_received(&place(1), &record(1)).await;
    for _ in 0..5 {
        ear.tell(Downward::Hint { place: place(0) }).await;
        ear.ping().await;
    }
    let told = ear.said.iter().filter(|event| matches!(event, Upward::Trouble { .. }));
    assert_eq!(told.count(), 1);
}

#[tokio::test]
async fn a_hint_makes_a_polled_file_be_looked_at() {
    let room = Room::new();
    let mut ear = room.follower(WatchMode::Poll);
    for rank in 0..500 {
        ear.watch(&place(rank), 0).await;
    }
    for round in 1..=5 {
        room.say(&place(400), record(round));
        ear.tell(Downward::Hint { place: place(400) }).await;
        ear.until_received(&place(400), &records(1..=round)).await;
    }
}

#[tokio::test]
async fn a_follower_without_the_lease_leaves_it_to_who_has_it() {
    let room = Room::new();
    let holder = room.follower(WatchMode::Auto);
    let config = FollowerConfig {
        lease: false,
        ..room.config(WatchMode::Auto)
    };
    let mut beside = Ear::of(spawn(config).unwrap());
    room.say(&place(0), record(1));
    beside.watch(&place(0), 0).await;
    beside.until_received(&place(0), &record(1)).await;
    beside.end().await;
    assert!(spawn(room.config(WatchMode::Auto)).is_err(), "the holder still has it");
    holder.end().await;
}
