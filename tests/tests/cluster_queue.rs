//! A launch that has to wait in Slurm's queue, one that will not wait, and one that is asked for twice.

use codeswarm_tests::cli::cli;
use codeswarm_tests::cluster::{NODES, TestCluster};
use codeswarm_tests::requires;
use codeswarm_tests::router::{RouterProcess, Swarm};
use codeswarm_tests::schema::assert_flat_events;
use codeswarm_tests::slurm_workspace::SlurmWorkspace;
use codeswarm_tests::workspace::wait_until;
use serde_json::{Value, json};

/// A workspace on a cluster whose nodes are all taken by another job.
struct Full {
    workspace: SlurmWorkspace,
    /// The job that has the nodes.
    other: String,
}

impl Full {
    fn new(cluster: &TestCluster) -> Self {
        cluster.wait_for_idle_nodes(NODES);
        let workspace = SlurmWorkspace::echo(cluster);
        let all = format!("--nodes={NODES}");
        let options = [all.as_str(), "--exclusive", "--output=/dev/null"];
        let other = cluster.submit(workspace.path(), &options, "#!/bin/sh\nexec sleep 600\n");
        cluster.wait_for_state(&other, "RUNNING");
        Self { workspace, other }
    }

    fn make_room(&self) {
        self.workspace
            .cluster()
            .slurm(&["scancel", "--signal=KILL", "--full", &self.other]);
    }
}

fn status(router: &mut RouterProcess, swarm: &Swarm) -> Value {
    router.asked(
        json!({"command": "swarm_status", "swarm_id": swarm.swarm_id}),
        "swarm_status",
    )
}

fn launch(router: &mut RouterProcess, nodes: u32) -> (Value, Swarm) {
    let prompt = "the first prompt";
    let command = json!({"command": "swarm_launch", "nodes": nodes, "system_prompt": prompt});
    let launched = router.asked(command, "swarm_launched");
    let text = |name: &str| launched[name].as_str().unwrap().to_owned();
    let (swarm_id, job_id) = (text("swarm_id"), text("job_id"));
    (
        launched,
        Swarm {
            swarm_id,
            job_id,
            nodes,
        },
    )
}

#[test]
fn p1_prompts_for_a_swarm_that_waits_in_the_queue_are_kept_and_run_when_its_turn_comes() {
    let Some(cluster) = requires::cluster() else { return };
    let cluster = cluster.alone();
    let full = Full::new(&cluster);
    let workspace = &full.workspace;
    let mut router = RouterProcess::daemon(workspace);
    let (launched, swarm) = launch(&mut router, 2);
    assert_eq!(
        (&launched["status"], &launched["slurm_state"]),
        (&json!("pending"), &json!("PENDING"))
    );
    // Absent when Slurm has not looked at the job yet.
    let word = launched["slurm_reason"].as_str();
    assert!(word.is_none_or(|word| word == "Resources"), "{launched}");
    let told = router.wait_for("why it waits", |event| {
        event["type"] == "swarm_status"
            && event["reason"]
                .as_str()
                .is_some_and(|reason| reason.contains("Resources"))
    });
    assert_eq!(told["status"], "pending");
    let seen = status(&mut router, &swarm);
    let reason = seen["reason"].as_str().unwrap();
    assert_eq!(
        reason,
        "the job waits in the queue (Resources): it is next, and its nodes are in use"
    );
    for node in seen["nodes"].as_array().unwrap() {
        assert_eq!(
            (&node["state"], &node["open_injections"]),
            (&json!("pending"), &json!(1)),
            "{node}"
        );
    }

    let injections = router.inject_all(&swarm, "asked while it waits");
    for (node, injection) in (0..).zip(&injections) {
        router.event_of(injection, "inject_delivered");
        let inbox = workspace
            .mailbox("inbox")
            .join(format!("{}_{node:02}.jsonl", swarm.job_id));
        let inbox = std::fs::read_to_string(inbox).unwrap();
        let prompts: Vec<_> = inbox
            .lines()
            .map(|line| serde_json::from_str::<Value>(line).unwrap())
            .collect();
        assert_eq!(prompts.len(), 2, "{inbox}");
        assert_eq!(prompts[1]["content"], "asked while it waits");
        assert_eq!(prompts[1]["injection_id"], injection.as_str());
    }
    // A router that comes later finds the swarm as it is, and so does the job.
    router.leave();
    let mut router = RouterProcess::daemon(workspace);
    router.asked(
        json!({"command": "subscribe", "swarm_id": swarm.swarm_id, "since": 0}),
        "caught_up",
    );
    assert_eq!(status(&mut router, &swarm)["slurm_state"], "PENDING");
    full.make_room();
    router.wait_for("the swarm to run", |event| {
        event["type"] == "swarm_status" && event["status"] == "running"
    });
    for injection in &injections {
        assert_eq!(router.event_of(injection, "turn_complete")["status"], "completed");
        let starts = router
            .events_of(injection)
            .iter()
            .filter(|event| event["type"] == "turn_started")
            .count();
        assert_eq!(starts, 1);
    }
    let seen = status(&mut router, &swarm);
    assert_eq!(
        (&seen["slurm_state"], &seen["reason"]),
        (&json!("RUNNING"), &Value::Null),
        "{seen:#}"
    );
    assert!(
        seen["nodes"].as_array().unwrap().iter().all(|node| node["turns"] == 2),
        "{seen:#}"
    );
    router.terminate(&swarm);
    assert_flat_events(&router.lines());
}

