//! A job that Slurm is said to run, whose workers are played: the router adopts it, follows its mailbox beside it, and knows no
//! difference. Slurm's programs are scripts that tell of as many jobs as are asked for.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use codeswarm_mailbox::Mailbox;
use codeswarm_protocol::{JobId, Place};
use serde_json::json;

use super::listener::Listener;
use super::outboxes::place;
use crate::swarm_simulator::worker::PlayedWorker;
use crate::workspace::{Workspace, wait_until};

/// The job's number.
pub const JOB: &str = "4242";

/// Says of every job that it runs, with as many tasks as the file beside it says.
const SCONTROL: &str = r#"#!/bin/sh
[ "$2" = hostnames ] && { echo "$3"; exit; }
for last; do :; done
tasks=$(cat "${0%/*}/tasks")
echo "JobId=$last JobName=codeswarm UserId=root(0) GroupId=root(0) JobState=RUNNING Reason=None Restarts=0 ExitCode=0:0" \
  "RunTime=00:01:00 TimeLimit=UNLIMITED StartTime=2026-11-27T18:48:40 EndTime=Unknown Partition=compute" \
  "NodeList=node0 NumNodes=1 NumCPUs=$tasks NumTasks=$tasks Comment=(null)"
"#;

/// Lists each job that is asked for.
const SQUEUE: &str = r#"#!/bin/sh
for word; do
  case $word in --jobs=*) echo "${word#--jobs=}" ;; esac
done | tr ',' '\n' | while read -r job; do
  echo "$job|RUNNING|1|node0|2026-11-27T18:48:40|N/A|(null)|None"
done
"#;

/// The workspace; its router is started with [`PlayedSwarm::router`].
pub struct PlayedSwarm {
    workspace: Workspace,
    nodes: u32,
}

impl PlayedSwarm {
    /// A swarm of so many nodes of which nobody knows yet; `watch` is the configuration's `cluster.watch`.
    pub fn new(nodes: u32, watch: &str) -> Self {
        Self::made(nodes, watch, |workspace, _| workspace)
    }

    /// The same with further changes of the workspace, which is given with the folder of Slurm's programs.
    pub fn made(nodes: u32, watch: &str, change: impl FnOnce(Workspace, &Path) -> Workspace) -> Self {
        let workspace = Workspace::echo().configured(|config| {
            config["cluster"]["backend"] = json!("slurm");
            config["cluster"]["slurm"] = json!({"partition": "compute"});
            config["cluster"]["watch"] = json!(watch);
            // The program is not copied into each workspace: no job starts it.
            config["cluster"]["remote_binary"] = json!("/nowhere/codeswarm");
        });
        let programs = workspace.path().join("slurm");
        write_programs(&programs, nodes);
        let workspace = change(workspace, &programs);
        Self { workspace, nodes }
    }

    /// The folder of the stand-ins for Slurm's programs.
    pub fn programs(&self) -> PathBuf {
        self.workspace.path().join("slurm")
    }

    /// How many nodes it has.
    pub fn nodes(&self) -> u32 {
        self.nodes
    }

    /// Its workspace.
    pub fn workspace(&self) -> &Workspace {
        &self.workspace
    }

    /// Its mailbox.
    pub fn mailbox(&self) -> Mailbox {
        Mailbox::at(self.root())
    }

    /// The mailbox's folder.
    pub fn root(&self) -> PathBuf {
        self.workspace.path().join("shared/codeswarm")
    }

    /// `codeswarm router --daemon` that has not adopted anything; what happens from now on is heard.
    pub fn router(&self) -> Listener {
        let mut router = Listener::start(self.router_command());
        // Without that a client hears of its own prompts alone.
        router.asked(json!({"command": "subscribe"}), "caught_up");
        router
    }

    /// The command that starts it.
    pub fn router_command(&self) -> Command {
        let mut command = self.workspace.command(&["router", "--daemon"]);
        let path = std::env::var_os("PATH").unwrap_or_default();
        let folders = std::iter::once(self.programs()).chain(std::env::split_paths(&path));
        let path = std::env::join_paths(folders).unwrap_or_else(|error| panic!("PATH: {error}"));
        command.env("PATH", path);
        command
    }

    /// Has the router adopt the job, and waits until the mailbox's files are made; the swarm's id.
    pub fn adopt(&self, router: &mut Listener) -> String {
        let adopted = router.asked(json!({"command": "swarm_adopt", "job_id": JOB}), "swarm_adopted");
        let mailbox = self.mailbox();
        let last = mailbox.outbox(&place(JOB, self.nodes - 1));
        wait_until("the mailbox is prepared", || match last.exists() {
            true => Ok(()),
            false => Err(format!("{} is not there", last.display())),
        });
        adopted["swarm_id"].as_str().unwrap_or_default().to_owned()
    }

    /// Waits until the router has heard of all workers.
    pub fn wait_until_running(&self, router: &Listener) {
        router.wait_for("the swarm to run", |event| {
            event["type"] == "swarm_status" && event["status"] == "running"
        });
    }

    /// Its places.
    pub fn places(&self) -> Vec<Place> {
        (0..self.nodes).map(|node| place(JOB, node)).collect()
    }

    /// Workers that are played in this process.
    pub fn workers(&self) -> Vec<PlayedWorker> {
        super::usage::raise_open_files();
        let mailbox = self.mailbox();
        let start = |place| match PlayedWorker::start(&mailbox, place) {
            Ok(worker) => worker,
            Err(error) => panic!("a played worker: {error}"),
        };
        self.places().into_iter().map(start).collect()
    }

    /// The job's id.
    pub fn job_id(&self) -> JobId {
        place(JOB, 0).job_id
    }
}

fn write_programs(folder: &Path, tasks: u32) {
    let write = |name: &str, text: &str| {
        let path = folder.join(name);
        let written = std::fs::write(&path, text)
            .and_then(|()| std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)));
        written.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    };
    std::fs::create_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    write("tasks", &tasks.to_string());
    write("scontrol", SCONTROL);
    write("squeue", SQUEUE);
    for name in ["sbatch", "scancel", "sinfo"] {
        write(name, "#!/bin/sh\nexit 1\n");
    }
}
