//! The end of a job that nobody has asked Codeswarm for: it is told as what it was, and whatever is open ends (P6, P7, P11).

use std::time::{Duration, Instant};

use codeswarm_tests::account::{assert_account, wait_for_completion, wait_for_end};
use codeswarm_tests::cluster::TestCluster;
use codeswarm_tests::fakes::{Answer, words};
use codeswarm_tests::requires;
use codeswarm_tests::router::{RouterProcess, Swarm};
use codeswarm_tests::slurm_processes::{status_of, wait_for_failure};
use codeswarm_tests::slurm_workspace::SlurmWorkspace;
use codeswarm_tests::workspace::wait_until;
use serde_json::{Value, json};

/// On each node a turn that would not end and a prompt behind it.
fn busy_nodes(router: &mut RouterProcess, swarm: &Swarm) -> (Vec<String>, Vec<String>) {
    let running = router.inject_all(swarm, "[[echo deltas=3]] [[hang]]");
    let waiting = router.inject_all(swarm, "waits");
    for injection in &running {
        router.event_of(injection, "assistant_delta");
    }
    for injection in &waiting {
        router.event_of(injection, "inject_received");
    }
    (running, waiting)
}

/// A swarm of two busy nodes whose job is ended by `end`; returns what was told of the swarm's end, and the end of the
/// first running and the first waiting prompt.
#[track_caller]
fn ended_by(workspace: &SlurmWorkspace, end: impl FnOnce(&TestCluster, &Swarm)) -> (String, Value, Value) {
    let mut router = RouterProcess::daemon(workspace);
    router.follow_all();
    let swarm = router.launch_ready(2);
    let (running, waiting) = busy_nodes(&mut router, &swarm);
    end(workspace.cluster(), &swarm);
    let ends = (wait_for_end(&router, &running[0]), wait_for_end(&router, &waiting[0]));
    let told = wait_for_failure(&router, &swarm);
    let injections = [running, waiting].concat();
    assert_account(workspace, &swarm, &router.lines(), &injections);
    let late = router.ask(json!({"command": "inject", "swarm_id": swarm.swarm_id, "nodes": 0, "content": "late"}));
    assert_eq!(router.refusal(&late)["code"], "swarm_ended");
    workspace.wait_until_no_job_is_left();
    let list = router.asked(json!({"command": "swarm_list"}), "swarm_list");
    assert_eq!(list["swarms"][&swarm.swarm_id]["status"], "failed", "{list}");
    (told["reason"].as_str().unwrap_or_default().to_owned(), ends.0, ends.1)
}

