//! The bundle in `integrations/openclaw`: one skill and one server in the layouts of Agent Plugins and of Claude Code.

use std::path::{Path, PathBuf};

use codeswarm_tests::chat_model::{ChatModel, Move};
use codeswarm_tests::openclaw::OpenClaw;
use codeswarm_tests::requires;
use codeswarm_tests::workspace::Workspace;
use serde_json::{Value, json};

fn bundle() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap()
        .join("integrations/openclaw")
}

fn read(file: &str) -> Value {
    let text = std::fs::read_to_string(bundle().join(file)).unwrap();
    serde_json::from_str(&text).unwrap()
}

#[test]
fn both_layouts_say_the_same_and_the_version_is_this_one() {
    let (agent_plugins, claude) = (read("plugin.json"), read(".claude-plugin/plugin.json"));
    for key in ["name", "version", "description"] {
        assert!(agent_plugins[key].is_string(), "{key}");
        assert_eq!(agent_plugins[key], claude[key], "{key}");
    }
    assert_eq!(agent_plugins["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(read("mcp.json")["mcpServers"], read(".mcp.json")["mcpServers"]);
    assert_eq!(read("mcp.json")["mcpServers"]["codeswarm"]["args"], json!(["mcp"]));
    assert!(bundle().join("skills/codeswarm/SKILL.md").is_file());
}

#[test]
fn openclaw_takes_the_bundle_with_its_skill_and_its_server() {
    let Some(installed) = requires::openclaw() else { return };
    let workspace = Workspace::echo();
    let model = ChatModel::playing(|_| Move::Say("Nothing to do.".into()));
    let openclaw = OpenClaw::fresh(&installed, &workspace, &model);
    let folder = bundle();
    let link = [
        "plugins",
        "install",
        "--link",
        folder.to_str().unwrap(),
        "--force",
        "--accept-capabilities",
    ];
    openclaw.run(&link).success();
    let plugin = openclaw.run_json(&["plugins", "inspect", "codeswarm", "--json"])["plugin"].clone();
    assert_eq!(
        (&plugin["format"], &plugin["enabled"]),
        (&json!("bundle"), &json!(true)),
        "{plugin:#}"
    );
    assert_eq!(
        plugin["bundleCapabilities"],
        json!(["skills", "mcpServers"]),
        "{plugin:#}"
    );
    let skill = openclaw.run_json(&["skills", "info", "codeswarm", "--json"]);
    assert_eq!(
        (&skill["name"], &skill["disabled"]),
        (&json!("codeswarm"), &json!(false)),
        "{skill:#}"
    );
}
