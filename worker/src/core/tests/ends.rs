//! The end of a life, and the beginning of the next.

use std::collections::HashSet;
use std::time::Duration;

use codeswarm_protocol::inbox::{Control, InboxRecord};
use codeswarm_protocol::turn::{Decision, TurnStatus};

use super::{Play, id};
use crate::core::Input;
use crate::core::recovery::{Cut, Recovered, Thread};

#[test]
fn p7_an_orderly_end() {
    let mut play = Play::up();
    play.prompt("running");
    play.turn_started();
    play.prompt("waiting");
    play.did();
    play.input(Input::Terminate("sigterm"));
    assert_eq!(play.did(), ["waiting: failed worker_exit", "> Interrupt"]);
    play.prompt("late");
    play.input(Input::Terminate("sigint"));
    play.turn_ended(TurnStatus::Interrupted);
    assert_eq!(
        play.did(),
        ["late: failed worker_exit", "running: Interrupted WorkerDied", "> Stop"]
    );
    play.exited(true);
    assert_eq!(play.did(), ["> read to end"]);
    play.prompt("last");
    play.input(Input::InboxEnd { offset: 40 });
    assert_eq!(
        play.did(),
        ["last: failed worker_exit", "exit sigterm at 40", "> finish sigterm"]
    );
    play.prompt("after");
    assert_eq!(play.did(), Vec::<String>::new());
}

#[test]
fn p7_the_scheduler_s_signal_may_reach_the_agent_too() {
    let mut play = Play::up();
    play.prompt("running");
    play.input(Input::Terminate("sigterm"));
    play.did();
    play.exited(true);
    assert_eq!(
        play.did(),
        ["running: Interrupted WorkerDied", "> read to end"],
        "its death is no failure of the turn, and it is not started again"
    );
}

#[test]
fn p7_an_agent_that_hangs_and_an_inbox_that_cannot_be_read_do_not_hold_up_the_end() {
    let mut play = Play::up();
    play.prompt("running");
    play.did();
    play.input(Input::Terminate("sigterm"));
    assert_eq!(play.until_due(), 14, "70 % of 20 s");
    assert_eq!(
        play.did(),
        [
            "> Interrupt",
            "> kill",
            "running: Interrupted WorkerDied",
            "> read to end"
        ]
    );
    assert_eq!(play.until_due(), 3, "85 % of 20 s, less the 14 s before");
    assert_eq!(play.did(), ["exit sigterm at 10", "> finish sigterm"]);
}

#[test]
fn p7_the_last_record_is_said_when_the_agent_has_gone_and_once() {
    let mut play = Play::up();
    play.input(Input::Terminate("sigterm"));
    assert_eq!(play.did(), ["> Stop"]);
    // Nobody was awake when the agent was to be killed, and when the inbox was to be given up.
    play.now += Duration::from_secs(19);
    play.input(Input::InboxEnd { offset: 0 });
    assert_eq!(
        play.did(),
        ["> kill", "> read to end", "exit sigterm at 0", "> finish sigterm"]
    );
    play.input(Input::InboxEnd { offset: 40 });
    play.input(Input::Tick);
    assert_eq!(play.did(), Vec::<String>::new());
}

#[test]
fn recovery_ends_what_was_cut_and_takes_the_rest_from_the_inbox() {
    let recovered = Recovered {
        thread: Some(Thread {
            agent: "echo".to_owned(),
            thread_id: "old".to_owned(),
        }),
        started: vec![Cut {
            injection: id("cut"),
            steered_into: None,
            duration_ms: 5,
        }],
        waiting: HashSet::from([id("waiting")]),
        ended: HashSet::from([id("done")]),
        ..Recovered::default()
    };
    let mut play = Play::begin(recovered, 40);
    assert_eq!(
        play.did(),
        ["start, recovered 1", "cut: Failed WorkerDied", "> resume old"]
    );
    for name in ["done", "cut", "waiting", "new"] {
        play.prompt(name);
    }
    assert_eq!(play.did(), ["new: received behind 1"], "'received' is said once");
    play.ready();
    assert_eq!(play.did(), ["ready", "waiting: started", "> run waiting"]);
}

#[test]
fn another_agent_s_thread_is_not_resumed() {
    let recovered = Recovered {
        thread: Some(Thread {
            agent: "codex".to_owned(),
            thread_id: "old".to_owned(),
        }),
        ..Recovered::default()
    };
    assert_eq!(Play::begin(recovered, 0).did()[1], "> start");
}

#[test]
fn p11_controls_of_an_earlier_life_change_nothing() {
    let recovered = Recovered {
        inbox_offset: 20,
        ..Recovered::default()
    };
    let mut play = Play::begin(recovered, 60);
    play.ready();
    play.did();
    let approval = InboxRecord::Control {
        payload: Control::Approval {
            call_id: "c".to_owned(),
            decision: Decision::Accept,
        },
    };
    play.interrupt(None);
    play.line(InboxRecord::Shutdown {});
    assert_eq!(play.did(), Vec::<String>::new(), "an orderly end has dealt with these");
    play.prompt("new");
    play.did();
    play.interrupt(None);
    play.line(approval.clone());
    assert_eq!(play.did(), ["ignored", "ignored"], "written before this life began");
    play.line(InboxRecord::Shutdown {});
    assert_eq!(play.did(), ["> Interrupt"], "nobody has obeyed this one");
}

#[test]
fn p6_a_last_life_says_why_and_ends_whatever_is_open_without_an_agent() {
    let recovered = Recovered {
        started: vec![Cut {
            injection: id("cut"),
            steered_into: None,
            duration_ms: 5,
        }],
        waiting: [id("waiting"), id("lost")].into(),
        ..Recovered::default()
    };
    let mut play = Play::given_up(recovered, 30);
    assert_eq!(
        play.did(),
        [
            "start, recovered 1",
            "cut: Failed WorkerDied",
            "worker error",
            "> read to end"
        ]
    );
    for name in ["cut", "waiting", "new"] {
        play.prompt(name);
    }
    play.input(Input::Terminate("sigterm"));
    play.input(Input::InboxEnd { offset: 30 });
    let refused = [
        "waiting: failed worker_crashed",
        "new: failed worker_crashed",
        "lost: failed worker_crashed",
        "exit worker_crashed at 30",
        "> finish worker_crashed",
    ];
    assert_eq!(play.did(), refused);
}
