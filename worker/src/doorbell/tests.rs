//! A worker's side against followers that are played by the test.

use codeswarm_mailbox::{FilesystemKind, Outcome as Seen, Wakes, WatchMode};
use codeswarm_protocol::doorbell::{Line, Ring, Secret, WhichBox};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, DuplexStream};
use tokio::net::TcpListener;

use super::*;

const SOON: Duration = Duration::from_secs(30);

struct Played {
    _folder: tempfile::TempDir,
    mailbox: Mailbox,
    wakes: Wakes,
    listener: TcpListener,
    told: doorbell::Doorbell,
}

fn place() -> Place {
    Place::from_stem("27_03").unwrap()
}

impl Played {
    /// A follower listens; `before` are addresses that come first in the file.
    async fn follower(before: &[SocketAddr]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mailbox = Mailbox::at(folder.path().join("root"));
        mailbox.create().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut addresses = before.to_vec();
        addresses.push(listener.local_addr().unwrap());
        let told = doorbell::Doorbell::new(addresses, "login1".into(), 7).unwrap();
        doorbell::write(&mailbox, &told).unwrap();
        let mut wakes = Wakes::new(WatchMode::Poll, FilesystemKind::Local, &[]).unwrap();
        wakes.add(place());
        Self {
            _folder: folder,
            mailbox,
            wakes,
            listener,
            told,
        }
    }

    fn worker(&self) -> Doorbell {
        Doorbell::start(&self.mailbox, &place(), self.wakes.rings())
    }

    /// Somebody connects and says hello.
    async fn caller(&self) -> BufReader<TcpStream> {
        let (stream, _) = tokio::time::timeout(SOON, self.listener.accept())
            .await
            .unwrap()
            .unwrap();
        let mut caller = BufReader::new(stream);
        match heard(&mut caller).await {
            Some(Line::Hello { token, place }) if token.is(&self.told.token) => {
                assert_eq!(place, super::tests::place())
            }
            other => panic!("{other:?}"),
        }
        caller
    }

    async fn welcomed(&self) -> BufReader<TcpStream> {
        let mut caller = self.caller().await;
        let answer = self.told.answer.clone();
        say(&mut caller, &Line::Welcome { answer }).await;
        caller
    }

    async fn looked_at(&mut self) {
        let looked = tokio::time::timeout(SOON, self.wakes.next())
            .await
            .expect("nothing woke us");
        self.wakes.looked(&looked, Seen::Nothing, Duration::ZERO);
    }
}

async fn heard(caller: &mut BufReader<TcpStream>) -> Option<Line> {
    let mut line = Vec::new();
    let read = tokio::time::timeout(SOON, caller.read_until(b'\n', &mut line)).await;
    match read.expect("nothing was said") {
        Ok(0) | Err(_) => None,
        Ok(_) => Some(Line::parse(&line).unwrap()),
    }
}

async fn say(caller: &mut BufReader<TcpStream>, line: &Line) {
    caller.get_mut().write_all(&line.to_line()).await.unwrap();
}

fn inbox(stem: &str, size: u64) -> Line {
    let (which, place) = (WhichBox::Inbox, Place::from_stem(stem).unwrap());
    Line::Ring(Ring { which, place, size })
}

#[tokio::test]
async fn it_rings_for_its_outbox_and_is_rung_for() {
    let mut played = Played::follower(&[]).await;
    let worker = played.worker();
    worker.ring(100);
    let mut caller = played.welcomed().await;
    match heard(&mut caller).await {
        Some(Line::Ring(ring)) => {
            assert_eq!(
                (ring.which, ring.place, ring.size),
                (WhichBox::Outbox, place(), 100),
                "what was before"
            );
        }
        other => panic!("{other:?}"),
    }
    for size in 101..=10_000 {
        worker.ring(size);
    }
    let mut rings = 0;
    loop {
        rings += 1;
        match heard(&mut caller).await {
            Some(Line::Ring(ring)) if ring.size == 10_000 => break,
            Some(Line::Ring(_)) => {}
            other => panic!("{other:?}"),
        }
    }
    assert!(rings <= 2, "{rings} rings for what came together");
    played.looked_at().await;
    say(&mut caller, &inbox("27_03", 7)).await;
    played.looked_at().await;
    assert!(!worker.task.is_finished());
}

#[tokio::test]
async fn an_address_that_nobody_has_is_passed_over() {
    let gone = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let nobody = gone.local_addr().unwrap();
    drop(gone);
    let played = Played::follower(&[nobody]).await;
    let _worker = played.worker();
    played.welcomed().await;
}

