//! The next life of a job, and nodes that end before their job does: what waits, what is told, and what ends when.

use std::time::Duration;

use codeswarm_protocol::event::{RouterEvent, RouterWord, SwarmState};
use codeswarm_protocol::frame::Downward;
use codeswarm_protocol::record::Word;
use codeswarm_protocol::{JobId, RejectionCode};
use serde_json::json;

use super::alone::*;
use super::in_slurm::*;
use crate::core::{Errand, Input};

fn job(id: &str) -> JobId {
    JobId::new(id).unwrap()
}

fn inject(job: &str) -> serde_json::Value {
    json!({"command": "inject", "job_id": job, "node_id": 0, "content": "x"})
}

fn told_to_end() -> Word {
    Word::WorkerExit {
        reason: "sigterm".to_owned(),
        inbox_offset: 0,
    }
}

#[test]
fn p3_p6_a_prompt_that_came_as_the_job_was_requeued_waits_for_its_next_life_and_ends_once() {
    let mut alone = connected();
    alone.running("27");
    let at = place("27", 0);
    let (sent, ticket) = alone.inject(&at);
    let waits = accepted(&alone.command(inject("27"))).remove(0);
    // Behind the last that the worker read of its inbox.
    alone.record(&at, 1, told_to_end(), None);
    alone.now += Duration::from_secs(1);
    let effects = alone.exits(&at);
    assert_eq!(errands(&effects), [Errand::Show(job("27"), alone.now)]);
    assert!(failed(&effects).is_empty() && alone.core.is_open(&sent));

    // What was not sent yet is not for the inbox that has just been archived, and no more is taken.
    let effects = alone.step(Input::Appended { ticket, offset: 0 });
    assert_eq!(append(&effects), None);
    refused(&alone.command(inject("27")));
    alone.now += Duration::from_secs(1);
    let effects = alone.answer(
        Errand::Show(job("27"), alone.now),
        shown("27", "PENDING", "BeginTime", 1),
    );
    assert!(append(&effects).is_some(), "its next life will read it");
    assert!(alone.core.is_open(&sent) && alone.core.is_open(&waits));

    // The job is cancelled instead: both end, once.
    let effects = alone.answer(Errand::Show(job("27"), alone.now), shown("27", "CANCELLED", "None", 1));
    let mut ends = failed(&effects).into_iter().cloned().collect::<Vec<_>>();
    for read in down(&effects) {
        if let Downward::Read { ticket, place, .. } = read {
            let (next, done, unread) = (alone.core.stream_end(&place).1, true, None);
            let effects = alone.step(Input::OutboxRead {
                ticket,
                next,
                done,
                unread,
            });
            ends.extend(failed(&effects).into_iter().cloned());
        }
    }
    assert_eq!(ends, [sent, waits]);
}

#[test]
fn a_prompt_that_comes_between_the_last_workers_end_and_slurms_word_waits_for_that() {
    for (state, reason, is_run_again) in [("PENDING", "BeginTime", true), ("CANCELLED", "None", false)] {
        let mut alone = connected();
        alone.running("27");
        for rank in 0..2 {
            alone.record(&place("27", rank), 1, told_to_end(), None);
            alone.exits(&place("27", rank));
        }
        alone.now += Duration::from_secs(1);
        let effects = alone.command(inject("27"));
        let waits = accepted(&effects).remove(0);
        assert_eq!(append(&effects), None);
        alone.now += Duration::from_secs(1);
        let word = shown("27", state, reason, u32::from(is_run_again));
        let effects = alone.answer(Errand::Show(job("27"), alone.now), word);
        assert_eq!(append(&effects).is_some(), is_run_again);
        assert_eq!(alone.core.is_open(&waits), is_run_again);
    }
}

#[test]
fn p6_a_worker_that_was_told_to_end_in_a_job_that_goes_on_ends_its_prompts() {
    let mut alone = connected();
    alone.running("27");
    let at = place("27", 0);
    let (id, ticket) = alone.inject(&at);
    alone.step(Input::Appended { ticket, offset: 0 });
    alone.record(&at, 1, told_to_end(), None);
    alone.exits(&at);
    let at_once = alone.answer(Errand::Show(job("27"), alone.now), shown("27", "RUNNING", "None", 0));
    assert!(failed(&at_once).is_empty(), "Slurm may be about to requeue it");
    alone.now += Duration::from_secs(90);
    let effects = alone.answer(Errand::Show(job("27"), alone.now), shown("27", "RUNNING", "None", 0));
    assert_eq!(failed(&effects), [&id]);
}

#[test]
fn a_swarm_of_which_one_node_could_not_start_runs_with_the_others() {
    let mut alone = connected();
    alone.launch_job("27");
    alone.record(&place("27", 0), 1, worker_start(), None);
    alone.comes_up(&place("27", 1), 1);
    assert_eq!(alone.swarm_of_job("27").status, SwarmState::Pending);
    let effects = alone.exits(&place("27", 0));
    let is_told = |event: &&RouterEvent| matches!(event.word, RouterWord::SwarmStatus { .. });
    assert!(told(&effects).iter().any(is_told), "{effects:?}");
    assert_eq!(alone.swarm_of_job("27").status, SwarmState::Running);
}

#[test]
fn p3_no_interrupt_of_whatever_runs_outlives_the_link() {
    let mut alone = connected();
    alone.running("27");
    alone.inject(&place("27", 0));
    let interrupt = json!({"command": "interrupt", "job_id": "27", "node_id": 0});
    assert!(told(&alone.command(interrupt)).is_empty(), "it waits behind the prompt");
    let (code, reason) = refused(&alone.step(cut(false)));
    assert_eq!(code, RejectionCode::NotDelivered);
    assert!(reason.contains("before the interrupt was sent"), "{reason}");
}

#[test]
fn p6_what_waited_for_the_next_life_is_sent_when_it_begins_also_where_slurm_was_not_heard_between() {
    for is_told_by_a_record in [false, true] {
        let mut alone = connected();
        alone.running("27");
        let at = place("27", 0);
        let (_, ticket) = alone.inject(&at);
        let waits = accepted(&alone.command(inject("27"))).remove(0);
        alone.record(&at, 1, told_to_end(), None);
        alone.exits(&at);
        alone.step(Input::Appended { ticket, offset: 0 });
        let effects = if is_told_by_a_record {
            alone.record(&at, 2, worker_start(), None)
        } else {
            alone.step(Input::OutboxReopened { place: at })
        };
        assert!(append(&effects).is_some(), "{effects:?}");
        assert!(alone.core.is_open(&waits));
    }
}

#[test]
fn p3_a_prompt_of_a_swarm_that_is_being_ended_does_not_fail_before_its_job_is_over() {
    let mut alone = connected();
    let swarm = alone.running("27");
    let at = place("27", 0);
    let (sent, ticket) = alone.inject(&at);
    alone.step(Input::Appended { ticket, offset: 0 });
    alone.command(json!({"command": "swarm_terminate", "swarm_id": swarm.swarm_id}));
    alone.record(&at, 1, told_to_end(), None);
    let effects = alone.exits(&at);
    assert!(
        failed(&effects).is_empty() && alone.core.is_open(&sent),
        "its job may be run again"
    );
    let effects = alone.exits(&place("27", 1));
    let cancel = Errand::Cancel(job("27"));
    assert!(errands(&effects).contains(&cancel), "{effects:?}");
    let effects = alone.answer(cancel, says(0, "", ""));
    assert_eq!(failed(&effects), [&sent]);
}
