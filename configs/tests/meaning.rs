//! What a configuration comes to: defaults that depend on other keys, paths, warnings.

use std::path::Path;

use codeswarm_configs::{Backend, Config, ConfigError, Environment, Loaded, SlurmSection, Watch, load, parse};
use codeswarm_protocol::doorbell::Listen;
use codeswarm_protocol::launch::AgentKind;
use serde_json::json;

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
fn the_doorbell_is_a_word_or_an_address() {
    let doorbell = |value: &str| {
        config(&format!(r#"{{"cluster":{{"doorbell":{value}}}}}"#))
            .cluster
            .doorbell
    };
    assert_eq!(config("{}").cluster.doorbell, Listen::Auto);
    assert_eq!(doorbell(r#""auto""#), Listen::Auto);
    assert_eq!(doorbell(r#""off""#), Listen::Off);
    for (written, means) in [
        ("10.0.0.7", "10.0.0.7:0"),
        ("10.0.0.7:4711", "10.0.0.7:4711"),
        ("[fd00::7]:4711", "[fd00::7]:4711"),
    ] {
        assert_eq!(
            doorbell(&format!(r#"{{"listen":"{written}"}}"#)),
            Listen::At(means.parse().unwrap())
        );
    }
}

#[test]
fn a_doorbell_that_is_neither_is_told_at_its_place() {
    for (value, told) in [
        (
            r#""of""#,
            r#"cluster.doorbell: expected one of "auto", "off", found the string "of"; did you mean "off"?"#,
        ),
        (
            "true",
            r#"cluster.doorbell: expected one of "auto", "off", or an object {"listen": …}, found `true`"#,
        ),
        ("{}", r#"cluster.doorbell.listen: is missing; expected a string"#),
        (
            r#"{"listen":"login1"}"#,
            "cluster.doorbell.listen: is no IP address of the login node",
        ),
        (
            r#"{"listen":"auto"}"#,
            "cluster.doorbell.listen: is no IP address of the login node",
        ),
        (
            r#"{"lisen":"10.0.0.7"}"#,
            r#"cluster.doorbell.lisen: unknown key; did you mean "listen"?"#,
        ),
    ] {
        let text = format!(r#"{{"cluster":{{"doorbell":{value}}}}}"#);
        let error = parse(&text, Path::new("c.json"), Path::new("/etc/swarm"), &environment()).unwrap_err();
        assert!(error.to_string().contains(told), "{error}\nshould have: {told}");
    }
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

#[test]
fn a_cluster_is_reached_and_served_with_files_of_this_machine() {
    let config = config(
        r#"{"ssh":{"login_alias":"a","config_file":"ssh/config"},
            "cluster":{"workspace_root":"/shared","binary":"~/bin/codeswarm-static",
                       "slurm":{"template":"${SCRATCH}/job.sh","poll_seconds":60}}}"#,
    );
    assert_eq!(
        config.ssh().unwrap().config_file.as_deref(),
        Some(Path::new("/etc/swarm/ssh/config"))
    );
    let Backend::Slurm(cluster) = config.cluster.backend else {
        panic!("not Slurm")
    };
    assert_eq!(
        cluster.binary.as_deref(),
        Some(Path::new("/home/ada/bin/codeswarm-static"))
    );
    assert_eq!(
        cluster.slurm.template.as_deref(),
        Some(Path::new("/scratch/ada/job.sh"))
    );
    assert_eq!(cluster.slurm.poll_seconds, 60);
    assert_eq!(SlurmSection::default().poll_seconds, 30);
}

#[test]
fn an_alias_of_another_ssh_configuration_is_another_mailbox() {
    let with = |ssh: &str| config(&format!(r#"{{"ssh":{ssh},{CLUSTER}}}"#)).router.state_dir;
    let own = with(r#"{"login_alias":"a"}"#);
    let other = with(r#"{"login_alias":"a","config_file":"/x"}"#);
    assert_ne!(own, other);
    assert_ne!(other, with(r#"{"login_alias":"a","config_file":"/y"}"#));
    assert_eq!(own, with(r#"{"login_alias":"a","config_file":null}"#));
}

#[test]
fn a_binary_to_deploy_is_not_used_by_the_local_backend() {
    assert_eq!(
        warnings(r#"{"cluster":{"binary":"/x"}}"#),
        [
            "c.json:1:22: cluster.binary: is not used by the local backend; set cluster.backend to \"slurm\", or take it out"
        ]
    );
}

fn asked(section: &SlurmSection, parameters: serde_json::Value) -> Result<SlurmSection, String> {
    let serde_json::Value::Object(parameters) = parameters else {
        panic!("not an object")
    };
    section.with(&parameters).map_err(|error| error.to_string())
}

#[test]
fn a_launchs_parameters_replace_what_the_file_says_for_it_alone() {
    let section = SlurmSection {
        partition: Some("batch".into()),
        qos: Some("normal".into()),
        sbatch_args: vec!["--exclusive".into()],
        template: Some("/job.sh".into()),
        poll_seconds: 60,
        ..SlurmSection::default()
    };
    assert_eq!(asked(&section, json!({})).as_ref(), Ok(&section));
    let launch = asked(
        &section,
        json!({"partition": "debug", "qos": null, "time_limit": "1:00:00", "sbatch_args": ["--mem=0"], "agents_per_node": 2}),
    );
    assert_eq!(
        launch,
        Ok(SlurmSection {
            partition: Some("debug".into()),
            qos: None,
            time_limit: Some("1:00:00".into()),
            sbatch_args: vec!["--mem=0".into()],
            agents_per_node: Some(2),
            ..section
        })
    );
    // As `--param time_limit=90` on a command line says it.
    let launch = asked(&SlurmSection::default(), json!({"time_limit": 90, "account": 272900})).unwrap();
    assert_eq!(
        (launch.time_limit.as_deref(), launch.account.as_deref()),
        (Some("90"), Some("272900"))
    );
}

#[test]
fn p12_a_launchs_parameters_are_refused_with_the_key_that_is_wrong() {
    let refused = |parameters| asked(&SlurmSection::default(), parameters).unwrap_err();
    assert_eq!(
        refused(json!({"particion": "x"})),
        "particion: unknown key; did you mean \"partition\"?"
    );
    assert!(refused(json!({"colour": 1})).contains("known here: account, agents_per_node"));
    assert_eq!(
        refused(json!({"agents_per_node": "2"})),
        "agents_per_node: expected a whole number from 1 to 1024, found the string \"2\"; write it without quotes"
    );
    assert!(refused(json!({"time_limit": "1h"})).starts_with("time_limit: is not a time limit"));
    assert!(refused(json!({"sbatch_args": ["--a", "b"]})).starts_with("sbatch_args[1]: is not an option"));
    assert!(refused(json!({"account": "a\nb"})).contains("control character"));
    for key in ["template", "poll_seconds"] {
        let said = refused(json!({key: 1}));
        assert!(said.starts_with(&format!("{key}: cannot be set by a launch")), "{said}");
    }
    assert!(refused(json!({"qoss": 1, "gres": true})).contains("; "), "all at once");
}

#[test]
fn what_a_launch_asked_for_is_stored_without_what_it_did_not() {
    let section = asked(&SlurmSection::default(), json!({"partition": "debug"})).unwrap();
    let stored = serde_json::to_value(&section).unwrap();
    assert_eq!(
        stored,
        json!({"partition": "debug", "sbatch_args": [], "poll_seconds": 30})
    );
    assert_eq!(serde_json::from_value::<SlurmSection>(stored).unwrap(), section);
}
