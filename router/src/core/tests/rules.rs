//! The core's rules one by one; most of them a history has broken once.

use std::time::Duration;

use codeswarm_protocol::command::{Command, Request, Spelling};
use codeswarm_protocol::event::{NodeState, RouterEvent, RouterWord, SwarmState};
use codeswarm_protocol::frame::{Downward, Ticket};
use codeswarm_protocol::record::{RecordHead, Word};
use codeswarm_protocol::{Place, RejectionCode, RequestId, Seq, Timestamp};
use serde_json::json;

use super::alone::*;
use super::clients::refusal;
use super::world::settings;
use crate::core::texts::Texts;
use crate::core::{
    Change, ClientId, Effect, InjectionState, Input, Passage, ProviderCommand, ProviderEvent, Settings, Unread,
};

#[test]
fn an_interrupt_withdraws_no_prompt_of_a_node_that_it_does_not_name() {
    let mut alone = Alone::with_swarm(2);
    let (first, second) = (alone.launch(1), alone.launch(1));
    alone.inject(&first);
    // The second prompt of a node waits behind the first one, so it can still be withdrawn.
    let waits = json!({"command": "inject", "job_id": first.job_id, "node_id": 0, "content": "y"});
    let waiting = accepted(&alone.command(waits)).remove(0);
    let interrupt = |place: &Place| json!({"command": "interrupt", "job_id": place.job_id, "nodes": "all", "injection_id": waiting});
    assert!(failed(&alone.command(interrupt(&second))).is_empty());
    assert_eq!(failed(&alone.command(interrupt(&first))), [&waiting]);
}

#[test]
fn p1_a_prompt_that_was_acknowledged_long_ago_is_delivered_when_a_router_is_back() {
    let mut alone = Alone::new(settings());
    let place = alone.launch(1);
    let (id, _) = alone.inject(&place);
    for injection in alone.core.injections.values_mut() {
        injection.accepted = Timestamp(-3_600_000);
    }
    let (mut next, effects) = alone.restarted(&[]);
    let Some(Downward::Prepare { ticket, .. }) = down(&effects).pop() else {
        panic!("{effects:?}")
    };
    assert!(next.step(Input::Tick).is_empty());
    let (ticket, looks_first) = append(&next.step(Input::Prepared { ticket, error: None })).unwrap();
    assert!(looks_first);
    let effects = next.step(Input::Appended { ticket, offset: 0 });
    assert_eq!(told(&effects)[0].word, RouterWord::InjectDelivered {});
    assert_eq!(told(&effects)[0].injection_id, Some(id));
}

#[test]
fn p2_a_prompt_of_which_its_worker_speaks_is_not_sent_again() {
    let mut alone = Alone::new(settings());
    let place = alone.launch(1);
    let (id, ticket) = alone.inject(&place);
    alone.record(&place, 1, started(), Some(&id));
    alone.step(Input::AppendFailed {
        ticket,
        may_have_happened: true,
        error: "the connection broke".to_owned(),
    });
    alone.now += Duration::from_secs(90);
    assert_eq!(append(&alone.step(Input::Tick)), None);
    let (_, next) = alone.inject(&place);
    assert_ne!(next, ticket);
}

#[test]
fn p3_an_unknown_outcome_is_settled_by_looking_first() {
    let mut alone = Alone::new(settings());
    let place = alone.launch(1);
    let (id, ticket) = alone.inject(&place);
    alone.step(Input::AppendFailed {
        ticket,
        may_have_happened: true,
        error: "the connection broke".to_owned(),
    });
    alone.now += Duration::from_secs(2);
    let (ticket, looks_first) = append(&alone.step(Input::Tick)).unwrap();
    assert!(looks_first);
    let effects = alone.step(Input::AppendFailed {
        ticket,
        may_have_happened: false,
        error: "not there, and no space".to_owned(),
    });
    assert_eq!(failed(&effects), [&id]);
}

