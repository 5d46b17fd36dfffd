//! `codeswarm doctor` for a swarm on this machine.

use std::os::unix::fs::PermissionsExt;

use codeswarm_tests::checkup::Checkup;
use codeswarm_tests::model_server::ModelServer;
use codeswarm_tests::requires;
use codeswarm_tests::workspace::Workspace;
use serde_json::json;

#[test]
fn what_makes_sense_without_a_cluster_is_checked() {
    let workspace = Workspace::echo();
    let checkup = Checkup::of(&workspace, &[]);
    checkup.is_healthy();
    assert!(checkup.names("ok").contains(&"workspace"), "{checkup:#?}");
    workspace.wait_until_quiet();
}

#[test]
fn the_real_codex_is_found() {
    let Some(codex) = requires::codex() else { return };
    let model = ModelServer::start();
    let checkup = Checkup::of(&Workspace::codex(&codex, &model), &[]);
    checkup.is_healthy();
    checkup.says("agent", &["codex-cli 0."]);
}

#[test]
fn a_missing_variable_and_a_workspace_of_others_are_named() {
    let workspace = Workspace::echo().configured(|config| config["agent"]["api_key_env"] = json!("NOBODY_SET_THIS"));
    Checkup::of(&workspace, &[]).fails_at("credentials", &["NOBODY_SET_THIS", "router"]);

    let workspace = Workspace::echo();
    let root = workspace.path().join("shared/codeswarm");
    std::fs::create_dir(&root).unwrap();
    std::fs::set_permissions(&root, std::fs::Permissions::from_mode(0o777)).unwrap();
    Checkup::of(&workspace, &[]).fails_at("workspace", &["mode 777", "chmod 700"]);
}
