//! Looking at the login node: the connection, its shell, its clock, and calls that bring a probe's or Slurm's answer.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use codeswarm_link::{Call, LoginNode, RunError};
use codeswarm_router::provider::run_on;
use codeswarm_slurm::SlurmError;
use serde::de::DeserializeOwned;

use crate::check::Verdict;
use crate::judge::{self, login::CommandSeen, login::ShellSeen};

/// How long a question may take; a controller that is down is waited for 18 s by some commands.
pub const ASKING: Duration = Duration::from_secs(45);

/// How long the first one may take, which does nothing that takes time.
const FIRST: Duration = Duration::from_secs(20);

/// Begins each line that is meant for us, since the shell may print others.
const MARK: &str = "codeswarm-doctor: ";

/// Host, time, and the programs that a deployment needs.
const LOOK: &str = r#"echo "codeswarm-doctor: host $(uname -n)"; echo "codeswarm-doctor: time $(date +%s.%N)"; for c in mkdir mv rm wc cat chmod find cut; do command -v $c >/dev/null 2>&1 || echo "codeswarm-doctor: lacks $c"; done"#;

/// Each of Slurm's commands: its path and version.
const COMMANDS: &str = r#"for c in sbatch squeue scancel scontrol sinfo; do if p=$(command -v $c 2>/dev/null); then echo "codeswarm-doctor: command $c|$p|$($c --version 2>&1 | tail -n 1)"; else echo "codeswarm-doctor: command $c||"; fi; done"#;

/// What a first command brought, and when.
pub struct FirstLook {
    /// The shell.
    pub shell: ShellSeen,
    /// Its clock, in seconds since 1970.
    pub time: Option<f64>,
    /// Ours before and after.
    pub between: (f64, f64),
    /// How long it took, in seconds.
    pub took: f64,
}

/// Why there was no first look.
pub enum NoLook {
    /// The connection does not carry a command.
    Connection(Verdict),
    /// The shell does not end in time; how that shows.
    Silent(String),
    /// It does something else.
    Shell(Verdict),
}

impl NoLook {
    fn of(error: RunError) -> Self {
        match error {
            RunError::MayHaveRun { what, .. } => Self::Silent(what),
            RunError::NotConnected { .. } => Self::Connection(judge::run_error(&error)),
            RunError::NotFound { .. } | RunError::TooMuchOutput { .. } => Self::Shell(judge::run_error(&error)),
        }
    }
}

/// The first command.
pub async fn look(node: &LoginNode) -> Result<FirstLook, NoLook> {
    let (before, began) = (now(), Instant::now());
    let answer = node.run(&shell(LOOK), FIRST).await.map_err(NoLook::of)?;
    let (after, took) = (now(), began.elapsed().as_secs_f64());
    let (out, errors) = (text(&answer.stdout), text(&answer.stderr));
    let marked = |key: &str| -> Vec<String> {
        let prefix = format!("{MARK}{key} ");
        let values = out.lines().filter_map(|line| line.strip_prefix(prefix.as_str()));
        values.map(|value| value.trim().to_owned()).collect()
    };
    let before_ours = out.split(MARK).next().unwrap_or_default().to_owned();
    let Some(host) = marked("host").pop() else {
        let said = out.lines().chain(errors.lines()).find(|line| !line.trim().is_empty());
        return Err(NoLook::Shell(Verdict::failure(
            format!(
                "the shell there does not run `sh -c`: it says {:?}",
                said.unwrap_or("nothing")
            ),
            "a non-interactive login must run the command that it is given, and nothing else",
        )));
    };
    Ok(FirstLook {
        shell: ShellSeen {
            host,
            before: before_ours,
            errors,
            missing: marked("lacks"),
        },
        time: marked("time").pop().and_then(|time| time_of(&time)),
        between: (before, after),
        took,
    })
}

