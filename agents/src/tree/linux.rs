//! The look into `/proc`.
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use std::{fs, io, thread};

use rustix::process::{
    Pid, Signal, WaitId, WaitIdOptions, WaitOptions, getpid, kill_process, kill_process_group, set_child_subreaper,
    waitid, waitpid,
};

use super::{GATE, MARK, Tree, mark_of_home};

/// Whether this process has taken over the orphans of its agents.
static ADOPTING: AtomicBool = AtomicBool::new(false);

/// Rounds of looking and killing: a process may fork between the look and the kill.
const ROUNDS: u32 = 200;
const PAUSE: Duration = Duration::from_millis(5);

/// Makes this process the parent of every orphan among its descendants (`PR_SET_CHILD_SUBREAPER`), so that none can
/// slip away when an agent is killed. For a worker only: when a session ends, *every* child of this process that is
/// no other session's is taken for something that the agent left behind.
pub fn adopt_orphans() -> io::Result<()> {
    set_child_subreaper(Some(getpid()))?;
    ADOPTING.store(true, Ordering::Relaxed);
    Ok(())
}

/// Takes the ended orphans that this process has adopted off the process table, all but `root`, which has its owner.
pub(crate) fn reap_orphans(root: u32) {
    if !ADOPTING.load(Ordering::Relaxed) {
        return;
    }
    let look = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    while let Ok(Some(_)) = waitid(WaitId::All, look) {
        let zombies: Vec<_> = processes()
            .into_iter()
            .filter(|process| process.zombie && process.parent == own_pid() && u32::try_from(process.pid) != Ok(root))
            .collect();
        if zombies.is_empty() {
            return;
        }
        for zombie in zombies {
            reap(zombie.pid);
        }
    }
}

fn own_pid() -> i32 {
    getpid().as_raw_nonzero().get()
}

fn reap(pid: i32) {
    // It may have been reaped by someone else meanwhile; then there is nothing to do.
    let _ = waitpid(Pid::from_raw(pid), WaitOptions::NOHANG);
}

/// What `/proc/PID/stat` tells (proc_pid_stat(5)).
#[derive(Debug, Clone, PartialEq, Eq)]
struct Process {
    pid: i32,
    parent: i32,
    group: i32,
    zombie: bool,
    started: u64,
}

impl Process {
    fn read(pid: i32) -> Option<Self> {
        Self::parse(pid, &fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
    }

    /// The name in parentheses may hold anything, so the fields are counted from its last parenthesis.
    fn parse(pid: i32, stat: &str) -> Option<Self> {
        let (_, fields) = stat.rsplit_once(')')?;
        let fields: Vec<&str> = fields.split_ascii_whitespace().collect();
        Some(Self {
            pid,
            zombie: matches!(*fields.first()?, "Z" | "X"),
            parent: fields.get(1)?.parse().ok()?,
            group: fields.get(2)?.parse().ok()?,
            started: fields.get(19)?.parse().ok()?,
        })
    }

    /// The value of the mark in its environment; none for another user's process or one that has no mark.
    fn mark(&self) -> Option<String> {
        let environment = fs::read(format!("/proc/{}/environ", self.pid)).ok()?;
        environment.split(|byte| *byte == 0).find_map(|variable| {
            let value = variable.strip_prefix(MARK.as_bytes())?.strip_prefix(b"=")?;
            Some(String::from_utf8_lossy(value).into_owned())
        })
    }
}

/// When a process started, in ticks since boot.
pub(super) fn started(pid: i32) -> Option<u64> {
    Process::read(pid).map(|process| process.started)
}

fn processes() -> Vec<Process> {
    let Ok(folder) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    folder
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter_map(Process::read)
        .collect()
}

/// Kills what earlier sessions with this home have left behind, when their worker was killed and could not: an agent, or
/// commands that would go on in the new one's working directory. Nobody else may have a session with this home now.
/// Blocks like [`Tree::kill`], and answers the same.
pub fn kill_left_over(home: &Path) -> Vec<i32> {
    let marks = mark_of_home(home);
    kill_until_gone(|| {
        let mut all = processes();
        all.retain(|process| process.pid != own_pid());
        let found = all
            .iter()
            .filter(|process| process.mark().is_some_and(|mark| mark.starts_with(&marks)))
            .map(|process| process.pid)
            .collect();
        with_descendants(all, found)
    })
}

/// Kills what `look` finds until it finds nothing that lives. Answers with what could not be killed.
fn kill_until_gone(look: impl Fn() -> Vec<Process>) -> Vec<i32> {
    let mut living = Vec::new();
    for round in 0..ROUNDS {
        if round > 0 {
            thread::sleep(PAUSE);
        }
        let _gate = GATE.lock().unwrap_or_else(PoisonError::into_inner);
        let mut found = look();
        found.retain(|process| !process.zombie);
        living = found.into_iter().map(|process| process.pid).collect();
        for pid in &living {
            if let Some(pid) = Pid::from_raw(*pid) {
                // Whoever has ended by itself meanwhile needs no signal.
                let _ = kill_process(pid, Signal::KILL);
            }
        }
        if living.is_empty() {
            break;
        }
    }
    living
}

/// Those of `all` that are in `found` or descend from one that is.
fn with_descendants(all: Vec<Process>, mut found: BTreeSet<i32>) -> Vec<Process> {
    loop {
        let before = found.len();
        for process in &all {
            if found.contains(&process.parent) {
                found.insert(process.pid);
            }
        }
        if found.len() == before {
            break;
        }
    }
    all.into_iter().filter(|process| found.contains(&process.pid)).collect()
}

impl Tree {
    fn root_pid(&self) -> i32 {
        self.root.as_raw_nonzero().get()
    }

    /// The living and the unreaped of the tree.
    fn members(&self) -> Vec<Process> {
        let own = own_pid();
        let root = self.root_pid();
        let adopting = ADOPTING.load(Ordering::Relaxed);
        let all: Vec<Process> = processes()
            .into_iter()
            .filter(|process| process.pid != own && process.started >= self.started)
            .collect();
        // A number that stands for another process by now says nothing about groups either.
        let root_stands = all
            .iter()
            .any(|process| process.pid == root && process.started == self.started);
        let found = all
            .iter()
            .filter(|process| {
                if root_stands && (process.pid == root || process.group == root) {
                    return true;
                }
                match process.mark() {
                    Some(mark) => mark == self.mark,
                    None => adopting && process.parent == own,
                }
            })
            .map(|process| process.pid)
            .collect();
        with_descendants(all, found)
    }

    pub(super) fn kill_members(&self) -> Vec<i32> {
        let living = kill_until_gone(|| {
            let members = self.members();
            for process in &members {
                let orphan = process.parent == own_pid() && process.pid != self.root_pid();
                if process.zombie && orphan && ADOPTING.load(Ordering::Relaxed) {
                    reap(process.pid);
                }
            }
            members
        });
        if !living.is_empty() {
            let _ = kill_process_group(self.root, Signal::KILL);
        }
        living
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_parentheses_does_not_shift_the_fields() {
        let stat = "42 (a) b) (c) S 7 42 40 0 -1 4194304 1 0 0 0 0 0 0 0 20 0 1 0 987654 1 2";
        let process = Process::parse(42, stat).unwrap();
        assert_eq!(
            process,
            Process {
                pid: 42,
                parent: 7,
                group: 42,
                zombie: false,
                started: 987_654
            }
        );
        assert_eq!(Process::parse(1, "1 (x) S"), None);
    }

    #[test]
    fn this_process_is_listed() {
        assert!(processes().iter().any(|process| process.pid == own_pid()));
    }
}
