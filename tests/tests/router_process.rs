//! The router as a process: its signals, its exit statuses, whom it lets in, and what it leaves behind.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, Stdio};

use codeswarm_tests::cli::{cli_with_stdin, run};
use codeswarm_tests::router::{RouterProcess, Swarm};
use codeswarm_tests::workspace::{Workspace, wait_until};
use rustix::process::Signal;
use serde_json::json;

#[test]
fn sigterm_and_sigint_end_it_in_order_and_swarms_go_on() {
    let workspace = Workspace::echo();
    let swarm = Swarm::left_running(&workspace, 1);
    for signal in [Signal::TERM, Signal::INT] {
        let mut serving = RouterProcess::daemon(&workspace);
        let running = serving.inject(&swarm, 0, "[[echo deltas=5]] [[hang]]");
        serving.event_of(&running, "assistant_delta");
        let mut relaying = RouterProcess::daemon(&workspace);
        relaying.ping();
        for router in [&mut relaying, &mut serving] {
            router.signal(signal);
            assert!(router.wait_exit().success(), "{signal:?}: {}", router.stderr());
        }
        assert_eq!(workspace.processes().len(), 1, "the worker alone");
        let mut next = RouterProcess::daemon(&workspace);
        next.asked(
            json!({"command": "interrupt", "swarm_id": swarm.swarm_id, "nodes": 0}),
            "interrupt_ack",
        );
        wait_until("the turn's end", || {
            let records = workspace.records(&swarm.job_id, 0);
            let ended = records
                .iter()
                .any(|record| record["type"] == "turn_complete" && record["injection_id"] == running.as_str());
            if ended {
                Ok(())
            } else {
                Err(format!("{} records", records.len()))
            }
        });
        next.leave();
    }
}

#[test]
fn a_program_that_died_keeps_no_router() {
    let workspace = Workspace::echo();
    // Its pipes are gone: one has nobody to read it, the other nobody to write it.
    for relaying in [false, true] {
        let mut other = relaying.then(|| RouterProcess::daemon(&workspace));
        if let Some(other) = &mut other {
            other.ping();
        }
        let mut command = workspace.command(&["router", "--daemon"]);
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        stdin
            .write_all(b"{\"command\":\"swarm_launch\",\"nodes\":1}\n")
            .unwrap();
        let mut line = String::new();
        stdout.read_line(&mut line).unwrap();
        assert!(line.contains("swarm_launched"), "{line}");
        drop(stdout);
        stdin.write_all(b"{\"command\":\"ping\"}\n").unwrap();
        drop(stdin);
        wait_until("its end", || match child.try_wait() {
            Ok(Some(_)) => Ok(()),
            other => Err(format!("{other:?}")),
        });
    }
    let mut router = RouterProcess::daemon(&workspace);
    let list = router.asked(json!({"command": "swarm_list"}), "swarm_list");
    assert_eq!(
        list["swarms"].as_object().unwrap().len(),
        2,
        "their swarms live on: {list}"
    );
}

/// A program that does not read must not be able to keep its router either.
#[test]
fn stdin_may_end_although_nobody_reads_stdout() {
    let workspace = Workspace::echo();
    let swarm = Swarm::left_running(&workspace, 1);
    for relaying in [false, true] {
        let mut other = relaying.then(|| RouterProcess::daemon(&workspace));
        if let Some(other) = &mut other {
            other.ping();
        }
        let mut command = workspace.command(&["router", "--daemon"]);
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        let inject =
            json!({"command": "inject", "swarm_id": swarm.swarm_id, "nodes": 0, "content": "[[long bytes=3000000]]"});
        stdin.write_all(format!("{inject}\n").as_bytes()).unwrap();
        let done = if relaying { 2 } else { 1 };
        wait_until("the turn's end", || {
            let records = workspace.records(&swarm.job_id, 0);
            let ended = records
                .iter()
                .filter(|record| record["type"] == "turn_complete")
                .count();
            if ended == done {
                Ok(())
            } else {
                Err(format!("{ended} turns"))
            }
        });
        drop(stdin);
        wait_until("its end", || match child.try_wait() {
            Ok(Some(_)) => Ok(()),
            other => Err(format!("{other:?}")),
        });
        let mut read = Vec::new();
        child.stdout.take().unwrap().read_to_end(&mut read).unwrap();
        assert!(!read.is_empty());
    }
}

