//! Steps of a launch, an adoption or an end that Slurm, the login node or the mailbox refuses, or leaves open.

use std::time::Duration;

use codeswarm_protocol::event::{RouterWord, SwarmState};
use codeswarm_protocol::frame::Downward;
use codeswarm_protocol::{JobId, RejectionCode};
use serde_json::{Value, json};

use super::alone::*;
use super::in_slurm::*;
use crate::core::{Change, Effect, Errand, Input, Stage};

const LATE: &str = "sbatch: error: Batch job submission failed: Socket timed out on send/recv operation\n";
const BUSY: &str = "scancel: error: Kill job error on job id 27: Job can not be altered now, try again later\n";
const OVER: &str = "scancel: error: Kill job error on job id 27: Job/step already completing or completed\n";

fn launch() -> Value {
    json!({"command": "swarm_launch", "nodes": 2})
}

fn inject(job: &str) -> Value {
    json!({"command": "inject", "job_id": job, "node_id": 0, "content": "hello"})
}

fn job(id: &str) -> JobId {
    JobId::new(id).unwrap()
}

#[test]
fn p2_a_submission_that_the_controller_may_have_taken_is_looked_for_and_not_handed_in_again() {
    let mut alone = connected();
    let effects = alone.request(1, "r", launch());
    let (submit, ..) = alone.until_sbatch(&effects);
    let effects = alone.answer(submit, says(1, "", LATE));
    assert!(told(&effects).is_empty() && calls(&effects).is_empty(), "{effects:?}");
    assert_eq!(alone.submission().stage, Stage::Submitting);
    alone.now += Duration::from_secs(5);
    let asked = errands(&alone.step(Input::Tick));
    assert!(matches!(asked[..], [Errand::Find(_)]), "{asked:?}");
}

#[test]
fn p9_a_launch_file_that_cannot_be_written_refuses_the_launch_before_sbatch() {
    let mut alone = connected();
    let effects = alone.request(1, "r", launch());
    let Some(Downward::Launch { ticket, .. }) = down(&effects).pop() else {
        panic!("{effects:?}")
    };
    let error = Some("no space is left for launch/s.json".to_owned());
    let effects = alone.step(Input::Prepared { ticket, error });
    let (code, reason) = refused(&effects);
    assert_eq!(code, RejectionCode::LaunchFailed);
    assert!(reason.contains("no space is left"), "{reason}");
    assert!(calls(&effects).is_empty() && alone.core.submissions.is_empty());
}

#[test]
fn a_launch_that_will_not_wait_leaves_an_unknown_partition_to_sbatch_and_silence_to_later() {
    let wanted = |partition: &str| json!({"command": "swarm_launch", "nodes": 2, "immediate": true, "provider_params": {"partition": partition}});
    let sinfo = "compute*|up|infinite|0/4/0/4|2|2000|(null)|(null)\nshort|up|1:00|3/1/0/4|2|2000|(null)|(null)\n";
    let mut alone = connected();
    let idle = errands(&alone.request(1, "r1", wanted("short"))).pop().unwrap();
    let (_, reason) = refused(&alone.answer(idle, says(0, sinfo, "")));
    assert!(reason.contains("1 nodes of partition short"), "{reason}");

    let idle = errands(&alone.request(1, "r2", wanted("nosuch"))).pop().unwrap();
    let effects = alone.answer(idle, says(0, sinfo, ""));
    alone.until_sbatch(&effects);

    let mut alone = connected();
    let idle = errands(&alone.request(1, "r3", wanted("short"))).pop().unwrap();
    let silent = "slurm_load_partitions: Unable to contact slurm controller (connect failure)\n";
    let (code, reason) = refused(&alone.answer(idle, says(1, "", silent)));
    assert_eq!(code, RejectionCode::LaunchFailed);
    assert!(reason.contains("controller"), "{reason}");

    let idle = errands(&alone.request(1, "r4", wanted("short"))).pop().unwrap();
    let effects = alone.answer(idle.clone(), no_answer(false));
    assert!(
        matches!(&told(&effects)[0].word, RouterWord::RouterTrouble { message } if message.contains("waits")),
        "{effects:?}"
    );
    alone.now += Duration::from_secs(2);
    assert_eq!(
        errands(&alone.step(Input::Tick)),
        [idle],
        "asked again, for it may have changed"
    );
}

