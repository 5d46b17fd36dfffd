//! Programs in other languages that keep a router as their child and speak JSON lines with it, as OpenClaw does.

use std::path::{Path, PathBuf};
use std::process::Command;

use codeswarm_tests::cli::run;
use codeswarm_tests::requires;
use codeswarm_tests::router::RouterProcess;
use codeswarm_tests::workspace::Workspace;
use serde_json::{Value, json};

/// Runs a client of `tests/clients` alone and then beside another router, whose client its own router becomes.
fn drive(interpreter: &Path, client: &str, language: &str) {
    let workspace = Workspace::echo();
    let mut other = None;
    for _ in 0..2 {
        let mut command = Command::new(interpreter);
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("clients").join(client);
        command.arg(script).arg(codeswarm()).arg(workspace.config_path());
        workspace.set_environment(&mut command);
        let output = run(command, b"").success();
        let seen: Value = serde_json::from_str(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:#?}"));
        assert_eq!(seen["code"], 0, "{seen}");
        // Two seconds are promised; a machine that is busy with other tests has as many again.
        assert!(seen["leaving_ms"].as_u64().unwrap() < 4000, "{seen}");
        for answer in seen["answers"].as_array().unwrap() {
            let answer = answer.as_str().unwrap();
            assert!(answer.starts_with(&format!("Grüße\u{2028}aus {language}")), "{answer}");
            assert!(answer.ends_with("word19 word20 "), "{answer}");
        }
        assert_eq!(seen["answers"].as_array().unwrap().len(), 2);
        if other.is_none() {
            workspace.wait_until_quiet();
            let mut router = RouterProcess::daemon(&workspace);
            router.ping();
            other = Some(router);
        }
    }
    let mut other = other.unwrap();
    let list = other.asked(json!({"command": "swarm_list"}), "swarm_list");
    let swarms = list["swarms"].as_object().unwrap();
    assert_eq!(swarms.len(), 2, "{list}");
    assert!(swarms.values().all(|swarm| swarm["status"] == "terminated"), "{list}");
}

/// An absolute path: the programs run in the workspace.
fn codeswarm() -> PathBuf {
    std::fs::canonicalize(requires::codeswarm()).unwrap()
}

#[test]
fn node_keeps_a_router_as_its_child() {
    let Some(node) = requires::node() else { return };
    drive(&node, "router_client.mjs", "Node.js");
}

#[test]
fn python_keeps_a_router_as_its_child() {
    let Some(python) = requires::python() else { return };
    drive(&python, "router_client.py", "Python");
}