#[test]
fn the_background_router_serves_the_socket_and_ends_when_nothing_is_left() {
    let workspace = Workspace::echo().configured(|config| config["router"]["idle_exit_seconds"] = json!(2));
    // From a shell that is gone at once.
    let mut shell = Command::new("bash");
    workspace.set_environment(&mut shell);
    let script = r#""$0" router --config "$1" --background </dev/null >/dev/null 2>&1 & echo started"#;
    let program = std::fs::canonicalize(codeswarm_tests::requires::codeswarm()).unwrap();
    shell.args(["-c", script]).arg(program).arg(workspace.config_path());
    assert_eq!(run(shell, b"").success().stdout, "started\n");
    // A client that stays for as long as the test needs the router.
    let guest = wait_until("its socket", || {
        UnixStream::connect(workspace.socket()).map_err(|error| error.to_string())
    });
    let background = workspace.processes_named("--background").pop().unwrap();
    let mut client = RouterProcess::daemon(&workspace);
    assert_eq!(client.ping()["pid"], background.pid);
    let swarm = client.launch_ready(1);
    assert_eq!(client.turn(&swarm, 0, "hello")["status"], "completed");
    client.terminate(&swarm);
    client.leave();
    drop(guest);
    workspace.wait_until_quiet();
    assert!(!workspace.socket().exists(), "it takes its socket with it");
}

#[test]
fn exit_statuses_tell_wrong_use_and_wrong_configuration() {
    let workspace = Workspace::echo();
    let mut wrong = workspace.bare_command();
    wrong.args(["router", "--no-such-option"]);
    let output = run(wrong, b"");
    assert_eq!((output.code(), output.stdout.as_str()), (2, ""), "{output:?}");
    assert!(output.stderr.contains("--no-such-option"), "{output:?}");

    let missing = workspace.path().join("no-such.json");
    let mut command = workspace.bare_command();
    command.args(["router", "--config"]).arg(&missing);
    let output = run(command, b"");
    assert_eq!((output.code(), output.stdout.as_str()), (78, ""), "{output:?}");
    assert!(output.stderr.contains(missing.to_str().unwrap()), "{output:?}");

    let workspace = workspace.configured(|config| config["router"]["inject_timeout_secnds"] = json!(1));
    let output = cli_with_stdin(&workspace, &["router"], b"{\"command\":\"ping\"}\n");
    assert_eq!((output.code(), output.stdout.as_str()), (78, ""), "{output:?}");
    assert!(
        output.stderr.contains("inject_timeout_secnds") && output.stderr.contains("inject_timeout_seconds"),
        "{output:?}"
    );
}

#[test]
fn one_mailbox_has_one_router_also_with_another_state() {
    let workspace = Workspace::echo();
    let mut first = RouterProcess::daemon(&workspace);
    let pid = first.ping()["pid"].to_string();
    let other = workspace.path().join("other.json");
    let config = std::fs::read_to_string(workspace.config_path()).unwrap();
    std::fs::write(&other, config.replace("/state\"", "/other-state\"")).unwrap();
    let mut command = workspace.bare_command();
    command.args(["router", "--config"]).arg(&other);
    let output = run(command, b"{\"command\":\"ping\"}\n");
    assert_eq!((output.code(), output.stdout.as_str()), (75, ""), "{output:?}");
    assert!(
        output.stderr.contains(&pid),
        "it says who holds the mailbox: {output:?}"
    );
    first.leave();
    // When that one is gone the mailbox is free.
    let mut command = workspace.bare_command();
    command.args(["router", "--config"]).arg(&other);
    assert!(
        run(command, b"{\"command\":\"ping\"}\n")
            .success()
            .stdout
            .contains("pong")
    );
}

#[test]
fn everything_is_its_owners_alone() {
    let workspace = Workspace::echo();
    // Even where the person's own umask is careless.
    let mut shell = Command::new("bash");
    workspace.set_environment(&mut shell);
    let program = std::fs::canonicalize(codeswarm_tests::requires::codeswarm()).unwrap();
    shell.args(["-c", r#"umask 0; exec "$0" router --config "$1" --daemon"#]);
    shell.arg(program).arg(workspace.config_path());
    let mut router = RouterProcess::start(shell);
    let swarm = router.launch_ready(1);
    router.turn(&swarm, 0, "hello");
    assert_eq!(
        std::fs::metadata(workspace.socket()).unwrap().permissions().mode() & 0o777,
        0o600
    );
    let mut looked_at = 0;
    for folder in [workspace.state_dir(), workspace.path().join("shared/codeswarm")] {
        assert_private(&folder, &mut looked_at);
    }
    assert!(looked_at > 10, "{looked_at}");
    router.terminate(&swarm);
    for folder in [workspace.state_dir(), workspace.path().join("shared/codeswarm")] {
        assert_private(&folder, &mut looked_at);
    }
    router.leave();
}

/// Nothing at or below this place can be read or written by others.
fn assert_private(at: &Path, looked_at: &mut u32) {
    let found = std::fs::symlink_metadata(at).unwrap();
    let mode = found.permissions().mode() & 0o777;
    assert_eq!(mode & 0o077, 0, "{} has mode {mode:o}", at.display());
    assert!(!found.file_type().is_symlink() && !found.file_type().is_fifo());
    *looked_at += 1;
    if found.is_dir() {
        for entry in std::fs::read_dir(at).unwrap() {
            assert_private(&entry.unwrap().path(), looked_at);
        }
    }
}
