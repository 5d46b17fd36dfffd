//! The configuration as the program uses it: paths absolute, defaults filled in, values in range.

use std::path::{Path, PathBuf};
use std::time::Duration;

use codeswarm_protocol::doorbell::Listen;
use codeswarm_protocol::launch::{AgentSpec, WorkerSpec};

use crate::file::{SlurmSection, Watch};
use crate::{ConfigError, Environment, Finding};

/// A configuration that was read, and what should be said about it.
#[derive(Debug, Clone, PartialEq)]
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    /// What works but is probably not meant. Show each once, on stderr.
    pub warnings: Vec<Finding>,
}

/// A checked configuration.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// Where agents run and what they share.
    pub cluster: Cluster,
    /// The router's settings.
    pub router: Router,
    /// The agent. `${NAME}` in `agent.env` is well formed and still unexpanded: it belongs to the worker's environment.
    pub agent: AgentSpec,
    /// The worker's settings.
    pub worker: WorkerSpec,
}

/// Where agents run and what they share.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cluster {
    /// Who starts the workers.
    pub backend: Backend,
    /// Absolute; a path on the cluster if there is an ssh host, else of this machine.
    pub workspace_root: PathBuf,
    /// Relative, at least one component, none of them `..`.
    pub cluster_subdir: PathBuf,
    /// How outboxes are watched.
    pub watch: Watch,
    /// Where the follower hears the workers' hints.
    pub doorbell: Listen,
}

/// Who starts the workers.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(
    clippy::large_enum_variant,
    reason = "a process has one configuration; its size does not matter"
)]
pub enum Backend {
    /// The router, as processes on this machine.
    Local,
    /// Slurm.
    Slurm(SlurmCluster),
}

/// A cluster under Slurm.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SlurmCluster {
    /// How to reach the login node; absent when the router runs on it.
    pub ssh: Option<Ssh>,
    /// An installed binary, absolute path there; absent: one is deployed.
    pub remote_binary: Option<PathBuf>,
    /// The binary to deploy, absolute path here; absent: the running one. Never beside `remote_binary`.
    pub binary: Option<PathBuf>,
    /// What is asked of `sbatch`. Free of control characters; whether Slurm knows the names is for Slurm to say. Its
    /// `template` is absolute.
    pub slurm: SlurmSection,
}

/// How to reach the login node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ssh {
    /// Never empty, never an option (`-…`), no blanks.
    pub login_alias: String,
    /// The socket of an open control master; absolute.
    pub control_path: Option<PathBuf>,
    /// What `ssh -F` is given; absolute. Absent: nothing.
    pub config_file: Option<PathBuf>,
}

/// The router's settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Router {
    /// How long an accepted prompt may wait for its delivery.
    pub inject_timeout: Duration,
    /// Absolute, on this machine. Unless the file names one it is different for each mailbox.
    pub state_dir: PathBuf,
    /// The longest prompt in bytes.
    pub max_prompt_bytes: u64,
    /// Absent: a router without clients and work stays.
    pub idle_exit: Option<Duration>,
}

impl Config {
    /// The configuration of someone who has none: the local backend, the `echo` agent, everything below the state
    /// folder of the user (`$XDG_STATE_HOME/codeswarm`, else `~/.local/state/codeswarm`).
    ///
    /// Fails only where the environment has neither `XDG_STATE_HOME` nor `HOME`.
    pub fn local_default(environment: &Environment) -> Result<Self, ConfigError> {
        crate::parse("{}", Path::new("(the built-in default)"), Path::new("/"), environment).map(|loaded| loaded.config)
    }

    /// The folder that holds `mailbox/`, `runs/` and `bin/`: `workspace_root/cluster_subdir`.
    pub fn mailbox_root(&self) -> PathBuf {
        self.cluster.workspace_root.join(&self.cluster.cluster_subdir)
    }

    /// The ssh settings, if the cluster is reached by ssh.
    pub fn ssh(&self) -> Option<&Ssh> {
        match &self.cluster.backend {
            Backend::Slurm(cluster) => cluster.ssh.as_ref(),
            Backend::Local => None,
        }
    }
}
