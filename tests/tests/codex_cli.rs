//! The real Codex from a person's terminal: one command, or commands piped into a router.

use codeswarm_tests::cli::{cli, cli_with_stdin};
use codeswarm_tests::codex_swarm::CodexSwarm;
use codeswarm_tests::model_server::{ModelServer, answer_to};
use codeswarm_tests::requires;
use codeswarm_tests::schema::assert_flat_events;
use codeswarm_tests::workspace::{Workspace, wait_until};
use serde_json::{Value, json};

#[test]
fn run_launches_streams_terminates_and_exits_0() {
    let Some(program) = requires::codex() else { return };
    let model = ModelServer::start();
    let workspace = Workspace::codex(&program, &model);
    let output = cli(
        &workspace,
        &["run", "--nodes", "2", "--prompt", "[[exec touch made.txt; pwd]] hello"],
    )
    .success();
    for node in 0..2 {
        assert!(output.stdout.contains(&format!("node {node}]")), "{output:#?}");
    }
    assert_eq!(output.stdout.matches(&answer_to("hello")).count(), 2, "{output:#?}");
    // Each in its own folder, and each told its tokens.
    let runs = workspace.path().join("shared/codeswarm/runs");
    let job = std::fs::read_dir(runs).unwrap().next().unwrap().unwrap();
    for node in ["node_00", "node_01"] {
        let folder = job.path().join(node);
        assert!(output.stdout.contains(folder.to_str().unwrap()), "{output:#?}");
        assert!(folder.join("made.txt").exists());
    }
    assert_eq!(output.stdout.matches("2100 tokens").count(), 2, "{output:#?}");
    // The agents are gone when the swarm is; a worker then only removes their homes.
    assert!(workspace.processes_named("app-server").is_empty());
    wait_until("the workers are gone", || match workspace.processes_named(" worker ") {
        left if left.is_empty() => Ok(()),
        left => Err(format!("{left:?}")),
    });
}

#[test]
fn run_exits_1_when_a_turn_failed_and_says_what_to_do() {
    let Some(program) = requires::codex() else { return };
    let model = ModelServer::start();
    let workspace = Workspace::codex(&program, &model);
    let output = cli(
        &workspace,
        &[
            "run",
            "--nodes",
            "1",
            "--prompt",
            "[[http 429 code=usage_limit_reached]]",
        ],
    );
    assert_eq!(output.code(), 1, "{output:#?}");
    assert!(output.stdout.contains("the turn failed"), "{output:#?}");

    let workspace = Workspace::codex(&program, &model).configured(|config| {
        config["agent"]["command"] = json!(["/no/such/codex"]);
    });
    let output = cli(&workspace, &["run", "--nodes", "1", "--prompt", "hello"]);
    assert_eq!(output.code(), 1, "{output:#?}");
    let said = format!("{}{}", output.stdout, output.stderr);
    assert!(said.contains("cannot start /no/such/codex"), "{output:#?}");
}

/// The shortest session of the protocol's page, with the real agent.
#[test]
fn a_command_piped_into_a_router_brings_the_whole_life_of_its_prompt() {
    let Some(program) = requires::codex() else { return };
    let mut codex = CodexSwarm::launch(&program, 1);
    codex.router.leave();
    let command = json!({"action": "inject", "job_id": codex.swarm.job_id, "node_id": 0,
        "content": "[[exec echo changed > made.txt]] Hello"});
    let output = cli_with_stdin(&codex.workspace, &["router"], format!("{command}\n").as_bytes()).success();
    let events = output.json_lines();
    assert_flat_events(&events);
    let kinds: Vec<_> = events.iter().filter_map(|event| event["type"].as_str()).collect();
    for kind in [
        "inject_ack",
        "inject_delivered",
        "turn_started",
        "command_started",
        "command_completed",
        "assistant_delta",
        "assistant",
        "turn_complete",
        "usage",
    ] {
        assert!(kinds.contains(&kind), "{kind} is missing: {kinds:?}");
    }
    let named = |event: &Value| {
        event["job_id"] == codex.swarm.job_id.as_str()
            && event["node_id"] == 0
            && event["injection_id"].is_string()
            && event["seq"].is_u64()
    };
    assert!(events.iter().all(named), "{events:#?}");
    assert_eq!(events.last().unwrap()["total_tokens"], 2100);
    assert_eq!(
        std::fs::read_to_string(codex.work().join("made.txt")).unwrap(),
        "changed\n"
    );
}
