//! One job in full: `scontrol show job -o` (scontrol(1)). It knows a job for `MinJobAge` after its end, needs no
//! accounting database, and, unlike squeue, takes no filters from the environment.

use codeswarm_protocol::{JobId, SwarmId};

use crate::batch::{SIGNAL_SECONDS, swarm_of};
use crate::call::{Answer, Call, number};
use crate::ending;
use crate::error::SlurmError;
use crate::job_state::JobState;

/// What Slurm tells about a job. What it did not tell is absent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Job {
    /// The job.
    pub job_id: JobId,
    /// Its name; [`crate::JOB_NAME`] for ours.
    pub name: String,
    /// Its state.
    pub state: JobState,
    /// Why it waits or failed, in Slurm's word.
    pub reason: Option<String>,
    /// How often it was started again under the same id.
    pub restarts: Option<u32>,
    /// Its batch script's exit code, and the signal that ended it (0: none). For ours it is the highest of the workers'.
    pub exit_code: Option<(i32, i32)>,
    /// How many nodes it has, or asks for.
    pub node_count: Option<u32>,
    /// How many tasks, which are our workers.
    pub task_count: Option<u32>,
    /// Its nodes in Slurm's notation, such as `node[0-3]`; empty while it waits.
    pub nodes: String,
    /// When it started, or is expected to, as Slurm writes it (login node's time, no zone), or `Unknown`.
    pub start: String,
    /// When it ended or will at the latest, likewise.
    pub end: String,
    /// Its time limit, such as `1-00:00:00`, or `UNLIMITED`.
    pub time_limit: String,
    /// How long it has run in this life, such as `1-02:03:04`.
    pub run_time: String,
    /// Its comment; see [`Job::swarm_id`].
    pub comment: Option<String>,
    /// Its partition.
    pub partition: String,
    /// Whose it is.
    pub user: String,
}

/// Asks for one job.
pub fn show(job_id: &JobId) -> Result<Call, SlurmError> {
    Ok(Call::new("scontrol", ["show", "job", "-o", number(job_id)?]))
}

/// Reads what [`show`] brought.
pub fn read(job_id: &JobId, answer: &Answer) -> Result<Job, SlurmError> {
    let text = answer.good("scontrol")?;
    // An array is printed as several lines; a banner may stand before.
    text.lines()
        .filter_map(Job::parse)
        .find(|job| job.job_id == *job_id)
        .ok_or_else(|| SlurmError::Unclear {
            command: "scontrol",
            exit_code: answer.exit_code,
            said: format!(
                "no line for job {job_id} in {:?}",
                text.chars().take(200).collect::<String>()
            ),
        })
}

impl Job {
    /// Reads one line; `None` if it is none that describes a job.
    pub fn parse(line: &str) -> Option<Self> {
        let rest = line.trim().strip_prefix("JobId=")?;
        let (id, rest) = rest.split_once(' ')?;
        // A name is free text and may look like any other field, so it is taken out by its neighbours first.
        let (name, rest) = match rest.trim_start().strip_prefix("JobName=") {
            Some(after) => after
                .split_once(" UserId=")
                .map(|(name, rest)| (name, rest.to_owned()))?,
            None => ("", rest.to_owned()),
        };
        let rest = format!("UserId={rest}");
        let fields = Fields(&rest);
        let text = |key| fields.get(key).unwrap_or_default().to_owned();
        let count = |key| fields.get(key).and_then(leading_number);
        let Ok(state) = fields.get("JobState")?.parse();
        Some(Self {
            job_id: JobId::new(id).ok()?,
            name: name.to_owned(),
            state,
            reason: fields.said("Reason"),
            restarts: count("Restarts"),
            exit_code: fields.get("ExitCode").and_then(exit_code),
            node_count: count("NumNodes"),
            task_count: count("NumTasks"),
            nodes: fields.said("NodeList").unwrap_or_default(),
            start: text("StartTime"),
            end: text("EndTime"),
            time_limit: text("TimeLimit"),
            run_time: text("RunTime"),
            comment: fields.said("Comment"),
            partition: text("Partition"),
            user: text("UserId").split('(').next().unwrap_or_default().to_owned(),
        })
    }

    /// The swarm whose job this is, as its comment says.
    pub fn swarm_id(&self) -> Option<SwarmId> {
        self.comment.as_deref().and_then(swarm_of)
    }

