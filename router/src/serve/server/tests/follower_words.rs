//! What the follower says beside records: lines that are none, troubles, and words that are nothing to a client.

use super::*;

#[tokio::test]
async fn p4_p12_a_line_that_is_no_record_is_reported_with_its_place_and_the_next_one_is_passed_on() {
    for torn in [
        "{\"type\":\"noti",
        "[\"notice\",2]",
        "{\"type\":\"notice\",\"seq\":0}",
        "\u{0}\u{0}",
    ] {
        let mut desk = Desk::new();
        let mut ear = desk.client(1 << 20);
        let place = desk.swarm(&ear).await;
        let notice = || Word::Notice {
            message: "n".to_owned(),
        };
        let (first, torn_at) = chunk(&place, 1, 0, notice());
        let length = torn.len() as u64 + 1;
        let (second, end) = chunk(&place, 2, torn_at + length, notice());
        let (Upward::Chunk { data: first, .. }, Upward::Chunk { data: second, .. }) = (first, second) else {
            panic!()
        };
        desk.server.follower_said(Upward::Chunk {
            place: place.clone(),
            offset: 0,
            data: Bytes::from([&first, torn.as_bytes(), b"\n", &second].concat()),
        });
        desk.commit().await;
        assert_eq!(desk.server.core.stream_end(&place).1, end);
        let mut events = ear.until("notice").await;
        events.extend(ear.until("notice").await);
        let kinds: Vec<&str> = events
            .iter()
            .rev()
            .take(3)
            .filter_map(|event| event["type"].as_str())
            .collect();
        assert_eq!(kinds, ["notice", "records_skipped", "notice"], "{torn}");
        let skipped = &events[events.len() - 2];
        assert_eq!(
            (&skipped["offset"], &skipped["length"]),
            (&json!(torn_at), &json!(length)),
            "{skipped}"
        );
        assert!(skipped["head"].as_str().unwrap().starts_with(torn), "{skipped}");
    }
}

#[tokio::test]
async fn p9_trouble_with_the_mailbox_is_told_to_everybody_in_the_followers_words() {
    let mut desk = Desk::new();
    let (mut one, mut other) = (desk.client(1 << 20), desk.client(1 << 20));
    let place = desk.swarm(&one).await;
    for (place, told) in [
        (None, "the folder cannot be watched".to_owned()),
        (
            Some(place.clone()),
            format!("node {place}: the folder cannot be watched"),
        ),
    ] {
        let error = "the folder cannot be watched".to_owned();
        desk.server.follower_said(Upward::Trouble { place, error });
        desk.commit().await;
        for ear in [&mut one, &mut other] {
            let events = ear.until("router_trouble").await;
            assert_eq!(events.last().unwrap()["message"], told.as_str());
        }
    }
}

#[tokio::test]
async fn a_followers_answer_that_nobody_asked_for_changes_nothing_and_is_told_to_nobody() {
    let mut desk = Desk::new();
    let mut ear = desk.client(1 << 20);
    let place = desk.swarm(&ear).await;
    desk.asked().await;
    ear.until("swarm_launched").await;
    let stray = Ticket(999_999);
    desk.server.follower_said(Upward::Pong { ticket: stray });
    desk.server.follower_said(Upward::Part {
        ticket: stray,
        offset: 0,
        next: 10,
        done: true,
        error: None,
        may_pass: false,
        late: false,
        data: Bytes::from_static(b"{\"type\":\"notice\",\"seq\":1}\n"),
    });
    assert!(desk.asked().await.is_empty());
    assert_eq!(desk.server.core.stream_end(&place).1, 0);
    desk.says(&ear, json!({"command": "ping"}));
    desk.commit().await;
    assert_eq!(ear.until("pong").await.len(), 1);
}

#[tokio::test]
async fn what_goes_down_is_handed_over_in_its_order_whatever_room_there_is() {
    for room in [1, 3, 1000] {
        let mut desk = Desk::new();
        let (commands, mut told) = mpsc::channel(room);
        desk.server.follower.as_mut().unwrap().commands = commands;
        let pings = (0..200).map(|number| Downward::Ping { ticket: Ticket(number) });
        desk.server.down.extend(pings.clone());
        let running = tokio::spawn(desk.server.run(desk.stopped));
        for ping in pings {
            let down = tokio::time::timeout(Duration::from_secs(60), told.recv()).await;
            assert_eq!(down.unwrap(), Some(ping));
        }
        desk.stop.send_replace(Stop::Now);
        running.await.unwrap().unwrap();
    }
}
