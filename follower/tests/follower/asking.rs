//! What a ticket asks for: appends, parts of an outbox, a job's empty files.

use crate::room::{Ear, Room, append, place, record, records};
use bytes::Bytes;
use codeswarm_follower::WatchMode;
use codeswarm_mailbox::LineFile;
use codeswarm_mailbox::append::Durability;
use codeswarm_protocol::frame::{Downward, ReadFrom, Ticket, Upward};
use codeswarm_protocol::ids::{InjectionId, JobId, Place, Seq, SwarmId};

fn prompt(id: &str) -> String {
    format!("{{\"type\":\"user\",\"injection_id\":\"{id}\",\"content\":\"hello\"}}\n")
}

async fn send(ear: &mut Ear, ticket: u64, place: &Place, unless_present: Option<&str>, line: &str) -> Upward {
    ear.tell(Downward::Append {
        ticket: Ticket(ticket),
        place: place.clone(),
        unless_present: unless_present.map(|id| InjectionId::new(id).unwrap()),
        line: Bytes::copy_from_slice(line.as_bytes()),
    })
    .await;
    ear.hear(|event| {
        matches!(event, Upward::Appended { ticket: of, .. } | Upward::AppendFailed { ticket: of, .. } if of.0 == ticket)
    })
    .await
}

fn appended(ticket: u64, offset: u64, end: u64, already: bool) -> Upward {
    Upward::Appended {
        ticket: Ticket(ticket),
        offset,
        end,
        already,
    }
}

#[tokio::test]
async fn p2_an_append_of_unknown_outcome_is_settled_by_reading_the_inbox() {
    let room = Room::new();
    let mut ear = room.follower(WatchMode::Auto);
    let (one, two) = (prompt("one"), prompt("two"));
    let (first, second) = (one.len() as u64, (one.len() + two.len()) as u64);
    assert_eq!(
        send(&mut ear, 1, &place(0), None, &one).await,
        appended(1, 0, first, false)
    );
    assert_eq!(
        send(&mut ear, 2, &place(0), Some("one"), &one).await,
        appended(2, 0, first, true)
    );
    assert_eq!(
        send(&mut ear, 3, &place(0), Some("two"), &two).await,
        appended(3, first, second, false)
    );
    assert_eq!(
        send(&mut ear, 4, &place(0), Some("two"), &two).await,
        appended(4, first, second, true)
    );
    assert_eq!(room.inbox(&place(0)), format!("{one}{two}"));

    // Also by a follower that comes later.
    ear.end().await;
    let mut later = room.follower(WatchMode::Auto);
    assert_eq!(
        send(&mut later, 1, &place(0), Some("one"), &one).await,
        appended(1, 0, second, true)
    );
}

#[tokio::test]
async fn p3_an_inbox_that_cannot_be_opened_leaves_an_unknown_outcome_unknown() {
    let room = Room::new();
    let mut ear = room.follower(WatchMode::Auto);
    std::fs::create_dir(room.mailbox.inbox(&place(0))).unwrap();
    for (ticket, unless_present) in [(1, None), (2, Some("one"))] {
        let failed = send(&mut ear, ticket, &place(0), unless_present, &prompt("one")).await;
        let unknown = matches!(
            failed,
            Upward::AppendFailed {
                may_have_happened: true,
                ..
            }
        );
        assert_eq!(unknown, unless_present.is_some(), "{failed:?}");
    }
}

#[tokio::test]
async fn p2_half_a_prompt_is_ended_and_the_prompt_appended() {
    let room = Room::new();
    let (before, line) = (prompt("before"), prompt("one"));
    let half = &line[..line.len() - 5];
    append(&room.mailbox.inbox(&place(0)), format!("{before}{half}"));
    let mut ear = room.follower(WatchMode::Auto);
    assert!(matches!(
        send(&mut ear, 1, &place(0), Some("one"), &line).await,
        Upward::Appended { already: false, .. }
    ));
    assert_eq!(room.inbox(&place(0)), format!("{before}{half}\n{line}"));
}

#[tokio::test]
async fn p2_a_prompt_that_lacks_only_its_newline_is_spoiled_and_written_once() {
    let room = Room::new();
    let line = prompt("one");
    append(&room.mailbox.inbox(&place(0)), line.trim_end());
    let mut ear = room.follower(WatchMode::Auto);
    let answer = send(&mut ear, 1, &place(0), Some("one"), &line).await;
    let spoiled = format!("{}!\n", line.trim_end());
    let (offset, end) = (spoiled.len() as u64, (spoiled.len() + line.len()) as u64);
    assert_eq!(answer, appended(1, offset, end, false));
    assert_eq!(room.inbox(&place(0)), format!("{spoiled}{line}"));
}

