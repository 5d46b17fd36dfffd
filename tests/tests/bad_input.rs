//! What is wrong is refused with a clear word and changes nothing (P12); who does not read hinders nobody (P8).

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;

use codeswarm_tests::processes::peak_memory;
use codeswarm_tests::router::{RouterProcess, Swarm};
use codeswarm_tests::schema::assert_flat_events;
use codeswarm_tests::stream::{assert_every_record_once, assert_in_order};
use codeswarm_tests::workspace::Workspace;
use serde_json::{Value, json};

const MIB: u64 = 1 << 20;

/// A line, and what must be said about it.
struct Bad {
    line: Vec<u8>,
    code: &'static str,
    field: Option<&'static str>,
    request_id: Option<&'static str>,
}

/// A command that names itself.
fn bad(command: Value, code: &'static str, field: impl Into<Option<&'static str>>) -> Bad {
    let mut command = command;
    command["request_id"] = json!("bad");
    Bad {
        line: command.to_string().into_bytes(),
        code,
        field: field.into(),
        request_id: Some("bad"),
    }
}

/// A line whose name cannot be read.
fn nameless(line: impl Into<Vec<u8>>, code: &'static str, field: impl Into<Option<&'static str>>) -> Bad {
    Bad {
        line: line.into(),
        code,
        field: field.into(),
        request_id: None,
    }
}

/// All that a refused command must leave as it is.
fn everything(workspace: &Workspace, router: &mut RouterProcess, swarm: &Swarm) -> (Value, Value, Vec<String>) {
    let list = router.asked(json!({"command": "swarm_list"}), "swarm_list")["swarms"].clone();
    let status = json!({"command": "swarm_status", "swarm_id": swarm.swarm_id});
    let mut nodes = router.asked(status, "swarm_status")["nodes"].clone();
    for node in nodes.as_array_mut().unwrap() {
        // A worker says that it lives whatever is refused.
        node.as_object_mut().unwrap().remove("heartbeat_at");
    }
    let files = workspace.mailbox_files();
    let mut shown: Vec<_> = files
        .iter()
        .map(|(path, content)| format!("{}: {}", path.display(), String::from_utf8_lossy(content)))
        .collect();
    let runs = std::fs::read_dir(workspace.path().join("shared/codeswarm/runs")).unwrap();
    shown.extend(runs.map(|run| run.unwrap().path().display().to_string()));
    (list, nodes, shown)
}

/// Sends each line to a router that serves itself and to one that relays, and checks its one answer.
fn assert_refused(cases: impl Fn(&Swarm) -> Vec<Bad>) {
    let workspace = Workspace::echo();
    let mut serving = RouterProcess::daemon(&workspace);
    let swarm = serving.launch_ready(2);
    serving.turn(&swarm, 0, "before");
    serving.wait_for("the turn's last record", |event| event["type"] == "usage");
    let before = everything(&workspace, &mut serving, &swarm);
    let mut relaying = RouterProcess::spawn(&workspace, &[]);
    relaying.ping();
    for router in [&mut serving, &mut relaying] {
        for case in cases(&swarm) {
            let shown = String::from_utf8_lossy(&case.line[..case.line.len().min(300)]).into_owned();
            let mark = router.mark();
            router.send_raw(&case.line);
            router.send_raw(b"\n");
            router.ping();
            let answers = router.lines().split_off(mark);
            let [refusal, pong] = &answers[..] else {
                panic!("{shown}: {answers:#?}")
            };
            assert_eq!(
                (&refusal["type"], &pong["type"]),
                (&json!("command_rejected"), &json!("pong")),
                "{shown}"
            );
            assert_eq!(refusal["code"], case.code, "{shown}: {refusal}");
            assert_eq!(refusal["field"].as_str(), case.field, "{shown}: {refusal}");
            assert_eq!(refusal["request_id"].as_str(), case.request_id, "{shown}: {refusal}");
            let reason = refusal["reason"].as_str().unwrap();
            assert!(reason.contains(case.field.unwrap_or(" ")), "{shown}: {refusal}");
            assert!(reason.len() < 1000, "{shown}: a reason of {} bytes", reason.len());
        }
        assert_flat_events(&router.lines());
    }
    assert_eq!(
        everything(&workspace, &mut serving, &swarm),
        before,
        "a refused command changed something"
    );
    assert_eq!(serving.turn(&swarm, 1, "after")["status"], "completed");
}

