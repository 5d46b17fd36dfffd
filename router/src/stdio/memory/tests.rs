use serde_json::json;

use super::*;

fn memory() -> Memory {
    Memory::new("relay-x-".to_owned())
}

fn lines(bytes: &[u8]) -> Vec<Value> {
    let lines = bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    lines.map(|line| serde_json::from_slice(line).unwrap()).collect()
}

fn send(memory: &mut Memory, command: Value) -> Value {
    serde_json::from_slice(&memory.sent(command.to_string().as_bytes())).unwrap()
}

/// What the client reads, if anything.
fn hear(memory: &mut Memory, event: Value) -> Option<Value> {
    match memory.heard(event.to_string().as_bytes()) {
        Heard::New(line) => Some(serde_json::from_slice(&line).unwrap()),
        Heard::Known => None,
    }
}

fn event(kind: &str, request: &str, injection: &str, seq: u64, sub: u32) -> Value {
    let mut event = json!({"type": kind, "swarm_id": "s", "job_id": "j", "node_id": 0, "seq": seq});
    if sub > 0 {
        event["sub"] = json!(sub);
    }
    for (name, value) in [("request_id", request), ("injection_id", injection)] {
        if !value.is_empty() {
            event[name] = json!(value);
        }
    }
    event
}

#[test]
fn a_name_that_was_given_here_never_reaches_the_client() {
    let mut memory = memory();
    for (line, empty) in [("{\"command\":\"ping\"}", false), (" { } ", true)] {
        let sent = memory.sent(line.as_bytes());
        let sent: Value = serde_json::from_slice(&sent).unwrap();
        let name = sent["request_id"].as_str().unwrap().to_owned();
        assert_eq!(sent.as_object().unwrap().len(), 2 - usize::from(empty));
        for answer in [
            json!({"request_id": name, "type": "pong"}),
            json!({"type": "pong", "request_id": name, "zzz": 1}),
            json!({"request_id": name}),
        ] {
            let mut expected = answer.clone();
            expected.as_object_mut().unwrap().remove("request_id");
            assert_eq!(hear(&mut memory, answer), Some(expected));
        }
    }
    assert!(memory.again().is_empty());
    assert_eq!(memory.sent(b"no json"), b"no json");
}

