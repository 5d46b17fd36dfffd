//! What Slurm's commands print.
//!
//! An input is what a command left behind: a first line with its exit code (anything else: it was killed), what it printed, and
//! behind a line `--` what it complained about.

use std::num::NonZeroU32;

use codeswarm_protocol::{JobId, NodeId};
use codeswarm_slurm::call::Answer;
use codeswarm_slurm::job_state::Phase;
use codeswarm_slurm::queue::{self, Sight};
use codeswarm_slurm::{
    SlurmError, batch, cancel, ending, hostnames, job, partition, ping, settings, time_limit, trial,
};

fn answer(data: &[u8]) -> Answer {
    let (first, rest) = split_line(data);
    let exit_code = std::str::from_utf8(first)
        .ok()
        .and_then(|text| text.trim().parse().ok());
    let (mut stdout, mut stderr, mut behind) = (Vec::new(), Vec::new(), false);
    for line in rest.split_inclusive(|byte| *byte == b'\n') {
        match behind {
            false if line.trim_ascii_end() == b"--" => behind = true,
            false => stdout.extend_from_slice(line),
            true => stderr.extend_from_slice(line),
        }
    }
    Answer {
        exit_code,
        stdout,
        stderr,
    }
}

fn split_line(data: &[u8]) -> (&[u8], &[u8]) {
    match data.iter().position(|byte| *byte == b'\n') {
        Some(at) => (&data[..at], &data[at + 1..]),
        None => (data, &[]),
    }
}

fn job_id(text: &str) -> JobId {
    JobId::new(text).unwrap()
}

/// An error tells what to do in a sentence that a terminal and a log stand.
fn tells(error: &SlurmError) {
    let said = error.to_string();
    assert!(!said.is_empty() && said.len() <= 4096, "{} bytes of words", said.len());
    assert!(said.contains(error.advice()));
    assert!(!said.contains(char::is_control), "{said:?}");
}

/// `sbatch --parsable`: a job is one that was printed, and when none is told though sbatch may have been through, that is said.
pub fn slurm_submitted(data: &[u8]) {
    let answer = answer(data);
    match batch::read_submitted(&answer) {
        Ok(job) => {
            assert!(matches!(answer.exit_code, Some(0) | None));
            assert!(job.as_str().bytes().all(|byte| byte.is_ascii_digit()));
            assert!(String::from_utf8_lossy(&answer.stdout).contains(job.as_str()));
        }
        Err(error) => {
            tells(&error);
            // Refused is refused; else a job without a number must be looked for.
            let clear = matches!(error, SlurmError::Refused { .. } | SlurmError::MissingCommand { .. });
            let unsent = matches!(
                error,
                SlurmError::Unreachable {
                    may_have_happened: false,
                    ..
                }
            );
            if answer.exit_code == Some(0) && !clear && !unsent {
                assert!(error.may_have_happened(), "{error}");
            }
        }
    }
    if let Err(error) = trial::read_test(&answer) {
        tells(&error);
    }
}

/// `squeue`: no job is told to be missing by a command that failed, and every line is a job or is reported.
pub fn slurm_queue(data: &[u8]) {
    let answer = answer(data);
    let asked = [job_id("29"), job_id("272900")];
    match queue::read_look(&asked, &answer) {
        Ok(look) => {
            assert_eq!(look.jobs.len(), asked.len());
            for ((job, sight), wanted) in look.jobs.iter().zip(&asked) {
                assert_eq!(job, wanted);
                match sight {
                    Sight::Listed(line) => assert_eq!(line.job_id, *wanted),
                    Sight::NotListed => assert_eq!(answer.exit_code, Some(0)),
                    Sight::Unknown => panic!("of two jobs none is told to be unknown"),
                }
            }
            let printed = String::from_utf8_lossy(&answer.stdout);
            let lines = printed.lines().filter(|line| !line.trim().is_empty()).count();
            let listing = queue::listing(&answer).unwrap();
            assert_eq!(listing.lines.len() + listing.odd.len(), lines);
            assert_eq!(look.odd, listing.odd);
            for odd in &listing.odd {
                assert!(odd.to_string().len() <= 20 * 200 + 200 + printed.len());
            }
        }
        Err(error) => tells(&error),
    }
    if let Ok(look) = queue::read_look(&asked[..1], &answer)
        && let Some((_, Sight::Unknown)) = look.jobs.first()
    {
        assert_ne!(answer.exit_code, Some(0));
    }
}

