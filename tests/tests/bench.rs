//! The benchmarks, in small sizes: they work, their tables have the shape that docs/BENCHMARKS.md shows, and they leave nothing
//! behind. What they measure here means nothing and is not looked at.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use codeswarm_tests::bench::ALL;
use codeswarm_tests::{processes, requires};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

fn front() -> Command {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("bench");
    let mut command = Command::new(script);
    command
        .env("CODESWARM_BENCH", env!("CARGO_BIN_EXE_codeswarm-bench"))
        .env("CODESWARM_BIN", requires::codeswarm())
        .stdin(Stdio::null());
    command
}

fn ran(command: &mut Command) -> Output {
    let output = command.output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {}\n{stderr}", output.status);
    output
}

/// A folder's entries: what was made in it and not removed.
fn left_in(folder: &Path) -> Vec<PathBuf> {
    std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect()
}

/// Every row of a table has a name, and in each column a word, figures with their unit and number of runs, or why it is missing.
fn assert_table(table: &Value) {
    let rows = table["rows"].as_array().unwrap();
    assert!(!rows.is_empty(), "{table:#}");
    for row in rows {
        let row = row.as_object().unwrap();
        assert!(row.len() >= 2, "{row:#?}");
        for (column, cell) in row {
            let well_formed = match cell {
                Value::String(_) => true,
                Value::Object(cell) if cell.contains_key("missing") => {
                    cell["missing"].as_str().is_some_and(|why| !why.is_empty())
                }
                Value::Object(cell) => {
                    let figure = |name: &str| cell[name].as_f64().unwrap_or(f64::NAN);
                    let ordered = figure("least") <= figure("median") && figure("median") <= figure("most");
                    ordered && cell["unit"].is_string() && cell["runs"].as_u64() >= Some(1)
                }
                _ => false,
            };
            assert!(well_formed, "{column}: {cell} in {row:#?}");
        }
    }
}

#[test]
fn every_experiment_works_and_its_tables_have_their_shape() {
    let folder = tempfile::tempdir().unwrap();
    let page = folder.path().join("page.md");
    std::fs::write(&page, "# Page\n").unwrap();
    let temporary = tempfile::Builder::new().prefix("b").tempdir().unwrap();
    let mut command = front();
    command
        .args(["--quick", "--no-cluster", "--json"])
        .arg(format!("--markdown={}", page.display()));
    let output = ran(command.env("TMPDIR", temporary.path()));
    let text = String::from_utf8(output.stdout).unwrap();
    let results: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let expected: Vec<_> = ALL
        .iter()
        .filter(|experiment| !experiment.cluster)
        .map(|experiment| experiment.name)
        .collect();
    let names: Vec<_> = results
        .iter()
        .map(|result| result["experiment"].as_str().unwrap())
        .collect();
    assert_eq!(names, expected);
    let page = std::fs::read_to_string(&page).unwrap();
    for result in &results {
        let name = result["experiment"].as_str().unwrap();
        let tables = result["result"]["tables"].as_array().unwrap();
        assert!(!tables.is_empty(), "{name}");
        tables.iter().for_each(assert_table);
        for fact in [
            "processor",
            "kernel",
            "filesystem",
            "codeswarm",
            "rustc",
            "ssh",
            "Slurm",
            "coreutils",
        ] {
            assert!(result["machine"][fact].is_string(), "{name}: {fact}");
        }
        assert!(
            page.contains(&format!("<!-- begin {name} -->\n### {name}\n\n`tests/bench {name}`")),
            "{page}"
        );
    }
    assert_eq!(left_in(temporary.path()), Vec::<PathBuf>::new());
}

#[test]
fn an_interrupted_benchmark_leaves_nothing_behind() {
    let temporary = tempfile::Builder::new().prefix("b").tempdir().unwrap();
    let mut child = front()
        .args(["--quick", "--runs", "1000", "fan-out"])
        .env("TMPDIR", temporary.path())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let deadline = Instant::now() + codeswarm_tests::PATIENCE;
    let routers = || {
        let mut found = processes::of(temporary.path());
        found.retain(|process| process.command_line.contains(" router "));
        found
    };
    while routers().is_empty() {
        assert!(Instant::now() < deadline, "no router was started");
        assert!(
            child.try_wait().unwrap().is_none(),
            "it ended before it was interrupted"
        );
        std::thread::sleep(Duration::from_millis(2));
    }
    kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(143));
    assert_eq!(left_in(temporary.path()), Vec::<PathBuf>::new());
    assert_eq!(processes::of(temporary.path()), Vec::new());
}

#[test]
fn the_page_has_every_experiment() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/BENCHMARKS.md");
    let page = std::fs::read_to_string(page).unwrap();
    let missing: Vec<_> = ALL
        .iter()
        .filter(|experiment| !page.contains(&format!("<!-- begin {} -->", experiment.name)))
        .map(|experiment| experiment.name)
        .collect();
    assert_eq!(missing, Vec::<&str>::new(), "tests/bench NAME --markdown writes them");
}
