//! Swarms that are ended at the worst moments: each prompt gets its one end, each record is heard, and no job stays.

use std::time::Duration;

use codeswarm_tests::requires;
use codeswarm_tests::router::{RouterProcess, Swarm};
use codeswarm_tests::schema::assert_flat_events;
use codeswarm_tests::slurm_workspace::SlurmWorkspace;
use codeswarm_tests::stream::assert_every_record_once;
use codeswarm_tests::workspace::wait_until;
use serde_json::{Value, json};

fn ends_of<'a>(events: &'a [Value], injection: &str) -> Vec<&'a Value> {
    let is_end = |event: &&Value| event["type"] == "turn_complete" || event["type"] == "inject_failed";
    let of = |event: &&Value| event["injection_id"] == injection;
    events.iter().filter(is_end).filter(of).collect()
}

/// What must hold of a swarm that has ended.
#[track_caller]
fn assert_ended_whole(workspace: &SlurmWorkspace, router: &mut RouterProcess, swarm: &Swarm, injections: &[String]) {
    for injection in injections {
        let events = router.lines();
        assert_eq!(
            ends_of(&events, injection).len(),
            1,
            "{:#?}",
            router.events_of(injection)
        );
    }
    wait_until("the job to be gone", || match workspace.jobs() {
        jobs if jobs.contains(&swarm.job_id) => Err(format!("{jobs:?}")),
        _ => Ok(()),
    });
    let mark = router.mark();
    router.asked(
        json!({"command": "subscribe", "swarm_id": swarm.swarm_id, "since": 0}),
        "caught_up",
    );
    let copy = router.lines().split_off(mark);
    for node in 0..swarm.nodes {
        let name = format!("{}_{node:02}.jsonl", swarm.job_id);
        let outbox = workspace.mailbox("outbox").join(&name);
        assert!(
            std::fs::metadata(&outbox).map_or(0, |file| file.len()) == 0,
            "{name} was not archived"
        );
        if workspace.mailbox("archive").join(&name).exists() {
            let records = workspace.records(&swarm.job_id, node);
            assert_every_record_once(&copy, &records, &swarm.job_id, node);
        }
    }
}

#[test]
fn p4_p6_a_swarm_can_be_ended_at_any_moment_of_its_start() {
    let Some(cluster) = requires::cluster() else { return };
    let workspace = SlurmWorkspace::echo(&cluster);
    let mut router = RouterProcess::daemon(&workspace);
    for delay in (0..12).map(|step| Duration::from_millis(step * 60)) {
        let command = json!({"command": "swarm_launch", "nodes": 2, "system_prompt": "hello"});
        let request = router.ask(command);
        let launched = router.answer(&request, "swarm_launched");
        let text = |name: &str| launched[name].as_str().unwrap().to_owned();
        let (swarm_id, job_id) = (text("swarm_id"), text("job_id"));
        let swarm = Swarm {
            swarm_id,
            job_id,
            nodes: 2,
        };
        let injections = router.inject_all(&swarm, "[[echo deltas=50 pace_ms=20]]");
        // Not for something to happen: each round is to meet another moment.
        std::thread::sleep(delay);
        router.terminate(&swarm);
        println!(
            "{delay:?}: {:?}",
            ends_of(&router.lines(), &injections[0]).first().map(|end| &end["type"])
        );
        assert_ended_whole(&workspace, &mut router, &swarm, &injections);
    }
    assert_flat_events(&router.lines());
}

#[test]
fn p7_running_turns_and_waiting_prompts_are_told_how_they_ended() {
    let Some(cluster) = requires::cluster() else { return };
    let workspace = SlurmWorkspace::echo(&cluster);
    let mut router = RouterProcess::daemon(&workspace);
    let swarm = router.launch_ready(2);
    let running = router.inject_all(&swarm, "[[hang]]");
    for injection in &running {
        router.event_of(injection, "turn_started");
    }
    let waiting = router.inject_all(&swarm, "never started");
    router.terminate(&swarm);
    for injection in &running {
        assert_eq!(router.event_of(injection, "turn_complete")["status"], "interrupted");
    }
    for injection in &waiting {
        assert_eq!(router.event_of(injection, "inject_failed")["error"], "worker_exit");
    }
    assert_ended_whole(&workspace, &mut router, &swarm, &[running, waiting].concat());
}

