//! Real connections to a real doorbell.

use std::time::Duration;

use codeswarm_mailbox::{FilesystemKind, Outcome, Wakes, WatchMode};
use codeswarm_protocol::doorbell::{Line, Ring, Secret, WhichBox};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

use super::*;

const SOON: Duration = Duration::from_secs(20);

fn place(rank: u32) -> Place {
    Place::from_stem(&format!("27_{rank}")).unwrap()
}

/// A doorbell on loopback, the files that it rings for, and the mailbox.
struct House {
    _folder: tempfile::TempDir,
    mailbox: Mailbox,
    wakes: Wakes,
    doorbell: Doorbell,
    hearing: JoinHandle<()>,
    told: doorbell::Doorbell,
}

impl House {
    async fn open(outboxes: u32) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mailbox = Mailbox::at(folder.path().join("root"));
        mailbox.create().unwrap();
        let mut wakes = Wakes::new(WatchMode::Poll, FilesystemKind::Local, &[]).unwrap();
        let listen = Listen::At("127.0.0.1:0".parse().unwrap());
        let (doorbell, hearing) = Doorbell::open(listen, true, &mailbox, wakes.rings(), "login1").unwrap();
        for rank in 0..outboxes {
            wakes.add(place(rank));
        }
        doorbell.watched(outboxes as usize);
        let told = doorbell::read(&mailbox).unwrap().unwrap();
        assert_eq!((told.host.as_str(), told.pid), ("login1", std::process::id()));
        Self {
            _folder: folder,
            mailbox,
            wakes,
            doorbell,
            hearing: hearing.unwrap(),
            told,
        }
    }

    async fn connect(&self) -> Caller {
        let stream = TcpStream::connect(self.told.addresses[0]).await.unwrap();
        Caller(BufReader::new(stream))
    }

    async fn hello(&self, rank: u32) -> Caller {
        let mut caller = self.connect().await;
        let token = self.told.token.clone();
        let place = place(rank);
        caller.say(&Line::Hello { token, place }).await;
        match caller.hear().await {
            Some(Line::Welcome { answer }) if answer.is(&self.told.answer) => caller,
            other => panic!("{other:?}"),
        }
    }

    /// Answers looks that find nothing until `wanted` is looked at.
    async fn until_looked_at(&mut self, wanted: &Place) {
        loop {
            let looked = tokio::time::timeout(SOON, self.wakes.next())
                .await
                .expect("nothing woke us");
            self.wakes.looked(&looked, Outcome::Nothing, Duration::ZERO);
            if looked == *wanted {
                return;
            }
        }
    }

    /// Waits until so much was not listened to.
    async fn until_told(&self, part: &str) {
        let told = async {
            loop {
                match self.doorbell.trouble(Instant::now()) {
                    Some(told) => return told,
                    None => tokio::task::yield_now().await,
                }
            }
        };
        let told = tokio::time::timeout(SOON, told).await.expect("nothing was counted");
        assert!(told.contains(part), "{told}");
        assert!(!told.contains(&String::from(self.told.token.clone())));
    }
}

struct Caller(BufReader<TcpStream>);

impl Caller {
    async fn say(&mut self, line: &Line) {
        self.0.get_mut().write_all(&line.to_line()).await.unwrap();
    }

    async fn ring(&mut self, rank: u32, size: u64) {
        let place = place(rank);
        let which = WhichBox::Outbox;
        self.say(&Line::Ring(Ring { which, place, size })).await;
    }

    /// The next line; `None` when the connection has ended.
    async fn hear(&mut self) -> Option<Line> {
        let mut line = Vec::new();
        let read = tokio::time::timeout(SOON, self.0.read_until(b'\n', &mut line)).await;
        match read.expect("nothing was said") {
            Ok(0) | Err(_) => None,
            Ok(_) => Some(Line::parse(&line).unwrap()),
        }
    }
}

