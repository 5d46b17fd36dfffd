//! An agent's process: started in its own process group, heard on both pipes, and ended so that nothing of it is left.

use std::collections::{BTreeMap, VecDeque};
use std::ffi::OsString;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::{future, io};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command};

use crate::driver::Death;
use crate::lines::{LineError, LineReader};
use crate::stderr_tail::StderrTail;
use crate::tree::{self, Tree};

/// What may wait to be written to an agent that does not read; more than any prompt.
const UNWRITTEN_LIMIT: usize = 64 << 20;

/// What to start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProcessPlan {
    /// The program and its arguments.
    pub argv: Vec<OsString>,
    /// All of its environment.
    pub environment: BTreeMap<OsString, OsString>,
    /// Its working directory.
    pub cwd: PathBuf,
}

/// What a process has done; the caller's next step depends on it.
#[derive(Debug)]
pub enum Happening {
    /// There may be lines; see [`Process::line`].
    Output,
    /// No further line can be read.
    BadOutput(LineError),
    /// Some of its input was taken, or some of its standard error was read.
    Moved,
    /// It has ended; its pipes may still hold something.
    Ended,
}

/// A running agent. Dropping it kills the whole tree.
#[derive(Debug)]
pub struct Process {
    child: Child,
    pid: u32,
    tree: Arc<Tree>,
    stdin: Option<ChildStdin>,
    unwritten: VecDeque<Vec<u8>>,
    unwritten_bytes: usize,
    stdout: LineReader<ChildStdout>,
    stderr: Option<ChildStderr>,
    stderr_buffer: Vec<u8>,
    tail: StderrTail,
    status: Option<ExitStatus>,
    swept: bool,
}

impl Process {
    /// Starts it. `mark` is this session's own.
    pub fn start(plan: &ProcessPlan, mark: &str) -> io::Result<Self> {
        let (program, arguments) = plan
            .argv
            .split_first()
            .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "the command is empty"))?;
        let mut command = Command::new(program);
        command
            .args(arguments)
            .env_clear()
            .envs(&plan.environment)
            .env(tree::MARK, mark)
            .current_dir(&plan.cwd)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true);
        let mut child = tree::start(|| command.spawn())?;
        let lost = || io::Error::other("the process has no pipe");
        let pid = child.id().ok_or_else(lost)?;
        let tree = Tree::of(pid, mark).ok_or_else(lost)?;
        Ok(Self {
            stdin: child.stdin.take(),
            stdout: LineReader::new(child.stdout.take().ok_or_else(lost)?),
            stderr: child.stderr.take(),
            child,
            pid,
            tree: Arc::new(tree),
            unwritten: VecDeque::new(),
            unwritten_bytes: 0,
            stderr_buffer: Vec::with_capacity(4 << 10),
            tail: StderrTail::default(),
            status: None,
            swept: false,
        })
    }

    /// Its number.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Queues bytes for its input; written while [`Process::next`] is awaited. Fails when it does not read.
    pub fn write(&mut self, bytes: Vec<u8>) -> Result<(), String> {
        if self.stdin.is_none() || bytes.is_empty() {
            return Ok(());
        }
        self.unwritten_bytes += bytes.len();
        self.unwritten.push_back(bytes);
        if self.unwritten_bytes > UNWRITTEN_LIMIT {
            return Err(format!(
                "the agent does not read its input: {} bytes wait",
                self.unwritten_bytes
            ));
        }
        Ok(())
    }

    /// Ends its input, which tells a well-behaved agent to end.
    pub fn close_input(&mut self) {
        self.stdin = None;
        self.unwritten.clear();
        self.unwritten_bytes = 0;
    }

    /// The next line that was read already.
    pub fn line(&mut self) -> Option<&[u8]> {
        self.stdout.line()
    }

    /// Whether it has ended and all of its pipes were read to their ends.
    pub fn finished(&self) -> bool {
        self.status.is_some() && self.stdout.ended() && self.stderr.is_none()
    }

    /// How it ended, and its last words.
    pub fn death(&self) -> Death {
        Death {
            code: self.status.and_then(|status| status.code()),
            signal: self.status.and_then(|status| status.signal()),
            stderr_tail: self.tail.text(),
        }
    }

    /// Asks it to end.
    pub fn terminate(&self) {
        self.tree.terminate();
    }

    /// Kills everything of its tree, off this thread; answers with what could not be killed.
    pub async fn kill(&mut self) -> Vec<i32> {
        let tree = Arc::clone(&self.tree);
        let left = tokio::task::spawn_blocking(move || tree.kill())
            .await
            .unwrap_or_default();
        self.swept = self.status.is_some() && left.is_empty();
        left
    }

    /// Waits for the next thing that it does. With `listen` false its output is left in the pipe. Safe to drop at any
    /// moment; waits for ever once everything has ended.
    pub async fn next(&mut self, listen: bool) -> Happening {
        let Self {
            child,
            stdin,
            unwritten,
            stdout,
            stderr,
            stderr_buffer,
            status,
            ..
        } = self;
        let writing = stdin.is_some() && !unwritten.is_empty();
        let written = async {
            match (stdin, unwritten.front()) {
                (Some(pipe), Some(bytes)) => pipe.write(bytes).await,
                _ => future::pending().await,
            }
        };
        let heard = async {
            match stderr {
                Some(pipe) => pipe.read_buf(stderr_buffer).await,
                None => future::pending().await,
            }
        };
        tokio::select! {
            biased;
            ended = child.wait(), if status.is_none() => {
                // A child that cannot be waited for is gone for us as well.
                self.status = Some(ended.unwrap_or_default());
                Happening::Ended
            }
            count = heard => {
                self.keep_stderr(matches!(count, Ok(1..)));
                Happening::Moved
            }
            count = written, if writing => {
                self.account_written(count);
                Happening::Moved
            }
            filled = stdout.fill(), if listen && !stdout.ended() => match filled {
                Ok(()) => Happening::Output,
                Err(error) => Happening::BadOutput(error),
            },
            else => future::pending().await,
        }
    }

    fn keep_stderr(&mut self, open: bool) {
        self.tail.push(&self.stderr_buffer);
        self.stderr_buffer.clear();
        if !open {
            self.stderr = None;
        }
    }

    fn account_written(&mut self, count: io::Result<usize>) {
        let Ok(count) = count else {
            // A broken pipe: it has closed its input, so it is ending; its end will say why.
            self.close_input();
            return;
        };
        self.unwritten_bytes -= count;
        if let Some(front) = self.unwritten.front_mut() {
            if count == front.len() {
                self.unwritten.pop_front();
            } else {
                front.drain(..count);
            }
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if !self.swept {
            self.tree.kill();
        }
    }
}
