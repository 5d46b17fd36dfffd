//! The launch file: read, checked against this worker's place and version.

use std::path::Path;
use std::time::{Duration, Instant};

use codeswarm_mailbox::Mailbox;
use codeswarm_protocol::launch::LaunchSpec;
use codeswarm_protocol::{Place, VERSION};

use crate::error::WorkerError;

/// How long a file that is not there, or not whole, is waited for on a shared filesystem, which may remember its absence
/// (nfs(5)) or show a name before the bytes. It was written whole before the job was submitted, so whoever waits for this
/// worker is to hear soon that it is missing.
const PATIENCE: Duration = Duration::from_secs(10);

/// No launch file is this long, in bytes; one that is has something else in it.
const LONGEST: u64 = 64 << 20;

/// Reads the job's launch file, or the one at `named`.
pub fn read(mailbox: &Mailbox, place: &Place, named: Option<&Path>) -> Result<LaunchSpec, WorkerError> {
    let patience = if mailbox.filesystem().is_network() {
        PATIENCE
    } else {
        Duration::ZERO
    };
    read_within(patience, mailbox, place, named)
}

/// The same, with how long a file that is not there, or not whole, is waited for.
pub fn read_within(
    patience: Duration,
    mailbox: &Mailbox,
    place: &Place,
    named: Option<&Path>,
) -> Result<LaunchSpec, WorkerError> {
    let path = named.map_or_else(|| mailbox.launch_file(&place.job_id), Path::to_owned);
    let wrong = |why: String| WorkerError::Launch {
        path: path.clone(),
        why,
    };
    let text = read_when_there(&path, patience).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => wrong(
            "it is not there, though it is written before any worker is started; was another root named, or the file removed?"
                .to_owned(),
        ),
        _ => wrong(error.to_string()),
    })?;
    let spec = parse(&text).map_err(wrong)?;
    if spec.node_count == 0 {
        return Err(WorkerError::Withdrawn(path));
    }
    check(&spec, place).map_err(wrong)?;
    Ok(spec)
}

fn read_when_there(path: &Path, patience: Duration) -> std::io::Result<Vec<u8>> {
    let since = Instant::now();
    let mut told = false;
    loop {
        let found = read_some(path);
        let is_late = match &found {
            Ok(text) => has_more_to_come(text),
            Err(error) => error.kind() == std::io::ErrorKind::NotFound,
        };
        if !is_late || since.elapsed() >= patience {
            return found;
        }
        if !std::mem::replace(&mut told, true) {
            tracing::warn!(path = %path.display(), "the launch file is not there yet, or not whole; it is waited for");
        }
        std::thread::sleep(Duration::from_secs(1));
    }
}

fn read_some(path: &Path) -> std::io::Result<Vec<u8>> {
    let size = std::fs::metadata(path)?.len();
    if size > LONGEST {
        return Err(std::io::Error::other(format!(
            "it has {size} bytes; {LONGEST} are the most"
        )));
    }
    std::fs::read(path)
}

/// Whether bytes are missing: at the end, or where NULs stand (no JSON has one).
fn has_more_to_come(text: &[u8]) -> bool {
    text.contains(&0) || serde_json::from_slice::<serde::de::IgnoredAny>(text).is_err_and(|error| error.is_eof())
}

/// Reads the version before anything else: fields may have changed with it.
pub fn parse(text: &[u8]) -> Result<LaunchSpec, String> {
    #[derive(serde::Deserialize)]
    struct Head {
        version: String,
    }
    let head: Head = serde_json::from_slice(text).map_err(|error| format!("it is not one of Codeswarm's: {error}"))?;
    if head.version != VERSION {
        let theirs = head.version;
        return Err(format!(
            "it was written by version {theirs} and this worker is version {VERSION}; \
             both must be the same: deploy the worker again, or launch the swarm again"
        ));
    }
    serde_json::from_slice(text).map_err(|error| format!("it cannot be read: {error}"))
}

