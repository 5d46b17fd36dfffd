//! `follow-idle`: what it costs to watch files in which nothing happens.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::figures::{Figures, Unit};
use super::idle_follower::{Watcher, Watching, mailbox};
use super::report::{Cell, Report, Table};
use super::usage::{Killed, Usage, raise_open_files};
use super::{Experiment, Lab};

pub(super) const EXPERIMENT: Experiment = Experiment {
    name: "follow-idle",
    about: "1,000 and 10,000 outboxes in which nothing happens, for 60 s: processor, system calls by kind, writes, memory",
    cluster: false,
    run,
};

/// System calls that ask for a file or a name, each of which is a round trip on a shared filesystem.
pub(super) const METADATA: [&str; 12] = [
    "stat",
    "lstat",
    "fstat",
    "newfstatat",
    "statx",
    "open",
    "openat",
    "openat2",
    "getdents64",
    "access",
    "readlink",
    "rename",
];

/// And those that change something. Pipes and events of threads are no files.
const ALTERING: [&str; 9] = [
    "rename",
    "renameat2",
    "unlink",
    "unlinkat",
    "mkdir",
    "ftruncate",
    "pwrite64",
    "fsync",
    "fdatasync",
];

struct Idle {
    processor: Vec<f64>,
    written: f64,
    memory: f64,
    /// By name, a second.
    calls: Option<BTreeMap<String, f64>>,
}

fn run(lab: &Lab) -> Report {
    raise_open_files();
    let mut report = Report::default();
    let (sizes, seconds) = lab.size(([1000, 10_000], 60.0), ([20, 40], 2.0));
    let strace = Command::new("strace").arg("-V").stdout(Stdio::null()).status().is_ok();
    for files in sizes {
        let folder = lab.folder();
        // One follower a mailbox, and there are two.
        let mailboxes = ["one", "two"].map(|name| {
            let folder = folder.path().join(name);
            std::fs::create_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
            mailbox(&folder, files)
        });
        let start = || -> Vec<(Watcher, Watching)> {
            let start = |watcher| {
                let mailbox = &mailboxes[usize::from(watcher == Watcher::FollowerEvents)];
                (watcher, Watching::start(lab, watcher, mailbox, files))
            };
            Watcher::ALL.into_iter().map(start).collect()
        };
        let mut table = Table::new(
            format!("{files} outboxes, {seconds} s after they have been read."),
            &[
                "program",
                "processor, of one core",
                "metadata calls a second",
                "altering calls",
                "bytes written",
                "memory, peak",
            ],
        );
        let mut kinds = Vec::new();
        lab.tell(&format!("{files} files, {seconds} s, twice"));
        let traced = strace.then(|| traced(lab, start(), seconds, folder.path()));
        // Side by side, so that what else the machine does falls on all of them.
        let mut watching = start();
        let mut idle = watch(&mut watching, seconds, lab);
        for ((watcher, _), idle) in watching.iter().zip(&mut idle) {
            idle.calls = traced.as_ref().and_then(|traced| traced.get(watcher.name()).cloned());
            row(&mut table, &mut report, &mut kinds, *watcher, files, idle);
        }
        report.table(table);
        if !kinds.is_empty() {
            let mut table = Table::new(
                format!("{files} outboxes: system calls a second by kind."),
                &["program", "calls"],
            );
            for (name, calls) in kinds {
                table.row([Cell::from(name), Cell::from(calls)]);
            }
            report.table(table);
        }
    }
    if !strace {
        report.note("System calls: not here: there is no strace.");
    }
    report.note(
        "System calls are counted by strace in a run of their own before, since it slows what it counts. Processor time is the \
         kernel's own count, in five pieces of the time. The follower of a router is told every 5 s that the router lives, and answers. The router's follower has its timers from tokio, which \
         wakes its own thread through an eventfd for each that is set: that is a `write` of eight bytes a look-up, and what `bytes written` counts besides \
         those answers. Files are not written.",
    );
    report
}

