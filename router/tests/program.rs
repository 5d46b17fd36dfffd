//! `codeswarm-router` as a process: what it refuses to run with, where it can be found, and how it ends when nobody reads it.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where")]

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use codeswarm_router::lock::RouterLock;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

/// Longer than anything here takes.
const DEADLINE: Duration = Duration::from_secs(90);

const PROGRAM: &str = env!("CARGO_BIN_EXE_codeswarm-router");

/// A folder with a configuration, in which one part may be another one than usual.
struct Home(tempfile::TempDir);

impl Home {
    fn new(section: &str, values: Value) -> Self {
        let home = Self(tempfile::tempdir().unwrap());
        let mut config = json!({
            "cluster": {"backend": "local", "workspace_root": home.path("work")},
            "router": {"state_dir": home.path("state")},
            "agent": {"kind": "echo"},
        });
        for (key, value) in values.as_object().unwrap() {
            config[section][key] = value.clone();
        }
        std::fs::write(home.path("config.json"), config.to_string()).unwrap();
        home
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// With this folder in the place of the user's own.
    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(PROGRAM);
        for name in ["RUST_LOG", "XDG_RUNTIME_DIR", "XDG_STATE_HOME", "XDG_CONFIG_HOME"] {
            command.env_remove(name);
        }
        command.env("HOME", self.0.path()).args(arguments);
        command
    }

    fn configured(&self, arguments: &[&str]) -> Command {
        let mut command = self.command(arguments);
        command.arg("--config").arg(self.path("config.json"));
        command
    }
}

/// A router that runs.
struct Router {
    child: Child,
    stdin: Option<ChildStdin>,
    out: Receiver<String>,
    log: Receiver<String>,
}

fn lines(source: impl Read + Send + 'static) -> Receiver<String> {
    let (told, lines) = channel();
    std::thread::spawn(move || {
        for line in BufReader::new(source).lines().map_while(Result::ok) {
            if told.send(line).is_err() {
                return;
            }
        }
    });
    lines
}

/// The first line that holds this.
fn line_with(lines: &Receiver<String>, wanted: &str) -> String {
    let began = Instant::now();
    let mut seen = Vec::new();
    while let Ok(line) = lines.recv_timeout(DEADLINE.saturating_sub(began.elapsed())) {
        if line.contains(wanted) {
            return line;
        }
        seen.push(line);
    }
    panic!("no line with {wanted:?}: {seen:#?}")
}

impl Router {
    fn start(mut command: Command) -> Self {
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        Self {
            stdin: child.stdin.take(),
            out: lines(child.stdout.take().unwrap()),
            log: lines(child.stderr.take().unwrap()),
            child,
        }
    }

    fn asked(&mut self, command: Value, answer: &str) -> Value {
        writeln!(self.stdin.as_ref().unwrap(), "{command}").unwrap();
        serde_json::from_str(&line_with(&self.out, answer)).unwrap()
    }

    fn leave(mut self) {
        drop(self.stdin.take());
        assert!(exit(&mut self.child).success());
    }
}

