//! Every example file of the folder is a configuration, and means what the guide says of it.
#![expect(
    clippy::unwrap_used,
    reason = "in a test a panic is the report, in its helper functions too"
)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use codeswarm_configs::{Backend, Config, Environment, Loaded, Watch, parse};
use codeswarm_protocol::launch::{AgentKind, AgentSpec, WorkerSpec};

fn environment() -> Environment {
    Environment::from_iter([("HOME", "/home/ada")])
}

/// All `*.json` beside `src`, by name, loaded for a user whose home is `/home/ada`.
fn examples() -> BTreeMap<String, Loaded> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut examples = BTreeMap::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "json") {
            let text = std::fs::read_to_string(&path).unwrap();
            let loaded = parse(&text, &path, folder, &environment()).unwrap_or_else(|error| panic!("{error}"));
            examples.insert(path.file_name().unwrap().to_str().unwrap().to_owned(), loaded);
        }
    }
    assert!(examples.len() >= 4, "found only {:?}", examples.keys());
    examples
}

fn example(name: &str) -> Config {
    examples()
        .remove(name)
        .unwrap_or_else(|| panic!("there is no {name}"))
        .config
}

#[test]
fn every_example_loads_without_a_warning_and_is_in_the_guide() {
    let guide = codeswarm_configs::reference_page();
    for (name, loaded) in examples() {
        assert_eq!(loaded.warnings, [], "{name}");
        assert!(
            guide.contains(&format!("(../configs/{name})")),
            "{name} is not among the examples of the guide"
        );
    }
}

#[test]
fn the_local_example_is_the_default_written_out() {
    let default = Config::local_default(&environment()).unwrap();
    assert_eq!(example("local.json"), default);
    assert_eq!(default.cluster.backend, Backend::Local);
    assert_eq!(
        default.mailbox_root(),
        Path::new("/home/ada/.local/state/codeswarm/local")
    );
    assert_eq!(default.router.inject_timeout, Duration::from_secs(60));
    assert_eq!(default.router.max_prompt_bytes, 8 * 1024 * 1024);
    assert_eq!(default.router.idle_exit, None);
    assert_eq!(default.agent, AgentSpec::default());
    assert_eq!(default.agent.kind, AgentKind::Echo);
    assert_eq!(default.worker, WorkerSpec::default());
}

#[test]
fn the_earlier_systems_file_means_slurm_with_codex() {
    let config = example("hpcfund.json");
    assert_eq!(config.ssh().unwrap().login_alias, "hpcfund");
    assert_eq!(config.ssh().unwrap().control_path, None);
    assert_eq!(
        config.mailbox_root(),
        Path::new("/work1/amd/klowery/workspace/codeswarm")
    );
    assert_eq!(config.router.inject_timeout, Duration::from_secs(60));
    assert_eq!(
        config.agent,
        AgentSpec {
            kind: AgentKind::Codex,
            ..AgentSpec::default()
        }
    );
    assert_eq!(config.cluster.watch, Watch::Auto);
}

#[test]
fn the_codex_examples_run_codex() {
    let local = example("local-codex.json");
    assert_eq!(
        (local.cluster.backend, local.agent.kind),
        (Backend::Local, AgentKind::Codex)
    );
    assert_eq!(local.agent.command.as_deref(), Some(["codex".to_owned()].as_slice()));

    let cluster = example("slurm-codex.json");
    let Backend::Slurm(slurm) = cluster.cluster.backend else {
        panic!("slurm-codex.json is not for Slurm")
    };
    assert_eq!(slurm.slurm.partition.as_deref(), Some("batch"));
    assert_eq!(slurm.slurm.agents_per_node, Some(1));
    assert_eq!(
        cluster.agent.env["PIP_CACHE_DIR"], "${HOME}/.cache/pip",
        "it belongs to the worker's environment"
    );
}

#[test]
fn the_first_example_for_a_cluster_needs_an_alias_and_a_folder() {
    let first = example("slurm-echo.json");
    assert_eq!(first.ssh().unwrap().login_alias, "mycluster");
    assert_eq!(first.agent.kind, AgentKind::Echo);
    let Backend::Slurm(slurm) = first.cluster.backend else {
        panic!("slurm-echo.json is not for Slurm")
    };
    assert_eq!(slurm.slurm.partition, None, "the cluster's default");
}

#[test]
fn examples_share_a_state_folder_only_with_the_same_mailbox() {
    let mailbox_of_state: BTreeMap<PathBuf, PathBuf> = examples()
        .into_values()
        .map(|loaded| (loaded.config.router.state_dir.clone(), loaded.config.mailbox_root()))
        .collect();
    for loaded in examples().into_values() {
        assert_eq!(
            mailbox_of_state[&loaded.config.router.state_dir],
            loaded.config.mailbox_root()
        );
    }
    assert_eq!(mailbox_of_state.len(), examples().len());
}

#[test]
fn a_default_state_folder_never_moves() {
    // Routers of earlier versions left their state there: these names are a format.
    let state_dir = |name| example(name).router.state_dir.display().to_string();
    assert_eq!(
        state_dir("local.json"),
        "/home/ada/.local/state/codeswarm/router-8be64031e8c9d628"
    );
    assert_eq!(
        state_dir("hpcfund.json"),
        "/home/ada/.local/state/codeswarm/router-ae3fd85001b15625"
    );
}
