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
    all(|pid| belongs(pid, folder))
}

/// The processes for which `wanted` says yes, this one excepted.
pub fn all(wanted: impl Fn(i32) -> bool) -> Vec<Process> {
    let entries = std::fs::read_dir("/proc").unwrap_or_else(|error| panic!("/proc cannot be listed: {error}"));
    let pids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<i32>().ok());
    let myself = std::process::id();
    pids.filter(|pid| u32::try_from(*pid) != Ok(myself) && wanted(*pid))
        .map(|pid| Process {
            pid,
            command_line: read(pid, "cmdline").replace('\0', " ").trim_end().to_owned(),
        })
        .collect()
}

/// The children of a process, theirs included.
pub fn descendants(pid: i32) -> Vec<Process> {
    let mut found: Vec<Process> = Vec::new();
    let mut parents = vec![pid];
    while let Some(parent) = parents.pop() {
        let children = all(|pid| parent_of(pid) == Some(parent));
        parents.extend(children.iter().map(|child| child.pid));
        found.extend(children);
    }
    found
}

/// The value of a variable in the environment that a process was started with.
pub fn variable(pid: i32, name: &str) -> Option<String> {
    let environment = read(pid, "environ");
    let mut entries = environment.split('\0').filter_map(|entry| entry.split_once('='));
    entries.find(|(key, _)| *key == name).map(|(_, value)| value.to_owned())
}

/// The parent of a process; zombies have none.
pub fn parent_of(pid: i32) -> Option<i32> {
    let stat = read(pid, "stat");
    let mut fields = stat.rsplit_once(") ")?.1.split(' ');
    let state = fields.next()?;
    fields.next()?.parse().ok().filter(|_| state != "Z")
}

/// Sends a signal to a process of `folder`. Nothing happens when its id meanwhile stands for another process.
pub fn signal(process: &Process, folder: &Path, signal: Signal) {
    signal_if(process, signal, |pid| belongs(pid, folder));
}

/// Sends a signal to a process, if `is_still` says that its id stands for that process.
pub fn signal_if(process: &Process, signal: Signal, is_still: impl Fn(i32) -> bool) {
    let Some(pid) = Pid::from_raw(process.pid) else {
        return;
    };
    // The descriptor holds on to the process that it was opened for, so what is checked is what gets the signal.
    if let Ok(descriptor) = pidfd_open(pid, PidfdFlags::empty())
        && is_still(process.pid)
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
