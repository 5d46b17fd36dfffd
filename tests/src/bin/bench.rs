//! `codeswarm-bench`, by way of `tests/bench`: measures, and prints tables.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use codeswarm_tests::bench::lab::Lab;
use codeswarm_tests::bench::machine::Machine;
use codeswarm_tests::bench::{ALL, Experiment, page};
use codeswarm_tests::requires;
use serde_json::json;

/// Measures Codeswarm beside what one would use instead, and prints tables.
///
/// Each experiment measures its ways of doing one thing in turns, in the same run, and prints the median of the runs, the
/// least and the most. What is not on this machine is said in the table. Files are made in a temporary folder (TMPDIR
/// says where: put it on the filesystem that you want to know about), 3 GB at most, and are gone in the end.
///
/// Exit status: 0 when everything was measured, whatever the figures; 1 when something did not work.
#[derive(Parser)]
#[command(
    name = "tests/bench",
    bin_name = "tests/bench",
    after_help = "Examples:\n  tests/bench --list                      what there is\n  tests/bench follow-drain                one experiment\n  tests/bench footprint restart --runs 9  two, with more runs\n  tests/bench --markdown                  all, into docs/BENCHMARKS.md\n  tests/bench --quick                     small sizes: does it work?\n\nCODESWARM_BIN names another program to measure, CODESWARM_TEST_CLUSTER a cluster that is up."
)]
struct Arguments {
    /// The experiments; all when none is named.
    #[arg(value_name = "NAME")]
    names: Vec<String>,
    /// List the experiments, and do nothing.
    #[arg(long)]
    list: bool,
    /// How often each thing is measured: 5 times, or more; 2 with --quick.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1000))]
    runs: Option<u16>,
    /// Small sizes: the figures mean nothing.
    #[arg(long)]
    quick: bool,
    /// Leave out those that need a Slurm and an sshd.
    #[arg(long)]
    no_cluster: bool,
    /// Print JSON, one object for each experiment, instead of tables.
    #[arg(long)]
    json: bool,
    /// Put the tables into docs/BENCHMARKS.md, or this file, in the place of those that these experiments had there.
    #[arg(long, value_name = "FILE", num_args = 0..=1, default_missing_value = "docs/BENCHMARKS.md", require_equals = true)]
    markdown: Option<PathBuf>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let mut stdout = std::io::stdout();
    if arguments.list {
        for experiment in ALL {
            let cluster = if experiment.cluster { " (test cluster)" } else { "" };
            let _ = writeln!(stdout, "{:<14} {}{cluster}", experiment.name, experiment.about);
        }
        return ExitCode::SUCCESS;
    }
    let chosen = match chosen(&arguments) {
        Ok(chosen) => chosen,
        Err(unknown) => {
            eprintln!("tests/bench: there is no experiment {unknown}; tests/bench --list says which there are");
            return ExitCode::from(2);
        }
    };
    let runs = match (arguments.runs, arguments.quick) {
        (Some(runs), true) => usize::from(runs),
        (None, true) => 2,
        // Fewer have no spread.
        (runs, false) => usize::from(runs.unwrap_or(5)).max(5),
    };
    let lab = Lab {
        quick: arguments.quick,
        runs,
        codeswarm: requires::codeswarm(),
    };
    for experiment in chosen {
        eprintln!("== {}: {}", experiment.name, experiment.about);
        if experiment.cluster && requires::Requirement::Cluster.find().is_none() {
            eprintln!("   left out: {}", requires::Requirement::Cluster.how());
            continue;
        }
        let machine = Machine::here(&lab.codeswarm, &std::env::temp_dir());
        let report = (experiment.run)(&lab);
        if arguments.json {
            let result = json!({
                "experiment": experiment.name,
                "runs": lab.runs,
                "quick": lab.quick,
                "machine": machine.json(),
                "result": report.json(),
            });
            let _ = writeln!(stdout, "{result}");
        } else {
            let _ = writeln!(
                stdout,
                "\n{}: {}\n{}\n\n{}",
                experiment.name,
                experiment.about,
                machine.told(),
                report.plain()
            );
        }
        if let Some(file) = &arguments.markdown {
            let part = format!(
                "### {}\n\n`tests/bench {}`: {}.\n\n{}\n{}.\n",
                experiment.name,
                experiment.name,
                experiment.about,
                report.markdown(),
                machine.told()
            );
            let page = std::fs::read_to_string(file).unwrap_or_default();
            if let Err(error) = std::fs::write(file, page::with_part(&page, experiment.name, &part)) {
                eprintln!("tests/bench: {} cannot be written: {error}", file.display());
                return ExitCode::FAILURE;
            }
        }
    }
    ExitCode::SUCCESS
}

/// The experiments that were asked for, in the order of the list; the name that is none of them otherwise.
fn chosen(arguments: &Arguments) -> Result<Vec<&'static Experiment>, String> {
    let known = |name: &&String| ALL.iter().all(|experiment| experiment.name != name.as_str());
    if let Some(unknown) = arguments.names.iter().find(known) {
        return Err(unknown.clone());
    }
    let named = |experiment: &&Experiment| {
        (arguments.names.is_empty() || arguments.names.iter().any(|name| name == experiment.name))
            && !(arguments.no_cluster && experiment.cluster)
    };
    Ok(ALL.iter().filter(named).collect())
}
