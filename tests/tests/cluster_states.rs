//! What a real Slurm seldom says: states and answers by fakes. Its own clear word about a job ends a swarm with advice; all
//! else ends nothing (P6, P11). And it is asked seldom.

use std::time::{Duration, Instant};

use codeswarm_tests::account::{wait_for_completion, wait_for_end};
use codeswarm_tests::fakes::{Answer, words};
use codeswarm_tests::requires;
use codeswarm_tests::router::{RouterProcess, Swarm};
use codeswarm_tests::slurm_processes::{status_of, wait_for_failure};
use codeswarm_tests::slurm_workspace::SlurmWorkspace;
use codeswarm_tests::workspace::wait_until;
use serde_json::json;

/// Waits until a program was asked so many times more.
#[track_caller]
fn wait_for_calls(workspace: &SlurmWorkspace, program: &str, more: usize) {
    let before = workspace.fakes.calls(program).len();
    wait_until(&format!("{more} more calls of {program}"), || {
        match workspace.fakes.calls(program).len() {
            now if now >= before + more => Ok(()),
            now => Err(format!("{now} after {before}")),
        }
    });
}

/// squeue and scontrol say a state of their own for this job and nothing else than usual for others.
fn say_state(workspace: &SlurmWorkspace, state: &str) {
    let queue = Answer::edited(r"^([0-9]+)[|][A-Z]+[|]", &format!(r"\1|{state}|"));
    let shown = Answer::edited("JobState=[A-Z]+ Reason=[^ ]*", &format!("JobState={state} Reason=None"));
    workspace.fakes.set("scontrol", shown);
    workspace.fakes.set("squeue", queue);
}

#[test]
fn p6_each_end_that_slurm_tells_ends_the_swarm_with_its_word_and_advice() {
    let Some(cluster) = requires::cluster() else { return };
    let workspace = SlurmWorkspace::echo(&cluster).looking_every_second();
    let mut router = RouterProcess::daemon(&workspace);
    router.follow_all();
    for (state, advice) in [
        ("PREEMPTED", "higher priority"),
        ("NODE_FAIL", "launch again"),
        ("OUT_OF_MEMORY", "--mem"),
        ("BOOT_FAIL", "booted"),
        ("TIMEOUT", "cluster.slurm.time_limit"),
        ("DEADLINE", "--deadline"),
    ] {
        let swarm = router.launch_ready(1);
        let running = router.inject(&swarm, 0, "[[echo deltas=3]] [[hang]]");
        let waits = router.inject(&swarm, 0, "waits");
        router.event_of(&waits, "inject_received");
        router.event_of(&running, "assistant_delta");
        say_state(&workspace, state);
        let end = wait_for_end(&router, &running);
        assert_eq!(end["error"]["class"], "worker_died", "{state}: {end}");
        assert_eq!(wait_for_end(&router, &waits)["error"], "node_lost", "{state}");
        let told = wait_for_failure(&router, &swarm);
        let reason = told["reason"].as_str().unwrap_or_default();
        assert!(
            reason.starts_with(state) && reason.contains(advice),
            "{state}: {reason}"
        );
        for program in ["squeue", "scontrol"] {
            workspace.fakes.pass(program);
        }
    }
}

/// Nothing is concluded from any of these, the swarm works on meanwhile, and trouble is told at most once.
#[track_caller]
fn concludes_nothing(workspace: &SlurmWorkspace, router: &mut RouterProcess, swarm: &Swarm, troubles: usize) {
    let mark = router.mark();
    wait_for_calls(workspace, "squeue", 3);
    assert_eq!(status_of(router, swarm)["status"], "running");
    let prompt = router.inject(swarm, 0, "meanwhile");
    wait_for_completion(router, &prompt);
    let told = router.lines().split_off(mark);
    let about_it: Vec<_> = told
        .iter()
        .filter(|event| event["type"] == "router_trouble" || event["type"] == "swarm_terminated")
        .collect();
    assert_eq!(about_it.len(), troubles, "{about_it:#?}");
    workspace.fakes.pass("squeue");
    workspace.fakes.pass("scontrol");
    wait_for_calls(workspace, "squeue", 2);
}

#[test]
fn p11_an_answer_of_slurm_that_is_empty_odd_or_none_ends_nothing() {
    let Some(cluster) = requires::cluster() else { return };
    let workspace = SlurmWorkspace::echo(&cluster).looking_every_second();
    let mut router = RouterProcess::daemon(&workspace);
    router.follow_all();
    let swarm = router.launch_ready(2);
    // A swarm that rests, or whose nodes all speak, is looked at seldom.
    let silent = router.inject(&swarm, 1, "[[echo deltas=1]] [[hang]]");
    router.event_of(&silent, "assistant_delta");
    let both = |answer: &dyn Fn() -> Answer| {
        workspace.fakes.set("scontrol", answer());
        workspace.fakes.set("squeue", answer());
    };
    workspace.fakes.set("squeue", Answer::nothing());
    concludes_nothing(&workspace, &mut router, &swarm, 0);
    both(&Answer::nothing);
    concludes_nothing(&workspace, &mut router, &swarm, 1);
    both(&|| Answer::out("Slurm is being upgraded tonight. \u{1b}[31m|a|b|c\n\n|||||||||\nJobId=\n"));
    concludes_nothing(&workspace, &mut router, &swarm, 1);
    both(&|| Answer::fails(words::NO_CONTROLLER));
    concludes_nothing(&workspace, &mut router, &swarm, 1);
    both(&|| Answer::late(Duration::from_secs(2)));
    concludes_nothing(&workspace, &mut router, &swarm, 0);
    both(&|| Answer::out(&"x".repeat(2 << 20)));
    concludes_nothing(&workspace, &mut router, &swarm, 1);
    say_state(&workspace, "TELEPORTED");
    concludes_nothing(&workspace, &mut router, &swarm, 0);
    router.terminate(&swarm);
    workspace.wait_until_no_job_is_left();
}

#[test]
fn squeue_is_asked_at_most_once_in_each_interval_and_not_while_nodes_speak() {
    let Some(cluster) = requires::cluster() else { return };
    let workspace =
        SlurmWorkspace::echo(&cluster).configured(|config| config["cluster"]["slurm"]["poll_seconds"] = json!(2));
    let mut router = RouterProcess::daemon(&workspace);
    router.follow_all();
    let swarm = router.launch_ready(2);
    let stuck = router.inject_all(&swarm, "[[echo deltas=1]] [[slow seconds=9]]");
    for injection in &stuck {
        router.event_of(injection, "assistant_delta");
    }
    let (began, before) = (Instant::now(), workspace.fakes.calls("squeue").len());
    for injection in &stuck {
        wait_for_completion(&router, injection);
    }
    let asked = workspace.fakes.calls("squeue").len() - before;
    let intervals = usize::try_from(began.elapsed().as_secs() / 2).unwrap_or(usize::MAX);
    assert!((1..=intervals + 1).contains(&asked), "{asked} in {:?}", began.elapsed());

    let speaking = router.inject_all(&swarm, "[[echo deltas=800 pace_ms=10]]");
    for injection in &speaking {
        router.event_of(injection, "assistant_delta");
    }
    let before = workspace.fakes.calls("squeue").len();
    for injection in &speaking {
        wait_for_completion(&router, injection);
    }
    let asked = workspace.fakes.calls("squeue").len() - before;
    assert_eq!(asked, 0, "eight seconds in which both nodes spoke");
    router.terminate(&swarm);
}
