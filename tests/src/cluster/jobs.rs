//! What tests do with jobs of the test cluster, without Codeswarm.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use super::TestCluster;
use crate::cli::run;
use crate::workspace::wait_until;

impl TestCluster {
    /// Submits a batch script from a folder, with further options; returns the job's id.
    #[track_caller]
    pub fn submit(&self, folder: &Path, options: &[&str], script: &str) -> String {
        let mut command = Command::new("sbatch");
        command
            .arg("--parsable")
            .args(options)
            .env("SLURM_CONF", self.slurm_conf())
            // So that whoever ends what runs in this folder finds the job's processes.
            .env("WORKSPACE_OF_TEST", folder)
            .current_dir(folder);
        run(command, script.as_bytes()).success().stdout.trim().to_owned()
    }

    /// A job's state in Slurm's word, such as `RUNNING`; empty when Slurm has forgotten the job.
    pub fn state(&self, job: &str) -> String {
        let output = self.try_slurm(&["squeue", "--noheader", "--states=all", "--format=%T", "--jobs", job]);
        output.stdout.trim().to_owned()
    }

    /// Waits until a job is in a state.
    pub fn wait_for_state(&self, job: &str, state: &str) {
        wait_until(&format!("job {job} to be {state}"), || match self.state(job) {
            found if found == state => Ok(()),
            found => Err(format!("it is {found:?}: {}", self.shown(job))),
        });
    }

    /// All that Slurm says about a job.
    pub fn shown(&self, job: &str) -> String {
        let output = self.try_slurm(&["scontrol", "show", "job", "--oneliner", job]);
        output.stdout + &output.stderr
    }

    /// Puts a running job back into the queue. It is held back for about five seconds, then it starts again under
    /// the same id.
    pub fn requeue(&self, job: &str) {
        self.slurm(&["scontrol", "requeue", job]);
    }

    /// The jobs that are not over and that name something in a folder: as working directory, command or output.
    pub fn jobs_in(&self, folder: &Path) -> Vec<String> {
        // All others are ends.
        const GOING_ON: [&str; 8] = [
            "PENDING",
            "CONFIGURING",
            "RUNNING",
            "SUSPENDED",
            "STOPPED",
            "COMPLETING",
            "REQUEUED",
            "REQUEUE_HOLD",
        ];
        let name = folder.display().to_string();
        let all = self.try_slurm(&["scontrol", "show", "job", "--oneliner"]).stdout;
        let field = |line: &str, name: &str| {
            let mut fields = line.split(' ').filter_map(|field| field.split_once('='));
            fields.find(|(key, _)| *key == name).map(|(_, value)| value.to_owned())
        };
        let ours = all.lines().filter(|line| line.contains(&name));
        ours.filter(|line| field(line, "JobState").is_some_and(|state| GOING_ON.contains(&state.as_str())))
            .filter_map(|line| field(line, "JobId"))
            .collect()
    }

    /// Kills the jobs of a folder, and waits a while until they are over.
    pub fn end_jobs_in(&self, folder: &Path) {
        let deadline = Instant::now() + Duration::from_secs(15);
        let mut round = 0_u32;
        loop {
            let jobs = self.jobs_in(folder);
            if jobs.is_empty() {
                return;
            }
            if Instant::now() >= deadline {
                eprintln!("jobs of {} that do not end: {jobs:?}", folder.display());
                return;
            }
            if round.is_multiple_of(20) {
                let jobs: Vec<&str> = jobs.iter().map(String::as_str).collect();
                // At once what runs; then also what waits, and what would be queued again.
                self.try_slurm(&[&["scancel", "--signal=KILL", "--full"], &jobs[..]].concat());
                self.try_slurm(&[&["scancel"], &jobs[..]].concat());
            }
            round += 1;
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}
