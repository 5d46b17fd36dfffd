//! `codeswarm openclaw install|doctor|uninstall` with the real OpenClaw.

use codeswarm_tests::chat_model::{ChatModel, Move};
use codeswarm_tests::cli::{self, Output};
use codeswarm_tests::openclaw::OpenClaw;
use codeswarm_tests::requires;
use codeswarm_tests::workspace::Workspace;
use serde_json::{Value, json};

fn silent() -> ChatModel {
    ChatModel::playing(|_| Move::Say("Nothing to do.".into()))
}

/// What the configuration says but for OpenClaw's own stamp of when it was last touched.
fn said(openclaw: &OpenClaw<'_>) -> Value {
    let mut config = openclaw.config();
    config.as_object_mut().unwrap().remove("meta");
    config
}

fn parts(output: &Output) -> Vec<String> {
    let line = &output.json_lines()[0];
    let changes = line["changes"].as_array().unwrap().iter();
    changes
        .map(|change| change["part"].as_str().unwrap().to_owned())
        .collect()
}

fn health(output: &Output, check: &str) -> String {
    let lines = output.json_lines();
    let line = lines.iter().find(|line| line["name"] == check);
    line.unwrap_or_else(|| panic!("no check {check}: {lines:#?}"))["status"]
        .as_str()
        .unwrap()
        .to_owned()
}

#[test]
fn install_makes_the_probe_green_on_a_fresh_openclaw_and_uninstall_leaves_it_as_it_was() {
    let Some(installed) = requires::openclaw() else { return };
    let (workspace, model) = (Workspace::echo(), silent());
    let openclaw = OpenClaw::fresh(&installed, &workspace, &model);
    let before = said(&openclaw);
    let skill = openclaw.state_dir().join("skills/codeswarm/SKILL.md");

    let sick = openclaw.codeswarm(&["openclaw", "doctor", "--json"]);
    assert_eq!(
        (sick.code(), health(&sick, "entry"), health(&sick, "skill")),
        (1, "failure".into(), "failure".into())
    );
    let shown = openclaw.codeswarm(&["openclaw", "install", "--dry-run"]).success();
    assert!(shown.stdout.contains("+   \"requestTimeoutMs\": 300000"), "{shown:#?}");
    assert_eq!(
        (said(&openclaw), skill.exists()),
        (before.clone(), false),
        "nothing was changed yet"
    );

    let made = openclaw
        .codeswarm(&["openclaw", "install", "--yes", "--json"])
        .success();
    assert_eq!(parts(&made), ["entry", "skill"]);
    let entry = &openclaw.config()["mcp"]["servers"]["codeswarm"];
    assert_eq!(entry["command"], json!(requires::codeswarm()));
    assert_eq!(entry["args"], json!(["mcp", "--config", workspace.config_path()]));
    assert_eq!(entry["env"]["TMPDIR"], json!(workspace.path().join("tmp")));
    let probed = openclaw.run_json(&["mcp", "doctor", "codeswarm", "--probe", "--json"]);
    assert_eq!(
        (&probed["ok"], &probed["servers"][0]["issues"]),
        (&json!(true), &json!([])),
        "{probed:#}"
    );
    let healthy = openclaw.codeswarm(&["openclaw", "doctor", "--json"]).success();
    for check in ["openclaw", "entry", "skill", "probe"] {
        assert_eq!(health(&healthy, check), "ok", "{healthy:#?}");
    }
    let undone = openclaw
        .codeswarm(&["openclaw", "uninstall", "--yes", "--json"])
        .success();
    assert_eq!(parts(&undone), ["entry", "skill"]);
    assert_eq!(said(&openclaw), before);
    assert!(!skill.parent().unwrap().exists());
}

#[test]
fn what_a_person_changed_since_stays_and_what_was_there_before_comes_back() {
    let Some(installed) = requires::openclaw() else { return };
    let (workspace, model) = (Workspace::echo(), silent());
    let by_hand = json!({"command": "/opt/by/hand", "args": ["mcp"]});
    let openclaw = OpenClaw::configured(&installed, &workspace, &model, |config| {
        config["mcp"] = json!({"servers": {"codeswarm": by_hand, "other": {"command": "/bin/true"}}});
    });
    let before = said(&openclaw);
    let skill = openclaw.state_dir().join("skills/codeswarm/SKILL.md");
    let refused = openclaw.codeswarm(&["openclaw", "install"]);
    assert_eq!(refused.code(), 2, "nobody can be asked: {refused:#?}");
    assert_eq!((said(&openclaw), skill.exists()), (before.clone(), false));
    let made = openclaw.codeswarm(&["openclaw", "install", "--yes"]).success();
    assert!(made.stdout.contains("-   \"command\": \"/opt/by/hand\""), "{made:#?}");
    std::fs::write(&skill, "mine now\n").unwrap();
    let doctor = openclaw.codeswarm(&["openclaw", "doctor", "--json"]);
    assert_ne!(health(&doctor, "skill"), "ok", "{doctor:#?}");
    let undone = openclaw
        .codeswarm(&["openclaw", "uninstall", "--yes", "--json"])
        .success();
    assert_eq!(parts(&undone), ["entry"]);
    assert_eq!(undone.json_lines()[0]["kept"], json!(["skill"]));
    assert_eq!(said(&openclaw), before);
    assert_eq!(std::fs::read_to_string(&skill).unwrap(), "mine now\n");
}

#[test]
fn without_openclaw_there_is_one_sentence_and_a_code_of_its_own() {
    let workspace = Workspace::echo();
    for command in ["install", "doctor", "uninstall"] {
        let mut process = workspace.command(&["openclaw", command, "--json"]);
        process.env("PATH", workspace.path());
        let output = cli::run(process, b"");
        assert_eq!((output.code(), output.stdout.as_str()), (72, ""));
        let error: Value = serde_json::from_str(&output.stderr).unwrap();
        assert_eq!(error["exit_code"], 72);
        assert!(error["advice"].as_str().unwrap().contains("--openclaw"), "{error}");
    }
}
