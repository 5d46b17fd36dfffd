//! Everything that an agent has started, found and ended, whatever became of its process group.
//!
//! Agents put their commands into sessions of their own, and a command may do so again; when the agent is killed these
//! go on as orphans. A process belongs to an agent's tree when it descends from the agent's process, is in its process
//! group, or carries the session's mark in its environment. In a process that has called [`adopt_orphans`] orphans become
//! children of that process, so that even one with an empty environment is found.
//!
//! The look into `/proc` is Linux's; elsewhere (where workers do not run) the process group is all that is ended.

#[cfg(target_os = "linux")]
mod linux;

use std::path::Path;
use std::sync::{Mutex, PoisonError};

use rustix::process::{Pid, Signal, kill_process_group};
use uuid::Uuid;

/// The variable that marks an agent's processes.
pub const MARK: &str = "CODESWARM_AGENT_TREE";

/// The mark's value for a new session with this home: it begins with [`mark_of_home`].
pub(crate) fn new_mark(home: &Path) -> String {
    format!("{}{}", mark_of_home(home), Uuid::new_v4().simple())
}

/// How the marks of all sessions with this home begin, one after the other.
fn mark_of_home(home: &Path) -> String {
    format!("{}#", home.display())
}

#[cfg(target_os = "linux")]
pub(crate) use linux::reap_orphans;
#[cfg(target_os = "linux")]
pub use linux::{adopt_orphans, kill_left_over};

/// Orphans cannot be adopted here; their process group is still ended.
#[cfg(not(target_os = "linux"))]
pub fn adopt_orphans() -> std::io::Result<()> {
    Ok(())
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn reap_orphans(_root: u32) {}

/// Nothing that is left over can be found here.
#[cfg(not(target_os = "linux"))]
pub fn kill_left_over(_home: &Path) -> Vec<i32> {
    Vec::new()
}

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
