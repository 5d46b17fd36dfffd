//! Agents of the real OpenClaw launch a swarm, give it work and read its answers, after `codeswarm openclaw install`.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use codeswarm_tests::chat_model::{ChatModel, ChatRequest, Move};
use codeswarm_tests::cli::cli;
use codeswarm_tests::mcp_client::McpSession;
use codeswarm_tests::openclaw::OpenClaw;
use codeswarm_tests::processes;
use codeswarm_tests::workspace::Workspace;
use codeswarm_tests::{PATIENCE, requires};
use rustix::process::Signal;
use serde_json::{Value, json};

const GREETING: &str = "Hello from a node of the swarm.";

/// What a model that has read the skill does when it is asked to launch nodes and ask them something.
fn launch_and_ask(request: &ChatRequest) -> Move {
    let results = request.results();
    let Some(last) = results.last() else {
        return match request.prompt() {
            prompt if prompt.contains("Launch 4 nodes") => request.call(
                "codeswarm__launch",
                json!({"nodes": 4, "idempotency_key": "launch-hello-1"}),
            ),
            prompt if prompt.contains("not there") => request.call("codeswarm__status", json!({"swarm_id": "sw-none"})),
            prompt if prompt.contains("Which swarms") => request.call("codeswarm__status", json!({})),
            _ => Move::Say("Nothing to do.".into()),
        };
    };
    match last.tool.as_str() {
        "codeswarm__launch" => {
            let swarm = last.value()["swarm_id"].clone();
            let prompt = json!({"swarm_id": swarm, "nodes": "all", "text": GREETING, "idempotency_key": "hello-1"});
            request.call("codeswarm__prompt", prompt)
        }
        "codeswarm__prompt" => request.call("codeswarm__wait", json!({"prompt": "hello-1"})),
        "codeswarm__wait" => {
            let wait = last.value();
            if wait["done"] == true {
                return request.call("codeswarm__output", json!({"prompt": "hello-1", "node": 3}));
            }
            request.call(
                "codeswarm__wait",
                json!({"prompt": "hello-1", "cursor": wait["cursor"]}),
            )
        }
        "codeswarm__output" => Move::Say(summary(&results, last.value()["text"].as_str().unwrap_or_default())),
        // Three failures in a row pause a server of OpenClaw, unless they are results.
        "codeswarm__status" if results.len() < 4 && last.arguments["swarm_id"] == "sw-none" => {
            request.call("codeswarm__status", json!({"swarm_id": "sw-none"}))
        }
        "codeswarm__status" if results.len() == 4 => request.call("codeswarm__status", json!({})),
        "codeswarm__status" => Move::Say(format!("Swarms: {}", last.value()["swarms"])),
        other => Move::Say(format!("unexpected: {other}: {}", last.text)),
    }
}

/// What the user is told: each node's answer as `wait` told it, and one as `output` did.
fn summary(results: &[codeswarm_tests::chat_model::ToolResult], whole: &str) -> String {
    let swarm = results[0].value()["swarm_id"].clone();
    let waits = results.iter().filter(|result| result.tool == "codeswarm__wait");
    let mut answers: Vec<(u64, String)> = waits
        .flat_map(|wait| wait.value()["news"].as_array().cloned().unwrap_or_default())
        .filter_map(|news| Some((news["node"].as_u64()?, news["answer"].as_str()?.to_owned())))
        .collect();
    answers.sort();
    let mut text = format!("All nodes of {} have answered:\n", swarm.as_str().unwrap_or_default());
    for (node, answer) in answers {
        text.push_str(&format!("- node {node}: {answer}\n"));
    }
    text + &format!("Node 3 in full: {whole}")
}

#[test]
fn an_agent_launches_asks_waits_and_reads_and_the_answers_are_in_its_transcript() {
    let Some(installed) = requires::openclaw() else { return };
    let workspace = Workspace::echo();
    let model = ChatModel::playing(launch_and_ask);
    let openclaw = OpenClaw::fresh(&installed, &workspace, &model);
    openclaw.codeswarm(&["openclaw", "install", "--yes"]).success();
    let gateway = openclaw.gateway();
    gateway.ask(
        "main",
        "Launch 4 nodes on this machine and have each of them say hello.",
    );
    let transcript = gateway.transcript("main");
    if let Some(file) = std::env::var_os("CODESWARM_CHAT") {
        std::fs::write(file, json!(transcript).to_string()).unwrap();
    }
    let answer = transcript.last().unwrap()["content"][0]["text"]
        .as_str()
        .unwrap()
        .to_owned();
    for node in 0..4 {
        assert!(answer.contains(&format!("- node {node}: {GREETING}\n")), "{answer}");
    }
    assert!(answer.ends_with(&format!("Node 3 in full: {GREETING}")), "{answer}");
    // The skill is what tells a model that there are such tools at all.
    let system = model.requests()[0].system();
    assert!(system.contains("<name>codeswarm</name>"), "{system}");
    let end = gateway.stop();
    assert!(end.status.success(), "{end:?}");
    let swarms = cli(&workspace, &["list", "--json"]).success().json_lines();
    assert!(
        swarms[0].to_string().contains("\"running\""),
        "the swarm goes on: {swarms:#?}"
    );
}

