//! What a person gets wrong about Codex, and what they are told: within seconds, in words that say what to do, and with an
//! end for every prompt. And what they get right: the example configuration with Codex as npm installs it.

use std::path::Path;

use codeswarm_tests::codex_swarm::CodexSwarm;
use codeswarm_tests::model_server::{KEY, KEY_VARIABLE, ModelServer, PROVIDER, answer_to};
use codeswarm_tests::requires;
use codeswarm_tests::router::RouterProcess;
use codeswarm_tests::schema::assert_flat_events;
use codeswarm_tests::workspace::Workspace;
use serde_json::{Value, json};

/// Launches a swarm whose agent cannot come up, with a first prompt; answers with what the prompt was told.
fn refused(program: &Path, change: impl FnOnce(&mut Value)) -> String {
    let model = ModelServer::start();
    let workspace = Workspace::codex(program, &model).configured(|config| change(&mut config["agent"]));
    let mut router = RouterProcess::daemon(&workspace);
    let request = router.ask(json!({"command": "swarm_launch", "nodes": 1, "system_prompt": "hello"}));
    let launched = router.answer(&request, "swarm_launched");
    let failed = router.answer(&request, "inject_failed");
    assert_eq!(failed["error"], "agent_unusable", "{failed}");
    let of_swarm = |kind: &'static str| {
        router.wait_for(kind, |event| {
            event["type"] == kind && event["swarm_id"] == launched["swarm_id"]
        })
    };
    // The launcher hears the agent's end and the swarm's, without a subscription.
    assert!(of_swarm("agent_exit")["restart_in_ms"].is_null());
    assert_eq!(of_swarm("worker_exit")["reason"], "agent_unusable");
    assert_eq!(of_swarm("swarm_terminated")["status"], "failed");
    assert_flat_events(&router.lines());
    assert!(model.requests().is_empty());
    failed["reason"].as_str().unwrap().to_owned()
}

#[test]
fn an_agent_that_cannot_come_up_fails_its_swarm_and_says_why() {
    let Some(program) = requires::codex() else { return };
    let refused = |said: &[&str], change: &dyn Fn(&mut Value)| {
        let reason = refused(&program, |agent| change(agent));
        for part in said {
            assert!(reason.contains(part), "{part} is missing: {reason}");
        }
    };
    refused(
        &["invalid type: integer `5`", "agent.config.model_reasoning_effort"],
        &|agent| {
            agent["config"]["model_reasoning_effort"] = json!(5);
        },
    );
    refused(
        &[
            "unknown configuration field",
            "agent.config.model_providers.mock.bas_url",
        ],
        &|agent| {
            agent["config"][format!("model_providers.{PROVIDER}.bas_url")] = json!("x");
        },
    );
    refused(&["Model provider `nope` not found"], &|agent| {
        agent["model_provider"] = json!("nope")
    });
    refused(&["/no/such/codex", "No such file"], &|agent| {
        agent["command"] = json!(["/no/such/codex"])
    });
    refused(&["codex refused to start", "cannot do that"], &|agent| {
        agent["command"] = json!(["/bin/sh", "-c", "echo cannot do that >&2; exit 3"]);
    });
    refused(&["agent.env.TOKEN", "${NOT_SET}", "export NOT_SET"], &|agent| {
        agent["env"]["TOKEN"] = json!("${NOT_SET}");
    });
    refused(&["agent.api_key_env names NOT_SET", "export NOT_SET"], &|agent| {
        agent["api_key_env"] = json!("NOT_SET");
    });
}

#[test]
fn a_key_that_is_missing_or_wrong_fails_the_turn_as_auth() {
    let Some(program) = requires::codex() else { return };
    let variable = format!("model_providers.{PROVIDER}.env_key");
    let mut codex = CodexSwarm::configured(&program, 1, |config| {
        config["agent"]["config"][&variable] = json!("NOT_SET_EITHER");
    });
    let turn = codex.turn("hello");
    assert_eq!((turn.status(), turn.class()), ("failed", "auth"), "{}", turn.end);
    assert!(turn.message().contains("NOT_SET_EITHER"), "{}", turn.end);

    let mut codex = CodexSwarm::configured(&program, 1, |config| {
        let agent = &mut config["agent"];
        agent["config"][&variable] = json!("WRONG_KEY");
        agent["env"]["WRONG_KEY"] = json!("not the server's");
    });
    let turn = codex.turn("hello");
    assert_eq!((turn.status(), turn.class()), ("failed", "auth"), "{}", turn.end);
    assert_eq!(turn.end["error"]["http_status"], 401);
}

