use std::fs;

use codeswarm_mailbox::{FilesystemKind, Limits, WatchMode};
use codeswarm_protocol::frame::Ticket;

use super::*;

fn line(number: u64) -> String {
    format!("{{\"type\":\"notice\",\"message\":\"number {number}\"}}\n")
}

fn place(rank: usize) -> Place {
    Place::from_stem(&format!("7_{rank:02}")).unwrap()
}

/// Follows, two looks at once, each of about so many bytes.
fn watching(chunk_bytes: usize) -> (tempfile::TempDir, Mailbox, Watching) {
    let folder = tempfile::tempdir().unwrap();
    let mailbox = Mailbox::at(folder.path().join("root"));
    mailbox.create().unwrap();
    let limits = Some(Limits::default());
    let wakes = Wakes::with_limits(WatchMode::Poll, FilesystemKind::Local, &[], limits).unwrap();
    let watching = Watching::new(mailbox.clone(), wakes, 2, chunk_bytes, Stalls::default());
    (folder, mailbox, watching)
}

#[tokio::test]
async fn p8_who_listens_no_more_while_something_waits_to_be_said_ends_the_following() {
    let (_folder, mailbox, watching) = watching(1);
    fs::write(mailbox.outbox(&place(0)), (0..100).map(line).collect::<String>()).unwrap();
    let (orders, order) = mpsc::channel(1);
    let (events, mut said) = mpsc::channel(1);
    let following = tokio::spawn(watching.run(order, events));
    orders.send(Order::Watch(place(0), 0)).await.unwrap();
    let first = said.recv().await;
    assert!(matches!(first, Some(Upward::Chunk { offset: 0, .. })), "{first:?}");
    drop(said);
    following.await.unwrap().unwrap();
    assert!(orders.send(Order::Hint(place(0))).await.is_err());
}

#[tokio::test]
async fn p4_what_the_listener_has_no_room_for_is_said_later_and_in_order() {
    let (_folder, _mailbox, mut watching) = watching(1);
    let answer = |number| Upward::Pong { ticket: Ticket(number) };
    for number in 0..5 {
        watching.unsent.push(answer(number));
    }
    let (events, mut said) = mpsc::channel(2);
    for heard in [&[0, 1][..], &[2, 3], &[4]] {
        watching.say(events.reserve().await.unwrap(), &events);
        for number in heard {
            assert_eq!(said.try_recv().ok(), Some(answer(*number)));
        }
        assert!(said.try_recv().is_err(), "there was room for two");
    }
    assert!(watching.unsent.is_empty());
}

#[tokio::test]
async fn what_a_look_finds_of_an_outbox_that_is_no_longer_watched_is_not_said() {
    let (_folder, mailbox, mut watching) = watching(1000);
    fs::write(mailbox.outbox(&place(0)), line(1)).unwrap();
    watching.obey(Order::Watch(place(0), 0));
    let (place, number) = watching.turns.next().unwrap();
    let mut tail = watching.tails.remove(&place).unwrap();
    let look = look(&mut tail, 1000, Instant::now());
    assert!(matches!(look.finding, Finding::Lines { .. }), "{look:?}");
    watching.obey(Order::Unwatch(place.clone()));
    watching.looked(Done {
        place: place.clone(),
        number,
        tail,
        look,
        took: Duration::ZERO,
    });
    assert!(watching.unsent.is_empty() && watching.tails.is_empty());
    // Watched again, it is read from where the order says.
    watching.obey(Order::Watch(place, 0));
    watching.begin_looks();
    let said = [watching.unsent.pop(), watching.unsent.pop()];
    assert!(
        matches!(said, [Some(Upward::Chunk { offset: 0, .. }), None]),
        "{said:?}"
    );
}

#[tokio::test]
async fn p4_more_outboxes_than_are_held_open_are_each_read_once_and_in_order() {
    let (_folder, mailbox, mut watching) = watching(1);
    let count = OPEN * 2;
    for rank in 0..count {
        fs::write(mailbox.outbox(&place(rank)), (0..5).map(line).collect::<String>()).unwrap();
        watching.obey(Order::Watch(place(rank), 0));
    }
    let (orders, order) = mpsc::channel(1);
    let (events, mut said) = mpsc::channel(1);
    let following = tokio::spawn(watching.run(order, events));
    let mut read: HashMap<Place, Vec<u8>> = HashMap::new();
    let all: String = (0..5).map(line).collect();
    while read.len() < count || read.values().any(|data| data.len() < all.len()) {
        match said.recv().await.unwrap() {
            Upward::Chunk { place, offset, data } => {
                let before = read.entry(place).or_default();
                assert_eq!(before.len() as u64, offset);
                before.extend_from_slice(&data);
            }
            other => panic!("{other:?}"),
        }
    }
    assert!(read.values().all(|data| data == all.as_bytes()));
    drop(orders);
    following.await.unwrap().unwrap();
}

