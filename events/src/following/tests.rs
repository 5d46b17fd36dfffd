use super::*;
use crate::kinds::Kind;
use crate::line::Json;
use codeswarm_client::exit::Exit;
use codeswarm_protocol::Timestamp;
use serde_json::{Value, json};

struct Numbers(u64);

impl Names for Numbers {
    fn next(&mut self) -> RequestId {
        self.0 += 1;
        RequestId::new(&format!("r{}", self.0)).unwrap()
    }
}

fn following(cursor: &Cursor) -> Following {
    let wanted = Wanted {
        kinds: Kinds::chosen(&[Kind::All]),
        follow: true,
        wording: Box::new(Json),
    };
    Following::new(cursor, wanted, Box::new(Numbers(0)))
}

fn hear(following: &mut Following, event: Value) -> Reaction {
    following.heard(&Event::parse(event.to_string().into_bytes()).unwrap())
}

/// A swarm `s-1` of two nodes, job 7, as the router lists it.
fn listed(request: &RequestId, status: &str) -> Value {
    json!({"type": "swarm_list", "request_id": request, "swarms": {"s-1": {"job_id": "7", "node_count": 2,
        "status": status, "provider": "local", "agent": "echo", "created": "2026-03-01T12:00:00Z"}}})
}

fn said(node: u32, seq: u64, at: &str) -> Value {
    json!({"type": "notice", "message": "m", "swarm_id": "s-1", "job_id": "7", "node_id": node, "seq": seq,
        "timestamp": format!("2026-03-01T{at}Z")})
}

fn status(status: &str) -> Value {
    let kind = if status == "terminated" {
        "swarm_terminated"
    } else {
        "swarm_status"
    };
    json!({"type": kind, "status": status, "node_count": 2, "swarm_id": "s-1", "job_id": "7"})
}

/// The one request that is sent, and its subscription.
fn subscription(reaction: Reaction) -> (RequestId, Subscribe) {
    match reaction.send.into_iter().next() {
        Some(Request {
            id,
            command: Command::Subscribe(wanted),
        }) => (id, wanted),
        other => panic!("no subscription: {other:?}"),
    }
}

fn told(reaction: &Reaction) -> bool {
    reaction.tell.is_some()
}

fn since(wanted: &Subscribe) -> Value {
    serde_json::to_value(&wanted.since).unwrap()
}

#[test]
fn only_nodes_that_the_router_knows_are_named_to_it() {
    let mut cursor = Cursor::new(Vec::new(), None);
    for (place, position) in [("7_00", "3.1"), ("7_09", "1"), ("forgotten_00", "9")] {
        let place = Place::from_stem(place).unwrap();
        cursor.was_told(&Mark::Node(place, position.parse().unwrap()));
    }
    let mut following = following(&cursor);
    let list = following.connected().remove(0).id;
    let (_, wanted) = subscription(hear(&mut following, listed(&list, "running")));
    assert_eq!(since(&wanted), json!({"7_00": "3.1", "*": "0"}));
}

#[test]
fn a_time_is_the_first_event_of_a_node_that_is_not_older_whatever_its_clock_does_then() {
    let start = Timestamp::try_from("2026-03-01T12:30:00Z".to_owned()).unwrap();
    let cursor = Cursor::new(Vec::new(), Some(LeftOut::Before(start)));
    let mut following = following(&cursor);
    let list = following.connected().remove(0).id;
    let (past, wanted) = subscription(hear(&mut following, listed(&list, "running")));
    assert_eq!(since(&wanted), json!({"*": "0"}));
    hear(&mut following, json!({"type": "subscribed", "request_id": past}));
    for (event, news) in [
        (said(0, 1, "12:29:59"), false),
        (said(0, 2, "12:30:00"), true),
        (said(0, 3, "12:00:00"), true),
        (said(1, 1, "11:00:00"), false),
    ] {
        assert_eq!(told(&hear(&mut following, event.clone())), news, "{event}");
    }
    assert!(
        !following
            .taken()
            .reach
            .nodes
            .contains_key(&Place::from_stem("7_01").unwrap())
    );
    let caught_up = json!({"type": "caught_up", "request_id": past, "positions": {"7_00": "3", "7_01": "1"}});
    let again = hear(&mut following, caught_up).send.remove(0).id;
    let (asked, _) = subscription(hear(&mut following, listed(&again, "running")));
    hear(
        &mut following,
        json!({"type": "caught_up", "request_id": asked, "positions": {"7_00": "3", "7_01": "1"}}),
    );
    let settled = hear(&mut following, status("running"));
    assert!(told(&settled) && settled.keep && following.left_out().is_none());
    // From here on the node that had said nothing since then is at its place, and its clock does not matter either.
    assert!(!told(&hear(&mut following, said(1, 1, "11:00:00"))));
    assert!(told(&hear(&mut following, said(1, 2, "11:00:01"))));
}

