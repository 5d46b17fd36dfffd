//! Several jobs with one `squeue` (squeue(1)). The `-o` format is the stable interface over Slurm's releases; its JSON
//! changes with each.

use codeswarm_protocol::{IdError, JobId, SwarmId};

use crate::JOB_NAME;
use crate::batch::swarm_of;
use crate::call::{Answer, Call, number};
use crate::error::SlurmError;
use crate::job_state::JobState;

/// What `squeue --noheader -o` is asked for: job, state, nodes (number and names), start, end, comment, reason. The two that
/// may hold anything come last.
pub const SQUEUE_FORMAT: &str = "%A|%T|%D|%N|%S|%e|%k|%r";

/// Filters that squeue takes from its environment, each of which could hide a job.
const FILTERS: &[&str] = &[
    "SLURM_CLUSTERS",
    "SQUEUE_ACCOUNT",
    "SQUEUE_ARRAY",
    "SQUEUE_ARRAY_UNIQUE",
    "SQUEUE_CLUSTERS",
    "SQUEUE_FEDERATION",
    "SQUEUE_FORMAT",
    "SQUEUE_FORMAT2",
    "SQUEUE_LICENSES",
    "SQUEUE_LOCAL",
    "SQUEUE_NAMES",
    "SQUEUE_PARTITION",
    "SQUEUE_QOS",
    "SQUEUE_SIBLING",
    "SQUEUE_STATES",
    "SQUEUE_USERS",
];

/// One job in the queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueueLine {
    /// The job.
    pub job_id: JobId,
    /// Its state.
    pub state: JobState,
    /// How many nodes it has, or asks for.
    pub node_count: u32,
    /// Its nodes in Slurm's own notation, such as `node[0-3]`; empty while it waits.
    pub nodes: String,
    /// When it started or is expected to, as Slurm writes it (login node's time, no zone); absent when not known. Another
    /// start of a running job means that it was requeued in between.
    pub start: Option<String>,
    /// When it ended or will at the latest; absent without a time limit.
    pub end: Option<String>,
    /// Its comment; see [`QueueLine::swarm_id`].
    pub comment: Option<String>,
    /// Why it waits, in Slurm's word; absent when it does not.
    pub reason: Option<String>,
}

/// A line that is not of [`SQUEUE_FORMAT`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum QueueLineError {
    /// Too few fields.
    #[error("{0:?} is not a line of squeue -o \"{SQUEUE_FORMAT}\"")]
    Shape(String),
    /// The first field is no job.
    #[error("squeue names the job {text:?}, which {source}")]
    Job {
        /// What it names.
        text: String,
        /// Why not.
        source: IdError,
    },
}

impl QueueLine {
    /// Reads one line.
    pub fn parse(line: &str) -> Result<Self, QueueLineError> {
        let shape = || QueueLineError::Shape(line.chars().take(200).collect());
        let mut fields = line.trim().splitn(8, '|').map(str::trim);
        let mut next = || fields.next().ok_or_else(shape);
        let (job, state, count, nodes) = (next()?, next()?, next()?, next()?);
        let (start, end, comment, reason) = (next()?, next()?, next()?, next()?);
        let job_id = JobId::new(job).map_err(|source| QueueLineError::Job {
            text: job.to_owned(),
            source,
        })?;
        let Ok(state) = state.parse();
        Ok(Self {
            job_id,
            state,
            node_count: count.parse().map_err(|_| shape())?,
            nodes: nodes.to_owned(),
            start: said(start),
            end: said(end),
            comment: said(comment),
            reason: said(reason),
        })
    }

    /// The swarm whose job this is, as its comment says.
    pub fn swarm_id(&self) -> Option<SwarmId> {
        self.comment.as_deref().and_then(swarm_of)
    }
}

/// Slurm's words for 'nothing' as `None`.
fn said(field: &str) -> Option<String> {
    let nothing = matches!(field, "" | "None" | "NONE" | "(null)" | "N/A" | "Unknown");
    (!nothing).then(|| field.to_owned())
}

