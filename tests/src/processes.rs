//! Which processes a workspace has started, found by what they carry: its folder in their environment, command line or
//! working directory. That finds also those that were put in the background and are nobody's child any more.

use std::fmt;
use std::path::Path;

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

/// A process that runs, or ran a moment ago.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Process {
    /// Its id.
    pub pid: i32,
    /// Its command line, with spaces between the arguments.
    pub command_line: String,
}

impl fmt::Display for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.pid, self.command_line)
    }
}

/// The processes that belong to `folder`, this one excepted. Zombies are not among them.
pub fn of(folder: &Path) -> Vec<Process> {
    let entries = std::fs::read_dir("/proc").unwrap_or_else(|error| panic!("/proc cannot be listed: {error}"));
    let pids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<i32>().ok());
    let myself = std::process::id();
    pids.filter(|pid| u32::try_from(*pid) != Ok(myself) && belongs(*pid, folder))
        .map(|pid| Process {
            pid,
            command_line: read(pid, "cmdline").replace('\0', " ").trim_end().to_owned(),
        })
        .collect()
}

/// Sends a signal to a process of `folder`. Nothing happens when its id meanwhile stands for another process.
pub fn signal(process: &Process, folder: &Path, signal: Signal) {
    let Some(pid) = Pid::from_raw(process.pid) else {
        return;
    };
    // The descriptor holds on to the process that it was opened for, so what is checked is what gets the signal.
    if let Ok(descriptor) = pidfd_open(pid, PidfdFlags::empty())
        && belongs(process.pid, folder)
    {
        let _ = pidfd_send_signal(descriptor, signal);
    }
}

/// The most memory that a process has held at once so far, in bytes.
#[track_caller]
pub fn peak_memory(pid: u32) -> u64 {
    let status =
        std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_else(|error| panic!("process {pid}: {error}"));
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kilobytes = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok());
    kilobytes.unwrap_or_else(|| panic!("process {pid} has no VmHWM:\n{status}")) * 1024
}

fn belongs(pid: i32, folder: &Path) -> bool {
    let Some(name) = folder.to_str() else {
        panic!("{} is not UTF-8", folder.display());
    };
    let cwd = std::fs::read_link(format!("/proc/{pid}/cwd"));
    cwd.is_ok_and(|cwd| cwd.starts_with(folder))
        || read(pid, "environ").contains(name)
        || read(pid, "cmdline").contains(name)
}

/// A file of `/proc/<pid>`; empty when the process is gone or somebody else's.
fn read(pid: i32, file: &str) -> String {
    let bytes = std::fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default();
    String::from_utf8_lossy(&bytes).into_owned()
}
