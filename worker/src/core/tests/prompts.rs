//! Prompts: their order, the queue, steering, interrupts.

use codeswarm_agents::AgentEvent;
use codeswarm_protocol::turn::{TurnStatus, Usage};

use super::{Play, id, identity, settings};
use crate::core::recovery::Recovered;
use crate::core::{Core, Input, MAX_PROMPT_BYTES, MAX_WAITING_BYTES, STEER_GRACE, Settings};

#[test]
fn one_turn_at_a_time_in_the_inbox_s_order() {
    let mut play = Play::begin(Recovered::default(), 0);
    play.prompt("a");
    play.prompt("b");
    assert_eq!(
        play.did(),
        [
            "start, recovered 0",
            "> start",
            "a: received behind 0",
            "b: received behind 1"
        ]
    );
    play.ready();
    assert_eq!(play.did(), ["ready", "a: started", "> run a"]);
    play.turn_started();
    play.agent(AgentEvent::TurnEnded {
        status: TurnStatus::Completed,
        error: None,
        usage: Some(Usage::default()),
    });
    assert_eq!(
        play.did(),
        ["a: Completed counted", "a: usage", "b: started", "> run b"]
    );
}

#[test]
fn a_full_queue_refuses_and_has_room_again_later() {
    let mut play = Play::up();
    for name in ["a", "b", "c", "d"] {
        play.prompt(name);
    }
    assert_eq!(
        play.did()[3..],
        ["b: received behind 1", "c: received behind 2", "d: failed queue_full"]
    );
    play.turn_ended(TurnStatus::Completed);
    play.did();
    play.prompt("e");
    assert_eq!(play.did(), ["e: received behind 2"]);
}

#[test]
fn p12_prompts_without_text_or_with_too_much_are_refused() {
    let mut play = Play::up();
    play.prompt_saying("empty", " \n", false);
    play.prompt_saying("huge", &"x".repeat(MAX_PROMPT_BYTES + 1), false);
    assert_eq!(play.did(), ["empty: failed empty", "huge: failed too_large"]);
}

#[test]
fn p2_a_repeated_injection_says_nothing() {
    let mut play = Play::up();
    play.prompt("a");
    play.did();
    play.prompt("a");
    play.turn_ended(TurnStatus::Completed);
    play.prompt("a");
    assert_eq!(play.did(), ["a: Completed"]);
}

#[test]
fn a_steering_prompt_joins_the_turn_and_ends_with_it() {
    let mut play = Play::up();
    play.prompt("main");
    play.steer("more");
    // The agent cannot be asked before its turn runs.
    assert_eq!(
        play.did(),
        [
            "main: received behind 0",
            "main: started",
            "> run main",
            "more: received behind 0"
        ]
    );
    play.turn_started();
    assert_eq!(play.did(), ["> steer 1 more"]);
    play.agent(AgentEvent::Steered {
        token: 1,
        refused: None,
    });
    play.agent(AgentEvent::TurnEnded {
        status: TurnStatus::Completed,
        error: None,
        usage: Some(Usage::default()),
    });
    assert_eq!(
        play.did(),
        [
            "more: joined main in Some(\"t1\")",
            "main: Completed counted",
            "main: usage",
            "more: Completed with main"
        ]
    );
}

#[test]
fn a_steering_prompt_that_is_refused_or_comes_when_nothing_runs_has_its_own_turn() {
    let mut play = Play::up();
    play.steer("alone");
    play.turn_started();
    play.steer("refused");
    play.prompt("later");
    play.did();
    play.agent(AgentEvent::Steered {
        token: 1,
        refused: Some("no".to_owned()),
    });
    play.turn_ended(TurnStatus::Completed);
    // Its place is the one in the inbox, before the prompt that came after it.
    assert_eq!(play.did(), ["alone: Completed", "refused: started", "> run refused"]);
}