#[tokio::test]
async fn appends_to_one_inbox_keep_their_order_and_to_a_thousand_all_arrive() {
    let room = Room::new();
    let mut ear = room.follower(WatchMode::Auto);
    for number in 0..2000_u64 {
        let rank = u32::try_from(number % 1000).unwrap();
        ear.tell(Downward::Append {
            ticket: Ticket(number),
            place: place(rank),
            unless_present: None,
            line: prompt(&number.to_string()).into(),
        })
        .await;
        // Answers are taken while commands are given, as the contract says.
        while let Ok(event) = ear.follower.events.try_recv() {
            ear.said.push(event);
        }
    }
    let is_answer = |event: &&Upward| matches!(event, Upward::Appended { already: false, .. });
    ear.until(|ear| ear.said.iter().filter(is_answer).count() == 2000).await;
    for rank in 0..1000 {
        let expected = prompt(&rank.to_string()) + &prompt(&(rank + 1000).to_string());
        assert_eq!(room.inbox(&place(rank)), expected);
    }
}

#[tokio::test]
async fn what_is_not_one_line_is_refused() {
    let room = Room::new();
    let mut ear = room.follower(WatchMode::Auto);
    for bad in ["", "no newline", "two\nlines\n"] {
        let answer = send(&mut ear, 1, &place(0), None, bad).await;
        assert!(
            matches!(&answer, Upward::AppendFailed { may_have_happened: false, error, .. } if error.contains("77_00")),
            "{answer:?}"
        );
    }
    assert!(!room.mailbox.inbox(&place(0)).exists());
}

#[tokio::test]
async fn an_inbox_that_another_process_writes_is_refused_for_sure() {
    let room = Room::new();
    let _other = LineFile::open(room.mailbox.inbox(&place(0)), Durability::Cached).unwrap();
    let mut ear = room.follower(WatchMode::Auto);
    let answer = send(&mut ear, 1, &place(0), None, &prompt("one")).await;
    let Upward::AppendFailed {
        may_have_happened,
        error,
        ..
    } = answer
    else {
        panic!("{answer:?}")
    };
    assert!(!may_have_happened);
    assert!(error.contains("77_00.jsonl"), "{error}");
    assert_eq!(room.inbox(&place(0)), "");
}

#[tokio::test]
async fn a_job_is_prepared_and_what_it_has_stays() {
    let room = Room::new();
    room.say(&place(1), record(1));
    room.archive(&place(1));
    let mut ear = room.follower(WatchMode::Auto);
    ear.tell(Downward::Prepare {
        ticket: Ticket(1),
        job_id: JobId::new("77").unwrap(),
        node_count: 3,
    })
    .await;
    let answer = ear.hear(|event| matches!(event, Upward::Prepared { .. })).await;
    assert_eq!(
        answer,
        Upward::Prepared {
            ticket: Ticket(1),
            error: None
        }
    );
    for rank in 0..3 {
        assert!(room.mailbox.inbox(&place(rank)).exists());
        assert_eq!(room.mailbox.outbox(&place(rank)).exists(), rank != 1);
    }
    std::fs::remove_dir_all(room.mailbox.inbox_folder()).unwrap();
    ear.tell(Downward::Prepare {
        ticket: Ticket(2),
        job_id: JobId::new("78").unwrap(),
        node_count: 1,
    })
    .await;
    let answer = ear.hear(|event| matches!(event, Upward::Prepared { .. })).await;
    assert!(
        matches!(&answer, Upward::Prepared { ticket: Ticket(2), error: Some(error) } if error.contains("inbox")),
        "{answer:?}"
    );
}

/// Asks for part after part until there is no more; returns where it began and what came.
async fn read(ear: &mut Ear, from: ReadFrom, until: u64, max_bytes: u32) -> (u64, String) {
    let mut from = from;
    let mut begun = None;
    let mut all = Vec::new();
    loop {
        ear.tell(Downward::Read {
            ticket: Ticket(5),
            place: place(0),
            from,
            until,
            max_bytes,
        })
        .await;
        let answer = ear.hear(|event| matches!(event, Upward::Part { .. })).await;
        let Upward::Part {
            ticket,
            offset,
            next,
            done,
            error,
            data,
            ..
        } = answer
        else {
            unreachable!()
        };
        assert_eq!((ticket, error), (Ticket(5), None));
        assert_eq!(offset + data.len() as u64, next);
        assert!(next <= until);
        begun.get_or_insert(offset);
        all.extend_from_slice(&data);
        if done {
            return (begun.unwrap(), String::from_utf8(all).unwrap());
        }
        assert!(!data.is_empty(), "a part that is not the last brings something");
        from = ReadFrom::Offset(next);
    }
}

