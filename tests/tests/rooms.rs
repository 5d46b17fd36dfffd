//! The house rules that a compiler does not know: which room may depend on which, and that a file is one idea.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The longest that a source file may be, in lines.
const LONGEST_FILE: usize = 600;

/// Each room, and the rooms that it may depend on. The same table stands in ARCHITECTURE.md.
const MAY_DEPEND_ON: [(&str, &[&str]); 19] = [
    ("protocol", &[]),
    ("configs", &["protocol"]),
    ("mailbox", &["protocol"]),
    ("agents", &["protocol"]),
    ("slurm", &["protocol"]),
    ("worker", &["protocol", "mailbox", "agents"]),
    ("follower", &["protocol", "mailbox"]),
    ("link", &["protocol", "follower"]),
    (
        "router",
        &["protocol", "configs", "mailbox", "agents", "follower", "slurm", "link"],
    ),
    ("client", &["protocol", "configs", "router"]),
    (
        "doctor",
        &["protocol", "configs", "mailbox", "agents", "slurm", "link", "router"],
    ),
    ("events", &["protocol", "client"]),
    ("mcp", &["protocol", "configs", "client"]),
    (
        "cli",
        &[
            "protocol", "configs", "mailbox", "agents", "follower", "slurm", "link", "router", "worker", "doctor",
            "client", "events", "mcp",
        ],
    ),
    (
        "simulation",
        &[
            "protocol", "configs", "mailbox", "agents", "follower", "slurm", "link", "router", "worker",
        ],
    ),
    (
        "tests",
        &[
            "protocol", "configs", "mailbox", "agents", "follower", "slurm", "link", "router", "worker", "doctor",
            "cli",
        ],
    ),
    (
        "fuzz-targets",
        &[
            "protocol", "configs", "mailbox", "agents", "slurm", "worker", "follower", "link", "router", "events",
        ],
    ),
    ("hostfs", &[]),
    ("hot-functions", &["protocol", "mailbox", "worker", "follower"]),
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// The rooms that each room's Cargo.toml names as dependencies of its library or programs.
fn dependencies() -> BTreeMap<String, Vec<String>> {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let output = Command::new(cargo)
        .args(["metadata", "--no-deps", "--offline", "--format-version", "1"])
        .current_dir(root())
        .output()
        .unwrap();
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("cargo metadata: {error}: {}", String::from_utf8_lossy(&output.stderr)));
    let room = |name: &str| name.strip_prefix("codeswarm-").map(str::to_owned);
    metadata["packages"]
        .as_array()
        .unwrap()
        .iter()
        .map(|package| {
            let named = package["dependencies"].as_array().unwrap().iter();
            let used = named.filter(|dependency| dependency["kind"] != "dev");
            let rooms = used
                .filter_map(|dependency| room(dependency["name"].as_str().unwrap()))
                .collect();
            (room(package["name"].as_str().unwrap()).unwrap(), rooms)
        })
        .collect()
}

#[test]
fn dependencies_between_rooms_point_one_way() {
    let found = dependencies();
    let allowed: BTreeMap<&str, &[&str]> = MAY_DEPEND_ON.into_iter().collect();
    assert_eq!(
        found.len(),
        allowed.len(),
        "a room is missing in the table: {:?}",
        found.keys()
    );
    for (room, used) in found {
        for other in used {
            assert!(
                allowed[room.as_str()].contains(&other.as_str()),
                "{room} must not depend on {other}"
            );
        }
    }
}

#[test]
fn the_table_is_the_one_in_architecture_md() {
    let page = std::fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    for (room, others) in MAY_DEPEND_ON {
        let others = if others.is_empty() {
            "–".to_owned()
        } else {
            others.join(", ")
        };
        let line = page.lines().find(|line| line.starts_with(&format!("| `{room}/`")));
        let line = line.unwrap_or_else(|| panic!("ARCHITECTURE.md has no row for {room}/"));
        assert!(
            line.trim_end().ends_with(&format!("| {others} |")),
            "{line}\nshould end with: | {others} |"
        );
    }
}

#[test]
fn no_source_file_is_longer_than_one_idea() {
    let listed = Command::new("git")
        .args(["ls-files", "*.rs", "*.js", "*.mjs"])
        .current_dir(root())
        .output()
        .unwrap();
    let mut too_long = Vec::new();
    let mut seen = 0;
    for name in String::from_utf8(listed.stdout).unwrap().lines() {
        let Ok(text) = std::fs::read_to_string(root().join(name)) else {
            continue;
        };
        seen += 1;
        let lines = text.lines().count();
        if lines > LONGEST_FILE {
            too_long.push(format!("{name}: {lines} lines"));
        }
    }
    assert!(seen > 50, "git lists only {seen} source files");
    assert!(too_long.is_empty(), "split by what they know: {too_long:#?}");
}
