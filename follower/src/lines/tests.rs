use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use codeswarm_mailbox::WatchMode;
use proptest::prelude::*;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

#[cfg(target_os = "linux")]
use super::inotify::{Inotify, Told};
use super::printer::Printer;
use super::seen::Seen;
use super::sink::{CopyError, Sink};
use super::source::{Manner, Source, Turn};
use super::{LinesError, PlainLines};

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

#[test]
fn what_was_replaced_or_cut_back_in_the_midst_of_its_printing_is_printed_from_its_start() {
    for replaced in [true, false] {
        let mut bench = Bench::new(5, false);
        bench.append(b"old 1\nold 2\nold 3\n");
        assert_eq!(bench.turn(), Turn::More);
        assert_eq!(bench.printed(), b"old 1\n");
        // Nothing is looked at anew, since more is known to be there.
        if replaced {
            bench.source.close();
            std::fs::rename(bench.path(), bench.folder.path().join("old")).unwrap();
            bench.append(b"new 1\n");
        } else {
            File::create(bench.path()).unwrap();
        }
        assert_eq!(bench.turn(), Turn::More);
        assert_eq!(bench.finish(), Turn::Nothing);
        if !replaced {
            bench.append(b"new 1\n");
            assert_eq!(bench.finish(), Turn::Nothing);
        }
        assert_eq!(bench.printed(), b"old 1\nnew 1\n", "replaced: {replaced}");
    }
}

#[test]
fn a_file_that_was_gone_before_its_end_was_found_is_printed_from_its_start_when_it_comes() {
    let mut bench = Bench::new(1 << 20, false);
    bench.source = Source::from_end(bench.path()).unwrap();
    assert_eq!(bench.finish(), Turn::Gone);
    bench.append(b"one\n");
    assert_eq!(bench.finish(), Turn::Nothing);
    assert_eq!(bench.printed(), b"one\n");
}

#[test]
fn a_name_below_a_file_is_an_error_and_not_a_name_that_is_gone() {
    let bench = Bench::new(1 << 20, false);
    bench.append(b"one\n");
    let below = bench.path().join("x.jsonl");
    assert_eq!(Seen::at(&below).unwrap_err().kind(), io::ErrorKind::NotADirectory);
    assert!(Source::from_end(below).is_err());
}

#[test]
fn an_output_that_does_not_block_is_waited_for() {
    for copy_free in [true, false] {
        let folder = tempfile::tempdir().unwrap();
        let all = "a line\n".repeat(500_000);
        std::fs::write(folder.path().join("in"), &all).unwrap();
        let file = File::open(folder.path().join("in")).unwrap();
        let (mut reader, out) = io::pipe().unwrap();
        rustix::io::ioctl_fionbio(&out, true).unwrap();
        let (full, is_full) = std::sync::mpsc::channel();
        let watched = out.try_clone().unwrap();
        let reading = std::thread::spawn(move || {
            // It is not read before it is full.
            let room = PollFlags::OUT;
            while poll(&mut [PollFd::new(&watched, room)], Some(&Timespec::default())).unwrap() > 0 {
                std::thread::yield_now();
            }
            drop(watched);
            full.send(()).unwrap();
            let mut read = String::new();
            reader.read_to_string(&mut read).unwrap();
            read
        });
        Sink::new(out.into(), copy_free)
            .copy(&file, 0, all.len() as u64)
            .unwrap();
        is_full.recv().unwrap();
        assert!(reading.join().unwrap() == all, "copy_free: {copy_free}");
    }
}

#[test]
fn a_file_that_has_become_shorter_is_the_file_s_trouble_and_not_the_output_s() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("in"), "one\n").unwrap();
    let file = File::open(folder.path().join("in")).unwrap();
    for copy_free in [true, false] {
        let (mut reader, out) = io::pipe().unwrap();
        let copied = Sink::new(out.into(), copy_free).copy(&file, 0, 100);
        let Err(CopyError::File(error)) = copied else {
            panic!("{copied:?}")
        };
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
        let mut read = String::new();
        reader.read_to_string(&mut read).unwrap();
        assert_eq!(read, "one\n");
    }
}

