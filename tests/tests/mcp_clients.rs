//! `codeswarm mcp` with real clients of the Model Context Protocol: the protocol's own SDK, Codex and Claude Code, each with the very
//! lines of docs/MCP.md.

use std::path::Path;
use std::process::Command;

use codeswarm_tests::cli::{Output, cli, run};
use codeswarm_tests::messages_server::{MessagesServer, tool_results};
use codeswarm_tests::model_server::{KEY, KEY_VARIABLE, ModelServer};
use codeswarm_tests::requires;
use codeswarm_tests::workspace::Workspace;
use serde_json::{Value, json};

const TOOLS: [&str; 10] = [
    "approve",
    "doctor",
    "interrupt",
    "launch",
    "output",
    "prompt",
    "status",
    "steer",
    "terminate",
    "wait",
];

/// What docs/MCP.md says to do, for the program and the configuration of a test.
fn as_documented(workspace: &Workspace, begins: &str, ends: &str) -> String {
    let page = include_str!("../../docs/MCP.md");
    let from = page
        .find(begins)
        .unwrap_or_else(|| panic!("docs/MCP.md has no {begins:?}"));
    let text = &page[from..];
    let text = &text[..text.find(ends).unwrap()];
    text.replace("/opt/codeswarm/bin/codeswarm", requires::codeswarm().to_str().unwrap())
        .replace("/home/ada/hpc.json", workspace.config_path().to_str().unwrap())
}

/// Ends what a client has launched.
fn end(workspace: &Workspace) {
    let list = cli(workspace, &["list", "--json"]).success().json_lines();
    let swarms = list[0]["swarms"].as_object().unwrap().clone();
    assert_eq!(swarms.len(), 1, "one swarm was launched: {swarms:#?}");
    for swarm in swarms.keys() {
        cli(workspace, &["terminate", swarm]).success();
    }
    cli(workspace, &["shutdown"]).success();
    workspace.wait_until_quiet();
}

#[test]
fn the_protocols_own_sdk_lists_the_tools_and_has_a_swarm_answer() {
    let Some(sdk) = requires::mcp_sdk() else { return };
    let workspace = Workspace::echo();
    let mut command = Command::new("node");
    workspace.set_environment(&mut command);
    let client = Path::new(env!("CARGO_MANIFEST_DIR")).join("clients/mcp_sdk_client.mjs");
    command.arg(client).arg(sdk).arg(requires::codeswarm());
    command.args(["mcp", "--config"]).arg(workspace.config_path());
    let output = run(command, b"").success();
    let told: Value = serde_json::from_str(&output.stdout).unwrap();
    let mut tools: Vec<&str> = told["tools"]
        .as_array()
        .unwrap()
        .iter()
        .map(|tool| tool.as_str().unwrap())
        .collect();
    tools.sort_unstable();
    assert_eq!(tools, TOOLS);
    assert_eq!(told["server"]["name"], "codeswarm", "{told:#}");
    let mut nodes: Vec<u64> = Vec::new();
    for one in told["news"].as_array().unwrap() {
        assert_eq!(
            (&one["status"], &one["answer"]),
            (&json!("completed"), &json!("six times seven"))
        );
        nodes.push(one["node"].as_u64().unwrap());
    }
    nodes.sort_unstable();
    assert_eq!(nodes, [0, 1]);
    assert_eq!(told["output"]["text"], "six times seven");
    assert_eq!(told["refused"]["isError"], true);
    end(&workspace);
}

