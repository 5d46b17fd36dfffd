//! Clients that read slowly, late or not at all, beside one that reads.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use codeswarm_protocol::frame::ReadFrom;
use codeswarm_protocol::record::RecordHead;

use super::*;

/// A follower that has one outbox, plays it and reads from it.
struct Outbox {
    place: Place,
    bytes: Vec<u8>,
}

impl Outbox {
    fn filled(place: &Place, records: u64) -> Self {
        let mut bytes = Vec::new();
        for seq in 1..=records {
            let notice = json!({"type": "notice", "message": "x".repeat(10_000), "seq": seq, "epoch": 1,
                "timestamp": "2026-01-01T00:00:00.000Z", "job_id": place.job_id, "node_id": place.node_id});
            bytes.extend_from_slice(format!("{notice}\n").as_bytes());
        }
        let place = place.clone();
        Self { place, bytes }
    }

    /// Plays the outbox record by record while it answers reads; ends when the server does. How often it was read from.
    async fn play(self, says: mpsc::Sender<Upward>, mut told: mpsc::Receiver<Downward>) -> usize {
        let (mut at, mut reads) = (0, 0);
        loop {
            let rest = &self.bytes[at..];
            let length = rest
                .iter()
                .position(|byte| *byte == b'\n')
                .map_or(0, |newline| newline + 1);
            tokio::select! {
                down = told.recv() => match down {
                    Some(Downward::Read { ticket, from, until, max_bytes, .. }) => {
                        reads += 1;
                        if says.send(self.part(ticket, from, until, max_bytes)).await.is_err() {
                            return reads;
                        }
                    }
                    Some(_) => {}
                    None => return reads,
                },
                permit = says.reserve(), if length > 0 => {
                    let Ok(permit) = permit else { return reads };
                    let data = Bytes::copy_from_slice(&rest[..length]);
                    permit.send(Upward::Chunk { place: self.place.clone(), offset: at as u64, data });
                    at += length;
                }
            }
        }
    }

    fn part(&self, ticket: Ticket, from: ReadFrom, until: u64, max_bytes: u32) -> Upward {
        let end = usize::try_from(until).unwrap();
        let mut lines = self.bytes[..end]
            .split_inclusive(|byte| *byte == b'\n')
            .scan(0, |at, line| {
                *at += line.len();
                Some((*at - line.len(), line))
            });
        let start = match from {
            ReadFrom::Offset(offset) => usize::try_from(offset).unwrap(),
            ReadFrom::AfterSeq(seq) => {
                let after = |line: &[u8]| RecordHead::parse(line).unwrap().seq > seq;
                lines.find(|(_, line)| after(line)).map_or(end, |(at, _)| at)
            }
        };
        let most = (start + max_bytes as usize).min(end);
        let length = self.bytes[start..most]
            .iter()
            .rposition(|byte| *byte == b'\n')
            .map_or(0, |newline| newline + 1);
        let next = (start + length) as u64;
        Upward::Part {
            ticket,
            offset: start as u64,
            next,
            done: next >= until,
            error: None,
            may_pass: false,
            late: false,
            data: Bytes::copy_from_slice(&self.bytes[start..start + length]),
        }
    }
}

/// The numbers of the records up to the last one.
async fn seqs(ear: &mut Ear, last: u64) -> Vec<u64> {
    let mut seqs = Vec::new();
    while seqs.last() != Some(&last) {
        let events = ear.until("notice").await;
        seqs.extend(
            events
                .iter()
                .filter(|event| event["type"] == "notice")
                .map(|event| event["seq"].as_u64().unwrap()),
        );
    }
    seqs
}

#[tokio::test]
async fn p8_p10_a_client_that_does_not_read_for_a_while_holds_nobody_up_and_misses_nothing() {
    const RECORDS: u64 = 1500;
    let mut desk = Desk::new();
    let (mut quick, mut slow) = (desk.client(1 << 16), desk.client(1 << 16));
    let place = desk.swarm(&quick).await;
    desk.says(&slow, json!({"command": "subscribe"}));
    desk.commit().await;
    let Desk {
        server,
        told_follower,
        _follower_says: says,
        stop,
        stopped,
        ..
    } = desk;
    let door = server.door();
    let playing = tokio::spawn(Outbox::filled(&place, RECORDS).play(says, told_follower));
    let running = tokio::spawn(server.run(stopped));
    let all: Vec<u64> = (1..=RECORDS).collect();
    assert_eq!(seqs(&mut quick, RECORDS).await, all, "one that reads");
    // One that comes now, and one that reads from now on.
    let (ours, theirs) = tokio::io::duplex(1 << 16);
    let (source, sink) = tokio::io::split(theirs);
    door.enter(source, sink).await.unwrap();
    let (events, mut commands) = tokio::io::split(ours);
    commands
        .write_all(b"{\"command\":\"subscribe\",\"since\":1000}\n")
        .await
        .unwrap();
    let mut late = Ear {
        id: ClientId(0),
        events: LineReader::new(events, usize::MAX),
        _commands: commands,
    };
    let (slow, late) = tokio::join!(seqs(&mut slow, RECORDS), seqs(&mut late, RECORDS));
    assert_eq!(slow, all, "one that has read nothing for a while");
    assert_eq!(late, all[1000..], "one that has come late");
    stop.send_replace(Stop::Now);
    running.await.unwrap().unwrap();
    assert!(playing.await.unwrap() > 0, "what has left the memory is read back");
}