#[test]
fn p6_the_prompts_of_a_swarm_that_is_ended_while_it_waits_get_their_ends() {
    let Some(cluster) = requires::cluster() else { return };
    let cluster = cluster.alone();
    let full = Full::new(&cluster);
    let workspace = &full.workspace;
    let mut router = RouterProcess::daemon(workspace);
    let (_, swarm) = launch(&mut router, 2);
    let injections = router.inject_all(&swarm, "never to be run");
    router.event_of(&injections[1], "inject_delivered");
    router.terminate(&swarm);
    for injection in &injections {
        let failed = router.event_of(injection, "inject_failed");
        assert_eq!(failed["error"], "worker_exit", "{failed}");
        assert!(
            failed["reason"].as_str().is_some_and(|reason| reason.contains("ended")),
            "{failed}"
        );
    }
    let events = router.lines();
    let ends = events.iter().filter(|event| event["type"] == "inject_failed").count();
    assert_eq!(ends, 4, "two first prompts and two that were asked");
    assert_flat_events(&events);
    wait_until("the job is cancelled", || match cluster.state(&swarm.job_id) {
        state if state == "CANCELLED" => Ok(()),
        state => Err(state),
    });
    // It was asked for, so nothing is to be explained and nothing to be done.
    let seen = status(&mut router, &swarm);
    assert_eq!(
        (&seen["status"], &seen["reason"]),
        (&json!("terminated"), &Value::Null),
        "{seen:#}"
    );
}

#[test]
fn a_launch_that_will_not_wait_is_refused_while_no_node_is_idle() {
    let Some(cluster) = requires::cluster() else { return };
    let cluster = cluster.alone();
    let full = Full::new(&cluster);
    let workspace = &full.workspace;
    let mut router = RouterProcess::daemon(workspace);
    let command = json!({"command": "swarm_launch", "nodes": 2, "immediate": true});
    let request = router.ask(command.clone());
    let refusal = router.refusal(&request);
    assert_eq!(
        (&refusal["code"], &refusal["field"]),
        (&json!("launch_failed"), &json!("immediate"))
    );
    let reason = refusal["reason"].as_str().unwrap();
    assert!(
        reason.contains("0 nodes of partition compute are idle and 2 were asked for"),
        "{reason}"
    );
    let output = cli(workspace, &["launch", "--nodes", "1", "--immediate"]);
    assert_eq!(output.code(), 1, "{output:#?}");
    assert!(output.stderr.contains("launch without `immediate`"), "{output:#?}");
    // Nothing was submitted, and nothing is known.
    assert_eq!(workspace.jobs(), [full.other.as_str()]);
    assert_eq!(
        router.asked(json!({"command": "swarm_list"}), "swarm_list")["swarms"],
        json!({})
    );

    full.make_room();
    cluster.wait_for_idle_nodes(NODES);
    router.asked(command, "swarm_launched");
}

#[test]
fn a_launch_asked_for_twice_is_one_job_also_after_the_router_was_restarted() {
    let Some(cluster) = requires::cluster() else { return };
    let workspace = SlurmWorkspace::echo(&cluster);
    let mut router = RouterProcess::daemon(&workspace);
    let command = json!({"command": "swarm_launch", "request_id": "once", "nodes": 1, "system_prompt": "hello"});
    // Both before the first is answered.
    router.send_raw(format!("{command}\n{command}\n").as_bytes());
    let launched = router.answer("once", "swarm_launched");
    let injection = router.wait_for("its first turn", |event| event["type"] == "usage")["injection_id"].clone();
    router.ping();
    let jobs = |router: &RouterProcess| {
        let lines = router.lines();
        let mut jobs: Vec<_> = lines.iter().filter(|event| event["type"] == "swarm_launched").collect();
        jobs.dedup_by_key(|event| event["job_id"].clone());
        jobs.iter()
            .map(|event| event["job_id"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    let job = launched["job_id"].as_str().unwrap();
    assert_eq!(jobs(&router), [job]);
    router.kill();

    let mut router = RouterProcess::daemon(&workspace);
    router.send(&command);
    let again = router.answer("once", "swarm_launched");
    assert_eq!(
        (&again["swarm_id"], &again["job_id"]),
        (&launched["swarm_id"], &launched["job_id"])
    );
    // The first prompt's life comes again, as far as it is.
    let end = router.wait_for("usage", |event| {
        event["type"] == "usage" && event["request_id"] == "once"
    });
    assert_eq!(end["injection_id"], injection);
    let mut other = command;
    other["nodes"] = json!(2);
    router.send(&other);
    assert_eq!(router.refusal("once")["code"], "request_id_reused");
    assert_eq!(workspace.jobs(), [job]);
    assert_eq!(workspace.fakes.calls("sbatch").len(), 1);
}
