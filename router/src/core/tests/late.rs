//! Words that come late, twice, or about what is not known here.

use std::time::Duration;

use codeswarm_protocol::event::{NodeState, RouterEvent, RouterWord, SwarmState};
use codeswarm_protocol::frame::{Downward, Ticket};
use codeswarm_protocol::record::RecordHead;
use codeswarm_protocol::{JobId, RejectionCode, SwarmId};
use serde_json::json;

use super::alone::*;
use super::in_slurm::*;
use super::world::settings;
use crate::core::{Change, Effect, Errand, Injection, InjectionState, Input, Passage, ProviderEvent};

fn job(id: &str) -> JobId {
    JobId::new(id).unwrap()
}

fn inject(job: &str) -> serde_json::Value {
    json!({"command": "inject", "job_id": job, "node_id": 0, "content": "hello"})
}

/// The ends that are stored and told.
fn ends(effects: &[Effect]) -> (usize, usize) {
    let stored = |effect: &&Effect| matches!(effect, Effect::Save(Change::InjectionState(_, InjectionState::Ended)));
    let of_swarm = |event: &&&RouterEvent| matches!(event.word, RouterWord::SwarmTerminated { .. });
    let told = told(effects);
    (
        effects.iter().filter(stored).count(),
        told.iter().filter(of_swarm).count(),
    )
}

#[test]
fn p11_words_about_what_is_not_known_here_change_nothing() {
    let mut alone = connected();
    alone.running("27");
    let swarm_id = SwarmId::new("nobody").unwrap();
    let (ticket, at) = (Ticket(9999), place("99", 0));
    let error = || Some("late".to_owned());
    let said = |event| Input::Provider(event);
    let words = [
        Input::Appended { ticket, offset: 7 },
        Input::AppendFailed {
            ticket,
            may_have_happened: true,
            error: "late".to_owned(),
        },
        Input::Prepared { ticket, error: error() },
        Input::OutboxRead {
            ticket,
            next: 7,
            done: true,
            unread: None,
        },
        Input::Heartbeats {
            ticket,
            data: "{}".into(),
        },
        Input::OutboxEnded { place: at.clone() },
        Input::OutboxReopened { place: at.clone() },
        said(ProviderEvent::WorkerEnded { place: at.clone() }),
        said(ProviderEvent::WorkerLost {
            place: at.clone(),
            reason: "late".to_owned(),
        }),
        said(ProviderEvent::WorkerRestarting {
            place: at.clone(),
            reason: "late".to_owned(),
        }),
        said(ProviderEvent::LaunchFailed {
            swarm_id: swarm_id.clone(),
            error: "late".to_owned(),
        }),
    ];
    let sinfo = "compute*|up|infinite|0/4/0/4|2|2000|(null)|(null)\n";
    let squeue = "99|RUNNING|1|n1|N/A|N/A|codeswarm:nobody|None\n";
    let asked = alone.now;
    let answers = [
        (Errand::Idle(swarm_id.clone()), says(0, sinfo, "")),
        (Errand::Submit(swarm_id.clone()), says(0, "99\n", "")),
        (Errand::Submit(swarm_id.clone()), no_answer(true)),
        (Errand::Submit(swarm_id.clone()), no_answer(false)),
        (Errand::Find(swarm_id.clone()), says(0, squeue, "")),
        (Errand::Announce(swarm_id), shown("99", "RUNNING", "None", 0)),
        (Errand::Show(job("99"), asked), shown("99", "RUNNING", "None", 0)),
        (Errand::Show(job("99"), asked), shown("99", "FAILED", "None", 0)),
        (Errand::Show(job("99"), asked), unknown_job()),
        (Errand::Queue(vec![job("99")], asked), says(0, squeue, "")),
        (Errand::Queue(vec![job("99")], asked), says(0, "", "")),
        (
            Errand::Hosts(job("99"), (0, "n1".to_owned()), asked),
            says(0, "n1\n", ""),
        ),
        (Errand::Signal(job("99")), says(0, "", "")),
        (Errand::Cancel(job("99")), says(0, "", "")),
        (Errand::Log(job("99")), says(0, "no program /opt/codex\n", "")),
        (Errand::Adopt(job("99")), shown("99", "RUNNING", "None", 0)),
        (Errand::Adopt(job("99")), no_answer(false)),
    ];
    let answers = answers.map(|(errand, outcome)| said(ProviderEvent::Answered { errand, outcome }));
    let before = format!("{:?}", alone.core);
    for word in words.into_iter().chain(answers) {
        let what = format!("{word:?}");
        assert_eq!(alone.step(word), [], "{what}");
        assert_eq!(format!("{:?}", alone.core), before, "{what}");
    }
    let line =
        br#"{"type":"turn_complete","status":"completed","seq":1,"epoch":1,"timestamp":"","job_id":"99","node_id":0}"#;
    let head = RecordHead::parse(line).unwrap();
    let passed = alone.with(|core, context| core.record(&at, line, &head, 100, context));
    assert_eq!(passed, (Passage::Seen, Vec::new()));
    assert_eq!(format!("{:?}", alone.core), before);
}

