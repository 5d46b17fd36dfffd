//! `codeswarm events` with a real router and real swarms: what a consumer is told over the deaths of either side.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Read};
use std::process::Stdio;

use codeswarm_tests::cli::cli;
use codeswarm_tests::json_process::JsonProcess;
use codeswarm_tests::router::{RouterProcess, Swarm};
use codeswarm_tests::workspace::{Workspace, wait_until};
use rustix::process::Signal;
use serde_json::Value;

/// `codeswarm events --follow --json` with further arguments.
fn follow(workspace: &Workspace, arguments: &[&str]) -> JsonProcess {
    let command = workspace.command(&[&["events", "--follow", "--json"], arguments].concat());
    JsonProcess::spawn("codeswarm events", command)
}

/// The same for a consumer, which is known when this returns: what happens from here on is told.
fn consumer(workspace: &Workspace, name: &str, arguments: &[&str]) -> JsonProcess {
    let process = follow(workspace, &[&["--consumer", name], arguments].concat());
    let file = workspace.state_dir().join(format!("consumers/{name}.json"));
    wait_until("the consumer is known", || {
        let cursor = std::fs::read_to_string(&file).unwrap_or_default();
        match cursor.contains("told") && !cursor.contains("before_now") {
            true => Ok(()),
            false => Err(process.stderr()),
        }
    });
    process
}

fn inject(workspace: &Workspace, swarm: &Swarm, prompt: &str) {
    let inject = ["inject", swarm.swarm_id.as_str(), "--prompt", prompt];
    cli(workspace, &inject).success();
}

fn end(workspace: &Workspace, swarms: &[&Swarm]) {
    for swarm in swarms {
        cli(workspace, &["terminate", &swarm.swarm_id]).success();
    }
    cli(workspace, &["shutdown"]).success();
    workspace.wait_until_quiet();
}

fn of_kind(events: &[Value], kind: &str) -> Vec<(String, u64)> {
    let wanted = events.iter().filter(|event| event["type"] == kind);
    let node = |event: &Value| {
        (
            event["swarm_id"].as_str().unwrap().to_owned(),
            event["node_id"].as_u64().unwrap(),
        )
    };
    let mut nodes: Vec<_> = wanted.map(node).collect();
    nodes.sort();
    nodes
}

fn stop(mut process: JsonProcess) -> Vec<Value> {
    process.signal(Signal::TERM);
    assert_eq!(process.wait_exit().code(), Some(130));
    assert_eq!(process.stderr(), "", "a supervisor takes every line for news");
    process.lines()
}

/// Of all that was told in several lives: each record of the files and each word of the router's is there, once as new.
fn assert_told_once(workspace: &Workspace, swarm: &Swarm, lives: &[Vec<Value>]) {
    let mut told: BTreeMap<(u64, u64, u64), Vec<bool>> = BTreeMap::new();
    for event in lives.iter().flatten().filter(|event| !event["seq"].is_null()) {
        let number = |field: &str| event[field].as_u64().unwrap_or(0);
        let place = (number("node_id"), number("seq"), number("sub"));
        told.entry(place).or_default().push(event["repeated"] == true);
    }
    for (place, times) in &told {
        let as_new = times.iter().filter(|repeated| !**repeated).count();
        assert!(as_new <= 1, "{place:?} was told as new {as_new} times");
    }
    for node in 0..swarm.nodes {
        let records = workspace.records(&swarm.job_id, node);
        let lacking: Vec<u64> = (1..=records.len() as u64)
            .filter(|seq| !told.contains_key(&(u64::from(node), *seq, 0)))
            .collect();
        assert!(
            lacking.is_empty(),
            "node {node}: {lacking:?} of {} were never told",
            records.len()
        );
    }
}

