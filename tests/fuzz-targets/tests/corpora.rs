//! Each target's corpus, and seeded mutations of it, on any toolchain: what `tests/fuzz` does for as long as one likes, for a
//! second. The seeds are fixed, so a failure here is the same on every machine; it prints the input.

use std::collections::BTreeSet;
use std::panic::catch_unwind;
use std::path::{Path, PathBuf};

use codeswarm_fuzz_targets::{TARGETS, Target};

/// How many mutations of each target's corpus are played.
const MUTATIONS: usize = 3000;

/// How many of those that write files, or hold large things for a moment.
const SLOW: (&[&str], usize) = (&["frames_upward", "mailbox_tail", "node_selectors", "state_files"], 300);

/// A mutation is not longer than this.
const LONGEST: usize = 64 * 1024;

/// Words that parsers look for, or stumble over.
const WORDS: &[&[u8]] = &[
    b"\0",
    b"\n",
    b"\r\n",
    b"\"",
    b"\\",
    b"{",
    b"}",
    b"[",
    b"]",
    b"{}",
    b"null",
    b"true",
    b"-1",
    b"0",
    b"1e400",
    b"0.1",
    b"18446744073709551615",
    b"9223372036854775808",
    b"4294967296",
    b"999999",
    b"999999999",
    b"\xff\xfe",
    b"\xef\xbb\xbf",
    b"\x1b[2J",
    b"\\ud800",
    b"..",
    b"/",
    b"0-9999",
    b",",
    b"-",
    b"=",
    b"|",
    b"\xf0\x9f\xa6\x80",
    b"\"id\":",
    b"\"type\":",
    b"\n--\n",
    b">run x\n",
    b">tick\n",
    b">interrupt\n",
    b">steer y\n",
    b">stop\n",
];

fn fuzz() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz")
}

fn corpus(name: &str) -> Vec<(String, Vec<u8>)> {
    let folder = fuzz().join("corpus").join(name);
    let listed = std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut files: Vec<PathBuf> = listed.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(!files.is_empty(), "{} has no file", folder.display());
    let read = |path: PathBuf| {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        (name, std::fs::read(&path).unwrap())
    };
    files.into_iter().map(read).collect()
}

/// xorshift64*: good enough to choose places and bytes.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let mixed = self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33;
        usize::try_from(mixed).unwrap() % limit.max(1)
    }

    fn range(&mut self, length: usize) -> std::ops::Range<usize> {
        let from = self.below(length + 1);
        let most = (length - from).min(1 << self.below(8));
        from..from + self.below(most + 1)
    }

    fn mutated(&mut self, files: &[(String, Vec<u8>)]) -> Vec<u8> {
        let mut data = files[self.below(files.len())].1.clone();
        for _ in 0..=self.below(4) {
            let at = self.below(data.len() + 1);
            match self.below(7) {
                0 if at < data.len() => data[at] = u8::try_from(self.below(256)).unwrap(),
                1 if at < data.len() => data[at] ^= 1 << self.below(8),
                2 => drop(data.drain(self.range(data.len()))),
                3 => {
                    let piece = data[self.range(data.len())].to_vec();
                    drop(data.splice(at..at, piece));
                }
                4 => {
                    let other = &files[self.below(files.len())].1;
                    let piece = other[self.range(other.len())].to_vec();
                    drop(data.splice(at..at, piece));
                }
                5 => data.truncate(at),
                _ => drop(data.splice(at..at, WORDS[self.below(WORDS.len())].iter().copied())),
            }
        }
        data.truncate(LONGEST);
        data
    }
}

fn play(target: Target, name: &str, which: &str, data: &[u8]) {
    if let Err(panic) = catch_unwind(|| target(data)) {
        eprintln!("{name} does not stand {which}, which is:\n{}", data.escape_ascii());
        std::panic::resume_unwind(panic);
    }
}

/// Plays one target's corpus and its mutations.
fn stands(name: &str) {
    let (_, target) = TARGETS.iter().find(|(other, _)| *other == name).unwrap();
    play(*target, name, "nothing", b"");
    let files = corpus(name);
    for (file, data) in &files {
        play(*target, name, file, data);
    }
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let asked = std::env::var("CODESWARM_FUZZ_MUTATIONS").ok();
    let asked = asked.map(|count| count.parse().expect("CODESWARM_FUZZ_MUTATIONS is a number"));
    let count = asked.unwrap_or(if SLOW.0.contains(&name) { SLOW.1 } else { MUTATIONS });
    for number in 0..count {
        let data = random.mutated(&files);
        play(*target, name, &format!("mutation {number}"), &data);
    }
}

macro_rules! p12_targets {
    ($($name:ident)+) => {
        mod p12_stands_any_input {
            $(#[test]
            fn $name() {
                super::stands(stringify!($name));
            })+
        }

        const TESTED: &[&str] = &[$(stringify!($name)),+];
    };
}

p12_targets! {
    agent_output client_commands client_stream codex_messages codex_session configurations consumer_cursors doorbell_lines echo_scripts frames_downward
    frames_upward inbox_lines launch_files launch_parameters mailbox_tail names node_selectors outbox_lines record_splitter
    slurm_errors slurm_hostnames slurm_job slurm_partitions slurm_queue slurm_settings slurm_submitted ssh_words state_files
}

#[test]
fn every_target_has_a_program_a_corpus_and_a_test() {
    let names: BTreeSet<String> = TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect();
    let listed = |folder: &str| -> BTreeSet<String> {
        std::fs::read_dir(fuzz().join(folder))
            .unwrap()
            .map(|entry| {
                entry
                    .unwrap()
                    .path()
                    .file_stem()
                    .unwrap()
                    .to_string_lossy()
                    .into_owned()
            })
            .collect()
    };
    assert_eq!(listed("fuzz_targets"), names);
    assert_eq!(listed("corpus"), names);
    assert_eq!(
        TESTED.iter().map(|name| (*name).to_owned()).collect::<BTreeSet<_>>(),
        names
    );
    let manifest = std::fs::read_to_string(fuzz().join("Cargo.toml")).unwrap();
    for name in &names {
        assert!(
            manifest.contains(&format!("name = \"{name}\"")),
            "fuzz/Cargo.toml has no program {name}"
        );
        let program = std::fs::read_to_string(fuzz().join(format!("fuzz_targets/{name}.rs"))).unwrap();
        assert!(
            program.contains(&format!("codeswarm_fuzz_targets::{name}(")),
            "{program}"
        );
    }
}