/// What squeue says of one job that was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sight {
    /// There it is.
    Listed(QueueLine),
    /// squeue printed a list, and this job is not in it. By itself that is no proof of an end: ask [`crate::job::show`].
    NotListed,
    /// slurmctld said that it does not know the job. squeue says so only when it is asked for a single one.
    Unknown,
}

/// What one squeue says of the jobs that were asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Look {
    /// Each asked job, in the order asked.
    pub jobs: Vec<(JobId, Sight)>,
    /// Lines that could not be read. A job that is not listed beside one of these may be that line.
    pub odd: Vec<QueueLineError>,
}

/// Asks for these jobs, at least one, in whatever state.
pub fn look(jobs: &[JobId]) -> Result<Call, SlurmError> {
    let numbers = jobs.iter().map(number).collect::<Result<Vec<_>, _>>()?;
    let jobs = format!("--jobs={}", numbers.join(","));
    Ok(Call::new("squeue", ["--noheader", "--states=all", &jobs, "-o", SQUEUE_FORMAT]).without(FILTERS))
}

/// Reads what [`look`] brought; `asked` are the same jobs.
pub fn read_look(asked: &[JobId], answer: &Answer) -> Result<Look, SlurmError> {
    match listing(answer) {
        Ok(Listing { lines, odd }) => {
            let sight = |job: &JobId| {
                lines
                    .iter()
                    .find(|line| line.job_id == *job)
                    .map_or(Sight::NotListed, |line| Sight::Listed(line.clone()))
            };
            let jobs = asked.iter().map(|job| (job.clone(), sight(job))).collect();
            Ok(Look { jobs, odd })
        }
        Err(SlurmError::NoSuchJob { .. }) if asked.len() == 1 => Ok(Look {
            jobs: asked.iter().map(|job| (job.clone(), Sight::Unknown)).collect(),
            odd: Vec::new(),
        }),
        Err(error) => Err(error),
    }
}

/// Lines of squeue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listing {
    /// Those that are jobs.
    pub lines: Vec<QueueLine>,
    /// Those that could not be read.
    pub odd: Vec<QueueLineError>,
}

impl Listing {
    /// The jobs of a swarm: more than one if the answer of an sbatch was lost and it was submitted again.
    pub fn of_swarm<'a>(&'a self, swarm_id: &'a SwarmId) -> impl Iterator<Item = &'a QueueLine> {
        self.lines
            .iter()
            .filter(move |line| line.swarm_id().as_ref() == Some(swarm_id))
    }
}

/// Asks for all jobs of ours that Slurm still knows, to find a job by its swarm when the answer of sbatch was lost.
pub fn search() -> Call {
    let name = format!("--name={JOB_NAME}");
    Call::new(
        "squeue",
        ["--noheader", "--states=all", "--me", &name, "-o", SQUEUE_FORMAT],
    )
    .without(FILTERS)
}

