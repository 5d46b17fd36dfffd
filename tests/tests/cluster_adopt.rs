//! Jobs that this router did not launch, addressed by their numbers.

use codeswarm_tests::cli::cli;
use codeswarm_tests::requires;
use codeswarm_tests::router::{RouterProcess, Swarm};
use codeswarm_tests::schema::assert_flat_events;
use codeswarm_tests::slurm_workspace::SlurmWorkspace;
use codeswarm_tests::stream::assert_every_record_once;
use serde_json::{Value, json};

/// A router on the same mailbox that has a state of its own: another person's machine, or one that was set up anew.
fn stranger(workspace: &SlurmWorkspace) -> RouterProcess {
    let mut config: Value = serde_json::from_slice(&std::fs::read(workspace.config_path()).unwrap()).unwrap();
    config["router"]["state_dir"] = json!(workspace.path().join("other-state"));
    let file = workspace.path().join("other.json");
    std::fs::write(&file, config.to_string()).unwrap();
    let mut command = workspace.bare_command();
    command.arg("router").arg("--config").arg(file).arg("--daemon");
    RouterProcess::start(command)
}

/// A swarm whose router has been shut down for good.
fn orphaned(workspace: &SlurmWorkspace, nodes: u32) -> Swarm {
    let mut router = RouterProcess::daemon(workspace);
    let swarm = router.launch_ready(nodes);
    router.turn(&swarm, 0, "before");
    router.leave();
    workspace.login.wait_until_quiet();
    swarm
}

#[test]
fn an_inject_by_job_id_is_enough() {
    let Some(cluster) = requires::cluster() else { return };
    let workspace = SlurmWorkspace::echo(&cluster);
    let swarm = orphaned(&workspace, 2);
    let mut router = stranger(&workspace);
    let line = format!(
        r#"{{"action":"inject","job_id":"{}","node_id":1,"content":"Hello"}}"#,
        swarm.job_id
    );
    router.send_raw(format!("{line}\n").as_bytes());
    let usage = router.wait_for("its tokens", |event| event["type"] == "usage" && event["node_id"] == 1);
    let life = router.events_of(usage["injection_id"].as_str().unwrap());
    let kinds: Vec<_> = life.iter().filter_map(|event| event["type"].as_str()).collect();
    let expected = [
        "inject_ack",
        "inject_delivered",
        "inject_received",
        "turn_started",
        "assistant_delta",
        "assistant",
        "turn_complete",
        "usage",
    ];
    assert_eq!(kinds, expected, "{life:#?}");
    for event in &life {
        assert_eq!(event["job_id"], swarm.job_id.as_str(), "{event}");
        assert_eq!(
            event["swarm_id"],
            swarm.swarm_id.as_str(),
            "the job's own name for its swarm: {event}"
        );
        assert!(event["seq"].is_u64(), "{event}");
    }
    router.terminate(&swarm);
    assert_flat_events(&router.lines());
}

#[test]
fn an_adopted_swarm_is_one_like_any_other() {
    let Some(cluster) = requires::cluster() else { return };
    let workspace = SlurmWorkspace::echo(&cluster);
    let swarm = orphaned(&workspace, 2);
    let mut router = stranger(&workspace);
    let adopt = json!({"command": "swarm_adopt", "job_id": swarm.job_id});
    let adopted = router.asked(adopt.clone(), "swarm_adopted");
    assert_eq!(
        (&adopted["swarm_id"], &adopted["node_count"], &adopted["provider"]),
        (&json!(swarm.swarm_id), &json!(2), &json!("slurm"))
    );
    router.wait_for("the swarm to run", |event| {
        event["type"] == "swarm_status" && event["status"] == "running"
    });
    let subscribe = json!({"command": "subscribe", "swarm_id": swarm.swarm_id, "since": 0});
    let mark = router.mark();
    router.asked(subscribe, "caught_up");
    // All that was said before is there, in its order.
    let copy = router.lines().split_off(mark);
    for node in 0..2 {
        assert_every_record_once(&copy, &workspace.records(&swarm.job_id, node), &swarm.job_id, node);
    }
    let status = router.asked(
        json!({"command": "swarm_status", "swarm_id": swarm.swarm_id}),
        "swarm_status",
    );
    let nodes = status["nodes"].as_array().unwrap();
    assert!(
        nodes
            .iter()
            .all(|node| node["state"] == "idle" && node["host"].is_string()),
        "{status:#}"
    );
    assert_eq!(nodes[0]["turns"], 1, "{status:#}");
    let again = router.asked(adopt, "swarm_adopted");
    assert_eq!(again["status"], "running");
    for node in 0..2 {
        assert_eq!(router.turn(&swarm, node, "hello")["status"], "completed");
    }
    router.terminate(&swarm);
    for node in 0..2 {
        assert_eq!(
            workspace.records(&swarm.job_id, node).last().unwrap()["type"],
            "worker_exit"
        );
    }
    assert_flat_events(&router.lines());
}

