//! The model server as the real Codex sees it: `codex app-server` is driven with raw lines through each kind of turn.

use codeswarm_tests::app_server::AppServer;
use codeswarm_tests::model_server::{KEY, MODEL, answer_to, big_text, stream_text};
use codeswarm_tests::requires;
use serde_json::{Value, json};

/// What each response counts.
const RESPONSE_TOKENS: u64 = 1050;

#[test]
fn a_text_turn_quotes_the_prompt_and_counts_the_tokens() {
    let Some(codex) = requires::codex() else { return };
    let mut server = AppServer::start(&codex, MODEL, KEY);
    let turn = server.turn("hello there");
    assert_eq!(turn.status(), "completed");
    assert_eq!(turn.answer(), "You said: hello there");
    assert_eq!(turn.deltas(), ["You ", "said: ", "hello ", "there"]);
    assert_eq!(turn.total_tokens(), RESPONSE_TOKENS);

    let turn = server.turn("[[usage input=7 cached=2 output=3 reasoning=1]] again");
    assert_eq!(turn.answer(), "You said: again");
    assert_eq!(turn.total_tokens(), RESPONSE_TOKENS + 10);
    let asked_again = |prompt: &str| prompt.ends_with("again");
    let request = server
        .model
        .wait_for_request("the second prompt", |request| asked_again(&request.prompt()));
    assert_eq!(request.assistant_texts(), [answer_to("hello there")]);
}

#[test]
fn a_stream_comes_in_as_many_deltas_as_asked_for() {
    let Some(codex) = requires::codex() else { return };
    let mut server = AppServer::start(&codex, MODEL, KEY);
    let turn = server.turn("[[reason let me think]] [[say at once]] [[stream n=50 pace_ms=1]]");
    assert_eq!(turn.answer(), stream_text(50));
    assert_eq!(turn.deltas().len(), 2 + 50);
    assert_eq!(turn.items("agentMessage")[0]["text"], "at once");
    assert_eq!(turn.items("reasoning")[0]["summary"], json!(["let me think"]));
}

#[test]
fn a_megabyte_arrives_whole() {
    let Some(codex) = requires::codex() else { return };
    let mut server = AppServer::start(&codex, MODEL, KEY);
    let turn = server.turn("[[big bytes=1000000]]");
    let (answer, deltas) = (turn.answer(), turn.deltas().concat());
    assert!(answer == big_text(1_000_000), "{} bytes of another text", answer.len());
    assert!(deltas == answer, "the deltas make {} bytes", deltas.len());
}

#[test]
fn a_command_is_executed_and_its_output_goes_back() {
    let Some(codex) = requires::codex() else { return };
    let mut server = AppServer::start(&codex, MODEL, KEY);
    let turn = server.turn("[[exec echo hi > made-here.txt; pwd; exit 3]] then talk");
    assert_eq!(turn.status(), "completed");
    let made = std::fs::read_to_string(server.cwd().join("made-here.txt")).unwrap();
    assert_eq!(made, "hi\n");
    let commands = turn.items("commandExecution");
    assert_eq!((commands.len(), commands[0]["exitCode"].as_i64()), (1, Some(3)));
    assert_eq!(turn.answer(), answer_to("then talk"));
    assert_eq!(turn.total_tokens(), 2 * RESPONSE_TOKENS);
    let outputs = server.model.requests().pop().unwrap().tool_outputs();
    assert!(outputs[0].text.contains(server.cwd().to_str().unwrap()), "{outputs:?}");

    // The result of the first turn's call must not be taken for one of the second's.
    let turn = server.turn("[[exec echo one]] [[exec echo two]] done");
    let commands = turn.items("commandExecution");
    let printed: Vec<_> = commands.iter().map(|item| &item["aggregatedOutput"]).collect();
    assert_eq!(printed, ["one\n", "two\n"]);
    assert_eq!(turn.total_tokens(), 5 * RESPONSE_TOKENS);
}

