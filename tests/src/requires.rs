//! What some tests need and not every machine has. Such a test begins with
//!
//! ```no_run
//! let Some(codex) = codeswarm_tests::requires::codex() else { return };
//! ```
//!
//! Where the thing is missing the test is left out, which is said on standard error past the test runner's capture, and
//! listed by `tests/left_out.rs`. With `CODESWARM_TESTS=all`, as `tests/run` sets it, it fails instead, unless what is
//! missing is a privilege or OpenClaw.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::cluster::TestCluster;
use crate::small_disk::SmallDisk;

/// The native program of Codex, from `CODESWARM_TEST_CODEX`.
pub fn codex() -> Option<PathBuf> {
    Requirement::Codex.meet()
}

/// The native program of Claude Code, from `CODESWARM_TEST_CLAUDE`.
pub fn claude() -> Option<PathBuf> {
    Requirement::Claude.meet()
}

/// The folder in which the Model Context Protocol's SDK is installed, from `CODESWARM_TEST_MCP_SDK`.
pub fn mcp_sdk() -> Option<PathBuf> {
    Requirement::McpSdk.meet()
}

/// The folder with the real OpenClaw and its Node.js, from `CODESWARM_TEST_OPENCLAW`.
pub fn openclaw() -> Option<PathBuf> {
    Requirement::OpenClaw.meet()
}

/// Node.js, from the PATH.
pub fn node() -> Option<PathBuf> {
    Requirement::Node.meet()
}

/// Python 3, from the PATH.
pub fn python() -> Option<PathBuf> {
    Requirement::Python.meet()
}

/// valgrind, from the PATH, to count instructions.
pub fn valgrind() -> Option<PathBuf> {
    Requirement::Valgrind.meet()
}

/// The right to mount a small filesystem; returns whether it is there.
pub fn small_disk() -> Option<PathBuf> {
    Requirement::SmallDisk.meet()
}

/// The test cluster: a real Slurm and what a login node needs. See [`TestCluster`] for what others do to it meanwhile.
pub fn cluster() -> Option<TestCluster> {
    Requirement::Cluster.meet().map(|_| TestCluster::get())
}

/// A test cluster whose login node and compute nodes have each their own view of the shared filesystem.
pub fn cluster_views() -> Option<TestCluster> {
    Requirement::ClusterViews.meet().map(|_| TestCluster::with_views())
}

/// The program that serves a hostile filesystem, where the test cluster can have one: see
/// [`TestCluster::hostile`].
pub fn hostfs() -> Option<PathBuf> {
    Requirement::HostFs.meet()?;
    let found = match std::env::var_os("CODESWARM_HOSTFS") {
        Some(path) => Some(PathBuf::from(path)),
        None => beside_the_tests("codeswarm-hostfs"),
    };
    match found.filter(|path| path.is_file()) {
        Some(path) => Some(path),
        None => panic!(
            "there is no codeswarm-hostfs program beside the tests: run `cargo build -p codeswarm-hostfs` with the \
             same profile, or set CODESWARM_HOSTFS to a program, or run `tests/run`"
        ),
    }
}

/// The `codeswarm` program under test: `CODESWARM_BIN`, else the one that Cargo has put beside the tests.
pub fn codeswarm() -> PathBuf {
    let found = match std::env::var_os("CODESWARM_BIN") {
        Some(path) => Some(PathBuf::from(path)),
        None => beside_the_tests("codeswarm"),
    };
    match found.filter(|path| path.is_file()) {
        Some(path) => path,
        None => panic!(
            "there is no codeswarm program beside the tests: run `cargo build -p codeswarm-cli` with the same \
             profile, or set CODESWARM_BIN to a program, or run `tests/run`"
        ),
    }
}

/// A program in the folder of Cargo's profile: the tests are in its `deps`.
fn beside_the_tests(name: &str) -> Option<PathBuf> {
    let test = std::env::current_exe().ok()?;
    let profile = test.parent()?.parent()?;
    Some(profile.join(name).with_extension(std::env::consts::EXE_EXTENSION))
}

/// Something that may be missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Requirement {
    /// The real Codex.
    Codex,
    /// The real Claude Code.
    Claude,
    /// The Model Context Protocol's SDK, and the Node.js that runs it.
    McpSdk,
    /// The real OpenClaw.
    OpenClaw,
    /// Node.js.
    Node,
    /// Python 3.
    Python,
    /// valgrind with its callgrind.
    Valgrind,
    /// The right to mount a small filesystem.
    SmallDisk,
    /// Slurm, munge, sshd and ssh.
    Cluster,
    /// The same with FUSE and the right to mount.
    ClusterViews,
    /// The same without bindfs, for the hostile filesystem.
    HostFs,
}