/// `date +%s.%N`; where there is no `%N`, whole seconds, of which the middle is meant.
fn time_of(text: &str) -> Option<f64> {
    text.parse().ok().or_else(|| {
        let whole: f64 = text.split('.').next()?.parse().ok()?;
        Some(whole + 0.5)
    })
}

/// Slurm's commands.
pub async fn commands(node: &LoginNode) -> Result<Vec<CommandSeen>, Verdict> {
    let answer = node
        .run(&shell(COMMANDS), ASKING)
        .await
        .map_err(|error| judge::run_error(&error))?;
    let out = text(&answer.stdout);
    let lines: Vec<Vec<&str>> = out
        .lines()
        .filter_map(|line| line.strip_prefix(MARK)?.strip_prefix("command "))
        .map(|line| line.splitn(3, '|').collect())
        .collect();
    let seen = |name: &'static str| {
        let line = lines.iter().find(|line| line.first() == Some(&name));
        let part = |at: usize| line.and_then(|line| line.get(at)).map(|part| part.trim().to_owned());
        CommandSeen {
            name,
            path: part(1).filter(|path| !path.is_empty()),
            version: part(2).unwrap_or_default(),
        }
    };
    Ok(["sbatch", "squeue", "scancel", "scontrol", "sinfo"].map(seen).into())
}

/// Runs one of Slurm's commands and reads its answer.
pub async fn slurm<T>(
    node: &LoginNode,
    call: &codeswarm_slurm::Call,
    read: impl FnOnce(&codeswarm_slurm::Answer) -> Result<T, SlurmError>,
) -> Result<T, Verdict> {
    let answer = run_on(node, call, ASKING)
        .await
        .map_err(|error| judge::run_error(&error))?;
    read(&answer).map_err(|error| judge::slurm_error(&error))
}

/// Runs the deployed program's `probe` and reads what it tells.
pub async fn probe<T: DeserializeOwned>(
    node: &LoginNode,
    program: &str,
    arguments: &[&str],
    stdin: Vec<u8>,
    deadline: Duration,
) -> Result<T, Verdict> {
    let words = ["probe"].iter().chain(arguments);
    let call = Call {
        program: program.to_owned(),
        arguments: words.map(|word| (*word).to_owned()).collect(),
        stdin,
    };
    let answer = node
        .run(&call, deadline)
        .await
        .map_err(|error| judge::run_error(&error))?;
    let out = text(&answer.stdout);
    let told = out.lines().rev().find(|line| line.starts_with('{'));
    told.and_then(|line| serde_json::from_str(line).ok()).ok_or_else(|| {
        let errors = text(&answer.stderr);
        let said = errors.lines().chain(out.lines()).rfind(|line| !line.trim().is_empty());
        Verdict::failure(
            format!(
                "`{program} probe {}` ended with exit code {} and said: {}",
                arguments.join(" "),
                answer.exit_code,
                said.unwrap_or("nothing")
            ),
            "mend what it names",
        )
    })
}

fn shell(script: &str) -> Call {
    Call {
        program: "sh".into(),
        arguments: ["-c", script].map(str::to_owned).into(),
        stdin: Vec::new(),
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Seconds since 1970.
pub fn now() -> f64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs_f64()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn this_machine_is_looked_at() {
        let here = LoginNode::here();
        let Ok(seen) = look(&here).await else {
            panic!("no shell")
        };
        assert!(
            !seen.shell.host.is_empty() && seen.shell.before.is_empty(),
            "{:?}",
            seen.shell
        );
        assert_eq!(seen.shell.missing, Vec::<String>::new());
        let time = seen.time.unwrap();
        assert!(time > seen.between.0 - 1.0 && time < seen.between.1 + 1.0, "{time}");
        assert_eq!(commands(&here).await.unwrap().len(), 5);
    }

    #[test]
    fn a_clock_without_fractions_is_read() {
        assert_eq!(time_of("17.25"), Some(17.25));
        assert_eq!(time_of("17.N"), Some(17.5));
        assert_eq!(time_of("17"), Some(17.0));
        assert_eq!(time_of("?"), None);
    }
}