#[test]
fn what_is_not_over_is_asked_again_in_the_order_in_which_it_was_asked() {
    let mut memory = memory();
    for name in ["n10", "n9", "n2"] {
        send(
            &mut memory,
            json!({"command": "inject", "request_id": name, "content": name}),
        );
    }
    hear(&mut memory, event("inject_ack", "n10", "i", 4, 1)).unwrap();
    let asked = |memory: &mut Memory| -> Vec<String> {
        let again = lines(&memory.again());
        again
            .iter()
            .map(|line| line["request_id"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(asked(&mut memory), ["n10", "n9", "n2"]);
    let mut end = event("turn_complete", "n10", "i", 9, 0);
    end["status"] = json!("completed");
    hear(&mut memory, end).unwrap();
    assert_eq!(asked(&mut memory), ["n9", "n2"]);
    assert!(memory.has_open() && memory.has_unanswered() && !memory.failed);
}

#[test]
fn what_comes_again_of_an_own_prompt_is_held_against_what_the_client_has() {
    let mut memory = memory();
    let inject = json!({"command": "inject", "request_id": "r", "content": "x"});
    send(&mut memory, inject.clone());
    hear(&mut memory, event("inject_ack", "r", "i", 4, 1)).unwrap();
    hear(&mut memory, event("assistant_delta", "r", "i", 6, 0)).unwrap();
    assert_eq!(lines(&memory.again()), std::slice::from_ref(&inject));
    // The new router says it all from the start, maybe more than once, and other prompts' events stand between.
    for _ in 0..2 {
        assert_eq!(hear(&mut memory, event("inject_ack", "r", "i", 4, 1)), None);
        assert_eq!(hear(&mut memory, event("assistant_delta", "r", "i", 6, 0)), None);
    }
    assert!(hear(&mut memory, event("inject_ack", "q", "k", 4, 2)).is_some());
    assert!(hear(&mut memory, event("assistant_delta", "r", "i", 7, 0)).is_some());
    assert_eq!(hear(&mut memory, event("assistant_delta", "r", "i", 7, 0)), None);
    // When the client itself asks again, it is told all again.
    send(&mut memory, inject);
    assert!(hear(&mut memory, event("inject_ack", "r", "i", 4, 1)).is_some());
}

#[test]
fn a_prompt_in_flight_is_told_once_by_the_subscription_and_the_answer_together() {
    let mut memory = memory();
    send(&mut memory, json!({"command": "subscribe", "request_id": "s"}));
    hear(&mut memory, json!({"type": "subscribed", "request_id": "s"})).unwrap();
    hear(&mut memory, json!({"type": "caught_up", "request_id": "s"})).unwrap();
    let inject = json!({"command": "inject", "request_id": "r", "content": "x"});
    send(&mut memory, inject.clone());
    // The router had accepted it, and went before it could say so.
    assert_eq!(lines(&memory.again()).len(), 2);
    let story = [("inject_ack", 4, 1), ("turn_started", 6, 0), ("assistant_delta", 7, 0)];
    for (kind, seq, sub) in story {
        assert!(hear(&mut memory, event(kind, "r", "i", seq, sub)).is_some(), "{kind}");
    }
    for (kind, seq, sub) in story {
        assert_eq!(hear(&mut memory, event(kind, "r", "i", seq, sub)), None, "{kind}");
    }
    assert!(hear(&mut memory, event("assistant", "r", "i", 8, 0)).is_some());
    send(&mut memory, inject);
    assert!(
        hear(&mut memory, event("inject_ack", "r", "i", 4, 1)).is_some(),
        "asked for by the client itself"
    );
}

#[test]
fn a_client_that_asks_for_the_past_gets_it() {
    let mut memory = memory();
    assert!(hear(&mut memory, event("assistant", "", "i", 9, 0)).is_some());
    send(
        &mut memory,
        json!({"command": "subscribe", "request_id": "s", "since": 0}),
    );
    assert!(hear(&mut memory, json!({"type": "subscribed", "request_id": "s"})).is_some());
    for seq in 1..=3 {
        assert!(hear(&mut memory, event("notice", "", "", seq, 0)).is_some());
    }
    // The router goes before everything is there: the next one is asked for the rest, under the same name.
    let again = lines(&memory.again());
    assert_eq!(
        again,
        [json!({"command": "subscribe", "request_id": "s", "since": {"*": "0", "j_00": "3"}})]
    );
    assert_eq!(
        hear(&mut memory, json!({"type": "subscribed", "request_id": "s"})),
        None
    );
    assert!(hear(&mut memory, json!({"type": "caught_up", "request_id": "s"})).is_some());
}

#[test]
fn subscriptions_are_made_again_from_where_the_copy_ends() {
    let mut memory = memory();
    let envelope = |payload: Value| json!({"protocol": ROUTER_PROTOCOL, "type": "command", "command": "subscribe", "payload": payload});
    let sent = send(&mut memory, envelope(json!({"swarm_id": "s"})));
    let data = |kind: &str, more: Value| {
        let mut data = json!({"request_id": sent["request_id"], "swarm_id": "s"});
        data.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        json!({"protocol": ROUTER_PROTOCOL, "type": "event", "event": kind, "data": data})
    };
    assert!(hear(&mut memory, data("subscribed", json!({}))).is_some());
    // One node says nothing for a long time: where it stood is told.
    let ends = json!({"positions": {"j_00": "7.1", "j_01": "12"}});
    assert!(hear(&mut memory, data("caught_up", ends)).is_some());
    assert!(hear(&mut memory, event("notice", "", "", 8, 0)).is_some());
    let again = lines(&memory.again());
    let payload = json!({"swarm_id": "s", "since": {"j_00": "8", "j_01": "12"}});
    let mut expected = envelope(payload);
    expected["request_id"] = json!("relay-x-again");
    assert_eq!(again, [expected]);
    for kind in ["subscribed", "caught_up"] {
        let answer = json!({"type": kind, "request_id": "relay-x-again", "swarm_id": "s"});
        assert_eq!(hear(&mut memory, answer), None, "the client did not ask for it");
    }
}

#[test]
fn a_subscription_that_another_one_covers_is_not_made_again_by_itself() {
    let mut memory = memory();
    let subscribe = |memory: &mut Memory, name: &str, swarm: Option<&str>, caught_up: bool| {
        let mut command = json!({"command": "subscribe", "request_id": name});
        let mut answer = json!({"request_id": name});
        if let Some(swarm) = swarm {
            command["swarm_id"] = json!(swarm);
            answer["swarm_id"] = json!(swarm);
        }
        send(memory, command);
        for kind in ["subscribed", "caught_up"].into_iter().take(1 + usize::from(caught_up)) {
            answer["type"] = json!(kind);
            assert!(hear(memory, answer.clone()).is_some());
        }
        let again = lines(&memory.again());
        let swarms: Vec<String> = again.iter().map(|line| line["swarm_id"].to_string()).collect();
        swarms
    };
    let first = subscribe(&mut memory, "a", Some("s"), true);
    assert_eq!(first, ["\"s\""]);
    assert_eq!(subscribe(&mut memory, "b", Some("s"), true), first, "the same again");
    let behind = subscribe(&mut memory, "c", Some("t"), false);
    assert_eq!(behind, ["\"s\"", "\"t\""]);
    let all = subscribe(&mut memory, "d", None, true);
    assert_eq!(all, ["\"t\"", "null"], "all are all, but one has not caught up");
}

#[test]
fn swarms_that_it_launched_and_ended_are_named_again() {
    let mut memory = memory();
    send(
        &mut memory,
        json!({"command": "swarm_launch", "request_id": "l", "nodes": 1}),
    );
    let launched = json!({"type": "swarm_launched", "request_id": "l", "swarm_id": "s", "status": "pending"});
    assert!(hear(&mut memory, launched.clone()).is_some());
    assert!(!memory.has_open(), "nothing is waited for");
    let running = json!({"type": "swarm_status", "request_id": "l", "swarm_id": "s", "status": "running"});
    assert!(hear(&mut memory, running).is_some(), "news of it, not an answer");
    assert_eq!(lines(&memory.again())[0]["request_id"], "l");
    assert_eq!(hear(&mut memory, launched), None);

    send(
        &mut memory,
        json!({"command": "swarm_terminate", "request_id": "t", "swarm_id": "s"}),
    );
    let ending = json!({"type": "swarm_status", "request_id": "t", "swarm_id": "s", "status": "terminating"});
    assert!(hear(&mut memory, ending.clone()).is_some());
    assert!(memory.has_open());
    assert_eq!(lines(&memory.again()).len(), 2);
    assert_eq!(hear(&mut memory, ending), None);
    assert!(hear(&mut memory, json!({"type": "swarm_terminated", "swarm_id": "s"})).is_some());
    assert!(!memory.has_open() && memory.again().is_empty());
}

#[test]
fn failures_are_seen_in_both_spellings() {
    for line in [
        json!({"type": "command_rejected", "code": "not_json", "reason": "x"}),
        json!({"protocol": ROUTER_PROTOCOL, "type": "event", "event": "turn_complete", "data": {"status": "failed"}}),
        json!({"type": "inject_failed", "error": "timeout"}),
    ] {
        let mut memory = memory();
        assert!(hear(&mut memory, line).is_some() && memory.failed);
    }
}

#[test]
fn what_comes_again_of_a_launchs_first_prompts_is_held_against_what_the_client_has_also_of_one_that_is_over() {
    let mut memory = memory();
    send(
        &mut memory,
        json!({"command": "swarm_launch", "request_id": "L", "nodes": 2, "system_prompt": "x"}),
    );
    hear(
        &mut memory,
        json!({"type": "swarm_launched", "request_id": "L", "swarm_id": "s", "job_id": "j"}),
    );
    for (kind, id, seq, sub) in [
        ("inject_ack", "i", 0, 1),
        ("inject_ack", "k", 0, 1),
        ("turn_started", "i", 4, 0),
    ] {
        assert!(hear(&mut memory, event(kind, "L", id, seq, sub)).is_some());
    }
    assert!(hear(&mut memory, event("turn_complete", "L", "k", 9, 0)).is_some());
    memory.again();
    for (kind, id, seq, sub) in [
        ("inject_ack", "i", 0, 1),
        ("turn_started", "i", 4, 0),
        ("turn_complete", "k", 9, 0),
    ] {
        assert_eq!(hear(&mut memory, event(kind, "L", id, seq, sub)), None, "{kind} {id}");
    }
    assert!(hear(&mut memory, event("turn_complete", "L", "i", 5, 0)).is_some());
}

#[test]
fn p4_p10_a_node_that_has_said_nothing_yet_is_not_told_again_by_the_next_router() {
    let mut memory = memory();
    let since = json!({"0": "17.2", "1": "20"});
    send(
        &mut memory,
        json!({"command": "subscribe", "request_id": "c", "swarm_id": "s", "since": since}),
    );
    let begins = json!({"j_00": "17.2", "j_01": "20", "j_02": "0"});
    let subscribed = json!({"type": "subscribed", "request_id": "c", "swarm_id": "s", "positions": begins});
    hear(&mut memory, subscribed).unwrap();
    hear(&mut memory, event("notice", "", "", 18, 0)).unwrap();
    // The router dies before anything of the others has come.
    let again = lines(&memory.again());
    assert_eq!(again.len(), 1, "{again:?}");
    assert_eq!(again[0]["since"], json!({"j_00": "18", "j_01": "20", "j_02": "0"}));
    // A further subscription from now on takes nothing back.
    send(
        &mut memory,
        json!({"command": "subscribe", "request_id": "d", "swarm_id": "s"}),
    );
    let later = json!({"type": "subscribed", "request_id": "d", "swarm_id": "s", "positions": {"j_00": 30, "j_01": 30, "j_02": 30}});
    hear(&mut memory, later).unwrap();
    assert_eq!(lines(&memory.again())[0]["since"]["j_00"], "18");
}

#[test]
fn what_is_no_event_is_handed_on_as_it_is() {
    let mut memory = memory();
    for line in ["Segmentation fault", "[1,2]", "{\"type\":7}"] {
        assert_eq!(memory.heard(line.as_bytes()), Heard::New(line.into()));
    }
    assert!(memory.again().is_empty() && !memory.failed);
}

#[test]
fn only_the_name_that_was_given_here_is_taken_out_of_a_line_wherever_it_stands() {
    let mut memory = memory();
    let name = send(&mut memory, json!({"command": "ping"}))["request_id"].clone();
    let field = format!("\"request_id\":{name}");
    for (line, handed_on) in [
        (
            format!("{{\"type\":\"pong\",{field}}}"),
            "{\"type\":\"pong\"}".to_owned(),
        ),
        (
            format!("{{\"type\":\"pong\",{field},\"n\":1.0}}"),
            "{\"type\":\"pong\",\"n\":1.0}".to_owned(),
        ),
        (
            format!("{{{field},\"type\":\"pong\"}}"),
            "{\"type\":\"pong\"}".to_owned(),
        ),
        (format!("{{{field}}}"), "{}".to_owned()),
        // No router spells so; its line is not cut in the wrong place.
        (
            format!("{{\"type\":\"pong\",\"request_id\": {name}}}"),
            format!("{{\"type\":\"pong\",\"request_id\": {name}}}"),
        ),
    ] {
        assert_eq!(
            memory.heard(line.as_bytes()),
            Heard::New(handed_on.into_bytes()),
            "{line}"
        );
    }
}

#[test]
fn the_end_of_a_swarm_answers_what_was_asked_of_it_and_no_prompt() {
    let mut memory = memory();
    let inject = json!({"command": "inject", "request_id": "r", "content": "x"});
    send(&mut memory, inject.clone());
    hear(&mut memory, event("inject_ack", "r", "i", 4, 1)).unwrap();
    send(
        &mut memory,
        json!({"command": "swarm_terminate", "request_id": "t", "swarm_id": "s"}),
    );
    let ending = json!({"type": "swarm_status", "request_id": "t", "swarm_id": "s", "status": "terminating"});
    hear(&mut memory, ending).unwrap();
    hear(&mut memory, event("inject_delivered", "r", "i", 4, 2)).unwrap();
    assert_eq!(
        lines(&memory.again()).len(),
        2,
        "what happens to a prompt is no end of the swarm"
    );
    hear(&mut memory, json!({"type": "swarm_terminated", "swarm_id": "s"})).unwrap();
    assert!(memory.has_open(), "the prompt's own end is still to come");
    assert_eq!(lines(&memory.again()), [inject]);
    hear(&mut memory, event("inject_failed", "r", "i", 4, 3)).unwrap();
    assert!(!memory.has_open() && memory.again().is_empty());
}

#[test]
fn a_launch_with_first_prompts_is_open_until_they_are_over() {
    let mut memory = memory();
    send(
        &mut memory,
        json!({"command": "swarm_launch", "request_id": "l", "nodes": 1, "system_prompt": "x"}),
    );
    hear(
        &mut memory,
        json!({"type": "swarm_launched", "request_id": "l", "swarm_id": "s"}),
    )
    .unwrap();
    hear(&mut memory, event("inject_ack", "l", "i", 0, 1)).unwrap();
    assert!(memory.has_open() && !memory.has_unanswered());
    hear(&mut memory, event("turn_complete", "l", "i", 5, 0)).unwrap();
    assert!(!memory.has_open());
}

#[test]
fn a_place_that_cannot_be_read_is_passed_over_and_the_others_are_kept() {
    let mut memory = memory();
    send(
        &mut memory,
        json!({"command": "subscribe", "request_id": "s", "swarm_id": "s"}),
    );
    let positions = json!({"nowhere": "9", "../x_00": "9", "j_01": "20"});
    for kind in ["subscribed", "caught_up"] {
        let answer = json!({"type": kind, "request_id": "s", "swarm_id": "s", "positions": positions});
        hear(&mut memory, answer).unwrap();
        assert_eq!(lines(&memory.again())[0]["since"], json!({"j_01": "20"}), "{kind}");
    }
}

#[test]
fn a_recall_is_said_again_until_the_prompts_of_the_other_request_are_over() {
    let mut memory = memory();
    send(
        &mut memory,
        json!({"command": "recall", "request_id": "look", "of": "n1"}),
    );
    let prompts = json!([{"injection_id": "i", "job_id": "j", "node_id": 0}]);
    let recalled = json!({"type": "recalled", "request_id": "look", "of": "n1", "injections": prompts});
    assert!(hear(&mut memory, recalled.clone()).is_some());
    assert!(hear(&mut memory, event("inject_ack", "n1", "i", 4, 1)).is_some());
    let caught_up = json!({"type": "caught_up", "request_id": "look", "positions": {}});
    assert!(hear(&mut memory, caught_up.clone()).is_some());
    assert!(memory.has_open());
    let again = lines(&memory.again());
    assert_eq!((again.len(), &again[0]["of"]), (1, &json!("n1")));
    // Another router says it from the start; the client has had the first part.
    assert_eq!(hear(&mut memory, recalled), None);
    assert_eq!(hear(&mut memory, event("inject_ack", "n1", "i", 4, 1)), None);
    assert_eq!(hear(&mut memory, caught_up), None);
    assert!(hear(&mut memory, event("turn_complete", "n1", "i", 9, 0)).is_some());
    assert!(!memory.has_open() && memory.again().is_empty());
}

#[test]
fn a_recall_of_what_caused_no_prompt_is_over_when_it_is_answered() {
    let mut memory = memory();
    send(
        &mut memory,
        json!({"command": "recall", "request_id": "look", "of": "launch"}),
    );
    let recalled = json!({"type": "recalled", "request_id": "look", "of": "launch", "injections": []});
    assert!(hear(&mut memory, recalled).is_some());
    assert!(!memory.has_open() && memory.again().is_empty());
}
