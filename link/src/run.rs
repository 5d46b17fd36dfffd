//! Running a command and hearing its answer, through a connection or on this machine.

use std::io;
use std::os::unix::process::ExitStatusExt;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::process::Command;
use tokio::time::Instant;

use crate::answer::{MAX_OUTPUT, Meaning, meaning_of};
use crate::call::{Answer, Call};
use crate::quoting::{INSTEAD_OF_255, for_any_shell};
use crate::session::{COMMANDS_AT_ONCE, Session, system};
use crate::trouble::{Trouble, TroubleKind};

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RunError {
    /// The command was not started: it certainly did nothing.
    #[error("`{program}` was not started: {trouble}")]
    NotConnected {
        /// The command.
        program: String,
        /// What keeps us from the login node.
        trouble: Trouble,
    },
    /// The link broke or the time was over while it ran. Whether it has done its work is not known.
    #[error("whether `{program}` has done its work is not known: {what}")]
    MayHaveRun {
        /// The command.
        program: String,
        /// What came between.
        what: String,
    },
    /// There is no such program there.
    #[error(
        "there is no program `{program}` on {host}; is it in the PATH of a non-interactive login (`ssh {host} which {program}`)?"
    )]
    NotFound {
        /// The command.
        program: String,
        /// Where.
        host: String,
    },
    /// It said more than a command may; it ran.
    #[error("`{program}` printed more than {MAX_OUTPUT} bytes")]
    TooMuchOutput {
        /// The command.
        program: String,
    },
}

impl RunError {
    /// The same, told of another program: the one that the command was to start, where env(1) stands before it.
    #[must_use]
    pub fn about(mut self, name: &str) -> Self {
        let (Self::NotConnected { program, .. }
        | Self::MayHaveRun { program, .. }
        | Self::NotFound { program, .. }
        | Self::TooMuchOutput { program }) = &mut self;
        name.clone_into(program);
        self
    }
}

impl Session {
    /// Runs a command on the login node. At most two run at one time; a third waits, and its waiting counts.
    ///
    /// # Errors
    /// Each says whether the command may have run. When `deadline` is over, the channel is closed; a program that then
    /// still runs there learns it when it reads or writes.
    pub async fn run(&self, call: &Call, deadline: Duration) -> Result<Answer, RunError> {
        let until = Instant::now() + deadline;
        check(call).map_err(|trouble| not_started(call, trouble))?;
        let mut share = 1;
        loop {
            let Ok(permits) = tokio::time::timeout_at(until, self.shared.commands.acquire_many(share)).await else {
                return Err(not_started(call, busy(self.alias(), deadline)));
            };
            let permits = permits.map_err(|error| not_started(call, system(&error.to_string())))?;
            match self.run_once(call, until, deadline).await {
                // Some sshds allow fewer sessions than usual (`MaxSessions`): there is room when no other command runs.
                Err(RunError::NotConnected { trouble, .. })
                    if trouble.kind == TroubleKind::Busy && share < COMMANDS_AT_ONCE =>
                {
                    share = COMMANDS_AT_ONCE;
                    drop(permits);
                }
                outcome => return outcome,
            }
        }
    }

    async fn run_once(&self, call: &Call, until: Instant, deadline: Duration) -> Result<Answer, RunError> {
        let not_started = |trouble| not_started(call, trouble);
        // A socket that is not there would make ssh call the host in its command line, which is none.
        if !self.socket().exists() {
            return Err(not_started(crate::trouble::of_ssh(
                self.alias(),
                &self.log(),
                crate::trouble::Moment::Channel,
            )));
        }
        let mut command = self.shared.ssh.clone().arc_command("sh");
        command
            .args(for_any_shell(call))
            .stdin(openssh::Stdio::piped())
            .stdout(openssh::Stdio::piped())
            .stderr(openssh::Stdio::piped());
        let spawned = command.spawn().await;
        let mut child = spawned.map_err(|error| not_started(system(&error.to_string())))?;
        let streams = (child.stdin().take(), child.stdout().take(), child.stderr().take());
        let work = async {
            let said = converse(streams, &call.stdin).await?;
            let code = match child.wait().await {
                Ok(status) => Some(match code_of(status) {
                    INSTEAD_OF_255 => 255,
                    code => code,
                }),
                Err(openssh::Error::Remote(error)) if error.kind() == io::ErrorKind::NotFound => Some(127),
                // 255: ssh's own failure, since no program ends so there.
                Err(_) => None,
            };
            Ok::<_, Stop>((code, said))
        };
        let (code, (stdout, stderr)) = match tokio::time::timeout_at(until, work).await {
            Ok(Ok(done)) => done,
            Ok(Err(stop)) => return Err(stop.into_error(call)),
            Err(_) => return Err(out_of_time(call, deadline)),
        };
        match meaning_of(self.alias(), &call.program, code, &stderr) {
            Meaning::Ended(exit_code) => Ok(Answer {
                exit_code,
                stdout,
                stderr,
            }),
            Meaning::NotFound => Err(RunError::NotFound {
                program: call.program.clone(),
                host: self.alias().to_owned(),
            }),
            Meaning::NotStarted(trouble) => Err(not_started(trouble)),
            Meaning::Unknown(what) => Err(RunError::MayHaveRun {
                program: call.program.clone(),
                what,
            }),
        }
    }
}

fn not_started(call: &Call, trouble: Trouble) -> RunError {
    RunError::NotConnected {
        program: call.program.clone(),
        trouble,
    }
}