#[tokio::test]
async fn a_ring_wakes_for_its_file_and_an_inbox_is_rung_for() {
    let mut house = House::open(3).await;
    let mut caller = house.hello(1).await;
    house.until_looked_at(&place(1)).await;
    caller.ring(1, 700).await;
    house.until_looked_at(&place(1)).await;
    // Nobody is there for the others.
    house.doorbell.ring(&place(0), 11);
    house.doorbell.ring(&place(1), 50);
    match caller.hear().await {
        Some(Line::Ring(ring)) => assert_eq!((ring.which, ring.place, ring.size), (WhichBox::Inbox, place(1), 50)),
        other => panic!("{other:?}"),
    }
    caller.say(&Line::Ping).await;
    assert!(matches!(caller.hear().await, Some(Line::Pong)));
}

#[tokio::test]
async fn a_worker_that_does_not_listen_is_told_the_last_size_alone_and_holds_up_nobody() {
    let house = House::open(1).await;
    let mut caller = house.hello(0).await;
    for size in 1..=1_000_000 {
        house.doorbell.ring(&place(0), size);
    }
    let mut heard = 0;
    loop {
        match caller.hear().await {
            Some(Line::Ring(ring)) if ring.size == 1_000_000 => break,
            Some(Line::Ring(_)) => heard += 1,
            other => panic!("{other:?}"),
        }
    }
    assert!(heard < 100, "{heard} rings were queued");
}

#[tokio::test]
async fn a_newer_connection_of_a_worker_takes_the_place_of_the_older() {
    let house = House::open(1).await;
    let mut old = house.hello(0).await;
    let mut new = house.hello(0).await;
    assert!(old.hear().await.is_none());
    house.doorbell.ring(&place(0), 7);
    assert!(matches!(new.hear().await, Some(Line::Ring(ring)) if ring.size == 7));
}

#[tokio::test]
async fn p12_whoever_does_not_know_the_token_learns_nothing_and_is_counted() {
    let house = House::open(1).await;
    let forged = Line::Hello {
        token: Secret::of([0; 24]),
        place: place(0),
    };
    let rubbish = vec![b'x'; 100_000];
    for first in [forged.to_line(), b"GET / HTTP/1.1\r\n\r\n".to_vec(), rubbish] {
        let mut caller = house.connect().await;
        // It may be let go while this is written.
        let _ = caller.0.get_mut().write_all(&first).await;
        assert!(caller.hear().await.is_none());
    }
    house.until_told("connections without the mailbox's token").await;
}

#[tokio::test]
async fn forged_rings_are_dropped_and_the_workers_own_are_heard() {
    let mut house = House::open(2).await;
    let mut caller = house.hello(1).await;
    house.until_looked_at(&place(1)).await;
    caller.ring(0, 9_000).await;
    caller.ring(1, 100).await;
    house.until_looked_at(&place(1)).await;
    house.until_told("1 rings for files of others").await;
}

#[tokio::test]
async fn a_thousand_workers_and_more_that_come_at_once_are_all_heard() {
    // Both ends are in this process. More than many systems let a process have open unless it asks.
    const WORKERS: u32 = 1_100;
    let house = House::open(WORKERS).await;
    let all = (0..WORKERS).map(|rank| {
        let (address, token) = (house.told.addresses[0], house.told.token.clone());
        tokio::spawn(async move {
            let stream = TcpStream::connect(address).await.unwrap();
            let mut caller = Caller(BufReader::new(stream));
            let place = place(rank);
            caller.say(&Line::Hello { token, place }).await;
            (caller.hear().await, caller)
        })
    });
    let mut callers = Vec::new();
    for caller in all.collect::<Vec<_>>() {
        let (heard, caller) = caller.await.unwrap();
        assert!(matches!(heard, Some(Line::Welcome { .. })), "{heard:?}");
        callers.push(caller);
    }
    assert_eq!(
        house.doorbell.0.as_ref().unwrap().workers().here.len(),
        WORKERS as usize
    );
    assert_eq!(house.doorbell.trouble(Instant::now()), None);
}

