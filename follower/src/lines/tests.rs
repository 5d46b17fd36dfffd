use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::sink::Sink;
use super::source::{Manner, Source, Turn};

/// A file that is printed into another one.
struct Bench {
    folder: tempfile::TempDir,
    source: Source,
    sink: Sink,
    manner: Manner,
}

impl Bench {
    fn new(window: u64, doubts_nuls: bool) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let out = File::create(folder.path().join("out")).unwrap();
        Self {
            source: Source::from_start(folder.path().join("in")),
            sink: Sink::new(out.into(), !doubts_nuls),
            manner: Manner {
                window,
                doubts_nuls,
                now: Instant::now(),
            },
            folder,
        }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("in")
    }

    fn append(&self, bytes: &[u8]) {
        let mut file = OpenOptions::new().append(true).create(true).open(self.path()).unwrap();
        file.write_all(bytes).unwrap();
    }

    fn turn(&mut self) -> Turn {
        self.source.turn(self.manner, &mut self.sink).unwrap()
    }

    /// Turns until there is nothing more.
    fn finish(&mut self) -> Turn {
        loop {
            match self.turn() {
                Turn::More => {}
                last => return last,
            }
        }
    }

    fn printed(&self) -> Vec<u8> {
        std::fs::read(self.folder.path().join("out")).unwrap()
    }
}

fn whole_lines(bytes: &[u8]) -> &[u8] {
    let end = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    &bytes[..end]
}

#[derive(Debug, Clone)]
enum Action {
    Append(Vec<u8>),
    Turn,
    Close,
    /// Another file takes the name.
    Replace,
    Truncate,
}

fn action() -> impl Strategy<Value = Action> {
    let letters = proptest::collection::vec(prop_oneof![4 => Just(b'a'), 1 => Just(b'\n')], 0..60);
    prop_oneof![
        6 => letters.prop_map(Action::Append),
        1 => (30_000usize..60_000).prop_map(|count| Action::Append(vec![b'b'; count])),
        6 => Just(Action::Turn),
        1 => Just(Action::Close),
        1 => Just(Action::Replace),
        1 => Just(Action::Truncate),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    /// Whatever is done to the file between turns, what is printed is its whole lines, each once, in order.
    #[test]
    fn whole_lines_are_printed_once_and_in_order(
        actions in proptest::collection::vec(action(), 1..40),
        window in prop_oneof![1u64..100, Just(1 << 20)],
        doubts_nuls in any::<bool>(),
    ) {
        let mut bench = Bench::new(window, doubts_nuls);
        let mut expected = Vec::new();
        let mut file = Vec::new();
        for action in actions {
            match action {
                Action::Append(bytes) => {
                    bench.append(&bytes);
                    file.extend_from_slice(&bytes);
                }
                Action::Turn => {
                    bench.turn();
                    let so_far = [expected.as_slice(), whole_lines(&file)].concat();
                    prop_assert!(so_far.starts_with(&bench.printed()));
                }
                Action::Close => bench.source.close(),
                Action::Replace => {
                    // What is replaced unseen is lost, so it has been seen here; its last lines have not.
                    bench.finish();
                    if bench.source.is_open() {
                        bench.append(b"last words\nno end");
                        file.extend_from_slice(b"last words\n");
                    }
                    if bench.path().exists() {
                        std::fs::rename(bench.path(), bench.folder.path().join("old")).unwrap();
                    }
                    bench.append(b"first of the new\n");
                    // The turn that sees the new file prints the rest of the old one.
                    bench.turn();
                    expected.extend_from_slice(whole_lines(&file));
                    file = b"first of the new\n".to_vec();
                }
                Action::Truncate => {
                    // One that grows again before it is looked at cannot be told from one that never shrank.
                    bench.finish();
                    if bench.path().exists() {
                        File::create(bench.path()).unwrap();
                    }
                    bench.finish();
                    expected.extend_from_slice(whole_lines(&file));
                    file.clear();
                }
            }
        }
        bench.finish();
        expected.extend_from_slice(whole_lines(&file));
        prop_assert_eq!(String::from_utf8(bench.printed()).unwrap(), String::from_utf8(expected).unwrap());
    }
}

#[test]
fn nuls_are_waited_for_where_they_may_be_data_that_has_not_come() {
    let mut bench = Bench::new(1 << 20, true);
    bench.append(b"one\nhalf a \0\0\0\0\0\nthree\n");
    assert_eq!(bench.finish(), Turn::Nothing);
    assert_eq!(bench.printed(), b"one\n");

    // The data comes.
    let file = OpenOptions::new().write(true).open(bench.path()).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, b"line.", 11).unwrap();
    assert_eq!(bench.finish(), Turn::Nothing);
    assert_eq!(bench.printed(), b"one\nhalf a line.\nthree\n");

    // It never comes.
    bench.append(b"\0\0\nfive\n");
    assert_eq!(bench.finish(), Turn::Nothing);
    assert!(bench.printed().ends_with(b"three\n"));
    bench.manner.now += Duration::from_secs(60);
    assert_eq!(bench.finish(), Turn::Nothing);
    assert!(bench.printed().ends_with(b"three\n\0\0\nfive\n"));
}

#[test]
fn a_file_that_is_gone_is_gone_and_one_that_comes_back_is_new() {
    let mut bench = Bench::new(1 << 20, false);
    assert_eq!(bench.finish(), Turn::Gone);
    bench.append(b"one\n");
    assert_eq!(bench.finish(), Turn::Nothing);
    std::fs::remove_file(bench.path()).unwrap();
    assert_eq!(bench.finish(), Turn::Gone);
    bench.append(b"two\n");
    assert_eq!(bench.finish(), Turn::Nothing);
    assert_eq!(bench.printed(), b"one\ntwo\n");
}

#[test]
fn a_link_and_a_pipe_are_not_read() {
    let mut bench = Bench::new(1 << 20, false);
    std::os::unix::fs::symlink("/etc/hostname", bench.path()).unwrap();
    assert!(bench.source.turn(bench.manner, &mut bench.sink).is_err());
    std::fs::remove_file(bench.path()).unwrap();
    let made = std::process::Command::new("mkfifo").arg(bench.path()).status().unwrap();
    assert!(made.success());
    assert!(bench.source.turn(bench.manner, &mut bench.sink).is_err());
    assert_eq!(bench.printed(), b"");
}