    /// Whether it has run into its time limit, or so far that Slurm has told its workers to end: that comes up to a minute
    /// earlier than asked for (sbatch(1), `--signal`).
    pub fn reached_time_limit(&self) -> bool {
        let told_before = u64::from(SIGNAL_SECONDS) + 60;
        self.state.as_str() == "TIMEOUT"
            || matches!(
                (seconds(&self.run_time), seconds(&self.time_limit)),
                (Some(run), Some(limit)) if run.saturating_add(told_before) >= limit
            )
    }

    /// What happened to it and what to do, once it is over. One that ended in order shortly before its time limit is told
    /// to have reached it; whoever has just cancelled it knows better.
    pub fn ending(&self) -> Option<String> {
        let sentence = ending::sentence(&self.state, self.reason.as_deref(), self.exit_code)?;
        if self.state.as_str() == "COMPLETED" && self.reached_time_limit() {
            return Some(format!(
                "{sentence}, as they are told to one to two minutes before the job's time limit ({}); launch again, with a \
                 longer cluster.slurm.time_limit if there is work left",
                self.time_limit
            ));
        }
        Some(sentence)
    }
}

/// `Key=value` pairs, whose values may hold spaces and `=`.
struct Fields<'a>(&'a str);

impl<'a> Fields<'a> {
    /// The first of that key; it ends where the next key begins.
    fn get(&self, key: &str) -> Option<&'a str> {
        let starts = |at: usize| at == 0 || self.0[..at].ends_with(char::is_whitespace);
        let (at, _) = self
            .0
            .match_indices(key)
            .find(|(at, _)| starts(*at) && self.0[at + key.len()..].starts_with('='))?;
        let value = &self.0[at + key.len() + 1..];
        let mut end = value.len();
        for (space, _) in value.match_indices(' ') {
            if begins_with_key(&value[space + 1..]) {
                end = space;
                break;
            }
        }
        Some(value[..end].trim())
    }

    /// The same, with Slurm's words for 'nothing' as `None`.
    fn said(&self, key: &str) -> Option<String> {
        let nothing = |value: &&str| !matches!(*value, "" | "None" | "(null)" | "N/A");
        self.get(key).filter(nothing).map(str::to_owned)
    }
}

/// Keys begin with a capital and hold no spaces: `JobState=`, `CPUs/Task=`, `ReqB:S:C:T=`.
fn begins_with_key(text: &str) -> bool {
    let Some((word, _)) = text.split_once('=') else {
        return false;
    };
    word.starts_with(|c: char| c.is_ascii_uppercase())
        && word
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '/' | ':' | '_'))
}

/// `2-2` while it waits, `2` when it runs.
fn leading_number(text: &str) -> Option<u32> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    text[..digits].parse().ok()
}

/// `[days-]hours:minutes:seconds`; `None` for `UNLIMITED`.
fn seconds(text: &str) -> Option<u64> {
    let (days, clock) = text.split_once('-').unwrap_or(("0", text));
    // Bounded, so that no sum is too large.
    let number = |text: &str| text.parse().ok().filter(|number: &u64| *number <= 1_000_000);
    let mut parts = clock.split(':').map(number);
    let mut next = || parts.next().flatten();
    let (hours, minutes, seconds) = (next()?, next()?, next()?);
    Some(((number(days)? * 24 + hours) * 60 + minutes) * 60 + seconds)
}

