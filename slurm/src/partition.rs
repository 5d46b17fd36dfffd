//! What may be had: partitions and their nodes, by `sinfo` (sinfo(1)).

use crate::call::{Answer, Call};
use crate::error::SlurmError;

/// What `sinfo --noheader -o` is asked for: partition, availability, time limit, nodes by state, CPUs and memory of a node,
/// generic resources, features. Nodes that differ in the last four stand in lines of their own.
pub const SINFO_FORMAT: &str = "%P|%a|%l|%F|%c|%m|%G|%f";

/// Filters that sinfo takes from its environment.
const FILTERS: &[&str] = &[
    "SINFO_ALL",
    "SINFO_FEDERATION",
    "SINFO_FORMAT",
    "SINFO_LOCAL",
    "SINFO_PARTITION",
    "SINFO_SORT",
    "SLURM_CLUSTERS",
];

/// A partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Partition {
    /// Its name.
    pub name: String,
    /// Where jobs go that name none.
    pub is_default: bool,
    /// `up`, `down`, `drain` or `inact`: only `up` starts jobs.
    pub availability: String,
    /// The longest a job may run, such as `1-00:00:00`, or `infinite`.
    pub time_limit: String,
    /// How many of its nodes are in which state.
    pub nodes: NodeCounts,
    /// Its kinds of nodes.
    pub kinds: Vec<NodeKind>,
}

/// Nodes by state, as `%F` counts them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct NodeCounts {
    /// In use, wholly or in part.
    pub allocated: u32,
    /// Wholly free.
    pub idle: u32,
    /// Down, drained, reserved, …
    pub other: u32,
    /// All.
    pub total: u32,
}

/// Nodes of a partition that are alike.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeKind {
    /// How many there are.
    pub nodes: NodeCounts,
    /// Its CPUs, as Slurm writes them; `64+` if they differ.
    pub cpus: String,
    /// Its memory in MiB, likewise.
    pub memory: String,
    /// Its generic resources, such as `gpu:mi300x:8`.
    pub gres: Option<String>,
    /// Its features, separated by commas.
    pub features: Option<String>,
}

impl Partition {
    /// Whether it starts jobs at all.
    pub fn is_up(&self) -> bool {
        self.availability.eq_ignore_ascii_case("up")
    }
}

/// All partitions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Partitions {
    /// In sinfo's order.
    pub all: Vec<Partition>,
    /// Lines that could not be read.
    pub odd: Vec<String>,
}

impl Partitions {
    /// The one of that name, or the default one.
    pub fn find(&self, name: Option<&str>) -> Option<&Partition> {
        self.all
            .iter()
            .find(|partition| name.map_or(partition.is_default, |name| partition.name == name))
    }

    /// How many nodes could be had now in one of these partitions (names separated by commas, as sbatch takes them; none:
    /// the default one): wholly idle nodes of partitions that are up. A node with some CPUs free does not count, since
    /// nothing says that what is asked of it fits there; nor does it tell whether another job is to have the idle ones
    /// first. `None`: there is no such partition.
    pub fn idle_nodes(&self, names: Option<&str>) -> Option<u32> {
        let idle = |partition: &Partition| if partition.is_up() { partition.nodes.idle } else { 0 };
        match names {
            None => self.find(None).map(idle),
            // A job runs in one of them.
            Some(names) => names
                .split(',')
                .filter_map(|name| self.find(Some(name.trim())))
                .map(idle)
                .max(),
        }
    }
}

/// Asks for all partitions, hidden ones included.
pub fn show() -> Call {
    Call::new("sinfo", ["--noheader", "--all", "-o", SINFO_FORMAT]).without(FILTERS)
}

/// Reads what [`show`] brought. The lines of a partition are added up.
pub fn read(answer: &Answer) -> Result<Partitions, SlurmError> {
    let text = answer.good("sinfo")?;
    let mut partitions = Partitions {
        all: Vec::new(),
        odd: Vec::new(),
    };
    for line in text.lines().filter(|line| !line.trim().is_empty()) {
        let Some(partition) = parse(line) else {
            partitions.odd.push(line.chars().take(200).collect());
            continue;
        };
        match partitions.all.iter_mut().find(|other| other.name == partition.name) {
            Some(known) => {
                known.nodes.add(partition.nodes);
                known.kinds.extend(partition.kinds);
            }
            None => partitions.all.push(partition),
        }
    }
    Ok(partitions)
}

