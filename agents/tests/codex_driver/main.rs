//! The Codex driver in simulated time, against a server that says what no recording holds.
#![expect(clippy::unwrap_used, reason = "tests, and what only they call")]

mod play;

use std::time::Duration;

use codeswarm_agents::codex::words_of_message;
use codeswarm_agents::{AgentCommand, AgentEvent, Death, Driver};
use codeswarm_protocol::launch::{AgentSpec, Approvals};
use codeswarm_protocol::record::Word;
use codeswarm_protocol::turn::{CallStatus, Decision, ErrorClass, TurnStatus};
use play::{Play, died, opened, running_command};
use serde_json::{Value, json};

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn a_silent_server_is_given_up_when_it_has_had_its_time_to_start() {
    let mut play = Play::start(AgentSpec::default(), None);
    play.pass(59 * SECOND);
    assert_eq!(play.end, None);
    play.pass(SECOND);
    assert_eq!(
        play.end,
        Some(("codex did not open its thread within 60 s".into(), true))
    );
    assert_eq!(play.driver.deadline(), None);
}

#[test]
fn the_time_to_start_is_one_for_all_steps() {
    let mut play = Play::start(AgentSpec::default(), Some("old"));
    play.pass(40 * SECOND);
    play.answer("initialize", json!({}));
    play.refuse("thread/resume", -32600, "no rollout found for thread id old");
    play.pass(20 * SECOND);
    assert!(
        play.end.as_ref().is_some_and(|(_, may_restart)| *may_restart),
        "{:?}",
        play.end
    );
}

#[test]
fn a_thread_that_is_lost_is_replaced_and_the_loss_is_told_after_ready() {
    let mut play = Play::start(AgentSpec::default(), Some("old"));
    play.answer("initialize", json!({}));
    assert_eq!(play.asked("thread/resume")["params"]["excludeTurns"], true);
    play.says(json!({"id": 2, "error": {"code": -32600, "message": "no rollout found for thread id old"}}));
    play.answer("thread/start", opened("new"));
    let [
        AgentEvent::Ready { thread_id, resumed, .. },
        AgentEvent::Said(Word::Notice { message }),
    ] = &play.events[..]
    else {
        panic!("{:?}", play.events);
    };
    assert_eq!((thread_id.as_str(), *resumed), ("new", false));
    assert!(message.contains("old cannot be gone on with"), "{message}");
}

#[test]
fn a_server_that_speaks_otherwise_is_not_started_again() {
    let mut play = Play::start(AgentSpec::default(), None);
    play.answer("initialize", json!({}));
    play.answer("thread/start", json!({"conversationId": "t"}));
    let (reason, may_restart) = play.end.unwrap();
    assert!(reason.contains("another protocol") && !may_restart, "{reason}");
}

#[test]
fn a_configuration_that_it_refuses_ends_the_prompt_as_config() {
    let mut play = Play::start(AgentSpec::default(), None);
    play.prompt("x");
    play.gone(&Death {
        code: Some(1),
        signal: None,
        stderr_tail: Some("WARNING: x\nError: /h/config.toml:3:1: unknown field `y`\n\nStack backtrace:\n 0: z".into()),
    });
    let (reason, may_restart) = play.end.as_ref().unwrap();
    assert!(
        reason.ends_with("Error: /h/config.toml:3:1: unknown field `y`") && !may_restart,
        "{reason}"
    );
    assert_eq!(play.ends(), [(TurnStatus::Failed, Some(ErrorClass::Config))]);
}

#[test]
fn a_prompt_that_is_too_long_fails_before_it_is_sent_and_the_next_one_runs() {
    let mut play = Play::open(AgentSpec::default());
    play.prompt(&"ä".repeat(1_048_577));
    assert_eq!(play.ends(), [(TurnStatus::Failed, Some(ErrorClass::BadRequest))]);
    assert_eq!(play.written, Vec::<Value>::new());
    play.prompt(&"ä".repeat(1_048_576));
    play.answer("turn/start", json!({"turn": {"id": "u1"}}));
    play.turn_over("u1", "completed");
    assert_eq!(play.ends()[1..], [(TurnStatus::Completed, None)]);
}

#[test]
fn a_refused_turn_ends_at_once() {
    for (code, class) in [(-32602, ErrorClass::BadRequest), (-32001, ErrorClass::Overloaded)] {
        let mut play = Play::open(AgentSpec::default());
        play.prompt("x");
        play.steer(1);
        play.refuse("turn/start", code, "no");
        assert_eq!(play.ends(), [(TurnStatus::Failed, Some(class))]);
        assert_eq!(play.steers(), [(1, Some("no turn is running"))]);
    }
}

