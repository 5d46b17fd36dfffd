//! The life of a job: what Slurm's word changes, and what it must not.

use std::time::Duration;

use codeswarm_protocol::event::{NodeState, RouterEvent, RouterWord, SwarmState};
use codeswarm_protocol::frame::Downward;
use codeswarm_protocol::record::Word;
use codeswarm_protocol::{JobId, RejectionCode, SwarmId};
use serde_json::json;

use super::alone::*;
use super::in_slurm::*;
use crate::core::{Effect, Errand, InjectionState, Input};

fn job(id: &str) -> JobId {
    JobId::new(id).unwrap()
}

fn inject(job: &str) -> serde_json::Value {
    json!({"command": "inject", "job_id": job, "node_id": 0, "content": "x"})
}

fn terminate(swarm_id: &SwarmId) -> serde_json::Value {
    json!({"command": "swarm_terminate", "swarm_id": swarm_id})
}

/// The last word about the swarm as a whole.
fn word_of_swarm(effects: &[Effect]) -> Option<RouterEvent> {
    let of_swarm = |event: &&RouterEvent| {
        matches!(
            event.word,
            RouterWord::SwarmStatus { .. } | RouterWord::SwarmTerminated { .. }
        )
    };
    told(effects).into_iter().rfind(of_swarm).cloned()
}

fn line(job: &str, state: &str, reason: &str) -> String {
    format!("{job}|{state}|2|node[0-1]|N/A|N/A|codeswarm:x|{reason}\n")
}

#[test]
fn a_worker_that_begins_proves_that_the_job_runs() {
    let mut alone = connected();
    let (swarm, _) = alone.launch_job("27");
    assert!(swarm.job.unwrap().reason.unwrap().contains("Resources"));
    let effects = alone.comes_up(&place("27", 0), 1);
    let Some(RouterWord::SwarmStatus {
        slurm_state, reason, ..
    }) = word_of_swarm(&effects).map(|event| event.word)
    else {
        panic!("{effects:?}")
    };
    assert_eq!((slurm_state.as_deref(), reason), (Some("RUNNING"), None));
}

#[test]
fn p6_a_requeued_job_is_told_as_such_and_its_swarm_goes_on() {
    let mut alone = connected();
    alone.running("27");
    let (id, _) = alone.inject(&place("27", 0));
    alone.record(&place("27", 0), 1, started(), Some(&id));
    alone.now += Duration::from_secs(10);
    for rank in 0..2 {
        alone.exits(&place("27", rank));
    }
    let swarm = alone.swarm_of_job("27");
    assert_eq!(swarm.status, SwarmState::Running, "only Slurm knows whether it is over");
    let effects = alone.answer(
        Errand::Show(job("27"), alone.now),
        shown("27", "PENDING", "BeginTime", 1),
    );
    let Some(RouterWord::SwarmStatus { status, reason, .. }) = word_of_swarm(&effects).map(|event| event.word) else {
        panic!("{effects:?}")
    };
    assert_eq!(status, SwarmState::Pending);
    assert!(reason.unwrap().contains("requeued"));
    assert_eq!(alone.core.node(&place("27", 0)).unwrap().state, NodeState::Pending);

    // It takes prompts, and runs on in its next life.
    assert_eq!(accepted(&alone.command(inject("27"))).len(), 1);
    alone.step(Input::OutboxReopened { place: place("27", 0) });
    alone.step(Input::OutboxReopened { place: place("27", 1) });
    alone.comes_up(&place("27", 0), 2);
    let effects = alone.comes_up(&place("27", 1), 2);
    let running = word_of_swarm(&effects).map(|event| event.word);
    assert!(
        matches!(
            running,
            Some(RouterWord::SwarmStatus {
                status: SwarmState::Running,
                ..
            })
        ),
        "{running:?}"
    );
}

#[test]
fn p11_a_stale_word_of_the_queue_does_not_undo_what_workers_said_since() {
    let mut alone = connected();
    alone.running("27");
    let asked = alone.now;
    alone.now += Duration::from_secs(1);
    alone.comes_up(&place("27", 0), 2);
    alone.answer(Errand::Show(job("27"), asked), shown("27", "PENDING", "BeginTime", 0));
    assert_eq!(alone.core.node(&place("27", 0)).unwrap().state, NodeState::Idle);
}

