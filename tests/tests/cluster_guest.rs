//! The follower on the login node, where everybody is a guest: what it costs when nothing happens.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use codeswarm_tests::requires;
use codeswarm_tests::router::RouterProcess;
use codeswarm_tests::slurm_workspace::SlurmWorkspace;
use codeswarm_tests::{processes, workspace};
use serde_json::json;

/// How long nothing happens.
const IDLE: Duration = Duration::from_secs(31);

/// Everything below a folder with its size and time, but for what workers write to say that they live.
fn files(folder: &Path) -> BTreeMap<PathBuf, (u64, Option<SystemTime>)> {
    let mut found = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap().flatten() {
            let (path, about) = (entry.path(), entry.metadata().unwrap());
            if path.to_string_lossy().contains("heartbeat") {
                continue;
            }
            if about.is_dir() {
                folders.push(path.clone());
            }
            // A folder of heartbeats changes with them.
            let time = about.modified().ok().filter(|_| about.is_file());
            found.insert(path, (about.len(), time));
        }
    }
    found
}

/// Hundredths of a second of processor time.
fn ticks(pid: i32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit_once(") ").unwrap().1.split(' ').collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}

fn number_of(pid: i32, file: &str, key: &str) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{pid}/{file}")).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(key)).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

/// Half a minute of rest with four nodes, as it is configured by default.
fn rests(watch: &str, most_calls: u64) {
    let Some(cluster) = requires::cluster() else { return };
    let workspace = SlurmWorkspace::echo(&cluster).configured(|config| {
        config["cluster"]["watch"] = json!(watch);
        config["worker"]["heartbeat_seconds"] = json!(15);
    });
    let mut router = RouterProcess::daemon(&workspace);
    router.follow_all();
    let swarm = router.launch_ready(4);
    let done = router.inject_all(&swarm, "one turn each");
    for injection in &done {
        router.event_of(injection, "usage");
    }
    let follower = workspace.follower();
    let shared = workspace.path().join("shared");
    // What the turns have left to be done is done: nothing changes any more.
    workspace::wait_until("the workspace to rest", || {
        let before = files(&shared);
        std::thread::sleep(Duration::from_millis(500));
        if files(&shared) == before {
            Ok(())
        } else {
            Err("it changes".to_owned())
        }
    });
    let (files_before, ticks_before) = (files(&shared), ticks(follower.pid));
    let calls_before = (
        number_of(follower.pid, "io", "syscr:"),
        number_of(follower.pid, "io", "syscw:"),
    );
    let switches_before = number_of(follower.pid, "status", "voluntary_ctxt_switches:");
    let squeues_before = workspace.fakes.calls("squeue").len();
    let others_before = workspace.fakes.calls("scontrol").len();
    let deadline = std::time::Instant::now() + IDLE;
    while std::time::Instant::now() < deadline {
        assert_eq!(processes::descendants(follower.pid), [], "it has children");
        std::thread::sleep(Duration::from_millis(200));
    }
    assert_eq!(files(&shared), files_before, "something was written");
    assert_eq!(workspace.follower(), follower);
    let ticks = ticks(follower.pid) - ticks_before;
    let reads = number_of(follower.pid, "io", "syscr:") - calls_before.0;
    let writes = number_of(follower.pid, "io", "syscw:") - calls_before.1;
    let switches = number_of(follower.pid, "status", "voluntary_ctxt_switches:") - switches_before;
    let memory = number_of(follower.pid, "status", "VmRSS:");
    let squeues = workspace.fakes.calls("squeue").len() - squeues_before;
    let others = workspace.fakes.calls("scontrol").split_off(others_before);
    println!(
        "{watch}: {ticks} ticks, {reads} reads, {writes} writes, {switches} waits, {memory} kB, {squeues} squeue, {} scontrol in {IDLE:?}",
        others.len()
    );
    assert!(
        ticks <= 31,
        "{ticks} hundredths of a second in {IDLE:?} are more than 1 %"
    );
    assert!(memory <= 64 << 10, "{memory} kB");
    assert!(reads + writes <= most_calls, "{reads} reads and {writes} writes");
    // One question to Slurm, which may be the last about its beginning.
    assert!(squeues + others.len() <= 1, "{squeues} squeue, {others:?}");
    router.terminate(&swarm);
}

#[test]
fn a_follower_that_watches_rests_while_nothing_happens() {
    rests("inotify", 200);
}

#[test]
fn a_follower_that_polls_rests_while_nothing_happens() {
    rests("poll", 200);
}