/// A server at work, and a follower that plays so many records; in the end, how often it was read from.
fn at_work(desk: Desk, place: &Place, records: u64) -> (watch::Sender<Stop>, tokio::task::JoinHandle<usize>) {
    let Desk {
        mut server,
        told_follower,
        _follower_says: says,
        stop,
        stopped,
        ..
    } = desk;
    // Time stands still: however slow this machine is, nobody loses patience.
    server.clock = Clock::Played(Arc::new(AtomicU64::new(0)), 0);
    let playing = tokio::spawn(Outbox::filled(place, records).play(says, told_follower));
    let working = tokio::spawn(async move {
        server.run(stopped).await.unwrap();
        playing.await.unwrap()
    });
    (stop, working)
}

#[tokio::test]
async fn p8_a_client_alone_has_its_own_pace_and_nothing_is_read_back_for_it() {
    const RECORDS: u64 = 1500;
    let mut desk = Desk::new();
    let mut ear = desk.client(1 << 16);
    let place = desk.swarm(&ear).await;
    desk.says(&ear, json!({"command": "subscribe"}));
    desk.commit().await;
    let (stop, working) = at_work(desk, &place, RECORDS);
    assert_eq!(seqs(&mut ear, RECORDS).await, (1..=RECORDS).collect::<Vec<u64>>());
    stop.send_replace(Stop::Now);
    assert_eq!(working.await.unwrap(), 0);
}

#[tokio::test]
async fn p8_p10_one_that_is_a_little_behind_another_is_served_from_memory() {
    const RECORDS: u64 = 600;
    let mut desk = Desk::new();
    let (mut quick, mut slow) = (desk.client(1 << 16), desk.client(1 << 16));
    let place = desk.swarm(&quick).await;
    for ear in [&quick, &slow] {
        desk.says(ear, json!({"command": "subscribe"}));
    }
    desk.commit().await;
    let (stop, working) = at_work(desk, &place, RECORDS);
    let all: Vec<u64> = (1..=RECORDS).collect();
    assert_eq!(seqs(&mut quick, RECORDS).await, all, "one that reads");
    assert_eq!(
        seqs(&mut slow, RECORDS).await,
        all,
        "one that has read nothing for a while"
    );
    stop.send_replace(Stop::Now);
    assert_eq!(working.await.unwrap(), 0);
}

/// Hands records to the server, as its loop does, until it takes no more or there are none left; how many it took.
fn taken(desk: &mut Desk, records: &mut std::vec::IntoIter<Upward>) -> usize {
    let mut taken = 0;
    while desk.server.held_until().is_none()
        && let Some(record) = records.next()
    {
        desk.server.follower_said(record);
        taken += 1;
    }
    taken
}

#[tokio::test]
async fn p8_one_that_does_not_read_is_waited_for_a_while_and_not_while_another_has_room() {
    for with_another in [false, true] {
        let mut desk = Desk::new();
        let clock = Arc::new(AtomicU64::new(0));
        desk.server.clock = Clock::Played(clock.clone(), 0);
        let deaf = desk.client(1 << 16);
        let place = desk.swarm(&deaf).await;
        desk.says(&deaf, json!({"command": "subscribe"}));
        let mut another = with_another.then(|| desk.client(1 << 23));
        if let Some(another) = &another {
            desk.says(another, json!({"command": "subscribe"}));
        }
        desk.commit().await;
        let mut records = Vec::new();
        let mut offset = 0;
        for seq in 1..=400 {
            let message = "x".repeat(10_000);
            let (record, end) = chunk(&place, seq, offset, Word::Notice { message });
            records.push(record);
            offset = end;
        }
        let mut records = records.into_iter();
        let mut took = 0;
        let behind = |desk: &mut Desk| !desk.server.audience.client(deaf.id).unwrap().behind.is_empty();
        if let Some(another) = &mut another {
            while records.len() > 0 {
                let more = taken(&mut desk, &mut records);
                desk.commit().await;
                took += more;
                match more {
                    // What it has read is about to be counted.
                    0 => tokio::task::yield_now().await,
                    _ => drop(seqs(another, took as u64).await),
                }
            }
            assert!(behind(&mut desk) && clock.load(Ordering::Relaxed) == 0);
            continue;
        }
        took += taken(&mut desk, &mut records);
        assert!(
            (20..200).contains(&took) && !behind(&mut desk),
            "{took} records were taken"
        );
        desk.commit().await;
        let until = desk.server.held_until().expect("it waits");
        assert!(until > Duration::ZERO && until <= Duration::from_secs(2));
        clock.store(u64::try_from(until.as_millis()).unwrap(), Ordering::Relaxed);
        took += taken(&mut desk, &mut records);
        assert_eq!((took, behind(&mut desk)), (400, true));
    }
}
