//! From a launch to a job: at most one, whatever is lost in between.

use std::time::Duration;

use codeswarm_protocol::event::{RouterWord, SwarmState};
use codeswarm_protocol::frame::Downward;
use codeswarm_protocol::{JobId, RejectionCode};
use serde_json::json;

use super::alone::*;
use super::in_slurm::*;
use crate::core::{Change, Effect, Errand, Input, Stage};

fn launch() -> serde_json::Value {
    json!({"command": "swarm_launch", "nodes": 2, "system_prompt": "be good"})
}

fn saved(effects: &[Effect]) -> Vec<&Change> {
    let of = |effect: &'_ Effect| matches!(effect, Effect::Save(_));
    effects
        .iter()
        .filter(|effect| of(effect))
        .filter_map(|effect| match effect {
            Effect::Save(change) => Some(change),
            _ => None,
        })
        .collect()
}

#[test]
fn a_launch_is_told_with_slurms_word_when_there_is_a_job_and_its_prompts_are_stored_with_it() {
    let mut alone = connected();
    let effects = alone.request(1, "r", launch());
    let (submit, call, effects) = alone.until_sbatch(&effects);
    assert!(
        matches!(saved(&effects)[..], [Change::Submission(_)]),
        "before sbatch runs: {effects:?}"
    );
    assert_eq!(
        (call.program.as_str(), &call.arguments[..]),
        ("sbatch", &["--parsable".to_owned()][..])
    );
    let script = String::from_utf8(call.stdin).unwrap();
    assert!(
        script.contains("--nodes=2") && script.contains("/scratch/cs/bin/codeswarm"),
        "{script}"
    );

    let effects = alone.answer(submit, says(0, "27\n", ""));
    assert!(told(&effects).is_empty());
    let announce = errands(&effects).pop().unwrap();
    let effects = alone.answer(announce, shown("27", "PENDING", "Resources", 0));
    let RouterWord::SwarmLaunched {
        node_count,
        status,
        slurm_state,
        slurm_reason,
        ..
    } = &told(&effects)[0].word
    else {
        panic!("{effects:?}")
    };
    assert_eq!((*node_count, *status), (2, SwarmState::Pending));
    assert_eq!(
        (slurm_state.as_deref(), slurm_reason.as_deref()),
        (Some("PENDING"), Some("Resources"))
    );
    assert_eq!(accepted(&effects).len(), 2);
    let has = |wanted: fn(&Change) -> bool| saved(&effects).into_iter().any(wanted);
    assert!(has(|change| matches!(change, Change::Swarm(_))));
    assert!(has(|change| matches!(change, Change::SubmissionOver(_))));
    assert!(has(|change| matches!(change, Change::Request { .. })));
    assert!(alone.core.submissions.is_empty());
}

#[test]
fn a_launch_waits_for_the_link_and_is_refused_when_a_person_must_act_first() {
    let mut alone = Alone::new(with_slurm());
    let effects = alone.request(1, "r1", launch());
    assert!(down(&effects).is_empty() && told(&effects).is_empty());
    alone.step(cut(false));
    assert_eq!(alone.submission().stage, Stage::Waiting);
    let effects = alone.step(cut(true));
    let (code, reason) = refused(&effects);
    assert_eq!(code, RejectionCode::Link);
    assert!(
        reason.contains("permission denied") && reason.contains("by hand"),
        "{reason}"
    );
    assert!(alone.core.submissions.is_empty());
    // The next one is not refused for what may have been mended: the link is tried again, and tells.
    assert!(told(&alone.request(1, "r2", launch())).is_empty());
    assert_eq!(refused(&alone.step(cut(true))).0, RejectionCode::Link);

    // It goes on by itself when the link comes up.
    let mut alone = Alone::new(with_slurm());
    alone.request(1, "r3", launch());
    let effects = alone.connect();
    alone.until_sbatch(&effects);
}

#[test]
fn a_launch_that_waits_too_long_for_the_link_is_refused_and_never_handed_in() {
    let mut alone = Alone::new(with_slurm());
    alone.request(1, "r", launch());
    alone.now += Duration::from_secs(121);
    let effects = alone.step(Input::Tick);
    assert_eq!(refused(&effects).0, RejectionCode::Link);
    assert!(calls(&alone.connect()).is_empty());
}

