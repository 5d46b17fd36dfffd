//! Connections in memory, on a clock that goes on when all wait: what comes too late, is not taken, or is too much.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize};

use codeswarm_mailbox::{FilesystemKind, Wakes, WatchMode, doorbell};
use tokio::io::{AsyncBufReadExt, BufReader, DuplexStream, duplex};
use tokio::sync::mpsc;

use super::*;

/// A doorbell that hears whoever is let in.
struct Hall {
    shared: Arc<Shared>,
    door: mpsc::Sender<io::Result<DuplexStream>>,
}

impl Hall {
    fn open(watched: usize) -> Self {
        let shared = Arc::new(Shared {
            told: doorbell::Doorbell::new(Vec::new(), "login1".into(), 7).unwrap(),
            rings: Wakes::new(WatchMode::Poll, FilesystemKind::Local, &[]).unwrap().rings(),
            workers: Mutex::default(),
            watched: AtomicUsize::new(watched),
            most: 1_000,
            is_short: AtomicBool::new(false),
            tally: Mutex::default(),
        });
        let (door, comes) = mpsc::channel(1);
        let comes = Arc::new(tokio::sync::Mutex::new(comes));
        let next = move || {
            let comes = comes.clone();
            async move {
                match comes.lock().await.recv().await {
                    Some(comes) => comes,
                    None => std::future::pending().await,
                }
            }
        };
        tokio::spawn(take(next, shared.clone()));
        Self { shared, door }
    }

    /// Somebody connects; so many bytes are under way at most.
    async fn enter(&self, room: usize) -> Caller {
        let (ours, theirs) = duplex(room);
        self.door.send(Ok(theirs)).await.unwrap();
        Caller(BufReader::new(ours))
    }

    fn hello(&self, rank: u32) -> Vec<u8> {
        let (token, place) = (self.shared.told.token.clone(), place(rank));
        Line::Hello { token, place }.to_line()
    }

    /// One that is welcomed.
    async fn worker(&self, room: usize, rank: u32) -> Caller {
        let mut caller = self.enter(room).await;
        caller.say(&self.hello(rank)).await;
        assert!(matches!(caller.hear().await, Some(Line::Welcome { .. })));
        caller
    }

    fn is_here(&self, rank: u32) -> bool {
        self.shared.workers().here.contains_key(&place(rank))
    }

    fn trouble(&self) -> Option<String> {
        self.shared.tally().tell(std::time::Instant::now())
    }
}

fn place(rank: u32) -> Place {
    Place::from_stem(&format!("27_{rank}")).unwrap()
}

struct Caller(BufReader<DuplexStream>);

impl Caller {
    async fn say(&mut self, bytes: &[u8]) {
        self.0.get_mut().write_all(bytes).await.unwrap();
    }

    /// The next line; `None` when the connection has ended.
    async fn hear(&mut self) -> Option<Line> {
        let mut line = Vec::new();
        self.0.read_until(b'\n', &mut line).await.unwrap();
        line.ends_with(b"\n").then(|| Line::parse(&line).unwrap())
    }
}

#[tokio::test(start_paused = true)]
async fn who_says_no_hello_in_time_is_let_go_as_a_stranger() {
    let hall = Hall::open(1);
    for said in ["", "{\"say\":\"hel"] {
        let began = Instant::now();
        let mut caller = hall.enter(1000).await;
        caller.say(said.as_bytes()).await;
        assert!(caller.hear().await.is_none());
        assert!(began.elapsed() >= HELLO, "{:?}", began.elapsed());
    }
    let told = hall.trouble().unwrap();
    assert!(
        told.contains("dropped 2 connections without the mailbox's token;"),
        "{told}"
    );
}

#[tokio::test(start_paused = true)]
async fn whoever_comes_while_too_many_are_about_to_say_hello_waits_until_one_has_said_it() {
    let hall = Hall::open(2 * ARRIVING);
    let mut silent = Vec::new();
    for _ in 0..ARRIVING {
        silent.push(hall.enter(1000).await);
    }
    let mut waits = hall.enter(1000).await;
    waits.say(&hall.hello(1)).await;
    let heard = timeout(Duration::from_secs(1), waits.hear()).await;
    assert!(heard.is_err(), "it is not heard yet: {heard:?}");
    let mut first = silent.remove(0);
    first.say(&hall.hello(0)).await;
    assert!(matches!(first.hear().await, Some(Line::Welcome { .. })));
    assert!(matches!(waits.hear().await, Some(Line::Welcome { .. })));
    assert_eq!(hall.trouble(), None);
}

#[tokio::test(start_paused = true)]
async fn what_the_system_does_not_allow_is_refused_and_told_once_for_what_it_is() {
    let hall = Hall::open(1_007);
    let doorbell = crate::doorbell::Doorbell(Some(hall.shared.clone()));
    let now = std::time::Instant::now();
    let told = doorbell.trouble(now).unwrap();
    assert!(told.starts_with("7 of 1007 workers cannot be connected"), "{told}");
    assert!(told.contains("no more than 1512 files open"), "{told}");
    assert_eq!(doorbell.trouble(now), None);
    assert_eq!(hall.shared.room(), 1_000);
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_cannot_be_taken_costs_a_pause_and_no_other() {
    let hall = Hall::open(1);
    let mut before = hall.worker(1000, 0).await;
    let began = Instant::now();
    for _ in 0..3 {
        let full = rustix::io::Errno::MFILE.into();
        hall.door.send(Err(full)).await.unwrap();
    }
    hall.worker(1000, 1).await;
    assert!(began.elapsed() >= PAUSE * 3, "{:?}", began.elapsed());
    before.say(&Line::Ping.to_line()).await;
    assert!(matches!(before.hear().await, Some(Line::Pong)));
    assert_eq!(hall.trouble(), None);
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_does_not_take_what_it_is_told_is_let_go_and_waited_for_no_longer() {
    for what in ["welcome", "ring", "pong"] {
        let hall = Hall::open(1);
        // Less room than any of these lines needs.
        let room = 8;
        let mut caller = match what {
            "welcome" => hall.enter(room).await,
            _ => hall.worker(room, 0).await,
        };
        let began = Instant::now();
        match what {
            "welcome" => caller.say(&hall.hello(0)).await,
            "ring" => drop(hall.shared.workers().here[&place(0)].inbox.send_replace(7)),
            _ => caller.say(&Line::Ping.to_line()).await,
        }
        while Arc::strong_count(&hall.shared) > 2 {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        assert!(began.elapsed() >= TAKEN, "{what}: {:?}", began.elapsed());
        assert!(!hall.is_here(0), "{what}");
        assert!(caller.hear().await.is_none(), "{what}");
        assert_eq!(hall.trouble(), None, "{what}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_is_gone_when_it_is_told_something_is_let_go() {
    for rings in [false, true] {
        let hall = Hall::open(1);
        let mut caller = hall.worker(1000, 0).await;
        if rings {
            hall.shared.workers().here[&place(0)].inbox.send_replace(7);
        } else {
            caller.say(&Line::Ping.to_line()).await;
        }
        drop(caller);
        while hall.is_here(0) {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        assert_eq!(hall.trouble(), None);
    }
}