#[test]
fn the_next_turn_waits_for_the_answer_to_a_steering_prompt() {
    let mut play = Play::up();
    play.prompt("main");
    play.turn_started();
    play.steer("late");
    play.prompt("next");
    play.did();
    play.turn_ended(TurnStatus::Completed);
    assert_eq!(play.did(), ["main: Completed"]);
    play.agent(AgentEvent::Steered {
        token: 1,
        refused: None,
    });
    assert_eq!(
        play.did(),
        [
            "late: joined main in None",
            "late: Completed with main",
            "next: started",
            "> run next"
        ]
    );
}

#[test]
fn a_steering_prompt_that_is_never_answered_has_its_own_turn() {
    let mut play = Play::up();
    play.prompt("main");
    play.turn_started();
    play.steer("lost");
    play.turn_ended(TurnStatus::Completed);
    play.did();
    assert_eq!(play.until_due(), STEER_GRACE.as_secs());
    assert_eq!(play.did(), ["lost: started", "> run lost"]);
    play.agent(AgentEvent::Steered {
        token: 1,
        refused: None,
    });
    assert_eq!(
        play.did(),
        Vec::<String>::new(),
        "an answer that is too late changes nothing"
    );
}

#[test]
fn an_interrupt_ends_the_turn_it_means_and_no_other() {
    let mut play = Play::up();
    play.prompt("a");
    play.turn_started();
    play.prompt("b");
    play.did();
    play.interrupt(Some("b"));
    assert_eq!(play.did(), ["b: failed interrupted"]);
    play.interrupt(Some("b"));
    assert_eq!(play.did(), ["b: ignored"]);
    play.interrupt(None);
    play.interrupt(Some("a"));
    assert_eq!(play.did(), ["> Interrupt", "a: ignored"]);
    play.turn_ended(TurnStatus::Interrupted);
    play.interrupt(None);
    assert_eq!(play.did(), ["a: Interrupted Other", "ignored"]);
}

#[test]
fn a_turn_that_completes_before_its_interrupt_is_completed() {
    let mut play = Play::up();
    play.prompt("a");
    play.interrupt(None);
    play.turn_ended(TurnStatus::Completed);
    assert_eq!(play.did()[2..], ["> run a", "> Interrupt", "a: Completed"]);
}

#[test]
fn an_interrupted_steering_prompt_is_not_run() {
    let mut play = Play::up();
    play.prompt("main");
    play.steer("held");
    play.interrupt(Some("held"));
    play.turn_started();
    play.steer("sent");
    play.did();
    play.interrupt(Some("sent"));
    assert_eq!(
        play.did(),
        Vec::<String>::new(),
        "it cannot be taken back; the agent's answer decides"
    );
    play.agent(AgentEvent::Steered {
        token: 1,
        refused: Some("no".to_owned()),
    });
    assert_eq!(play.did(), ["sent: failed interrupted"]);
}

#[test]
fn p12_a_bad_line_is_told_once_and_ends_the_injection_that_it_names() {
    let mut play = Play::up();
    let bad = |injection: Option<&str>| Input::InboxBad {
        offset: 0,
        end: 10,
        reason: "is not understood".to_owned(),
        injection_id: injection.map(id),
    };
    play.input(bad(None));
    play.input(bad(Some("a")));
    play.input(bad(Some("a")));
    play.prompt("a");
    assert_eq!(play.did(), ["worker error", "a: failed bad_record"]);
}

#[test]
fn prompts_that_are_large_together_are_refused_until_there_is_room_again() {
    let mut play = Play::new();
    play.core = Core::new(Settings {
        queue_limit: 100,
        ..settings()
    });
    play.input(Input::Started {
        identity: identity(),
        recovered: Recovered::default(),
        inbox_length: 0,
    });
    play.ready();
    play.prompt("runs");
    play.did();
    let large = "x".repeat(MAX_PROMPT_BYTES);
    let fit = MAX_WAITING_BYTES / MAX_PROMPT_BYTES;
    for number in 1..=fit {
        play.prompt_saying(&format!("p{number}"), &large, false);
        assert_eq!(play.did(), [format!("p{number}: received behind {number}")]);
    }
    play.prompt("more");
    assert_eq!(play.did(), ["more: failed queue_full"]);
    play.turn_ended(TurnStatus::Completed);
    play.did();
    play.prompt("again");
    assert_eq!(play.did(), [format!("again: received behind {fit}")]);
}
