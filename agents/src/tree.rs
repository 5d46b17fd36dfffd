//! Everything that an agent has started, found and ended, whatever became of its process group.
//!
//! Agents put their commands into sessions of their own, and a command may do so again; when the agent is killed these
//! go on as orphans. A process belongs to an agent's tree when it descends from the agent's process, is in its process
//! group, or carries the session's mark in its environment. In a process that has called [`adopt_orphans`] orphans become
//! children of that process, so that even one with an empty environment is found.
//!
//! The look into `/proc` is Linux's; elsewhere (where workers do not run) the process group is all that is ended.

use std::sync::{Mutex, PoisonError};

use rustix::process::{Pid, Signal, kill_process_group};

/// The variable that marks an agent's processes; its value is new for each session.
pub const MARK: &str = "CODESWARM_AGENT_TREE";

#[cfg(target_os = "linux")]
pub use linux::adopt_orphans;
#[cfg(target_os = "linux")]
pub(crate) use linux::reap_orphans;

/// Orphans cannot be adopted here; their process group is still ended.
#[cfg(not(target_os = "linux"))]
pub fn adopt_orphans() -> std::io::Result<()> {
    Ok(())
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn reap_orphans(_root: u32) {}

/// Held while a tree is looked for and killed, and while an agent is started: a process that was forked and does not run its
/// own program yet has no mark, and would be taken for an orphan.
static GATE: Mutex<()> = Mutex::new(());

/// Starts a process while no tree is being killed.
pub(crate) fn start<T>(spawn: impl FnOnce() -> T) -> T {
    let _gate = GATE.lock().unwrap_or_else(PoisonError::into_inner);
    spawn()
}

/// The tree under one agent's process.
#[derive(Debug)]
pub struct Tree {
    root: Pid,
    #[cfg(target_os = "linux")]
    started: u64,
    #[cfg(target_os = "linux")]
    mark: String,
}

impl Tree {
    /// The tree of the process `root`, which was started as the leader of its own process group with `mark` as the
    /// value of [`MARK`] in its environment. None for a number that is no process's.
    pub fn of(root: u32, mark: &str) -> Option<Self> {
        let root = Pid::from_raw(i32::try_from(root).ok()?)?;
        #[cfg(not(target_os = "linux"))]
        let _ = mark;
        Some(Self {
            root,
            #[cfg(target_os = "linux")]
            started: linux::started(root.as_raw_nonzero().get()).unwrap_or(0),
            #[cfg(target_os = "linux")]
            mark: mark.to_owned(),
        })
    }

    /// Asks the agent's process group to end.
    pub fn terminate(&self) {
        // A group that is gone already is what is wanted.
        let _ = kill_process_group(self.root, Signal::TERM);
    }

    /// Kills all of it and comes back when nothing is left; blocks for some milliseconds, a second at most. Answers
    /// with what could not be ended (processes in an uninterruptible wait, say).
    pub fn kill(&self) -> Vec<i32> {
        #[cfg(target_os = "linux")]
        {
            self.kill_members()
        }
        #[cfg(not(target_os = "linux"))]
        {
            let _ = kill_process_group(self.root, Signal::KILL);
            Vec::new()
        }
    }
}

#[cfg(target_os = "linux")]
mod linux {
    use std::collections::BTreeSet;
    use std::sync::PoisonError;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::time::Duration;
    use std::{fs, io, thread};

    use rustix::process::{
        Pid, Signal, WaitId, WaitIdOptions, WaitOptions, getpid, kill_process, kill_process_group, set_child_subreaper,
        waitid, waitpid,
    };

    use super::{GATE, MARK, Tree};

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
                .filter(|process| {
                    process.zombie && process.parent == own_pid() && u32::try_from(process.pid) != Ok(root)
                })
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
            let mut found: BTreeSet<i32> = all
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

        pub(super) fn kill_members(&self) -> Vec<i32> {
            let own = own_pid();
            let mut living = Vec::new();
            for round in 0..ROUNDS {
                if round > 0 {
                    thread::sleep(PAUSE);
                }
                let _gate = GATE.lock().unwrap_or_else(PoisonError::into_inner);
                let members = self.members();
                living = members
                    .iter()
                    .filter(|process| !process.zombie)
                    .map(|process| process.pid)
                    .collect();
                for pid in &living {
                    if let Some(pid) = Pid::from_raw(*pid) {
                        // Whoever has ended by itself meanwhile needs no signal.
                        let _ = kill_process(pid, Signal::KILL);
                    }
                }
                for process in members {
                    let orphan = process.parent == own && process.pid != self.root_pid();
                    if process.zombie && orphan && ADOPTING.load(Ordering::Relaxed) {
                        reap(process.pid);
                    }
                }
                if living.is_empty() {
                    break;
                }
            }
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
}
