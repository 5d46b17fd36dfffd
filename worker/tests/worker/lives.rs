//! A worker's lives: turns, deaths, signals, restarts.

use crate::support::{Node, about, ends, story};
use codeswarm_mailbox::doorbell::{self, Doorbell};
use codeswarm_protocol::record::{Word, WorkerRecord};
use codeswarm_protocol::turn::{ErrorClass, TurnStatus};
use codeswarm_protocol::{Epoch, InjectionId};
use serde_json::json;

#[test]
fn a_prompt_becomes_a_turn() {
    let node = Node::new();
    let worker = node.start();
    node.prompt("i1", "hello swarm");
    let records = node.wait_for("usage", |record| matches!(record.word, Word::Usage { .. }));
    assert_eq!(
        story(&records, "i1"),
        [
            "inject_received",
            "turn_started",
            "assistant_delta",
            "assistant",
            "turn_complete",
            "usage"
        ]
    );
    let Word::WorkerStart { pid, pid_started, .. } = &records[0].word else {
        panic!("{:?}", records[0])
    };
    assert_eq!(*pid, worker.pid());
    assert!(pid_started.is_some());
    let answer = records.iter().find_map(|record| match &record.word {
        Word::Assistant { content, .. } => Some(content.as_str()),
        _ => None,
    });
    assert_eq!(answer, Some("hello swarm"));
    worker.terminate();
}

#[test]
fn p7_sigterm_in_mid_turn_interrupts_reports_archives_and_exits_0() {
    let node = Node::new();
    let worker = node.start();
    node.prompt("running", "[[hang]]");
    node.wait_for("the turn", |record| matches!(record.word, Word::TurnStarted { .. }));
    node.prompt("waiting", "later");
    node.wait_for("the second prompt", |record| about(record, "waiting"));
    worker.terminate();
    assert!(node.is_archived());
    let records = node.records();
    let Some(Word::TurnComplete { status, error, .. }) = records
        .iter()
        .find(|record| ends(record, "running"))
        .map(|record| &record.word)
    else {
        panic!("{records:#?}")
    };
    assert_eq!(*status, TurnStatus::Interrupted);
    assert!(error.as_ref().unwrap().message.contains("sigterm"), "{error:?}");
    let Some(Word::InjectFailed { error, .. }) = records
        .iter()
        .find(|record| ends(record, "waiting"))
        .map(|record| &record.word)
    else {
        panic!("{records:#?}")
    };
    assert_eq!(error, "worker_exit");
    let inbox = std::fs::metadata(node.mailbox.inbox(&node.place)).unwrap().len();
    assert_eq!(
        records.last().unwrap().word,
        Word::WorkerExit {
            reason: "sigterm".to_owned(),
            inbox_offset: inbox
        }
    );
    assert_eq!(
        std::fs::read_dir(node.temporary()).unwrap().count(),
        0,
        "the agent's home was left"
    );
}

#[test]
fn p7_an_agent_that_hears_nothing_is_killed_within_the_grace() {
    let node = Node::with(json!({"worker": {"shutdown_grace_seconds": 3}}));
    let worker = node.start();
    node.prompt("running", "[[hang deaf]]");
    node.wait_for("the turn", |record| matches!(record.word, Word::TurnStarted { .. }));
    worker.terminate();
    assert!(node.is_archived());
    let records = node.records();
    let end = records.iter().find(|record| ends(record, "running")).unwrap();
    assert!(
        matches!(
            &end.word,
            Word::TurnComplete {
                status: TurnStatus::Interrupted,
                ..
            }
        ),
        "{end:?}"
    );
}

