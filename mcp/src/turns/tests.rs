use serde_json::{Value, json};

use super::*;

fn turns() -> Turns {
    Turns::asked_by(RequestId::new("look").unwrap())
}

fn say(turns: &mut Turns, event: Value) {
    turns.hear(&Event::parse(event.to_string().into_bytes()).unwrap());
}

fn recalled(turns: &mut Turns, nodes: u32) {
    let injections: Vec<Value> = (0..nodes)
        .map(|node| json!({"injection_id": format!("i{node}"), "job_id": "7", "node_id": node}))
        .collect();
    say(
        turns,
        json!({"type": "recalled", "request_id": "look", "of": "p", "swarm_id": "s", "injections": injections}),
    );
}

fn of(node: u32, mut event: Value) -> Value {
    event["node_id"] = json!(node);
    event["injection_id"] = json!(format!("i{node}"));
    event["request_id"] = json!("p");
    event
}

fn new_ends(turns: &Turns, cursor: &Cursor) -> Vec<u32> {
    turns.new_ends(cursor).map(|(node, ..)| node.rank()).collect()
}

#[test]
fn what_has_ended_is_news_until_the_cursor_covers_it() {
    let mut turns = turns();
    recalled(&mut turns, 3);
    say(&mut turns, of(1, json!({"type": "assistant", "content": "forty-two"})));
    say(
        &mut turns,
        of(
            1,
            json!({"type": "turn_complete", "status": "completed", "duration_ms": 1}),
        ),
    );
    say(
        &mut turns,
        json!({"type": "caught_up", "request_id": "look", "positions": {}}),
    );
    assert!(turns.told_all);
    let nothing = Cursor::of(None);
    assert_eq!(new_ends(&turns, &nothing), [1]);
    let (_, turn, end) = turns.new_ends(&nothing).next().unwrap();
    assert_eq!(
        (end.how, turn.answer.as_ref().unwrap().0.as_str()),
        ("completed", "forty-two")
    );
    let seen = Cursor::of(Some(turns.cursor(&nothing, &[NodeId::new(1).unwrap()].into())));
    assert_eq!(new_ends(&turns, &seen), [0_u32; 0]);
    say(
        &mut turns,
        of(
            0,
            json!({"type": "inject_failed", "error": "node_lost", "reason": "gone", "seq": 3, "sub": 1}),
        ),
    );
    assert_eq!(new_ends(&turns, &seen), [0]);
    let end = turns.new_ends(&seen).next().unwrap().2;
    assert_eq!((end.how, end.why.as_deref()), ("not_started", Some("gone")));
    // One that was not shown for want of room is news the next time.
    assert_eq!(turns.cursor(&seen, &BTreeSet::new()), "1");
    assert_eq!(turns.pending().count(), 1);
}

#[test]
fn a_question_is_news_once_and_gone_when_it_is_answered() {
    let mut turns = turns();
    recalled(&mut turns, 1);
    let asks = json!({"type": "approval_required", "call_id": "c1", "kind": "command", "command": "rm -r x", "available_decisions": []});
    say(&mut turns, of(0, asks));
    let nothing = Cursor::of(Some("nonsense;;-".to_owned()));
    assert_eq!(
        turns.new_questions(&nothing).map(|(_, id, asks)| (id, asks)).next(),
        Some(("c1", "rm -r x"))
    );
    let seen = Cursor::of(Some(turns.cursor(&nothing, &BTreeSet::new())));
    assert_eq!(turns.new_questions(&seen).count(), 0);
    say(
        &mut turns,
        of(
            0,
            json!({"type": "approval_resolved", "call_id": "c1", "decision": "decline", "by": "timeout"}),
        ),
    );
    assert_eq!((turns.new_questions(&nothing).count(), turns.pending().count()), (0, 1));
}

#[test]
fn what_is_of_another_request_or_connection_is_nothing() {
    let mut turns = turns();
    say(
        &mut turns,
        json!({"type": "recalled", "request_id": "other", "of": "p", "injections": [{"injection_id": "x", "job_id": "7", "node_id": 0}]}),
    );
    say(
        &mut turns,
        json!({"type": "caught_up", "request_id": "other", "positions": {}}),
    );
    assert_eq!((turns.count(), turns.told_all), (0, false));
    recalled(&mut turns, 1);
    let mut foreign = of(
        0,
        json!({"type": "turn_complete", "status": "completed", "duration_ms": 1}),
    );
    foreign["injection_id"] = json!("another");
    say(&mut turns, foreign);
    assert_eq!(turns.pending().count(), 1);
}