#[test]
fn p10_a_consumer_is_told_each_event_once_over_kills_of_the_router_and_of_itself() {
    let workspace = Workspace::echo();
    let swarm = Swarm::left_running(&workspace, 2);
    let mut process = consumer(&workspace, "ci", &["--kind", "all", "--since", "beginning"]);
    let mut lives = Vec::new();
    let (mut routers, mut consumers) = (0, 0);
    cli(
        &workspace,
        &[
            "inject",
            &swarm.swarm_id,
            "--no-wait",
            "--prompt",
            "[[echo deltas=900 pace_ms=2]] [[long bytes=900000]]",
        ],
    )
    .success();
    for round in 0..6 {
        process.wait_for("some more of the stream", |event| {
            event["type"] == "assistant_delta" && event["seq"].as_u64() > Some(20 * (round + 1))
        });
        if round % 2 == 0 {
            for router in workspace.processes_named("--background") {
                workspace.signal(&router, Signal::KILL);
                routers += 1;
            }
        } else {
            process.kill();
            consumers += 1;
            lives.push(process.lines());
            process = follow(&workspace, &["--consumer", "ci", "--kind", "all"]);
        }
    }
    assert!(
        routers >= 3 && consumers == 3,
        "{routers} routers and {consumers} consumers were killed"
    );
    for node in 0..2 {
        process.wait_for("the end of the turn", |event| {
            event["type"] == "usage" && event["node_id"] == node
        });
    }
    cli(&workspace, &["terminate", &swarm.swarm_id]).success();
    process.wait_for("the end of the swarm", |event| event["type"] == "swarm_terminated");
    lives.push(stop(process));
    assert_told_once(&workspace, &swarm, &lives);
    let ends = lives
        .iter()
        .flatten()
        .filter(|event| event["type"] == "swarm_terminated");
    assert_eq!(ends.count(), 1);
    let rest = cli(&workspace, &["events", "--json", "--consumer", "ci", "--kind", "all"]).success();
    assert_eq!(rest.stdout, "", "all of it was told");
    cli(&workspace, &["shutdown"]).success();
    workspace.wait_until_quiet();
}

#[test]
fn a_script_that_runs_now_and_then_is_told_what_is_new_and_each_consumer_has_its_own_cursor() {
    let workspace = Workspace::echo();
    let swarm = Swarm::left_running(&workspace, 2);
    let both = vec![(swarm.swarm_id.clone(), 0), (swarm.swarm_id.clone(), 1)];
    let news = |consumer: &str, since: &[&str]| {
        let arguments = [&["events", "--json", "--consumer", consumer], since].concat();
        let output = cli(&workspace, &arguments).success();
        assert_eq!(output.stderr, "");
        output.json_lines()
    };
    assert_eq!(news("a", &[]), [] as [Value; 0], "a new consumer begins now");
    inject(&workspace, &swarm, "one");
    let told = news("a", &[]);
    assert_eq!(of_kind(&told, "turn_complete"), both);
    assert!(told.iter().all(|event| event["type"] != "assistant_delta"), "{told:#?}");
    assert_eq!(news("a", &[]), [] as [Value; 0]);
    let all = news("b", &["--since", "beginning"]);
    assert_eq!(
        (of_kind(&all, "node_ready"), of_kind(&all, "turn_complete")),
        (both.clone(), both.clone())
    );
    assert_eq!(of_kind(&news("c", &["--since", "1h"]), "turn_complete"), both);
    let later = news("d", &["--since", "2100-01-01T00:00:00Z"]);
    let kinds: Vec<&Value> = later.iter().map(|event| &event["type"]).collect();
    assert_eq!(
        kinds,
        ["swarm_status"],
        "how a swarm is that runs, and nothing that it said"
    );
    inject(&workspace, &swarm, "two");
    // What a consumer was begun with counts, not where it is said to begin later.
    for consumer in ["a", "b", "c", "d"] {
        assert_eq!(
            of_kind(&news(consumer, &["--since", "beginning"]), "turn_complete"),
            both,
            "{consumer}"
        );
    }
    end(&workspace, &[&swarm]);
    for consumer in ["a", "b", "c", "d"] {
        let told = news(consumer, &[]);
        let ends: Vec<&Value> = told
            .iter()
            .filter(|event| event["type"] == "swarm_terminated")
            .collect();
        assert_eq!(
            (ends.len(), of_kind(&told, "worker_exit")),
            (1, both.clone()),
            "{consumer}: {told:#?}"
        );
        assert_eq!(
            told.last(),
            ends.first().copied(),
            "how a swarm is comes after what it said"
        );
        assert_eq!(news(consumer, &[]), [] as [Value; 0]);
    }
    // An archived swarm, without a consumer.
    let all = cli(&workspace, &["events", "--json"]).success().json_lines();
    assert_eq!(of_kind(&all, "turn_complete").len(), 4);
    let readable = cli(&workspace, &["events"]).success().stdout;
    assert_eq!(readable.matches("turn_complete: completed").count(), 4, "{readable}");
    assert_eq!(readable.lines().count(), all.len());
    cli(&workspace, &["shutdown"]).success();
    workspace.wait_until_quiet();
}