impl Drop for Router {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn exit(child: &mut Child) -> ExitStatus {
    let began = Instant::now();
    loop {
        match child.try_wait().unwrap() {
            Some(status) => return status,
            None if began.elapsed() > DEADLINE => {
                child.kill().unwrap();
                child.wait().unwrap();
                panic!("it does not end")
            }
            None => std::thread::sleep(Duration::from_millis(20)),
        }
    }
}

/// How it ends without having been asked for anything, and what it says about that.
fn refused(mut command: Command) -> (Option<i32>, String) {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let status = exit(&mut child);
    let output = child.wait_with_output().unwrap();
    assert!(output.stdout.is_empty(), "{output:?}");
    (status.code(), String::from_utf8(output.stderr).unwrap())
}

#[test]
fn what_has_to_be_changed_ends_it_with_78_and_is_named() {
    let slurm = |more: Value| {
        let mut values = json!({"backend": "slurm"});
        values
            .as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        values
    };
    let nothing = |_: &Home| {};
    type Case<'a> = (Value, &'a dyn Fn(&Home), &'a [&'a str]);
    let cases: [Case<'_>; 5] = [
        (
            slurm(json!({"slurm": {"template": "/nowhere/batch.sh"}})),
            &nothing,
            &["cluster.slurm.template", "/nowhere/batch.sh"],
        ),
        (
            slurm(json!({"binary": "/nowhere/codeswarm"})),
            &nothing,
            &["/nowhere/codeswarm", "cluster.remote_binary"],
        ),
        (
            json!({}),
            &|home| {
                std::fs::create_dir(home.path("state")).unwrap();
                std::fs::set_permissions(home.path("state"), std::fs::Permissions::from_mode(0o777)).unwrap();
            },
            &["state folder", "others may write"],
        ),
        (
            json!({}),
            &|home| std::fs::create_dir_all(home.path("state/router.lock")).unwrap(),
            &["cannot lock", "router.lock", "router.state_dir"],
        ),
        (
            json!({}),
            &|home| std::fs::create_dir_all(home.path("state/router.sock/x")).unwrap(),
            &["cannot listen", "router.sock"],
        ),
    ];
    for (values, spoil, said) in cases {
        let home = Home::new("cluster", values);
        spoil(&home);
        let (code, log) = refused(home.configured(&["--daemon"]));
        assert_eq!(code, Some(78), "{log}");
        assert!(said.iter().all(|word| log.contains(word)), "{said:?}: {log}");
    }
}

#[test]
fn a_router_that_has_the_state_and_does_not_answer_is_named_and_one_in_the_background_leaves_it_alone() {
    let home = Home::new("router", json!({}));
    std::fs::create_dir(home.path("state")).unwrap();
    std::fs::set_permissions(home.path("state"), std::fs::Permissions::from_mode(0o700)).unwrap();
    let _held = RouterLock::take(&home.path("state/router.lock")).unwrap();
    assert_eq!(refused(home.configured(&["--background"])), (Some(0), String::new()));
    let (code, log) = refused(home.configured(&["--daemon"]));
    assert_eq!(code, Some(75), "{log}");
    let holder = format!("router {} holds the state but does not answer", std::process::id());
    assert!(log.contains(&holder), "{log}");
}

#[test]
fn a_socket_whose_path_would_be_too_long_lies_in_the_users_runtime_folder() {
    for there in [true, false] {
        let long = format!("{}/state", "x".repeat(120));
        let home = Home::new("router", json!({}));
        let config = std::fs::read_to_string(home.path("config.json")).unwrap();
        let config = config.replace("/state\"", &format!("/{long}\""));
        std::fs::write(home.path("config.json"), config).unwrap();
        let runtime = home.path("run");
        let mut command = home.configured(&["--daemon"]);
        command.env("XDG_RUNTIME_DIR", &runtime).env("TMPDIR", home.path("tmp"));
        std::fs::create_dir(home.path("tmp")).unwrap();
        let folder = if there {
            std::fs::create_dir(&runtime).unwrap();
            std::fs::set_permissions(&runtime, std::fs::Permissions::from_mode(0o700)).unwrap();
            runtime
        } else {
            home.path("tmp")
                .join(format!("codeswarm-{}", rustix::process::getuid().as_raw()))
        };
        let mut router = Router::start(command);
        router.asked(json!({"command": "ping"}), "pong");
        let sockets = |folder: &Path| -> Vec<PathBuf> {
            let entries = std::fs::read_dir(folder).unwrap().map(Result::unwrap);
            let sockets = entries.filter(|entry| entry.file_type().unwrap().is_socket());
            sockets.map(|entry| entry.path()).collect()
        };
        let found = sockets(&folder);
        assert_eq!(found.len(), 1, "{found:?}");
        UnixStream::connect(&found[0]).unwrap();
        router.leave();
        assert!(sockets(&folder).is_empty(), "it left its socket");
    }
}