#[tokio::test]
async fn p4_history_is_read_after_any_record_from_the_outbox_and_from_the_archive() {
    let room = Room::new();
    let all = records(1..=3000);
    room.say(&place(0), &all);
    let mut ear = room.follower(WatchMode::Auto);
    let until = all.len() as u64;
    for archived in [false, true] {
        if archived {
            room.archive(&place(0));
        }
        for seq in [0, 1, 1499, 2999, 3000, 9999] {
            let (offset, got) = read(&mut ear, ReadFrom::AfterSeq(Seq(seq)), until, 10_000).await;
            let known = seq.min(3000);
            assert_eq!(got, records(known + 1..=3000));
            assert_eq!(offset, records(1..=known).len() as u64);
        }
        // Not beyond what the asker has seen, and at least a line whatever it allows.
        let seen = records(1..=100).len() as u64;
        let (_, got) = read(&mut ear, ReadFrom::AfterSeq(Seq(90)), seen, 1).await;
        assert_eq!(got, records(91..=100));
        let (_, got) = read(&mut ear, ReadFrom::Offset(seen), seen, 1000).await;
        assert_eq!(got, "");
    }
}

#[tokio::test]
async fn p10_history_goes_on_behind_bytes_that_were_given_up() {
    let room = Room::new();
    let mut ear = room.follower(WatchMode::Auto);
    let hole = [vec![0; 5000], b"\n".to_vec()].concat();
    for hole in [hole, b"{\"torn\n".to_vec()] {
        let text = [record(1).as_bytes(), &hole, record(2).as_bytes()].concat();
        std::fs::write(room.mailbox.outbox(&place(0)), &text).unwrap();
        let (_, all) = read(&mut ear, ReadFrom::Offset(0), text.len() as u64, 1000).await;
        assert_eq!(all, [record(1), record(2)].concat());
    }
}

#[tokio::test]
async fn p6_an_outbox_whose_bytes_have_not_come_is_not_read_to_its_end() {
    let room = Room::new();
    let mut ear = room.follower(WatchMode::Auto);
    let text = [record(1).as_bytes(), &[0; 300]].concat();
    std::fs::write(room.mailbox.outbox(&place(0)), &text).unwrap();
    ear.tell(Downward::Read {
        ticket: Ticket(1),
        place: place(0),
        from: ReadFrom::Offset(record(1).len() as u64),
        until: u64::MAX,
        max_bytes: 1000,
    })
    .await;
    let answer = ear.hear(|event| matches!(event, Upward::Part { .. })).await;
    assert!(
        matches!(&answer, Upward::Part { done: false, error: Some(error), late: true, .. } if error.contains("have not come")),
        "{answer:?}"
    );
}

#[tokio::test]
async fn history_leaves_out_what_is_no_record_and_says_what_is_missing() {
    let room = Room::new();
    let mut ear = room.follower(WatchMode::Auto);
    ear.tell(Downward::Read {
        ticket: Ticket(1),
        place: place(9),
        from: ReadFrom::AfterSeq(Seq(3)),
        until: 100,
        max_bytes: 100,
    })
    .await;
    let answer = ear.hear(|event| matches!(event, Upward::Part { .. })).await;
    assert!(
        matches!(&answer, Upward::Part { error: Some(error), .. } if error.contains("77_09")),
        "{answer:?}"
    );

    let text = format!("{}garbage\n{}", record(1), record(2));
    room.say(&place(0), &text);
    ear.tell(Downward::Read {
        ticket: Ticket(2),
        place: place(0),
        from: ReadFrom::Offset(record(1).len() as u64),
        until: text.len() as u64,
        max_bytes: 10_000,
    })
    .await;
    let answer = ear.hear(|event| matches!(event, Upward::Part { .. })).await;
    let Upward::Part { offset, data, done, .. } = answer else {
        unreachable!()
    };
    assert_eq!((offset, done), (record(1).len() as u64 + 8, true));
    assert_eq!(data, record(2).as_bytes());
}

#[tokio::test]
async fn a_launch_file_is_written_on_request() {
    let room = Room::new();
    let mut ear = room.follower(WatchMode::Auto);
    let swarm_id = SwarmId::new("s-1").unwrap();
    ear.tell(Downward::Launch {
        ticket: Ticket(1),
        swarm_id: swarm_id.clone(),
        data: Bytes::from_static(b"{}"),
    })
    .await;
    let answer = ear.hear(|event| matches!(event, Upward::Prepared { .. })).await;
    assert_eq!(
        answer,
        Upward::Prepared {
            ticket: Ticket(1),
            error: None
        }
    );
    assert_eq!(std::fs::read(room.mailbox.swarm_launch_file(&swarm_id)).unwrap(), b"{}");
}
