//! A process on this machine, named by its number and the moment it started, so that a number used again is not mistaken
//! for it.

use rustix::process::{Pid, Signal};

/// One process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Process {
    pub pid: u32,
    /// Field 22 of `/proc/<pid>/stat`, in clock ticks since boot; unknown where there is no `/proc`.
    pub started: Option<u64>,
}

impl Process {
    fn id(self) -> Option<Pid> {
        i32::try_from(self.pid).ok().and_then(Pid::from_raw)
    }

    /// Whether it still runs (a zombie does not).
    pub(super) fn is_alive(self) -> bool {
        let Some(id) = self.id() else { return false };
        match (stat_of(self.pid), self.started) {
            (Some(stat), Some(started)) => stat.started == started && !stat.zombie,
            (Some(stat), None) => !stat.zombie,
            (None, _) if cfg!(target_os = "linux") => false,
            (None, _) => rustix::process::test_kill_process(id).is_ok(),
        }
    }

    /// Sends a signal, if it is still this process.
    pub(super) fn signal(self, signal: Signal) {
        if let (true, Some(id)) = (self.is_alive(), self.id()) {
            // It may end between the look and the signal; then there is nothing left to do.
            let _ = rustix::process::kill_process(id, signal);
        }
    }

    /// Waits for its end by looking, since a process that is not our child tells us nothing.
    pub(super) async fn ended(self) {
        while self.is_alive() {
            tokio::time::sleep(std::time::Duration::from_millis(200)).await;
        }
    }
}

struct Stat {
    started: u64,
    zombie: bool,
}

/// From `/proc/<pid>/stat`: the name in parentheses may hold anything, so fields are counted behind the last one.
fn stat_of(pid: u32) -> Option<Stat> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace();
    let zombie = matches!(fields.next()?, "Z" | "X");
    let started = fields.nth(18)?.parse().ok()?;
    Some(Stat { started, zombie })
}

/// When a process of this machine started, for naming it.
pub(super) fn started(pid: u32) -> Option<u64> {
    stat_of(pid).map(|stat| stat.started)
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_alive_and_another_one_of_its_number_is_not() {
        let me = std::process::id();
        let process = Process {
            pid: me,
            started: started(me),
        };
        assert!(process.started.is_some() && process.is_alive());
        assert!(
            !Process {
                started: Some(1),
                ..process
            }
            .is_alive()
        );
        // One that did not say when it started goes by its number.
        let unsure = Process {
            started: None,
            ..process
        };
        assert!(unsure.is_alive());
        assert!(!Process { pid: 0, started: None }.is_alive());
    }

    #[tokio::test]
    async fn the_end_of_a_process_is_noticed() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let process = Process {
            pid: child.id(),
            started: started(child.id()),
        };
        let waiting = tokio::spawn(process.ended());
        process.signal(Signal::KILL);
        waiting.await.unwrap();
        assert!(!process.is_alive());
        child.wait().unwrap();
    }
}
