//! The doorbell as the router hears of it: what cannot be had, and what rings that should not.

use codeswarm_follower::{FollowerConfig, WatchMode, spawn};
use codeswarm_mailbox::doorbell;
use codeswarm_protocol::doorbell::Listen;
use codeswarm_protocol::frame::Upward;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::room::{Ear, Room, place, records};

fn config(room: &Room, listen: &str) -> FollowerConfig {
    FollowerConfig {
        doorbell: Listen::At(listen.parse().unwrap()),
        ..room.config(WatchMode::Poll)
    }
}

fn trouble(event: &Upward) -> Option<&str> {
    match event {
        Upward::Trouble { place: None, error } => Some(error),
        _ => None,
    }
}

#[tokio::test]
async fn a_doorbell_that_cannot_be_had_is_told_and_outboxes_are_polled() {
    let room = Room::new();
    // For documentation alone (RFC 5737); no host has it.
    let mut ear = Ear::of(spawn(config(&room, "203.0.113.77:0")).unwrap());
    assert!(matches!(ear.listen().await, Upward::Hello { .. }));
    let told = ear.listen().await;
    let told = trouble(&told).unwrap();
    assert!(
        told.contains("203.0.113.77") && told.contains("the mailbox is polled"),
        "{told}"
    );
    assert!(doorbell::read(&room.mailbox).unwrap().is_none());
    room.say(&place(0), records(1..=2));
    ear.watch(&place(0), 0).await;
    ear.until_received(&place(0), &records(1..=2)).await;
    room.say(&place(0), records([3]));
    ear.until_received(&place(0), &records(1..=3)).await;
    ear.end().await;
}

#[tokio::test]
async fn p12_who_rings_without_the_token_is_told_to_the_router() {
    let room = Room::new();
    let mut ear = Ear::of(spawn(config(&room, "127.0.0.1:0")).unwrap());
    let told = doorbell::read(&room.mailbox).unwrap().unwrap();
    let mut stranger = TcpStream::connect(told.addresses[0]).await.unwrap();
    stranger.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    // Whatever ends the connection: nothing is said to a stranger.
    let mut heard = Vec::new();
    let _ended = stranger.read_to_end(&mut heard).await;
    assert!(heard.is_empty());
    let said = ear.hear(|event| trouble(event).is_some()).await;
    let said = trouble(&said).unwrap();
    assert!(said.contains("1 connections without the mailbox's token"), "{said}");
    ear.end().await;
}

#[tokio::test]
async fn a_doorbell_that_cannot_be_taken_back_does_not_keep_the_follower_from_ending_in_order() {
    let room = Room::new();
    let ear = Ear::of(spawn(config(&room, "127.0.0.1:0")).unwrap());
    let file = room.mailbox.doorbell_file();
    let elsewhere = file.with_extension("elsewhere");
    std::fs::rename(&file, &elsewhere).unwrap();
    std::os::unix::fs::symlink(&elsewhere, &file).unwrap();
    let before = std::fs::read(&elsewhere).unwrap();
    ear.end().await;
    assert_eq!(
        std::fs::read(&elsewhere).unwrap(),
        before,
        "nothing is written through a link"
    );
    std::fs::remove_file(&file).unwrap();
    // The lease was given back, and the next one rings again.
    let next = Ear::of(spawn(config(&room, "127.0.0.1:0")).unwrap());
    assert!(doorbell::read(&room.mailbox).unwrap().is_some());
    next.end().await;
    assert!(doorbell::read(&room.mailbox).unwrap().is_none());
}