#[track_caller]
fn assert_archived(workspace: &SlurmWorkspace) {
    let left: Vec<_> = workspace
        .mailbox_files()
        .into_keys()
        .filter(|path| path.starts_with(workspace.mailbox("outbox")))
        .collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn p6_p7_a_job_that_reaches_its_time_limit_ends_in_order_and_says_so() {
    let Some(cluster) = requires::cluster() else { return };
    // One minute at most; its workers are told to end a minute before, when Slurm looks for the first time.
    let workspace = SlurmWorkspace::echo(&cluster)
        .looking_every_second()
        .configured(|config| config["cluster"]["slurm"]["partition"] = json!("short"));
    let (reason, running, waiting) = ended_by(&workspace, |_, _| ());
    assert!(
        reason.contains("time limit") && reason.contains("time_limit"),
        "{reason}"
    );
    assert_eq!(running["status"], "interrupted", "{running}");
    assert_eq!(waiting["error"], "worker_exit", "{waiting}");
    assert_archived(&workspace);
}

#[test]
fn p6_p7_a_job_cancelled_by_hand_ends_in_order_and_says_so() {
    let Some(cluster) = requires::cluster() else { return };
    let workspace = SlurmWorkspace::echo(&cluster).looking_every_second();
    let (reason, running, waiting) = ended_by(&workspace, |cluster, swarm| {
        cluster.slurm(&["scancel", &swarm.job_id]);
    });
    assert!(reason.starts_with("CANCELLED"), "{reason}");
    assert_eq!(running["status"], "interrupted", "{running}");
    assert_eq!(waiting["error"], "worker_exit", "{waiting}");
    assert_archived(&workspace);
}

#[test]
fn p6_a_job_whose_processes_are_killed_by_hand_is_told_as_failed() {
    let Some(cluster) = requires::cluster() else { return };
    let workspace = SlurmWorkspace::echo(&cluster).looking_every_second();
    let (reason, running, waiting) = ended_by(&workspace, |cluster, swarm| {
        cluster.slurm(&["scancel", "--full", "--signal=KILL", &swarm.job_id]);
    });
    assert!(
        reason.starts_with("FAILED") || reason.starts_with("CANCELLED"),
        "{reason}"
    );
    // A worker whose keeper was killed a moment before it may have had time to end in order.
    assert!(
        running["status"] == "failed" || running["status"] == "interrupted",
        "{running}"
    );
    assert!(
        waiting["error"] == "node_lost" || waiting["error"] == "worker_exit",
        "{waiting}"
    );
}

/// Cancelled while it waits: no worker was ever there to say anything.
#[test]
fn p6_a_job_cancelled_by_hand_in_the_queue_ends_its_prompts() {
    let Some(cluster) = requires::cluster() else { return };
    let workspace = SlurmWorkspace::echo(&cluster)
        .looking_every_second()
        .configured(|config| config["cluster"]["slurm"]["partition"] = json!("closed"));
    let mut router = RouterProcess::daemon(&workspace);
    router.follow_all();
    let swarm = router.launch(2);
    let injections = router.inject_all(&swarm, "given in the queue");
    cluster.slurm(&["scancel", &swarm.job_id]);
    for injection in &injections {
        assert_eq!(wait_for_end(&router, injection)["type"], "inject_failed");
    }
    let told = wait_for_failure(&router, &swarm);
    assert!(
        told["reason"].as_str().unwrap_or_default().starts_with("CANCELLED"),
        "{told}"
    );
    assert_account(&workspace, &swarm, &router.lines(), &injections);
}

#[test]
fn p6_p11_a_job_that_slurm_has_forgotten_has_vanished_after_a_while_and_not_before() {
    let Some(cluster) = requires::cluster() else { return };
    let workspace = SlurmWorkspace::echo(&cluster).looking_every_second();
    let mut router = RouterProcess::daemon(&workspace);
    router.follow_all();
    let swarm = router.launch_ready(2);
    let running = router.inject_all(&swarm, "[[echo deltas=3]] [[hang]]");
    for injection in &running {
        router.event_of(injection, "assistant_delta");
    }
    let asked = workspace.fakes.calls("scontrol").len();
    for program in ["squeue", "scontrol"] {
        workspace.fakes.set(program, Answer::fails(words::INVALID_JOB));
    }
    // Somebody lives, whatever Slurm says; that is looked at again.
    wait_until("the job to be asked for", || {
        match workspace.fakes.calls("scontrol").len() {
            now if now > asked => Ok(()),
            now => Err(now.to_string()),
        }
    });
    let began = Instant::now();
    let lives = router.inject(&swarm, 0, "[[echo deltas=2]]");
    assert_eq!(status_of(&mut router, &swarm)["status"], "running");
    wait_until("the job to be asked for three times", || {
        match workspace.fakes.calls("scontrol").len() {
            now if now >= asked + 3 => Ok(()),
            now => Err(now.to_string()),
        }
    });
    let told = wait_for_failure(&router, &swarm);
    assert!(began.elapsed() > Duration::from_secs(40), "{:?}", began.elapsed());
    let reason = told["reason"].as_str().unwrap_or_default();
    assert!(
        reason.contains("vanished") && reason.contains("Invalid job id"),
        "{reason}"
    );
    let mut injections = running;
    injections.push(lives);
    assert_account(&workspace, &swarm, &router.lines(), &injections);
}

#[test]
fn p11_a_job_that_slurm_does_not_know_once_is_not_gone() {
    let Some(cluster) = requires::cluster() else { return };
    let workspace = SlurmWorkspace::echo(&cluster).looking_every_second();
    let mut router = RouterProcess::daemon(&workspace);
    router.follow_all();
    let swarm = router.launch_ready(2);
    let asked = workspace.fakes.calls("scontrol").len();
    workspace
        .fakes
        .set("squeue", Answer::fails(words::INVALID_JOB).times(1));
    workspace
        .fakes
        .set("scontrol", Answer::fails(words::INVALID_JOB).times(1));
    wait_until("the job to be asked for again", || {
        match workspace.fakes.calls("scontrol").len() {
            now if now > asked => Ok(()),
            now => Err(now.to_string()),
        }
    });
    let looks = workspace.fakes.calls("squeue").len();
    wait_until("the queue to be looked at", || {
        match workspace.fakes.calls("squeue").len() {
            now if now >= looks + 2 => Ok(()),
            now => Err(now.to_string()),
        }
    });
    assert_eq!(status_of(&mut router, &swarm)["status"], "running");
    let after = router.inject_all(&swarm, "after");
    for injection in &after {
        wait_for_completion(&router, injection);
    }
    router.terminate(&swarm);
    assert_account(&workspace, &swarm, &router.lines(), &after);
}
