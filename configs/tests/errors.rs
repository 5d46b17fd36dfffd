//! What each mistake in a configuration is answered with, word for word.

use std::path::Path;

use codeswarm_configs::{ConfigError, Environment, parse};

/// The problems of a text without the file's name, which every line begins with.
fn problems(text: &str) -> Vec<String> {
    let environment = Environment::from_iter([("HOME", "/home/ada")]);
    let error = match parse(text, Path::new("c.json"), Path::new("/etc/swarm"), &environment) {
        Ok(loaded) => panic!("{text} is accepted as {:?}", loaded.config),
        Err(error) => error.to_string(),
    };
    let lines = error
        .lines()
        .filter(|line| !line.ends_with(" problems in the configuration:"));
    lines
        .map(|line| line.strip_prefix("c.json:").unwrap_or(line).to_owned())
        .collect()
}

#[track_caller]
fn assert_problem(text: &str, expected: &str) {
    assert_eq!(problems(text), [expected], "{text}");
}

#[test]
fn what_is_no_json() {
    assert_problem("", "1:1: the file is empty; the smallest configuration is `{}`");
    assert_problem(" \n\n", "1:1: the file is empty; the smallest configuration is `{}`");
    assert_problem("{} {}", "1:4: is not JSON: trailing characters");
    assert_problem("{\n  \"ssh\": {},\n}", "3:1: is not JSON: trailing comma");
    assert_problem(
        "{\n  // comment\n}",
        "2:3: is not JSON: key must be a string; JSON has no comments",
    );
    assert_problem(
        "{\n  \"router\": {",
        "2:13: is not JSON: EOF while parsing an object; a bracket, a brace or a quote is not closed",
    );
    assert_problem("[]", "1:1: is a list; a configuration is an object, `{…}`");
    assert_problem("3", "1:1: is the number 3; a configuration is an object, `{…}`");
}

