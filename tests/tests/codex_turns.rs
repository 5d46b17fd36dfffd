//! The real Codex behind worker and router: what it says arrives in order, whole, named and counted.

use codeswarm_tests::codex_swarm::{CodexSwarm, Turn};
use codeswarm_tests::model_server::{answer_to, big_text, stream_text};
use codeswarm_tests::requires;
use codeswarm_tests::schema::assert_flat_events;
use codeswarm_tests::stream::{assert_every_record_once, assert_in_order};
use serde_json::json;

/// Every event carries all its names, and the order is the documented one.
fn assert_whole_life(codex: &CodexSwarm, turn: &Turn, between: &[&str]) {
    assert_flat_events(&turn.events);
    assert_in_order(&turn.events, &codex.swarm.job_id, 0);
    for event in &turn.events {
        assert_eq!(event["swarm_id"], codex.swarm.swarm_id.as_str(), "{event}");
        assert_eq!(event["job_id"], codex.swarm.job_id.as_str(), "{event}");
        assert_eq!(event["node_id"], 0, "{event}");
        assert_eq!(event["injection_id"], turn.injection.as_str(), "{event}");
        assert!(event["seq"].is_u64() && event["request_id"].is_string(), "{event}");
    }
    // The router's word about the delivery has another source than the worker's records; and Codex remarks once a
    // session that it does not know the model.
    let mut kinds = turn.kinds();
    kinds.retain(|kind| !["inject_delivered", "notice"].contains(kind));
    kinds.dedup();
    let expected = [
        &["inject_ack", "inject_received", "turn_started"],
        between,
        &["turn_complete", "usage"],
    ];
    assert_eq!(kinds, expected.concat(), "{:#?}", turn.events);
    turn.one("inject_delivered");
}

#[test]
fn an_answer_streams_and_ends_with_the_turns_own_tokens() {
    let Some(program) = requires::codex() else { return };
    let mut codex = CodexSwarm::launch(&program, 1);
    let said = ["assistant_delta", "assistant"];

    let turn = codex.turn("hello there").completed();
    assert_whole_life(&codex, &turn, &said);
    assert_eq!(turn.answer(), answer_to("hello there"));
    assert_eq!(turn.deltas(), turn.answer());
    let usage = turn.one("usage");
    for (field, tokens) in [
        ("input_tokens", 1000),
        ("cached_input_tokens", 200),
        ("output_tokens", 50),
        ("reasoning_output_tokens", 10),
        ("total_tokens", 1050),
    ] {
        assert_eq!(usage[field], tokens, "{usage}");
        assert_eq!(turn.end["usage"][field], tokens, "{}", turn.end);
    }

    // In the same thread, and again the turn's own tokens.
    let turn = codex
        .turn("[[usage input=7 cached=2 output=3 reasoning=1]] again")
        .completed();
    assert_whole_life(&codex, &turn, &said);
    let usage = turn.one("usage");
    let counted = ["input_tokens", "cached_input_tokens", "output_tokens", "total_tokens"].map(|field| &usage[field]);
    assert_eq!(counted, [&json!(7), &json!(2), &json!(3), &json!(10)]);
    let request = codex.model.requests().pop().unwrap();
    assert_eq!(request.assistant_texts(), [answer_to("hello there")]);

    let turn = codex.turn("[[reason let me think]] [[say at once]] [[stream n=50 pace_ms=5]]");
    let between = [
        "reasoning_delta",
        "reasoning",
        "assistant_delta",
        "assistant",
        "assistant_delta",
        "assistant",
    ];
    assert_whole_life(&codex, &turn.completed(), &between);
}

#[test]
fn a_slow_answer_comes_in_pieces_while_it_is_made() {
    let Some(program) = requires::codex() else { return };
    let mut codex = CodexSwarm::launch(&program, 1);
    let injection = codex.inject("[[stream n=20 pace_ms=40]]");
    codex.router.event_of(&injection, "assistant_delta");
    let heard = codex.router.events_of(&injection);
    assert!(
        heard.iter().all(|event| event["type"] != "assistant"),
        "the first delta came with the whole answer: {heard:#?}"
    );
    let turn = codex.end_of(&injection).completed();
    assert_eq!(turn.answer(), stream_text(20));
    assert_eq!(turn.deltas(), turn.answer());
    assert!(turn.of("assistant_delta").len() >= 10, "{:#?}", turn.events);
}

#[test]
fn a_megabyte_arrives_whole() {
    let Some(program) = requires::codex() else { return };
    let mut codex = CodexSwarm::launch(&program, 1);
    let turn = codex.turn("[[big bytes=1000000]]").completed();
    let answer = turn.answer();
    assert!(answer == big_text(1_000_000), "{} bytes of another text", answer.len());
    assert!(turn.deltas() == answer, "the deltas make {} bytes", turn.deltas().len());
}

#[test]
fn an_empty_answer_is_a_completed_turn_without_a_message() {
    let Some(program) = requires::codex() else { return };
    let mut codex = CodexSwarm::launch(&program, 1);
    let turn = codex.turn("[[empty]]").completed();
    assert_whole_life(&codex, &turn, &[]);
}

#[test]
fn two_nodes_answer_four_prompts_each_in_order() {
    let Some(program) = requires::codex() else { return };
    let mut codex = CodexSwarm::launch(&program, 2);
    let rounds: Vec<_> = (0..4)
        .map(|round| {
            let prompt = format!("round {round}");
            let injections = codex.router.inject_all(&codex.swarm, &prompt);
            (prompt, injections)
        })
        .collect();
    for (prompt, injections) in &rounds {
        for injection in injections {
            let turn = codex.end_of(injection).completed();
            assert_eq!(turn.answer(), answer_to(prompt));
            assert_eq!(turn.one("usage")["total_tokens"], 1050);
        }
    }
    let heard = codex.router.lines();
    for node in 0..2 {
        let ended = heard
            .iter()
            .filter(|event| event["type"] == "turn_complete" && event["node_id"] == node)
            .map(|event| event["injection_id"].as_str().unwrap());
        let sent = rounds.iter().map(|(_, injections)| injections[node].as_str());
        assert!(ended.eq(sent), "node {node}: not in the order in which they were sent");
        // Each node's model has heard all of its node's earlier answers and none of the other's.
        let records = codex
            .workspace
            .records(&codex.swarm.job_id, u32::try_from(node).unwrap());
        let of_injections: Vec<_> = records
            .into_iter()
            .filter(|record| !record["injection_id"].is_null())
            .collect();
        let heard_of_injections: Vec<_> = heard
            .iter()
            .filter(|event| !event["injection_id"].is_null())
            .cloned()
            .collect();
        assert_every_record_once(
            &heard_of_injections,
            &of_injections,
            &codex.swarm.job_id,
            u32::try_from(node).unwrap(),
        );
    }
    let threads: std::collections::BTreeSet<_> = codex
        .model
        .requests()
        .iter()
        .map(|request| request.thread().to_owned())
        .collect();
    assert_eq!(threads.len(), 2);
    for request in codex.model.requests() {
        let earlier: Vec<_> = (0..4).map(|round| answer_to(&format!("round {round}"))).collect();
        let answers = request.assistant_texts();
        assert_eq!(answers, earlier[..answers.len()]);
    }
}