#[test]
fn swarms_come_and_go_while_they_are_followed_and_a_named_one_ends_it() {
    let workspace = Workspace::echo();
    let first = Swarm::left_running(&workspace, 1);
    let everything = consumer(&workspace, "all", &["--kind", "default,assistant"]);
    let one = follow(&workspace, &[&first.swarm_id, "--since", "beginning"]);
    one.wait_for("what it said before", |event| event["type"] == "node_ready");
    let second = Swarm::left_running(&workspace, 1);
    inject(&workspace, &second, "from the second");
    inject(&workspace, &first, "from the first");
    cli(&workspace, &["terminate", &first.swarm_id]).success();
    let mut one = one;
    assert!(one.wait_exit().success());
    let strange: Vec<Value> = one
        .lines()
        .into_iter()
        .filter(|event| event["swarm_id"] != first.swarm_id.as_str())
        .collect();
    assert_eq!(strange, [] as [Value; 0]);
    assert_eq!(of_kind(&one.lines(), "turn_complete").len(), 1);
    assert_eq!(one.lines().last().unwrap()["type"], "swarm_terminated");
    cli(&workspace, &["terminate", &second.swarm_id]).success();
    everything.wait_for("the end of the second", |event| {
        event["type"] == "swarm_terminated" && event["swarm_id"] == second.swarm_id.as_str()
    });
    let told = stop(everything);
    let kinds_of = |swarm: &Swarm| -> Vec<String> {
        let of = told.iter().filter(|event| event["swarm_id"] == swarm.swarm_id.as_str());
        of.map(|event| event["type"].as_str().unwrap().to_owned()).collect()
    };
    let second = kinds_of(&second);
    for kind in [
        "swarm_launched",
        "node_ready",
        "swarm_status",
        "assistant",
        "turn_complete",
        "worker_exit",
        "swarm_terminated",
    ] {
        assert!(
            second.iter().any(|told| told == kind),
            "{kind} of the second: {second:?}"
        );
    }
    assert_eq!(second.first().map(String::as_str), Some("swarm_launched"));
    assert!(
        !kinds_of(&first).contains(&"node_ready".to_owned()),
        "that was before it began"
    );
    cli(&workspace, &["shutdown"]).success();
    workspace.wait_until_quiet();
}

#[test]
fn a_node_that_is_started_again_goes_on_in_the_same_stream() {
    let workspace = Workspace::echo();
    let swarm = Swarm::left_running(&workspace, 1);
    let process = consumer(&workspace, "ci", &["--kind", "default,worker_start"]);
    inject(&workspace, &swarm, "before");
    process.wait_for("the first end", |event| event["type"] == "turn_complete");
    for worker in workspace.processes_named(" worker ") {
        workspace.signal(&worker, Signal::KILL);
    }
    process.wait_for("the next life", |event| {
        event["type"] == "worker_start" && event["epoch"] == 2
    });
    inject(&workspace, &swarm, "after");
    let ends = |events: &[Value]| of_kind(events, "turn_complete").len();
    wait_until("the second end", || match ends(&process.lines()) {
        2 => Ok(()),
        other => Err(format!("{other} ends")),
    });
    let told = stop(process);
    let places: Vec<(u64, u64)> = told
        .iter()
        .filter(|event| !event["seq"].is_null())
        .map(|event| (event["seq"].as_u64().unwrap(), event["sub"].as_u64().unwrap_or(0)))
        .collect();
    assert!(
        places.is_sorted() && places.iter().collect::<BTreeSet<_>>().len() == places.len(),
        "{places:?}"
    );
    end(&workspace, &[&swarm]);
}

