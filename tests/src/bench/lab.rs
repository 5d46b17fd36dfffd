//! How large and how often an experiment is made, and the folder that it has for itself.

use std::io::Write;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

/// What an experiment is given.
pub struct Lab {
    /// Small sizes and few runs, to see that it works.
    pub quick: bool,
    /// How often each thing is measured.
    pub runs: usize,
    /// The program under test.
    pub codeswarm: PathBuf,
}

impl Lab {
    /// One of two sizes: that of a measurement, or the small one.
    pub fn size<T>(&self, measured: T, quick: T) -> T {
        if self.quick { quick } else { measured }
    }

    /// The program that plays swarms: beside this one.
    #[track_caller]
    pub fn simulator(&self) -> PathBuf {
        let beside = std::env::current_exe().map(|program| program.with_file_name("codeswarm-swarm-simulator"));
        match beside {
            Ok(program) if program.is_file() => program,
            other => panic!("there is no codeswarm-swarm-simulator beside this program: {other:?}"),
        }
    }

    /// A folder that is gone when its value is.
    pub fn folder(&self) -> TempDir {
        // A short name: sockets are made in such folders.
        let folder = tempfile::Builder::new().prefix("b-").tempdir();
        folder.unwrap_or_else(|error| panic!("no temporary folder: {error}"))
    }

    /// Tells a person who waits what is being done.
    pub fn tell(&self, what: &str) {
        let _ = writeln!(std::io::stderr(), "   {what}");
    }

    /// Measures each of several ways as often as is asked for, in turns, so that what else the machine does falls on all.
    pub fn in_turns<const WAYS: usize>(&self, mut measure: impl FnMut(usize) -> f64) -> [Vec<f64>; WAYS] {
        let mut figures = std::array::from_fn(|_| Vec::new());
        for _ in 0..self.runs {
            for (way, figures) in figures.iter_mut().enumerate() {
                figures.push(measure(way));
            }
        }
        figures
    }
}

/// The kind of filesystem that a folder is on, in the kernel's word.
pub fn filesystem(folder: &Path) -> String {
    let folder = folder.canonicalize().unwrap_or_else(|_| folder.to_owned());
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let mut found = (0, "unknown".to_owned());
    for line in mounts.lines() {
        let Some((left, right)) = line.split_once(" - ") else {
            continue;
        };
        let (Some(point), Some(kind)) = (left.split(' ').nth(4), right.split(' ').next()) else {
            continue;
        };
        // Of several mounts on one another the last is seen.
        if folder.starts_with(point) && point.len() >= found.0 {
            found = (point.len(), kind.to_owned());
        }
    }
    found.1
}