#[test]
fn an_output_into_which_the_kernel_moves_no_pages_is_written_all_the_same() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("in"), "one\ntwo\n").unwrap();
    let file = File::open(folder.path().join("in")).unwrap();
    let (mut reader, out) = std::os::unix::net::UnixStream::pair().unwrap();
    // As a shell's `>>` does; such a descriptor refuses sendfile(2).
    rustix::fs::fcntl_setfl(&out, rustix::fs::OFlags::APPEND).unwrap();
    let mut sink = Sink::new(out.into(), true);
    sink.copy(&file, 0, 4).unwrap();
    sink.copy(&file, 4, 4).unwrap();
    drop(sink);
    let mut read = String::new();
    reader.read_to_string(&mut read).unwrap();
    assert_eq!(read, "one\ntwo\n");
}

#[test]
fn a_file_that_cannot_be_read_is_not_taken_for_an_output_that_cannot_be_written() {
    let folder = tempfile::tempdir().unwrap();
    let file = File::create(folder.path().join("in")).unwrap();
    file.set_len(100).unwrap();
    for copy_free in [true, false] {
        let (_reader, out) = io::pipe().unwrap();
        let copied = Sink::new(out.into(), copy_free).copy(&file, 0, 100);
        let Err(CopyError::File(error)) = copied else {
            panic!("{copied:?}")
        };
        assert_eq!(error.raw_os_error(), Some(rustix::io::Errno::BADF.raw_os_error()));
    }
}

/// The files of a folder as they are printed once, from their start or their end.
fn lines(folder: &Path, watch: WatchMode, from_end: bool) -> PlainLines {
    PlainLines {
        folder: folder.to_owned(),
        watch,
        from_end,
        once: true,
        lookups_per_second: 50,
    }
}

#[test]
fn a_reader_that_goes_away_in_the_midst_ends_the_printing_in_order() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("a.jsonl"), "a line\n".repeat(500_000)).unwrap();
    let (reader, out) = io::pipe().unwrap();
    drop(reader);
    super::print(lines(folder.path(), WatchMode::Auto, false), out.into()).unwrap();
}

#[test]
fn a_folder_that_cannot_be_watched_is_polled_only_where_that_is_left_to_us() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a.jsonl");
    std::fs::write(&file, "one\n").unwrap();
    let out = || File::create(folder.path().join("out")).unwrap().into();
    let watched = super::print(lines(&file, WatchMode::Inotify, false), out());
    assert!(matches!(watched, Err(LinesError::Watch { .. })), "{watched:?}");
    // What is no folder cannot be listed either.
    let polled = super::print(lines(&file, WatchMode::Auto, false), out());
    assert!(matches!(polled, Err(LinesError::Folder { .. })), "{polled:?}");
}

#[cfg(target_os = "linux")]
#[test]
fn when_the_kernel_has_lost_events_all_files_are_looked_at_and_new_names_for() {
    let folder = tempfile::tempdir().unwrap();
    let (a, b) = (folder.path().join("a.jsonl"), folder.path().join("b.jsonl"));
    std::fs::write(&a, "one\n").unwrap();
    let out = folder.path().join("out");
    let printer = Printer::new(
        lines(folder.path(), WatchMode::Inotify, true),
        File::create(&out).unwrap().into(),
    );
    let mut told = Inotify::on(folder.path()).unwrap();
    let room = std::fs::read_to_string("/proc/sys/fs/inotify/max_queued_events").unwrap();
    let room: usize = room.trim().parse().unwrap();
    let other = folder.path().join("other");
    for _ in 0..=room / 2 {
        File::create(&other).unwrap();
        std::fs::remove_file(&other).unwrap();
    }
    // Of these the kernel tells nothing any more.
    std::fs::OpenOptions::new()
        .append(true)
        .open(&a)
        .unwrap()
        .write_all(b"two\n")
        .unwrap();
    std::fs::write(&b, "three\n").unwrap();
    let told = told.told().unwrap();
    assert_eq!(told.last(), Some(&Told::Lost));
    assert!(!told.contains(&Told::Name("b.jsonl".into())));
    printer.unwrap().run().unwrap();
    assert_eq!(std::fs::read_to_string(out).unwrap(), "two\nthree\n");
}
