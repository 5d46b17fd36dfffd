//! The automation that `codeswarm openclaw install --automation` makes wakes OpenClaw's main session, also for what happened while its
//! Gateway was down.

use codeswarm_tests::chat_model::{ChatModel, ChatRequest, Move};
use codeswarm_tests::mcp_client::McpSession;
use codeswarm_tests::openclaw::{OPENCLAW_PATIENCE, OpenClaw};
use codeswarm_tests::requires;
use codeswarm_tests::workspace::Workspace;
use serde_json::json;

/// Whether the model is told of the end of a prompt's turn.
fn tells(request: &ChatRequest, prompt: &str) -> bool {
    let text = request.body["messages"].to_string();
    text.contains("codeswarm events:") && text.contains("turn_complete") && text.contains(&format!("\\\"{prompt}\\\""))
}

#[test]
fn the_main_session_is_told_of_turns_that_end_also_of_those_while_the_gateway_was_down() {
    let Some(installed) = requires::openclaw() else { return };
    let workspace = Workspace::echo();
    let model = ChatModel::playing(|_| Move::Say("Noted.".into()));
    let openclaw = OpenClaw::fresh(&installed, &workspace, &model);
    let without = openclaw.codeswarm(&["openclaw", "install", "--automation", "--yes"]);
    assert_eq!(without.code(), 75, "the Gateway keeps automations: {without:#?}");
    let gateway = openclaw.gateway();
    openclaw
        .codeswarm(&["openclaw", "install", "--automation", "--yes"])
        .success();

    let mut session = McpSession::open(&workspace);
    let swarm = session.launch(1, "l");
    let mut ask = |key: &str| {
        session.call(
            "prompt",
            json!({"swarm_id": swarm, "nodes": "all", "text": "hello", "idempotency_key": key}),
        );
        session.wait_until_done(key);
    };
    ask("while-it-runs");
    model.wait_for_request("the first end", OPENCLAW_PATIENCE, |request| {
        tells(request, "while-it-runs")
    });
    gateway.stop();
    assert_eq!(workspace.processes_named("--consumer openclaw"), []);
    ask("while-it-is-down");
    let gateway = openclaw.gateway();
    model.wait_for_request("the second end", OPENCLAW_PATIENCE, |request| {
        tells(request, "while-it-is-down")
    });
    let undone = openclaw
        .codeswarm(&["openclaw", "uninstall", "--yes", "--json"])
        .success();
    assert_eq!(
        undone.json_lines()[0]["changes"].as_array().unwrap().len(),
        3,
        "{undone:#?}"
    );
    let left = openclaw.run_json(&["automations", "list", "--json"]);
    assert!(!left.to_string().contains("codeswarm events"), "{left:#}");
    gateway.stop();
}