#[test]
fn p6_a_job_that_is_over_ends_its_swarm_with_slurms_word() {
    for (state, reason, says) in [
        ("TIMEOUT", "TimeLimit", "time limit"),
        ("NODE_FAIL", "NodeFail", "node"),
        ("OUT_OF_MEMORY", "OutOfMemory", "memory"),
        ("PREEMPTED", "Preempted", "priority"),
        ("CANCELLED", "None", "cancelled"),
    ] {
        let mut alone = connected();
        alone.running("27");
        let (id, ticket) = alone.inject(&place("27", 0));
        alone.step(Input::Appended { ticket, offset: 0 });
        let effects = alone.answer(Errand::Show(job("27"), alone.now), shown("27", state, reason, 0));
        let mut effects: Vec<_> = down(&effects);
        // What the workers wrote last is read before their prompts end.
        effects.retain(|down| matches!(down, Downward::Read { .. }));
        assert_eq!(effects.len(), 2);
        assert!(alone.core.is_open(&id));
        let mut ends = Vec::new();
        for read in effects {
            let Downward::Read { ticket, place, .. } = read else {
                continue;
            };
            let next = alone.core.stream_end(&place).1;
            ends.extend(alone.step(Input::OutboxRead {
                ticket,
                next,
                done: true,
                unread: None,
            }));
        }
        assert_eq!(failed(&ends), [&id]);
        let swarm = alone.swarm_of_job("27");
        assert_eq!(swarm.status, SwarmState::Failed);
        let reason = swarm.reason.unwrap();
        assert!(reason.contains(state) && reason.contains(says), "{reason}");
    }
}

#[test]
fn p11_squeue_that_is_empty_slow_or_failing_and_words_that_are_not_known_end_nothing() {
    let mut alone = connected();
    alone.running("27");
    let asked = || Errand::Queue(vec![job("27")], Duration::ZERO);
    let effects = alone.answer(asked(), says(0, "", ""));
    assert!(
        matches!(errands(&effects)[..], [Errand::Show(..)]),
        "it is looked at more closely"
    );
    alone.answer(asked(), says(0, "squeue went mad\n27|\n", ""));
    let told_once = alone.answer(
        asked(),
        says(1, "", "slurm_load_jobs error: Unable to contact slurm controller\n"),
    );
    assert!(matches!(told(&told_once)[0].word, RouterWord::RouterTrouble { .. }));
    let again = alone.answer(
        asked(),
        says(1, "", "slurm_load_jobs error: Unable to contact slurm controller\n"),
    );
    assert!(told(&again).is_empty(), "{again:?}");
    let silent = "slurm_load_jobs error: Unable to contact slurm controller\n";
    let other_command = alone.answer(Errand::Show(job("27"), alone.now), says(1, "", silent));
    assert!(told(&other_command).is_empty(), "{other_command:?}");
    // Nor when the two commands that are asked fail in turn, each with its own words.
    let other = alone.answer(asked(), no_answer(true));
    assert_eq!(told(&other).len(), 1, "{other:?}");
    for _ in 0..3 {
        let silent = "slurm_load_jobs error: Unable to contact slurm controller\n";
        let mut again = alone.answer(asked(), says(1, "", silent));
        again.extend(alone.answer(asked(), says(0, "", "")));
        again.extend(alone.answer(asked(), no_answer(true)));
        assert!(told(&again).is_empty(), "{again:?}");
    }
    alone.answer(asked(), says(0, &line("27", "TELEPORTED", "None"), ""));
    alone.answer(
        Errand::Show(job("27"), alone.now),
        says(1, "", "slurm_load_jobs error: Zero Bytes were transmitted or received"),
    );
    assert_eq!(alone.swarm_of_job("27").status, SwarmState::Running);
}