fn exit_code(text: &str) -> Option<(i32, i32)> {
    let (code, signal) = text.split_once(':')?;
    Some((code.parse().ok()?, signal.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::call::answer;
    use crate::job_state::Phase;

    // Recorded from 22.05.8.
    const HELD: &str = "JobId=29 JobName=we ird JobState=FAILED UserId=root(0) GroupId=root(0) MCS_label=N/A Priority=0 Nice=0 Account=(null) QOS=(null) JobState=PENDING Reason=JobHeldUser Dependency=(null) Requeue=1 Restarts=0 BatchFlag=1 Reboot=0 ExitCode=0:0 RunTime=00:00:00 TimeLimit=UNLIMITED TimeMin=N/A SubmitTime=2026-11-27T18:48:40 EligibleTime=Unknown AccrueTime=Unknown StartTime=Unknown EndTime=Unknown Deadline=N/A SuspendTime=None SecsPreSuspend=0 LastSchedEval=2026-11-27T18:48:40 Scheduler=Main Partition=compute AllocNode:Sid=localhost:14703 ReqNodeList=(null) ExcNodeList=(null) NodeList= NumNodes=2-2 NumCPUs=4 NumTasks=4 CPUs/Task=1 ReqB:S:C:T=0:0:*:* TRES=cpu=4,mem=4000M,node=2,billing=4 Socks/Node=* NtasksPerN:B:S:C=2:0:*:* CoreSpec=* MinCPUsNode=2 MinMemoryNode=0 MinTmpDiskNode=0 Features=(null) DelayBoot=00:00:00 OverSubscribe=OK Contiguous=0 Licenses=(null) Network=(null) Command=(null) WorkDir=/work Comment=two words X=y  StdErr=/dev/null StdIn=/dev/null StdOut=/dev/null Power= \n";

    fn id(text: &str) -> JobId {
        text.parse().unwrap()
    }

    #[test]
    fn a_waiting_job_is_read_though_its_name_looks_like_a_state() {
        let job = read(&id("29"), &answer(0, HELD, "")).unwrap();
        assert_eq!(job.name, "we ird JobState=FAILED");
        assert_eq!(job.state.phase(), Phase::Waiting);
        assert_eq!(job.reason.as_deref(), Some("JobHeldUser"));
        assert_eq!(
            (job.node_count, job.task_count, job.restarts),
            (Some(2), Some(4), Some(0))
        );
        assert_eq!(
            (job.nodes.as_str(), job.partition.as_str(), job.user.as_str()),
            ("", "compute", "root")
        );
        assert_eq!(
            job.comment.as_deref(),
            Some("two words"),
            "what looks like a field ends it"
        );
        assert_eq!(job.swarm_id(), None);
    }

    #[test]
    fn an_ended_job_of_another_release_is_read_in_another_order() {
        let line = "JobId=7 JobName=codeswarm UserId=ada(1000) GroupId=ada(1000) ExitCode=75:0 New/Key=a b Comment=codeswarm:0199-ab \
                    JobState=FAILED Reason=NonZeroExitCode NodeList=node[0-3] StartTime=2026-01-02T03:04:05";
        let job = read(&id("7"), &answer(0, &format!("Welcome!\n{line}\n"), "")).unwrap();
        assert_eq!(job.exit_code, Some((75, 0)));
        assert_eq!(job.swarm_id().unwrap().as_str(), "0199-ab");
        assert_eq!(job.nodes, "node[0-3]");
        assert_eq!((job.restarts, job.task_count, job.end.as_str()), (None, None, ""));
    }

    #[test]
    fn a_job_that_ended_in_order_because_of_its_time_limit_says_so() {
        // 22.05.8 told a job of two minutes to end after 36 seconds, and it was COMPLETED.
        let ended = |run: &str, limit: &str| {
            let line = format!(
                "JobId=44 JobName=x UserId=a(1) JobState=COMPLETED RunTime={run} TimeLimit={limit} ExitCode=0:0"
            );
            Job::parse(&line).unwrap()
        };
        let told = ended("00:00:38", "00:02:00");
        assert!(told.ending().unwrap().contains("time limit (00:02:00)"), "{told:?}");
        assert!(ended("1-00:58:01", "1-01:00:00").reached_time_limit());
        for other in [
            ended("00:00:38", "01:00:00"),
            ended("00:00:38", "UNLIMITED"),
            ended("", ""),
        ] {
            assert_eq!(
                other.ending().unwrap(),
                "COMPLETED: all workers of the job ended in order"
            );
        }
    }

    #[test]
    fn an_unknown_job_and_another_job_are_told_apart() {
        let unknown = read(
            &id("99999"),
            &answer(1, "", "slurm_load_jobs error: Invalid job id specified\n"),
        );
        assert!(matches!(unknown, Err(SlurmError::NoSuchJob { .. })), "{unknown:?}");
        let other = read(&id("30"), &answer(0, HELD, "")).unwrap_err();
        assert!(matches!(other, SlurmError::Unclear { .. }), "{other}");
        assert_eq!(show(&id("30")).unwrap().to_string(), "scontrol show job -o 30");
    }
}
