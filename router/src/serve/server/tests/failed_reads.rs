//! Records that a client lacks and that cannot be read back now.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::*;

/// A client that has asked for everything of one record, and the read that follows from it.
async fn asked(desk: &mut Desk) -> (Ear, Bytes, Ticket, u64) {
    let (launcher, ear) = (desk.client(1 << 20), desk.client(1 << 20));
    let place = desk.swarm(&launcher).await;
    let word = Word::Notice {
        message: "n".to_owned(),
    };
    let (first, _) = chunk(&place, 1, 0, word);
    desk.server.follower_said(first.clone());
    desk.commit().await;
    desk.says(&ear, json!({"command": "subscribe", "since": 0}));
    let Some(Downward::Read { ticket, until, .. }) = desk.asked().await.pop() else {
        panic!("nothing was read back")
    };
    let Upward::Chunk { data, .. } = first else { panic!() };
    (ear, data, ticket, until)
}

fn stale(ticket: Ticket) -> Upward {
    Upward::Part {
        ticket,
        offset: 0,
        next: 0,
        done: false,
        error: Some("stale file handle".to_owned()),
        may_pass: true,
        late: false,
        data: Bytes::new(),
    }
}

#[tokio::test]
async fn p4_p10_a_read_that_fails_for_a_moment_costs_a_client_nothing() {
    let mut desk = Desk::new();
    let clock = Arc::new(AtomicU64::new(0));
    desk.server.clock = Clock::Played(clock.clone(), 0);
    let (mut ear, data, ticket, until) = asked(&mut desk).await;
    desk.server.follower_said(stale(ticket));
    assert!(desk.asked().await.is_empty(), "not at once");
    clock.store(1000, Ordering::Relaxed);
    let Some(Downward::Read { ticket, .. }) = desk.asked().await.pop() else {
        panic!("it was not tried again")
    };
    desk.server.follower_said(Upward::Part {
        ticket,
        offset: 0,
        next: until,
        done: true,
        error: None,
        may_pass: false,
        late: false,
        data,
    });
    desk.commit().await;
    let events = ear.until("caught_up").await;
    assert_eq!((count(&events, "notice"), count(&events, "router_trouble")), (1, 0));
}

#[tokio::test]
async fn p9_a_read_that_fails_for_long_is_told_and_the_client_goes_on() {
    let mut desk = Desk::new();
    let clock = Arc::new(AtomicU64::new(0));
    desk.server.clock = Clock::Played(clock.clone(), 0);
    let (mut ear, _, mut ticket, _) = asked(&mut desk).await;
    for now in 1..=200 {
        desk.server.follower_said(stale(ticket));
        clock.store(now * 1000, Ordering::Relaxed);
        match desk.asked().await.pop() {
            Some(Downward::Read { ticket: next, .. }) => ticket = next,
            _ => break,
        }
    }
    let events = ear.until("caught_up").await;
    assert_eq!((count(&events, "notice"), count(&events, "router_trouble")), (0, 1));
    assert!((60_000..120_000).contains(&clock.load(Ordering::Relaxed)));
}

#[tokio::test]
async fn p4_a_read_that_failed_is_tried_again_though_nothing_else_happens() {
    let mut desk = Desk::new();
    let (mut ear, data, ticket, until) = asked(&mut desk).await;
    let Desk {
        server,
        mut told_follower,
        _follower_says: says,
        stop,
        stopped,
        ..
    } = desk;
    let running = tokio::spawn(server.run(stopped));
    says.send(stale(ticket)).await.unwrap();
    let again = tokio::time::timeout(Duration::from_secs(60), told_follower.recv()).await;
    let Ok(Some(Downward::Read { ticket, .. })) = again else {
        panic!("it was not tried again: {again:?}")
    };
    let read = Upward::Part {
        ticket,
        offset: 0,
        next: until,
        done: true,
        error: None,
        may_pass: false,
        late: false,
        data,
    };
    says.send(read).await.unwrap();
    let events = ear.until("caught_up").await;
    assert_eq!((count(&events, "notice"), count(&events, "router_trouble")), (1, 0));
    stop.send_replace(Stop::Now);
    running.await.unwrap().unwrap();
}
