//! The follower at the other end.

use std::io::Write;
use std::time::{Duration, Instant};

use bytes::Bytes;
use codeswarm_link::{Listen, RemoteFollower, TroubleKind, WatchMode};
use codeswarm_protocol::frame::{Downward, Ticket, Upward};
use codeswarm_protocol::ids::Place;

use super::{Bench, program};

fn place() -> Place {
    Place {
        job_id: "4711".parse().unwrap(),
        node_id: "3".parse().unwrap(),
    }
}

async fn follow(bench: &Bench) -> (codeswarm_link::Session, RemoteFollower) {
    let session = bench.connect().await;
    let program = program();
    let remote = session
        .follow(program.to_str().unwrap(), &bench.root(), WatchMode::Auto, Listen::Off)
        .await;
    (session, remote.unwrap())
}

#[tokio::test]
async fn a_hostile_prompt_of_two_megabytes_arrives_byte_for_byte() {
    let Some(bench) = Bench::new() else { return };
    let (session, mut remote) = follow(&bench).await;
    assert!(matches!(
        remote.follower.events.recv().await,
        Some(Upward::Hello { .. })
    ));
    let mut line = String::from("{\"type\":\"user\",\"injection_id\":\"i1\",\"content\":\"");
    while line.len() < 2_000_000 {
        line.push_str("it's \\\"quoted\\\" \\n \\u0000 $(reboot) `reboot` 🦀 !! %s \\\\ ");
    }
    line.push_str("\"}\n");
    let append = Downward::Append {
        ticket: Ticket(1),
        place: place(),
        unless_present: None,
        line: Bytes::from(line.clone()),
    };
    remote.follower.commands.send(append).await.unwrap();
    let appended = remote.follower.events.recv().await;
    let Some(Upward::Appended { ticket: Ticket(1), .. }) = appended else {
        panic!("{appended:?}")
    };
    let inbox = bench.path("root/mailbox/inbox/4711_03.jsonl");
    assert!(std::fs::read(inbox).unwrap() == line.into_bytes());

    // What was told before the end is answered; then the events end, and why is told.
    remote
        .follower
        .commands
        .send(Downward::Ping { ticket: Ticket(9) })
        .await
        .unwrap();
    drop(remote.follower.commands);
    assert_eq!(
        remote.follower.events.recv().await,
        Some(Upward::Pong { ticket: Ticket(9) })
    );
    assert_eq!(remote.follower.events.recv().await, None);
    assert_eq!(remote.ended.await.unwrap().kind, TroubleKind::FollowerEnded);
    session.close().await;
}

#[tokio::test]
async fn an_outbox_of_100_megabytes_is_drained_whole() {
    let Some(bench) = Bench::new() else { return };
    let (session, mut remote) = follow(&bench).await;
    let outbox = bench.path("root/mailbox/outbox/4711_03.jsonl");
    let mut file = std::io::BufWriter::new(std::fs::File::create(&outbox).unwrap());
    let (mut size, mut seq) = (0, 0_u64);
    while size < 100_000_000 {
        seq += 1;
        let line = format!(
            "{{\"v\":1,\"seq\":{seq},\"epoch\":1,\"type\":\"assistant_delta\",\"content\":\"word {seq} of an answer, {:x}\"}}\n",
            seq.wrapping_mul(0x9e37_79b9_7f4a_7c15)
        );
        file.write_all(line.as_bytes()).unwrap();
        size += line.len() as u64;
    }
    file.flush().unwrap();
    let began = Instant::now();
    remote
        .follower
        .commands
        .send(Downward::Watch {
            place: place(),
            offset: 0,
        })
        .await
        .unwrap();
    let mut at = 0;
    while at < size {
        let event = tokio::time::timeout(Duration::from_secs(60), remote.follower.events.recv()).await;
        match event.unwrap() {
            Some(Upward::Chunk { offset, data, .. }) => {
                assert_eq!(offset, at);
                at += data.len() as u64;
            }
            Some(_) => {}
            None => panic!("the link ended at {at} of {size}"),
        }
    }
    let rate = size as f64 / began.elapsed().as_secs_f64() / 1e6;
    println!("{size} bytes in {:?}: {rate:.0} MB/s", began.elapsed());
    session.close().await;
}

#[tokio::test]
async fn a_consumer_that_waits_long_loses_nothing() {
    let Some(bench) = Bench::new() else { return };
    let (session, mut remote) = follow(&bench).await;
    for number in 0..3000 {
        let ping = Downward::Ping { ticket: Ticket(number) };
        if tokio::time::timeout(Duration::from_secs(2), remote.follower.commands.send(ping))
            .await
            .is_err()
        {
            break;
        }
    }
    // Longer than silence may last, with nobody taking events.
    tokio::time::sleep(Duration::from_secs(25)).await;
    let mut next = 0;
    while next < 1000 {
        match remote.follower.events.recv().await {
            Some(Upward::Pong { ticket }) => {
                assert_eq!(ticket.0, next);
                next += 1;
            }
            Some(_) => {}
            None => panic!("the link ended at {next}"),
        }
    }
    session.close().await;
}
