//! What the cluster is: `scontrol show config` (scontrol(1), slurm.conf(5)) and `sbatch --version`.

use std::fmt;

use crate::call::{Answer, Call};
use crate::error::SlurmError;

/// A release of Slurm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version {
    /// The year, such as 22.
    pub major: u32,
    /// The month, such as 5.
    pub minor: u32,
    /// The patch.
    pub patch: u32,
}

impl Version {
    /// Reads `22.05.8`, `slurm-wlm 22.05.8`, `slurm 23.11.0-0rc1`.
    pub fn parse(text: &str) -> Option<Self> {
        text.split_whitespace().find_map(|word| {
            let mut parts = word.split('.');
            let mut part = || {
                let part = parts.next()?;
                let digits = part.bytes().take_while(u8::is_ascii_digit).count();
                part[..digits].parse().ok()
            };
            Some(Self {
                major: part()?,
                minor: part()?,
                patch: part().unwrap_or(0),
            })
        })
    }

    /// Whether it is a release that these calls were made for: 21.08 and later.
    pub fn is_supported(self) -> bool {
        (self.major, self.minor) >= (21, 8)
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:02}.{}", self.major, self.minor, self.patch)
    }
}

/// Settings of the cluster that matter to a swarm; absent is what this release does not print.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Settings {
    /// The cluster's name.
    pub cluster_name: Option<String>,
    /// slurmctld's release.
    pub version: Option<Version>,
    /// Seconds between SIGTERM and SIGKILL when a job is cancelled or at its time limit: a worker's grace period must be
    /// shorter.
    pub kill_wait_seconds: Option<u64>,
    /// Seconds for which a job that has ended is still known.
    pub min_job_age_seconds: Option<u64>,
    /// Whether Slurm may start a job again after a node failed.
    pub job_requeue: Option<bool>,
    /// Where accounting goes; `accounting_storage/none` where accounts and QOS mean nothing.
    pub accounting: Option<String>,
}

/// Asks for the version of the commands on the login node.
pub fn version() -> Call {
    Call::new("sbatch", ["--version"])
}

/// Reads what [`version`] brought.
pub fn read_version(answer: &Answer) -> Result<Version, SlurmError> {
    let text = answer.good("sbatch")?;
    text.lines()
        .filter(|line| line.contains("slurm"))
        .find_map(Version::parse)
        .ok_or_else(|| SlurmError::Unclear {
            command: "sbatch",
            exit_code: answer.exit_code,
            said: text.chars().take(200).collect(),
        })
}

/// Asks slurmctld for its settings.
pub fn show() -> Call {
    Call::new("scontrol", ["show", "config"])
}

/// Reads what [`show`] brought.
pub fn read(answer: &Answer) -> Result<Settings, SlurmError> {
    let text = answer.good("scontrol")?;
    let mut settings = Settings::default();
    for (key, value) in text.lines().filter_map(|line| line.split_once('=')) {
        let value = value.trim();
        let seconds = || value.split_whitespace().next().and_then(|number| number.parse().ok());
        match key.trim() {
            "ClusterName" => settings.cluster_name = Some(value.to_owned()),
            "SLURM_VERSION" => settings.version = Version::parse(value),
            "KillWait" => settings.kill_wait_seconds = seconds(),
            "MinJobAge" => settings.min_job_age_seconds = seconds(),
            "JobRequeue" => settings.job_requeue = seconds().map(|flag: u64| flag != 0),
            "AccountingStorageType" => settings.accounting = Some(value.to_owned()),
            _ => {}
        }
    }
    Ok(settings)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::call::answer;

    #[test]
    fn versions_are_read_and_ordered() {
        let version = read_version(&answer(0, "slurm-wlm 22.05.8\n", "")).unwrap();
        assert_eq!(version.to_string(), "22.05.8");
        let old = Version::parse("slurm 20.11.9").unwrap();
        assert!(old < version && !old.is_supported() && version.is_supported());
        assert_eq!(Version::parse("slurm 25.05.0-0rc1").unwrap().to_string(), "25.05.0");
        assert!(read_version(&answer(0, "Welcome to 10.0.0.1\n", "")).is_err());
        assert!(matches!(
            read_version(&answer(127, "", "sh: 1: sbatch: not found\n")),
            Err(SlurmError::MissingCommand { .. })
        ));
    }

    #[test]
    fn the_settings_that_matter_are_read_and_others_passed_over() {
        let printed = "Configuration data as of 2026-11-27T18:45:43\nAccountingStorageType   = accounting_storage/none\n\
                       ClusterName             = check\nJobRequeue              = 1\nKillWait                = 5 sec\n\
                       MinJobAge               = 60 sec\nSLURM_VERSION           = 22.05.8\nNewThing = a = b\n\n\
                       Slurmctld(primary) at vm is UP\n";
        let settings = read(&answer(0, printed, "")).unwrap();
        assert_eq!(
            (settings.kill_wait_seconds, settings.min_job_age_seconds),
            (Some(5), Some(60))
        );
        assert_eq!(settings.cluster_name.as_deref(), Some("check"));
        assert_eq!(settings.version.unwrap().to_string(), "22.05.8");
        assert_eq!(settings.job_requeue, Some(true));
        assert_eq!(read(&answer(0, "", "")).unwrap(), Settings::default());
    }
}
