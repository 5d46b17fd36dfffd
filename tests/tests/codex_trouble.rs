//! A model server in trouble: each turn ends, says in which class of trouble it was, and the next one works.

use std::net::TcpListener;

use codeswarm_tests::codex_swarm::CodexSwarm;
use codeswarm_tests::model_server::{PROVIDER, answer_to};
use codeswarm_tests::requires;
use serde_json::json;

#[test]
fn trouble_has_its_class_and_the_next_turn_works() {
    let Some(program) = requires::codex() else { return };
    let mut codex = CodexSwarm::launch(&program, 1);
    for (prompt, class, http_status, said) in [
        ("[[http 500]]", "overloaded", None, "high demand"),
        ("[[http 503 code=server_is_overloaded]]", "overloaded", None, ""),
        ("[[http 429]]", "rate_limit", Some(429), "429"),
        ("[[http 429 code=usage_limit_reached]]", "quota", None, "usage limit"),
        ("[[fail code=insufficient_quota]]", "quota", None, "uota"),
        (
            "[[fail code=context_length_exceeded]]",
            "context_full",
            None,
            "context window",
        ),
        ("[[http 404 code=model_not_found]]", "model", None, ""),
        ("[[http 400]]", "bad_request", None, "HTTP 400 as the prompt asked"),
        ("[[http 401]]", "auth", Some(401), "401"),
        (
            "[[cut]] some words to be cut off",
            "network",
            None,
            "stream disconnected",
        ),
        ("[[incomplete]] half a word", "other", None, "max_output_tokens"),
    ] {
        let turn = codex.turn(prompt);
        assert_eq!(
            (turn.status(), turn.class()),
            ("failed", class),
            "{prompt}: {}",
            turn.end
        );
        assert!(turn.message().contains(said), "{prompt}: {}", turn.end);
        assert_eq!(
            turn.end["error"]["http_status"].as_u64(),
            http_status,
            "{prompt}: {}",
            turn.end
        );
    }
    let turn = codex.turn("and on").completed();
    assert_eq!(turn.answer(), answer_to("and on"));
    assert_eq!(turn.one("usage")["total_tokens"], 1050);
    // All of it in one agent and one thread.
    let kinds: Vec<_> = codex.records().iter().map(|record| record["type"].clone()).collect();
    assert!(!kinds.contains(&json!("agent_exit")), "{kinds:?}");
    assert_eq!(kinds.iter().filter(|kind| **kind == "agent_ready").count(), 1);
}

#[test]
fn trouble_that_passes_is_told_and_costs_nothing() {
    let Some(program) = requires::codex() else { return };
    let mut codex = CodexSwarm::launch(&program, 1);
    for trouble in ["[[http 500 times=1]]", "[[cut times=1 after=3]]"] {
        let turn = codex.turn(&format!("{trouble} a few more words to say")).completed();
        // What a broken attempt has said stays among the deltas; the message is the truth.
        assert_eq!(turn.answer(), answer_to("a few more words to say"), "{trouble}");
        assert_eq!(turn.of("assistant").len(), 1, "{trouble}");
        assert_eq!(turn.one("usage")["total_tokens"], 1050, "{trouble}");
        let errors = turn.of("agent_error");
        assert!(errors.iter().all(|error| error["will_retry"] == true), "{errors:#?}");
    }
    let turn = codex.turn("[[cut]] again and again");
    let errors = turn.of("agent_error");
    assert!(
        !errors.is_empty() && errors.iter().all(|error| error["will_retry"] == true),
        "{:#?}",
        turn.events
    );
}

#[test]
fn a_turn_that_hangs_ends_at_its_deadline() {
    let Some(program) = requires::codex() else { return };
    let mut codex = CodexSwarm::configured(&program, 1, |config| config["agent"]["turn_timeout_seconds"] = json!(2));
    let turn = codex.turn("[[hang]]");
    assert_eq!((turn.status(), turn.class()), ("failed", "timeout"), "{}", turn.end);
    assert!(turn.message().contains("agent.turn_timeout_seconds"), "{}", turn.end);
    assert_eq!(codex.turn("and on").completed().answer(), answer_to("and on"));
}

/// Without being told, Codex would try to reconnect for ever.
#[test]
fn a_model_server_that_is_not_there_fails_the_turn() {
    let Some(program) = requires::codex() else { return };
    // A port on which nobody listens any more.
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = nobody.local_addr().unwrap();
    drop(nobody);
    let mut codex = CodexSwarm::configured(&program, 1, |config| {
        let settings = &mut config["agent"]["config"];
        settings["features.unbounded_connection_retries"].take();
        settings.as_object_mut().unwrap().retain(|_, value| !value.is_null());
        settings[format!("model_providers.{PROVIDER}.base_url")] = json!(format!("http://{address}/v1"));
    });
    let turn = codex.turn("hello");
    assert_eq!((turn.status(), turn.class()), ("failed", "network"), "{}", turn.end);
}

#[test]
fn a_prompt_longer_than_codex_takes_fails_at_once_and_the_longest_one_works() {
    let Some(program) = requires::codex() else { return };
    let mut codex = CodexSwarm::launch(&program, 1);
    // Two bytes each: the limit counts characters.
    let turn = codex.turn(&"é".repeat(1_048_577));
    assert_eq!((turn.status(), turn.class()), ("failed", "bad_request"), "{}", turn.end);
    assert!(turn.message().contains("1048576"), "{}", turn.end);
    let end = "[[say yes]]";
    let longest = "é".repeat(1_048_576 - end.len()) + end;
    let turn = codex.turn(&longest).completed();
    assert_eq!(turn.of("assistant")[0]["content"], "yes");
    assert!(turn.answer().len() > 2_000_000, "{} bytes", turn.answer().len());
}