/// What a server may do instead of what it should.
enum Bad {
    Says(Vec<u8>),
    Closes,
}

#[tokio::test]
async fn p12_a_server_that_is_not_the_follower_is_let_go_and_not_believed() {
    let stranger = Line::Welcome {
        answer: Secret::of([0; 24]),
    };
    for bad in [
        Bad::Says(stranger.to_line()),
        Bad::Says(b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec()),
        Bad::Says(vec![b'x'; 10_000]),
        Bad::Says(inbox("27_03", 9).to_line()),
        Bad::Closes,
    ] {
        let played = Played::follower(&[]).await;
        let worker = played.worker();
        let mut caller = played.caller().await;
        if let Bad::Says(bytes) = bad {
            // It may be let go while this is written.
            let _ = caller.get_mut().write_all(&bytes).await;
            let mut rest = Vec::new();
            let ended = tokio::time::timeout(SOON, caller.read_to_end(&mut rest)).await;
            // Closed with what it had not read, or in order.
            let _reset_or_end = ended.expect("it stays connected");
            assert!(rest.is_empty(), "it has rung for a stranger");
        }
        drop(caller);
        assert!(!worker.task.is_finished(), "it tries again later");
    }
}

#[tokio::test]
async fn p12_a_follower_that_sends_rubbish_or_the_rings_of_others_is_let_go_and_tried_again() {
    for bad in [
        b"\n".to_vec(),
        inbox("27_04", 9).to_line(),
        Line::Ping.to_line(),
        vec![b'x'; 10_000],
    ] {
        let played = Played::follower(&[]).await;
        let _worker = played.worker();
        let mut caller = played.welcomed().await;
        let _ = caller.get_mut().write_all(&bad).await;
        assert!(heard(&mut caller).await.is_none());
        drop(caller);
        played.welcomed().await;
    }
}

#[tokio::test]
async fn a_follower_that_floods_is_let_go() {
    let played = Played::follower(&[]).await;
    let _worker = played.worker();
    let mut caller = played.welcomed().await;
    let pongs = Line::Pong.to_line().repeat(20_000);
    let _ = caller.get_mut().write_all(&pongs).await;
    assert!(heard(&mut caller).await.is_none());
}

#[tokio::test]
async fn a_new_follower_is_found_by_the_mailbox_alone() {
    let mut played = Played::follower(&[]).await;
    let _worker = played.worker();
    let caller = played.welcomed().await;
    // The first one ends, the next one has another port and other secrets.
    doorbell::withdraw(&played.mailbox, &played.told).unwrap();
    played.listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addresses = vec![played.listener.local_addr().unwrap()];
    played.told = doorbell::Doorbell::new(addresses, "login2".into(), 8).unwrap();
    doorbell::write(&played.mailbox, &played.told).unwrap();
    drop(caller);
    played.welcomed().await;
}

/// TCP has no way to a group of machines; the kernel says so at once.
const NO_WAY: &str = "224.0.0.1:9";

fn addresses(of: &[&str]) -> Vec<SocketAddr> {
    of.iter().map(|address| address.parse().unwrap()).collect()
}