#[test]
fn p12_what_is_no_command_is_refused() {
    assert_refused(|_| {
        vec![
            nameless("hello", "not_json", None),
            nameless("[1, 2]", "not_json", None),
            nameless("17", "not_json", None),
            nameless("null", "not_json", None),
            nameless(r#""inject""#, "not_json", None),
            nameless(r#"{"command":"ping""#, "not_json", None),
            nameless(r#"{"command":"ping"}{"command":"ping"}"#, "not_json", None),
            nameless(b"{\"command\":\"p\xff\xfeing\"}".as_slice(), "not_json", None),
            nameless(b"\0\0\0\0".as_slice(), "not_json", None),
            nameless(b"{\"command\":\"pi\0ng\"}".as_slice(), "not_json", None),
            nameless("{\"a\":".repeat(100_000), "not_json", None),
            nameless(r#"{"content":"hello"}"#, "missing_field", "command"),
            nameless("{}", "missing_field", "command"),
            bad(json!({"command": "swarm_destroy"}), "unknown_command", "command"),
            bad(json!({"command": "inject\n"}), "unknown_command", "command"),
            bad(json!({"command": "x".repeat(100_000)}), "unknown_command", "command"),
            bad(json!({"command": 17}), "bad_field", "command"),
            bad(json!({"command": null}), "bad_field", "command"),
            bad(json!({"action": ["ping"]}), "bad_field", "command"),
            nameless(r#"{"command":"ping","request_id":17}"#, "bad_field", "request_id"),
            nameless(r#"{"command":"ping","request_id":""}"#, "bad_field", "request_id"),
            nameless(
                r#"{"command":"ping","request_id":"a\u0000b"}"#,
                "bad_field",
                "request_id",
            ),
            nameless(
                format!(r#"{{"command":"ping","request_id":"{}"}}"#, "x".repeat(129)),
                "bad_field",
                "request_id",
            ),
        ]
    });
}

#[test]
fn p12_missing_and_mistyped_fields_are_named() {
    assert_refused(|swarm| {
        let id = &swarm.swarm_id;
        let inject = |nodes: Value| json!({"command": "inject", "swarm_id": id, "nodes": nodes, "content": "x"});
        vec![
            bad(
                json!({"command": "inject", "swarm_id": id, "nodes": 0}),
                "missing_field",
                "content",
            ),
            bad(
                json!({"command": "inject", "swarm_id": id, "content": "x"}),
                "missing_field",
                "nodes",
            ),
            bad(
                json!({"command": "inject", "nodes": 0, "content": "x"}),
                "missing_field",
                "swarm_id",
            ),
            bad(
                json!({"command": "inject", "swarm_id": id, "nodes": 0, "content": 17}),
                "bad_field",
                "content",
            ),
            bad(
                json!({"command": "inject", "swarm_id": id, "nodes": 0, "content": null}),
                "bad_field",
                "content",
            ),
            bad(
                json!({"command": "inject", "swarm_id": id, "nodes": 0, "content": "x", "steer": "yes"}),
                "bad_field",
                "steer",
            ),
            bad(
                json!({"command": "inject", "swarm_id": 1, "nodes": 0, "content": "x"}),
                "bad_field",
                "swarm_id",
            ),
            bad(
                json!({"command": "inject", "job_id": swarm.job_id, "node_id": "zero", "content": "x"}),
                "bad_field",
                "node_id",
            ),
            bad(inject(json!(-1)), "bad_field", "nodes"),
            bad(inject(json!(0.5)), "bad_field", "nodes"),
            bad(inject(json!(1e99)), "bad_field", "nodes"),
            bad(inject(json!({"0": true})), "bad_field", "nodes"),
            bad(inject(json!("some")), "bad_field", "nodes"),
            bad(inject(json!("1-0")), "bad_field", "nodes"),
            bad(inject(json!("")), "bad_field", "nodes"),
            bad(inject(json!([])), "bad_field", "nodes"),
            bad(inject(json!([0, "1"])), "bad_field", "nodes"),
            bad(inject(json!(true)), "bad_field", "nodes"),
            bad(
                json!({"command": "inject", "swarm_id": id, "nodes": 0, "node_id": 0, "content": "x"}),
                "bad_field",
                "node_id",
            ),
            bad(json!({"command": "swarm_launch"}), "missing_field", "nodes"),
            bad(json!({"command": "swarm_launch", "nodes": 0}), "bad_field", "nodes"),
            bad(json!({"command": "swarm_launch", "nodes": -4}), "bad_field", "nodes"),
            bad(json!({"command": "swarm_launch", "nodes": "4"}), "bad_field", "nodes"),
            bad(
                json!({"command": "swarm_launch", "nodes": 1_000_000_000}),
                "bad_field",
                "nodes",
            ),
            bad(
                json!({"command": "swarm_launch", "nodes": 1, "system_prompt": 1}),
                "bad_field",
                "system_prompt",
            ),
            bad(
                json!({"command": "swarm_launch", "nodes": 1, "system_prompt": " "}),
                "empty_prompt",
                "system_prompt",
            ),
            bad(
                json!({"command": "swarm_launch", "nodes": 1, "provider": "cloud"}),
                "provider",
                "provider",
            ),
            bad(
                json!({"command": "swarm_launch", "nodes": 1, "provider_params": {"x": 1}}),
                "provider",
                "provider_params",
            ),
            bad(
                json!({"command": "swarm_launch", "nodes": 1, "provider_params": "x"}),
                "bad_field",
                "provider_params",
            ),
            bad(json!({"command": "swarm_status"}), "missing_field", "swarm_id"),
            bad(json!({"command": "swarm_terminate"}), "missing_field", "swarm_id"),
            bad(
                json!({"command": "approve_execution", "swarm_id": id, "nodes": 0, "decision": "accept"}),
                "missing_field",
                "call_id",
            ),
            bad(
                json!({"command": "approve_execution", "swarm_id": id, "nodes": 0, "call_id": "c"}),
                "missing_field",
                "decision",
            ),
            bad(
                json!({"command": "approve_execution", "swarm_id": id, "nodes": 0, "call_id": "c", "decision": "maybe"}),
                "bad_field",
                "decision",
            ),
            bad(
                json!({"command": "approve_execution", "swarm_id": id, "nodes": 0, "call_id": "c", "decision": "accept", "approved": false}),
                "bad_field",
                "approved",
            ),
            bad(
                json!({"command": "approve_execution", "swarm_id": id, "nodes": 0, "call_id": "c".repeat(5000), "approved": true}),
                "bad_field",
                "call_id",
            ),
            bad(
                json!({"command": "subscribe", "since": "yesterday"}),
                "bad_field",
                "since",
            ),
            bad(json!({"command": "subscribe", "since": -1}), "bad_field", "since"),
            bad(
                json!({"command": "subscribe", "swarm_id": id, "since": {"7": 0}}),
                "bad_field",
                "since",
            ),
            bad(
                json!({"command": "subscribe", "since": {"../../etc_00": 0}}),
                "bad_field",
                "since",
            ),
        ]
    });
}

#[test]
fn p12_unknown_targets_and_hostile_ids_are_refused() {
    assert_refused(|swarm| {
        let id = &swarm.swarm_id;
        let job = |job: &str| json!({"action": "inject", "job_id": job, "node_id": 0, "content": "x"});
        let to = |swarm: &str| json!({"command": "inject", "swarm_id": swarm, "nodes": 0, "content": "x"});
        let mut cases = vec![
            bad(to("nobody"), "unknown_swarm", "swarm_id"),
            bad(job("272900"), "unknown_job", "job_id"),
            bad(
                json!({"command": "inject", "swarm_id": id, "job_id": "272900", "nodes": 0, "content": "x"}),
                "bad_field",
                "job_id",
            ),
            bad(
                json!({"command": "inject", "swarm_id": id, "nodes": 2, "content": "x"}),
                "node_out_of_range",
                "nodes",
            ),
            bad(
                json!({"command": "inject", "swarm_id": id, "nodes": "0-2", "content": "x"}),
                "node_out_of_range",
                "nodes",
            ),
            bad(
                json!({"command": "inject", "swarm_id": id, "nodes": [0, 1, 2], "content": "x"}),
                "node_out_of_range",
                "nodes",
            ),
            bad(
                json!({"command": "inject", "swarm_id": id, "nodes": "0-99999", "content": "x"}),
                "node_out_of_range",
                "nodes",
            ),
            bad(
                json!({"action": "inject", "job_id": swarm.job_id, "node_id": 2, "content": "x"}),
                "node_out_of_range",
                "node_id",
            ),
            bad(
                json!({"command": "inject", "swarm_id": id, "nodes": "0-99999999999999", "content": "x"}),
                "bad_field",
                "nodes",
            ),
            bad(
                json!({"command": "interrupt", "swarm_id": id, "nodes": 5}),
                "node_out_of_range",
                "nodes",
            ),
            bad(
                json!({"command": "interrupt", "swarm_id": id, "nodes": 0, "injection_id": "../x"}),
                "bad_field",
                "injection_id",
            ),
            bad(
                json!({"command": "approve_execution", "swarm_id": id, "nodes": 2, "call_id": "c", "approved": true}),
                "node_out_of_range",
                "nodes",
            ),
            bad(
                json!({"command": "swarm_status", "swarm_id": "nobody"}),
                "unknown_swarm",
                "swarm_id",
            ),
            bad(
                json!({"command": "swarm_terminate", "swarm_id": "nobody"}),
                "unknown_swarm",
                "swarm_id",
            ),
            bad(
                json!({"command": "subscribe", "swarm_id": "nobody"}),
                "unknown_swarm",
                "swarm_id",
            ),
        ];
        let long = "x".repeat(129);
        for hostile in [
            "../../etc",
            "..",
            ".",
            ".hidden",
            "/etc/passwd",
            "a/b",
            "a b",
            "a\nb",
            "a\u{0}b",
            "$(id)",
            "é",
            "",
            &long,
        ] {
            cases.push(bad(job(hostile), "bad_field", "job_id"));
            cases.push(bad(to(hostile), "bad_field", "swarm_id"));
            cases.push(bad(
                json!({"command": "swarm_terminate", "swarm_id": hostile}),
                "bad_field",
                "swarm_id",
            ));
        }
        cases
    });
}

#[test]
fn p12_empty_and_too_long_prompts_and_lines_are_refused() {
    assert_refused(|swarm| {
        let inject =
            |content: String| json!({"command": "inject", "swarm_id": swarm.swarm_id, "nodes": 0, "content": content});
        let limit = 8 * MIB as usize;
        vec![
            bad(inject(String::new()), "empty_prompt", "content"),
            bad(inject(" \n\t ".into()), "empty_prompt", "content"),
            bad(inject("x".repeat(limit + 1)), "prompt_too_long", "content"),
            // Fewer characters than the limit, but more bytes.
            bad(inject("é".repeat(limit / 2 + 1)), "prompt_too_long", "content"),
        ]
    });
}

#[test]
fn p12_a_line_of_100_mb_is_read_away() {
    let workspace = Workspace::echo();
    let mut serving = RouterProcess::daemon(&workspace);
    let swarm = serving.launch_ready(1);
    let mut relaying = RouterProcess::daemon(&workspace);
    relaying.ping();
    let megabyte = vec![b'x'; MIB as usize];
    for router in [&mut serving, &mut relaying] {
        router.send_raw(br#"{"command":"inject","content":""#);
        for _ in 0..100 {
            router.send_raw(&megabyte);
        }
        router.send_raw(b"\"}\n");
        let refusal = router.wait_for("the refusal", |event| event["type"] == "command_rejected");
        assert_eq!(refusal["code"], "line_too_long");
        assert!(refusal["reason"].as_str().unwrap().contains("104857"), "{refusal}");
        assert_eq!(router.turn(&swarm, 0, "after it")["status"], "completed");
        assert_flat_events(&router.lines());
        // A line of six bytes for each byte of the longest prompt may be held while it comes in.
        let peak = peak_memory(router.pid()) / MIB;
        assert!(peak < 160, "{peak} MiB");
    }
}

#[test]
fn p12_ten_thousand_commands_at_once_are_all_answered() {
    let workspace = Workspace::echo();
    let mut router = RouterProcess::daemon(&workspace);
    let swarm = router.launch_ready(2);
    let command = |n: usize| match n % 10 {
        0 => {
            json!({"command": "inject", "swarm_id": swarm.swarm_id, "nodes": n / 10 % 2, "content": format!("number {n}")})
        }
        1 => json!({"command": "inject", "swarm_id": swarm.swarm_id, "nodes": 2, "content": "nobody"}),
        2 => json!({"command": "swarm_list"}),
        _ => json!({"command": "ping"}),
    };
    let lines: String = (0..10_000)
        .map(|n| {
            let mut command = command(n);
            command["request_id"] = json!(format!("n{n}"));
            format!("{command}\n")
        })
        .collect();
    router.send_raw(lines.as_bytes());
    // The reading went on while they were written; the last prompt's last record comes last.
    for n in [9_980, 9_990] {
        let request = format!("n{n}");
        router.wait_for("the last records", |event| {
            event["type"] == "usage" && event["request_id"] == request.as_str()
        });
    }
    let events = router.lines();
    for (kind, wanted, each) in [
        ("pong", 3..10, 7_000),
        ("swarm_list", 2..3, 1_000),
        ("command_rejected", 1..2, 1_000),
        ("inject_ack", 0..1, 1_000),
        ("turn_complete", 0..1, 1_000),
    ] {
        let answers = events.iter().filter(|event| event["type"] == kind);
        let numbers = answers.map(|event| event["request_id"].as_str().unwrap()[1..].parse::<usize>().unwrap());
        let mut numbers: Vec<_> = numbers.collect();
        assert_eq!(numbers.len(), each, "{kind}");
        if kind == "turn_complete" {
            // The two nodes work side by side.
            numbers.sort_unstable();
        }
        let expected: Vec<_> = (0..10_000).filter(|n| wanted.contains(&(n % 10))).collect();
        assert_eq!(numbers, expected, "{kind}: answered in the order of the commands");
    }
    for node in 0..2 {
        assert_in_order(&events, &swarm.job_id, node);
        assert_every_record_once(&events, &workspace.records(&swarm.job_id, node), &swarm.job_id, node);
    }
    let peak = peak_memory(router.pid()) / MIB;
    assert!(peak < 96, "{peak} MiB");
}

#[test]
fn p8_a_client_that_never_reads_hinders_nobody() {
    let workspace = Workspace::echo();
    let mut router = RouterProcess::daemon(&workspace);
    router.follow_all();
    let swarm = router.launch_ready(1);
    let mut silent = UnixStream::connect(workspace.socket()).unwrap();
    let subscribe = json!({"command": "subscribe", "request_id": "all", "since": 0});
    let inject =
        json!({"command": "inject", "request_id": "own", "swarm_id": swarm.swarm_id, "nodes": 0, "content": "its own"});
    silent.write_all(format!("{subscribe}\n{inject}\n").as_bytes()).unwrap();
    router.wait_for("the silent one's turn", |event| {
        event["type"] == "usage" && event["request_id"] == "own"
    });
    // Far more than fits into the socket and the queue behind it, in several kinds of events.
    for _ in 0..3 {
        let turn = router.turn(&swarm, 0, "[[echo deltas=10000 at once]] [[long bytes=1000000]]");
        assert_eq!(turn["status"], "completed");
    }
    let peak = peak_memory(router.pid()) / MIB;
    assert!(peak < 96, "{peak} MiB");
    // Then it reads after all: everything is there, once, and its later command is carried out as well.
    let late =
        json!({"command": "inject", "request_id": "late", "swarm_id": swarm.swarm_id, "nodes": 0, "content": "late"});
    silent.write_all(format!("{late}\n").as_bytes()).unwrap();
    let mut events = Vec::new();
    for line in BufReader::new(&silent).lines() {
        let event: Value = serde_json::from_str(&line.unwrap()).unwrap();
        let last = event["request_id"] == "late" && event["type"] == "usage";
        events.push(event);
        if last {
            break;
        }
    }
    assert_flat_events(&events);
    assert_in_order(&events, &swarm.job_id, 0);
    assert_every_record_once(&events, &workspace.records(&swarm.job_id, 0), &swarm.job_id, 0);
    for request in ["own", "late"] {
        for kind in ["inject_ack", "inject_delivered", "turn_complete"] {
            let found = events
                .iter()
                .filter(|event| event["request_id"] == request && event["type"] == kind);
            assert_eq!(found.count(), 1, "{request}: {kind}");
        }
    }
}