#[test]
fn a_launch_file_whose_answer_was_lost_with_the_link_is_written_again() {
    let mut alone = connected();
    alone.request(1, "r", launch());
    alone.step(cut(false));
    let effects = alone.connect();
    alone.until_sbatch(&effects);
}

#[test]
fn what_slurm_refuses_is_told_with_its_words_and_leaves_nothing() {
    let mut alone = connected();
    let effects = alone.request(1, "r", launch());
    let (submit, ..) = alone.until_sbatch(&effects);
    let words = "sbatch: error: invalid partition specified: nope\n\
                 sbatch: error: Batch job submission failed: Invalid partition name specified\n";
    let effects = alone.answer(submit, says(1, "", words));
    let (code, reason) = refused(&effects);
    assert_eq!(code, RejectionCode::LaunchFailed);
    assert!(
        reason.contains("cluster.slurm.partition") && reason.contains("sinfo"),
        "{reason}"
    );
    assert!(
        saved(&effects)
            .iter()
            .any(|change| matches!(change, Change::SubmissionOver(_)))
    );
    assert_eq!(alone.core.live_swarms(), 0);
}

#[test]
fn bad_settings_are_refused_before_anything_is_asked() {
    let mut alone = Alone::new(with_slurm());
    for (params, names) in [
        (json!({"partitoin": "x"}), "partitoin"),
        (json!({"sbatch_args": ["--job-name=mine"]}), "job-name"),
        (json!({"partition": "a\nb"}), "partition"),
        (json!({"agents_per_node": 9}), "agents"),
    ] {
        let mut command = launch();
        command["provider_params"] = params;
        let effects = alone.request(1, "r", command);
        let (code, reason) = refused(&effects);
        assert_eq!(code, RejectionCode::BadField, "{reason}");
        assert!(reason.contains(names), "{reason}");
    }
    assert!(alone.core.submissions.is_empty());
}

#[test]
fn p2_a_job_whose_submission_was_not_answered_is_found_and_never_handed_in_again() {
    let mut alone = connected();
    let effects = alone.request(1, "r", launch());
    let (submit, ..) = alone.until_sbatch(&effects);
    let swarm_id = alone.submission().swarm.swarm_id.clone();
    assert!(calls(&alone.answer(submit, no_answer(true))).is_empty());
    alone.now += Duration::from_secs(5);
    let find = errands(&alone.step(Input::Tick)).pop().unwrap();
    assert_eq!(find, Errand::Find(swarm_id.clone()));
    let line = format!("27|RUNNING|2|node[0-1]|N/A|N/A|codeswarm:{swarm_id}|None\n");
    let effects = alone.answer(find, says(0, &line, ""));
    let announce = errands(&effects).pop().unwrap();
    let effects = alone.answer(announce, shown("27", "RUNNING", "None", 0));
    assert!(matches!(told(&effects)[0].word, RouterWord::SwarmLaunched { .. }));
    assert_eq!(alone.swarm_of_job("27").swarm_id, swarm_id);
}

#[test]
fn a_job_that_is_not_found_is_given_up_and_its_launch_withdrawn() {
    let mut alone = connected();
    let effects = alone.request(1, "r", launch());
    let (submit, ..) = alone.until_sbatch(&effects);
    alone.answer(submit, no_answer(true));
    let mut last = Vec::new();
    for _ in 0..4 {
        alone.now += Duration::from_secs(31);
        let find = errands(&alone.step(Input::Tick)).pop().unwrap();
        // squeue that fails says nothing.
        alone.answer(
            find.clone(),
            says(1, "", "slurm_load_jobs error: Unable to contact slurm controller"),
        );
        alone.now += Duration::from_secs(31);
        assert_eq!(errands(&alone.step(Input::Tick)).pop().unwrap(), find);
        last = alone.answer(find, says(0, "", ""));
    }
    // It is refused when no job that turns up later can run, whatever breaks meanwhile.
    let withdrawal = |effects: &[Effect]| {
        assert!(told(effects).is_empty(), "{effects:?}");
        let Some(Downward::Launch { data, ticket, .. }) = down(effects).pop() else {
            panic!("{effects:?}")
        };
        let withdrawn: serde_json::Value = serde_json::from_slice(&data).unwrap();
        assert_eq!(withdrawn["node_count"], 0);
        ticket
    };
    withdrawal(&last);
    alone.step(cut(false));
    let ticket = withdrawal(&alone.connect());
    let effects = alone.step(Input::Prepared { ticket, error: None });
    assert_eq!(refused(&effects).0, RejectionCode::LaunchFailed);
    assert!(
        matches!(saved(&effects)[..], [Change::SubmissionOver(_)]),
        "{effects:?}"
    );
}

