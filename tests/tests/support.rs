//! The test support itself, on processes that need no Codeswarm: what it waits for, what it refuses, what it cleans up.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::Command;

use codeswarm_tests::cli::run;
use codeswarm_tests::json_process::JsonProcess;
use codeswarm_tests::workspace::{Workspace, wait_until};
use rustix::process::Signal;
use serde_json::json;

fn shell(workspace: &Workspace, script: &str) -> Command {
    let mut command = Command::new("bash");
    command.args(["-c", script]);
    workspace.set_environment(&mut command);
    command
}

/// What a failing call says.
fn complaint_of<T>(call: impl FnOnce() -> T) -> String {
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(_) => panic!("the call did not fail"),
        Err(payload) => *payload.downcast::<String>().unwrap(),
    }
}

#[test]
fn lines_are_awaited_from_the_first_or_after_a_mark() {
    let workspace = Workspace::echo();
    let script = r#"while read -r line; do echo "{\"heard\":$line}"; done"#;
    let mut process = JsonProcess::spawn("echo", shell(&workspace, script));
    process.send(&json!({"n": 1}));
    process.send(&json!({"n": 2}));
    process.wait_for("the second line", |line| line["heard"]["n"] == 2);
    assert_eq!(
        process.wait_for("the first line", |line| line["heard"]["n"] == 1),
        json!({"heard": {"n": 1}})
    );
    let mark = process.mark();
    assert_eq!(mark, 2);
    process.send(&json!({"n": 1}));
    process.wait_after(mark, "another first line", |line| line["heard"]["n"] == 1);
    process.close_stdin();
    assert!(process.wait_exit().success());
    assert_eq!(process.lines().len(), 3);
}

#[test]
fn a_failed_wait_shows_all_lines_and_standard_error() {
    let workspace = Workspace::echo();
    let process = JsonProcess::spawn(
        "short",
        shell(&workspace, r#"echo trouble >&2; sleep 0.1; echo '{"a":1}'"#),
    );
    let complaint = complaint_of(|| process.wait_for("a line that never comes", |line| line["b"] == 1));
    for part in [
        "ended its standard output before a line that never comes",
        r#"{"a":1}"#,
        "trouble",
    ] {
        assert!(complaint.contains(part), "{complaint}");
    }
}

#[test]
fn a_line_that_is_no_object_fails_the_test() {
    let workspace = Workspace::echo();
    for script in ["echo hello", "echo 17", r#"printf '{"no":"newline"}'"#] {
        let mut process = JsonProcess::spawn("bad", shell(&workspace, script));
        let complaint = complaint_of(|| process.wait_exit());
        assert!(complaint.contains("no JSON object"), "{script}: {complaint}");
        // Dropped in a panic that is caught, since the drop complains too.
        assert!(complaint_of(move || drop(process)).contains("no JSON object"));
    }
}

#[test]
fn a_workspace_ends_what_was_started_in_it_and_nothing_else() {
    let (workspace, other) = (Workspace::echo(), Workspace::echo());
    // Neither a child of the test nor of its session, as a router in the background is.
    let orphan = "setsid sleep 600 >/dev/null 2>&1 </dev/null & true";
    run(shell(&workspace, orphan), b"").success();
    run(shell(&other, orphan), b"").success();
    let started = |workspace: &Workspace| {
        let found = workspace.processes_named("sleep 600");
        found.into_iter().next().ok_or_else(|| "no sleep".to_owned())
    };
    let (ours, theirs) = (
        wait_until("ours", || started(&workspace)),
        wait_until("theirs", || started(&other)),
    );
    let path = workspace.path().to_owned();
    drop(workspace);
    assert!(!path.exists());
    assert!(codeswarm_tests::processes::of(&path).is_empty());
    assert_ne!(ours.pid, theirs.pid);
    assert!(other.processes().iter().any(|process| process.pid == theirs.pid));

    other.signal(&ours, Signal::KILL);
    other.signal(&theirs, Signal::TERM);
    wait_until("theirs is gone", || match other.processes_named("sleep 600") {
        left if left.is_empty() => Ok(()),
        left => Err(format!("{left:?}")),
    });
}

#[test]
fn a_command_that_leaves_its_pipes_to_another_is_caught() {
    let workspace = Workspace::echo();
    let output = run(shell(&workspace, "cat; echo no >&2; exit 3"), b"given");
    assert_eq!(
        (output.code(), output.stdout.as_str(), output.stderr.as_str()),
        (3, "given", "no\n")
    );
    let complaint = complaint_of(|| run(shell(&workspace, "sleep 600 & echo done"), b""));
    assert!(complaint.contains("holds its pipes"), "{complaint}");
}