/// Codex gives a model that it knows a tool for patches; for others a patch is a command that it recognises.
#[test]
fn a_patch_changes_a_file_with_either_kind_of_model() {
    let Some(codex) = requires::codex() else { return };
    for model_name in [MODEL, "gpt-5.5"] {
        let mut server = AppServer::start(&codex, model_name, KEY);
        let turn = server.turn("[[patch *** Add File: note.txt\n+hello\n+world]] patched");
        assert_eq!(turn.status(), "completed");
        let made = std::fs::read_to_string(server.cwd().join("note.txt")).unwrap();
        assert_eq!(made, "hello\nworld\n", "{model_name}");
        let changes = turn.items("fileChange");
        assert_eq!(changes.len(), 1, "{model_name}: {changes:?}");
        assert_eq!(changes[0]["changes"][0]["kind"]["type"], "add");
        assert_eq!(turn.answer(), answer_to("patched"));
    }
}

#[test]
fn troubles_fail_the_turn_and_the_next_one_works() {
    let Some(codex) = requires::codex() else { return };
    let mut server = AppServer::start(&codex, MODEL, KEY);
    for (prompt, info) in [
        ("[[http 500]]", json!("internalServerError")),
        (
            "[[http 429]]",
            json!({"responseTooManyFailedAttempts": {"httpStatusCode": 429}}),
        ),
        ("[[http 429 code=usage_limit_reached]]", json!("usageLimitExceeded")),
        ("[[cut]] some words to be cut", json!("other")),
        ("[[incomplete]]", json!("other")),
        ("[[no-such-marker]]", json!("other")),
        ("[[fail code=context_length_exceeded]]", json!("contextWindowExceeded")),
    ] {
        let turn = server.turn(prompt);
        let error = &turn.end["error"]["codexErrorInfo"];
        assert_eq!((turn.status(), error), ("failed", &info), "{prompt}: {}", turn.end);
    }
    let turn = server.turn("[[empty]]");
    assert_eq!((turn.status(), turn.answer().as_str()), ("completed", ""));
}

#[test]
fn trouble_that_passes_is_retried_by_codex() {
    let Some(codex) = requires::codex() else { return };
    let mut server = AppServer::start(&codex, MODEL, KEY);
    for trouble in ["[[http 500 times=1]]", "[[cut times=1]]"] {
        let turn = server.turn(&format!("{trouble} hello"));
        assert_eq!(
            (turn.status(), turn.answer()),
            ("completed", answer_to("hello")),
            "{trouble}"
        );
    }
}

#[test]
fn silence_and_slowness_can_be_interrupted() {
    let Some(codex) = requires::codex() else { return };
    let mut server = AppServer::start(&codex, MODEL, KEY);
    let silent = server.begin_turn("[[hang]]");
    server
        .model
        .wait_for_request("[[hang]]", |request| request.prompt() == "[[hang]]");
    server.interrupt(&silent);
    assert_eq!(server.end_of_turn(silent).status(), "interrupted");

    let slow = server.begin_turn("[[slow]]");
    server.process.wait_for("a delta", |line: &Value| {
        line["method"] == "item/agentMessage/delta" && line["params"]["turnId"] == slow.as_str()
    });
    server.interrupt(&slow);
    assert_eq!(server.end_of_turn(slow).status(), "interrupted");
    assert_eq!(server.turn("and on").answer(), answer_to("and on"));
}

#[test]
fn a_resumed_thread_shows_the_model_what_was_said_before() {
    let Some(codex) = requires::codex() else { return };
    let mut server = AppServer::start(&codex, MODEL, KEY);
    server.turn("the word is heron");
    server.crash_and_resume(&codex, KEY);
    let turn = server.turn("which word?");
    assert_eq!(turn.status(), "completed");
    assert_eq!(turn.total_tokens(), 2 * RESPONSE_TOKENS);
    let last = server.model.requests().pop().unwrap();
    assert!(last.user_texts().contains(&"the word is heron".to_owned()));
    assert_eq!(last.assistant_texts(), [answer_to("the word is heron")]);
}

#[test]
fn a_wrong_key_is_refused() {
    let Some(codex) = requires::codex() else { return };
    let mut server = AppServer::start(&codex, MODEL, "another key");
    let turn = server.turn("hello");
    assert_eq!(turn.status(), "failed");
    assert_eq!(
        turn.end["error"]["codexErrorInfo"],
        json!({"httpConnectionFailed": {"httpStatusCode": 401}})
    );
    assert!(server.model.requests().is_empty());
}
