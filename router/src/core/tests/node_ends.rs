//! The end of a node: whose word counts, and that nothing of it is missed.

use std::time::Duration;

use codeswarm_protocol::event::{NodeState, RouterEvent, SwarmState};
use codeswarm_protocol::frame::Downward;
use codeswarm_protocol::record::Word;

use super::alone::*;
use super::in_slurm::*;
use super::world::settings;
use crate::core::{Errand, Input};

#[test]
fn p6_an_outbox_that_is_archived_before_its_last_records_are_seen_ends_with_them() {
    let mut alone = Alone::new(settings());
    let place = alone.launch(1);
    let (id, ticket) = alone.inject(&place);
    alone.step(Input::Appended { ticket, offset: 0 });
    alone.record(&place, 1, worker_start(), None);
    alone.record(&place, 1, started(), Some(&id));
    // The rename is seen, and the bytes of the last records are not there yet.
    let effects = alone.step(Input::OutboxEnded { place: place.clone() });
    assert_eq!(told(&effects), Vec::<&RouterEvent>::new());
    alone.now += Duration::from_secs(119);
    assert_eq!(told(&alone.step(Input::Tick)), Vec::<&RouterEvent>::new());
    alone.record(&place, 1, complete(), Some(&id));
    assert!(!alone.core.injections.contains_key(&id), "it has ended");
    let last = Word::WorkerExit {
        reason: "shutdown".to_owned(),
        inbox_offset: 0,
    };
    alone.record(&place, 1, last, None);
    assert_eq!(alone.core.nodes[&place].state, NodeState::Exited);
    alone.now += Duration::from_secs(120);
    assert_eq!(told(&alone.step(Input::Tick)), Vec::<&RouterEvent>::new());
}

#[test]
fn p6_an_outbox_that_is_archived_without_a_last_record_ends_what_is_open_after_a_while() {
    let mut alone = Alone::new(settings());
    let place = alone.launch(1);
    let (id, ticket) = alone.inject(&place);
    alone.step(Input::Appended { ticket, offset: 0 });
    alone.record(&place, 1, worker_start(), None);
    alone.step(Input::OutboxEnded { place: place.clone() });
    alone.now += Duration::from_secs(120);
    assert_eq!(failed(&alone.step(Input::Tick)), [&id]);
    assert_eq!(alone.core.nodes[&place].state, NodeState::Exited);
}

#[test]
fn a_node_whose_worker_said_its_last_record_has_ended_in_its_words_though_slurm_was_heard_first() {
    let mut alone = connected();
    alone.launch_job("27");
    for rank in 0..2 {
        let at = place("27", rank);
        alone.record(&at, 1, worker_start(), None);
        let message = format!("no program /opt/codex on node {rank}");
        alone.record(&at, 1, Word::WorkerError { message }, None);
    }
    let last = Word::WorkerExit {
        reason: "agent_unusable".to_owned(),
        inbox_offset: 0,
    };
    alone.record(&place("27", 0), 1, last, None);
    let over = shown("27", "FAILED", "NonZeroExitCode", 0);
    let effects = alone.answer(Errand::Show(place("27", 0).job_id, alone.now), over);
    for down in down(&effects) {
        if let Downward::Read { ticket, place, .. } = down {
            let next = alone.core.stream_end(&place).1;
            alone.step(Input::OutboxRead {
                ticket,
                next,
                done: true,
                unread: None,
            });
        }
    }
    let node = |rank| alone.core.node(&place("27", rank)).unwrap();
    assert_eq!(node(0).state, NodeState::Exited);
    assert_eq!(node(0).error.as_deref(), Some("no program /opt/codex on node 0"));
    assert_eq!(node(1).state, NodeState::Lost);
    assert!(node(1).error.as_deref().unwrap().starts_with("FAILED"));
    assert_eq!(alone.swarm_of_job("27").status, SwarmState::Failed);
}

#[test]
fn a_life_that_was_heard_before_its_outbox_was_seen_to_be_back_is_not_taken_for_a_start() {
    let mut alone = connected();
    alone.running("27");
    for rank in 0..2 {
        alone.exits(&place("27", rank));
    }
    // Its records are read under the name in the archive, which the login node's cache keeps for a while.
    for rank in 0..2 {
        alone.comes_up(&place("27", rank), 2);
    }
    let before = alone.core.node(&place("27", 0)).unwrap().clone();
    assert_eq!(before.state, NodeState::Idle);
    alone.step(Input::OutboxReopened { place: place("27", 0) });
    assert_eq!(alone.core.node(&place("27", 0)).unwrap(), &before);
    assert_eq!(alone.swarm_of_job("27").status, SwarmState::Running);
}