fn parse(line: &str) -> Option<Partition> {
    // Features come last: their names may hold `|` in no release, but what follows a newer one's is theirs.
    let mut fields = line.splitn(8, '|').map(str::trim);
    let mut next = || fields.next();
    let (name, availability, time_limit, counts) = (next()?, next()?, next()?, next()?);
    let (cpus, memory, gres, features) = (next()?, next()?, next()?, next()?);
    let nodes = NodeCounts::parse(counts)?;
    let (name, is_default) = name.strip_suffix('*').map_or((name, false), |name| (name, true));
    let said = |text: &str| (!matches!(text, "" | "(null)" | "N/A")).then(|| text.to_owned());
    (!name.is_empty()).then(|| Partition {
        name: name.to_owned(),
        is_default,
        availability: availability.to_owned(),
        time_limit: time_limit.to_owned(),
        nodes,
        kinds: vec![NodeKind {
            nodes,
            cpus: cpus.to_owned(),
            memory: memory.to_owned(),
            gres: said(gres),
            features: said(features),
        }],
    })
}

impl NodeCounts {
    /// `allocated/idle/other/total`; large clusters print `1.5K`.
    fn parse(text: &str) -> Option<Self> {
        let mut numbers = text.split('/').map(number);
        let mut next = || numbers.next().flatten();
        Some(Self {
            allocated: next()?,
            idle: next()?,
            other: next()?,
            total: next()?,
        })
    }

    fn add(&mut self, other: Self) {
        self.allocated = self.allocated.saturating_add(other.allocated);
        self.idle = self.idle.saturating_add(other.idle);
        self.other = self.other.saturating_add(other.other);
        self.total = self.total.saturating_add(other.total);
    }
}

fn number(text: &str) -> Option<u32> {
    if let Ok(number) = text.parse() {
        return Some(number);
    }
    let (mantissa, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let factor = match unit {
        "K" => 1024.0,
        "M" => 1024.0 * 1024.0,
        _ => return None,
    };
    let value = mantissa.parse::<f64>().ok()? * factor;
    // Rounded down: the number is rounded already, and idle nodes are not to be promised.
    (0.0..4e9).contains(&value).then_some(value as u32)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::call::answer;

    // Recorded from 22.05.8, but for the last two lines.
    const PRINTED: &str = "compute*|up|infinite|0/2/0/2|4|2000|(null)|fast\nshort|up|2:00|0/1/0/1|4|2000|(null)|fast\n\
                           closed|down|infinite|0/1/0/1|4|2000|(null)|fast\n\
                           compute*|up|infinite|1/1.5K/0/1.5K|64|512000|gpu:8|fast,gpu\nmaintenance on Tuesday\n";

    #[test]
    fn partitions_are_added_up_and_odd_lines_reported() {
        let partitions = read(&answer(0, PRINTED, "")).unwrap();
        assert_eq!(partitions.all.len(), 3);
        let compute = partitions.find(None).unwrap();
        assert_eq!((compute.name.as_str(), compute.is_default), ("compute", true));
        assert_eq!((compute.nodes.allocated, compute.nodes.idle), (1, 1538));
        assert_eq!(compute.kinds[1].gres.as_deref(), Some("gpu:8"));
        assert_eq!(compute.kinds[0].gres, None);
        assert_eq!(partitions.find(Some("short")).unwrap().time_limit, "2:00");
        assert_eq!(partitions.odd, ["maintenance on Tuesday"]);
    }

    #[test]
    fn only_idle_nodes_of_a_partition_that_is_up_can_be_had_now() {
        let partitions = read(&answer(0, PRINTED, "")).unwrap();
        assert_eq!(partitions.idle_nodes(Some("short")), Some(1));
        assert_eq!(partitions.idle_nodes(Some("closed")), Some(0));
        assert_eq!(partitions.idle_nodes(Some("closed,short")), Some(1));
        assert_eq!(partitions.idle_nodes(Some("nosuch")), None);
        assert_eq!(partitions.idle_nodes(None), Some(1538));
    }

    #[test]
    fn a_silent_controller_is_an_error() {
        let silent = "slurm_load_partitions: Unable to contact slurm controller (connect failure)\n";
        let error = read(&answer(1, "", silent)).unwrap_err();
        assert!(matches!(error, SlurmError::Unreachable { .. }), "{error}");
    }
}