fn row(
    table: &mut Table,
    report: &mut Report,
    kinds: &mut Vec<(String, String)>,
    watcher: Watcher,
    files: u32,
    idle: &Idle,
) {
    let processor = Figures::new(idle.processor.clone(), Unit::Percent);
    let sum = |names: &[&str]| {
        let calls = idle.calls.as_ref()?;
        Some(
            names
                .iter()
                .filter_map(|name| calls.get(*name))
                .fold(0.0, |sum, rate| sum + rate),
        )
    };
    let counted = |value: Option<f64>, unit| match value {
        Some(value) => Cell::from(Figures::new(vec![value], unit)),
        None => Cell::Missing("no strace".to_owned()),
    };
    let (looks, altering) = (sum(&METADATA), sum(&ALTERING));
    if watcher == Watcher::Follower {
        let median = processor.median();
        let why = "The threads that wait for the next look wake for each.";
        let what = format!("{files} files: at most 1 % of a core");
        report.target(&what, median, Unit::Percent, median <= 1.0, why);
        if let (Some(looks), Some(altering)) = (looks, altering) {
            let why = "A look that finds nothing is one statx; the cap counts looks, and a file that is opened afresh costs two calls more.";
            let what = format!("{files} files: at most 50 metadata operations a second");
            report.target(&what, looks, Unit::PerSecond, looks <= 50.0, why);
            let what = format!("{files} files: no write to the filesystem");
            let why = "The follower's lease is renewed in a file.";
            report.target(&what, altering, Unit::PerSecond, altering == 0.0, why);
        }
    }
    if let Some(calls) = &idle.calls {
        let mut calls: Vec<_> = calls.iter().collect();
        calls.sort_by(|one, other| other.1.total_cmp(one.1));
        let told = calls.iter().take(8).map(|(name, rate)| format!("{name} {rate:.1}"));
        kinds.push((watcher.name().to_owned(), told.collect::<Vec<_>>().join(", ")));
    }
    table.row([
        watcher.name().into(),
        processor.into(),
        counted(looks, Unit::PerSecond),
        counted(altering, Unit::PerSecond),
        Figures::new(vec![idle.written], Unit::Count).into(),
        Figures::new(vec![idle.memory], Unit::Memory).into(),
    ]);
}

/// Waits until nothing is read any more, then measures five pieces of the time.
fn watch(watching: &mut [(Watcher, Watching)], seconds: f64, lab: &Lab) -> Vec<Idle> {
    settle(watching, lab);
    let pieces = 5;
    let usage = |watching: &[(Watcher, Watching)]| -> Vec<Usage> {
        watching.iter().map(|(_, watching)| Usage::of(watching.pid())).collect()
    };
    let first = usage(watching);
    let mut idle: Vec<Idle> = first
        .iter()
        .map(|_| Idle {
            processor: Vec::new(),
            written: 0.0,
            memory: 0.0,
            calls: None,
        })
        .collect();
    let mut before = first.clone();
    for _ in 0..pieces {
        let began = Instant::now();
        rest(watching, seconds / f64::from(pieces));
        let length = began.elapsed().as_secs_f64();
        let now = usage(watching);
        for ((idle, before), now) in idle.iter_mut().zip(&before).zip(&now) {
            idle.processor.push((now.processor - before.processor) / length * 100.0);
        }
        before = now;
    }
    for ((idle, first), last) in idle.iter_mut().zip(&first).zip(&before) {
        idle.written = last.written - first.written;
        idle.memory = last.peak;
    }
    idle
}

/// Files have just been written, and are looked at often for a while.
fn settle(watching: &mut [(Watcher, Watching)], lab: &Lab) {
    rest(watching, lab.size(70.0, 1.0));
}

fn rest(watching: &mut [(Watcher, Watching)], seconds: f64) {
    let until = Instant::now() + Duration::from_secs_f64(seconds);
    while let Some(left) = until.checked_duration_since(Instant::now()) {
        for (_, watching) in watching.iter_mut() {
            watching.ping();
        }
        std::thread::sleep(left.min(Duration::from_secs(5)));
    }
}

/// System calls a second of each watcher.
fn traced(
    lab: &Lab,
    mut watching: Vec<(Watcher, Watching)>,
    seconds: f64,
    folder: &Path,
) -> BTreeMap<&'static str, BTreeMap<String, f64>> {
    settle(&mut watching, lab);
    let mut traces = Vec::new();
    for (at, (watcher, watching)) in watching.iter().enumerate() {
        let file = folder.join(format!("strace-{at}"));
        let mut command = Command::new("strace");
        command.args(["-f", "-c", "-U", "calls,name", "-o"]).arg(&file);
        command.args(["-p", &watching.pid().to_string()]).stderr(Stdio::null());
        traces.push((*watcher, file, Killed::spawn(&mut command)));
    }
    let mut found = BTreeMap::new();
    let began = Instant::now();
    rest(&mut watching, seconds);
    let length = began.elapsed().as_secs_f64();
    // strace writes its sums when what it traces has ended.
    drop(watching);
    for (watcher, file, mut trace) in traces {
        let _ = trace.0.wait();
        let text = std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        found.insert(watcher.name(), calls_of(&text, length));
    }
    found
}

/// Reads lines such as `   120 statx`.
pub(super) fn calls_of(text: &str, seconds: f64) -> BTreeMap<String, f64> {
    let mut calls = BTreeMap::new();
    for line in text.lines() {
        let mut words = line.split_whitespace();
        if let (Some(count), Some(name), None) = (words.next(), words.next(), words.next())
            && let Ok(count) = count.parse::<f64>()
            && name != "total"
        {
            calls.insert(name.to_owned(), count / seconds);
        }
    }
    calls
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn straces_sums_are_read() {
        let text = "    calls syscall\n--------- ----------------\n      120 statx\n       30 epoll_wait\n--------- ----------------\n      150 total\n";
        let calls = calls_of(text, 60.0);
        assert_eq!(calls.get("statx"), Some(&2.0));
        assert_eq!(calls.len(), 2);
    }
}
