//! `--lines`: what is in a folder's files, whole lines only, as they grow.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};

use crate::room::{append, record, records};

fn command(folder: &Path, more: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_codeswarm-follower"));
    command.arg("--lines").arg(folder).args(more);
    command
}

/// What is printed of a folder as it is now.
fn once(folder: &Path) -> String {
    let output = command(folder, &["--once"]).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    assert_eq!(output.stderr, b"");
    String::from_utf8(output.stdout).unwrap()
}

struct Printer {
    child: Child,
    lines: BufReader<ChildStdout>,
}

impl Printer {
    fn start(folder: &Path, more: &[&str]) -> Self {
        let mut child = command(folder, more)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap());
        Self { child, lines }
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.lines.read_line(&mut line).unwrap();
        line
    }
}

impl Drop for Printer {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

const BOTH: [&[&str]; 2] = [&["--watch", "inotify"], &["--watch", "poll"]];

#[test]
fn what_is_there_is_printed_once_and_whole_lines_only() {
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(once(folder.path()), "");
    append(&folder.path().join("b.jsonl"), format!("{}half a li", records(1..=2)));
    append(&folder.path().join("a.jsonl"), "x\n\n");
    append(&folder.path().join("empty.jsonl"), "");
    append(&folder.path().join("other.txt"), "not this\n");
    std::fs::create_dir(folder.path().join("folder.jsonl.d")).unwrap();
    assert_eq!(once(folder.path()), format!("x\n\n{}", records(1..=2)));
}

#[test]
fn lines_longer_than_a_turn_stay_whole() {
    let folder = tempfile::tempdir().unwrap();
    let long = |letter: &str| format!("{}\n", letter.repeat(5_000_000));
    append(
        &folder.path().join("a.jsonl"),
        format!("{}short\n{}", long("a"), long("b")),
    );
    append(&folder.path().join("c.jsonl"), long("c"));
    let printed = once(folder.path());
    let mut lines: Vec<_> = printed.split_inclusive('\n').collect();
    lines.sort_unstable();
    assert_eq!(lines, [long("a").as_str(), &long("b"), &long("c"), "short\n"]);
}

#[test]
fn a_large_file_into_a_slow_reader_and_into_a_file_comes_whole() {
    let folder = tempfile::tempdir().unwrap();
    let all = records(1..=100_000);
    append(&folder.path().join("a.jsonl"), &all);
    assert!(once(folder.path()) == all);

    let out = folder.path().join("out");
    append(&out, "before\n");
    for appending in [true, false] {
        let file = std::fs::OpenOptions::new()
            .append(appending)
            .write(true)
            .truncate(!appending)
            .open(&out)
            .unwrap();
        assert!(
            command(folder.path(), &["--once"])
                .stdout(file)
                .status()
                .unwrap()
                .success()
        );
        let before = if appending { "before\n" } else { "" };
        assert!(std::fs::read_to_string(&out).unwrap() == format!("{before}{all}"));
    }
}

#[test]
fn growth_and_new_files_are_printed_as_they_come() {
    for watch in BOTH {
        let folder = tempfile::tempdir().unwrap();
        let (a, b) = (folder.path().join("a.jsonl"), folder.path().join("b.jsonl"));
        append(&a, record(1));
        let mut printer = Printer::start(folder.path(), watch);
        assert_eq!(printer.line(), record(1));
        append(&b, record(2));
        assert_eq!(printer.line(), record(2));
        append(&a, "torn ");
        append(&b, record(3));
        assert_eq!(printer.line(), record(3));
        append(&a, "no more\n");
        assert_eq!(printer.line(), "torn no more\n");
    }
}

#[test]
fn from_the_end_only_what_comes_is_printed_and_a_begun_line_whole() {
    for watch in BOTH {
        let folder = tempfile::tempdir().unwrap();
        let a = folder.path().join("a.jsonl");
        append(&a, format!("{}begun ", records(1..=100)));
        let mut printer = Printer::start(folder.path(), &[watch, &["--from-end"]].concat());
        // Files that are new are printed from their start: when one is, the printer has begun.
        let (begun, has_begun) = std::sync::mpsc::channel::<()>();
        let path = folder.path().to_owned();
        let making = std::thread::spawn(move || {
            let mut number = 0;
            while has_begun.try_recv().is_err() {
                append(&path.join(format!("new{number}.jsonl")), "new\n");
                number += 1;
                std::thread::sleep(std::time::Duration::from_millis(10));
            }
        });
        assert_eq!(printer.line(), "new\n");
        begun.send(()).unwrap();
        making.join().unwrap();
        append(&a, "and ended\n");
        let next = std::iter::repeat_with(|| printer.line()).find(|line| line != "new\n");
        assert_eq!(next.unwrap(), "begun and ended\n");
    }
}

#[test]
fn a_truncated_and_a_replaced_file_are_printed_from_their_start() {
    for watch in BOTH {
        let folder = tempfile::tempdir().unwrap();
        let a = folder.path().join("a.jsonl");
        append(&a, "one\ntwo\n");
        let mut printer = Printer::start(folder.path(), watch);
        assert_eq!((printer.line(), printer.line()), ("one\n".into(), "two\n".into()));
        std::fs::OpenOptions::new()
            .write(true)
            .open(&a)
            .unwrap()
            .set_len(0)
            .unwrap();
        append(&a, "new\n");
        assert_eq!(printer.line(), "new\n");

        append(&a, "last of the old\n");
        std::fs::rename(&a, folder.path().join("a.old")).unwrap();
        append(&a, "first of the new\n");
        assert_eq!(printer.line(), "last of the old\n");
        assert_eq!(printer.line(), "first of the new\n");
    }
}

#[test]
fn it_ends_when_nobody_reads_also_while_there_is_nothing_to_print() {
    for watch in BOTH {
        let folder = tempfile::tempdir().unwrap();
        append(&folder.path().join("a.jsonl"), record(1));
        let mut child = command(folder.path(), watch)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut reader = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        drop(reader);
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{output:?}");
        assert_eq!(String::from_utf8(output.stderr).unwrap(), "");
    }
}

#[test]
fn a_folder_that_is_not_there_or_goes_away_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let gone = folder.path().join("gone");
    let output = command(&gone, &["--once"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8(output.stderr).unwrap().contains("gone"));

    std::fs::create_dir(&gone).unwrap();
    append(&gone.join("a.jsonl"), record(1));
    let mut child = command(&gone, &[])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut reader = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    reader.read_line(&mut line).unwrap();
    std::fs::remove_dir_all(&gone).unwrap();
    let mut errors = String::new();
    child.stderr.take().unwrap().read_to_string(&mut errors).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(1));
    assert!(errors.contains("gone"), "{errors}");
}