#[test]
fn a_job_that_the_controller_does_not_know_is_given_up_only_after_several_answers_over_a_while() {
    let mut alone = connected();
    alone.running("27");
    alone.now += Duration::from_secs(1);
    let mut shows = vec![Errand::Show(job("27"), alone.now)];
    for _ in 0..2 {
        alone.answer(shows.pop().unwrap(), unknown_job());
        assert_eq!(alone.swarm_of_job("27").status, SwarmState::Running);
        alone.now += Duration::from_secs(23);
        shows = errands(&alone.step(Input::Tick));
        shows.retain(|errand| matches!(errand, Errand::Show(..)));
    }
    let effects = alone.answer(shows.pop().unwrap(), unknown_job());
    assert_eq!(
        down(&effects).len(),
        4,
        "two reads of what is left, two hints: {effects:?}"
    );
    assert!(alone.swarm_of_job("27").job.unwrap().over.unwrap().contains("vanished"));
}

#[test]
fn a_job_whose_workers_speak_is_not_gone_whatever_the_controller_knows() {
    let mut alone = connected();
    alone.running("27");
    for _ in 0..9 {
        let asked = alone.now;
        alone.now += Duration::from_secs(30);
        alone.comes_up(&place("27", 0), 1);
        alone.answer(Errand::Show(job("27"), asked), unknown_job());
    }
    assert_eq!(alone.swarm_of_job("27").status, SwarmState::Running);
}

#[test]
fn p7_a_swarm_is_ended_by_a_signal_to_its_workers_and_cancelled_only_after_their_time() {
    let mut alone = connected();
    let swarm = alone.running("27");
    let effects = alone.command(terminate(&swarm.swarm_id));
    let (signal, call) = calls(&effects).pop().unwrap();
    assert_eq!(signal, Errand::Signal(job("27")));
    assert!(call.arguments.contains(&"--signal=TERM".to_owned()), "{call}");
    assert!(calls(&alone.answer(signal, says(0, "", ""))).is_empty());
    alone.now += Duration::from_secs(26);
    let effects = alone.step(Input::Tick);
    assert!(errands(&effects).contains(&Errand::Cancel(job("27"))), "{effects:?}");

    alone.exits(&place("27", 0));
    let effects = alone.exits(&place("27", 1));
    assert_eq!(alone.swarm_of_job("27").status, SwarmState::Terminating);
    let cancel = errands(&effects).pop().unwrap();
    assert_eq!(cancel, Errand::Cancel(job("27")), "nothing of the job may stay");
    alone.answer(cancel, says(0, "", ""));
    let swarm = alone.swarm_of_job("27");
    assert_eq!(swarm.status, SwarmState::Terminated);
    assert_eq!(swarm.slurm_state(), None, "RUNNING was heard before its end");
}

#[test]
fn p6_a_swarm_that_never_ran_is_cancelled_and_its_prompts_end() {
    let mut alone = connected();
    let command = json!({"command": "swarm_launch", "nodes": 2, "system_prompt": "be good"});
    let (swarm, effects) = alone.launch_as("27", command);
    let first = accepted(&effects);
    let effects = alone.command(terminate(&swarm.swarm_id));
    let cancel = errands(&effects).pop().unwrap();
    assert_eq!(cancel, Errand::Cancel(job("27")));
    let show = errands(&alone.answer(cancel, says(0, "", ""))).pop().unwrap();
    let effects = alone.answer(show, shown("27", "CANCELLED", "None", 0));
    assert!(failed(&effects).is_empty(), "a worker may have begun unheard");
    let effects = alone.nothing_was_written(&effects);
    assert_eq!(failed(&effects), first.iter().collect::<Vec<_>>());
    let swarm = alone.swarm_of_job("27");
    assert_eq!(swarm.status, SwarmState::Terminated);
    assert_eq!(swarm.slurm_state().as_deref(), Some("CANCELLED"));
    assert_eq!(swarm.job.unwrap().reason, None, "it was asked for");
    assert!(
        told(&effects)
            .iter()
            .all(|event| !matches!(event.word, RouterWord::NodeLost { .. }))
    );
}

#[test]
fn p4_p6_what_a_worker_said_before_anybody_could_hear_it_is_heard_although_its_swarm_was_ended() {
    let mut alone = connected();
    let command = json!({"command": "swarm_launch", "nodes": 2, "system_prompt": "be good"});
    let (swarm, effects) = alone.launch_as("27", command);
    let prompt = accepted(&effects)[0].clone();
    let effects = alone.command(terminate(&swarm.swarm_id));
    let cancel = errands(&effects).pop().unwrap();
    let show = errands(&alone.answer(cancel, says(0, "", ""))).pop().unwrap();
    let effects = alone.answer(show, shown("27", "CANCELLED", "None", 0));
    let node = place("27", 0);
    let mut ends = alone.record(&node, 1, worker_start(), None);
    let started = Word::TurnStarted {
        turn_id: None,
        steered_into: None,
    };
    ends.extend(alone.record(&node, 1, started, Some(&prompt)));
    ends.extend(alone.nothing_was_written(&effects));
    assert!(!failed(&ends).contains(&&prompt), "it was begun: {ends:?}");
    assert_eq!(alone.swarm_of_job("27").status, SwarmState::Terminated);
}

