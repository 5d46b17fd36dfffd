//! A workspace whose configuration names the test cluster, behind a login node of the test's own.

use std::ops::Deref;
use std::path::Path;

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

/// Ends the jobs of a folder.
struct Jobs {
    cluster: TestCluster,
    folder: std::path::PathBuf,
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
        let jobs = Jobs {
            cluster: cluster.clone(),
            folder: workspace.path().to_owned(),
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

    /// The cluster.
    pub fn cluster(&self) -> &TestCluster {
        &self.jobs.cluster
    }

    /// The jobs of this workspace that are not over.
    pub fn jobs(&self) -> Vec<String> {
        self.cluster().jobs_in(self.path())
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
        if std::thread::panicking() {
            let queue = self.cluster.try_slurm(&["squeue", "--states=all", "--long"]);
            eprintln!("-- squeue:\n{}{}", queue.stdout, queue.stderr);
        }
        self.cluster.end_jobs_in(&self.folder);
    }
}