#[test]
fn without_a_configuration_it_serves_swarms_of_this_machine_and_logs_more_when_asked_to() {
    let home = Home::new("router", json!({}));
    let mut router = Router::start(home.command(&["--daemon", "--debug"]));
    let list = router.asked(json!({"command": "providers_list"}), "providers_list");
    let provider = &list["providers"][0];
    assert_eq!(
        (&provider["name"], &provider["default"]),
        (&json!("local"), &json!(true)),
        "{list}"
    );
    line_with(&router.log, "the mailbox is followed");
    router.leave();
    assert!(home.path(".local/state/codeswarm").exists());
}

#[test]
fn a_warning_of_the_configuration_is_logged_and_hinders_nothing() {
    let home = Home::new("agent", json!({"command": ["codex"]}));
    let mut router = Router::start(home.configured(&["--daemon"]));
    router.asked(json!({"command": "ping"}), "pong");
    let warning = line_with(&router.log, "agent.command");
    assert!(
        warning.contains("WARN") && warning.contains("is not used by"),
        "{warning}"
    );
    router.leave();
}

#[test]
fn on_a_login_node_itself_jobs_are_submitted_there_with_a_program_that_lies_below_the_workspace() {
    let home = Home::new(
        "cluster",
        json!({"backend": "slurm", "binary": "/bin/true", "cluster_subdir": "here"}),
    );
    let mut router = Router::start(home.configured(&["--daemon"]));
    let list = router.asked(json!({"command": "providers_list"}), "providers_list");
    let provider = &list["providers"][0];
    assert_eq!(provider["name"], "slurm");
    let description = provider["description"].as_str().unwrap();
    assert!(description.contains("on this machine"), "{description}");
    let programs: Vec<_> = std::fs::read_dir(home.path("work/here/bin")).unwrap().collect();
    assert_eq!(programs.len(), 1);
    router.leave();
}

#[test]
fn p8_a_router_that_is_told_to_end_does_so_though_its_program_does_not_read() {
    let home = Home::new("router", json!({}));
    let mut command = home.configured(&[]);
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    let mut child = command.spawn().unwrap();
    let (mut stdin, stdout) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
    stdin
        .write_all("{\"command\":\"providers_list\"}\n".repeat(2000).as_bytes())
        .unwrap();
    // More answers than a pipe holds are on their way: 260,000 bytes.
    let began = Instant::now();
    while rustix::io::ioctl_fionread(&stdout).unwrap() < 40_000 {
        assert!(began.elapsed() < DEADLINE, "it does not answer");
        std::thread::sleep(Duration::from_millis(20));
    }
    kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
    assert!(exit(&mut child).success());
    assert!(!home.path("state/router.sock").exists());
}

#[test]
fn p8_a_router_without_descriptors_lets_clients_in_when_it_has_some_again() {
    let home = Home::new("router", json!({}));
    let configured = home.configured(&["--daemon"]);
    let mut command = Command::new("sh");
    command
        .args(["-c", "ulimit -n 48; exec \"$0\" \"$@\""])
        .arg(PROGRAM)
        .args(configured.get_args());
    command
        .env("HOME", home.path(""))
        .env_remove("RUST_LOG")
        .env_remove("XDG_RUNTIME_DIR");
    let mut router = Router::start(command);
    router.asked(json!({"command": "ping"}), "pong");
    let socket = home.path("state/router.sock");
    let crowd: Vec<UnixStream> = (0..64).map(|_| UnixStream::connect(&socket).unwrap()).collect();
    line_with(&router.log, "a client could not be let in");
    // Who is in is served all the same.
    router.asked(json!({"command": "ping"}), "pong");
    drop(crowd);
    let late = UnixStream::connect(&socket).unwrap();
    late.set_read_timeout(Some(DEADLINE)).unwrap();
    writeln!(&late, "{{\"command\":\"ping\"}}").unwrap();
    let mut answer = String::new();
    BufReader::new(&late).read_line(&mut answer).unwrap();
    assert!(answer.contains("pong"), "{answer}");
    router.leave();
}
