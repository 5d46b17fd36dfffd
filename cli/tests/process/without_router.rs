//! What goes wrong before a router is reached, and what needs none.

use std::os::unix::fs::PermissionsExt;

use crate::support::User;
use serde_json::Value;

#[test]
fn a_wrong_configuration_is_told_with_its_place_and_ends_with_78() {
    let user = User::new();
    std::fs::write(user.config(), "{\n  \"agnet\": {}\n}").unwrap();
    let ended = user.run(&["list"]);
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(78), ""));
    assert!(
        ended.stderr.contains("config.json:2:3") && ended.stderr.contains("agent"),
        "{}",
        ended.stderr
    );

    let as_json = user.run(&["list", "--json"]);
    let failure: Value = serde_json::from_str(&as_json.stderr).unwrap();
    assert_eq!((&failure["type"], &failure["exit_code"]), (&"error".into(), &78.into()));
}

#[test]
fn a_command_line_that_is_wrong_ends_with_2() {
    let user = User::new();
    for args in [
        &["run", "--nodes", "0", "--prompt", "x"][..],
        &["run", "--prompt", " "],
        &["inject", "s1", "--prompt-file", "/nonexistent"],
        &["inject", "../../etc", "--prompt", "x"],
        &["explode"],
    ] {
        let ended = user.run(args);
        assert_eq!(
            (ended.code, ended.stdout.as_str()),
            (Some(2), ""),
            "{args:?}: {ended:?}"
        );
        assert!(!ended.stderr.is_empty());
    }
    let nothing_on_stdin = user.run(&["inject", "s1"]);
    assert_eq!(nothing_on_stdin.code, Some(2));
    assert!(
        nothing_on_stdin.stderr.contains("the prompt is empty"),
        "{}",
        nothing_on_stdin.stderr
    );
}

#[test]
fn no_router_is_75_for_ping_and_nothing_to_do_for_shutdown() {
    let user = User::new();
    assert_eq!(user.run(&["ping"]).code, Some(75));
    assert_eq!(user.run(&["shutdown"]).code, Some(0));
    assert!(!user.path("state").exists(), "neither starts one");
}

#[test]
fn a_router_that_cannot_come_up_is_told_with_what_its_log_says() {
    let user = User::new();
    // The router's state is a folder where a file should be; its log can still be written.
    std::fs::create_dir_all(user.path("state/state.sqlite")).unwrap();
    std::fs::set_permissions(user.path("state"), std::fs::Permissions::from_mode(0o700)).unwrap();
    let ended = user.run(&["list"]);
    assert!(matches!(ended.code, Some(75 | 78)), "{ended:?}");
    assert!(
        ended.stderr.contains("did not come up") && ended.stderr.contains("state.sqlite"),
        "{}",
        ended.stderr
    );
}

#[test]
fn completions_need_no_router_and_survive_a_reader_that_goes_away() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let program = std::process::Command::new(env!("CARGO_BIN_EXE_codeswarm"))
            .args(["completions", shell])
            .output();
        let script = program.unwrap();
        assert!(
            script.status.success() && String::from_utf8_lossy(&script.stdout).contains("terminate"),
            "{shell}"
        );
    }
    let shell = format!(
        "{} completions bash | head -1; echo ${{PIPESTATUS[0]}}",
        env!("CARGO_BIN_EXE_codeswarm")
    );
    let piped = std::process::Command::new("bash")
        .arg("-c")
        .arg(shell)
        .output()
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&piped.stderr), "");
}

#[test]
fn help_names_the_exit_codes() {
    let help = std::process::Command::new(env!("CARGO_BIN_EXE_codeswarm"))
        .arg("--help")
        .output()
        .unwrap();
    let help = String::from_utf8(help.stdout).unwrap();
    assert!(
        help.contains("Exit codes:") && help.contains("130  interrupted"),
        "{help}"
    );
}
