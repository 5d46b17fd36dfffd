//! What must be true of every history once it is over.

use std::collections::HashMap;

use codeswarm_protocol::inbox::InboxRecord;
use codeswarm_protocol::record::{Word, WorkerRecord};
use codeswarm_protocol::turn::TurnStatus;
use codeswarm_protocol::{Epoch, InjectionId};

use super::world::{LINE, World};

#[derive(Debug, Default, Clone, Copy)]
struct Told {
    started: u32,
    completed: u32,
    failed: u32,
}

impl Told {
    fn ended(self) -> bool {
        self.completed + self.failed > 0
    }
}

pub fn hold(world: &World) {
    numbers_have_no_gap(&world.outbox);
    lives_begin_and_end(&world.outbox);
    one_turn_at_a_time(&world.outbox);
    let told = each_injection_ends_once(world);
    prompts_start_in_order(world);
    ends_account_for_the_inbox(world);
    a_shutdown_ends_one_life(world);
    for (injection, times) in &world.ran {
        assert!(*times <= 1, "{injection} ran {times} times");
        assert_eq!(told[injection].started, 1, "{injection} ran and was not called started");
    }
}

fn numbers_have_no_gap(outbox: &[WorkerRecord]) {
    for (at, record) in outbox.iter().enumerate() {
        assert_eq!(record.seq.0, u64::try_from(at + 1).unwrap(), "{record:?}");
    }
}

fn lives_begin_and_end(outbox: &[WorkerRecord]) {
    let mut epoch = Epoch(0);
    let mut over = true;
    for record in outbox {
        if record.epoch != epoch {
            assert!(record.epoch > epoch, "an earlier life speaks: {record:?}");
            assert!(matches!(record.word, Word::WorkerStart { .. }), "{record:?}");
            epoch = record.epoch;
            over = false;
        } else {
            assert!(!matches!(record.word, Word::WorkerStart { .. }), "{record:?}");
        }
        assert!(!over, "a word after the end: {record:?}");
        over = matches!(record.word, Word::WorkerExit { .. });
    }
}

fn one_turn_at_a_time(outbox: &[WorkerRecord]) {
    let mut running: Option<&InjectionId> = None;
    let mut epoch = Epoch(0);
    for record in outbox {
        if record.epoch != epoch {
            // A turn of a life that was killed is over; its end is told in the next one.
            epoch = record.epoch;
            running = None;
        }
        let injection = record.injection_id.as_ref();
        match &record.word {
            Word::TurnStarted { steered_into: None, .. } => {
                assert_eq!(running, None, "two turns at once: {record:?}");
                running = injection;
            }
            Word::TurnComplete { steered_into: None, .. } if running == injection => running = None,
            Word::WorkerExit { .. } => assert_eq!(running, None, "a turn was left open"),
            Word::AssistantDelta { .. } => assert_eq!(injection, running, "{record:?}"),
            _ => {}
        }
    }
}

fn each_injection_ends_once(world: &World) -> HashMap<InjectionId, Told> {
    let mut told: HashMap<InjectionId, Told> = HashMap::new();
    for record in &world.outbox {
        let Some(injection) = &record.injection_id else {
            continue;
        };
        let so_far = told.entry(injection.clone()).or_default();
        let ended = so_far.ended();
        match &record.word {
            Word::Usage { .. } => assert!(ended, "usage before the end: {record:?}"),
            Word::ControlIgnored { .. } => continue,
            _ => assert!(!ended, "a word after the injection's end: {record:?}"),
        }
        match &record.word {
            Word::TurnStarted { .. } => so_far.started += 1,
            Word::TurnComplete {
                status,
                error,
                usage,
                steered_into,
                ..
            } => {
                assert_eq!(so_far.started, 1, "ended without a start: {record:?}");
                assert_eq!(*status == TurnStatus::Completed, error.is_none(), "{record:?}");
                assert!(
                    usage.is_none() || steered_into.is_none(),
                    "usage counted twice: {record:?}"
                );
                so_far.completed += 1;
            }
            Word::InjectFailed { .. } => {
                assert_eq!(so_far.started, 0, "failed after a start: {record:?}");
                so_far.failed += 1;
            }
            _ => {}
        }
        assert!(so_far.started <= 1, "started twice: {record:?}");
    }
    for record in world.inbox.iter().flatten() {
        if let InboxRecord::User { injection_id, .. } = record {
            let told = told.get(injection_id).copied().unwrap_or_default();
            assert_eq!(told.completed + told.failed, 1, "{injection_id} has no end");
        }
    }
    told
}

fn prompts_start_in_order(world: &World) {
    let mut place: HashMap<&InjectionId, usize> = HashMap::new();
    for (at, line) in world.inbox.iter().enumerate() {
        if let Some(InboxRecord::User { injection_id, .. }) = line {
            place.entry(injection_id).or_insert(at);
        }
    }
    let mut last = 0;
    for record in &world.outbox {
        if let (Word::TurnStarted { steered_into: None, .. }, Some(injection)) = (&record.word, &record.injection_id) {
            let at = place[injection];
            assert!(at >= last, "{injection} overtook another prompt");
            last = at;
        }
    }
}

fn a_shutdown_ends_one_life(world: &World) {
    let asked = world
        .inbox
        .iter()
        .filter(|line| matches!(line, Some(InboxRecord::Shutdown {})));
    let obeyed = world
        .outbox
        .iter()
        .filter(|record| matches!(&record.word, Word::WorkerExit { reason, .. } if reason == "shutdown"));
    assert!(
        obeyed.count() <= asked.count(),
        "a shutdown of an earlier life was obeyed again"
    );
}

fn ends_account_for_the_inbox(world: &World) {
    let mut ended: std::collections::HashSet<&InjectionId> = std::collections::HashSet::new();
    for record in &world.outbox {
        match (&record.word, &record.injection_id) {
            (Word::TurnComplete { .. } | Word::InjectFailed { .. }, Some(injection)) => {
                ended.insert(injection);
            }
            (Word::WorkerExit { inbox_offset, .. }, _) => {
                let lines = usize::try_from(inbox_offset / LINE).unwrap();
                for record in world.inbox[..lines].iter().flatten() {
                    if let InboxRecord::User { injection_id, .. } = record {
                        assert!(
                            ended.contains(injection_id),
                            "{injection_id} was dropped at an orderly end"
                        );
                    }
                }
            }
            _ => {}
        }
    }
}