#[test]
fn p1_p2_a_router_that_died_while_it_submitted_looks_for_the_job_first() {
    let mut alone = connected();
    let effects = alone.request(1, "r", launch());
    let (submit, ..) = alone.until_sbatch(&effects);
    let (mut next, effects) = alone.restarted(&[]);
    assert!(calls(&effects).is_empty());
    let found = errands(&next.connect());
    assert!(matches!(found[..], [Errand::Find(_)]), "{found:?}");

    // One that knew its job asks for that.
    alone.answer(submit, says(0, "27;hpc\n", ""));
    let (mut next, _) = alone.restarted(&[]);
    let announce = errands(&next.connect()).pop().unwrap();
    let effects = next.answer(announce, shown("27", "RUNNING", "None", 0));
    assert_eq!(accepted(&effects).len(), 2, "its first prompts are not lost");
}

#[test]
fn p12_the_same_launch_again_while_it_is_on_its_way_is_one_launch_and_told_to_who_asked_last() {
    let mut alone = connected();
    let first = alone.request(1, "r", launch());
    assert!(calls(&alone.request(2, "r", launch())).is_empty());
    let mut other = launch();
    other["nodes"] = json!(1);
    assert_eq!(refused(&alone.request(3, "r", other)).0, RejectionCode::RequestIdReused);
    let (submit, ..) = alone.until_sbatch(&first);
    let effects = alone.answer(submit, says(0, "27\n", ""));
    let announce = errands(&effects).pop().unwrap();
    let effects = alone.answer(announce, shown("27", "PENDING", "None", 0));
    let to_second = |effect: &Effect| matches!(effect, Effect::Tell { whom: crate::core::Whom::Client(client), .. } if client.0 == 2);
    assert!(effects.iter().any(to_second), "{effects:?}");
}

#[test]
fn who_waits_for_a_launch_hears_once_what_it_waits_for() {
    let mut alone = connected();
    let effects = alone.request(1, "r1", launch());
    let (submit, ..) = alone.until_sbatch(&effects);
    let effects = alone.answer(submit, no_answer(false));
    assert!(
        matches!(&told(&effects)[0].word, RouterWord::RouterTrouble { message } if message.contains("waits")),
        "{effects:?}"
    );
    alone.now += Duration::from_secs(2);
    let effects = alone.step(Input::Tick);
    let (submit, ..) = alone.until_sbatch(&effects);
    let effects = alone.answer(submit, no_answer(false));
    assert!(told(&effects).is_empty(), "{effects:?}");
}

#[test]
fn a_launch_that_will_not_wait_needs_idle_nodes() {
    let mut command = launch();
    command["immediate"] = json!(true);
    let sinfo = |idle: u32| format!("compute*|up|infinite|{}/{idle}/0/4|2|2000|(null)|(null)\n", 4 - idle);
    let mut alone = connected();
    let idle = errands(&alone.request(1, "r1", command.clone())).pop().unwrap();
    let effects = alone.answer(idle, says(0, &sinfo(1), ""));
    let (code, reason) = refused(&effects);
    assert_eq!(code, RejectionCode::LaunchFailed, "{reason}");
    assert!(reason.contains("1 nodes") && reason.contains("idle"), "{reason}");
    let idle = errands(&alone.request(1, "r2", command)).pop().unwrap();
    let effects = alone.answer(idle, says(0, &sinfo(3), ""));
    alone.until_sbatch(&effects);
}

#[test]
fn a_job_number_that_this_mailbox_knows_already_is_refused() {
    let mut alone = connected();
    alone.launch_job("27");
    let effects = alone.request(1, "r", launch());
    let (submit, ..) = alone.until_sbatch(&effects);
    let effects = alone.answer(submit, says(0, "27\n", ""));
    let announce = errands(&effects).pop().unwrap();
    let effects = alone.answer(announce, shown("27", "PENDING", "None", 0));
    let (_, reason) = refused(&effects);
    assert!(reason.contains("27") && reason.contains("cluster_subdir"), "{reason}");
    assert!(alone.core.swarm_of(&JobId::new("27").unwrap()).is_some());
}