#[test]
fn a_swarm_whose_end_was_asked_for_while_the_link_was_down_ends_when_it_is_back() {
    let mut alone = connected();
    let swarm = alone.running("27");
    alone.step(cut(true));
    assert!(calls(&alone.command(terminate(&swarm.swarm_id))).is_empty());
    assert!(errands(&alone.connect()).contains(&Errand::Signal(job("27"))));
}

#[test]
fn a_job_that_failed_before_a_worker_spoke_is_told_with_the_last_words_of_its_error_file() {
    let mut alone = connected();
    alone.launch_job("27");
    let effects = alone.answer(
        Errand::Show(job("27"), alone.now),
        shown("27", "FAILED", "NonZeroExitCode", 0),
    );
    let (log, call) = calls(&effects).pop().unwrap();
    assert!(call.arguments.contains(&"/scratch/cs/runs/27.err".to_owned()), "{call}");
    let effects = alone.answer(log, says(0, "codeswarm: there is no program /x\n", ""));
    for read in down(&effects) {
        if let Downward::Read { ticket, .. } = read {
            alone.step(Input::OutboxRead {
                ticket,
                next: 0,
                done: true,
                unread: None,
            });
        }
    }
    let swarm = alone.swarm_of_job("27");
    assert_eq!(swarm.status, SwarmState::Failed);
    assert!(swarm.reason.unwrap().contains("there is no program /x"));
}

#[test]
fn a_job_that_failed_is_told_with_what_its_workers_have_said_of_it() {
    let mut alone = connected();
    alone.launch_job("27");
    for rank in 0..2 {
        let at = place("27", rank);
        alone.record(&at, 1, worker_start(), None);
        let message = "no program /opt/codex".to_owned();
        alone.record(&at, 1, Word::WorkerError { message }, None);
        alone.exits(&at);
    }
    alone.answer(
        Errand::Show(job("27"), alone.now),
        shown("27", "FAILED", "NonZeroExitCode", 0),
    );
    let reason = alone.swarm_of_job("27").reason.unwrap();
    assert!(
        reason.starts_with("FAILED") && reason.contains("/opt/codex"),
        "{reason}"
    );
}

#[test]
fn the_queue_is_asked_once_a_while_and_not_at_all_while_workers_speak() {
    let mut alone = connected();
    alone.launch_job("27");
    let mut looks = 0;
    for second in 0..600_u64 {
        alone.now = Duration::from_secs(second);
        let asked = errands(&alone.step(Input::Tick))
            .iter()
            .filter(|errand| matches!(errand, Errand::Queue(..)))
            .count();
        looks += asked;
        for _ in 0..asked {
            alone.answer(
                Errand::Queue(vec![job("27")], alone.now),
                says(0, &line("27", "PENDING", "Priority"), ""),
            );
        }
    }
    assert!((15..=20).contains(&looks), "{looks} looks in ten minutes");

    // Nor is a controller asked again that has not answered yet.
    let looks_in = |effects: &[Effect]| {
        let is_look = |errand: &Errand| matches!(errand, Errand::Queue(..));
        errands(effects).into_iter().filter(is_look).count()
    };
    let unanswered: usize = (600..900)
        .map(|second| {
            alone.now = Duration::from_secs(second);
            looks_in(&alone.step(Input::Tick))
        })
        .sum();
    assert_eq!(unanswered, 1);
    alone.answer(Errand::Queue(vec![job("27")], alone.now), no_answer(true));

    let talks = |alone: &mut Alone, speaks: bool| {
        let mut looks = 0;
        let begin = alone.now;
        for second in 0..600 {
            alone.now = begin + Duration::from_secs(second);
            if speaks {
                alone.comes_up(&place("27", 0), 1);
                alone.comes_up(&place("27", 1), 1);
            }
            for errand in errands(&alone.step(Input::Tick)) {
                if matches!(errand, Errand::Queue(..)) {
                    looks += 1;
                    alone.answer(errand, says(0, &line("27", "RUNNING", "None"), ""));
                }
            }
        }
        looks
    };
    assert_eq!(talks(&mut alone, true), 0);
    let resting = talks(&mut alone, false);
    assert!((4..=6).contains(&resting), "{resting} looks at a swarm that rests");
}

