//! `restart`: a router starts with a thousand swarms and a million records behind it.

use std::process::{Command, Stdio};
use std::time::Instant;

use serde_json::json;

use super::figures::{Figures, Unit};
use super::outboxes::{self, place};
use super::played::PlayedSwarm;
use super::report::{Report, Table};
use super::usage::Usage;
use super::{Experiment, Lab};

pub(super) const EXPERIMENT: Experiment = Experiment {
    name: "restart",
    about: "the start of a router with 1,000 swarms and a million records behind it",
    cluster: false,
    run,
};

/// The first job's number.
const FIRST: u32 = 5000;

fn run(lab: &Lab) -> Report {
    let (swarms, bytes) = lab.size((1000, 265_000), (12, 10_000));
    let played = PlayedSwarm::new(1, "inotify");
    let mailbox = played.mailbox();
    mailbox.create().unwrap_or_else(|error| panic!("{error}"));
    lab.tell("writing outboxes");
    let (mut records, mut size) = (0, 0);
    for job in FIRST..FIRST + swarms {
        let place = place(&job.to_string(), 0);
        mailbox
            .prepare(&place.job_id, 1)
            .unwrap_or_else(|error| panic!("{error}"));
        let written = outboxes::write(&mailbox.outbox(&place), place, bytes);
        records += written.records;
        size += written.bytes;
    }
    lab.tell(&format!("{swarms} swarms are adopted, {records} records are read"));
    let mut router = played.router();
    for job in FIRST..FIRST + swarms {
        router.asked(
            json!({"command": "swarm_adopt", "job_id": job.to_string()}),
            "swarm_adopted",
        );
        router.heard().forget_answers();
    }
    // Each swarm's node counts from 1 again.
    let turns = turns(&played);
    router.wait("all turns", |heard| (heard.turns >= turns).then_some(()));
    router.leave();
    let state = std::fs::metadata(played.workspace().state_dir().join("state.sqlite")).map_or(0, |file| file.len());
    let (mut pong, mut list, mut caught, mut processor, mut memory) = (vec![], vec![], vec![], vec![], vec![]);
    for _ in 0..lab.runs {
        let began = Instant::now();
        let mut router = super::listener::Listener::start(played.router_command());
        router.asked(json!({"command": "ping"}), "pong");
        pong.push(began.elapsed().as_secs_f64());
        let listed = router.asked(json!({"command": "swarm_list"}), "swarm_list");
        list.push(began.elapsed().as_secs_f64());
        let count = listed["swarms"].as_object().map_or(0, serde_json::Map::len);
        assert_eq!(count, swarms as usize, "swarms in the list");
        router.asked(json!({"command": "subscribe"}), "caught_up");
        caught.push(began.elapsed().as_secs_f64());
        let usage = Usage::of(router.pid());
        processor.push(usage.processor);
        memory.push(usage.peak);
        router.leave();
        lab.tell(&format!("pong after {:.3} s", pong.last().copied().unwrap_or_default()));
    }
    let mut empty = Vec::new();
    for _ in 0..lab.runs {
        let fresh = PlayedSwarm::new(1, "inotify");
        let began = Instant::now();
        let mut router = super::listener::Listener::start(fresh.router_command());
        router.asked(json!({"command": "ping"}), "pong");
        empty.push(began.elapsed().as_secs_f64());
        router.leave();
    }
    let folder = mailbox.outbox_folder();
    let read: Vec<f64> = (0..lab.runs).map(|_| cat(&folder)).collect();
    let mut table = Table::new(
        format!(
            "{swarms} swarms of one node, {records} records, {:.0} MB of outboxes; the state's file has {:.1} MB.",
            size as f64 / 1e6,
            state as f64 / 1e6
        ),
        &["what", "time"],
    );
    let late = Figures::new(pong.clone(), Unit::Seconds).median();
    for (name, times) in [
        ("from its start to the first pong", pong),
        ("to a list of all swarms", list),
        ("to the answer of a subscription to everything", caught),
        ("its processor time until then", processor),
        ("beside: the same program with a new state, to its first pong", empty),
        ("beside: reading the outboxes afresh, `cat | wc -l`", read),
    ] {
        table.row([name.into(), Figures::new(times, Unit::Seconds).into()]);
    }
    table.row(["memory then, peak".into(), Figures::new(memory, Unit::Memory).into()]);
    let mut report = Report::default();
    report.table(table);
    report.target(
        "an answer within a second",
        late,
        Unit::Seconds,
        late <= 1.0,
        "Every node's outbox is opened and looked at once before anything is answered.",
    );
    report.note("The outboxes are not read again: the state holds where each was read to.");
    report
}

/// How many turns stand in all outboxes.
fn turns(played: &PlayedSwarm) -> u64 {
    let folder = played.mailbox().outbox_folder();
    let files = std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let count = |bytes: Vec<u8>| memchr::memmem::find_iter(&bytes, b"{\"type\":\"turn_complete\"").count() as u64;
    files
        .flatten()
        .filter_map(|file| std::fs::read(file.path()).ok())
        .map(count)
        .sum()
}

fn cat(folder: &std::path::Path) -> f64 {
    let began = Instant::now();
    let script = format!("cat {}/*.jsonl | wc -l", folder.display());
    let status = Command::new("sh").args(["-c", &script]).stdout(Stdio::null()).status();
    assert!(status.is_ok_and(|status| status.success()), "{script}");
    began.elapsed().as_secs_f64()
}