#[test]
fn p6_what_a_lost_worker_said_last_is_heard_before_its_node_is_over() {
    let mut alone = Alone::new(settings());
    let place = alone.launch(1);
    let (id, ticket) = alone.inject(&place);
    alone.step(Input::Appended { ticket, offset: 0 });
    let lost = Input::Provider(ProviderEvent::WorkerLost {
        place: place.clone(),
        reason: "killed".to_owned(),
    });
    let ticket = a_read(&alone.step(lost));
    let unread = alone.step(Input::OutboxRead {
        ticket,
        next: 500,
        done: true,
        unread: None,
    });
    assert!(failed(&unread).is_empty() && !alone.core.nodes[&place].is_over());

    alone.record(&place, 1, complete(), Some(&id));
    alone.core.read_to(&place, 500);
    alone.now += Duration::from_secs(1);
    let ticket = a_read(&alone.step(Input::Tick));
    let read = alone.step(Input::OutboxRead {
        ticket,
        next: 500,
        done: true,
        unread: None,
    });
    assert!(failed(&read).is_empty(), "it ended twice: {read:?}");
    assert_eq!(alone.core.nodes[&place].state, NodeState::Lost);
    assert_eq!(alone.core.swarms().next().unwrap().status, SwarmState::Failed);
}

#[test]
fn p6_an_outbox_that_cannot_be_read_does_not_keep_a_prompt_open_for_ever() {
    let mut alone = Alone::new(settings());
    let place = alone.launch(1);
    let (id, ticket) = alone.inject(&place);
    alone.step(Input::Appended { ticket, offset: 0 });
    let lost = Input::Provider(ProviderEvent::WorkerLost {
        place: place.clone(),
        reason: "killed".to_owned(),
    });
    let unreadable = |effects: &[Effect]| Input::OutboxRead {
        ticket: a_read(effects),
        next: 0,
        done: false,
        unread: Some(Unread::Failed),
    };
    let asked = alone.step(lost);
    let effects = alone.step(unreadable(&asked));
    assert!(failed(&effects).is_empty(), "it may pass");
    alone.now += Duration::from_secs(61);
    let asked = alone.step(Input::Tick);
    let effects = alone.step(unreadable(&asked));
    assert!(failed(&effects).is_empty(), "a name is remembered for a minute");
    alone.now += Duration::from_secs(30);
    let asked = alone.step(Input::Tick);
    let effects = alone.step(unreadable(&asked));
    assert_eq!(failed(&effects), [&id]);
}

#[test]
fn p6_bytes_that_are_late_are_waited_for_as_long_as_their_follower_waits_and_no_longer() {
    let mut alone = Alone::new(settings());
    let place = alone.launch(1);
    let (id, ticket) = alone.inject(&place);
    alone.step(Input::Appended { ticket, offset: 0 });
    let late = |effects: &[Effect]| Input::OutboxRead {
        ticket: a_read(effects),
        next: 0,
        done: false,
        unread: Some(Unread::Late),
    };
    let mut asked = alone.step(Input::Provider(ProviderEvent::WorkerLost {
        place: place.clone(),
        reason: "killed".to_owned(),
    }));
    let mut waited = Duration::ZERO;
    let ended = loop {
        let effects = alone.step(late(&asked));
        if !failed(&effects).is_empty() {
            break failed(&effects).into_iter().cloned().collect::<Vec<_>>();
        }
        alone.now += Duration::from_secs(10);
        waited += Duration::from_secs(10);
        assert!(waited < Duration::from_secs(3600), "it is waited for ever");
        asked = alone.step(Input::Tick);
    };
    assert_eq!(ended, [id]);
    assert!(
        waited > codeswarm_mailbox::tail::LATE_PAGE_PATIENCE,
        "given up after {waited:?}"
    );
}

#[test]
fn p6_a_worker_that_ended_without_an_archive_is_over_all_the_same() {
    let mut alone = Alone::new(settings());
    let place = alone.launch(1);
    let (id, ticket) = alone.inject(&place);
    alone.step(Input::Appended { ticket, offset: 0 });
    let ended = ProviderEvent::WorkerEnded { place: place.clone() };
    let ticket = a_read(&alone.step(Input::Provider(ended)));
    let exit = Word::WorkerExit {
        reason: "sigterm".to_owned(),
        inbox_offset: 0,
    };
    alone.record(&place, 1, exit, None);
    let effects = alone.step(Input::OutboxRead {
        ticket,
        next: alone.end,
        done: true,
        unread: None,
    });
    assert_eq!(failed(&effects), [&id]);
    assert_eq!(alone.core.nodes[&place].state, NodeState::Exited);
}

