//! Two sides that wait for each other: nothing is lost, nobody waits for ever.

use std::time::Duration;

use tokio::sync::mpsc;

use super::*;

/// Longer than anything here takes.
const DEADLINE: Duration = Duration::from_secs(60);

async fn soon<T>(what: impl Future<Output = T>) -> T {
    match tokio::time::timeout(DEADLINE, what).await {
        Ok(done) => done,
        Err(_) => panic!("it waits for ever"),
    }
}

fn lines(bytes: usize) -> Bytes {
    Bytes::from(vec![b'x'; bytes])
}

async fn taken(queue: &ClientQueue) -> Bytes {
    match soon(queue.take()).await {
        Taken::Lines(lines) => lines,
        Taken::Closed => panic!("closed"),
    }
}

#[tokio::test]
async fn what_was_put_in_before_the_close_is_written_and_nothing_after() {
    let queue = ClientQueue::default();
    queue.push(Bytes::from_static(b"1"));
    queue.push(Bytes::from_static(b"22"));
    queue.close();
    queue.push(Bytes::from_static(b"333"));
    assert_eq!(taken(&queue).await, "122");
    assert!(matches!(soon(queue.take()).await, Taken::Closed));
    soon(queue.closed()).await;
}

#[tokio::test]
async fn a_writer_and_a_reader_that_wait_are_woken_by_the_close() {
    let queue = ClientQueue::default();
    let writer = tokio::spawn({
        let queue = queue.clone();
        async move { matches!(queue.take().await, Taken::Closed) }
    });
    queue.asked(ASKED_LIMIT);
    let reader = tokio::spawn({
        let queue = queue.clone();
        async move { queue.room().await }
    });
    tokio::task::yield_now().await;
    queue.close();
    assert!(soon(writer).await.unwrap());
    soon(reader).await.unwrap();
}

#[tokio::test]
async fn room_is_told_once_when_it_was_missed_and_is_there_again() {
    let queue = ClientQueue::default();
    assert!(queue.has_room(SOFT_LIMIT - 1));
    queue.push(lines(SOFT_LIMIT));
    assert!(!queue.has_room(0));
    drop(taken(&queue).await);
    assert!(!queue.has_room(0), "what is being written is still there");
    assert!(!queue.written(SOFT_LIMIT - SOFT_LIMIT / 4), "not yet");
    assert!(queue.written(1));
    assert!(!queue.written(0), "told twice");
    assert!(queue.has_room(0));
}

#[tokio::test]
async fn commands_wait_while_many_are_not_looked_at() {
    let queue = ClientQueue::default();
    let mut handed = 0;
    while tokio::time::timeout(Duration::ZERO, queue.room()).await.is_ok() {
        queue.asked(1);
        handed += 1;
    }
    assert_eq!(handed, ASKED_LIMIT / SHORT);
    let waits = tokio::spawn({
        let queue = queue.clone();
        async move { queue.room().await }
    });
    queue.answered(1);
    soon(waits).await.unwrap();
    // A long one goes through as well, alone.
    for _ in 1..handed {
        queue.answered(1);
    }
    queue.asked(100 * ASKED_LIMIT);
    assert!(tokio::time::timeout(Duration::ZERO, queue.room()).await.is_err());
    queue.answered(100 * ASKED_LIMIT);
    soon(queue.room()).await;
}

#[tokio::test]
async fn what_came_since_the_last_write_is_written_together_up_to_a_bound() {
    let queue = ClientQueue::default();
    for size in [PIECE / 2, PIECE / 2, 1, 3 * PIECE, 1, 2] {
        queue.push(lines(size));
    }
    let mut sizes = Vec::new();
    for _ in 0..4 {
        sizes.push(taken(&queue).await.len());
    }
    assert_eq!(sizes, [PIECE, 1, 3 * PIECE, 3]);
}

/// The length of a line of the flood.
const LINE: usize = 1004;

/// The server puts in what there is room for and waits for the word that there is room again; the writer is slower or
/// faster than that, on other threads.
#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn p8_a_flood_passes_whole_and_in_order_however_slow_its_reader() {
    for slow in [false, true] {
        let queue = ClientQueue::default();
        let (tell, mut told) = mpsc::channel::<()>(1);
        let server = tokio::spawn({
            let queue = queue.clone();
            async move {
                let mut most = 0;
                for number in 0..20_000_u32 {
                    while !queue.has_room(0) {
                        told.recv().await.unwrap();
                    }
                    queue.push(Bytes::from([number.to_be_bytes().as_slice(), &[0; LINE - 4]].concat()));
                    most = most.max(queue.with(|waiting| waiting.bytes));
                }
                queue.close();
                most
            }
        });
        let mut next = 0_u32;
        while let Taken::Lines(lines) = soon(queue.take()).await {
            for line in lines.chunks(LINE) {
                assert_eq!(line[..4], next.to_be_bytes());
                next += 1;
                if slow {
                    tokio::task::yield_now().await;
                }
                if queue.written(line.len()) {
                    tell.send(()).await.unwrap();
                }
            }
        }
        assert_eq!(next, 20_000);
        assert!(soon(server).await.unwrap() <= SOFT_LIMIT + LINE);
    }
}