/// What a process has open that can be shared with others: pipes and sockets.
fn shared_descriptors(pid: i32) -> BTreeSet<String> {
    let entries = std::fs::read_dir(format!("/proc/{pid}/fd"))
        .into_iter()
        .flatten()
        .flatten();
    let links = entries.filter_map(|entry| Some(std::fs::read_link(entry.path()).ok()?.to_string_lossy().into_owned()));
    links
        .filter(|link| link.starts_with("pipe:") || link.starts_with("socket:"))
        .collect()
}

#[test]
fn sessions_share_one_router_errors_pause_nothing_and_it_outlives_the_gateway_of_which_it_holds_nothing() {
    let Some(installed) = requires::openclaw() else { return };
    let workspace = Workspace::echo();
    let model = ChatModel::playing(launch_and_ask);
    let entry = json!({"command": requires::codeswarm(), "args": ["mcp", "--config", workspace.config_path()], "requestTimeoutMs": 300_000});
    let openclaw = OpenClaw::configured(&installed, &workspace, &model, |config| {
        config["mcp"] = json!({"servers": {"codeswarm": entry}});
    });
    let gateway = openclaw.gateway();
    gateway.ask("first", "Launch 4 nodes and have each of them say hello.");
    gateway.ask("second", "Which swarms are there?");
    let seen = gateway.transcript("second").last().unwrap()["content"][0]["text"].clone();
    gateway.ask(
        "second",
        "Ask four times for a swarm that is not there, then which there are.",
    );
    let after_errors = gateway.transcript("second").last().unwrap()["content"][0]["text"].clone();
    let after_errors = after_errors.as_str().unwrap();
    assert!(
        after_errors.starts_with("Swarms: [{"),
        "four errors and the server still answers: {after_errors}"
    );
    let mcp = workspace.processes_named("codeswarm mcp ");
    let routers = workspace.processes_named(" router ");
    assert_eq!((mcp.len(), routers.len()), (2, 1), "{mcp:#?} {routers:#?}");

    // What a child that stays would hold keeps OpenClaw waiting for eight seconds at its end.
    assert!(!shared_descriptors(routers[0].pid).is_empty());
    let gateway_pid = i32::try_from(gateway.pid()).unwrap();
    let family: Vec<i32> = processes::descendants(gateway_pid)
        .iter()
        .map(|process| process.pid)
        .chain([gateway_pid])
        .collect();
    let stays: Vec<i32> = routers
        .iter()
        .chain(&workspace.processes_named("codeswarm worker "))
        .map(|process| process.pid)
        .collect();
    assert_eq!(stays.len(), 5);
    let held: BTreeSet<String> = stays.iter().flat_map(|pid| shared_descriptors(*pid)).collect();
    for pid in family.iter().filter(|pid| !stays.contains(pid)) {
        let common: Vec<_> = shared_descriptors(*pid).intersection(&held).cloned().collect();
        assert!(common.is_empty(), "what stays shares {common:?} with {pid}");
    }
    gateway.signal(Signal::TERM);
    let asked = Instant::now();
    while !workspace.processes_named("codeswarm mcp ").is_empty() {
        assert!(asked.elapsed() < PATIENCE, "the server of a Gateway that ends stays");
        std::thread::sleep(Duration::from_millis(20));
    }
    println!("the last server ended after {:?}", asked.elapsed());
    let end = gateway.wait_for_end();
    println!("then {end:?}");
    // Once OpenClaw 2026.9.6 ended only at its own deadline of 325 s, why is not known (its issue 153899 tells of such waits). Here nothing of
    // codeswarm's is left to wait for, and nothing that stays has anything of the Gateway's.
    assert!(end.status.success() || end.gave_up, "{end:?}");
    assert_eq!(workspace.processes_named(" router "), routers);

    let mut session = McpSession::open(&workspace);
    let swarm = session.call("status", json!({}))["swarms"][0]["swarm_id"]
        .as_str()
        .unwrap()
        .to_owned();
    assert!(seen.as_str().unwrap().contains(&swarm), "both sessions saw it: {seen}");
    session.call(
        "prompt",
        json!({"swarm_id": swarm, "nodes": "all", "text": "still here", "idempotency_key": "p"}),
    );
    let news = session.wait_until_done("p");
    let answers: Vec<&Value> = news.iter().map(|one| &one["answer"]).collect();
    assert_eq!(answers, [&json!("still here"); 4]);
}
