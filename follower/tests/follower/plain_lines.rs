//! `--lines`: what is in a folder's files, whole lines only, as they grow.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::mpsc::{RecvTimeoutError, Sender};
use std::thread::JoinHandle;
use std::time::Duration;

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

/// Makes one new file after another until it is dropped.
fn new_files(folder: &Path) -> impl Drop {
    struct Making(Option<(Sender<()>, JoinHandle<()>)>);
    impl Drop for Making {
        fn drop(&mut self) {
            if let Some((enough, thread)) = self.0.take() {
                drop(enough);
                thread.join().unwrap();
            }
        }
    }
    let (enough, asked) = std::sync::mpsc::channel();
    let folder = folder.to_owned();
    let thread = std::thread::spawn(move || {
        for number in 0.. {
            append(&folder.join(format!("new{number}.jsonl")), "new\n");
            if asked.recv_timeout(Duration::from_millis(10)) != Err(RecvTimeoutError::Timeout) {
                return;
            }
        }
    });
    Making(Some((enough, thread)))
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
        let making = new_files(folder.path());
        assert_eq!(printer.line(), "new\n");
        drop(making);
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

    for watch in BOTH {
        std::fs::create_dir(&gone).unwrap();
        append(&gone.join("a.jsonl"), record(1));
        let mut child = command(&gone, watch)
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
}

#[test]
fn a_file_that_cannot_be_read_is_named_once_and_the_others_are_printed() {
    let folder = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink("/etc/hostname", folder.path().join("a.jsonl")).unwrap();
    append(&folder.path().join("b.jsonl"), record(1));
    for from_end in [false, true] {
        let begin = if from_end { "--from-end" } else { "--from-start" };
        let mut child = command(folder.path(), &["--watch", "poll", begin])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap());
        // A file that is new is printed when those that were there have had their turn.
        let making = new_files(folder.path());
        let mut first = String::new();
        lines.read_line(&mut first).unwrap();
        drop(making);
        child.kill().unwrap();
        child.wait().unwrap();
        let mut errors = String::new();
        child.stderr.take().unwrap().read_to_string(&mut errors).unwrap();
        let expected = if from_end { "new\n".to_owned() } else { record(1) };
        assert_eq!(first, expected);
        assert_eq!(errors.matches("it is tried again").count(), 1, "{errors}");
        let not_found = errors.matches("its end cannot be found").count();
        assert_eq!(not_found, usize::from(from_end), "{errors}");
    }
}

/// Descriptors run out before files do: some are closed between their turns.
#[test]
fn more_files_than_may_be_open_are_all_printed() {
    let folder = tempfile::tempdir().unwrap();
    for number in 100..300 {
        append(&folder.path().join(format!("{number}.jsonl")), record(number));
    }
    // What may be raised is raised; what may not is kept to.
    for limit in ["ulimit -Sn 64", "ulimit -n 64"] {
        let script = format!("{limit} && exec \"$0\" --once --lines \"$1\"");
        let output = Command::new("sh")
            .args(["-c", &script, env!("CARGO_BIN_EXE_codeswarm-follower")])
            .arg(folder.path())
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        assert_eq!(String::from_utf8(output.stderr).unwrap(), "");
        assert_eq!(String::from_utf8(output.stdout).unwrap(), records(100..300));
    }
}
