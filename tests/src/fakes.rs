//! Stand-ins for Slurm's programs and for ssh, for what the real ones seldom do: `tests/cluster/fakes/fake` says how.
//!
//! Each call that no answer is meant for goes to the real program, so a test says only what is unusual.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{CWD, RenameFlags, renameat_with};

/// Slurm's own words for its usual failures.
pub mod words {
    /// `squeue` or `scontrol show` while slurmctld is away. The real ones take nine seconds, or twice that, to say so.
    pub const NO_CONTROLLER: &str = "slurm_load_jobs error: Unable to contact slurm controller (connect failure)\n";
    /// `scancel 17` while slurmctld is away; its exit code is 8.
    pub const SCANCEL_NO_CONTROLLER: &str =
        "scancel: error: Kill job error on job id 17: Unable to contact slurm controller (connect failure)\n";
    /// `sinfo` while slurmctld is away.
    pub const SINFO_NO_CONTROLLER: &str =
        "slurm_load_partitions: Unable to contact slurm controller (connect failure)\n";
    /// `sbatch` while slurmctld is away.
    pub const SBATCH_NO_CONTROLLER: &str =
        "sbatch: error: Batch job submission failed: Unable to contact slurm controller (connect failure)\n";
    /// `squeue` or `scontrol show` of a job that Slurm has forgotten. (`scancel` of one says nothing.)
    pub const INVALID_JOB: &str = "slurm_load_jobs error: Invalid job id specified\n";
    /// A timeout of slurmctld, after which a submission may have happened.
    pub const SBATCH_TIMED_OUT: &str =
        "sbatch: error: Batch job submission failed: Socket timed out on send/recv operation\n";
    /// A partition that does not exist.
    pub const INVALID_PARTITION: &str = "sbatch: error: invalid partition specified: nowhere\n\
        sbatch: error: Batch job submission failed: Invalid partition name specified\n";
    /// An account that may not be used here.
    pub const INVALID_ACCOUNT: &str = "sbatch: error: Batch job submission failed: Invalid account or \
        account/partition combination specified\n";
    /// More jobs than the site allows.
    pub const TOO_MANY_JOBS: &str = "sbatch: error: QOSMaxSubmitJobPerUserLimit\n\
        sbatch: error: Batch job submission failed: Job violates accounting/QOS policy (job submit limit, user's size \
        and/or time limits)\n";
}

/// The fakes of one test.
pub struct Fakes {
    folder: PathBuf,
    made: std::cell::Cell<u32>,
}

/// One recorded call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// The program's name.
    pub program: String,
    /// Its arguments.
    pub arguments: Vec<String>,
    /// What was on its standard input; only of `sbatch`.
    pub stdin: String,
}

/// What a fake does instead of the real program.
#[derive(Debug, Clone, Default)]
#[must_use = "nothing happens until it is given to Fakes::set"]
pub struct Answer {
    files: Vec<(&'static str, String)>,
}

impl Answer {
    /// One that only says nothing and succeeds.
    pub fn nothing() -> Self {
        Self::default().with("out", "")
    }

    /// Standard output.
    pub fn out(text: &str) -> Self {
        Self::default().with("out", text)
    }

    /// Standard error and the exit code 1.
    pub fn fails(error: &str) -> Self {
        Self::default().with("err", error).code(1)
    }

    /// Passes the call on to the real program, late.
    pub fn late(delay: Duration) -> Self {
        Self::default().after(delay)
    }

    /// Bash that is run instead, with the call's arguments. In it, `real "$@"` runs the real program, and `cut` kills the
    /// login node's end of the connection.
    pub fn script(text: &str) -> Self {
        Self::default().with("script", text)
    }

    /// The real program does it, and the connection dies before the answer is told.
    pub fn done_but_not_told() -> Self {
        Self::script("real \"$@\" >/dev/null 2>&1; cut")
    }

    /// What the real program prints, with each match of an extended regular expression replaced.
    pub fn edited(pattern: &str, replacement: &str) -> Self {
        assert!(
            !format!("{pattern}{replacement}").contains(['\'', '\u{1}']),
            "no quotes, please"
        );
        Self::script(&format!(
            "set -o pipefail; real \"$@\" | sed -E 's\u{1}{pattern}\u{1}{replacement}\u{1}g'"
        ))
    }

    /// The exit code.
    pub fn code(self, code: u8) -> Self {
        self.with("exit", &code.to_string())
    }

    /// How long it takes.
    pub fn after(self, delay: Duration) -> Self {
        self.with("delay", &delay.as_secs_f64().to_string())
    }

    /// Only for calls whose arguments, joined by spaces, match this extended regular expression.
    pub fn when(self, pattern: &str) -> Self {
        self.with("match", pattern)
    }

    /// Only for so many calls.
    pub fn times(self, count: u32) -> Self {
        self.with("times", &format!("{count}\n"))
    }

    fn with(mut self, file: &'static str, content: &str) -> Self {
        self.files.retain(|(name, _)| *name != file);
        self.files.push((file, content.to_owned()));
        self
    }
}

impl Fakes {
    /// Fakes that are told what to do in a new folder `fakes` of a test's workspace folder.
    pub fn new(workspace: &Path) -> Self {
        let folder = workspace.join("fakes");
        std::fs::create_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
        let made = std::cell::Cell::new(0);
        Self { folder, made }
    }

    /// The folder with the programs, for the front of a PATH.
    pub fn programs() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("cluster/fakes")
    }

    /// The variable that the programs need.
    pub fn variable(&self) -> (String, String) {
        ("FAKE_DIR".to_owned(), self.folder.display().to_string())
    }

    /// From now on a program answers like this. A call under way keeps what it has begun with.
    pub fn set(&self, program: &str, answer: Answer) {
        self.made.set(self.made.get() + 1);
        let new = self.folder.join(format!("new-{}", self.made.get()));
        std::fs::create_dir(&new).unwrap_or_else(|error| panic!("{}: {error}", new.display()));
        for (name, content) in &answer.files {
            let path = new.join(name);
            std::fs::write(&path, content).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        }
        let place = self.folder.join(program);
        let outcome = if place.exists() {
            renameat_with(CWD, &new, CWD, &place, RenameFlags::EXCHANGE)
        } else {
            renameat_with(CWD, &new, CWD, &place, RenameFlags::empty())
        };
        outcome.unwrap_or_else(|error| panic!("{}: {error}", place.display()));
    }

    /// From now on calls of a program go to the real one.
    pub fn pass(&self, program: &str) {
        self.set(program, Answer::default());
    }

    /// The calls of a program so far, in the order in which they came.
    pub fn calls(&self, program: &str) -> Vec<Call> {
        let Ok(entries) = std::fs::read_dir(self.folder.join("calls")) else {
            return Vec::new();
        };
        let mut folders: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
        folders.sort();
        let text = |folder: &Path, name: &str| {
            let bytes = std::fs::read(folder.join(name)).unwrap_or_default();
            String::from_utf8_lossy(&bytes).into_owned()
        };
        let ours = folders.iter().filter(|folder| text(folder, "program") == program);
        ours.map(|folder| Call {
            program: program.to_owned(),
            arguments: text(folder, "arguments")
                .split_terminator('\0')
                .map(str::to_owned)
                .collect(),
            stdin: text(folder, "stdin"),
        })
        .collect()
    }
}