#[tokio::test]
async fn there_is_room_for_the_workers_and_a_few_more() {
    let house = House::open(2).await;
    let mut callers = Vec::new();
    for rank in 0..66 {
        callers.push(house.hello(rank).await);
    }
    let mut refused = house.connect().await;
    assert!(refused.hear().await.is_none());
    house.until_told("1 connections for which there was no room").await;
    drop(callers.pop());
    // A place is free as soon as that is known.
    let again = async {
        loop {
            let mut caller = house.connect().await;
            let (token, place) = (house.told.token.clone(), place(99));
            let hello = Line::Hello { token, place }.to_line();
            let _ = caller.0.get_mut().write_all(&hello).await;
            if caller.hear().await.is_some() {
                return;
            }
        }
    };
    tokio::time::timeout(SOON, again).await.unwrap();
}

#[tokio::test]
async fn when_it_ends_nobody_is_heard_and_the_file_is_empty() {
    let house = House::open(1).await;
    let mut caller = house.hello(0).await;
    house.hearing.abort();
    house.doorbell.withdraw(&house.mailbox);
    assert!(caller.hear().await.is_none());
    assert!(doorbell::read(&house.mailbox).unwrap().is_none());
    TcpStream::connect(house.told.addresses[0]).await.unwrap_err();
}

#[tokio::test]
async fn where_it_is_off_or_not_needed_nothing_is_listened_on_and_what_was_left_is_taken_back() {
    let house = House::open(1).await;
    for (listen, polls) in [(Listen::Off, true), (Listen::Auto, false)] {
        doorbell::write(&house.mailbox, &house.told).unwrap();
        let (off, hearing) = Doorbell::open(listen, polls, &house.mailbox, house.wakes.rings(), "login1").unwrap();
        assert!(off.0.is_none() && hearing.is_none());
        assert!(doorbell::read(&house.mailbox).unwrap().is_none());
        off.ring(&place(0), 1);
        assert_eq!(off.trouble(Instant::now()), None);
    }
}

#[tokio::test]
async fn an_address_of_another_host_is_told_and_costs_nothing_but_the_doorbell() {
    let house = House::open(1).await;
    // For documentation alone (RFC 5737); no host has it.
    let listen = Listen::At("203.0.113.77:0".parse().unwrap());
    let error = Doorbell::open(listen, true, &house.mailbox, house.wakes.rings(), "login1").unwrap_err();
    let told = error.to_string();
    assert!(
        told.contains("203.0.113.77") && told.contains("cluster.doorbell"),
        "{told}"
    );
    assert!(doorbell::read(&house.mailbox).unwrap().is_none());
}

#[test]
fn a_host_without_addresses_listens_at_its_loopback_and_one_without_ipv4_at_all_others() {
    for (own, expected) in [
        (&[] as &[&str], "127.0.0.1"),
        (&["fd00::2"], "::"),
        (&["10.0.0.7"], "0.0.0.0"),
        (&["fd00::2", "192.0.2.2"], "0.0.0.0"),
    ] {
        let own: Vec<IpAddr> = own.iter().map(|address| address.parse().unwrap()).collect();
        assert_eq!(where_to_listen(&own).to_string(), expected, "{own:?}");
    }
}

#[tokio::test]
async fn by_itself_it_listens_at_addresses_that_can_be_reached() {
    let folder = tempfile::tempdir().unwrap();
    let mailbox = Mailbox::at(folder.path().join("root"));
    mailbox.create().unwrap();
    let wakes = Wakes::new(WatchMode::Poll, FilesystemKind::Local, &[]).unwrap();
    let (_doorbell, hearing) = Doorbell::open(Listen::Auto, true, &mailbox, wakes.rings(), "login1").unwrap();
    assert!(hearing.is_some());
    let told = doorbell::read(&mailbox).unwrap().unwrap();
    assert!(!told.addresses.is_empty());
    assert!(told.addresses.iter().all(|address| address.port() > 0));
    TcpStream::connect(told.addresses[0]).await.unwrap();
}
