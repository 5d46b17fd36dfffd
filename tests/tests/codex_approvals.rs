//! Codex asks before it acts: the configuration answers, or a client does, or nobody in time.

use std::path::Path;

use codeswarm_tests::codex_swarm::{CodexSwarm, Turn};
use codeswarm_tests::model_server::answer_to;
use codeswarm_tests::requires;
use codeswarm_tests::schema::assert_flat_events;
use serde_json::{Value, json};

const MAKES_A_FILE: &str = "[[exec touch made.txt]] over";

/// A swarm whose Codex asks before it runs a command.
fn asking(program: &Path, approvals: &str) -> CodexSwarm {
    CodexSwarm::configured(program, 1, |config| {
        let agent = &mut config["agent"];
        agent["approval_policy"] = json!("untrusted");
        agent["approvals"] = json!(approvals);
        agent["approval_timeout_seconds"] = json!(2);
    })
}

/// The question, and how it was answered and by whom.
fn assert_answered(turn: &Turn, decision: &str, by: &str) {
    assert_flat_events(&turn.events);
    let question = turn.one("approval_required");
    assert_eq!(question["kind"], "command", "{question}");
    assert!(
        question["command"].as_str().unwrap().contains("touch made.txt"),
        "{question}"
    );
    let answer = turn.one("approval_resolved");
    assert_eq!(answer["call_id"], question["call_id"]);
    assert_eq!(
        (&answer["decision"], &answer["by"]),
        (&json!(decision), &json!(by)),
        "{answer}"
    );
}

/// The status of the turn's one command, if it has one.
fn command_status(turn: &Turn) -> &Value {
    &turn.one("command_completed")["status"]
}

#[test]
fn the_configuration_says_yes() {
    let Some(program) = requires::codex() else { return };
    let mut codex = asking(&program, "accept");
    let turn = codex.turn(MAKES_A_FILE).completed();
    assert_answered(&turn, "accept", "policy");
    assert_eq!(command_status(&turn), "completed");
    assert!(codex.work().join("made.txt").exists());
}

#[test]
fn the_configuration_says_no_and_the_turn_goes_on() {
    let Some(program) = requires::codex() else { return };
    let mut codex = asking(&program, "decline");
    let turn = codex.turn(MAKES_A_FILE).completed();
    assert_answered(&turn, "decline", "policy");
    assert_eq!(command_status(&turn), "declined");
    assert!(!codex.work().join("made.txt").exists());
    assert_eq!(turn.answer(), answer_to("over"));
    // The model is told.
    let outputs = codex.model.requests().pop().unwrap().tool_outputs();
    assert!(outputs[0].text.contains("rejected by user"), "{outputs:?}");
}

#[test]
fn a_client_says_yes_then_no() {
    let Some(program) = requires::codex() else { return };
    let mut codex = asking(&program, "ask");
    for (approved, decision, status) in [(true, "accept", "completed"), (false, "decline", "declined")] {
        let injection = codex.inject(MAKES_A_FILE);
        let question = codex.router.event_of(&injection, "approval_required");
        let offered = question["available_decisions"].as_array().unwrap();
        assert!(
            offered.contains(&json!("accept")) && offered.contains(&json!("decline")),
            "{question}"
        );
        codex.approve(&question["call_id"], approved);
        let turn = codex.end_of(&injection).completed();
        assert_answered(&turn, decision, "client");
        assert_eq!(command_status(&turn), status);
        assert_eq!(codex.work().join("made.txt").exists(), approved);
        if approved {
            std::fs::remove_file(codex.work().join("made.txt")).unwrap();
        }
        // P11: the same answer once more changes nothing, and that is said.
        codex.approve(&question["call_id"], true);
        let late = question["call_id"].as_str().unwrap();
        codex.wait_for_record("control_ignored", |record| {
            record["type"] == "control_ignored" && record["reason"].as_str().unwrap().contains(late)
        });
    }
}

#[test]
fn a_client_ends_the_turn_with_its_answer_or_while_the_question_is_open() {
    let Some(program) = requires::codex() else { return };
    let mut codex = asking(&program, "ask");
    let injection = codex.inject(MAKES_A_FILE);
    let question = codex.router.event_of(&injection, "approval_required");
    codex.router.asked(
        json!({"command": "approve_execution", "swarm_id": codex.swarm.swarm_id, "nodes": 0,
            "call_id": question["call_id"], "decision": "cancel"}),
        "approval_ack",
    );
    let turn = codex.end_of(&injection);
    assert_answered(&turn, "cancel", "client");
    assert_eq!(turn.status(), "interrupted", "{}", turn.end);

    let injection = codex.inject(MAKES_A_FILE);
    codex.router.event_of(&injection, "approval_required");
    codex.interrupt();
    let turn = codex.end_of(&injection);
    assert_answered(&turn, "cancel", "agent");
    assert_eq!(turn.status(), "interrupted", "{}", turn.end);
    assert!(!codex.work().join("made.txt").exists());
    assert_eq!(codex.turn("and on").completed().answer(), answer_to("and on"));
}

#[test]
fn nobody_answers_in_time_which_means_no() {
    let Some(program) = requires::codex() else { return };
    let mut codex = asking(&program, "ask");
    let turn = codex.turn(MAKES_A_FILE).completed();
    assert_answered(&turn, "decline", "timeout");
    assert_eq!(command_status(&turn), "declined");
    assert!(!codex.work().join("made.txt").exists());
}

#[test]
fn a_patch_is_asked_about_with_what_it_would_change() {
    let Some(program) = requires::codex() else { return };
    // A model for which Codex has a tool for patches; for another a patch is a command like any.
    let mut codex = CodexSwarm::configured(&program, 1, |config| {
        let agent = &mut config["agent"];
        agent["model"] = json!("gpt-5.5");
        agent["approval_policy"] = json!("untrusted");
        agent["approvals"] = json!("ask");
    });
    for approved in [false, true] {
        let injection = codex.inject("[[patch *** Add File: note.txt\n+hello]] over");
        let question = codex.router.event_of(&injection, "approval_required");
        assert_eq!(question["kind"], "file_change", "{question}");
        assert!(question["command"].as_str().unwrap().contains("note.txt"), "{question}");
        codex.approve(&question["call_id"], approved);
        let turn = codex.end_of(&injection).completed();
        let status = if approved { "completed" } else { "declined" };
        assert_eq!(turn.one("file_change")["status"], status);
        assert_eq!(codex.work().join("note.txt").exists(), approved);
    }
}