#[test]
fn unknown_keys_name_the_nearest_known_one() {
    assert_problem(
        "{\n  \"router\": {\n    \"inject_timeout_secnds\": 60\n  }\n}",
        "3:5: router.inject_timeout_secnds: unknown key; did you mean \"inject_timeout_seconds\"?",
    );
    assert_problem(r#"{"Agent":{}}"#, "1:2: Agent: unknown key; did you mean \"agent\"?");
    assert_problem(
        r#"{"cluster":{"state_dir":"x"}}"#,
        r#"1:13: cluster.state_dir: unknown key; did you mean "router.state_dir"?"#,
    );
    assert_problem(
        r#"{"partition":"x"}"#,
        r#"1:2: partition: unknown key; did you mean "cluster.slurm.partition"?"#,
    );
    assert_problem(
        r#"{"worker":{"colour":1}}"#,
        "1:12: worker.colour: unknown key; known here: heartbeat_seconds, queue_limit, shutdown_grace_seconds",
    );
    assert_problem(
        r#"{"worker":{"a b":1}}"#,
        r#"1:12: worker["a b"]: unknown key; known here: heartbeat_seconds, queue_limit, shutdown_grace_seconds"#,
    );
}

#[test]
fn all_problems_come_at_once_in_their_order() {
    assert_eq!(
        problems("{\n\"rooter\":{},\n\"worker\":{\"heartbeat_seconds\":0},\n\"agent\":{\"kind\":\"ecco\"}}"),
        [
            r#"2:1: rooter: unknown key; did you mean "router"?"#,
            "3:31: worker.heartbeat_seconds: expected a whole number from 1 to 3600, found the number 0",
            r#"4:17: agent.kind: expected one of "echo", "codex", found the string "ecco"; did you mean "echo"?"#,
        ]
    );
}

#[test]
fn a_key_that_stands_twice() {
    assert_problem(
        "{\"router\":{},\n \"router\":{}}",
        "2:2: router: stands twice in the same object; keep one",
    );
    assert_problem(
        r#"{"agent":{"config":{"a":[{"b":1,"b":2}]}}}"#,
        "1:33: agent.config.a[0].b: stands twice in the same object; keep one",
    );
}

#[test]
fn wrong_types() {
    assert_problem(
        r#"{"router":60}"#,
        "1:11: router: expected an object, found the number 60",
    );
    assert_problem(
        r#"{"router":{"inject_timeout_seconds":"60"}}"#,
        r#"1:37: router.inject_timeout_seconds: expected a whole number from 1 to 31536000, found the string "60"; write it without quotes"#,
    );
    assert_problem(
        r#"{"router":{"inject_timeout_seconds":null}}"#,
        "1:37: router.inject_timeout_seconds: expected a whole number from 1 to 31536000, found `null`",
    );
    assert_problem(
        r#"{"router":{"inject_timeout_seconds":1.5}}"#,
        "1:37: router.inject_timeout_seconds: expected a whole number from 1 to 31536000, found the number 1.5",
    );
    assert_problem(
        r#"{"agent":{"raw_events":"true"}}"#,
        r#"1:24: agent.raw_events: expected true or false, found the string "true"; write it without quotes"#,
    );
    assert_problem(
        r#"{"agent":{"raw_events":"yes"}}"#,
        r#"1:24: agent.raw_events: expected true or false, found the string "yes""#,
    );
    assert_problem(
        r#"{"agent":{"command":"codex"}}"#,
        r#"1:21: agent.command: expected a list of strings, found the string "codex""#,
    );
    assert_problem(
        r#"{"agent":{"command":["codex",1]}}"#,
        "1:30: agent.command[1]: expected a string, found the number 1",
    );
    assert_problem(
        r#"{"agent":{"env":{"A":1}}}"#,
        "1:22: agent.env.A: expected a string, found the number 1",
    );
    assert_problem(
        r#"{"agent":{"config":[]}}"#,
        "1:20: agent.config: expected an object, found a list",
    );
    assert_problem(
        r#"{"ssh":"hpcfund"}"#,
        r#"1:8: ssh: expected an object, found the string "hpcfund""#,
    );
}

#[test]
fn numbers_out_of_range() {
    assert_problem(
        r#"{"router":{"inject_timeout_seconds":0}}"#,
        "1:37: router.inject_timeout_seconds: expected a whole number from 1 to 31536000, found the number 0",
    );
    assert_problem(
        r#"{"router":{"max_prompt_bytes":-1}}"#,
        "1:31: router.max_prompt_bytes: expected a whole number from 1 to 10485760, found the number -1",
    );
    assert_problem(
        r#"{"worker":{"heartbeat_seconds":0}}"#,
        "1:32: worker.heartbeat_seconds: expected a whole number from 1 to 3600, found the number 0",
    );
    assert_problem(
        r#"{"agent":{"turn_timeout_seconds":99999999999}}"#,
        "1:34: agent.turn_timeout_seconds: expected a whole number from 1 to 31536000, found the number 99999999999",
    );
    assert_problem(
        r#"{"agent":{"turn_timeout_seconds":1e999}}"#,
        "1:38: is not JSON: number out of range",
    );
    assert_problem(
        r#"{"cluster":{"slurm":{"agents_per_node":0}}}"#,
        "1:40: cluster.slurm.agents_per_node: expected a whole number from 1 to 1024, found the number 0",
    );
}

#[test]
fn unknown_words_name_the_nearest_one() {
    assert_problem(
        r#"{"cluster":{"backend":"slrum"}}"#,
        r#"1:23: cluster.backend: expected one of "local", "slurm", found the string "slrum"; did you mean "slurm"?"#,
    );
    assert_problem(
        r#"{"agent":{"sandbox":"workspaceWrite"}}"#,
        r#"1:21: agent.sandbox: expected one of "read-only", "workspace-write", "danger-full-access", found the string "workspaceWrite"; did you mean "workspace-write"?"#,
    );
    assert_problem(
        r#"{"agent":{"approval_policy":"on-failure"}}"#,
        r#"1:29: agent.approval_policy: expected one of "untrusted", "on-request", "never", found the string "on-failure""#,
    );
    assert_problem(
        r#"{"agent":{"kind":"gpt"}}"#,
        r#"1:18: agent.kind: expected one of "echo", "codex", found the string "gpt""#,
    );
    assert_problem(
        r#"{"cluster":{"watch":true}}"#,
        r#"1:21: cluster.watch: expected one of "auto", "inotify", "poll", found `true`"#,
    );
}

#[test]
fn missing_and_empty_values() {
    assert_problem(
        r#"{"ssh":{},"cluster":{"workspace_root":"/w"}}"#,
        "1:8: ssh.login_alias: is missing; expected a string",
    );
    assert_problem(
        "{\"ssh\":{\"login_alias\":\"a\"},\n\"cluster\":{}}",
        "2:11: cluster.workspace_root: is missing; with Slurm it is the absolute path of a folder that login node and compute nodes share",
    );
    assert_problem(
        r#"{"ssh":{"login_alias":"a"}}"#,
        "1:1: cluster.workspace_root: is missing; with Slurm it is the absolute path of a folder that login node and compute nodes share",
    );
    assert_problem(r#"{"ssh":{"login_alias":""}}"#, "1:23: ssh.login_alias: is empty");
    assert_problem(
        r#"{"agent":{"model":""}}"#,
        "1:19: agent.model: is empty; leave the key out if it has no value",
    );
    assert_problem(
        r#"{"agent":{"kind":"codex","command":[]}}"#,
        "1:36: agent.command: is empty; its first item is the program",
    );
    assert_problem(
        r#"{"agent":{"kind":"codex","command":[""]}}"#,
        "1:37: agent.command[0]: is empty; it is the program",
    );
}

#[test]
fn values_that_would_be_dangerous_or_cannot_be_meant() {
    assert_problem(
        r#"{"ssh":{"login_alias":"-oProxyCommand=x"},"cluster":{"workspace_root":"/w"}}"#,
        "1:23: ssh.login_alias: begins with `-`, which ssh would take for an option",
    );
    assert_problem(
        r#"{"ssh":{"login_alias":"a"},"cluster":{"workspace_root":"~/w"}}"#,
        "1:56: cluster.workspace_root: is a path on the cluster and must be absolute; `~` and relative paths are not expanded there",
    );
    assert_problem(
        r#"{"cluster":{"workspace_root":"/w","cluster_subdir":"../x"}}"#,
        "1:52: cluster.cluster_subdir: is not a folder below workspace_root; write it without `/` first, `.` and `..`",
    );
    assert_problem(
        r#"{"cluster":{"workspace_root":"/w\n"}}"#,
        "1:30: cluster.workspace_root: has the control character '\\n'",
    );
    assert_problem(
        r#"{"cluster":{"workspace_root":"${NOT_SET}/w"}}"#,
        "1:30: cluster.workspace_root: refers to `${NOT_SET}`, which is not set",
    );
    assert_problem(
        r#"{"router":{"state_dir":"~grace/x"}}"#,
        "1:24: router.state_dir: begins with `~` and a name; only `~/` is expanded",
    );
    assert_problem(
        r#"{"cluster":{"backend":"slurm","workspace_root":"/w","slurm":{"time_limit":"1h"}}}"#,
        r#"1:75: cluster.slurm.time_limit: is not a time limit; write minutes ("90"), "hours:minutes:seconds" or "days-hours:minutes:seconds""#,
    );
    assert_problem(
        r#"{"cluster":{"backend":"slurm","workspace_root":"/w","slurm":{"sbatch_args":["--a","b c"]}}}"#,
        r#"1:83: cluster.slurm.sbatch_args[1]: is not an option; write option and value in one string, such as "--reservation=tuesday""#,
    );
    assert_problem(
        r#"{"agent":{"env":{"A":"${B"}}}"#,
        "1:22: agent.env.A: has `${` without its `}`",
    );
    assert_problem(
        r#"{"agent":{"env":{"A":"${B:-c}"}}}"#,
        "1:22: agent.env.A: refers to `${B:-c}`; a variable's name has letters, digits and `_`, and no digit first",
    );
    assert_problem(
        r#"{"agent":{"env":{"A=B":"c"}}}"#,
        r#"1:24: agent.env["A=B"]: is not a variable of an environment; a name has no `=`, and neither name nor value a NUL"#,
    );
    assert_problem(
        r#"{"ssh":{"login_alias":"a"},"cluster":{"workspace_root":"/w"},"agent":{"command":["bin/codex"]}}"#,
        "1:82: agent.command[0]: is a path on the cluster and must be absolute; `~` and relative paths are not expanded there; or write a program's name alone, to be found on the PATH there",
    );
}

#[test]
fn a_key_in_the_place_of_its_variables_name_is_not_repeated() {
    assert_problem(
        r#"{"agent":{"api_key_env":"sk-abc"}}"#,
        "1:25: agent.api_key_env: is not the name of a variable; write the variable's name here, never the key",
    );
}

#[test]
fn no_damaged_file_is_worse_than_refused() {
    let text = include_str!("../slurm-codex.json").replace("mycluster", "mÿclüster€😀");
    let environment = Environment::from_iter([("HOME", "/home/ada")]);
    let lines = text.lines().count();
    let check = |damaged: &str| {
        if let Err(error) = parse(damaged, Path::new("c.json"), Path::new("/"), &environment) {
            let ConfigError::Wrong(findings) = error else {
                panic!("{error}")
            };
            assert!(!findings.is_empty(), "{damaged}");
            for finding in findings {
                let (line, column) = (finding.position.line, finding.position.column);
                let width = damaged.split('\n').nth(line - 1).unwrap_or_default().chars().count();
                assert!(
                    line <= lines + 1 && (1..=width + 1).contains(&column),
                    "{finding} in {damaged}"
                );
            }
        }
    };
    for (offset, character) in text.char_indices() {
        let (before, from) = text.split_at(offset);
        let after = &from[character.len_utf8()..];
        check(before);
        check(&format!("{before}{after}"));
        for inserted in ["\"", "{", "]", ",", "\\", "0", "\n", "\0", "é"] {
            check(&format!("{before}{inserted}{from}"));
        }
    }
}

#[test]
fn a_binary_is_deployed_or_installed_not_both() {
    assert_problem(
        r#"{"ssh":{"login_alias":"a"},"cluster":{"workspace_root":"/w","binary":"/here/c","remote_binary":"/there/c"}}"#,
        "1:70: cluster.binary: stands beside cluster.remote_binary; keep this one to have it deployed, or that one to run what is installed",
    );
}

#[test]
fn squeue_is_asked_once_in_a_second_at_most() {
    assert_problem(
        r#"{"cluster":{"slurm":{"poll_seconds":0}}}"#,
        "1:37: cluster.slurm.poll_seconds: expected a whole number from 1 to 3600, found the number 0",
    );
}
