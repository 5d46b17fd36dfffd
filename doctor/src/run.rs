//! The checks: begun with the configuration, told as they end, summed up.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use codeswarm_configs::{Backend, Config, Environment};
use codeswarm_link::Session;
use codeswarm_router::cluster;

use crate::check::{Check, Name, Status, Verdict};
use crate::short_job::LeftBehind;

/// What is asked for.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The configuration file; absent: the built-in default.
    pub config: Option<PathBuf>,
    /// For how many nodes the cluster is to have room.
    pub nodes: u32,
    /// Whether a short job is submitted.
    pub job: bool,
    /// How long it may wait in the queue.
    pub wait: Duration,
    /// How workers are started here; its program is what is deployed.
    pub worker_command: Vec<OsString>,
}

/// What happens meanwhile.
#[derive(Debug, Clone, PartialEq)]
pub enum Told {
    /// A check begins.
    Begins(Name),
    /// A check ended.
    Ended(Check),
}

/// How all of it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// A launch can work.
    Healthy,
    /// It cannot.
    Sick,
    /// It cannot now, but perhaps later without any change.
    SickForNow,
    /// There is no configuration to check.
    NoConfiguration,
    /// Somebody did not want to wait.
    Interrupted,
}

/// The checks.
pub struct Doctor<'a> {
    pub(crate) plan: Plan,
    tell: &'a mut dyn FnMut(Told),
    checks: Vec<Check>,
    since: Instant,
    pub(crate) session: Option<Session>,
    pub(crate) left: Option<LeftBehind>,
    /// The longest that a job may run in the partition, in seconds; absent: no limit is known.
    pub(crate) longest: Option<u64>,
}

impl<'a> Doctor<'a> {
    /// Nothing is done yet.
    pub fn new(plan: Plan, tell: &'a mut dyn FnMut(Told)) -> Self {
        Self {
            plan,
            tell,
            checks: Vec::new(),
            since: Instant::now(),
            session: None,
            left: None,
            longest: None,
        }
    }

    /// Makes the checks, until they are done or `stop` comes; nothing is left behind on the cluster then.
    pub async fn run(&mut self, stop: impl Future<Output = ()>) -> Ended {
        let interrupted = tokio::select! {
            () = self.all() => false,
            () = stop => true,
        };
        self.tidy_up().await;
        if let Some(session) = self.session.take() {
            session.close().await;
        }
        if interrupted {
            Ended::Interrupted
        } else {
            ended(&self.checks)
        }
    }

    /// The checks that were made.
    pub fn checks(&self) -> &[Check] {
        &self.checks
    }

    async fn all(&mut self) {
        self.begin(Name::Configuration);
        let loaded = match &self.plan.config {
            Some(file) => codeswarm_configs::load(file).map(|loaded| (loaded.config, loaded.warnings)),
            None => Config::local_default(&Environment::of_process()).map(|config| (config, Vec::new())),
        };
        let (config, warnings) = match loaded {
            Ok(loaded) => loaded,
            Err(error) => {
                let advice = "correct the file; docs/CONFIGURATION.md lists every key";
                return self.end(Name::Configuration, Verdict::failure(error.to_string(), advice));
            }
        };
        let root = config.mailbox_root();
        let told = match &config.cluster.backend {
            Backend::Local => format!(
                "{} agents as processes of this machine, in {}",
                config.agent.kind.as_str(),
                root.display()
            ),
            Backend::Slurm(_) => format!(
                "{} agents in Slurm jobs, in {}",
                config.agent.kind.as_str(),
                root.display()
            ),
        };
        let mut findings = vec![Verdict::ok(told)];
        findings.extend(
            warnings
                .iter()
                .map(|warning| Verdict::warning(warning.to_string(), "correct it, or leave it if it is meant")),
        );
        match &config.cluster.backend {
            Backend::Local => {
                self.end(Name::Configuration, Verdict::all(findings));
                self.local(&config).await;
            }
            Backend::Slurm(cluster) => match cluster::slurm_settings(cluster, &root) {
                Ok(slurm) => {
                    self.end(Name::Configuration, Verdict::all(findings));
                    self.slurm(&config, cluster, slurm).await;
                }
                Err(error) => {
                    findings.push(Verdict::failure(
                        error.to_string(),
                        "correct cluster.slurm.template, or leave it out",
                    ));
                    self.end(Name::Configuration, Verdict::all(findings));
                }
            },
        }
    }

    pub(crate) fn begin(&mut self, name: Name) {
        self.since = Instant::now();
        (self.tell)(Told::Begins(name));
    }

    pub(crate) fn end(&mut self, name: Name, verdict: Verdict) {
        let seconds = match verdict.status {
            Status::Skipped => 0.0,
            _ => self.since.elapsed().as_secs_f64(),
        };
        self.since = Instant::now();
        let check = Check { name, verdict, seconds };
        (self.tell)(Told::Ended(check.clone()));
        self.checks.push(check);
    }

    /// The same, and whether it is no failure.
    pub(crate) fn passed(&mut self, name: Name, verdict: Verdict) -> bool {
        let passed = verdict.status != Status::Failure;
        self.end(name, verdict);
        passed
    }

    pub(crate) fn skip(&mut self, names: &[Name], why: &str) {
        for name in names {
            if self.status(*name).is_none() {
                self.end(*name, Verdict::skipped(why));
            }
        }
    }

    pub(crate) fn status(&self, name: Name) -> Option<Status> {
        let check = self.checks.iter().find(|check| check.name == name);
        check.map(|check| check.verdict.status)
    }
}

fn ended(checks: &[Check]) -> Ended {
    let failures = || checks.iter().filter(|check| check.verdict.status == Status::Failure);
    if failures().any(|check| check.name == Name::Configuration) {
        Ended::NoConfiguration
    } else if failures().next().is_none() {
        Ended::Healthy
    } else if failures().all(|check| check.verdict.may_pass) {
        Ended::SickForNow
    } else {
        Ended::Sick
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(name: Name, verdict: Verdict) -> Check {
        Check {
            name,
            verdict,
            seconds: 0.0,
        }
    }

    #[test]
    fn how_it_ended_is_decided_by_the_failures() {
        let fine = || check(Name::Ssh, Verdict::warning("slow", "wait"));
        let down = || check(Name::Slurmctld, Verdict::failure("down", "wait").passing(true));
        let wrong = || check(Name::Partition, Verdict::failure("none", "name one"));
        let config = || check(Name::Configuration, Verdict::failure("no", "correct it"));
        assert_eq!(ended(&[fine()]), Ended::Healthy);
        assert_eq!(ended(&[fine(), down()]), Ended::SickForNow);
        assert_eq!(ended(&[down(), wrong()]), Ended::Sick);
        assert_eq!(ended(&[config()]), Ended::NoConfiguration);
    }
}