fn check(spec: &LaunchSpec, place: &Place) -> Result<(), String> {
    if let Some(job) = spec.job_id.as_ref().filter(|job| **job != place.job_id) {
        return Err(format!(
            "it is for job {job}, and this worker is in job {}",
            place.job_id
        ));
    }
    let (rank, count) = (place.node_id.rank(), spec.node_count);
    if rank >= count {
        return Err(format!(
            "its swarm has {count} nodes (0 to {}), and this worker is node {rank}",
            count.saturating_sub(1)
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use codeswarm_protocol::{JobId, NodeId};
    use serde_json::json;

    use super::*;

    fn place(node: u32) -> Place {
        Place::new(JobId::new("7").unwrap(), NodeId::new(node).unwrap())
    }

    #[test]
    fn another_version_is_refused_and_both_are_named() {
        let text = json!({"version": "9.9.9", "from": "the future"}).to_string();
        let why = parse(text.as_bytes()).unwrap_err();
        assert!(why.contains("9.9.9") && why.contains(VERSION), "{why}");
    }

    #[test]
    fn a_file_for_another_place_is_refused() {
        let text = json!({"version": VERSION, "job_id": "7", "node_count": 2, "agent": {"kind": "echo"}}).to_string();
        let spec = parse(text.as_bytes()).unwrap();
        assert_eq!(check(&spec, &place(1)), Ok(()));
        assert!(check(&spec, &place(2)).unwrap_err().contains("node 2"));
        let elsewhere = Place::new(JobId::new("8").unwrap(), NodeId::new(0).unwrap());
        assert!(check(&spec, &elsewhere).unwrap_err().contains("job 7"));
    }

    #[test]
    fn a_file_that_is_missing_or_garbage_is_named() {
        let here = tempfile::tempdir().unwrap();
        let mailbox = Mailbox::at(here.path());
        let missing = read(&mailbox, &place(0), None).unwrap_err();
        assert!(missing.to_string().contains("runs/7/launch.json"), "{missing}");
        let path = here.path().join("garbage.json");
        std::fs::write(&path, "{").unwrap();
        let garbage = read(&mailbox, &place(0), Some(&path)).unwrap_err();
        assert!(garbage.to_string().contains("garbage.json"), "{garbage}");
        assert_eq!(garbage.exit_code(), 78);
    }

    #[test]
    fn a_file_whose_bytes_come_after_its_name_is_waited_for() {
        let text = json!({"version": VERSION, "node_count": 1, "agent": {"kind": "echo"}}).to_string();
        let nuls = "\0".repeat(text.len());
        for early in ["", &text[..9], &nuls, &format!("{}{}", &text[..9], &nuls[9..])] {
            let here = tempfile::tempdir().unwrap();
            let path = here.path().join("s-1.json");
            std::fs::write(&path, early).unwrap();
            let (late, whole) = (path.clone(), text.clone());
            let writer = std::thread::spawn(move || {
                std::thread::sleep(Duration::from_millis(100));
                std::fs::write(late, whole).unwrap();
            });
            let mailbox = Mailbox::at(here.path());
            let spec = read_within(Duration::from_secs(60), &mailbox, &place(0), Some(&path)).unwrap();
            assert_eq!(spec.node_count, 1, "{early:?}");
            writer.join().unwrap();
        }
    }

    #[test]
    fn p12_a_file_that_is_none_is_far_too_long_or_half_of_one_is_refused() {
        let here = tempfile::tempdir().unwrap();
        let read = |path: &Path| read(&Mailbox::at(here.path()), &place(0), Some(path)).unwrap_err();
        let folder = read(here.path());
        assert!(matches!(folder, WorkerError::Launch { .. }), "{folder}");
        let long = here.path().join("long");
        std::fs::File::create(&long).unwrap().set_len(LONGEST + 1).unwrap();
        assert!(read(&long).to_string().contains("are the most"));
        let half = here.path().join("half");
        std::fs::write(&half, json!({"version": VERSION, "node_count": "two"}).to_string()).unwrap();
        let refused = read(&half);
        assert!(refused.to_string().contains("it cannot be read"), "{refused}");
    }

    #[test]
    fn a_launch_without_nodes_was_withdrawn() {
        let here = tempfile::tempdir().unwrap();
        let path = here.path().join("s-1.json");
        let text = json!({"version": VERSION, "node_count": 0, "agent": {"kind": "echo"}}).to_string();
        std::fs::write(&path, text).unwrap();
        let refused = read(&Mailbox::at(here.path()), &place(0), Some(&path)).unwrap_err();
        assert!(refused.to_string().contains("was withdrawn"), "{refused}");
        assert_eq!(refused.exit_code(), 69);
    }
}