#[test]
fn p3_the_answer_about_an_append_that_comes_twice_is_not_about_the_next_prompt() {
    let mut alone = Alone::new(settings());
    let place = alone.launch(1);
    let (_, ticket) = alone.inject(&place);
    let waits = accepted(&alone.command(inject(place.job_id.as_str()))).remove(0);
    assert!(append(&alone.step(Input::Appended { ticket, offset: 0 })).is_some());
    for answer in [
        Input::Appended { ticket, offset: 0 },
        Input::AppendFailed {
            ticket,
            may_have_happened: false,
            error: "no space".to_owned(),
        },
    ] {
        assert_eq!(alone.step(answer), []);
    }
    assert_eq!(alone.core.injections[&waits].state, InjectionState::Sent);
}

#[test]
fn p6_an_end_that_is_said_again_ends_nothing_again() {
    let mut alone = Alone::new(settings());
    let place = alone.launch(1);
    let (id, ticket) = alone.inject(&place);
    alone.step(Input::Appended { ticket, offset: 0 });
    alone.record(&place, 1, started(), Some(&id));
    assert_eq!(ends(&alone.record(&place, 1, complete(), Some(&id))).0, 1);
    assert_eq!(alone.core.nodes[&place].open, 0);
    let (other, _) = alone.inject(&place);
    assert_eq!(ends(&alone.record(&place, 1, complete(), Some(&id))).0, 0);
    assert_eq!(alone.core.nodes[&place].open, 1);
    assert!(alone.core.is_open(&other));
}

/// The word that it was sent is not stored with the care of its acceptance, and a loss of power takes it.
#[test]
fn p2_a_prompt_that_is_not_known_to_be_sent_and_of_which_its_worker_speaks_is_not_sent_again() {
    let mut alone = Alone::new(settings());
    let place = alone.launch(1);
    let (_, ticket) = alone.inject(&place);
    let waits = accepted(&alone.command(inject(place.job_id.as_str()))).remove(0);
    assert_eq!(alone.core.injections[&waits].state, InjectionState::Accepted);
    let effects = alone.record(&place, 1, started(), Some(&waits));
    assert_eq!(told(&effects)[0].word, RouterWord::InjectDelivered {});
    let effects = alone.step(Input::Appended { ticket, offset: 0 });
    assert_eq!(append(&effects), None);
    assert_eq!(alone.core.texts.bytes(), 0, "no room is taken by what has arrived");
    alone.now += Duration::from_secs(61);
    assert_eq!(alone.step(Input::Tick), [], "it is not given up");
    assert_eq!(ends(&alone.record(&place, 1, complete(), Some(&waits))).0, 1);
}

#[test]
fn a_stored_prompt_of_a_node_that_is_not_stored_is_left_alone() {
    let mut alone = Alone::new(settings());
    let place = alone.launch(1);
    alone.inject(&place);
    let injections: Vec<Injection> = alone.core.injections.values().cloned().collect();
    let mut next = Alone::new(settings());
    let ((), effects) =
        next.with(|core, context| core.restore(Vec::new(), Vec::new(), injections, Vec::new(), context));
    assert_eq!(effects, []);
    assert!(next.core.injections.is_empty() && next.core.deadline().is_none());
}

#[test]
fn heartbeats_that_come_after_the_link_broke_answer_nobody_twice() {
    let mut alone = connected();
    let swarm = alone.running("27");
    let effects = alone.command(json!({"command": "swarm_status", "swarm_id": swarm.swarm_id}));
    let Some(Downward::Heartbeats { ticket, .. }) = down(&effects).pop() else {
        panic!("{effects:?}")
    };
    assert_eq!(told(&alone.step(cut(false))).len(), 1, "answered with what is known");
    let data = r#"{"node_id":1,"beat":{"host":"n","timestamp":"2026-03-01T12:00:00.000Z"}}"#.into();
    assert_eq!(alone.step(Input::Heartbeats { ticket, data }), []);
}

