//! Finding the router, and starting one in the background when none runs.
//!
//! Two commands may start one at the same moment: the second router finds the first and ends with 0, and both commands
//! connect to the first.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use codeswarm_router::endpoint::Endpoint;

use crate::connection::Connection;
use crate::descriptors;
use crate::exit::Exit;
use crate::failure::Failure;

/// How long a router may take until it listens: it reads its state and looks for its workers first.
const START_PATIENCE: Duration = Duration::from_secs(30);
/// How often its socket is tried meanwhile.
const LOOK_AGAIN: Duration = Duration::from_millis(20);
/// A router that ended as redundant, while nobody listens: another one is on its way up or down. Then we try again.
const START_AGAIN: Duration = Duration::from_secs(1);
/// So many lines of its log are shown when it does not come up.
const LOG_LINES: usize = 15;

/// Where the router is, and how to start it.
#[derive(Debug, Clone)]
pub struct RouterAddress {
    /// Its files.
    pub endpoint: Endpoint,
    /// The configuration to start it with; absent: the built-in one.
    pub config: Option<PathBuf>,
}

impl RouterAddress {
    /// A connection to the router that runs, if one does.
    pub async fn existing(&self) -> Result<Option<Connection>, Failure> {
        match Connection::open(&self.endpoint.socket).await {
            Ok(connection) => Ok(Some(connection)),
            Err(error) => match error.kind() {
                // The last one: it is just leaving.
                io::ErrorKind::NotFound
                | io::ErrorKind::ConnectionRefused
                | io::ErrorKind::WouldBlock
                | io::ErrorKind::ConnectionReset => Ok(None),
                _ => Err(self.unreachable(&error)),
            },
        }
    }

    /// A connection, to a new router if none runs; then `note` is told.
    pub async fn connect(&self, note: &mut (dyn FnMut(&str) + Send)) -> Result<Connection, Failure> {
        if let Some(connection) = self.existing().await? {
            return Ok(connection);
        }
        note(&format!(
            "no router runs for {}; starting one in the background",
            self.endpoint.state_dir.display()
        ));
        let log_start = std::fs::metadata(&self.endpoint.log).map_or(0, |log| log.len());
        let deadline = Instant::now() + START_PATIENCE;
        let mut child = self.spawn()?;
        let mut ended: Option<Instant> = None;
        loop {
            if let Some(connection) = self.existing().await? {
                return Ok(connection);
            }
            match (ended, child.try_wait()) {
                (None, Ok(Some(status))) if status.success() => ended = Some(Instant::now()),
                (None, Ok(Some(status))) => {
                    return Err(self.not_started(&format!("it ended with {status}"), status.code(), log_start));
                }
                (Some(since), _) if since.elapsed() >= START_AGAIN => {
                    (child, ended) = (self.spawn()?, None);
                }
                _ => {}
            }
            if Instant::now() >= deadline {
                let why = format!("it does not listen after {} seconds", START_PATIENCE.as_secs());
                return Err(self.not_started(&why, None, log_start));
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    fn spawn(&self) -> Result<Child, Failure> {
        let failed = |what: String, error: io::Error| {
            Failure::new(
                Exit::Unreachable,
                format!("cannot start a router: {what}: {error}"),
                "start one by hand to see more: codeswarm router --config FILE",
            )
        };
        let folder = &self.endpoint.state_dir;
        private_folder(folder).map_err(|error| failed(format!("folder {}", folder.display()), error))?;
        let log = open_log(&self.endpoint.log)
            .map_err(|error| failed(format!("log {}", self.endpoint.log.display()), error))?;
        let errors = log.try_clone().map_err(|error| failed("its log".to_owned(), error))?;
        let program = std::env::current_exe().map_err(|error| failed("finding this program".to_owned(), error))?;
        descriptors::keep_from_children();
        let mut command = Command::new(&program);
        command.arg("router");
        if let Some(config) = &self.config {
            command.arg("--config").arg(config);
        }
        // It makes itself a session of its own first thing, so Ctrl-C here does not reach it.
        command.arg("--background").current_dir(folder);
        command.stdin(Stdio::null()).stdout(log).stderr(errors);
        command
            .spawn()
            .map_err(|error| failed(program.display().to_string(), error))
    }

    fn unreachable(&self, error: &io::Error) -> Failure {
        let socket = self.endpoint.socket.display();
        Failure::new(
            Exit::Unreachable,
            format!("cannot reach the router at {socket}: {error}"),
            "the socket belongs to who started the router; run as the same user, or name another router.state_dir",
        )
    }

    fn not_started(&self, why: &str, code: Option<i32>, log_start: u64) -> Failure {
        let exit = if code == Some(i32::from(Exit::Config.code())) {
            Exit::Config
        } else {
            Exit::Unreachable
        };
        let log = self.endpoint.log.display();
        let tail = tail(&self.endpoint.log, log_start).unwrap_or_default();
        let advice = if tail.is_empty() {
            format!("its log {log} says nothing; start it by hand to see more: codeswarm router --config FILE")
        } else {
            format!("the end of its log {log}:\n{tail}")
        };
        Failure::new(
            exit,
            format!("the router in the background did not come up: {why}"),
            advice,
        )
    }
}

fn private_folder(folder: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(folder)
}

fn open_log(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).mode(0o600).open(path)
}

/// The last lines behind `start`, indented.
fn tail(path: &Path, start: u64) -> io::Result<String> {
    let mut log = File::open(path)?;
    let end = log.seek(SeekFrom::End(0))?;
    log.seek(SeekFrom::Start(start.max(end.saturating_sub(64 * 1024))))?;
    let mut bytes = Vec::new();
    log.read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<&str> = text.lines().collect();
    let shown = lines.iter().skip(lines.len().saturating_sub(LOG_LINES));
    Ok(shown.map(|line| format!("    {line}")).collect::<Vec<_>>().join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tail_is_what_this_start_wrote() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("log");
        let old = "old\n";
        std::fs::write(
            &log,
            format!("{old}{}", (1..=20).map(|n| format!("line {n}\n")).collect::<String>()),
        )
        .unwrap();
        let shown = tail(&log, old.len() as u64).unwrap();
        assert_eq!(shown.lines().count(), LOG_LINES);
        assert!(
            shown.starts_with("    line 6\n") && shown.ends_with("    line 20"),
            "{shown}"
        );
        assert_eq!(tail(&log, std::fs::metadata(&log).unwrap().len()).unwrap(), "");
    }
}