/// Reads what [`search`] brought.
pub fn listing(answer: &Answer) -> Result<Listing, SlurmError> {
    let text = answer.good("squeue")?;
    let mut listing = Listing {
        lines: Vec::new(),
        odd: Vec::new(),
    };
    for line in text.lines().filter(|line| !line.trim().is_empty()) {
        match QueueLine::parse(line) {
            Ok(line) => listing.lines.push(line),
            Err(error) => listing.odd.push(error),
        }
    }
    Ok(listing)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::call::answer;
    use crate::job_state::Phase;

    fn ids<const N: usize>(texts: [&str; N]) -> Vec<JobId> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn a_running_and_a_waiting_job_are_read() {
        // Both recorded from 22.05.8.
        let running =
            QueueLine::parse("28|RUNNING|4|node[0-3]|2026-11-27T18:48:37|NONE|codeswarm:0199-ab|None\n").unwrap();
        assert_eq!((running.job_id.as_str(), running.state.phase()), ("28", Phase::Running));
        assert_eq!((running.node_count, running.nodes.as_str()), (4, "node[0-3]"));
        assert_eq!(
            (running.start.as_deref(), running.end),
            (Some("2026-11-27T18:48:37"), None)
        );
        assert_eq!(running.comment.as_deref(), Some("codeswarm:0199-ab"));
        assert_eq!(running.reason, None);

        let waiting = QueueLine::parse("272901|PENDING|64||N/A|N/A|(null)|Resources|x").unwrap();
        assert_eq!(waiting.reason.as_deref(), Some("Resources|x"));
        assert_eq!((waiting.start, waiting.comment), (None, None));
        assert_eq!(waiting.state.phase(), Phase::Waiting);
    }

    #[test]
    fn anything_else_is_named() {
        for bad in [
            "",
            "slurm_load_jobs error: Unable to contact slurm controller",
            "1|RUNNING|x|n|None|a|b|c",
            "1|RUNNING|1|n|None",
        ] {
            assert!(matches!(QueueLine::parse(bad), Err(QueueLineError::Shape(_))), "{bad}");
        }
        let hostile = QueueLine::parse("../../etc|RUNNING|1|n|a|b|c|None").unwrap_err();
        assert!(hostile.to_string().contains("../../etc"), "{hostile}");
    }

    #[test]
    fn one_look_tells_listed_and_unlisted_jobs_and_reports_odd_lines() {
        let asked = ids(["28", "99999"]);
        let call = look(&asked).unwrap();
        assert_eq!(
            call.to_string(),
            "squeue --noheader --states=all --jobs=28,99999 -o '%A|%T|%D|%N|%S|%e|%k|%r'"
        );
        assert!(call.unset.iter().any(|name| name == "SQUEUE_PARTITION"));

        let printed = "28|RUNNING|1|node0|2026-11-27T18:48:37|NONE|(null)|None\nslurm is being upgraded tonight\n";
        let look = read_look(&asked, &answer(0, printed, "")).unwrap();
        assert!(matches!(&look.jobs[0], (job, Sight::Listed(line)) if job == &line.job_id));
        assert_eq!(look.jobs[1].1, Sight::NotListed);
        assert_eq!(look.odd.len(), 1);
    }

    #[test]
    fn a_single_unknown_job_is_unknown_and_a_silent_controller_is_an_error() {
        let unknown = answer(1, "", "slurm_load_jobs error: Invalid job id specified\n");
        let one = read_look(&ids(["99999"]), &unknown).unwrap();
        assert_eq!(one.jobs[0].1, Sight::Unknown);

        let silent = answer(
            1,
            "",
            "slurm_load_jobs error: Unable to contact slurm controller (connect failure)\n",
        );
        let error = read_look(&ids(["28"]), &silent).unwrap_err();
        assert!(matches!(error, SlurmError::Unreachable { .. }), "{error}");

        let cut = Answer {
            stdout: b"28|RUNN".to_vec(),
            ..Answer::default()
        };
        assert!(read_look(&ids(["28"]), &cut).is_err(), "half an answer is none");
        assert!(
            look(&ids(["28", "local-1"])).is_err(),
            "one bad id would spoil the others"
        );
    }

    #[test]
    fn a_job_is_found_by_its_swarm() {
        let printed = "30|CANCELLED|1||2026-11-27T18:52:18|2026-11-27T18:52:18|(null)|JobHeldUser\n\
                       32|PENDING|2||2026-11-27T18:54:29|NONE|codeswarm:0199-ab|BeginTime\n";
        let listing = listing(&answer(0, printed, "")).unwrap();
        let swarm = "0199-ab".parse().unwrap();
        let found: Vec<_> = listing.of_swarm(&swarm).map(|line| line.job_id.as_str()).collect();
        assert_eq!(found, ["32"]);
        assert!(search().to_string().contains("--states=all --me --name=codeswarm"));
    }
}