#[test]
fn p12_jobs_that_are_none_of_ours_are_refused_with_a_clear_word() {
    let Some(cluster) = requires::cluster() else { return };
    let workspace = SlurmWorkspace::echo(&cluster);
    let other = cluster.submit(workspace.path(), &["--output=/dev/null"], "#!/bin/sh\nexec sleep 600\n");
    let name = ["--output=/dev/null", "--job-name=codeswarm"];
    let ended = cluster.submit(workspace.path(), &name, "#!/bin/sh\n");
    cluster.wait_for_state(&other, "RUNNING");
    cluster.wait_for_state(&ended, "COMPLETED");
    let mut router = RouterProcess::daemon(&workspace);
    for (job, words) in [
        ("999999", "Slurm does not know the job"),
        ("not-a-job", "not a job of Slurm"),
        (ended.as_str(), "is over"),
        (other.as_str(), "is no job of codeswarm: its name is"),
    ] {
        for command in [
            json!({"command": "swarm_adopt", "job_id": job}),
            json!({"action": "inject", "job_id": job, "node_id": 0, "content": "Hello"}),
        ] {
            let request = router.ask(command);
            let refusal = router.refusal(&request);
            assert_eq!(
                (&refusal["code"], &refusal["field"]),
                (&json!("unknown_job"), &json!("job_id")),
                "{refusal}"
            );
            let reason = refusal["reason"].as_str().unwrap();
            assert!(reason.contains(words), "{job}: {reason}");
        }
    }
    assert_eq!(
        router.asked(json!({"command": "swarm_list"}), "swarm_list")["swarms"],
        json!({})
    );
}

#[test]
fn a_mailbox_that_another_router_serves_is_not_taken_from_it() {
    let Some(cluster) = requires::cluster() else { return };
    let workspace = SlurmWorkspace::echo(&cluster);
    let mut router = RouterProcess::daemon(&workspace);
    let swarm = router.launch_ready(1);
    let mut other = stranger(&workspace);
    other.wait_for("who holds it", |event| {
        let reason = event["reason"].as_str().unwrap_or_default();
        event["type"] == "link" && event["up"] == false && reason.contains("is held by codeswarm follower (process ")
    });
    assert_eq!(router.turn(&swarm, 0, "undisturbed")["status"], "completed");
    // As soon as it is free the other one has it.
    router.leave();
    let inject = json!({"command": "inject", "job_id": swarm.job_id, "node_id": 0, "content": "yours now"});
    let ack = other.asked(inject, "inject_ack");
    other.event_of(ack["injection_id"].as_str().unwrap(), "usage");
}

#[test]
fn a_person_adopts_a_job_by_its_number() {
    let Some(cluster) = requires::cluster() else { return };
    let workspace = SlurmWorkspace::echo(&cluster);
    let swarm = orphaned(&workspace, 1);
    std::fs::rename(workspace.state_dir(), workspace.path().join("lost-state")).unwrap();
    let output = cli(&workspace, &["adopt", &swarm.job_id]).success();
    assert_eq!(output.stdout.trim(), swarm.swarm_id);
    let output = cli(&workspace, &["inject", &swarm.swarm_id, "--prompt", "hello"]).success();
    assert!(output.stdout.contains("hello"), "{output:#?}");
    let output = cli(&workspace, &["adopt", "999999"]);
    assert_eq!(output.code(), 1, "{output:#?}");
    assert!(
        output.stderr.contains("999999") || output.stderr.contains("does not know the job"),
        "{output:#?}"
    );
}
