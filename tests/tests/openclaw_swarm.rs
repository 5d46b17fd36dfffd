//! An agent of the real OpenClaw launches a swarm, gives it work and reads its answers.

use codeswarm_tests::chat_model::{ChatModel, ChatRequest, Move};
use codeswarm_tests::openclaw::OpenClaw;
use codeswarm_tests::requires;
use codeswarm_tests::workspace::Workspace;
use serde_json::json;

/// What a model that has read the skill does when it is asked to launch nodes and ask them something.
fn launch_and_ask(request: &ChatRequest) -> Move {
    let results = request.results();
    let Some(last) = results.last() else {
        return match request.prompt().contains("launch 2 nodes") {
            true => request.call("codeswarm__launch", json!({"nodes": 2, "idempotency_key": "launch-1"})),
            false => Move::Say("Nothing to do.".into()),
        };
    };
    let launched = || results[0].value()["swarm_id"].clone();
    match last.tool.as_str() {
        "codeswarm__launch" => request.call(
            "codeswarm__prompt",
            json!({"swarm_id": launched(), "nodes": "all", "text": "six times seven", "idempotency_key": "ask-1"}),
        ),
        "codeswarm__prompt" => request.call("codeswarm__wait", json!({"prompt": "ask-1"})),
        "codeswarm__wait" => {
            let wait = last.value();
            if wait["done"] == true {
                return request.call("codeswarm__output", json!({"prompt": "ask-1", "node": 1}));
            }
            request.call("codeswarm__wait", json!({"prompt": "ask-1", "cursor": wait["cursor"]}))
        }
        "codeswarm__output" => Move::Say(format!("Node 1 answered: {}", last.value()["text"])),
        other => Move::Say(format!("unexpected: {other}: {}", last.text)),
    }
}

#[test]
fn an_agent_launches_asks_waits_and_reads_and_the_answer_is_in_its_transcript() {
    let Some(installed) = requires::openclaw() else { return };
    let workspace = Workspace::echo();
    let model = ChatModel::playing(launch_and_ask);
    let openclaw = OpenClaw::fresh(&installed, &workspace, &model);
    let entry = json!({"command": requires::codeswarm(), "args": ["mcp", "--config", workspace.config_path()], "requestTimeoutMs": 300_000});
    openclaw.run(&["mcp", "set", "codeswarm", &entry.to_string()]).success();
    let gateway = openclaw.gateway();
    let answer = gateway.ask("main", "launch 2 nodes and ask them six times seven");
    assert!(answer.to_string().contains("Node 1 answered"), "{answer:#}");
    let transcript = gateway.transcript("main");
    let last = transcript.last().unwrap();
    assert_eq!(
        last["content"][0]["text"], "Node 1 answered: \"six times seven\"",
        "{last:#}"
    );
    let called: Vec<String> = model
        .requests()
        .last()
        .unwrap()
        .results()
        .into_iter()
        .map(|result| result.tool)
        .collect();
    assert_eq!(called.first().unwrap(), "codeswarm__launch", "{called:?}");
    let (status, _) = gateway.stop();
    assert!(status.success(), "{status}");
}