impl Requirement {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::Codex,
        Self::Claude,
        Self::McpSdk,
        Self::OpenClaw,
        Self::Node,
        Self::Python,
        Self::Valgrind,
        Self::SmallDisk,
        Self::Cluster,
        Self::ClusterViews,
        Self::HostFs,
    ];

    /// The function of this module that a test calls for it.
    pub fn function(self) -> &'static str {
        match self {
            Self::Codex => "codex",
            Self::Claude => "claude",
            Self::McpSdk => "mcp_sdk",
            Self::OpenClaw => "openclaw",
            Self::Node => "node",
            Self::Python => "python",
            Self::Valgrind => "valgrind",
            Self::SmallDisk => "small_disk",
            Self::Cluster => "cluster",
            Self::ClusterViews => "cluster_views",
            Self::HostFs => "hostfs",
        }
    }

    /// What it is, and how to come by it.
    pub fn how(self) -> &'static str {
        match self {
            Self::Codex => {
                "the real Codex: run `tests/run`, which installs it, or set CODESWARM_TEST_CODEX to its native program"
            }
            Self::Claude => {
                "the real Claude Code: run `tests/run`, which installs it, or set CODESWARM_TEST_CLAUDE to its native program"
            }
            Self::McpSdk => {
                "the SDK of the Model Context Protocol and Node.js: run `tests/run`, which installs them, or set \
                 CODESWARM_TEST_MCP_SDK to a folder whose node_modules has it"
            }
            Self::OpenClaw => {
                "the real OpenClaw: run `tests/run`, which installs it (850 MB from npm), or set CODESWARM_TEST_OPENCLAW to the \
                 folder that `tests/openclaw/install` prints"
            }
            Self::Node => "Node.js: run `tests/run`, which installs it, or put `node` on the PATH",
            Self::Python => "Python 3: run `tests/run`, which installs it, or put `python3` on the PATH",
            Self::Valgrind => "valgrind: run `tests/run`, which installs it, or put `valgrind` on the PATH",
            Self::SmallDisk => "the right to mount a small tmpfs: run as root, in a container with CAP_SYS_ADMIN",
            Self::Cluster => {
                "Slurm, munge and OpenSSH: run `tests/run`, which installs them, or install slurm-wlm, munge, \
                 openssh-server and openssh-client"
            }
            Self::ClusterViews => {
                "the test cluster, bindfs, /dev/fuse and the right to mount: run as root, in a container with \
                 CAP_SYS_ADMIN"
            }
            Self::HostFs => {
                "the test cluster, /dev/fuse, fusermount3 and the right to mount: run as root, in a container with \
                 CAP_SYS_ADMIN"
            }
        }
    }

    /// Where it is, if it is there.
    pub fn find(self) -> Option<PathBuf> {
        match self {
            Self::Codex => std::env::var_os("CODESWARM_TEST_CODEX").map(PathBuf::from),
            Self::Claude => std::env::var_os("CODESWARM_TEST_CLAUDE").map(PathBuf::from),
            Self::McpSdk => std::env::var_os("CODESWARM_TEST_MCP_SDK")
                .map(PathBuf::from)
                .filter(|_| Self::Node.find().is_some()),
            Self::OpenClaw => std::env::var_os("CODESWARM_TEST_OPENCLAW").map(PathBuf::from),
            Self::Node => on_the_path("node"),
            Self::Python => on_the_path("python3"),
            Self::Valgrind => on_the_path("valgrind"),
            Self::SmallDisk => SmallDisk::is_possible().then(|| PathBuf::from("/")),
            Self::Cluster => TestCluster::PROGRAMS
                .iter()
                .map(|name| program(name))
                .collect::<Option<Vec<_>>>()?
                .pop(),
            Self::ClusterViews => Self::Cluster.find().filter(|_| fuse()).and(program("bindfs")),
            Self::HostFs => Self::Cluster.find().filter(|_| fuse()).and(program("fusermount3")),
        }
    }

    /// Whether it can be missing although everything is required: a right that only an administrator can give, or a program
    /// that is too large, or too new, for some machines (`tests/run` says why it could not be installed).
    pub fn may_be_missing(self) -> bool {
        matches!(
            self,
            Self::SmallDisk | Self::ClusterViews | Self::HostFs | Self::OpenClaw
        )
    }

    fn meet(self) -> Option<PathBuf> {
        let found = self.find();
        if found.is_none() {
            let test = std::thread::current().name().unwrap_or("a test").to_owned();
            if everything_is_required() && !self.may_be_missing() {
                panic!("CODESWARM_TESTS=all, and {test} needs {}", self.how());
            }
            // Written directly: what a passing test prints with `eprintln!` is not shown.
            let _ = writeln!(std::io::stderr(), "left out: {test} ({} is missing)", self.function());
        }
        found
    }
}

/// Whether a missing requirement is a failure.
pub fn everything_is_required() -> bool {
    std::env::var_os("CODESWARM_TESTS").is_some_and(|value| value == "all")
}

fn fuse() -> bool {
    SmallDisk::is_possible() && Path::new("/dev/fuse").exists()
}

/// Where a program is: also where those for administrators are, which not every PATH has.
fn program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(["/usr/sbin", "/sbin"].map(PathBuf::from));
    folders.map(|folder| folder.join(name)).find(|path| path.is_file())
}

/// For a program that has `--version`.
fn on_the_path(name: &str) -> Option<PathBuf> {
    let runs = Command::new(name)
        .arg("--version")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    runs.is_ok_and(|status| status.success()).then(|| PathBuf::from(name))
}
