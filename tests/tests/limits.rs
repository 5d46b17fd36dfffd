//! What is long, late or too much: deadlines, queues, very long prompts and answers; and what a launch may bring along.

use codeswarm_tests::processes::peak_memory;
use codeswarm_tests::router::{RouterProcess, Swarm};
use codeswarm_tests::schema::assert_flat_events;
use codeswarm_tests::stream::assert_every_record_once;
use codeswarm_tests::workspace::{Workspace, wait_until};
use serde_json::json;

#[test]
fn a_turn_that_passes_its_deadline_fails_and_the_next_one_works() {
    let workspace = Workspace::echo().configured(|config| config["agent"]["turn_timeout_seconds"] = json!(1));
    let mut router = RouterProcess::daemon(&workspace);
    let swarm = router.launch_ready(1);
    let end = router.turn(&swarm, 0, "[[hang]]");
    assert_eq!(
        (&end["status"], &end["error"]["class"]),
        (&json!("failed"), &json!("timeout")),
        "{end}"
    );
    assert_eq!(router.turn(&swarm, 0, "and on")["status"], "completed");
    assert_flat_events(&router.lines());
}

#[test]
fn more_prompts_than_a_worker_takes_are_told_so() {
    let workspace = Workspace::echo().configured(|config| config["worker"]["queue_limit"] = json!(2));
    let mut router = RouterProcess::daemon(&workspace);
    let swarm = router.launch_ready(1);
    let running = router.inject(&swarm, 0, "[[echo deltas=1]] [[hang]]");
    router.event_of(&running, "assistant_delta");
    let waiting: Vec<_> = (0..4)
        .map(|n| router.inject(&swarm, 0, &format!("number {n}")))
        .collect();
    for refused in &waiting[2..] {
        assert_eq!(router.event_of(refused, "inject_failed")["error"], "queue_full");
    }
    router.asked(
        json!({"command": "interrupt", "swarm_id": swarm.swarm_id, "nodes": 0}),
        "interrupt_ack",
    );
    for taken in &waiting[..2] {
        assert_eq!(router.event_of(taken, "turn_complete")["status"], "completed");
    }
    assert_eq!(router.turn(&swarm, 0, "there is room again")["status"], "completed");
    assert_flat_events(&router.lines());
}

#[test]
fn a_launch_brings_its_agents_md_and_raw_messages_where_they_are_wanted() {
    let workspace = Workspace::echo().configured(|config| config["agent"]["raw_events"] = json!(true));
    let mut router = RouterProcess::daemon(&workspace);
    let launch = json!({"command": "swarm_launch", "nodes": 2, "system_prompt": "You count.", "agents_md_content": "# Rules\n\nBe brief. é\n"});
    let launched = router.asked(launch, "swarm_launched");
    let request = launched["request_id"].as_str().unwrap().to_owned();
    let job_id = launched["job_id"].as_str().unwrap();
    for node in 0..2 {
        router.wait_for("the first prompt's end", |event| {
            event["request_id"] == request.as_str() && event["node_id"] == node && event["type"] == "usage"
        });
        let rules = std::fs::read_to_string(workspace.node_dir(job_id, node).join("AGENTS.md")).unwrap();
        assert_eq!(rules, "# Rules\n\nBe brief. é\n");
    }
    let raw = router
        .lines()
        .into_iter()
        .find(|event| event["type"] == "agent_raw")
        .unwrap();
    assert_eq!(raw["payload"]["prompt"], "You count.");
    assert_flat_events(&router.lines());
}

#[test]
fn a_very_long_answer_arrives_whole_also_through_a_relay() {
    const BYTES: usize = 20_000_000;
    let workspace = Workspace::echo();
    let mut router = RouterProcess::daemon(&workspace);
    let swarm = router.launch_ready(1);
    let mut relaying = RouterProcess::daemon(&workspace);
    relaying.follow_all();
    let injection = router.inject(&swarm, 0, &format!("[[long bytes={BYTES}]]"));
    for client in [&router, &relaying] {
        let answer = client.event_of(&injection, "assistant");
        assert_eq!(answer["content"].as_str().unwrap().len(), BYTES);
        client.event_of(&injection, "usage");
        let deltas = client.events_of(&injection);
        let deltas = deltas.iter().filter(|event| event["type"] == "assistant_delta");
        let said: usize = deltas.map(|event| event["content"].as_str().unwrap().len()).sum();
        assert_eq!(said, BYTES);
    }
    let peak = peak_memory(router.pid()) >> 20;
    assert!(peak < 256, "{peak} MiB");
}

#[test]
fn a_long_prompt_for_many_nodes_is_not_held_many_times() {
    const NODES: u32 = 24;
    let workspace = Workspace::echo();
    let mut router = RouterProcess::daemon(&workspace);
    let swarm = router.launch_ready(NODES);
    // The longest prompt that is taken, to the byte; what the agent says of it is short.
    let (begin, end) = ("[[hang ", "]]");
    let prompt = format!("{begin}{}{end}", "x".repeat((8 << 20) - begin.len() - end.len()));
    let injections = router.inject_all(&swarm, &prompt);
    for injection in &injections {
        router.event_of(injection, "turn_started");
    }
    let peak = peak_memory(router.pid()) >> 20;
    assert!(peak < 216, "{peak} MiB for {} MiB of inboxes", 8 * NODES);
    let all = json!({"command": "interrupt", "swarm_id": swarm.swarm_id, "nodes": "all"});
    router.asked(all, "interrupt_ack");
    for injection in &injections {
        assert_eq!(router.event_of(injection, "turn_complete")["status"], "interrupted");
    }
}

/// The router's own files: a state that is no state is not overwritten, and is named.
#[test]
fn a_damaged_state_is_named_and_left_as_it_is() {
    let workspace = Workspace::echo();
    let swarm = Swarm::left_running(&workspace, 1);
    let state = workspace.state_dir().join("state.sqlite");
    for left_over in ["state.sqlite-wal", "state.sqlite-shm"] {
        let _ = std::fs::remove_file(workspace.state_dir().join(left_over));
    }
    let good = std::fs::read(&state).unwrap();
    std::fs::write(&state, b"this is no database at all, only some words ".repeat(100)).unwrap();
    let mut router = RouterProcess::daemon(&workspace);
    let status = router.wait_exit();
    let stderr = router.stderr();
    assert!(
        !status.success() && stderr.contains(state.to_str().unwrap()),
        "{status}: {stderr}"
    );
    assert!(router.lines().is_empty());
    assert!(std::fs::read(&state).unwrap().starts_with(b"this is no database"));
    // Put back from a copy, it goes on.
    std::fs::write(&state, good).unwrap();
    let mut router = RouterProcess::daemon(&workspace);
    assert_eq!(router.turn(&swarm, 0, "still there")["status"], "completed");
    router.wait_for("the turn's last record", |event| event["type"] == "usage");
    let mut reader = RouterProcess::spawn(&workspace, &[]);
    let request = reader.ask(json!({"command": "subscribe", "swarm_id": swarm.swarm_id, "since": 0}));
    reader.answer(&request, "caught_up");
    assert_every_record_once(&reader.lines(), &workspace.records(&swarm.job_id, 0), &swarm.job_id, 0);
    router.terminate(&swarm);
    router.leave();
    reader.leave();
    wait_until("nothing runs", || match workspace.processes() {
        left if left.is_empty() => Ok(()),
        left => Err(format!("{left:?}")),
    });
}