#[test]
fn p6_a_job_that_somebody_else_cancels_is_told_as_cancelled() {
    let Some(cluster) = requires::cluster() else { return };
    let workspace = SlurmWorkspace::echo(&cluster);
    let mut router = RouterProcess::daemon(&workspace);
    let swarm = router.launch_ready(2);
    let injections = router.inject_all(&swarm, "[[hang]]");
    for injection in &injections {
        router.event_of(injection, "turn_started");
    }
    cluster.slurm(&["scancel", &swarm.job_id]);
    let end = router.wait_for("its end", |event| event["type"] == "swarm_terminated");
    assert_eq!(end["status"], "failed", "{end}");
    assert!(
        end["reason"]
            .as_str()
            .is_some_and(|reason| reason.starts_with("CANCELLED")),
        "{end}"
    );
    for injection in &injections {
        assert_eq!(router.event_of(injection, "turn_complete")["status"], "interrupted");
    }
    assert_ended_whole(&workspace, &mut router, &swarm, &injections);
}

#[test]
fn a_swarm_that_reaches_its_time_limit_ends_in_order_and_says_why() {
    let Some(cluster) = requires::cluster() else { return };
    let workspace = SlurmWorkspace::echo(&cluster);
    let mut router = RouterProcess::daemon(&workspace);
    // SIGTERM comes sixty seconds before the end, which with one minute is at once.
    let command =
        json!({"command": "swarm_launch", "nodes": 1, "provider_params": {"partition": "short", "time_limit": "1"}});
    let launched = router.asked(command, "swarm_launched");
    let end = router.wait_for("its end", |event| event["type"] == "swarm_terminated");
    assert_eq!(
        (&end["swarm_id"], &end["status"]),
        (&launched["swarm_id"], &json!("failed")),
        "{end}"
    );
    let reason = end["reason"].as_str().unwrap();
    assert!(reason.contains("time limit"), "{reason}");
}

#[test]
fn several_swarms_live_side_by_side_and_end_one_by_one() {
    let Some(cluster) = requires::cluster() else { return };
    let workspace = SlurmWorkspace::echo(&cluster);
    let mut router = RouterProcess::daemon(&workspace);
    let requests: Vec<_> = (0..4)
        .map(|_| router.ask(json!({"command": "swarm_launch", "nodes": 2})))
        .collect();
    let swarms: Vec<_> = requests
        .iter()
        .map(|request| {
            let launched = router.answer(request, "swarm_launched");
            let text = |name: &str| launched[name].as_str().unwrap().to_owned();
            let (swarm_id, job_id) = (text("swarm_id"), text("job_id"));
            Swarm {
                swarm_id,
                job_id,
                nodes: 2,
            }
        })
        .collect();
    let prompts: Vec<_> = swarms
        .iter()
        .map(|swarm| router.inject_all(swarm, &swarm.job_id))
        .collect();
    for (swarm, prompts) in swarms.iter().zip(&prompts) {
        for injection in prompts {
            let answer = router.event_of(injection, "assistant");
            assert_eq!(
                (&answer["content"], &answer["swarm_id"]),
                (&json!(swarm.job_id), &json!(swarm.swarm_id))
            );
        }
    }
    for (index, swarm) in swarms.iter().enumerate() {
        router.terminate(swarm);
        for other in &swarms[index + 1..] {
            assert_eq!(router.turn(other, 1, "still here")["status"], "completed");
        }
    }
    wait_until("all jobs to be gone", || match workspace.jobs() {
        jobs if jobs.is_empty() => Ok(()),
        jobs => Err(format!("{jobs:?}")),
    });
}