#[tokio::test]
async fn what_comes_of_an_attempt_is_told_by_the_address_that_was_reached() {
    let gone = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let nobody = gone.local_addr().unwrap().to_string();
    drop(gone);
    let played = Played::follower(&[]).await;
    let mut caller = Caller {
        mailbox: played.mailbox.clone(),
        place: place(),
        rings: played.wakes.rings(),
        outbox: watch::channel(0).1,
    };
    for (told, refused) in [
        (&[NO_WAY][..], false),
        (&[NO_WAY, nobody.as_str()], true),
        (&[nobody.as_str(), NO_WAY], true),
    ] {
        let told = doorbell::Doorbell::new(addresses(told), "login1".into(), 7).unwrap();
        doorbell::write(&played.mailbox, &told).unwrap();
        match caller.attempt().await {
            Outcome::Refused => assert!(refused, "nobody was reached"),
            Outcome::NoWay(why) => assert!(!refused && why.starts_with(NO_WAY), "{why}"),
            other => panic!("{other:?}"),
        }
    }
    // One that takes no more connections and refuses none.
    let full = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    rustix::net::listen(&full, 0).unwrap();
    let address = full.local_addr().unwrap();
    let fill = || std::net::TcpStream::connect_timeout(&address, Duration::from_millis(200));
    let waiting: Vec<_> = std::iter::from_fn(|| fill().ok()).take(64).collect();
    assert!(waiting.len() < 64, "it takes any number");
    let told = doorbell::Doorbell::new(vec![address], "login1".into(), 7).unwrap();
    doorbell::write(&played.mailbox, &told).unwrap();
    match caller.attempt().await {
        Outcome::NoWay(why) => assert!(why.contains("does not answer"), "{why}"),
        other => panic!("{other:?}"),
    }
    // A file that cannot be read is no word of anybody.
    let file = played.mailbox.doorbell_file();
    let elsewhere = played.mailbox.root().join("elsewhere");
    std::fs::rename(&file, &elsewhere).unwrap();
    std::os::unix::fs::symlink(&elsewhere, &file).unwrap();
    assert_eq!(caller.attempt().await, Outcome::Nobody);
    std::fs::remove_file(&file).unwrap();
    assert_eq!(caller.attempt().await, Outcome::Nobody);
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_reaches_no_address_says_so_once() {
    let mut played = Played::follower(&[]).await;
    played.told = doorbell::Doorbell::new(addresses(&[NO_WAY]), "login1".into(), 7).unwrap();
    doorbell::write(&played.mailbox, &played.told).unwrap();
    let mut worker = played.worker();
    let told = worker.notices.recv().await.unwrap();
    assert!(told.contains(NO_WAY) && told.contains("cluster.doorbell"), "{told}");
    let hour = Duration::from_secs(3600);
    assert!(timeout(hour, worker.notices.recv()).await.is_err(), "it is said once");
    assert!(!worker.task.is_finished(), "and tried again and again");
}

/// A talk of which the test has the other end, in paused time.
struct Talking {
    follower: BufReader<DuplexStream>,
    outbox: watch::Sender<u64>,
    why: JoinHandle<(&'static str, Duration)>,
}

/// `room` is how many bytes the other end takes without reading.
async fn talking(room: usize) -> Talking {
    let told = doorbell::Doorbell::new(Vec::new(), "login1".into(), 7).unwrap();
    let (follower, worker) = tokio::io::duplex(room);
    let mut follower = BufReader::new(follower);
    let rings = Wakes::new(WatchMode::Poll, FilesystemKind::Local, &[]).unwrap().rings();
    let (outbox, mut size) = watch::channel(0);
    let answer = Line::Welcome {
        answer: told.answer.clone(),
    };
    let why = tokio::spawn(async move {
        let talk = talk::hello(worker, &told, &place()).await.unwrap();
        let since = tokio::time::Instant::now();
        let why = talk.go_on(&place(), &rings, &mut size).await;
        (why, since.elapsed())
    });
    let mut hello = Vec::new();
    follower.read_until(b'\n', &mut hello).await.unwrap();
    assert!(matches!(Line::parse(&hello), Ok(Line::Hello { .. })));
    follower.write_all(&answer.to_line()).await.unwrap();
    Talking { follower, outbox, why }
}

impl Talking {
    async fn pinged(&mut self) {
        let mut line = Vec::new();
        self.follower.read_until(b'\n', &mut line).await.unwrap();
        assert!(matches!(Line::parse(&line), Ok(Line::Ping)), "{line:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn p4_a_follower_that_answers_is_kept_and_one_that_falls_silent_is_let_go() {
    let mut talk = talking(1 << 20).await;
    let since = tokio::time::Instant::now();
    for _ in 0..20 {
        talk.pinged().await;
        // Many rings are no flood if there is a ping between them.
        let rings = inbox("27_03", 7).to_line().repeat(6_000);
        talk.follower.write_all(&rings).await.unwrap();
        talk.follower.write_all(&Line::Pong.to_line()).await.unwrap();
    }
    assert_eq!(since.elapsed().as_secs(), 600, "every thirty seconds");
    // From now on it answers nothing.
    let (why, lasted) = talk.why.await.unwrap();
    assert_eq!((why, lasted.as_secs()), ("the follower does not answer", 650));
}

#[tokio::test(start_paused = true)]
async fn p4_a_follower_that_takes_nothing_is_let_go() {
    // A ring does not fit, and nobody reads it.
    let talk = talking(16).await;
    talk.outbox.send(100).unwrap();
    let (why, lasted) = talk.why.await.unwrap();
    assert_eq!((why, lasted.as_secs()), ("the follower takes nothing", 5));
    // Neither does a ping.
    let talk = talking(4).await;
    let (why, lasted) = talk.why.await.unwrap();
    assert_eq!((why, lasted.as_secs()), ("the follower takes nothing", 35));
}
