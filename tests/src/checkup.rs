//! `codeswarm doctor --json`, run to its end, and what its checks said.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::cli::{Output, run};
use crate::slurm_workspace::SlurmWorkspace;
use crate::workspace::{Workspace, wait_until};

/// What the doctor said.
#[derive(Debug)]
pub struct Checkup {
    /// The command's output.
    pub output: Output,
    checks: Vec<Value>,
    sum: Value,
}

impl Checkup {
    /// Runs it with these further arguments. The short job waits 20 s at most.
    pub fn of(workspace: &Workspace, arguments: &[&str]) -> Self {
        let all = [&["doctor", "--json"], arguments].concat();
        Self::by(workspace.command(&all))
    }

    /// The same by a command of the test's own.
    #[track_caller]
    pub fn by(command: Command) -> Self {
        let output = run(command, b"");
        let mut checks = output.json_lines();
        let sum = checks.pop().unwrap_or_else(|| panic!("it said nothing: {output:#?}"));
        assert_eq!(sum["type"], "doctor", "{output:#?}");
        assert!(checks.iter().all(|check| check["type"] == "check"), "{output:#?}");
        assert_eq!(sum["checks"], checks.len(), "{output:#?}");
        Self { output, checks, sum }
    }

    /// What a check said.
    #[track_caller]
    pub fn check(&self, name: &str) -> &Value {
        let mut of_name = self.checks.iter().filter(|check| check["name"] == name);
        match (of_name.next(), of_name.next()) {
            (Some(check), None) => check,
            _ => panic!("not one check {name}: {self:#?}"),
        }
    }

    /// The names of the checks with a status, in their order.
    pub fn names(&self, status: &str) -> Vec<&str> {
        let of_status = self.checks.iter().filter(|check| check["status"] == status);
        of_status.filter_map(|check| check["name"].as_str()).collect()
    }

    /// Holds that a check, and no other one, failed, that a launch would not work, and that each of these words is in what
    /// was seen or advised.
    #[track_caller]
    pub fn fails_at(&self, name: &str, words: &[&str]) {
        assert_eq!(self.names("failure"), [name], "{self:#?}");
        assert_eq!(
            (&self.sum["ok"], &self.sum["failures"]),
            (&false.into(), &1.into()),
            "{self:#?}"
        );
        assert_ne!(self.output.code(), 0, "{self:#?}");
        self.says(name, words);
        assert_ne!(self.check(name)["advice"], "", "{self:#?}");
    }

    /// Holds that each of these words is in what a check saw or advises.
    #[track_caller]
    pub fn says(&self, name: &str, words: &[&str]) {
        let check = self.check(name);
        let said = format!("{} {}", check["seen"], check["advice"]);
        for word in words {
            assert!(said.contains(word), "{name} does not say {word:?}: {self:#?}");
        }
    }

    /// Holds that a launch can work, and that nothing else than a disk that is nearly full was remarked on.
    #[track_caller]
    pub fn is_healthy(&self) {
        assert_eq!(self.output.code(), 0, "{self:#?}");
        assert_eq!(
            (&self.sum["ok"], &self.sum["skipped"]),
            (&true.into(), &0.into()),
            "{self:#?}"
        );
        for name in self.names("warning") {
            self.says(name, &["only ", " free "]);
        }
    }
}

/// A `PATH` for a login node's sessions that has the usual programs and none of Slurm's: a new folder of links.
pub fn path_without_slurm(folder: &Path) -> (String, String) {
    const USUAL: [&str; 14] = [
        "sh",
        "uname",
        "date",
        "mkdir",
        "mv",
        "rm",
        "wc",
        "cat",
        "chmod",
        "find",
        "cut",
        "env",
        "tail",
        "sha256sum",
    ];
    std::fs::create_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    for name in USUAL {
        let mut programs = ["/usr/bin", "/bin"].map(|of| PathBuf::from(of).join(name)).into_iter();
        let program = programs.find(|program| program.exists());
        let program = program.unwrap_or_else(|| panic!("there is no program {name}"));
        symlink(program, folder.join(name)).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    }
    ("PATH".to_owned(), folder.display().to_string())
}

/// Waits until the short job is over, which it is a moment after it has told everything.
pub fn no_job_is_left(workspace: &SlurmWorkspace) {
    wait_until("no job is left", || match workspace.jobs() {
        left if left.is_empty() => Ok(()),
        left => Err(format!("{left:?}")),
    });
}
