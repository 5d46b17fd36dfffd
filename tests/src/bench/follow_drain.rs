//! `follow-drain`: what is in a folder of outboxes, printed as plain lines.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::drain::{Drained, drain};
use super::figures::{Figures, Unit};
use super::outboxes::{self, place};
use super::report::{Report, Table};
use super::{Experiment, Lab};

pub(super) const EXPERIMENT: Experiment = Experiment {
    name: "follow-drain",
    about: "one outbox of 1 GB, and 1,024 of 1 MB, through `follower --lines` into a reader that does nothing",
    cluster: false,
    run,
};

const WAYS: [&str; 4] = [
    "codeswarm follower --lines",
    "the same, --watch poll",
    "tail -q -n +1 -F",
    "cat",
];

fn run(lab: &Lab) -> Report {
    let mut report = Report::default();
    let large = lab.size(1_000_000_000, 2_000_000);
    let (many, each) = lab.size((1024, 1_000_000), (16, 60_000));
    let one = files(lab, &mut report, "One outbox", 1, large);
    files(lab, &mut report, "Many outboxes", many, each);
    report.target(
        "one large outbox at least at 0.8 times the speed of `tail -F`",
        one,
        Unit::Times,
        one >= 0.8,
        "The follower hands pages from the file to the pipe (splice); where a filesystem or kernel does not, it reads and writes.",
    );
    report.note("Files are in the page cache. The reader reads into a buffer of 1 MiB and forgets it.");
    report
}

/// Measures a folder of so many files; answers how many times as fast as `tail` the follower is.
fn files(lab: &Lab, report: &mut Report, title: &str, count: u32, each: u64) -> f64 {
    let folder = lab.folder();
    lab.tell(&format!("writing {count} outboxes of {} MB", each as f64 / 1e6));
    let mut bytes = 0;
    let mut records = 0;
    let paths: Vec<PathBuf> = (0..count)
        .map(|node| {
            let path = folder.path().join(format!("7_{node:02}.jsonl"));
            let written = outboxes::write(&path, place("7", node), each);
            bytes += written.bytes;
            records += written.records;
            path
        })
        .collect();
    let mut processor: [Vec<f64>; 4] = Default::default();
    let seconds = lab.in_turns::<4>(|way| {
        let drained = one_run(lab, way, folder.path(), &paths, bytes);
        lab.tell(&format!("{}: {:.2} s", WAYS[way], drained.seconds));
        processor[way].push(drained.processor);
        drained.seconds
    });
    let size = bytes as f64;
    let title = format!(
        "{title}: {count} of {:.1} MB each, {records} records in all.",
        size / 1e6 / f64::from(count)
    );
    let mut table = Table::new(title, &["program", "speed", "records a second", "processor time"]);
    let speeds = seconds.map(|seconds| seconds.into_iter().map(|seconds| size / seconds).collect::<Vec<_>>());
    let rate = records as f64 / size;
    for ((name, speeds), processor) in WAYS.iter().zip(&speeds).zip(processor) {
        let records = speeds.iter().map(|speed| speed * rate).collect();
        table.row([
            (*name).into(),
            Figures::new(speeds.clone(), Unit::BytesPerSecond).into(),
            Figures::new(records, Unit::PerSecond).into(),
            Figures::new(processor, Unit::Seconds).into(),
        ]);
    }
    report.table(table);
    let median = |way: usize| Figures::new(speeds[way].clone(), Unit::BytesPerSecond).median();
    median(0) / median(2)
}

fn one_run(lab: &Lab, way: usize, folder: &Path, paths: &[PathBuf], bytes: u64) -> Drained {
    let mut command = match way {
        0 | 1 => {
            let mut command = Command::new(&lab.codeswarm);
            command.args(["follower", "--lines"]).arg(folder);
            if way == 1 {
                command.args(["--watch", "poll"]);
            }
            command
        }
        2 => {
            let mut command = Command::new("tail");
            command.args(["-q", "-n", "+1", "-F"]).args(paths);
            command
        }
        _ => {
            let mut command = Command::new("cat");
            command.args(paths);
            command
        }
    };
    drain(&mut command, bytes)
}