#[test]
fn p2_a_worker_killed_in_mid_turn_comes_back_and_runs_only_what_had_not_begun() {
    let node = Node::new();
    let worker = node.start();
    node.prompt("cut", "[[hang]]");
    node.prompt("waiting", "later");
    node.wait("both prompts", |records| {
        records
            .iter()
            .any(|record| matches!(record.word, Word::TurnStarted { .. }))
            && records.iter().any(|record| about(record, "waiting"))
    });
    worker.kill();
    let worker = node.start();
    let records = node.wait_for("the waiting prompt's end", |record| ends(record, "waiting"));
    let start = records.iter().find(|record| record.epoch == Epoch(2)).unwrap();
    let Word::WorkerStart { recovered, .. } = &start.word else {
        panic!("{start:?}")
    };
    assert_eq!(*recovered, [InjectionId::new("cut").unwrap()]);
    let end = records.iter().find(|record| ends(record, "cut")).unwrap();
    let Word::TurnComplete {
        status,
        error: Some(error),
        ..
    } = &end.word
    else {
        panic!("{end:?}")
    };
    assert_eq!((*status, error.class), (TurnStatus::Failed, ErrorClass::WorkerDied));
    assert_eq!(story(&records, "waiting")[..2], ["inject_received", "turn_started"]);
    assert!(
        records
            .iter()
            .any(|record| record.epoch == Epoch(2) && matches!(record.word, Word::AgentReady { resumed: true, .. })),
        "the thread was not resumed"
    );
    worker.terminate();
}

#[test]
fn p2_a_prompt_that_comes_twice_runs_once() {
    let node = Node::new();
    node.prompt("i1", "once");
    node.prompt("i1", "once");
    let worker = node.start();
    node.wait_for("the end", |record| ends(record, "i1"));
    node.prompt("i1", "once");
    node.prompt("i2", "last");
    let records = node.wait_for("the last", |record| ends(record, "i2"));
    let starts = records
        .iter()
        .filter(|record| about(record, "i1") && matches!(record.word, Word::TurnStarted { .. }));
    assert_eq!(starts.count(), 1);
    worker.terminate();
}

#[test]
fn a_second_worker_in_the_same_place_is_refused() {
    let node = Node::new();
    let first = node.start();
    node.wait_for("the first", |record| matches!(record.word, Word::AgentReady { .. }));
    let (status, out, log) = node.start().end();
    assert_eq!((status.code(), out.as_str()), (Some(75), ""), "{log}");
    assert!(log.contains("is being written by"), "{log}");
    node.prompt("i1", "still here");
    node.wait_for("the first's answer", |record| ends(record, "i1"));
    first.terminate();
}