#[test]
fn p9_a_swarm_that_is_found_again_outlives_a_disk_that_is_full_for_a_while() {
    let mut alone = Alone::new(settings());
    let place = alone.launch(1);
    alone.record(&place, 1, worker_start(), None);
    let (mut next, effects) = alone.restarted(&[]);
    let Some(Downward::Prepare { ticket, .. }) = down(&effects).pop() else {
        panic!("{effects:?}")
    };
    let full = Some("no space".to_owned());
    let effects = next.step(Input::Prepared { ticket, error: full });
    assert!(matches!(
        told(&effects)[..],
        [RouterEvent {
            word: RouterWord::RouterTrouble { .. },
            ..
        }]
    ));
    assert_eq!(next.core.live_swarms(), 1);

    next.now += Duration::from_secs(5);
    let Some(Downward::Prepare { ticket, .. }) = down(&next.step(Input::Tick)).pop() else {
        panic!("it is not tried again")
    };
    let effects = next.step(Input::Prepared { ticket, error: None });
    assert!(
        effects
            .iter()
            .any(|effect| matches!(effect, Effect::Provider(ProviderCommand::Go { .. })))
    );
}

#[test]
fn p11_a_record_of_an_earlier_epoch_is_passed_on_and_changes_nothing() {
    let mut alone = Alone::new(settings());
    let place = alone.launch(1);
    let (id, ticket) = alone.inject(&place);
    alone.step(Input::Appended { ticket, offset: 0 });
    alone.record(&place, 2, worker_start(), None);
    alone.record(&place, 2, started(), Some(&id));
    let before = alone.core.nodes[&place].clone();
    let late = [worker_start(), complete()];
    for word in late {
        let effects = alone.record(&place, 1, word, Some(&id));
        assert_eq!(effects, []);
    }
    let mut after = alone.core.nodes[&place].clone();
    assert_eq!(after.position.seq, Seq(4));
    (after.position, after.offset) = (before.position, before.offset);
    assert_eq!(after, before);
    assert_eq!(alone.core.injections[&id].state, InjectionState::Started);
}

#[test]
fn an_outbox_that_is_written_again_is_watched_by_the_next_life_too() {
    let mut alone = Alone::new(settings());
    let place = alone.launch(2);
    alone.exits(&place);
    let effects = alone.step(Input::OutboxReopened { place: place.clone() });
    assert!(
        effects
            .iter()
            .any(|effect| matches!(effect, Effect::Save(Change::Node(..))))
    );
    let (mut next, effects) = alone.restarted(&effects);
    let Some(Downward::Prepare { ticket, .. }) = down(&effects).pop() else {
        panic!("{effects:?}")
    };
    let effects = next.step(Input::Prepared { ticket, error: None });
    let watched = down(&effects)
        .into_iter()
        .any(|down| matches!(down, Downward::Watch { place: it, .. } if it == place));
    assert!(watched);
}

#[test]
fn the_answer_about_an_append_from_before_a_nodes_end_is_not_about_the_next_prompt() {
    let mut alone = Alone::new(settings());
    let place = alone.launch(2);
    let (first, ticket) = alone.inject(&place);
    let effects = alone.exits(&place);
    assert_eq!(failed(&effects), [&first]);
    alone.step(Input::OutboxReopened { place: place.clone() });
    let (second, _) = alone.inject(&place);
    let effects = alone.step(Input::Appended { ticket, offset: 0 });
    assert_eq!(told(&effects), Vec::<&RouterEvent>::new());
    assert_eq!(alone.core.injections[&second].state, InjectionState::Sent);
}

#[test]
fn long_prompts_are_not_all_in_memory_at_once_and_all_arrive() {
    let mut alone = Alone::new(Settings {
        max_prompt_bytes: 9_000_000,
        ..settings()
    });
    let place = alone.launch(8);
    let content = "x".repeat(8_000_000);
    let command = json!({"command": "inject", "job_id": place.job_id, "nodes": "all", "content": content});
    let mut effects = alone.command(command);
    let mut arrived = 0;
    let mut most = 0;
    let mut under_way: Vec<Ticket> = Vec::new();
    loop {
        let appends = down(&effects).into_iter().filter_map(|down| match down {
            Downward::Append { ticket, .. } => Some(ticket),
            _ => None,
        });
        under_way.extend(appends);
        most = most.max(under_way.len());
        let Some(ticket) = under_way.pop() else { break };
        arrived += 1;
        effects = alone.step(Input::Appended { ticket, offset: 0 });
    }
    assert_eq!(arrived, 8);
    assert!((4..8).contains(&most), "{most} at once");
}