/// The example file, with Codex on the PATH as npm puts it there and the key in the environment; only the folders and the
/// model server are the test's own.
#[test]
fn the_example_configuration_works_with_codex_from_npm_and_a_key_of_the_environment() {
    let Some(program) = requires::codex() else { return };
    let model = ModelServer::start();
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../configs/local-codex.json");
    let example: Value = serde_json::from_slice(&std::fs::read(example).unwrap()).unwrap();
    let workspace = Workspace::codex(&program, &model).configured(|config| {
        let mut agent = example["agent"].clone();
        assert_eq!(
            (&agent["command"], &agent["api_key_env"]),
            (&json!(["codex"]), &json!("OPENAI_API_KEY"))
        );
        agent["model_provider"] = json!(PROVIDER);
        agent["config"] = json!({format!("model_providers.{PROVIDER}"): {
            "name": "loopback model server",
            "base_url": model.base_url(),
            "wire_api": "responses",
            // As the built-in provider: with the key that Codex was logged in with.
            "requires_openai_auth": true,
        }});
        config["agent"] = agent;
    });
    let script = npm_script(&program);
    let path = std::env::join_paths(
        std::iter::once(script.parent().unwrap().to_owned())
            .chain(std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default())),
    );
    let mut command = workspace.command(&["router", "--daemon"]);
    command
        .env("PATH", path.unwrap())
        .env("OPENAI_API_KEY", KEY)
        .env_remove(KEY_VARIABLE);
    let mut router = RouterProcess::start(command);
    let swarm = router.launch_ready(1);
    let injection = router.inject(&swarm, 0, "[[exec touch made.txt; env]] hello");
    let end = router.event_of(&injection, "turn_complete");
    assert_eq!(
        (&end["status"], &end["usage"]["total_tokens"]),
        (&json!("completed"), &json!(2100)),
        "{end}"
    );
    assert_eq!(
        router.event_of(&injection, "assistant")["content"],
        answer_to("hello").as_str()
    );
    assert!(workspace.node_dir(&swarm.job_id, 0).join("made.txt").exists());

    // The native program was started, not npm's script around it; and the key is nowhere but in its memory.
    let started = workspace.processes_named("app-server --listen");
    assert_eq!(started.len(), 1, "{started:?}");
    assert!(
        started[0].command_line.starts_with(program.to_str().unwrap()),
        "{started:?}"
    );
    let printed = router.event_of(&injection, "command_completed")["output"]
        .as_str()
        .unwrap()
        .to_owned();
    assert!(printed.contains("PATH=") && !printed.contains(KEY), "{printed}");
    assert_eq!(files_with(workspace.path(), KEY), Vec::<String>::new());
    router.terminate(&swarm);
}

/// Where npm puts its `codex`: `node_modules/.bin`, above the native program.
fn npm_script(program: &Path) -> std::path::PathBuf {
    let modules = program.ancestors().find(|folder| folder.ends_with("node_modules"));
    let script = modules
        .map(|modules| modules.join(".bin/codex"))
        .filter(|script| script.exists());
    script.unwrap_or_else(|| panic!("{} was not installed by npm, as tests/run does it", program.display()))
}

/// The files under a folder that hold a text.
fn files_with(folder: &Path, text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).into_iter().flatten().flatten() {
            let (path, kind) = (entry.path(), entry.file_type().unwrap());
            if kind.is_dir() {
                folders.push(path);
            } else if kind.is_file() {
                let content = std::fs::read(&path).unwrap_or_default();
                if content.windows(text.len()).any(|part| part == text.as_bytes()) {
                    found.push(path.display().to_string());
                }
            }
        }
    }
    found
}
