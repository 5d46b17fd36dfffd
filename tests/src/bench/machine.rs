//! On what was measured: figures of different machines are not to be laid side by side.

use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use super::lab::filesystem;

/// The machine and the versions of what was run.
#[derive(Debug, Clone)]
pub struct Machine {
    lines: Vec<(&'static str, String)>,
}

impl Machine {
    /// This one; `folder` is where files were.
    pub fn here(codeswarm: &Path, folder: &Path) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let first = |program: &str, arguments: &[&str]| first_line(program, arguments).unwrap_or("not here".to_owned());
        let codeswarm = codeswarm.display().to_string();
        Self {
            lines: vec![
                ("processor", format!("{cores} cores, {}", processor())),
                ("kernel", first("uname", &["-sr"])),
                ("filesystem", filesystem(folder)),
                ("load before", load()),
                ("codeswarm", first(&codeswarm, &["--version"])),
                ("rustc", first("rustc", &["--version"])),
                ("ssh", first("ssh", &["-V"])),
                ("Slurm", slurm(folder).unwrap_or("not here".to_owned())),
                ("coreutils", first("tail", &["--version"])),
            ],
        }
    }

    /// In a sentence.
    pub fn told(&self) -> String {
        let lines = self.lines.iter().map(|(name, value)| format!("{name}: {value}"));
        lines.collect::<Vec<_>>().join("; ")
    }

    /// For programs.
    pub fn json(&self) -> Value {
        self.lines.iter().map(|(name, value)| (*name, json!(value))).collect()
    }
}

fn processor() -> String {
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(':'));
    model.map_or("an unknown model".to_owned(), |(_, name)| name.trim().to_owned())
}

/// What else went on: the load of the last minute before.
fn load() -> String {
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    load.split(' ').next().unwrap_or("unknown").to_owned()
}

/// Slurm's programs tell their version only where there is a configuration.
fn slurm(folder: &Path) -> Option<String> {
    let file = folder.join("version.conf");
    std::fs::write(&file, "ClusterName=none\nSlurmctldHost=localhost\n").ok()?;
    let output = Command::new("sbatch")
        .arg("--version")
        .env("SLURM_CONF", &file)
        .output()
        .ok()?;
    let _ = std::fs::remove_file(&file);
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .next()
        .map(str::to_owned)
}

/// The first line that a program prints, on whichever stream.
fn first_line(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).output().ok()?;
    let text = [output.stdout, output.stderr].concat();
    String::from_utf8_lossy(&text).lines().next().map(str::to_owned)
}