#[test]
fn a_command_that_names_an_unknown_job_adopts_it_and_is_then_carried_out_once() {
    let mut alone = connected();
    let adopt = errands(&alone.request(1, "r", inject("28"))).pop().unwrap();
    assert_eq!(adopt, Errand::Adopt(job("28")));
    assert!(
        calls(&alone.request(2, "r", inject("28"))).is_empty(),
        "asked again over another connection"
    );
    let effects = alone.answer(adopt, shown("28", "RUNNING", "None", 0));
    assert_eq!(accepted(&effects).len(), 1);
    let swarm = alone.swarm_of_job("28");
    assert_eq!((swarm.node_count, swarm.provider.as_str()), (2, "slurm"));
    let Some(Downward::Prepare { ticket, .. }) = down(&effects).pop() else {
        panic!("{effects:?}")
    };
    let effects = alone.step(Input::Prepared { ticket, error: None });
    let watches = down(&effects)
        .into_iter()
        .filter(|down| matches!(down, Downward::Watch { offset: 0, .. }))
        .count();
    assert_eq!(watches, 2, "all that its nodes have said is read");
    assert!(append(&effects).is_some());
    let effects = alone.request(3, "r2", json!({"command": "swarm_adopt", "job_id": "28"}));
    assert!(matches!(
        told(&effects)[0].word,
        RouterWord::SwarmAdopted { node_count: 2, .. }
    ));
}

#[test]
fn a_job_that_slurm_does_not_know_that_is_over_or_not_ours_is_not_adopted() {
    let mut alone = connected();
    let adopt = errands(&alone.request(1, "r1", inject("28"))).pop().unwrap();
    assert_eq!(
        refused(&alone.answer(adopt, unknown_job())).0,
        RejectionCode::UnknownJob
    );
    let adopt = errands(&alone.request(1, "r2", inject("29"))).pop().unwrap();
    let (code, reason) = refused(&alone.answer(adopt, shown("29", "TIMEOUT", "TimeLimit", 0)));
    assert_eq!(code, RejectionCode::UnknownJob);
    assert!(reason.contains("time limit"), "{reason}");
    let adopt = errands(&alone.request(1, "r5", inject("31"))).pop().unwrap();
    let line = "JobId=31 JobName=relax.sh UserId=me(1) JobState=RUNNING Reason=None NumNodes=1 NumTasks=1\n";
    let (code, reason) = refused(&alone.answer(adopt, says(0, line, "")));
    assert_eq!(code, RejectionCode::UnknownJob);
    assert!(
        reason.contains("no job of codeswarm: its name is \"relax.sh\""),
        "{reason}"
    );
    assert_eq!(
        refused(&alone.request(1, "r3", inject("local-7"))).0,
        RejectionCode::UnknownJob
    );
    alone.step(cut(true));
    alone.request(1, "r4", inject("30"));
    assert_eq!(refused(&alone.step(cut(true))).0, RejectionCode::Link);
}

#[test]
fn p3_a_prompt_that_waited_too_long_for_the_link_has_failed_and_is_never_sent() {
    let mut alone = connected();
    alone.running("27");
    let (sent, _) = alone.inject(&place("27", 0));
    alone.step(cut(false));
    let waits = accepted(&alone.command(inject("27"))).remove(0);
    alone.now += Duration::from_secs(61);
    let effects = alone.step(Input::Tick);
    assert_eq!(failed(&effects), [&waits]);
    let why = told(&effects).into_iter().find_map(|event| match &event.word {
        RouterWord::InjectFailed { reason, .. } => Some(reason.clone()),
        _ => None,
    });
    assert!(
        why.as_ref()
            .is_some_and(|why| why.contains("ssh hpc: permission denied")),
        "ssh's own words: {why:?}"
    );
    let pending = told(&effects)
        .into_iter()
        .any(|event| matches!(event.word, RouterWord::InjectPending { .. }));
    assert!(pending, "the other one may be in the inbox: {effects:?}");

    // The link is back: the first is settled by looking first, the second is not there any more.
    let effects = alone.connect();
    let (ticket, looks_first) = append(&effects).unwrap();
    assert!(looks_first);
    assert_eq!(alone.core.injections[&sent].state, InjectionState::Sent);
    let effects = alone.step(Input::Appended { ticket, offset: 0 });
    assert_eq!(append(&effects), None);
}