#[test]
fn a_second_process_of_the_same_consumer_is_told_who_is_first() {
    let workspace = Workspace::echo();
    let swarm = Swarm::left_running(&workspace, 1);
    let first = consumer(&workspace, "ci", &[]);
    let second = cli(&workspace, &["events", "--json", "--consumer", "ci"]);
    assert_eq!((second.code(), second.stdout.as_str()), (69, ""));
    let error: Value = serde_json::from_str(&second.stderr).unwrap();
    let said = error["error"].as_str().unwrap();
    assert!(
        said.contains(&format!("process {}", first.pid())) && said.contains("\"ci\""),
        "{said}"
    );
    cli(&workspace, &["events", "--consumer", "other"]).success();
    inject(&workspace, &swarm, "the first goes on");
    first.wait_for("the end", |event| event["type"] == "turn_complete");
    stop(first);
    cli(&workspace, &["events", "--consumer", "ci"]).success();
    end(&workspace, &[&swarm]);
}

#[test]
fn a_reader_that_goes_away_ends_it_quietly_at_what_was_written() {
    let workspace = Workspace::echo();
    let swarm = Swarm::left_running(&workspace, 1);
    cli(&workspace, &["events", "--consumer", "ci"]).success();
    let (pipe, to_pipe) = std::io::pipe().unwrap();
    // What Node.js gives to its children.
    let (socket, to_socket) = std::os::unix::net::UnixStream::pair().unwrap();
    let readers: [(Box<dyn Read>, Stdio); 2] = [
        (Box::new(pipe), to_pipe.into()),
        (Box::new(socket), std::os::fd::OwnedFd::from(to_socket).into()),
    ];
    for (reader, stdout) in readers {
        inject(&workspace, &swarm, "to a reader");
        let only_ends = [
            "events",
            "--follow",
            "--json",
            "--consumer",
            "ci",
            "--kind",
            "turn_complete",
        ];
        let mut command = workspace.command(&only_ends);
        command.stdin(Stdio::null()).stdout(stdout).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        // It holds the writing end, too.
        drop(command);
        let mut reader = BufReader::new(reader);
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        let told: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(
            (&told["type"], &told["repeated"]),
            (&Value::from("turn_complete"), &Value::Null)
        );
        // Nothing happens, and still it must not stay: whoever comes next would find the consumer taken.
        drop(reader);
        let status = wait_until("it has ended", || {
            child.try_wait().unwrap().ok_or_else(|| "it runs".to_owned())
        });
        let mut said = String::new();
        child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
        assert_eq!((status.code(), said.as_str()), (Some(141), ""));
    }
    inject(&workspace, &swarm, "to the next one");
    let ends = ["events", "--json", "--consumer", "ci", "--kind", "turn_complete"];
    let told = cli(&workspace, &ends).success().json_lines();
    assert_eq!((told.len(), &told[0]["repeated"]), (1, &Value::Null), "{told:#?}");
    end(&workspace, &[&swarm]);
}