#[test]
fn p3_a_launch_that_was_refused_meanwhile_is_not_handed_in_when_its_next_step_is_answered() {
    for immediate in [false, true] {
        let mut alone = connected();
        let launch = json!({"command": "swarm_launch", "nodes": 2, "immediate": immediate});
        let effects = alone.request(1, "r", launch);
        alone.now += Duration::from_secs(121);
        assert_eq!(refused(&alone.step(Input::Tick)).0, RejectionCode::Link);
        let late = match down(&effects).pop() {
            Some(Downward::Launch { ticket, .. }) => alone.step(Input::Prepared { ticket, error: None }),
            _ => {
                let idle = errands(&effects).pop().unwrap();
                let sinfo = "compute*|up|infinite|0/4/0/4|2|2000|(null)|(null)\n";
                alone.answer(idle, says(0, sinfo, ""))
            }
        };
        assert_eq!(late, [], "immediate: {immediate}");
    }
}

#[test]
fn p3_a_job_that_is_looked_up_after_its_command_was_refused_is_not_adopted() {
    let mut alone = connected();
    let adopt = errands(&alone.request(1, "r", inject("28"))).pop().unwrap();
    alone.now += Duration::from_secs(61);
    let (code, reason) = refused(&alone.step(Input::Tick));
    assert_eq!(code, RejectionCode::Link);
    assert!(reason.contains("Nothing was done"), "{reason}");
    assert_eq!(alone.answer(adopt, shown("28", "RUNNING", "None", 0)), []);
    assert!(alone.core.swarm_of(&job("28")).is_none());
}

#[test]
fn p6_a_second_answer_to_a_cancel_ends_no_swarm_twice() {
    let mut alone = connected();
    let swarm = alone.running("27");
    alone.command(json!({"command": "swarm_terminate", "swarm_id": swarm.swarm_id}));
    alone.exits(&place("27", 0));
    alone.exits(&place("27", 1));
    let cancel = Errand::Cancel(job("27"));
    assert_eq!(ends(&alone.answer(cancel.clone(), says(0, "", ""))).1, 1);
    assert_eq!(alone.swarm_of_job("27").status, SwarmState::Terminated);
    assert_eq!(alone.answer(cancel, says(0, "", "")), []);
}

#[test]
fn p6_an_outbox_that_is_written_again_after_its_swarm_ended_ends_no_swarm_twice() {
    for is_asked_for in [false, true] {
        let mut alone = Alone::new(settings());
        let place = alone.launch(1);
        let swarm_id = alone.core.swarm_of(&place.job_id).unwrap().clone();
        if is_asked_for {
            alone.command(json!({"command": "swarm_terminate", "swarm_id": swarm_id}));
        }
        assert_eq!(ends(&alone.exits(&place)).1, 1);
        let status = alone.core.swarm(&swarm_id).unwrap().status;
        alone.step(Input::OutboxReopened { place: place.clone() });
        assert_eq!(ends(&alone.exits(&place)).1, 0);
        assert_eq!(alone.core.swarm(&swarm_id).unwrap().status, status);
    }
}

#[test]
fn p6_a_worker_that_is_lost_as_its_swarm_fails_ends_its_prompts_once() {
    let mut alone = Alone::new(settings());
    let place = alone.launch(1);
    let (id, ticket) = alone.inject(&place);
    alone.step(Input::Appended { ticket, offset: 0 });
    let swarm_id = alone.core.swarm_of(&place.job_id).unwrap().clone();
    let ticket = a_read(&alone.step(Input::Provider(ProviderEvent::WorkerLost {
        place: place.clone(),
        reason: "killed".to_owned(),
    })));
    let error = "no program /opt/codex".to_owned();
    let effects = alone.step(Input::Provider(ProviderEvent::LaunchFailed { swarm_id, error }));
    assert_eq!((failed(&effects), ends(&effects).0), (vec![&id], 1));
    let read = Input::OutboxRead {
        ticket,
        next: 0,
        done: true,
        unread: None,
    };
    assert_eq!(alone.step(read), []);
    let node = &alone.core.nodes[&place];
    assert_eq!(node.state, NodeState::Lost);
    assert_eq!(
        node.error.as_deref(),
        Some("no program /opt/codex"),
        "the first word stands"
    );
}