#[test]
fn codex_lists_the_tools_and_calls_them() {
    let Some(codex) = requires::codex() else { return };
    let (workspace, model) = (Workspace::echo(), ModelServer::start());
    let home = workspace.path().join("home/.codex");
    std::fs::create_dir_all(&home).unwrap();
    let settings = model.codex_config_toml() + &as_documented(&workspace, "[mcp_servers.codeswarm]", "```");
    std::fs::write(home.join("config.toml"), &settings).unwrap();
    let codex = |arguments: &[&str]| -> Output {
        let mut command = Command::new(&codex);
        workspace.set_environment(&mut command);
        command.env(KEY_VARIABLE, KEY).args(arguments);
        run(command, b"")
    };
    let listed = codex(&["mcp", "list"]).success();
    assert!(
        listed.stdout.contains("codeswarm") && listed.stdout.contains("enabled"),
        "{listed:#?}"
    );
    let launch = r#"{"nodes": 1, "prompt": "six times seven", "idempotency_key": "k"}"#;
    let prompt = format!(
        "[[call mcp__codeswarm.launch {launch}]] [[call mcp__codeswarm.wait {{\"prompt\": \"k\"}}]] that is all"
    );
    let output = codex(&["exec", "--skip-git-repo-check", "--json", &prompt]).success();
    let requests = model.requests();
    let namespace = requests[0].body["tools"]
        .as_array()
        .unwrap()
        .iter()
        .find(|tool| tool["name"] == "mcp__codeswarm");
    let mut tools: Vec<&str> = namespace.unwrap()["tools"]
        .as_array()
        .unwrap()
        .iter()
        .map(|tool| tool["name"].as_str().unwrap())
        .collect();
    tools.sort_unstable();
    assert_eq!(tools, TOOLS);
    let results = requests.last().unwrap().tool_outputs();
    assert_eq!(results.len(), 2, "{output:#?}");
    assert!(results[0].text.contains("swarm_id"), "{results:#?}");
    assert!(
        results[1].text.contains("six times seven") && results[1].text.contains("completed"),
        "{results:#?}"
    );
    end(&workspace);
}

#[test]
fn claude_code_lists_the_tools_and_calls_them() {
    let Some(claude) = requires::claude() else { return };
    let workspace = Workspace::echo();
    let launch = json!({"nodes": 1, "prompt": "six times seven", "idempotency_key": "k"});
    let calls = [
        // Claude Code keeps the tools of servers out of the model's sight until it asks for them.
        (
            "ToolSearch",
            json!({"query": "select:mcp__codeswarm__launch,mcp__codeswarm__wait"}),
        ),
        ("mcp__codeswarm__launch", launch),
        ("mcp__codeswarm__wait", json!({"prompt": "k"})),
    ];
    let model = MessagesServer::start(&calls, "It is forty-two.");
    let claude = |arguments: &[&str]| -> Output {
        let mut command = Command::new(&claude);
        workspace.set_environment(&mut command);
        command
            .env("CLAUDE_CONFIG_DIR", workspace.path().join("home/claude"))
            .env("ANTHROPIC_BASE_URL", model.base_url())
            .env("ANTHROPIC_API_KEY", KEY)
            .env("CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC", "1")
            .env("CLAUDE_CODE_MAX_RETRIES", "1")
            .env("DISABLE_AUTOUPDATER", "1")
            .args(arguments);
        run(command, b"")
    };
    let line = as_documented(&workspace, "claude mcp add", "\n");
    let words: Vec<&str> = line.split_whitespace().collect();
    claude(&words[1..]).success();
    let listed = claude(&["mcp", "list"]).success();
    assert!(
        listed.stdout.contains("codeswarm") && listed.stdout.contains("Connected"),
        "{listed:#?}"
    );
    let allowed = as_documented(&workspace, "mcp__codeswarm\"", "\"");
    let output = claude(&[
        "-p",
        "What is six times seven?",
        "--allowedTools",
        &allowed,
        "--output-format",
        "stream-json",
        "--verbose",
    ])
    .success();
    let lines = output.json_lines();
    let begun = lines.iter().find(|line| line["subtype"] == "init").unwrap();
    let tools = begun["tools"].as_array().unwrap();
    let tools = tools
        .iter()
        .filter_map(|tool| tool.as_str()?.strip_prefix("mcp__codeswarm__"));
    let mut tools: Vec<&str> = tools.collect();
    tools.sort_unstable();
    assert_eq!(tools, TOOLS);
    assert_eq!(begun["mcp_servers"][0]["status"], "connected");
    let requests = model.requests();
    let results = requests.iter().map(tool_results).max_by_key(Vec::len).unwrap();
    assert_eq!(results.len(), 3, "{results:#?}");
    assert!(results[1].contains("swarm_id"), "{results:#?}");
    assert!(
        results[2].contains("six times seven") && results[2].contains("completed"),
        "{results:#?}"
    );
    assert_eq!(lines.last().unwrap()["result"], "It is forty-two.");
    end(&workspace);
}
