//! The agent's deaths and deadlines, and what its worker makes of them.

use codeswarm_agents::AgentEvent;
use codeswarm_protocol::inbox::{Control, InboxRecord};
use codeswarm_protocol::turn::{Decision, TurnStatus};

use super::Play;
use crate::core::recovery::Recovered;
use crate::core::{FAILED_STARTS, INTERRUPT_GRACE, Input};

#[test]
fn a_turn_s_deadline_interrupts_then_kills_and_the_agent_comes_back() {
    let mut play = Play::up();
    play.prompt("slow");
    play.turn_started();
    play.did();
    assert_eq!(play.until_due(), 100);
    assert_eq!(play.did(), ["> Interrupt"]);
    assert_eq!(play.until_due(), INTERRUPT_GRACE.as_secs());
    assert_eq!(
        play.did(),
        ["> kill", "slow: Failed Timeout", "agent exit, restart in Some(1000)"]
    );
    assert_eq!(play.until_due(), 1);
    assert_eq!(play.did(), ["> resume thread"]);
}

#[test]
fn a_death_fails_the_turn_and_the_next_start_waits_longer_until_a_turn_completes() {
    let mut play = Play::up();
    let mut waits = Vec::new();
    for _ in 0..3 {
        play.exited(true);
        waits.push(play.until_due());
        play.ready();
    }
    assert_eq!(waits, [1, 2, 4]);
    play.prompt("a");
    play.turn_ended(TurnStatus::Completed);
    play.prompt("b");
    play.did();
    play.exited(true);
    assert_eq!(play.did(), ["b: Failed AgentDied", "agent exit, restart in Some(1000)"]);
}

/// A prompt given to an agent that has ended would be failed by its death without ever having been tried.
#[test]
fn what_waits_when_the_agent_dies_is_kept_for_its_next_life() {
    let mut play = Play::up();
    play.prompt("a");
    play.prompt("b");
    play.did();
    play.agent(AgentEvent::Ending);
    play.turn_ended(TurnStatus::Failed);
    assert_eq!(play.did(), ["a: Failed Other"]);
    play.exited(true);
    assert_eq!(play.did(), ["agent exit, restart in Some(1000)"]);
    play.until_due();
    play.ready();
    assert_eq!(play.did(), ["> resume thread", "ready", "b: started", "> run b"]);
}

#[test]
fn an_agent_that_never_came_up_and_never_will_ends_the_worker() {
    let mut play = Play::begin(Recovered::default(), 0);
    play.prompt("a");
    play.did();
    play.exited(false);
    assert_eq!(
        play.did(),
        [
            "agent exit, restart in None",
            "a: failed agent_unusable",
            "> read to end"
        ]
    );
    play.prompt("b");
    play.input(Input::InboxEnd { offset: 20 });
    assert_eq!(
        play.did(),
        [
            "b: failed agent_unusable",
            "exit agent_unusable at 20",
            "> finish agent_unusable"
        ]
    );
}

#[test]
fn an_agent_that_worked_and_cannot_any_more_leaves_a_worker_that_says_so() {
    let mut play = Play::up();
    play.prompt("a");
    play.prompt("b");
    play.did();
    play.exited(false);
    play.prompt("c");
    assert_eq!(
        play.did(),
        [
            "a: Failed AgentDied",
            "agent exit, restart in None",
            "b: failed agent_unusable",
            "c: failed agent_unusable"
        ]
    );
    assert_eq!((play.core.doing(), play.core.deadline()), ("agent_unusable", None));
}

#[test]
fn p6_prompts_do_not_wait_for_ever_for_an_agent_that_does_not_come_up() {
    let mut play = Play::begin(Recovered::default(), 0);
    play.prompt("a");
    for _ in 1..FAILED_STARTS {
        play.exited(true);
        play.until_due();
    }
    assert!(!play.did().contains(&"a: failed agent_unusable".to_owned()));
    play.exited(true);
    play.prompt("b");
    assert_eq!(
        play.did()[1..],
        ["a: failed agent_unusable", "b: failed agent_unusable"]
    );
    play.until_due();
    play.ready();
    play.prompt("c");
    assert!(
        play.did().contains(&"c: started".to_owned()),
        "it works again once the agent is up"
    );
}

#[test]
fn a_session_that_neither_comes_up_nor_ends_is_killed() {
    let mut play = Play::begin(Recovered::default(), 0);
    play.did();
    play.until_due();
    assert_eq!(play.did(), ["> kill", "agent exit, restart in Some(1000)"]);
}

#[test]
fn p11_an_answer_to_a_question_that_is_not_open_changes_nothing() {
    let mut play = Play::up();
    play.line(InboxRecord::Control {
        payload: Control::Approval {
            call_id: "c".to_owned(),
            decision: Decision::Accept,
        },
    });
    assert_eq!(play.did().len(), 1, "the agent is asked, since it knows what is open");
    play.agent(AgentEvent::ApprovalUnknown {
        call_id: "c".to_owned(),
    });
    assert_eq!(play.did(), ["ignored"]);
}

#[test]
fn p11_the_end_of_a_session_that_is_told_twice_says_nothing_more() {
    let mut play = Play::up();
    play.exited(true);
    play.did();
    play.exited(true);
    play.input(Input::AgentClosed);
    assert_eq!(play.did(), Vec::<String>::new());
    assert_eq!(play.until_due(), 1, "its next start is not put off");
}
