//! Into a running turn of the real Codex: an interrupt ends it with its commands, a steering prompt joins it.

use codeswarm_tests::codex_swarm::CodexSwarm;
use codeswarm_tests::model_server::answer_to;
use codeswarm_tests::requires;
use codeswarm_tests::schema::assert_flat_events;

#[test]
fn an_interrupt_ends_a_streaming_answer_and_the_next_prompt_works() {
    let Some(program) = requires::codex() else { return };
    let mut codex = CodexSwarm::launch(&program, 1);
    let injection = codex.inject("[[slow]]");
    codex.router.event_of(&injection, "assistant_delta");
    codex.interrupt();
    let turn = codex.end_of(&injection);
    assert_eq!(turn.status(), "interrupted", "{}", turn.end);
    assert_eq!(turn.message(), "a client interrupted it");
    assert!(turn.deltas().starts_with("word-1 "), "{}", turn.deltas());
    assert_flat_events(&turn.events);

    let turn = codex.turn("and on").completed();
    assert_eq!(turn.answer(), answer_to("and on"));
    // Also one whose model says nothing, and one right after it was asked for.
    for prompt in ["[[hang]]", "[[slow]] at once"] {
        let injection = codex.inject(prompt);
        if prompt == "[[hang]]" {
            codex
                .model
                .wait_for_request(prompt, |request| request.prompt() == prompt);
        }
        codex.interrupt();
        let end = codex.end_of(&injection);
        assert_eq!(end.status(), "interrupted", "{prompt}: {}", end.end);
    }
    assert_eq!(codex.turn("still there").completed().answer(), answer_to("still there"));
    assert_eq!(
        codex
            .records()
            .iter()
            .filter(|record| record["type"] == "agent_exit")
            .count(),
        0
    );
}

#[test]
fn an_interrupt_ends_the_running_command() {
    let Some(program) = requires::codex() else { return };
    let mut codex = CodexSwarm::launch(&program, 1);
    let injection = codex.inject("[[exec sleep 4321 & sleep 4322]] never said");
    codex.wait_for_process("sleep 4321");
    codex.wait_for_process("sleep 4322");
    // Codex tells of a command only some time after it runs; one interrupted before that is ended without a word.
    codex.router.event_of(&injection, "command_started");
    codex.interrupt();
    let turn = codex.end_of(&injection);
    assert_eq!(turn.status(), "interrupted", "{}", turn.end);
    // Told before the turn's end, and nothing of it is left.
    let command = turn.one("command_completed");
    assert_eq!(command["status"], "aborted", "{command}");
    codex.wait_until_gone("sleep 432");
    assert!(
        turn.of("notice")
            .iter()
            .all(|notice| !notice.to_string().contains("did not end"))
    );

    let turn = codex.turn("[[exec echo fresh]] and on").completed();
    assert_eq!(turn.one("command_completed")["output"], "fresh\n");
    assert_eq!(turn.answer(), answer_to("and on"));
}

#[test]
fn an_interrupt_of_a_prompt_that_waits_leaves_the_running_turn_alone() {
    let Some(program) = requires::codex() else { return };
    let mut codex = CodexSwarm::launch(&program, 1);
    let running = codex.inject("[[exec until [ -e go ]; do sleep 0.05; done]] finished");
    let waiting = codex.inject("never started");
    codex.router.event_of(&waiting, "inject_received");
    codex.router.asked(
        serde_json::json!({"command": "interrupt", "swarm_id": codex.swarm.swarm_id, "nodes": 0, "injection_id": waiting}),
        "interrupt_ack",
    );
    assert_eq!(codex.router.event_of(&waiting, "inject_failed")["error"], "interrupted");
    std::fs::write(codex.work().join("go"), "").unwrap();
    assert_eq!(codex.end_of(&running).completed().answer(), answer_to("finished"));
    let asked = codex.model.requests();
    assert!(asked.iter().all(|request| request.prompt() != "never started"));
}

#[test]
fn a_steering_prompt_joins_the_running_turn() {
    let Some(program) = requires::codex() else { return };
    let mut codex = CodexSwarm::launch(&program, 1);
    let running = codex.inject("[[exec until [ -e go ]; do sleep 0.05; done]] the first wish");
    codex.router.event_of(&running, "command_started");
    let joining = codex.steer("a second wish");
    let started = codex.router.event_of(&joining, "turn_started");
    assert_eq!(started["steered_into"], running.as_str());
    std::fs::write(codex.work().join("go"), "").unwrap();

    let (turn, joined) = (codex.end_of(&running).completed(), codex.end_of(&joining).completed());
    // One turn: its answer is to what came last, and its tokens are counted once.
    assert_eq!(turn.answer(), answer_to("a second wish"));
    assert_eq!(joined.end["steered_into"], running.as_str());
    assert!(turn.one("usage")["total_tokens"].as_u64() >= Some(2 * 1050));
    assert!(
        joined.of("usage").is_empty() && joined.end["usage"].is_null(),
        "{}",
        joined.end
    );
    let heard = codex.model.requests().pop().unwrap().user_texts();
    assert!(heard.ends_with(&[
        "[[exec until [ -e go ]; do sleep 0.05; done]] the first wish".into(),
        "a second wish".into()
    ]));

    // Where nothing runs it is a turn of its own.
    let alone = codex.steer("on my own");
    let turn = codex.end_of(&alone).completed();
    assert_eq!(turn.answer(), answer_to("on my own"));
    assert!(turn.end["steered_into"].is_null(), "{}", turn.end);
}
