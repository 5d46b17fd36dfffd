//! The processes of a swarm in the test cluster: all run on this machine, so a test can find and kill them.

use serde_json::{Value, json};

use crate::processes::{self, Process};
use crate::router::{RouterProcess, Swarm};
use crate::slurm_workspace::SlurmWorkspace;
use crate::workspace::wait_until;

impl SlurmWorkspace {
    /// Looks at the queue every second, so that a test need not wait for what is otherwise seen within half a minute.
    #[must_use]
    pub fn looking_every_second(self) -> Self {
        self.configured(|config| config["cluster"]["slurm"]["poll_seconds"] = json!(1))
    }

    /// Waits until none of its jobs is left: Slurm takes a moment to end one.
    #[track_caller]
    pub fn wait_until_no_job_is_left(&self) {
        wait_until("no job to be left", || match self.jobs() {
            jobs if jobs.is_empty() => Ok(()),
            jobs => Err(format!("{jobs:?}")),
        });
    }

    /// The worker of a node.
    #[track_caller]
    pub fn worker(&self, node: u32) -> Process {
        self.of_rank("a worker", node, |process| {
            process.command_line.contains(" worker ") && process.command_line.contains("--kept-by")
        })
    }

    /// The keeper of a node's worker.
    #[track_caller]
    pub fn keeper(&self, node: u32) -> Process {
        self.of_rank("a keeper", node, |process| {
            let command_line = &process.command_line;
            command_line.contains(" worker --keep ") && !command_line.contains("srun ")
        })
    }

    /// The follower on the login node.
    #[track_caller]
    pub fn follower(&self) -> Process {
        wait_until("one follower on the login node", || {
            match &self.login.processes_named(" follower --root ")[..] {
                [follower] => Ok(follower.clone()),
                found => Err(format!("{found:#?}")),
            }
        })
    }

    #[track_caller]
    fn of_rank(&self, what: &str, node: u32, wanted: impl Fn(&Process) -> bool) -> Process {
        let rank = node.to_string();
        let is_it = |process: &Process| {
            wanted(process) && processes::variable(process.pid, "SLURM_PROCID").as_deref() == Some(&*rank)
        };
        wait_until(&format!("{what} of node {node}"), || {
            let mut found = self.processes();
            found.retain(is_it);
            match &found[..] {
                [one] => Ok(one.clone()),
                _ => Err(format!("{found:#?} among {:#?}", self.processes())),
            }
        })
    }
}

/// How a swarm is, as `swarm_status` says.
#[track_caller]
pub fn status_of(router: &mut RouterProcess, swarm: &Swarm) -> Value {
    let command = json!({"command": "swarm_status", "swarm_id": swarm.swarm_id});
    router.asked(command, "swarm_status")
}

/// Waits for the end of a swarm that nobody has asked for, and returns what was told.
#[track_caller]
pub fn wait_for_failure(router: &RouterProcess, swarm: &Swarm) -> Value {
    let end = router.wait_for("the swarm's end", |event| {
        event["type"] == "swarm_terminated" && event["swarm_id"] == swarm.swarm_id.as_str()
    });
    assert_eq!(end["status"], "failed", "{end}");
    end
}