#[test]
fn a_request_without_an_answer_ends_the_session() {
    let mut play = Play::open(AgentSpec::default());
    play.prompt("x");
    play.pass(60 * SECOND);
    assert_eq!(
        play.end,
        Some(("codex did not answer turn/start within 60 s".into(), true))
    );
    play.gone(&died());
    assert_eq!(play.ends(), [(TurnStatus::Failed, Some(ErrorClass::AgentDied))]);
}

#[test]
fn the_end_of_another_turn_is_not_ours() {
    let mut play = Play::running();
    play.turn_over("u0", "completed");
    play.says(
        json!({"method": "turn/completed", "params": {"threadId": "t2", "turn": {"id": "u1", "status": "completed"}}}),
    );
    assert_eq!(play.ends(), []);
    play.turn_over("u1", "completed");
    play.turn_over("u1", "completed");
    assert_eq!(play.ends(), [(TurnStatus::Completed, None)]);
    assert_eq!(play.kept, 1);
}

#[test]
fn prompts_that_come_early_or_together_run_one_after_another() {
    let mut play = Play::start(AgentSpec::default(), None);
    play.prompt("one");
    play.prompt("two");
    play.answer("initialize", json!({}));
    play.answer("thread/start", opened("t1"));
    play.answer("turn/start", json!({"turn": {"id": "u1"}}));
    assert!(!play.written.iter().any(|message| message["method"] == "turn/start"));
    play.turn_over("u1", "completed");
    let second = play.asked("turn/start");
    assert_eq!(second["params"]["input"][0]["text"], "two");
}

#[test]
fn steering_waits_for_the_turn_s_name_and_needs_a_turn() {
    let mut play = Play::open(AgentSpec::default());
    play.steer(1);
    play.prompt("x");
    play.steer(2);
    assert!(!play.written.iter().any(|message| message["method"] == "turn/steer"));
    play.news("turn/started", json!({"turn": {"id": "u1", "status": "inProgress"}}));
    assert_eq!(play.asked("turn/steer")["params"]["expectedTurnId"], "u1");
    play.says(json!({"id": 4, "result": {"turnId": "u1"}}));
    play.steer(3);
    play.refuse("turn/steer", -32600, "no active turn to steer");
    assert_eq!(
        play.steers(),
        [
            (1, Some("no turn is running")),
            (2, None),
            (3, Some("no active turn to steer"))
        ]
    );
    // The answer to turn/start tells the name once more.
    play.answer("turn/start", json!({"turn": {"id": "u1"}}));
    let started = play
        .events
        .iter()
        .filter(|event| matches!(event, AgentEvent::TurnStarted { .. }));
    assert_eq!(started.count(), 1);
}

#[test]
fn a_steering_text_whose_answer_was_lost_is_not_run_again() {
    let mut play = Play::running();
    play.steer(1);
    play.gone(&died());
    assert_eq!(play.steers(), [(1, None)]);
    assert_eq!(play.ends(), [(TurnStatus::Failed, Some(ErrorClass::AgentDied))]);
}

#[test]
fn p2_a_steering_text_that_is_not_answered_in_time_is_not_run_again() {
    let mut play = Play::running();
    play.steer(1);
    play.pass(SECOND * 61);
    assert!(
        play.end
            .as_ref()
            .is_some_and(|(reason, _)| reason.contains("turn/steer"))
    );
    play.gone(&died());
    assert_eq!(play.steers(), [(1, None)]);
}

#[test]
fn p6_an_answer_that_comes_when_its_turn_is_over_names_no_other() {
    let mut play = Play::open(AgentSpec::default());
    play.prompt("x");
    play.news("turn/started", json!({"turn": {"id": "u1", "status": "inProgress"}}));
    play.turn_over("u1", "completed");
    play.prompt("y");
    play.answer("turn/start", json!({"turn": {"id": "u1"}}));
    play.news("turn/started", json!({"turn": {"id": "u2", "status": "inProgress"}}));
    play.turn_over("u2", "completed");
    assert_eq!(
        play.ends(),
        [(TurnStatus::Completed, None), (TurnStatus::Completed, None)]
    );
}

#[test]
fn an_interrupt_that_comes_too_early_is_asked_for_again() {
    let mut play = Play::open(AgentSpec::default());
    play.command(AgentCommand::Interrupt);
    assert_eq!(play.written, Vec::<Value>::new());
    play.prompt("x");
    play.command(AgentCommand::Interrupt);
    play.command(AgentCommand::Interrupt);
    assert!(!play.written.iter().any(|message| message["method"] == "turn/interrupt"));
    play.answer("turn/start", json!({"turn": {"id": "u1"}}));
    play.refuse("turn/interrupt", -32600, "no active turn to interrupt");
    play.pass(SECOND);
    play.answer("turn/interrupt", json!({}));
    play.turn_over("u1", "interrupted");
    assert_eq!(play.ends(), [(TurnStatus::Interrupted, None)]);
    assert_eq!(play.end, None);
}