#[test]
fn p8_p12_more_text_than_may_wait_is_refused_until_some_is_delivered() {
    let mut alone = Alone::new(settings());
    alone.core.texts = Texts::limited_to(100);
    let place = alone.launch(2);
    let inject = |length: usize| json!({"command": "inject", "job_id": place.job_id, "nodes": "all", "content": "x".repeat(length)});
    let first = alone.command(inject(900));
    assert_eq!(accepted(&first).len(), 2, "one finds room whatever its length");
    let refused = alone.command(inject(1));
    assert!(matches!(
        told(&refused)[..],
        [RouterEvent {
            word: RouterWord::CommandRejected {
                code: RejectionCode::Overloaded,
                ..
            },
            ..
        }]
    ));
    for down in down(&first) {
        assert_eq!(
            accepted(&alone.command(inject(1))).len(),
            0,
            "the text is shared, and still waits"
        );
        if let Downward::Append { ticket, .. } = down {
            alone.step(Input::Appended { ticket, offset: 0 });
        }
    }
    assert_eq!(accepted(&alone.command(inject(90))).len(), 2);
    assert_eq!(accepted(&alone.command(inject(20))).len(), 0);
}

#[test]
fn p11_an_answer_goes_to_the_agents_that_wait_for_it_and_to_nobody_once_it_is_over() {
    let mut alone = Alone::new(settings());
    let place = alone.launch(3);
    alone.record(&place, 1, question("q"), None);
    let approve = json!({"command": "approve_execution", "job_id": place.job_id, "call_id": "q", "approved": true});
    assert_eq!(controls(&alone.command(approve.clone())), std::slice::from_ref(&place));
    let resolved = Word::ApprovalResolved {
        call_id: "q".to_owned(),
        decision: codeswarm_protocol::turn::Decision::Accept,
        by: "client".to_owned(),
    };
    alone.record(&place, 1, resolved, None);
    assert!(refusal(&alone.command(approve.clone())).is_some());
    alone.record(&place, 1, question("q"), None);
    alone.record(&place, 2, worker_start(), None);
    assert!(
        refusal(&alone.command(approve)).is_some(),
        "the agent that asked is gone"
    );
}

#[test]
fn p11_a_repeated_interrupt_reaches_no_other_turn() {
    let mut alone = Alone::new(settings());
    let place = alone.launch(1);
    let command: Command =
        serde_json::from_value(json!({"command": "interrupt", "job_id": place.job_id, "nodes": "all"})).unwrap();
    let mut ask = |known| {
        let request = Request {
            request_id: Some(RequestId::new("r").unwrap()),
            spelling: Spelling::Flat,
            command: command.clone(),
        };
        let client = ClientId(1);
        alone.step(Input::Command { client, request, known })
    };
    let first = ask(None);
    assert_eq!(controls(&first).len(), 1);
    let known = first.iter().find_map(|effect| match effect {
        Effect::Save(Change::Request { known, .. }) => Some(known.clone()),
        _ => None,
    });
    let second = ask(Some(known.unwrap()));
    assert!(controls(&second).is_empty());
    assert!(
        matches!(
            told(&second)[..],
            [RouterEvent {
                word: RouterWord::InterruptAck {},
                ..
            }]
        ),
        "{second:?}"
    );
}

#[test]
fn p6_an_end_in_the_words_of_a_newer_worker_is_an_end() {
    let mut alone = Alone::new(settings());
    let place = alone.launch(1);
    let (id, ticket) = alone.inject(&place);
    alone.step(Input::Appended { ticket, offset: 0 });
    alone.record(&place, 1, started(), Some(&id));
    let line = json!({"type": "turn_complete", "status": "abandoned", "seq": 2, "epoch": 1, "timestamp": "",
        "job_id": place.job_id, "node_id": 0, "injection_id": id});
    alone.line(&place, format!("{line}\n").as_bytes());
    assert!(!alone.core.is_open(&id));
    assert_eq!(alone.core.nodes[&place].current, None);
}

#[test]
fn p5_records_that_are_missing_are_told_and_what_comes_after_them_is_passed_on() {
    let mut alone = Alone::new(settings());
    let place = alone.launch(1);
    let notice = |seq: u64| {
        let line = json!({"type": "notice", "message": "n", "seq": seq, "epoch": 1, "timestamp": "2026-01-01T00:00:00Z",
            "job_id": place.job_id, "node_id": 0});
        format!("{line}\n")
    };
    assert!(alone.line(&place, notice(1).as_bytes()).is_empty());
    let effects = alone.line(&place, notice(4).as_bytes());
    let [
        RouterEvent {
            word: RouterWord::RouterTrouble { message },
            ..
        },
    ] = told(&effects)[..]
    else {
        panic!("{effects:?}")
    };
    assert!(message.contains("records 2 to 3"), "{message}");
    let again = alone.with(|core, context| {
        let line = notice(3);
        let head = RecordHead::parse(line.as_bytes()).unwrap();
        core.record(&place, line.as_bytes(), &head, 9999, context)
    });
    assert_eq!(again, (Passage::Seen, Vec::new()));
    assert_eq!(alone.core.stream_end(&place).0.seq, Seq(4));
}