#[test]
fn p12_bad_lines_are_reported_and_skipped() {
    let node = Node::new();
    let worker = node.start();
    node.append("this is not JSON");
    node.append(r#"{"type":"dance"}"#);
    node.append(r#"{"type":"user","injection_id":"no-text"}"#);
    node.prompt("empty", "  ");
    node.prompt("good", "hello");
    let records = node.wait_for("the good one", |record| ends(record, "good"));
    let errors: Vec<&str> = records
        .iter()
        .filter_map(|record| match &record.word {
            Word::WorkerError { message } => Some(message.as_str()),
            _ => None,
        })
        .collect();
    assert_eq!(errors.len(), 2, "{errors:?}");
    assert!(
        errors[0].contains("byte 0") && errors[0].contains("this is not JSON"),
        "{errors:?}"
    );
    assert!(
        errors[1].contains("byte 17") && errors[1].contains("dance"),
        "{errors:?}"
    );
    assert_eq!(story(&records, "no-text"), ["inject_failed"]);
    assert_eq!(story(&records, "empty"), ["inject_failed"]);
    worker.terminate();
}

#[test]
fn an_archived_outbox_goes_on_after_a_requeue() {
    let node = Node::new();
    let worker = node.start();
    node.prompt("i1", "first life");
    node.wait_for("its end", |record| ends(record, "i1"));
    worker.terminate();
    assert!(node.is_archived());
    // While nobody runs, a prompt arrives.
    node.prompt("i2", "second life");
    let worker = node.start();
    let records = node.wait_for("its end", |record| ends(record, "i2"));
    let start = records.iter().find(|record| record.epoch == Epoch(2)).unwrap();
    assert!(matches!(start.word, Word::WorkerStart { .. }), "{start:?}");
    assert_eq!(records.iter().filter(|record| ends(record, "i1")).count(), 1);
    worker.terminate();
    assert!(node.is_archived());
}

#[test]
fn p11_a_shutdown_that_was_obeyed_does_not_end_the_next_life() {
    let node = Node::new();
    let worker = node.start();
    node.append(r#"{"type":"shutdown"}"#);
    let (status, _, log) = worker.end();
    assert_eq!(status.code(), Some(0), "{log}");
    let worker = node.start();
    node.prompt("i1", "again");
    node.wait_for("the end", |record| ends(record, "i1"));
    worker.terminate();
}

#[test]
fn an_agent_that_dies_comes_back_and_its_prompt_has_failed() {
    let node = Node::new();
    let worker = node.start();
    node.prompt("dies", "[[crash]]");
    node.prompt("lives", "hello");
    let records = node.wait_for("the second", |record| ends(record, "lives"));
    let end = records.iter().find(|record| ends(record, "dies")).unwrap();
    let Word::TurnComplete {
        status,
        error: Some(error),
        ..
    } = &end.word
    else {
        panic!("{end:?}")
    };
    assert_eq!((*status, error.class), (TurnStatus::Failed, ErrorClass::AgentDied));
    assert!(
        records.iter().any(|record| matches!(
            record.word,
            Word::AgentExit {
                restart_in_ms: Some(1000),
                ..
            }
        )),
        "{records:#?}"
    );
    worker.terminate();
}

#[test]
fn a_turn_that_takes_too_long_fails() {
    let node = Node::with(json!({"agent": {"kind": "echo", "turn_timeout_seconds": 1}}));
    let worker = node.start();
    node.prompt("slow", "[[hang]]");
    let records = node.wait_for("the end", |record| ends(record, "slow"));
    let end = records.iter().find(|record| ends(record, "slow")).unwrap();
    let Word::TurnComplete { error: Some(error), .. } = &end.word else {
        panic!("{end:?}")
    };
    assert_eq!(error.class, ErrorClass::Timeout);
    worker.terminate();
}

#[test]
fn a_client_interrupts_the_running_and_the_waiting() {
    let node = Node::new();
    let worker = node.start();
    node.prompt("running", "[[hang]]");
    node.prompt("waiting", "never");
    node.wait_for("the turn", |record| matches!(record.word, Word::TurnStarted { .. }));
    node.append(r#"{"type":"control","payload":{"type":"interrupt","injection_id":"waiting"}}"#);
    node.append(r#"{"type":"control","payload":{"type":"interrupt"}}"#);
    let records = node.wait("both ends", |records| {
        records.iter().any(|record| ends(record, "running")) && records.iter().any(|record| ends(record, "waiting"))
    });
    assert_eq!(story(&records, "waiting"), ["inject_received", "inject_failed"]);
    let end = records.iter().find(|record| ends(record, "running")).unwrap();
    assert!(
        matches!(
            &end.word,
            Word::TurnComplete {
                status: TurnStatus::Interrupted,
                ..
            }
        ),
        "{end:?}"
    );
    worker.terminate();
}

#[test]
fn a_long_answer_arrives_whole() {
    let node = Node::new();
    let worker = node.start();
    node.prompt("long", "[[long bytes=1000000]]");
    let records = node.wait_for("the end", |record| ends(record, "long"));
    let mut deltas = String::new();
    let mut whole = "";
    for record in &records {
        match &record.word {
            Word::AssistantDelta { content, .. } => deltas.push_str(content),
            Word::Assistant { content, .. } => whole = content,
            _ => {}
        }
    }
    assert_eq!(whole.len(), 1_000_000);
    assert_eq!(deltas, whole, "joined deltas lost text");
    worker.terminate();
}

#[test]
fn a_launch_file_of_another_version_is_refused() {
    let node = Node::with(json!({"version": "9.9.9"}));
    let (status, out, log) = node.start().end();
    assert_eq!((status.code(), out.as_str()), (Some(78), ""), "{log}");
    assert!(
        log.contains("9.9.9") && log.contains(codeswarm_protocol::VERSION),
        "{log}"
    );
    assert!(node.records().is_empty());
}

#[test]
fn the_heartbeat_tells_who_lives() {
    let node = Node::with(json!({"worker": {"heartbeat_seconds": 1}}));
    let worker = node.start();
    node.wait_for("the agent", |record| matches!(record.word, Word::AgentReady { .. }));
    let since = std::time::Instant::now();
    let beat = loop {
        let text = codeswarm_mailbox::heartbeat::read(&node.mailbox, &node.place).unwrap();
        let beat: serde_json::Value = serde_json::from_slice(&text.unwrap_or_else(|| b"null".to_vec())).unwrap();
        if beat["doing"] == "idle" {
            break beat;
        }
        assert!(since.elapsed().as_secs() < 60, "{beat}");
        std::thread::sleep(std::time::Duration::from_millis(20));
    };
    assert_eq!(beat["pid"], worker.pid());
    assert_eq!(beat["epoch"], 1);
    worker.terminate();
}

#[test]
fn an_agent_that_cannot_be_started_ends_the_worker_with_its_prompts() {
    let node = Node::with(json!({"agent": {"kind": "codex", "command": ["/nowhere/codex"]}}));
    node.prompt("i1", "hello");
    let (status, out, log) = node.start().end();
    assert_eq!((status.code(), out.as_str()), (Some(78), ""), "{log}");
    assert!(node.is_archived());
    let records = node.records();
    let failed = records.iter().find(|record| ends(record, "i1")).unwrap();
    assert!(
        matches!(&failed.word, Word::InjectFailed { error, reason } if error == "agent_unusable" && reason.contains("/nowhere/codex")),
        "{failed:?}"
    );
    assert!(
        matches!(&records.last().unwrap().word, Word::WorkerExit { reason, .. } if reason == "agent_unusable"),
        "{records:#?}"
    );
}

#[test]
fn a_mailbox_that_other_machines_write_is_polled_and_synced() {
    let node = Node::new();
    let mut command = node.command();
    command.args(["--filesystem", "network"]);
    let worker = node.spawn(command);
    node.prompt("i1", "hello");
    node.wait_for("the first end", |record| ends(record, "i1"));
    node.prompt("i2", "again");
    node.wait_for("the second end", |record| ends(record, "i2"));
    worker.terminate();
    assert!(node.is_archived());
}

#[test]
fn p7_a_worker_that_is_told_to_end_before_it_has_begun_ends() {
    let node = Node::new();
    std::fs::remove_file(node.mailbox.launch_file(&node.place.job_id)).unwrap();
    let mut command = node.command();
    command.args(["--filesystem", "network"]);
    let worker = node.spawn(command);
    let since = std::time::Instant::now();
    while !worker.log().contains("the launch file is not there yet") {
        assert!(since.elapsed().as_secs() < 60, "{}", worker.log());
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    worker.terminate();
}

#[test]
fn a_terminal_that_closes_does_not_end_a_worker() {
    let node = Node::new();
    let worker = node.start();
    node.wait_for("the agent", |record| matches!(record.word, Word::AgentReady { .. }));
    worker.signal(rustix::process::Signal::HUP);
    node.prompt("i1", "hello");
    node.wait_for("the end", |record| ends(record, "i1"));
    worker.terminate();
}

#[test]
fn a_steering_prompt_ends_with_the_turn_that_it_joined() {
    let node = Node::new();
    let worker = node.start();
    node.prompt("main", "[[hang]]");
    node.wait_for("the turn", |record| matches!(record.word, Word::TurnStarted { .. }));
    node.append(&json!({"type": "user", "injection_id": "more", "content": "and this", "steer": true}).to_string());
    node.wait_for("the second to join", |record| {
        about(record, "more") && matches!(record.word, Word::TurnStarted { .. })
    });
    node.append(r#"{"type":"control","payload":{"type":"interrupt","injection_id":"more"}}"#);
    let records = node.wait("both ends", |records| {
        ["main", "more"]
            .iter()
            .all(|injection| records.iter().any(|record| ends(record, injection)))
    });
    let end = records.iter().find(|record| ends(record, "more")).unwrap();
    let Word::TurnComplete {
        status, steered_into, ..
    } = &end.word
    else {
        panic!("{end:?}")
    };
    assert_eq!(*status, TurnStatus::Interrupted);
    assert_eq!(*steered_into, InjectionId::new("main").ok(), "it had a turn of its own");
    worker.terminate();
}

#[test]
fn p1_many_steering_prompts_join_the_turn_in_order_and_once() {
    const STEERS: usize = 400;
    let node = Node::new();
    let steers = (0..STEERS).map(|number| {
        json!({"type": "user", "injection_id": format!("s{number}"), "content": "and this", "steer": true}).to_string()
    });
    let worker = node.start();
    node.wait_for("the agent", |record| matches!(record.word, Word::AgentReady { .. }));
    // One write, so that some are read while the turn's beginning is written.
    let main = json!({"type": "user", "injection_id": "main", "content": "[[hang]]"}).to_string();
    let lines: Vec<String> = std::iter::once(main).chain(steers).collect();
    node.append(&lines.join("\n"));
    let joined = |records: &[WorkerRecord]| -> Vec<String> {
        let starts = records
            .iter()
            .filter(|record| matches!(record.word, Word::TurnStarted { .. }));
        starts
            .filter_map(|record| Some(record.injection_id.as_ref()?.to_string()))
            .collect()
    };
    let records = node.wait("all to join", |records| joined(records).len() > STEERS);
    let expected: Vec<String> = (0..STEERS).map(|number| format!("s{number}")).collect();
    let started = joined(&records);
    assert_eq!(started[0], "main");
    assert_eq!(started[1..], expected);
    worker.terminate();
    assert_eq!(joined(&node.records()).len(), STEERS + 1);
}

#[test]
fn a_worker_without_a_way_to_the_doorbell_says_so_in_its_outbox() {
    let node = Node::new();
    // TCP has no way to a group of machines; the kernel says so at once.
    let told = Doorbell::new(vec!["224.0.0.1:9".parse().unwrap()], "login1".to_owned(), 7).unwrap();
    doorbell::write(&node.mailbox, &told).unwrap();
    let worker = node.start();
    node.wait_for(
        "the notice",
        |record| matches!(&record.word, Word::Notice { message } if message.contains("224.0.0.1:9")),
    );
    worker.terminate();
}

#[test]
fn p9_a_heartbeat_that_cannot_be_written_is_told_and_holds_up_nothing() {
    let node = Node::new();
    std::fs::create_dir(node.mailbox.heartbeat(&node.place)).unwrap();
    let worker = node.start();
    node.prompt("i1", "hello");
    node.wait_for("the end", |record| ends(record, "i1"));
    let since = std::time::Instant::now();
    while !worker.log().contains("the heartbeat could not be written") {
        assert!(since.elapsed().as_secs() < 60, "{}", worker.log());
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    worker.terminate();
}

#[test]
fn a_worker_of_a_group_s_mailbox_makes_folders_for_the_group_and_tells_of_slurm_s_restarts() {
    use std::os::unix::fs::PermissionsExt;
    let node = Node::new();
    let mut command = node.command();
    command
        .arg("--shared-with-group")
        .env("SLURM_RESTART_COUNT", "2")
        .env("RUST_LOG", "info");
    let worker = node.spawn(command);
    node.wait_for("the agent", |record| matches!(record.word, Word::AgentReady { .. }));
    let mode = std::fs::metadata(node.mailbox.run_dir(&node.place))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o770);
    assert!(
        worker.log().contains("Slurm has restarted this job"),
        "{}",
        worker.log()
    );
    worker.terminate();
}