/// `scontrol show job`: what is read is about the job that was asked for, and a job has an ending when it is over.
pub fn slurm_job(data: &[u8]) {
    let answer = answer(data);
    let wanted = job_id("29");
    match job::read(&wanted, &answer) {
        Ok(job) => {
            assert_eq!((answer.exit_code, &job.job_id), (Some(0), &wanted));
            let over = matches!(job.state.phase(), Phase::Completed | Phase::Failed);
            assert_eq!(job.ending().is_some(), over, "{}", job.state);
            assert_eq!(job.state.as_str().parse(), Ok(job.state.clone()));
            job.reached_time_limit();
            job.swarm_id();
            if let Some(reason) = &job.reason {
                let _ = ending::waiting(reason);
            }
        }
        Err(error) => tells(&error),
    }
}

/// `sinfo`: every line is of a partition or is reported, and no more nodes are idle than fit the numbers.
pub fn slurm_partitions(data: &[u8]) {
    let answer = answer(data);
    match partition::read(&answer) {
        Ok(partitions) => {
            let printed = String::from_utf8_lossy(&answer.stdout);
            let lines = printed.lines().filter(|line| !line.trim().is_empty()).count();
            let kinds: usize = partitions.all.iter().map(|partition| partition.kinds.len()).sum();
            assert_eq!(kinds + partitions.odd.len(), lines);
            for partition in &partitions.all {
                let same = partitions
                    .all
                    .iter()
                    .filter(|other| other.name == partition.name)
                    .count();
                assert_eq!(same, 1, "{} is listed {same} times", partition.name);
                let idle = partitions.idle_nodes(Some(&partition.name));
                if !partition.name.contains(',') && partition.name.trim() == partition.name {
                    let has = if partition.is_up() { partition.nodes.idle } else { 0 };
                    assert_eq!(idle, Some(has));
                }
                time_limit::seconds(&partition.time_limit);
            }
            assert!(partitions.odd.iter().all(|line| line.chars().count() <= 200));
        }
        Err(error) => tells(&error),
    }
}

/// `scontrol show hostnames` and the lists that it is asked for: a list of a billion hosts stays the few bytes that it is.
pub fn slurm_hostnames(data: &[u8]) {
    let per_node = NonZeroU32::new(3).unwrap();
    let answered = answer(data);
    match hostnames::read(&answered) {
        Ok(hosts) => {
            assert!(!hosts.is_empty() && hosts.len() <= answered.stdout.len());
            for (at, host) in hosts.iter().enumerate().take(64) {
                assert!(!host.is_empty() && !host.contains(['[', ']', ',', ' ', '/', '$']));
                let node = NodeId::new(u32::try_from(at).unwrap() * 3).unwrap();
                assert_eq!(hostnames::host_of(&hosts, node, per_node), Some(host.as_str()));
                assert_eq!(hostnames::ranks_on(&hosts, host, per_node).len(), 3);
            }
        }
        Err(error) => tells(&error),
    }
    for list in crate::lines(data) {
        let list = String::from_utf8_lossy(list);
        if let Some(call) = hostnames::show(&list) {
            let [show, hostnames, argument] = &call.arguments[..] else {
                panic!("{call}")
            };
            assert_eq!(
                (show.as_str(), hostnames.as_str(), argument.as_str()),
                ("show", "hostnames", list.trim())
            );
            assert!(!argument.starts_with('-') && !argument.contains(char::is_control));
        }
    }
}

/// Error texts of every command: told in bounded words, and none of them concludes what it cannot know.
pub fn slurm_errors(data: &[u8]) {
    let answer = answer(data);
    for command in ["sbatch", "squeue", "scancel", "scontrol", "sinfo"] {
        let error = SlurmError::read(command, &answer);
        tells(&error);
        if let SlurmError::NoSuchJob { .. } = error {
            assert!(!error.may_pass() && !error.may_have_happened());
        }
    }
    match cancel::read(&answer) {
        Ok(cancel::Cancelled::Taken) => assert_eq!(answer.exit_code, Some(0)),
        Ok(_) => {}
        Err(error) => tells(&error),
    }
    match ping::read(&answer) {
        Ok(up) => assert!(up.starts_with("Slurmctld") && up.ends_with(" UP")),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

/// `scontrol show config`, `sbatch --version`, and time limits in every spelling.
pub fn slurm_settings(data: &[u8]) {
    let answer = answer(data);
    if let Err(error) = settings::read(&answer) {
        tells(&error);
    }
    if let Ok(version) = settings::read_version(&answer) {
        assert_eq!(settings::Version::parse(&format!("slurm {version}")), Some(version));
    }
    for line in crate::lines(data) {
        let line = String::from_utf8_lossy(line);
        if let Some(seconds) = time_limit::seconds(&line) {
            let minutes = seconds / 60;
            if minutes / 1440 > 1_000_000_000 {
                // A sum of parts that are each in range; none of them can hold it alone.
                continue;
            }
            let spelled = format!(
                "{}-{}:{}:{}",
                minutes / 1440,
                minutes / 60 % 24,
                minutes % 60,
                seconds % 60
            );
            assert_eq!(time_limit::seconds(&spelled), Some(seconds), "{line} as {spelled}");
        }
    }
}
