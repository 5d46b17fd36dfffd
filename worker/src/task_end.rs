//! The end of a task, as Slurm tells it: on the node, after the task's first process has ended, however it did (srun(1),
//! `--task-epilog`). As a rule the keeper has seen to everything, and there is nothing to do. If it was killed and its worker
//! with it, as the kernel does when memory runs out, nobody is left to say so in the outbox but this.

use std::fs;
use std::time::{Duration, Instant};

use codeswarm_mailbox::{Located, Mailbox, heartbeat};
use codeswarm_protocol::Place;

use crate::assignment::Assignment;
use crate::core::GivenUp;
use crate::error::WorkerError;
use crate::keep::KEPT_BY;
use crate::{last_life, launch_file, node};

/// How long a worker whose keeper has died is waited for. Slurm kills this process after five seconds.
const PATIENCE: Duration = Duration::from_secs(4);

/// How often it is looked for meanwhile: the system tells nobody of the end of somebody else's child.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// Lives the last life of a worker that died together with its keeper; does nothing where the task has ended in order, the
/// launch was withdrawn, or the worker still is at its own end. Needs a Tokio runtime.
pub async fn account_for(mailbox: &Mailbox, assignment: &Assignment) -> Result<(), WorkerError> {
    let place = &assignment.place;
    let until = Instant::now() + PATIENCE;
    // While it lives the outbox is its own; it has got a signal from the kernel when its keeper died.
    while works(mailbox, place)? {
        if Instant::now() >= until {
            tracing::warn!(%place, "the keeper is gone, and its worker still is at its end");
            return Ok(());
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
    if mailbox.locate(place)? == Located::Archive {
        return Ok(());
    }
    let launch = launch_file::read_within(Duration::ZERO, mailbox, place, assignment.launch.as_deref());
    if matches!(launch, Err(WorkerError::Withdrawn(_))) {
        return Ok(());
    }
    let given_up = GivenUp {
        reason: "worker_killed",
        message: "the worker and its keeper were killed, by hand or by a node that ran out of memory".to_owned(),
    };
    last_life::live(mailbox, assignment, given_up).await
}

/// Whether this place's worker lives on this node, or is still dying: its files may be open after its command line is gone.
fn works(mailbox: &Mailbox, place: &Place) -> Result<bool, WorkerError> {
    #[derive(serde::Deserialize)]
    struct Beat {
        pid: u32,
        pid_started: Option<u64>,
    }
    let beat = heartbeat::read(mailbox, place)?.and_then(|text| serde_json::from_slice::<Beat>(&text).ok());
    let lives = |beat: Beat| {
        let stat = fs::read_to_string(format!("/proc/{}/stat", beat.pid)).unwrap_or_default();
        node::started(&stat) == beat.pid_started && !is_dead(&stat)
    };
    Ok(beat.is_some_and(lives) || is_at_its_beginning(place))
}

/// A process that waits to be taken off the process table, the last of its threads (fields 3 and 20 of proc_pid_stat(5)).
fn is_dead(stat: &str) -> bool {
    let Some((_, fields)) = stat.rsplit_once(')') else {
        return true;
    };
    let mut fields = fields.split_ascii_whitespace();
    match fields.next() {
        Some("X") => true,
        Some("Z") => fields
            .nth(16)
            .is_none_or(|threads| threads.len() == 1 && threads <= "1"),
        _ => false,
    }
}

/// Whether a worker of this place runs that may not have said anything yet, not even with a heartbeat. A process that cannot
/// be looked at is somebody else's.
fn is_at_its_beginning(place: &Place) -> bool {
    let task = [
        format!("SLURM_JOB_ID={}", place.job_id),
        format!("SLURM_PROCID={}", place.node_id.rank()),
    ];
    let has = |list: &[u8], word: &str| list.split(|byte| *byte == 0).any(|entry| entry == word.as_bytes());
    let is_worker = |process: fs::DirEntry| {
        let read = |name| fs::read(process.path().join(name)).unwrap_or_default();
        has(&read("cmdline"), KEPT_BY) && {
            let environment = read("environ");
            task.iter().all(|variable| has(&environment, variable))
        }
    };
    fs::read_dir("/proc").is_ok_and(|processes| processes.flatten().any(is_worker))
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    #[tokio::test]
    async fn p5_the_outbox_of_a_worker_that_still_is_at_its_end_is_left_to_it() {
        let folder = tempfile::tempdir().unwrap();
        let mailbox = Mailbox::at(folder.path().join("root"));
        mailbox.create().unwrap();
        let place = Place::from_stem("7_00").unwrap();
        mailbox.prepare(&place.job_id, 1).unwrap();
        mailbox.make_folder(&mailbox.job_dir(&place.job_id)).unwrap();
        // We are the worker that does not come to its end.
        let us = node::identity();
        let beat = serde_json::json!({"pid": us.pid, "pid_started": us.pid_started}).to_string();
        heartbeat::write(&mailbox, &place, beat.as_bytes()).unwrap();
        let assignment = Assignment {
            root: mailbox.root().to_owned(),
            place: place.clone(),
            launch: None,
            restarts: None,
        };
        account_for(&mailbox, &assignment).await.unwrap();
        assert_eq!(fs::read(mailbox.outbox(&place)).unwrap(), b"");
        assert_eq!(mailbox.locate(&place).unwrap(), Located::Outbox);
    }

    #[test]
    fn p5_a_worker_that_has_said_nothing_yet_is_known_by_its_command_and_its_task() {
        let mut stands_by = Command::new("sh");
        stands_by.args(["-c", "read line", KEPT_BY]).stdin(Stdio::piped());
        stands_by.envs([("SLURM_JOB_ID", "4711"), ("SLURM_PROCID", "3")]);
        let mut worker = stands_by.spawn().unwrap();
        let is_there = |stem: &str| is_at_its_beginning(&Place::from_stem(stem).unwrap());
        // Until it is another program than this one.
        let deadline = Instant::now() + Duration::from_secs(10);
        while !is_there("4711_03") {
            assert!(Instant::now() < deadline, "it was not found");
        }
        assert!(!is_there("4711_04") && !is_there("4712_03"));
        worker.kill().unwrap();
        worker.wait().unwrap();
        assert!(!is_there("4711_03"));
    }

    #[test]
    fn a_process_is_dead_when_its_last_thread_is() {
        let stat = |state: &str, threads: u32| {
            format!("7 (a ) b) {state} 1 7 7 0 -1 4 0 0 0 0 0 0 0 0 20 0 {threads} 0 4711 0 0")
        };
        assert_eq!(node::started(&stat("S", 3)), Some(4711));
        assert!(!is_dead(&stat("S", 3)) && !is_dead(&stat("D", 1)));
        assert!(
            !is_dead(&stat("Z", 2)) && !is_dead(&stat("Z", 12)),
            "a thread may be in the middle of a write"
        );
        assert!(is_dead(&stat("Z", 1)) && is_dead(&stat("Z", 0)) && is_dead(&stat("X", 2)) && is_dead(""));
    }
}
