//! What a check says. Pure.

use std::fmt;

use serde::Serialize;

/// The checks, in their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Name {
    /// The configuration file is whole.
    Configuration,
    /// The login node lets us in without asking.
    Ssh,
    /// Its shell runs a command and prints nothing else.
    LoginShell,
    /// Its clock and ours.
    Clock,
    /// Slurm's commands are there.
    SlurmCommands,
    /// slurmctld answers.
    Slurmctld,
    /// The cluster's settings go together with ours.
    SlurmSettings,
    /// The partition exists, is up and allows what is asked for.
    Partition,
    /// The program is there, starts and is of this version.
    Program,
    /// The mailbox's folders are there or can be made, and are nobody else's.
    Workspace,
    /// Room for files, and locks.
    Storage,
    /// A follower can have the mailbox, or somebody has it.
    Mailbox,
    /// Slurm would take a launch's batch script.
    BatchScript,
    /// A job of one node starts and runs our program.
    ShortJob,
    /// Both sides see the same files, and how soon.
    SharedFilesystem,
    /// The compute node's own: clock, memory, local disk.
    ComputeNode,
    /// The agent's program.
    Agent,
    /// The variables that the configuration names.
    Credentials,
    /// The model's service.
    ModelEndpoint,
    /// What the agent's sandbox needs.
    Sandbox,
}

impl Name {
    /// The word in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Configuration => "configuration",
            Self::Ssh => "ssh",
            Self::LoginShell => "login_shell",
            Self::Clock => "clock",
            Self::SlurmCommands => "slurm_commands",
            Self::Slurmctld => "slurmctld",
            Self::SlurmSettings => "slurm_settings",
            Self::Partition => "partition",
            Self::Workspace => "workspace",
            Self::Storage => "storage",
            Self::Program => "program",
            Self::Mailbox => "mailbox",
            Self::BatchScript => "batch_script",
            Self::ShortJob => "short_job",
            Self::SharedFilesystem => "shared_filesystem",
            Self::ComputeNode => "compute_node",
            Self::Agent => "agent",
            Self::Credentials => "credentials",
            Self::ModelEndpoint => "model_endpoint",
            Self::Sandbox => "sandbox",
        }
    }
}

impl fmt::Display for Name {
    /// As people read it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.as_str().replace('_', " "))
    }
}

/// How a check ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// As it should be.
    Ok,
    /// A launch works, but not as well as it could, or not at once.
    Warning,
    /// A launch cannot work.
    Failure,
    /// It could not be made, because of an earlier one, or was not asked for.
    Skipped,
}

impl Status {
    /// The word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Failure => "failure",
            Self::Skipped => "skipped",
        }
    }
}

/// What was seen, what it means and what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// How it is.
    pub status: Status,
    /// What was seen, without a full stop.
    pub seen: String,
    /// What to do; empty where there is nothing to do.
    pub advice: String,
    /// Whether a failure may pass without anybody changing the set-up.
    pub may_pass: bool,
}

impl Verdict {
    /// All is well.
    pub fn ok(seen: impl Into<String>) -> Self {
        Self::new(Status::Ok, seen, "")
    }

    /// Something to look at.
    pub fn warning(seen: impl Into<String>, advice: impl Into<String>) -> Self {
        Self::new(Status::Warning, seen, advice)
    }

    /// A launch would fail.
    pub fn failure(seen: impl Into<String>, advice: impl Into<String>) -> Self {
        Self::new(Status::Failure, seen, advice)
    }

    /// Not made, and why.
    pub fn skipped(why: impl Into<String>) -> Self {
        Self::new(Status::Skipped, why, "")
    }

    /// The same, where a failure may pass by itself.
    #[must_use]
    pub fn passing(self, may_pass: bool) -> Self {
        Self { may_pass, ..self }
    }

    fn new(status: Status, seen: impl Into<String>, advice: impl Into<String>) -> Self {
        Self {
            status,
            seen: seen.into(),
            advice: advice.into(),
            may_pass: false,
        }
    }

    /// Several findings of one check as one: the worst decides, and each is told.
    pub fn all(findings: Vec<Self>) -> Self {
        let worst = findings.iter().map(|one| one.status).max_by_key(|status| match status {
            Status::Ok => 0,
            Status::Skipped => 1,
            Status::Warning => 2,
            Status::Failure => 3,
        });
        let failures = || findings.iter().filter(|one| one.status == Status::Failure);
        let may_pass = failures().next().is_some() && failures().all(|one| one.may_pass);
        let joined = |part: fn(&Self) -> &str| {
            let parts: Vec<&str> = findings.iter().map(part).filter(|text| !text.is_empty()).collect();
            parts.join("; ")
        };
        Self {
            status: worst.unwrap_or(Status::Ok),
            seen: joined(|one| &one.seen),
            advice: joined(|one| &one.advice),
            may_pass,
        }
    }
}

/// A check that was made.
#[derive(Debug, Clone, PartialEq)]
pub struct Check {
    /// Which.
    pub name: Name,
    /// What came of it.
    pub verdict: Verdict,
    /// How long it took.
    pub seconds: f64,
}

impl Check {
    /// One line of JSON.
    pub fn to_json(&self) -> String {
        serde_json::json!({
            "type": "check",
            "name": self.name.as_str(),
            "status": self.verdict.status.as_str(),
            "seen": self.verdict.seen,
            "advice": self.verdict.advice,
            "seconds": (self.seconds * 1000.0).round() / 1000.0,
        })
        .to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_check_is_one_line_of_json() {
        let check = Check {
            name: Name::SlurmCommands,
            verdict: Verdict::failure("no `sbatch`", "set PATH"),
            seconds: 0.1234,
        };
        let read: serde_json::Value = serde_json::from_str(&check.to_json()).unwrap();
        assert_eq!(
            read,
            serde_json::json!({"type": "check", "name": "slurm_commands", "status": "failure", "seen": "no `sbatch`",
                "advice": "set PATH", "seconds": 0.123})
        );
        assert_eq!(Name::SlurmCommands.to_string(), "slurm commands");
        assert_eq!(
            serde_json::to_value(Name::LoginShell).unwrap(),
            Name::LoginShell.as_str()
        );
    }

    #[test]
    fn of_several_findings_the_worst_decides_and_all_are_told() {
        let all = Verdict::all(vec![
            Verdict::ok("up"),
            Verdict::warning("no idle node", "wait"),
            Verdict::failure("too long", "lower it").passing(true),
        ]);
        assert_eq!(all.status, Status::Failure);
        assert_eq!(
            (all.seen.as_str(), all.advice.as_str()),
            ("up; no idle node; too long", "wait; lower it")
        );
        assert!(all.may_pass);
        assert_eq!(
            Verdict::all(vec![Verdict::ok("a"), Verdict::warning("b", "")]).status,
            Status::Warning
        );
        assert_eq!(Verdict::all(Vec::new()).status, Status::Ok);
    }
}
