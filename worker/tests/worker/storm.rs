//! A worker that is killed again and again, at any moment.

use std::time::Duration;

use codeswarm_protocol::record::Word;

use crate::support::{Node, about, ends};

/// Moments to kill at, in milliseconds from a start: from before it has opened its outbox to amid its turns.
const MOMENTS: [u64; 16] = [0, 2, 4, 6, 8, 10, 13, 16, 20, 25, 30, 40, 50, 70, 100, 150];

#[test]
fn p2_p5_p6_a_worker_killed_at_any_moment_runs_each_prompt_once_at_most_and_ends_it_once() {
    let node = Node::new();
    let mut prompts = Vec::new();
    for (life, moment) in MOMENTS.into_iter().enumerate() {
        let worker = node.start();
        for number in 0..3 {
            let name = format!("i{life}-{number}");
            node.prompt(&name, "[[echo deltas=8 pace_ms=2]]");
            prompts.push(name);
        }
        std::thread::sleep(Duration::from_millis(moment));
        worker.kill();
    }
    let worker = node.start();
    let records = node.wait("the end of every prompt", |records| {
        prompts
            .iter()
            .all(|name| records.iter().any(|record| ends(record, name)))
    });
    worker.terminate();
    for name in &prompts {
        let started = records
            .iter()
            .filter(|record| about(record, name) && matches!(record.word, Word::TurnStarted { .. }));
        assert!(started.count() <= 1, "{name} was started twice");
        assert_eq!(records.iter().filter(|record| ends(record, name)).count(), 1, "{name}");
    }
}