#[test]
fn p11_a_signal_that_comes_too_late_is_no_end_until_slurm_shows_one() {
    let mut alone = connected();
    let swarm = alone.running("27");
    let end = json!({"command": "swarm_terminate", "swarm_id": swarm.swarm_id});
    let signal = errands(&alone.command(end)).pop().unwrap();
    assert_eq!(signal, Errand::Signal(job("27")));
    let effects = alone.answer(signal, says(1, "", OVER));
    assert_eq!(alone.swarm_of_job("27").status, SwarmState::Terminating);
    let show = errands(&effects).pop().unwrap();
    assert!(matches!(show, Errand::Show(..)), "{show:?}");
    alone.answer(show, shown("27", "COMPLETED", "None", 0));
    assert!(!matches!(alone.swarm_of_job("27").status, SwarmState::Running));
}

#[test]
fn a_job_that_can_be_neither_signalled_nor_cancelled_now_is_tried_again() {
    let mut alone = connected();
    let swarm = alone.running("27");
    let end = json!({"command": "swarm_terminate", "swarm_id": swarm.swarm_id});
    let signal = errands(&alone.command(end)).pop().unwrap();
    let cancel = errands(&alone.answer(signal, says(1, "", BUSY))).pop().unwrap();
    assert_eq!(cancel, Errand::Cancel(job("27")));
    let effects = alone.answer(cancel, says(1, "", BUSY));
    assert!(told(&effects).is_empty(), "{effects:?}");
    let mut again = Vec::new();
    for _ in 0..60 {
        alone.now += Duration::from_secs(1);
        again.extend(errands(&alone.step(Input::Tick)));
    }
    assert!(
        again
            .iter()
            .any(|errand| matches!(errand, Errand::Signal(_) | Errand::Cancel(_))),
        "{again:?}"
    );
}

#[test]
fn a_look_at_an_unknown_job_that_the_link_loses_is_taken_again_and_its_command_is_done_once() {
    let mut alone = connected();
    let adopt = errands(&alone.request(1, "r", inject("28"))).pop().unwrap();
    assert!(told(&alone.answer(adopt.clone(), no_answer(false))).is_empty());
    // The same command again, as over another connection: still one.
    assert!(told(&alone.request(2, "r", inject("28"))).is_empty());
    let (code, _) = refused(&alone.request(3, "r", json!({"command": "swarm_adopt", "job_id": "28"})));
    assert_eq!(code, RejectionCode::RequestIdReused);
    // It was looked for at once; the link breaks before the answer.
    alone.step(cut(false));
    alone.answer(adopt.clone(), no_answer(false));
    assert_eq!(errands(&alone.connect()), std::slice::from_ref(&adopt));
    let effects = alone.answer(adopt, shown("28", "RUNNING", "None", 0));
    assert_eq!(accepted(&effects).len(), 1, "{effects:?}");
}

#[test]
fn p12_a_job_with_more_tasks_than_are_taken_and_one_under_launch_are_not_adopted() {
    let mut alone = connected();
    let adopt = errands(&alone.request(1, "r1", inject("28"))).pop().unwrap();
    let many = "JobId=28 JobName=codeswarm UserId=me(1) JobState=RUNNING NumNodes=1 NumTasks=4000000000\n";
    let (code, reason) = refused(&alone.answer(adopt, says(0, many, "")));
    assert_eq!(code, RejectionCode::BadField);
    assert!(reason.contains("4000000000 tasks"), "{reason}");

    let effects = alone.request(1, "r2", launch());
    alone.until_sbatch(&effects);
    let swarm_id = alone.submission().swarm.swarm_id.clone();
    let adopt = errands(&alone.request(1, "r3", inject("29"))).pop().unwrap();
    let ours =
        format!("JobId=29 JobName=codeswarm UserId=me(1) JobState=RUNNING NumTasks=2 Comment=codeswarm:{swarm_id}\n");
    let (_, reason) = refused(&alone.answer(adopt, says(0, &ours, "")));
    assert!(reason.contains("launch is under way"), "{reason}");
    assert!(alone.core.swarm_of(&job("29")).is_none());
}

