//! The login node: how it is reached, what its shell prints, its clock, its commands.

use codeswarm_slurm::settings::Version;
use codeswarm_slurm::{Answer, SlurmError};

use super::{slurm_error, span};
use crate::check::Verdict;

/// A connection that stands.
#[derive(Debug, Clone, PartialEq)]
pub struct Reached {
    /// The host as ssh was told it; absent: this machine.
    pub alias: Option<String>,
    /// Seconds until the connection stood.
    pub connect: f64,
    /// Seconds of one command on it; absent: none has ended.
    pub channel: Option<f64>,
    /// Whether a person has opened it.
    pub by_hand: bool,
}

/// The connection.
pub fn reached(seen: &Reached) -> Verdict {
    let Some(alias) = &seen.alias else {
        return Verdict::ok("this machine is the login node: no ssh is needed");
    };
    let command = seen.channel.map_or(String::new(), |channel| {
        format!("; a further command takes {}", span(channel))
    });
    if seen.by_hand {
        return Verdict::ok(format!(
            "the connection to {alias} that was opened by hand is used (ssh.control_path){command}"
        ));
    }
    Verdict::ok(format!(
        "{alias} lets us in without asking, in {}{command}",
        span(seen.connect)
    ))
}

/// What a command's answer looked like around its own words.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ShellSeen {
    /// The host's own name.
    pub host: String,
    /// What its start files printed before.
    pub before: String,
    /// What stood on standard error.
    pub errors: String,
    /// Commands that are missing, of those that deployment needs.
    pub missing: Vec<String>,
}

/// The remote shell.
pub fn shell(seen: &ShellSeen) -> Verdict {
    let noise = first_line(&seen.before).or_else(|| first_line(&seen.errors));
    if !seen.missing.is_empty() {
        return Verdict::failure(
            format!("{} has no {} on its PATH", seen.host, seen.missing.join(", no ")),
            "a non-interactive shell there must find the usual programs: look at what ~/.bashrc does to PATH",
        );
    }
    match noise {
        None => Verdict::ok(format!("{} runs a command and says nothing else", seen.host)),
        Some(line) => Verdict::warning(
            format!(
                "the shell on {} prints something before each command: {line:?}",
                seen.host
            ),
            "codeswarm reads past it; have ~/.bashrc and the like print only when the shell is interactive (`case $- in *i*) … ;; esac`), \
             since other programs (scp, rsync, git) stumble over it",
        ),
    }
}

fn first_line(text: &str) -> Option<String> {
    let line = text.lines().find(|line| !line.trim().is_empty())?;
    Some(line.trim().chars().take(80).collect())
}

/// How far two clocks may be apart, in seconds.
pub const CLOCKS_APART: f64 = 2.0;

/// Another machine's clock: `theirs` was read between `before` and `after` of ours, all in seconds since 1970.
pub fn clock(whose: &str, theirs: Option<f64>, before: f64, after: f64) -> Verdict {
    let Some(theirs) = theirs else {
        return Verdict::warning(format!("{whose} does not tell its time"), "does `date +%s` work there?");
    };
    let (middle, unsure) = (f64::midpoint(before, after), (after - before) / 2.0);
    let ahead = theirs - middle;
    // What the round trip explains is no skew.
    if ahead.abs() - unsure <= CLOCKS_APART {
        let known = span(unsure);
        return Verdict::ok(format!(
            "{whose} and this machine agree, as far as can be told ({known})"
        ));
    }
    let direction = if ahead > 0.0 { "ahead of" } else { "behind" };
    Verdict::warning(
        format!(
            "the clock of {whose} is {} {direction} this machine's",
            span(ahead.abs())
        ),
        "times in events and logs will not fit together, and keys and certificates may be refused; have the clock that is wrong set \
         (chrony or ntp)",
    )
}

/// A command of Slurm on the login node: its path there, and what it said about its version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommandSeen {
    /// Its name.
    pub name: &'static str,
    /// Where it is; absent: not on the PATH.
    pub path: Option<String>,
    /// What `--version` printed.
    pub version: String,
}