#[test]
fn a_reader_that_does_not_read_keeps_nobody_from_ending_it() {
    let workspace = Workspace::echo();
    let swarm = Swarm::left_running(&workspace, 1);
    let mut command = workspace.command(&[
        "events",
        "--follow",
        "--json",
        "--consumer",
        "ci",
        "--kind",
        "all",
        "--since",
        "beginning",
    ]);
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // More than a pipe takes.
    inject(&workspace, &swarm, "[[long bytes=600000]]");
    let file = workspace.state_dir().join("consumers/ci.json");
    wait_until("it writes and cannot", || {
        let cursor = std::fs::read_to_string(&file).unwrap_or_default();
        if cursor.contains("in_doubt") {
            Ok(())
        } else {
            Err(cursor)
        }
    });
    let process = workspace.processes_named("--consumer ci").remove(0);
    workspace.signal(&process, Signal::TERM);
    let unread = child.stdout.take();
    let status = wait_until("it has ended", || {
        child.try_wait().unwrap().ok_or_else(|| "it runs".to_owned())
    });
    assert_eq!(status.code(), Some(130));
    let mut before = Vec::new();
    for line in BufReader::new(unread.unwrap()).split(b'\n') {
        before.extend(serde_json::from_slice::<Value>(&line.unwrap()));
    }
    let after = cli(&workspace, &["events", "--json", "--consumer", "ci", "--kind", "all"])
        .success()
        .json_lines();
    assert_told_once(&workspace, &swarm, &[before, after]);
    end(&workspace, &[&swarm]);
}

#[test]
fn a_cursor_that_cannot_be_used_is_one_clear_error_and_stays_as_it_is() {
    let workspace = Workspace::echo();
    let folder = workspace.state_dir().join("consumers");
    std::fs::create_dir_all(&folder).unwrap();
    let file = folder.join("ci.json");
    for text in [
        "{\"version\":1,\"swa",
        "{\"version\":9,\"swarms\":[],\"told\":{}}",
        "[]",
    ] {
        std::fs::write(&file, text).unwrap();
        let refused = cli(&workspace, &["events", "--json", "--consumer", "ci"]);
        assert_eq!((refused.code(), refused.stdout.as_str()), (65, ""), "{refused:#?}");
        assert!(
            refused.stderr.contains("consumers/ci.json is no cursor"),
            "{refused:#?}"
        );
        assert_eq!(std::fs::read_to_string(&file).unwrap(), text);
    }
    for name in ["../ci", "", "a/b", ".ci"] {
        let refused = cli(&workspace, &["events", "--consumer", name]);
        assert_eq!(refused.code(), 2, "{name:?}: {refused:#?}");
    }
    for wrong in [["--kind", "turn_completed"], ["--since", "yesterday"]] {
        let refused = cli(&workspace, &["events", wrong[0], wrong[1]]);
        assert_eq!(refused.code(), 2, "{wrong:?}: {refused:#?}");
    }
    assert!(workspace.processes().is_empty(), "no router was started for that");
    let unknown = cli(&workspace, &["events", "s-nobody", "--json"]);
    assert_eq!(unknown.code(), 1);
    assert!(unknown.stderr.contains("no swarm s-nobody"), "{unknown:#?}");
    cli(&workspace, &["events", "--consumer", "all"]).success();
    let other = cli(&workspace, &["events", "s-nobody", "--consumer", "all"]);
    assert_eq!(other.code(), 2);
    assert!(
        other.stderr.contains("begun with other swarms: all swarms"),
        "{other:#?}"
    );
    cli(&workspace, &["shutdown"]).success();
    workspace.wait_until_quiet();
}

#[test]
fn a_router_that_was_told_to_end_is_not_started_again_by_who_only_listens() {
    let workspace = Workspace::echo();
    let swarm = Swarm::left_running(&workspace, 1);
    let process = consumer(&workspace, "ci", &[]);
    cli(&workspace, &["shutdown"]).success();
    assert!(workspace.processes_named("--background").is_empty());
    let mut router = RouterProcess::daemon(&workspace);
    router.turn(&swarm, 0, "while nobody followed");
    router.leave();
    // Whoever listens finds the next one that stays.
    inject(&workspace, &swarm, "and afterwards");
    wait_until("both turns are told", || {
        match of_kind(&process.lines(), "turn_complete").len() {
            2 => Ok(()),
            other => Err(format!("{other} were told")),
        }
    });
    stop(process);
    end(&workspace, &[&swarm]);
}
