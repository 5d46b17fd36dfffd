//! What a process costs, as the kernel tells it.

use std::process::{Child, Command};

/// Times and memory of a process at a moment.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Usage {
    /// Time on a processor so far, in seconds, its own and the kernel's for it.
    pub processor: f64,
    /// Memory that it holds, in bytes.
    pub resident: f64,
    /// The most that it has held.
    pub peak: f64,
    /// Bytes that it has written so far, to anything.
    pub written: f64,
}

impl Usage {
    /// Of a process that runs.
    #[track_caller]
    pub fn of(pid: u32) -> Self {
        let read = |file: &str| {
            let path = format!("/proc/{pid}/{file}");
            std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
        };
        let status = read("status");
        let kilobytes = |name: &str| number_behind(&status, name) * 1024.0;
        Self {
            processor: processor_time(pid, &read("stat")),
            resident: kilobytes("VmRSS:"),
            peak: kilobytes("VmHWM:"),
            written: number_behind(&read("io"), "wchar:"),
        }
    }
}

/// The time in nanoseconds that the scheduler counted over all threads; else the ticks of `stat`.
fn processor_time(pid: u32, stat: &str) -> f64 {
    let fine: Option<f64> = std::fs::read_dir(format!("/proc/{pid}/task")).ok().and_then(|tasks| {
        let mut sum = 0.0;
        for task in tasks.flatten() {
            let text = std::fs::read_to_string(task.path().join("schedstat")).ok()?;
            sum += text.split(' ').next()?.parse::<f64>().ok()? / 1e9;
        }
        Some(sum)
    });
    // Threads that have ended count only here.
    let fields = stat.rsplit_once(") ").map_or("", |(_, rest)| rest);
    let ticks = |at: usize| {
        fields
            .split(' ')
            .nth(at)
            .and_then(|ticks| ticks.parse::<f64>().ok())
            .unwrap_or(0.0)
    };
    let coarse = (ticks(11) + ticks(12)) / 100.0;
    fine.map_or(coarse, |fine| fine.max(coarse))
}

fn number_behind(text: &str, name: &str) -> f64 {
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok())
        .unwrap_or(0.0)
}

/// A child that is killed when its value is dropped.
pub struct Killed(pub Child);

impl Killed {
    /// Starts it.
    #[track_caller]
    pub fn spawn(command: &mut Command) -> Self {
        Self(command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}")))
    }
}

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Lets this process, and those that it starts, have as many files open as the system allows it.
pub fn raise_open_files() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    // It is what it was if this is refused, and what then cannot be opened says so.
    let _ = setrlimit(
        Resource::Nofile,
        Rlimit {
            current: limit.maximum,
            maximum: limit.maximum,
        },
    );
}
