//! A state in which something that was stored cannot be found any more.

use codeswarm_protocol::{Position, RequestId};

use super::*;
use crate::core::KnownRequest;
use crate::state::Durability;

/// A store that takes everything, and gives back nothing but what it was opened with.
struct Unreadable {
    stored: Box<dyn Store>,
    requests: bool,
    words: bool,
}

fn bad_block<T>() -> Result<T, StateError> {
    Err(StateError::Elsewhere("bad block".to_owned()))
}

impl Store for Unreadable {
    fn load(&self) -> Result<Loaded, StateError> {
        self.stored.load()
    }

    fn commit(&mut self, batch: &Batch, durability: Durability) -> Result<(), StateError> {
        self.stored.commit(batch, durability)
    }

    fn request(&self, request_id: &RequestId) -> Result<Option<KnownRequest>, StateError> {
        if self.requests {
            bad_block()
        } else {
            self.stored.request(request_id)
        }
    }

    fn request_of(&self, injection_id: &str) -> Result<Option<RequestId>, StateError> {
        self.stored.request_of(injection_id)
    }

    fn said(
        &self,
        place: &Place,
        from: Position,
        until: Position,
        limit: u32,
    ) -> Result<Vec<(Position, RouterEvent)>, StateError> {
        if self.words {
            bad_block()
        } else {
            self.stored.said(place, from, until, limit)
        }
    }

    fn refuse_writes(&self, refused: bool) {
        self.stored.refuse_writes(refused);
    }
}

fn spoil(desk: &mut Desk, requests: bool, words: bool) {
    let file = desk._folder.path().join("another.sqlite");
    let state = Box::new(State::open(&file).unwrap());
    let stored = std::mem::replace(&mut desk.server.state, state);
    desk.server.state = Box::new(Unreadable {
        stored,
        requests,
        words,
    });
}

#[tokio::test]
async fn p2_a_request_of_which_it_is_not_known_whether_it_was_made_before_is_refused() {
    let mut desk = Desk::new();
    let mut ear = desk.client(1 << 20);
    let place = desk.swarm(&ear).await;
    desk.commit().await;
    ear.until("swarm_launched").await;
    spoil(&mut desk, true, false);
    let inject =
        json!({"command": "inject", "request_id": "r", "job_id": place.job_id, "nodes": "all", "content": "x"});
    desk.says(&ear, inject);
    let asked = desk.asked().await;
    assert!(
        !asked.iter().any(|down| matches!(down, Downward::Append { .. })),
        "{asked:?}"
    );
    let events = ear.until("command_rejected").await;
    let rejected = events.last().unwrap();
    assert_eq!(
        (&rejected["code"], &rejected["request_id"]),
        (&json!("state"), &json!("r"))
    );
    assert!(rejected["reason"].as_str().unwrap().contains("bad block"), "{rejected}");
    assert_eq!(count(&events, "inject_ack"), 0);
}

#[tokio::test]
async fn p6_a_batch_does_not_wait_for_an_end_among_the_routers_words_that_cannot_be_read_back() {
    for unreadable in [false, true] {
        let mut desk = Desk::new();
        let mut launcher = desk.client(1 << 20);
        let place = desk.swarm(&launcher).await;
        let inject =
            json!({"command": "inject", "request_id": "r", "job_id": place.job_id, "nodes": "all", "content": "x"});
        desk.says(&launcher, inject.clone());
        for down in desk.asked().await {
            if let Downward::Append { ticket, .. } = down {
                desk.server.follower_said(Upward::AppendFailed {
                    ticket,
                    may_have_happened: false,
                    error: "no space".to_owned(),
                });
            }
        }
        desk.commit().await;
        launcher.until("inject_failed").await;
        spoil(&mut desk, false, unreadable);
        let mut ear = desk.client(1 << 20);
        desk.says(&ear, inject);
        desk.server.client_said(FromClient::Sent(ear.id, ReadLine::End));
        desk.commit().await;
        assert!(desk.server.audience.client(ear.id).is_none(), "it waits for ever");
        let events = ear.rest().await;
        let told = (count(&events, "inject_failed"), count(&events, "router_trouble"));
        assert_eq!(told, if unreadable { (0, 1) } else { (1, 0) }, "{events:#?}");
    }
}