#[test]
fn an_interrupt_that_ends_nothing_ends_the_session() {
    for answered in [true, false] {
        let mut play = Play::running();
        play.command(AgentCommand::Interrupt);
        if answered {
            play.answer("turn/interrupt", json!({}));
        }
        play.pass(10 * SECOND);
        assert!(
            play.end.as_ref().is_some_and(|(_, may_restart)| *may_restart),
            "{:?}",
            play.end
        );
        play.gone(&died());
        assert_eq!(play.ends(), [(TurnStatus::Interrupted, None)]);
    }
}

#[test]
fn an_interrupted_turn_s_commands_are_ended_before_its_end_is_told() {
    let mut play = Play::running();
    for (id, terminal) in [("c1", "11"), ("c2", "22"), ("c3", "33")] {
        play.item("item/started", "u1", running_command(id, Some(terminal)));
    }
    play.item("item/started", "u0", running_command("c0", Some("9")));
    let done =
        json!({"type": "commandExecution", "id": "c1", "command": "sleep 9", "status": "completed", "exitCode": 0});
    play.item("item/completed", "u1", done);
    play.command(AgentCommand::Interrupt);
    play.answer("turn/interrupt", json!({}));
    play.turn_over("u1", "interrupted");
    assert_eq!(play.ends(), []);
    play.steer(1);
    assert_eq!(play.steers(), [(1, Some("no turn is running"))]);

    assert_eq!(play.written.len(), 2, "{:?}", play.written);
    play.answer("thread/backgroundTerminals/terminate", json!({"terminated": true}));
    let stopped =
        json!({"type": "commandExecution", "id": "c2", "command": "sleep 9", "status": "failed", "exitCode": -1});
    play.item("item/completed", "u1", stopped);
    assert_eq!(play.ends(), []);
    play.answer("thread/backgroundTerminals/terminate", json!({"terminated": false}));
    assert_eq!(play.ends(), [(TurnStatus::Interrupted, None)]);
    let statuses: Vec<_> = play
        .events
        .iter()
        .filter_map(|event| match event {
            AgentEvent::Said(Word::CommandCompleted { status, .. }) => Some(*status),
            _ => None,
        })
        .collect();
    assert_eq!(statuses, [CallStatus::Completed, CallStatus::Aborted]);
}

#[test]
fn a_command_that_does_not_end_does_not_hold_the_turn_s_end_for_long() {
    let mut play = Play::running();
    play.item("item/started", "u1", running_command("c1", None));
    play.command(AgentCommand::Interrupt);
    play.answer("turn/interrupt", json!({}));
    play.turn_over("u1", "interrupted");
    assert_eq!(
        play.asked("thread/backgroundTerminals/clean")["params"],
        json!({"threadId": "t1"})
    );
    play.pass(5 * SECOND);
    assert_eq!(play.ends(), [(TurnStatus::Interrupted, None)]);
    assert!(play.notices()[0].contains("c1"), "{:?}", play.notices());
    assert_eq!(play.end, None);
    play.pass(100 * SECOND);
    assert_eq!((play.ends().len(), play.end), (1, None));
}

#[test]
fn a_question_ends_with_its_time_its_turn_or_its_withdrawal() {
    let ask = AgentSpec {
        approvals: Approvals::Ask,
        approval_timeout_seconds: 30,
        ..AgentSpec::default()
    };
    let mut play = Play::open(ask);
    play.prompt("x");
    play.answer("turn/start", json!({"turn": {"id": "u1"}}));
    for id in 0..4 {
        play.says(json!({"id": id, "method": "item/commandExecution/requestApproval",
            "params": {"threadId": "t1", "turnId": "u1", "itemId": format!("c{id}"), "command": "x"}}));
    }
    play.command(AgentCommand::Approve {
        call_id: "c0".into(),
        decision: Decision::AcceptForSession,
        by: "client",
    });
    play.news("serverRequest/resolved", json!({"requestId": 1}));
    play.pass(29 * SECOND);
    play.says(json!({"id": 4, "method": "item/commandExecution/requestApproval",
        "params": {"threadId": "t1", "turnId": "u1", "itemId": "c4", "command": "x"}}));
    play.pass(SECOND);
    play.turn_over("u1", "failed");
    let resolved: Vec<_> = play
        .events
        .iter()
        .filter_map(|event| match event {
            AgentEvent::Said(Word::ApprovalResolved { call_id, decision, by }) => {
                Some(format!("{call_id} {decision:?} by {by}"))
            }
            _ => None,
        })
        .collect();
    assert_eq!(
        resolved,
        [
            "c0 AcceptForSession by client",
            "c1 Cancel by agent",
            "c2 Decline by timeout",
            "c3 Decline by timeout",
            "c4 Cancel by agent"
        ]
    );
    let answers: Vec<_> = play
        .written
        .iter()
        .map(|message| message["result"]["decision"].clone())
        .collect();
    assert_eq!(answers, ["acceptForSession", "decline", "decline"]);
    // A turn that failed and said no reason has one nevertheless.
    assert_eq!(play.ends(), [(TurnStatus::Failed, Some(ErrorClass::Other))]);
}