/// Slurm's commands.
pub fn commands(seen: &[CommandSeen]) -> Verdict {
    let mut missing = seen
        .iter()
        .filter(|command| command.path.is_none())
        .map(|command| command.name);
    if let Some(first) = missing.next() {
        let answer = Answer {
            exit_code: Some(127),
            stderr: format!("{first}: command not found").into_bytes(),
            ..Answer::default()
        };
        let verdict = slurm_error(&SlurmError::read(first, &answer));
        let others: Vec<&str> = missing.collect();
        return match others.as_slice() {
            [] => verdict,
            others => Verdict {
                seen: format!("{}; nor can {}", verdict.seen, others.join(", ")),
                ..verdict
            },
        };
    }
    let versions: Vec<Option<Version>> = seen.iter().map(|command| Version::parse(&command.version)).collect();
    let silent = seen.iter().zip(&versions).find(|(_, version)| version.is_none());
    if let Some((command, _)) = silent {
        return Verdict::failure(
            format!("`{} --version` says {:?}", command.name, command.version),
            "is it Slurm's own? Run it on the login node by hand",
        );
    }
    let known: Vec<Version> = versions.into_iter().flatten().collect();
    let Some(version) = known.first().copied() else {
        return Verdict::ok("none is needed");
    };
    let names: Vec<&str> = seen.iter().map(|command| command.name).collect();
    let told = format!("Slurm {version}: {}", names.join(", "));
    if known.iter().any(|other| *other != version) {
        return Verdict::warning(
            format!("{told}, and not all are of that release"),
            "two installations of Slurm are mixed on the PATH; have one of them first",
        );
    }
    if !version.is_supported() {
        return Verdict::warning(
            format!("{told}; codeswarm was made for 21.08 and later"),
            "it may work; tell us what does not",
        );
    }
    Verdict::ok(told)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::Status;

    #[test]
    fn a_clock_is_wrong_only_beyond_what_the_round_trip_explains() {
        let status = |theirs: f64, after: f64| clock("hpc", Some(theirs), 1000.0, after).status;
        assert_eq!(status(1000.1, 1000.2), Status::Ok);
        assert_eq!(status(1002.0, 1000.2), Status::Ok);
        assert_eq!(status(1002.3, 1000.2), Status::Warning);
        assert_eq!(status(1006.0, 1010.0), Status::Ok, "a slow answer");
        let ahead = clock("hpc", Some(1300.0), 1000.0, 1000.2);
        assert!(ahead.seen.contains("5 min ahead of"), "{ahead:?}");
        let behind = clock("hpc", Some(700.0), 1000.0, 1000.2);
        assert!(behind.seen.contains("5 min behind"), "{behind:?}");
        assert_eq!(clock("hpc", None, 0.0, 1.0).status, Status::Warning);
    }

    #[test]
    fn a_shell_that_greets_is_a_warning() {
        let mut seen = ShellSeen {
            host: "login1".into(),
            ..ShellSeen::default()
        };
        assert_eq!(shell(&seen).status, Status::Ok);
        seen.before = "\nWelcome!\n".into();
        let verdict = shell(&seen);
        assert_eq!(verdict.status, Status::Warning);
        assert!(verdict.seen.contains("Welcome!"), "{verdict:?}");
        seen.missing = vec!["mkdir".into()];
        assert_eq!(shell(&seen).status, Status::Failure);
    }

    #[test]
    fn slurm_s_commands_are_all_there_and_of_one_release() {
        let all = |versions: [&str; 2]| {
            [("sbatch", versions[0]), ("squeue", versions[1])].map(|(name, version)| CommandSeen {
                name,
                path: Some(format!("/bin/{name}")),
                version: version.to_owned(),
            })
        };
        let good = commands(&all(["slurm 23.02.1", "slurm 23.02.1"]));
        assert_eq!(
            (good.status, good.seen.as_str()),
            (Status::Ok, "Slurm 23.02.1: sbatch, squeue")
        );
        assert_eq!(
            commands(&all(["slurm 23.02.1", "slurm 22.05.8"])).status,
            Status::Warning
        );
        assert_eq!(
            commands(&all(["slurm 19.05.1", "slurm 19.05.1"])).status,
            Status::Warning
        );
        assert_eq!(commands(&all(["GNU 1", "slurm 19.05.1"])).status, Status::Failure);
        let mut lacking = all(["slurm 23.02.1", ""]);
        lacking[1].path = None;
        let missing = commands(&lacking);
        assert_eq!(missing.status, Status::Failure);
        assert!(missing.seen.contains("squeue: command not found"), "{missing:?}");
        assert!(missing.advice.contains("PATH"), "{missing:?}");
    }
}