#[test]
fn an_agent_that_is_ready_again_in_the_middle_of_a_turn_is_busy() {
    let mut alone = Alone::new(settings());
    let place = alone.launch(1);
    alone.comes_up(&place, 1);
    assert_eq!(alone.core.nodes[&place].state, NodeState::Idle);
    let (id, ticket) = alone.inject(&place);
    alone.step(Input::Appended { ticket, offset: 0 });
    alone.record(&place, 1, started(), Some(&id));
    let exit = Word::AgentExit {
        code: Some(1),
        signal: None,
        message: "it fell over".to_owned(),
        stderr_tail: None,
        restart_in_ms: Some(10),
    };
    alone.record(&place, 1, exit, None);
    assert_eq!(alone.core.nodes[&place].state, NodeState::Starting);
    let ready = Word::AgentReady {
        agent: "echo".to_owned(),
        agent_version: None,
        thread_id: "t".to_owned(),
        resumed: true,
        model: None,
        cwd: "/work".to_owned(),
    };
    alone.record(&place, 1, ready, None);
    assert_eq!(alone.core.nodes[&place].state, NodeState::Busy);
    assert_eq!(alone.core.nodes[&place].current, Some(id));
}

#[test]
fn p11_a_record_in_words_that_are_not_known_here_is_passed_on_and_ends_nothing() {
    let mut alone = Alone::new(settings());
    let place = alone.launch(1);
    let (id, ticket) = alone.inject(&place);
    alone.step(Input::Appended { ticket, offset: 0 });
    alone.record(&place, 1, started(), Some(&id));
    let state = alone.core.nodes[&place].state;
    for (seq, kind) in (2..).zip(["agent_ready", "worker_exit", "turn_started", "turn_complete"]) {
        let line = json!({"type": kind, "seq": seq, "epoch": 1, "timestamp": "", "job_id": place.job_id, "node_id": 0});
        assert_eq!(alone.line(&place, format!("{line}\n").as_bytes()), []);
        assert_eq!(alone.core.nodes[&place].state, state);
        assert!(alone.core.is_open(&id));
    }
}

#[test]
fn p12_a_record_about_another_nodes_prompt_changes_nothing_and_is_told_once() {
    let mut alone = Alone::new(settings());
    let (mine, other) = (alone.launch(1), alone.launch(1));
    let (id, ticket) = alone.inject(&mine);
    alone.step(Input::Appended { ticket, offset: 0 });
    let node = |alone: &Alone, place: &Place| {
        let node = &alone.core.nodes[place];
        (node.state, node.current.clone(), node.open, node.turns)
    };
    let failed = Word::InjectFailed {
        error: "x".to_owned(),
        reason: "x".to_owned(),
    };
    let (before, others_before) = (node(&alone, &mine), node(&alone, &other));
    let forged = [started(), complete(), failed, complete()];
    for (at, word) in forged.into_iter().enumerate() {
        let effects = alone.record(&other, 1, word, Some(&id));
        let is_trouble = |event: &&RouterEvent| matches!(event.word, RouterWord::RouterTrouble { .. });
        let troubles = told(&effects).into_iter().filter(is_trouble).count();
        assert_eq!(troubles, usize::from(at == 0), "{effects:?}");
        assert_eq!(effects.len(), troubles, "{effects:?}");
    }
    // Nor is one that nobody here can read in full.
    let newer = format!(
        "{{\"type\":\"turn_complete\",\"status\":\"newer\",\"seq\":5,\"epoch\":1,\"timestamp\":\"2026-01-01T00:00:00.000Z\",\
         \"job_id\":\"{}\",\"node_id\":0,\"injection_id\":\"{id}\"}}\n",
        other.job_id
    );
    assert!(alone.line(&other, newer.as_bytes()).is_empty());
    assert_eq!(alone.core.injections[&id].state, InjectionState::Delivered);
    assert_eq!((node(&alone, &mine), node(&alone, &other)), (before, others_before));
    alone.record(&mine, 1, started(), Some(&id));
    assert_eq!(alone.core.injections[&id].state, InjectionState::Started);
    alone.record(&mine, 1, complete(), Some(&id));
    assert!(!alone.core.injections.contains_key(&id));
}
