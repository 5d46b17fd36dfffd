//! The cluster: its partition, its settings, and what it would do with a launch.

use codeswarm_configs::SlurmSection;
use codeswarm_protocol::launch::WorkerSpec;
use codeswarm_slurm::ending::{Waiting, waiting};
use codeswarm_slurm::error::Setting;
use codeswarm_slurm::partition::{Partition, Partitions};
use codeswarm_slurm::settings::Settings;
use codeswarm_slurm::{SlurmError, time_limit};

use super::slurm_error;
use crate::check::Verdict;

/// A job with less time than this is told to end as soon as it starts: Slurm sends its signal one to two minutes before.
const LEAST_SECONDS: u64 = 180;

/// The partitions of the configuration, for so many nodes.
pub fn partition(slurm: &SlurmSection, nodes: u32, partitions: &Partitions) -> Verdict {
    let wanted: Vec<Option<&str>> = match &slurm.partition {
        None => vec![None],
        Some(names) => names.split(',').map(|name| Some(name.trim())).collect(),
    };
    let mut found = Vec::new();
    for name in wanted {
        match partitions.find(name) {
            Some(partition) => found.push(partition),
            None => return unknown(name, partitions),
        }
    }
    // A job runs in one of them: the best counts.
    let mut verdicts: Vec<Verdict> = found
        .iter()
        .map(|partition| Verdict::all(findings(partition, slurm, nodes)))
        .collect();
    verdicts.sort_by_key(|verdict| verdict.status != crate::Status::Ok);
    verdicts.sort_by_key(|verdict| verdict.status == crate::Status::Failure);
    verdicts.swap_remove(0)
}

/// The longest that a job may run in each of the partitions of the configuration, in seconds.
pub fn longest(slurm: &SlurmSection, partitions: &Partitions) -> Option<u64> {
    let named: Vec<&str> = slurm
        .partition
        .iter()
        .flat_map(|names| names.split(','))
        .map(str::trim)
        .collect();
    let meant = |partition: &&Partition| match named.as_slice() {
        [] => partition.is_default,
        names => names.contains(&partition.name.as_str()),
    };
    let limits = partitions.all.iter().filter(meant);
    limits
        .filter_map(|partition| time_limit::seconds(&partition.time_limit))
        .min()
}

fn unknown(name: Option<&str>, partitions: &Partitions) -> Verdict {
    let known: Vec<&str> = partitions.all.iter().map(|partition| partition.name.as_str()).collect();
    let seen = match name {
        Some(name) => format!("there is no partition {name}; there are {}", known.join(", ")),
        None => format!(
            "no partition is named, and the cluster has no default one; there are {}",
            known.join(", ")
        ),
    };
    Verdict::failure(seen, Setting::Partition.advice())
}

fn findings(partition: &Partition, slurm: &SlurmSection, nodes: u32) -> Vec<Verdict> {
    let counts = partition.nodes;
    let longest = match time_limit::seconds(&partition.time_limit) {
        Some(_) => format!("jobs of at most {}", partition.time_limit),
        None => "jobs of any length".to_owned(),
    };
    let mut findings = vec![Verdict::ok(format!(
        "{}: {}, {} of {} nodes idle, {longest}{}",
        partition.name,
        partition.availability,
        counts.idle,
        counts.total,
        kinds(partition)
    ))];
    if !partition.is_up() {
        findings.push(waits("it starts no jobs", "PartitionDown"));
    }
    let asked = slurm.time_limit.as_deref();
    if let (Some(asked), Some(most)) = (
        asked.and_then(time_limit::seconds),
        time_limit::seconds(&partition.time_limit),
    ) && asked > most
    {
        let seen = format!(
            "cluster.slurm.time_limit {} is longer than its {}",
            slurm.time_limit.as_deref().unwrap_or_default(),
            partition.time_limit
        );
        findings.push(waits(&seen, "PartitionTimeLimit"));
    }
    if nodes > counts.total {
        findings.push(waits(&format!("{nodes} nodes are asked for"), "PartitionNodeLimit"));
    } else if partition.is_up() && counts.idle < nodes {
        findings.push(Verdict::warning(
            format!("fewer than {nodes} of its nodes are idle now, so a launch waits in the queue"),
            "nothing is wrong; `squeue` shows who is there, `sinfo -s` where there is room",
        ));
    }
    findings
}

/// What a job would wait for, in the words of one that does.
fn waits(seen: &str, reason: &str) -> Verdict {
    let advice = match waiting(reason) {
        Waiting::ItsTurn(told) | Waiting::Somebody(told) => told,
        Waiting::Unknown => reason,
    };
    Verdict::failure(seen, advice)
}

fn kinds(partition: &Partition) -> String {
    let mut told: Vec<String> = partition
        .kinds
        .iter()
        .map(|kind| {
            let extras = [&kind.gres, &kind.features].into_iter().flatten();
            let extras: String = extras.map(|extra| format!(", {extra}")).collect();
            format!("{} × {} CPUs, {} MiB{extras}", kind.nodes.total, kind.cpus, kind.memory)
        })
        .collect();
    let more = told.len().saturating_sub(3);
    told.truncate(3);
    if told.is_empty() {
        return String::new();
    }
    let more = if more == 0 {
        String::new()
    } else {
        format!("; {more} more kinds")
    };
    format!(" ({}{more})", told.join("; "))
}

