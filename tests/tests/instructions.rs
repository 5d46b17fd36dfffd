//! The counter of instructions itself: the same program has the same counts, one that costs more is told, and the counts that are
//! kept are those of the functions that there are. `tests/run` counts with the program that is built for release.

use std::path::Path;
use std::process::{Command, Output};

use codeswarm_tests::requires;

/// A program that is not the one that is meant, but that answers as it does: `N` calls cost about N times as much as one.
const STAND_IN: &str = "#!/bin/sh
[ $# = 2 ] || { printf 'count\tcounts\n'; exit; }
left=$(($2 * 2000))
while [ $left -gt 0 ]; do left=$((left - 1)); done
echo 1000
";

fn script() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("instructions")
}

fn counted(folder: &Path, options: &[&str]) -> Output {
    let program = folder.join("program");
    if !program.exists() {
        use std::os::unix::fs::PermissionsExt;
        std::fs::write(&program, STAND_IN).unwrap();
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    Command::new(script())
        .arg("--program")
        .arg(program)
        .arg("--counts")
        .arg(folder.join("counts"))
        .args(options)
        .output()
        .unwrap()
}

#[test]
fn what_costs_more_than_before_is_a_failure_and_what_costs_less_is_told() {
    let Some(_) = requires::valgrind() else { return };
    let folder = tempfile::tempdir().unwrap();
    let updated = counted(folder.path(), &["--update"]);
    assert!(updated.status.success(), "{updated:?}");
    let counts = std::fs::read_to_string(folder.path().join("counts")).unwrap();
    let line = counts.lines().find(|line| line.starts_with("count ")).unwrap();
    let count: u64 = line.rsplit(' ').next().unwrap().parse().unwrap();
    assert!(count > 0, "{counts}");
    let same = counted(folder.path(), &[]);
    assert!(same.status.success(), "{same:?}");
    for (share, code, word) in [(90, 1, "more than before"), (110, 0, "less than before")] {
        let changed = counts.replace(line, &format!("count {}", count * share / 100));
        std::fs::write(folder.path().join("counts"), changed).unwrap();
        let told = counted(folder.path(), &[]);
        assert_eq!(told.status.code(), Some(code), "{told:?}");
        assert!(String::from_utf8_lossy(&told.stdout).contains(word), "{told:?}");
    }
}

#[test]
fn each_hot_function_has_a_count_that_is_kept() {
    let counts = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("instructions.counts")).unwrap();
    let kept: Vec<&str> = counts.lines().filter(|line| !line.starts_with('#')).collect();
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("hot-functions/src/lib.rs");
    let source = std::fs::read_to_string(source).unwrap();
    for line in &kept {
        let name = line.split(' ').next().unwrap();
        assert!(
            source.contains(&format!("\"{name}\"")),
            "{name} is no hot function any more"
        );
    }
    let number = source.split("pub const ALL: [(&str, &str, Make); ").nth(1).unwrap();
    let number: usize = number.split(']').next().unwrap().parse().unwrap();
    assert_eq!(kept.len(), number, "tests/instructions --update counts them");
}
