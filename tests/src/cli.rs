//! Commands that run to their end: the `codeswarm` command line as a person or a script uses it.

use std::io::{Read, Write};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::PATIENCE;
use crate::workspace::Workspace;

/// What a command left.
#[derive(Debug)]
pub struct Output {
    /// How it ended.
    pub status: ExitStatus,
    /// Its standard output.
    pub stdout: String,
    /// Its standard error.
    pub stderr: String,
}

impl Output {
    /// The exit code; fails if a signal ended the command.
    #[track_caller]
    pub fn code(&self) -> i32 {
        match self.status.code() {
            Some(code) => code,
            None => panic!("ended by a signal: {self:#?}"),
        }
    }

    /// The same output, if the command succeeded.
    #[track_caller]
    pub fn success(self) -> Self {
        assert!(self.status.success(), "{self:#?}");
        self
    }

    /// Standard output as JSON lines.
    #[track_caller]
    pub fn json_lines(&self) -> Vec<Value> {
        let parse =
            |line: &str| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}\n{self:#?}"));
        self.stdout.lines().map(parse).collect()
    }
}

/// Runs `codeswarm` with these arguments, the workspace's configuration and an empty standard input.
pub fn cli(workspace: &Workspace, arguments: &[&str]) -> Output {
    cli_with_stdin(workspace, arguments, b"")
}

/// The same with something on standard input.
pub fn cli_with_stdin(workspace: &Workspace, arguments: &[&str], stdin: &[u8]) -> Output {
    run(workspace.command(arguments), stdin)
}

/// Runs any command to its end. It must also let go of its pipes: a process that it leaves behind with an inherited
/// descriptor would hang the shell of whoever calls it.
pub fn run(command: Command, stdin: &[u8]) -> Output {
    run_within(command, stdin, PATIENCE)
}

/// The same with another patience, for a program that is slow by itself.
pub fn run_within(mut command: Command, stdin: &[u8], patience: Duration) -> Output {
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let shown = format!("{command:?}");
    let mut child = command
        .spawn()
        .unwrap_or_else(|error| panic!("{shown} did not start: {error}"));
    if let Some(mut pipe) = child.stdin.take() {
        let stdin = stdin.to_vec();
        // A command that does not read its input closes the pipe, which is no failure.
        std::thread::spawn(move || drop(pipe.write_all(&stdin)));
    }
    let (stdout, stderr) = (collect(child.stdout.take()), collect(child.stderr.take()));
    let deadline = Instant::now() + patience;
    let status = loop {
        match child.try_wait() {
            Ok(Some(status)) => break status,
            Ok(None) if Instant::now() < deadline => std::thread::sleep(Duration::from_millis(5)),
            outcome => {
                let _ = child.kill();
                let _ = child.wait();
                let (stdout, stderr) = (received(&stdout), received(&stderr));
                panic!("{shown} did not end within {patience:?} ({outcome:?}):\n{stdout:?}\n{stderr:?}");
            }
        }
    };
    match (received(&stdout), received(&stderr)) {
        (Some(stdout), Some(stderr)) => Output { status, stdout, stderr },
        held => panic!("{shown} ended with {status}, but something it left behind holds its pipes: {held:?}"),
    }
}

/// Reads a pipe to its end on a thread that ends with it.
fn collect(pipe: Option<impl Read + Send + 'static>) -> Receiver<String> {
    let (sender, receiver) = sync_channel(1);
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut pipe) = pipe {
            let _ = pipe.read_to_end(&mut bytes);
        }
        let _ = sender.send(String::from_utf8_lossy(&bytes).into_owned());
    });
    receiver
}

fn received(receiver: &Receiver<String>) -> Option<String> {
    receiver.recv_timeout(Duration::from_secs(3)).ok()
}
