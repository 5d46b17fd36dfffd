//! The room against a real sshd. `CODESWARM_TEST_SSH_CONFIG` names an ssh configuration whose host `testcluster` logs in to
//! this machine without asking, as `tests/run` sets it; without it these tests are left out, aloud, or fail with
//! `CODESWARM_TESTS=all`. The program is `CODESWARM_BIN`, or the `codeswarm` beside the tests (`cargo build -p codeswarm-cli`).
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "tests, and what only they call; they say what they have seen"
)]

mod commands;
mod deployment;
mod follower;
mod keeping;
mod troubles;

use std::io::Write;
use std::path::{Path, PathBuf};

use codeswarm_link::{Binary, Login, Session, Ssh, connect_once};

/// The host that the configuration must have.
const HOST: &str = "testcluster";

/// What a test works with.
struct Bench {
    folder: tempfile::TempDir,
    config: PathBuf,
}

impl Bench {
    /// `None` when there is no sshd to try on.
    fn new() -> Option<Self> {
        let Some(config) = std::env::var_os("CODESWARM_TEST_SSH_CONFIG") else {
            // Past the test runner's capture: a test that passes is not heard otherwise.
            let test = std::thread::current().name().unwrap_or_default().to_owned();
            let why = "CODESWARM_TEST_SSH_CONFIG names no ssh configuration with a host";
            let everything_is_required = std::env::var_os("CODESWARM_TESTS").is_some_and(|value| value == "all");
            assert!(!everything_is_required, "CODESWARM_TESTS=all, and {why} {HOST}");
            let _unheard = writeln!(std::io::stderr(), "left out: {test} ({why} {HOST})");
            return None;
        };
        let folder = tempfile::Builder::new().prefix("link").tempdir().unwrap();
        let config = std::fs::canonicalize(config).unwrap();
        Some(Self { folder, config })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn root(&self) -> String {
        self.path("root").to_str().unwrap().to_owned()
    }

    fn login(&self) -> Login {
        Login {
            ssh: Ssh {
                login_alias: HOST.into(),
                config_file: Some(self.config.clone()),
                control_path: None,
            },
            control_dir: self.path("s"),
        }
    }

    /// The way there with settings that come before those of the configuration.
    fn login_with(&self, settings: &str) -> Login {
        let path = self.path("ssh_config");
        let text = format!("Host *\n{settings}\nInclude {}\n", self.config.display());
        std::fs::write(&path, text).unwrap();
        let mut login = self.login();
        login.ssh.config_file = Some(path);
        login
    }

    async fn connect(&self) -> Session {
        connect_once(&self.login()).await.unwrap()
    }

    fn installed(&self) -> Binary {
        Binary::Installed(program().to_str().unwrap().to_owned())
    }
}

/// The program that the login node runs.
fn program() -> PathBuf {
    if let Some(path) = std::env::var_os("CODESWARM_BIN") {
        return path.into();
    }
    let test = std::env::current_exe().unwrap();
    let path = test.parent().and_then(Path::parent).unwrap().join("codeswarm");
    assert!(
        path.exists(),
        "build it first: cargo build -p codeswarm-cli ({})",
        path.display()
    );
    path
}