/// Runs a command on this machine.
pub(crate) async fn run_here(call: &Call, deadline: Duration) -> Result<Answer, RunError> {
    let not_started = |trouble| not_started(call, trouble);
    check(call).map_err(not_started)?;
    let mut command = Command::new(&call.program);
    command
        .args(&call.arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    let mut child = command.spawn().map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => RunError::NotFound {
            program: call.program.clone(),
            host: "this machine".into(),
        },
        _ => not_started(system(&format!("`{}` cannot be started: {error}", call.program))),
    })?;
    let streams = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let work = async {
        let said = converse(streams, &call.stdin).await?;
        let status = child.wait().await.map_err(|error| Stop::Broken(error.to_string()))?;
        Ok::<_, Stop>((status, said))
    };
    match tokio::time::timeout(deadline, work).await {
        Ok(Ok((status, (stdout, stderr)))) => Ok(Answer {
            exit_code: code_of(status),
            stdout,
            stderr,
        }),
        Ok(Err(stop)) => Err(stop.into_error(call)),
        Err(_) => Err(out_of_time(call, deadline)),
    }
}

/// Why hearing ended before the program did.
enum Stop {
    TooMuch,
    Broken(String),
}

impl Stop {
    fn into_error(self, call: &Call) -> RunError {
        let program = call.program.clone();
        match self {
            Self::TooMuch => RunError::TooMuchOutput { program },
            Self::Broken(what) => RunError::MayHaveRun { program, what },
        }
    }
}

/// Writes what the program may read while hearing what it says, to the end of both.
async fn converse<I, O, E>(
    (stdin, stdout, stderr): (Option<I>, Option<O>, Option<E>),
    input: &[u8],
) -> Result<(Vec<u8>, Vec<u8>), Stop>
where
    I: AsyncWrite + Unpin,
    O: AsyncRead + Unpin,
    E: AsyncRead + Unpin,
{
    let write = async {
        if let Some(mut stdin) = stdin {
            // A program need not read its input; how it ends tells whether that was right.
            let _not_read = stdin.write_all(input).await;
            let _not_read = stdin.shutdown().await;
        }
        Ok(())
    };
    let ((), stdout, stderr) = tokio::try_join!(write, hear(stdout), hear(stderr))?;
    Ok((stdout, stderr))
}

async fn hear(stream: Option<impl AsyncRead + Unpin>) -> Result<Vec<u8>, Stop> {
    let mut said = Vec::new();
    if let Some(stream) = stream {
        let one_more = MAX_OUTPUT as u64 + 1;
        let read = stream.take(one_more).read_to_end(&mut said).await;
        read.map_err(|error| Stop::Broken(error.to_string()))?;
    }
    if said.len() > MAX_OUTPUT {
        return Err(Stop::TooMuch);
    }
    Ok(said)
}

fn code_of(status: ExitStatus) -> i32 {
    let signalled = || status.signal().map_or(255, |signal| 128 + signal);
    status.code().unwrap_or_else(signalled)
}

/// A NUL cannot be an argument anywhere, and an empty name is no program.
fn check(call: &Call) -> Result<(), Trouble> {
    let bad = call.program.is_empty()
        || call.program.contains('\0')
        || call.arguments.iter().any(|argument| argument.contains('\0'));
    if bad {
        return Err(Trouble::new(
            TroubleKind::System,
            format!(
                "`{}` with these arguments is no command: a NUL is in it, or it has no name",
                call.program.escape_debug()
            ),
            "this is a fault of the router; please report it",
        ));
    }
    Ok(())
}

fn out_of_time(call: &Call, deadline: Duration) -> RunError {
    RunError::MayHaveRun {
        program: call.program.clone(),
        what: format!("it had not ended after {deadline:?}"),
    }
}

fn busy(alias: &str, deadline: Duration) -> Trouble {
    Trouble::new(
        TroubleKind::Busy,
        format!("commands that were begun before on {alias} have not ended in {deadline:?}"),
        "it is tried again; is the login node slow?",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOON: Duration = Duration::from_secs(20);

    fn call(program: &str, arguments: &[&str]) -> Call {
        Call {
            program: program.into(),
            arguments: arguments.iter().map(|argument| (*argument).to_owned()).collect(),
            stdin: b"input".to_vec(),
        }
    }

    #[tokio::test]
    async fn a_command_on_this_machine() {
        let answer = run_here(&call("sh", &["-c", "cat; echo $1 >&2; exit 3", "sh", "$(x)"]), SOON).await;
        let expected = Answer {
            exit_code: 3,
            stdout: b"input".to_vec(),
            stderr: b"$(x)\n".to_vec(),
        };
        assert_eq!(answer, Ok(expected));
        let killed = run_here(&call("sh", &["-c", "kill -9 $$"]), SOON).await.unwrap();
        assert_eq!(killed.exit_code, 137);
    }

    #[tokio::test]
    async fn what_does_not_answer_on_this_machine() {
        let error = run_here(&call("sbatsch", &[]), SOON).await.unwrap_err();
        assert!(matches!(error, RunError::NotFound { .. }), "{error}");
        let error = run_here(&call("sleep", &["60"]), Duration::from_millis(50))
            .await
            .unwrap_err();
        assert!(matches!(error, RunError::MayHaveRun { .. }), "{error}");
        let error = run_here(&call("sh", &["-c", "yes | head -c 5000000"]), SOON)
            .await
            .unwrap_err();
        assert!(matches!(error, RunError::TooMuchOutput { .. }), "{error}");
        let error = run_here(&call("echo", &["a\0b"]), SOON).await.unwrap_err();
        assert!(matches!(error, RunError::NotConnected { .. }), "{error}");
    }
}