#[test]
fn a_status_brings_the_last_heartbeats_or_does_not_wait_for_them() {
    let mut alone = connected();
    let swarm = alone.running("27");
    let status = json!({"command": "swarm_status", "swarm_id": swarm.swarm_id});
    let heartbeats = |effects: &[Effect]| {
        down(effects).into_iter().find_map(|down| match down {
            Downward::Heartbeats { ticket, .. } => Some(ticket),
            _ => None,
        })
    };
    let effects = alone.command(status.clone());
    let ticket = heartbeats(&effects).unwrap();
    assert_eq!(heartbeats(&alone.command(status.clone())), None, "one reading for both");
    let data = r#"{"node_id":1,"beat":{"host":"n","timestamp":"2026-03-01T12:00:00.000Z"}}"#.into();
    let effects = alone.step(Input::Heartbeats { ticket, data });
    let answers = told(&effects);
    assert_eq!(answers.len(), 2);
    let RouterWord::SwarmStatus { nodes, .. } = &answers[0].word else {
        panic!("{answers:?}")
    };
    assert!(nodes[0].heartbeat_at.is_none() && nodes[1].heartbeat_at.is_some());

    alone.command(status.clone());
    alone.now += Duration::from_secs(3);
    assert_eq!(
        told(&alone.step(Input::Tick)).len(),
        1,
        "a filesystem that does not answer"
    );
    alone.step(cut(false));
    assert_eq!(told(&alone.command(status)).len(), 1);
}

#[test]
fn p6_an_end_that_a_new_follower_tells_again_ends_no_prompt_that_waits_for_the_requeued_job() {
    let mut alone = connected();
    alone.running("27");
    alone.now += Duration::from_secs(1);
    for rank in 0..2 {
        alone.exits(&place("27", rank));
    }
    alone.answer(
        Errand::Show(job("27"), alone.now),
        shown("27", "PENDING", "BeginTime", 1),
    );
    let id = accepted(&alone.command(inject("27"))).remove(0);
    alone.step(cut(false));
    let watched = down(&alone.connect());
    assert!(
        watched.iter().any(|down| matches!(down, Downward::Watch { .. })),
        "it may be written again"
    );
    alone.exits(&place("27", 0));
    assert!(alone.core.is_open(&id));

    // Its next life begins and ends between two looks.
    alone.record(&place("27", 0), 2, worker_start(), None);
    alone.exits(&place("27", 0));
    assert!(!alone.core.is_open(&id));
}

#[test]
fn a_job_that_slurm_does_not_tell_of_for_a_moment_is_looked_up_again() {
    let silent = || says(1, "", "slurm_load_jobs error: Unable to contact slurm controller\n");
    let mut alone = connected();
    let adopt = errands(&alone.request(1, "r", inject("28"))).pop().unwrap();
    assert!(told(&alone.answer(adopt, silent())).is_empty());
    alone.now += Duration::from_secs(5);
    let again = errands(&alone.step(Input::Tick)).pop().unwrap();
    assert_eq!(again, Errand::Adopt(job("28")));
    let effects = alone.answer(again, shown("28", "RUNNING", "None", 0));
    assert_eq!(accepted(&effects).len(), 1);

    // Who has waited long enough hears what Slurm said.
    let adopt = errands(&alone.request(1, "r2", inject("29"))).pop().unwrap();
    alone.answer(adopt, silent());
    alone.now += Duration::from_secs(61);
    let (code, reason) = refused(&alone.step(Input::Tick));
    assert_eq!(code, RejectionCode::Link);
    assert!(reason.contains("Unable to contact slurm controller"), "{reason}");
}
