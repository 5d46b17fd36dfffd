//! A workspace whose configuration names the test cluster, behind a login node of the test's own.

use std::ops::Deref;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::cluster::TestCluster;
use crate::fakes::Fakes;
use crate::login_node::{LoginNode, LoginOptions};
use crate::model_server::ModelServer;
use crate::workspace::Workspace;

/// The workspace; it can do all that a [`Workspace`] can. When it is dropped, its jobs are cancelled, then its login node
/// and every process that was started in it are ended, then its folder is removed.
pub struct SlurmWorkspace {
    // Dropped in this order.
    jobs: Jobs,
    /// Where Codeswarm's ssh goes.
    pub login: LoginNode,
    /// What stands in front of Slurm's programs on the login node, and of `ssh` in this workspace's commands.
    pub fakes: Fakes,
    workspace: Workspace,
}

/// Ends the jobs of the workspace.
struct Jobs {
    cluster: TestCluster,
    folders: Vec<PathBuf>,
}

impl SlurmWorkspace {
    /// With the built-in agent.
    pub fn echo(cluster: &TestCluster) -> Self {
        Self::of(cluster, Workspace::echo())
    }

    /// With the real Codex, talking to a model server of the test. Jobs have its key from the login node's environment.
    pub fn codex(cluster: &TestCluster, codex: &Path, model: &ModelServer) -> Self {
        Self::of(cluster, Workspace::codex(codex, model))
    }

    fn of(cluster: &TestCluster, workspace: Workspace) -> Self {
        let fakes = Fakes::new(workspace.path());
        let login = LoginNode::start(cluster, workspace.path(), &Self::login_options(&fakes));
        let workspace = workspace.configured(|config| {
            config["cluster"]["backend"] = json!("slurm");
            config["cluster"]["slurm"] = json!({"partition": "compute"});
            config["ssh"] = json!({"login_alias": LoginNode::ALIAS, "config_file": login.ssh_config()});
        });
        let mut jobs = Jobs {
            cluster: cluster.clone(),
            folders: vec![workspace.path().to_owned()],
        };
        let workspace = if cluster.has_views() {
            let root = share(cluster, &workspace);
            jobs.folders.push(root.clone());
            workspace.configured(|config| config["cluster"]["workspace_root"] = json!(root))
        } else {
            workspace
        };
        Self {
            jobs,
            login,
            fakes,
            workspace,
        }
    }

    /// How its login node is set up in the beginning; to be changed for [`LoginNode::start_again_with`].
    pub fn login_options(fakes: &Fakes) -> LoginOptions {
        LoginOptions {
            programs: Some(Fakes::programs()),
            environment: vec![fakes.variable()],
            ..LoginOptions::default()
        }
    }

    /// Changes the configuration before anything is started.
    #[must_use]
    pub fn configured(mut self, change: impl FnOnce(&mut Value)) -> Self {
        self.workspace = self.workspace.configured(change);
        self
    }

    /// Has a command of this workspace find the fakes first, which is how Codeswarm comes to a fake `ssh`.
    pub fn put_fakes_before(&self, command: &mut std::process::Command) {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let folders = std::iter::once(Fakes::programs()).chain(std::env::split_paths(&path));
        let path = std::env::join_paths(folders).unwrap_or_else(|error| panic!("PATH: {error}"));
        let (name, value) = self.fakes.variable();
        command.env("PATH", path).env(name, value);
    }

    /// The cluster.
    pub fn cluster(&self) -> &TestCluster {
        &self.jobs.cluster
    }

    /// The jobs of this workspace that are not over.
    pub fn jobs(&self) -> Vec<String> {
        self.jobs.running()
    }
}

/// Moves the shared folder to where the cluster's views are. The workspace finds it there by its old name.
fn share(cluster: &TestCluster, workspace: &Workspace) -> PathBuf {
    let name = workspace.path().file_name().unwrap_or_default();
    let (root, old) = (cluster.work().join(name), workspace.path().join("shared"));
    let moved = std::fs::create_dir(&root)
        .and_then(|()| std::fs::remove_dir(&old))
        .and_then(|()| std::os::unix::fs::symlink(&root, &old));
    moved.unwrap_or_else(|error| panic!("{} for {}: {error}", root.display(), old.display()));
    root
}

impl Jobs {
    fn running(&self) -> Vec<String> {
        let mut jobs: Vec<String> = self
            .folders
            .iter()
            .flat_map(|folder| self.cluster.jobs_in(folder))
            .collect();
        jobs.sort();
        jobs.dedup();
        jobs
    }
}

impl Deref for SlurmWorkspace {
    type Target = Workspace;

    fn deref(&self) -> &Workspace {
        &self.workspace
    }
}

impl Drop for Jobs {
    fn drop(&mut self) {
        if !self.cluster.try_slurm(&["squeue", "--noheader"]).status.success() {
            self.cluster.repair();
        }
        if std::thread::panicking() {
            let queue = self.cluster.try_slurm(&["squeue", "--states=all", "--long"]);
            eprintln!("-- squeue:\n{}{}", queue.stdout, queue.stderr);
        }
        for folder in &self.folders {
            self.cluster.end_jobs_in(folder);
        }
    }
}