#[test]
fn requests_that_nobody_can_serve_are_answered_with_an_error() {
    let mut play = Play::running();
    play.written.clear();
    for id in [json!(7), json!("seven")] {
        play.says(json!({"id": id, "method": "item/tool/requestUserInput", "params": {}}));
        let answer = play.written.remove(0);
        assert_eq!((&answer["id"], &answer["error"]["code"]), (&id, &json!(-32601)));
    }
    assert_eq!(play.notices().len(), 1);
}

#[test]
fn lines_that_are_no_messages_are_passed_over_and_told_once() {
    let mut play = Play::running();
    for junk in [
        &b"junk"[..],
        b"",
        b"{\"method\":",
        b"\xff\xfe",
        b"[1]",
        b"{\"id\":999,\"result\":{}}",
    ] {
        let effects = play.driver.line(junk, play.now);
        play.take(effects);
    }
    play.news("item/started", json!({"turnId": "u1", "item": "not an item"}));
    play.news("brand/new", json!({}));
    assert_eq!(play.events.len(), 1);
    assert!(play.notices()[0].contains("\"junk\""), "{:?}", play.notices());
    play.turn_over("u1", "completed");
    assert_eq!(play.ends().len(), 1);
}

#[test]
fn a_stop_in_mid_turn_is_an_interrupt_and_later_prompts_still_end() {
    let mut play = Play::running();
    play.prompt("waits");
    play.command(AgentCommand::Stop);
    assert_eq!(play.end, Some(("asked to stop".into(), true)));
    play.gone(&Death {
        code: Some(0),
        ..Death::default()
    });
    play.prompt("late");
    play.steer(4);
    play.command(AgentCommand::Interrupt);
    assert_eq!(
        play.ends(),
        [
            (TurnStatus::Interrupted, None),
            (TurnStatus::Interrupted, None),
            (TurnStatus::Failed, Some(ErrorClass::AgentDied))
        ]
    );
    assert_eq!(play.steers().len(), 1);
}

#[test]
fn a_turn_that_ends_while_the_session_does_keeps_its_own_end() {
    let mut play = Play::running();
    play.command(AgentCommand::Stop);
    play.turn_over("u1", "completed");
    play.gone(&died());
    assert_eq!(play.ends(), [(TurnStatus::Completed, None)]);
}

#[test]
fn messages_are_passed_on_raw_where_that_is_asked_for() {
    let mut play = Play::open(AgentSpec {
        raw_events: true,
        ..AgentSpec::default()
    });
    play.news("brand/new", json!({"a": 1}));
    assert_eq!(
        play.events,
        [AgentEvent::Raw(
            json!({"method": "brand/new", "params": {"a": 1, "threadId": "t1"}})
        )]
    );
}

#[test]
fn the_records_of_earlier_workers_are_translated_by_the_same_words() {
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests/fixtures/codex/04_approval_exec_accept.jsonl"
    );
    let recording = std::fs::read_to_string(path).unwrap();
    let words: Vec<String> = recording
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .filter(|line| line["dir"] == "out")
        .flat_map(|line| words_of_message(&line["msg"].to_string()))
        .map(|word| serde_json::to_string(&word).unwrap())
        .collect();
    insta::assert_snapshot!(words.join("\n"));
    assert_eq!(words_of_message("junk"), []);
}

#[test]
fn times_without_end_are_no_times() {
    let mut play = Play::start(
        AgentSpec {
            approvals: Approvals::Ask,
            approval_timeout_seconds: u64::MAX,
            start_timeout_seconds: u64::MAX,
            ..AgentSpec::default()
        },
        None,
    );
    play.pass(1000 * 1000 * SECOND);
    play.answer("initialize", json!({}));
    play.answer("thread/start", opened("t1"));
    play.says(
        json!({"id": 0, "method": "item/commandExecution/requestApproval", "params": {"itemId": "c", "command": "x"}}),
    );
    play.pass(1000 * 1000 * SECOND);
    assert_eq!(play.end, None);
    assert_eq!(play.events.len(), 2, "{:?}", play.events);
}