#[test]
fn p9_an_outbox_that_was_cut_back_is_believed_after_a_while_and_then_told() {
    let (_folder, mailbox, _) = watching(1000);
    fs::write(mailbox.outbox(&place(0)), line(1) + &line(2)).unwrap();
    let (mut tail, now) = (Tail::outbox(&mailbox, place(0), 0), Instant::now());
    let was = (line(1) + &line(2)).len() as u64;
    assert!(matches!(look(&mut tail, 1000, now).finding, Finding::Lines { .. }));
    fs::write(mailbox.outbox(&place(0)), line(3)).unwrap();
    let doubted = look(&mut tail, 1000, now);
    assert_eq!((doubted.finding, doubted.in_doubt), (Finding::Nothing, true));
    let told = look(&mut tail, 1000, now + Duration::from_secs(3600));
    assert_eq!((told.finding, told.more), (Finding::Shrunk { offset: 0, was }, true));
    let data = line(3).into();
    assert_eq!(look(&mut tail, 1000, now).finding, Finding::Lines { offset: 0, data });
}

/// Follows these until so many have said something; whose chunk came when.
async fn order_of_chunks(mailbox: &Mailbox, mut watching: Watching, files: usize, saying: usize) -> Vec<usize> {
    for rank in 0..files {
        fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(mailbox.outbox(&place(rank)))
            .unwrap();
        watching.obey(Order::Watch(place(rank), 0));
    }
    let (orders, order) = mpsc::channel(1);
    let (events, mut said) = mpsc::channel(32);
    let following = tokio::spawn(watching.run(order, events));
    let (mut came, mut each) = (Vec::new(), HashSet::new());
    while each.len() < saying {
        let next = tokio::time::timeout(Duration::from_secs(60), said.recv()).await;
        let Some(Upward::Chunk { place, .. }) = next.unwrap() else {
            panic!("no chunk")
        };
        let rank = place.node_id.rank() as usize;
        came.push(rank);
        each.insert(rank);
    }
    drop(orders);
    following.await.unwrap().unwrap();
    came
}

/// Of these files no schedule looks at one before the day is over.
fn never_due() -> Limits {
    let never = Duration::from_secs(24 * 3600);
    Limits {
        hot: never,
        warm: never,
        cold: never,
        ..Limits::default()
    }
}

#[tokio::test]
async fn p8_a_hot_file_does_not_make_a_thousand_quiet_ones_wait() {
    let (_folder, mailbox, watching) = watching(1);
    fs::write(mailbox.outbox(&place(0)), (0..5000).map(line).collect::<String>()).unwrap();
    for rank in 1..=1000 {
        fs::write(mailbox.outbox(&place(rank)), line(1)).unwrap();
    }
    let came = order_of_chunks(&mailbox, watching, 1001, 1001).await;
    let hot = came.iter().filter(|rank| **rank == 0).count();
    assert!(
        hot <= 2 + 2,
        "the hot one had {hot} turns before the last quiet one had its first"
    );
}

#[tokio::test]
async fn many_files_that_hold_nothing_do_not_end_the_turns_of_those_behind_them() {
    let (_folder, mailbox, watching) = watching(1000);
    let wakes = Wakes::with_limits(WatchMode::Poll, FilesystemKind::Local, &[], Some(never_due())).unwrap();
    let watching = Watching { wakes, ..watching };
    fs::write(mailbox.outbox(&place(500)), line(1)).unwrap();
    assert_eq!(order_of_chunks(&mailbox, watching, 501, 1).await, [500]);
}

#[tokio::test]
async fn p8_one_go_is_bounded_in_looks_and_in_bytes() {
    for (chunk_bytes, at_most) in [(1000, batch::LOOKS), (1, 1)] {
        let (_folder, mailbox, mut watching) = watching(chunk_bytes);
        for rank in 0..2 * batch::LOOKS {
            fs::write(mailbox.outbox(&place(rank)), line(1)).unwrap();
            watching.obey(Order::Watch(place(rank), 0));
        }
        watching.begin_looks();
        let under_way = watching.looks.len();
        let found = std::iter::from_fn(|| watching.unsent.pop()).count();
        assert!(
            (1..=at_most).contains(&(found + under_way)) && found > 0,
            "{found} and {under_way} under way of {at_most}"
        );
        assert_eq!(watching.turns.waiting(), 2 * batch::LOOKS - found - under_way);
    }
}