/// The cluster's settings beside ours.
pub fn settings(seen: &Settings, slurm: &SlurmSection, worker: &WorkerSpec) -> Verdict {
    let number = |name: &str, value: Option<u64>| match value {
        Some(value) => format!("{name} {value} s"),
        None => format!("{name} not told"),
    };
    let mut findings = vec![Verdict::ok(format!(
        "{}{}, {}",
        seen.cluster_name
            .as_deref()
            .map_or(String::new(), |name| format!("cluster {name}: ")),
        number("KillWait", seen.kill_wait_seconds),
        number("MinJobAge", seen.min_job_age_seconds)
    ))];
    if let Some(wait) = seen.kill_wait_seconds
        && worker.shutdown_grace_seconds >= wait
    {
        findings.push(Verdict::warning(
            format!(
                "worker.shutdown_grace_seconds is {}, and a cancelled job is killed {wait} s after it is told to end",
                worker.shutdown_grace_seconds
            ),
            format!(
                "set worker.shutdown_grace_seconds to {}, so that workers have archived by then",
                wait.saturating_sub(1).max(1)
            ),
        ));
    }
    // 0: jobs are never forgotten.
    if let Some(age) = seen.min_job_age_seconds.filter(|age| *age != 0)
        && age < 2 * slurm.poll_seconds
    {
        findings.push(Verdict::warning(
            format!(
                "Slurm forgets a job {age} s after its end, and the queue is looked at every {} s: how a job ended may not be known",
                slurm.poll_seconds
            ),
            format!("set cluster.slurm.poll_seconds to at most {}", (age / 2).max(1)),
        ));
    }
    if let Some(limit) = slurm.time_limit.as_deref().and_then(time_limit::seconds)
        && limit < LEAST_SECONDS
    {
        findings.push(Verdict::warning(
            format!(
                "with cluster.slurm.time_limit {} a swarm is told to end as soon as it has started: Slurm does that one to two \
                 minutes before the limit",
                slurm.time_limit.as_deref().unwrap_or_default()
            ),
            "ask for 3 minutes or more",
        ));
    }
    Verdict::all(findings)
}

/// What `sbatch --test-only` said.
pub fn batch_script(nodes: u32, tried: Result<String, SlurmError>) -> Verdict {
    match tried {
        Ok(told) => {
            let nodes = if nodes == 1 {
                "1 node".to_owned()
            } else {
                format!("{nodes} nodes")
            };
            Verdict::ok(format!("sbatch would take a swarm of {nodes}: {told}"))
        }
        Err(error) => slurm_error(&error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::Status;
    use codeswarm_slurm::{Answer, partition as slurm_partition};

    fn seen(text: &str) -> Partitions {
        let answer = Answer {
            exit_code: Some(0),
            stdout: text.into(),
            ..Answer::default()
        };
        slurm_partition::read(&answer).unwrap()
    }

    fn section(partition: Option<&str>, limit: Option<&str>) -> SlurmSection {
        SlurmSection {
            partition: partition.map(str::to_owned),
            time_limit: limit.map(str::to_owned),
            ..SlurmSection::default()
        }
    }

    const SINFO: &str = "compute*|up|infinite|2/2/0/4|4|2000|gpu:2|loopback\nshort|up|1:00|0/4/0/4|4|2000|(null)|loopback\n\
                         closed|down|infinite|0/4/0/4|4|2000|(null)|loopback\n";

    #[test]
    fn a_partition_is_judged_by_what_a_job_in_it_would_wait_for() {
        let judged = |name, limit, nodes| partition(&section(name, limit), nodes, &seen(SINFO));
        let good = judged(None, Some("1-0"), 2);
        assert_eq!(good.status, Status::Ok);
        assert!(good.seen.starts_with("compute: up, 2 of 4 nodes idle"), "{good:?}");
        assert_eq!(judged(Some("compute"), None, 3).status, Status::Warning);
        for (verdict, names) in [
            (
                judged(Some("nowhere"), None, 1),
                ["no partition nowhere", "cluster.slurm.partition"],
            ),
            (
                judged(Some("closed"), None, 1),
                ["starts no jobs", "cluster.slurm.partition"],
            ),
            (
                judged(Some("short"), Some("10"), 1),
                ["longer than its 1:00", "cluster.slurm.time_limit"],
            ),
            (
                judged(Some("compute"), None, 5),
                ["5 nodes are asked for", "ask for fewer"],
            ),
        ] {
            assert_eq!(verdict.status, Status::Failure, "{verdict:?}");
            assert!(
                verdict.seen.contains(names[0]) && verdict.advice.contains(names[1]),
                "{verdict:?}"
            );
        }
        assert_eq!(
            judged(Some("closed,compute"), None, 1).status,
            Status::Ok,
            "one of several is enough"
        );
    }

    #[test]
    fn settings_that_do_not_go_together_are_warnings() {
        let cluster = Settings {
            kill_wait_seconds: Some(30),
            min_job_age_seconds: Some(300),
            ..Settings::default()
        };
        let worker = |grace| WorkerSpec {
            shutdown_grace_seconds: grace,
            ..WorkerSpec::default()
        };
        let judged = |cluster: &Settings, limit, grace| settings(cluster, &section(None, limit), &worker(grace));
        assert_eq!(judged(&cluster, Some("5"), 20).status, Status::Ok);
        assert!(
            judged(&cluster, None, 30)
                .advice
                .contains("shutdown_grace_seconds to 29")
        );
        assert!(judged(&cluster, Some("2"), 20).seen.contains("told to end as soon"));
        let forgets = Settings {
            min_job_age_seconds: Some(10),
            ..cluster.clone()
        };
        assert!(judged(&forgets, None, 20).advice.contains("poll_seconds to at most 5"));
        assert_eq!(
            judged(&Settings::default(), None, 20).status,
            Status::Ok,
            "nothing is told"
        );
    }
}
