//! What a configuration comes to: defaults that depend on other keys, paths, warnings.

use std::path::Path;

use codeswarm_configs::{Backend, Config, ConfigError, Environment, Loaded, Watch, load, parse};
use codeswarm_protocol::launch::AgentKind;

fn environment() -> Environment {
    Environment::from_iter([("HOME", "/home/ada"), ("SCRATCH", "/scratch/ada")])
}

fn loaded(text: &str) -> Loaded {
    parse(text, Path::new("c.json"), Path::new("/etc/swarm"), &environment()).unwrap_or_else(|error| panic!("{error}"))
}

fn config(text: &str) -> Config {
    let loaded = loaded(text);
    assert_eq!(loaded.warnings, []);
    loaded.config
}

fn warnings(text: &str) -> Vec<String> {
    loaded(text).warnings.iter().map(ToString::to_string).collect()
}

const CLUSTER: &str = r#""cluster":{"workspace_root":"/shared"}"#;

#[test]
fn an_ssh_host_means_slurm_unless_the_backend_is_written() {
    assert_eq!(config("{}").cluster.backend, Backend::Local);
    assert!(
        config(&format!(r#"{{"ssh":{{"login_alias":"a"}},{CLUSTER}}}"#))
            .ssh()
            .is_some()
    );
    let on_login_node = config(r#"{"cluster":{"backend":"slurm","workspace_root":"~/shared"}}"#);
    assert!(matches!(on_login_node.cluster.backend, Backend::Slurm(ref slurm) if slurm.ssh.is_none()));
    assert_eq!(on_login_node.cluster.workspace_root, Path::new("/home/ada/shared"));
    assert_eq!(on_login_node.mailbox_root(), Path::new("/home/ada/shared/codeswarm"));
}

#[test]
fn the_agent_is_echo_here_and_codex_under_slurm_unless_its_kind_is_written() {
    let kind = |text: String| config(&text).agent.kind;
    assert_eq!(kind(r#"{"agent":{"raw_events":true}}"#.to_owned()), AgentKind::Echo);
    let under_slurm = |agent| format!(r#"{{"ssh":{{"login_alias":"a"}},{CLUSTER},"agent":{agent}}}"#);
    assert_eq!(kind(under_slurm(r#"{"model":"m"}"#)), AgentKind::Codex);
    assert_eq!(kind(under_slurm("{}")), AgentKind::Codex);
    assert_eq!(kind(under_slurm(r#"{"kind":"echo"}"#)), AgentKind::Echo);
}

#[test]
fn paths_of_this_machine_are_expanded_and_start_at_the_files_folder() {
    let config = config(
        r#"{"ssh":{"login_alias":"a","control_path":"~/.ssh/master"},
            "cluster":{"workspace_root":"/shared/","cluster_subdir":"a//b/","watch":"poll"},
            "router":{"state_dir":"state"}}"#,
    );
    assert_eq!(
        config.ssh().unwrap().control_path.as_deref(),
        Some(Path::new("/home/ada/.ssh/master"))
    );
    assert_eq!(config.mailbox_root().as_os_str(), "/shared/a/b");
    assert_eq!(config.router.state_dir, Path::new("/etc/swarm/state"));
    assert_eq!(config.cluster.watch, Watch::Poll);
    let local = self::config(
        r#"{"cluster":{"workspace_root":"${SCRATCH}/w"},"agent":{"kind":"codex","command":["./codex","-c","x"]}}"#,
    );
    assert_eq!(local.cluster.workspace_root, Path::new("/scratch/ada/w"));
    assert_eq!(local.agent.command.unwrap(), ["/etc/swarm/codex", "-c", "x"]);
}

#[test]
fn null_is_absent_and_a_byte_order_mark_is_nothing() {
    assert_eq!(
        config("\u{feff}{\"ssh\":null,\"router\":{\"state_dir\":null}}"),
        config("{}")
    );
}

#[test]
fn two_mailboxes_never_share_a_state_folder() {
    let with = |alias: &str, root: &str, subdir: &str| {
        format!(
            r#"{{"ssh":{{"login_alias":"{alias}"}},"cluster":{{"workspace_root":"{root}","cluster_subdir":"{subdir}"}}}}"#
        )
    };
    let texts = [
        with("a", "/w", "s"),
        with("b", "/w", "s"),
        with("a", "/w/s", "s"),
        with("a", "/w", "t"),
        with("a", "/w/s", "t"),
        r#"{"cluster":{"backend":"slurm","workspace_root":"/w","cluster_subdir":"s"}}"#.to_owned(),
        r#"{"cluster":{"backend":"local","workspace_root":"/w","cluster_subdir":"s"}}"#.to_owned(),
    ];
    let folders: std::collections::BTreeSet<_> = texts.iter().map(|text| config(text).router.state_dir).collect();
    assert_eq!(folders.len(), texts.len());
    assert_eq!(
        config(&with("a", "/w", "s")).router.state_dir,
        config(&with("a", "/w/", "s/")).router.state_dir
    );
}

#[test]
fn what_is_probably_not_meant_is_warned_about() {
    assert_eq!(
        warnings(
            "{\"agent\":{\"kind\":\"codex\",\"env\":{\n\"X_API_KEY\":\"sk-1\",\"HF_TOKEN\":\"${HF_TOKEN}\",\"A\":\"b\"}}}"
        ),
        [concat!(
            "c.json:2:13: agent.env.X_API_KEY: looks like a secret in a file; ",
            "write \"${X_API_KEY}\" and set it in the worker's environment"
        )]
    );
    assert_eq!(
        warnings(r#"{"ssh":{"login_alias":"a"},"cluster":{"backend":"local","slurm":{"qos":"q"}}}"#),
        [
            "c.json:1:8: ssh: is not used by the local backend; set cluster.backend to \"slurm\", or take it out",
            "c.json:1:65: cluster.slurm: is not used by the local backend; set cluster.backend to \"slurm\", or take it out",
        ]
    );
    assert_eq!(
        warnings(r#"{"agent":{"command":["codex"]}}"#),
        ["c.json:1:21: agent.command: is not used by the agent \"echo\", which is built in; is agent.kind missing?"]
    );
}

#[test]
fn a_file_is_loaded_with_paths_from_its_folder() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("c.json");
    std::fs::write(
        &path,
        r#"{"cluster":{"workspace_root":"w"},"router":{"state_dir":"../s"}}"#,
    )
    .unwrap();
    let config = load(&path).unwrap().config;
    assert_eq!(config.cluster.workspace_root, folder.path().join("w"));
    assert_eq!(config.router.state_dir, folder.path().join("../s"));
}

#[test]
fn a_file_that_cannot_be_read_is_named_with_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let refused = |name: &str| load(&folder.path().join(name)).unwrap_err();
    let missing = refused("missing.json");
    assert!(matches!(&missing, ConfigError::Unreadable { file, .. } if file.ends_with("missing.json")));
    let message = missing.to_string();
    assert!(
        message.contains("missing.json") && message.contains("name an existing file with --config"),
        "{message}"
    );

    let message = load(folder.path()).unwrap_err().to_string();
    assert!(message.contains("name a file in that folder"), "{message}");

    std::fs::write(folder.path().join("latin1.json"), b"{\n\"a\": \"\xe9\"}").unwrap();
    let message = refused("latin1.json").to_string();
    assert!(
        message.ends_with("latin1.json:2:7: is not UTF-8; save the file in that encoding"),
        "{message}"
    );

    std::fs::write(folder.path().join("large.json"), " ".repeat(4 * 1024 * 1024 + 1)).unwrap();
    assert!(
        refused("large.json")
            .to_string()
            .contains("it has more than 4194304 bytes")
    );
}

#[test]
fn without_a_home_the_places_must_be_written() {
    let nowhere = Environment::default();
    let message = Config::local_default(&nowhere).unwrap_err().to_string();
    assert!(message.contains("neither XDG_STATE_HOME nor HOME"), "{message}");
    let text = r#"{"cluster":{"workspace_root":"/w"},"router":{"state_dir":"/s"}}"#;
    let config = parse(text, Path::new("c.json"), Path::new("/"), &nowhere)
        .unwrap()
        .config;
    assert_eq!(config.router.state_dir, Path::new("/s"));
}