#[test]
fn p7_an_end_that_slurm_refuses_is_told_once_and_asked_for_again() {
    let mut alone = connected();
    let swarm = alone.running("27");
    let denied = "scancel: error: Kill job error on job id 27: Access/permission denied\n";
    let end = json!({"command": "swarm_terminate", "swarm_id": swarm.swarm_id});
    let signal = errands(&alone.command(end)).pop().unwrap();
    let effects = alone.answer(signal, says(1, "", denied));
    let [event] = told(&effects)[..] else {
        panic!("{effects:?}")
    };
    let RouterWord::RouterTrouble { message } = &event.word else {
        panic!("{event:?}")
    };
    assert!(
        message.contains("denied") && message.contains("by hand: scancel 27"),
        "{message}"
    );
    alone.now += Duration::from_secs(31);
    let again = errands(&alone.step(Input::Tick));
    assert!(again.contains(&Errand::Cancel(job("27"))), "{again:?}");
    let effects = alone.answer(Errand::Cancel(job("27")), says(1, "", denied));
    assert!(told(&effects).is_empty(), "{effects:?}");
    assert_eq!(alone.swarm_of_job("27").status, SwarmState::Terminating);
}

#[test]
fn a_waiting_job_is_told_with_what_its_reason_means_or_with_the_bare_word() {
    let table = [
        ("Resources", "it is next"),
        ("JobHeldUser", "scontrol release"),
        ("WordOfANewerSlurm", "waits in the queue (WordOfANewerSlurm)"),
    ];
    for (reason, means) in table {
        let mut alone = connected();
        alone.launch_job("27");
        alone.answer(Errand::Show(job("27"), alone.now), shown("27", "PENDING", reason, 0));
        let told = alone.swarm_of_job("27").job.unwrap().reason.unwrap();
        assert!(told.contains(reason) && told.contains(means), "{told}");
    }
}

#[test]
fn p6_a_launch_whose_file_cannot_be_withdrawn_is_refused_all_the_same() {
    let mut alone = connected();
    let effects = alone.request(1, "r", launch());
    let (submit, ..) = alone.until_sbatch(&effects);
    alone.answer(submit, no_answer(true));
    let mut last = Vec::new();
    for _ in 0..4 {
        alone.now += Duration::from_secs(31);
        let find = errands(&alone.step(Input::Tick)).pop().unwrap();
        last = alone.answer(find, says(0, "", ""));
    }
    let Some(Downward::Launch { ticket, .. }) = down(&last).pop() else {
        panic!("{last:?}")
    };
    let error = Some("no space is left".to_owned());
    let (code, reason) = refused(&alone.step(Input::Prepared { ticket, error }));
    assert_eq!(code, RejectionCode::LaunchFailed);
    assert!(reason.contains("given up"), "{reason}");
    assert!(alone.core.submissions.is_empty());
}

#[test]
fn a_program_whose_path_no_script_can_hold_refuses_the_launch_before_sbatch() {
    let mut alone = Alone::new(with_slurm());
    let binary = "codeswarm".to_owned();
    alone.step(Input::LinkUp { binary });
    let effects = alone.request(1, "r", launch());
    let Some(Downward::Launch { ticket, .. }) = down(&effects).pop() else {
        panic!("{effects:?}")
    };
    let effects = alone.step(Input::Prepared { ticket, error: None });
    let (code, reason) = refused(&effects);
    assert_eq!(code, RejectionCode::LaunchFailed);
    assert!(reason.contains("not an absolute path"), "{reason}");
    assert!(calls(&effects).is_empty() && alone.core.submissions.is_empty());
}

/// As a state that was written by hand, or by another version.
#[test]
fn a_stored_launch_whose_job_has_no_number_comes_to_nothing_and_its_file_is_withdrawn() {
    let mut alone = connected();
    let effects = alone.request(1, "r", launch());
    let (submit, ..) = alone.until_sbatch(&effects);
    alone.answer(submit, says(0, "27\n", ""));
    for submission in alone.core.submissions.values_mut() {
        submission.stage = Stage::Submitted(job("local-1"));
    }
    let (mut next, _) = alone.restarted(&[]);
    let effects = next.connect();
    let Some(Downward::Launch { data, .. }) = down(&effects).pop() else {
        panic!("{effects:?}")
    };
    let withdrawn: Value = serde_json::from_slice(&data).unwrap();
    assert_eq!(withdrawn["node_count"], 0);
    let is_over = |effect: &Effect| matches!(effect, Effect::Save(Change::SubmissionOver(_)));
    assert!(effects.iter().any(is_over) && next.core.submissions.is_empty());
}