#[test]
fn what_a_swarm_says_comes_before_how_it_is() {
    let mut following = following(&Cursor::new(Vec::new(), None));
    let list = following.connected().remove(0).id;
    let (past, _) = subscription(hear(&mut following, listed(&list, "running")));
    assert!(
        !told(&hear(&mut following, status("terminated"))),
        "its past has not come"
    );
    assert!(told(&hear(&mut following, said(0, 1, "12:00:00"))));
    let again = hear(&mut following, json!({"type": "caught_up", "request_id": past}))
        .send
        .remove(0)
        .id;
    let (asked, wanted) = subscription(hear(&mut following, listed(&again, "terminated")));
    assert_eq!((wanted.swarm_id, wanted.since), (Some("s-1".parse().unwrap()), None));
    hear(&mut following, json!({"type": "caught_up", "request_id": asked}));
    let end = hear(&mut following, status("terminated"));
    assert!(told(&end) && !end.done);
    assert!(!told(&hear(&mut following, status("terminated"))));
}

#[test]
fn a_named_swarm_that_ends_is_followed_to_its_last_words() {
    let mut following = following(&Cursor::new(vec!["s-1".parse().unwrap()], None));
    let list = following.connected().remove(0).id;
    let (asked, wanted) = subscription(hear(&mut following, listed(&list, "running")));
    assert_eq!(since(&wanted), json!("0"));
    hear(&mut following, json!({"type": "caught_up", "request_id": asked}));
    assert!(told(&hear(&mut following, status("running"))));
    assert!(told(&hear(&mut following, said(0, 1, "12:00:00"))));
    // It is over, and what it said last is still to come: it is asked for.
    let over = hear(&mut following, status("terminated"));
    assert!(told(&over) && !over.done);
    let (asked, wanted) = subscription(over);
    assert_eq!(since(&wanted), json!({"7_00": "1"}));
    assert!(told(&hear(&mut following, said(0, 2, "12:00:01"))));
    hear(&mut following, json!({"type": "caught_up", "request_id": asked}));
    let end = hear(&mut following, status("terminated"));
    assert!(end.done && !told(&end));
}

#[test]
fn a_refusal_is_the_end_and_answers_are_no_news() {
    let mut following = following(&Cursor::new(vec!["s-9".parse().unwrap()], None));
    let list = following.connected().remove(0).id;
    let (asked, _) = subscription(hear(&mut following, listed(&list, "running")));
    let refused = |request: &str| json!({"type": "command_rejected", "code": "unknown_swarm", "reason": "no swarm s-9", "request_id": request});
    let of_another = hear(&mut following, refused("r99"));
    assert!(of_another.failed.is_none() && !told(&of_another));
    let failure = hear(&mut following, refused(&asked.to_string())).failed.unwrap();
    assert_eq!(failure.exit, Exit::Failed);
    assert!(!following.router_left());
    assert!(!told(&hear(&mut following, json!({"type": "shutting_down"}))));
    assert!(following.router_left());
}

#[test]
fn the_link_is_told_when_it_differs_and_words_of_a_moment_as_they_come() {
    let mut following = following(&Cursor::new(Vec::new(), None));
    following.connected();
    let down = json!({"type": "link", "up": false, "reason": "no route"});
    assert!(told(&hear(&mut following, down.clone())));
    assert!(!told(&hear(&mut following, down)));
    assert!(told(&hear(
        &mut following,
        json!({"type": "link", "up": true, "host": "login"})
    )));
    for _ in 0..2 {
        assert!(told(&hear(
            &mut following,
            json!({"type": "router_trouble", "message": "m"})
        )));
        assert!(told(&hear(&mut following, json!({"type": "of_a_later_version"}))));
    }
}
