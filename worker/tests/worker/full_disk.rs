//! A disk that fills up under the worker: a limit on the size of its files stands for it (the same error path, EFBIG).

use std::process::Command;
use std::time::{Duration, Instant};

use crate::support::{Node, Worker, ends};
use codeswarm_protocol::record::Word;
use rustix::process::{Pid, Resource, Rlimit, Signal, prlimit};
use serde_json::json;

/// Starts a worker whose files can grow to about 50 or 100 KB (the shell's `ulimit` counts in blocks of its own).
fn start_with_little_room(node: &Node) -> Worker {
    let worker = node.command();
    let mut shell = Command::new("sh");
    shell
        .args(["-c", "trap '' XFSZ; ulimit -S -f 100; exec \"$0\""])
        .arg(worker.get_program());
    for (name, value) in worker.get_envs() {
        shell.env(name, value.unwrap_or_default());
    }
    node.spawn(shell)
}

fn give_room(worker: &Worker) {
    let pid = Pid::from_raw(i32::try_from(worker.pid()).unwrap());
    let unlimited = Rlimit {
        current: None,
        maximum: None,
    };
    prlimit(pid, Resource::Fsize, unlimited).unwrap();
}

fn wait_until_full(worker: &Worker) {
    let since = Instant::now();
    while !worker.log().contains("the outbox cannot be written") {
        assert!(since.elapsed() < Duration::from_secs(60), "{}", worker.log());
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn p9_records_wait_for_space_and_none_is_lost() {
    let node = Node::new();
    let worker = start_with_little_room(&node);
    node.prompt("long", "[[long bytes=6000000]]");
    wait_until_full(&worker);
    give_room(&worker);
    let records = node.wait_for("the word about the trouble", |record| {
        matches!(record.word, Word::WorkerError { .. })
    });
    let told = records.iter().find_map(|record| match &record.word {
        Word::WorkerError { message } => Some(message.as_str()),
        _ => None,
    });
    assert!(told.unwrap().contains("no space"), "{told:?}");
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
    assert_eq!(whole.len(), 6_000_000);
    assert!(
        deltas == whole,
        "text was lost: {} of {} bytes",
        deltas.len(),
        whole.len()
    );
    worker.terminate();
}

#[test]
fn p9_a_worker_that_cannot_write_its_end_says_so_and_the_next_life_goes_on() {
    let node = Node::with(json!({"worker": {"shutdown_grace_seconds": 2}}));
    let worker = start_with_little_room(&node);
    node.prompt("long", "[[long bytes=1000000]]");
    node.prompt("next", "hello");
    wait_until_full(&worker);
    worker.signal(Signal::TERM);
    let (status, out, log) = worker.end();
    assert_eq!((status.code(), out.as_str()), (Some(75), ""), "{log}");
    assert!(log.contains("was not archived"), "{log}");
    let worker = node.start();
    let records = node.wait("both ends", |records| {
        ["long", "next"]
            .iter()
            .all(|injection| records.iter().any(|record| ends(record, injection)))
    });
    for injection in ["long", "next"] {
        assert_eq!(
            records.iter().filter(|record| ends(record, injection)).count(),
            1,
            "{injection}"
        );
    }
    worker.terminate();
}
