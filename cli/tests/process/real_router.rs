//! The command against the real router, its workers and the echo agent.

use std::collections::BTreeMap;
use std::process::{Command, Stdio};

use crate::support::{Running, User, eventually};
use rustix::process::Signal;
use serde_json::Value;

/// The text that a node was heard to say in deltas, by node.
fn said(events: &[Value]) -> BTreeMap<u64, String> {
    let mut said: BTreeMap<u64, String> = BTreeMap::new();
    for event in events.iter().filter(|event| event["type"] == "assistant_delta") {
        said.entry(event["node_id"].as_u64().unwrap())
            .or_default()
            .push_str(event["content"].as_str().unwrap());
    }
    said
}

/// The places of a node's events, in the order they came.
fn places(events: &[Value], node: u64) -> Vec<(u64, u64)> {
    let of_node = events
        .iter()
        .filter(|event| event["node_id"] == node && event.get("seq").is_some());
    of_node
        .map(|event| (event["seq"].as_u64().unwrap(), event["sub"].as_u64().unwrap_or(0)))
        .collect()
}

fn assert_in_order_and_once(events: &[Value], node: u64) {
    let places = places(events, node);
    assert!(
        places.windows(2).all(|pair| pair[0] < pair[1]),
        "node {node}: {places:?}"
    );
}

#[test]
fn run_shows_every_nodes_answer_and_ends_with_0() {
    let user = User::new();
    let ended = user.run(&["run", "--nodes", "4", "--prompt", "hello swarm"]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    for node in 0..4 {
        let header = format!("| node {node}]\nhello swarm\n(");
        assert_eq!(ended.stdout.matches(&header).count(), 1, "{}", ended.stdout);
    }
    assert_eq!(ended.stdout.lines().count(), 12, "{}", ended.stdout);
    assert!(!ended.stdout.contains('\x1b'));
    assert!(
        ended.stderr.contains("starting one in the background"),
        "{}",
        ended.stderr
    );
    assert!(ended.stderr.contains("has ended"), "{}", ended.stderr);
    let swarms = user.swarms();
    assert_eq!(swarms.len(), 1);
    assert!(
        swarms.values().all(|swarm| swarm["status"] == "terminated"),
        "{swarms:?}"
    );
}

#[test]
fn run_with_json_prints_events_and_nothing_else() {
    let user = User::new();
    let ended = user.run(&["run", "--nodes", "2", "--prompt", "hello", "--json", "--quiet"]);
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""));
    let events = ended.events();
    for node in [0, 1] {
        assert_in_order_and_once(&events, node);
        let kinds: Vec<&str> = events
            .iter()
            .filter(|event| event["node_id"] == node && event.get("injection_id").is_some())
            .map(|event| event["type"].as_str().unwrap())
            .filter(|kind| *kind != "inject_received" && *kind != "assistant_delta")
            .collect();
        assert_eq!(
            kinds,
            [
                "inject_ack",
                "inject_delivered",
                "turn_started",
                "assistant",
                "turn_complete",
                "usage"
            ],
            "node {node}"
        );
    }
    assert_eq!(events.first().unwrap()["type"], "swarm_launched");
    assert_eq!(events.last().unwrap()["type"], "swarm_terminated");
}

#[test]
fn a_turn_that_fails_fails_the_run() {
    let user = User::new();
    let ended = user.run(&["run", "--prompt", "[[fail class=rate_limit message=\"slow down\"]]"]);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(
        ended
            .stdout
            .contains("the turn failed: slow down; the same prompt may succeed later"),
        "{}",
        ended.stdout
    );
    assert!(user.swarms().values().all(|swarm| swarm["status"] == "terminated"));
}

#[test]
fn a_swarm_from_launch_to_terminate() {
    let user = User::new();
    let swarm = user.launch(&["--nodes", "3", "--wait"]);
    let status: Value = serde_json::from_str(&user.ok(&["status", &swarm, "--json"])).unwrap();
    assert_eq!(
        (&status["status"], &status["nodes"][2]["state"]),
        (&"running".into(), &"idle".into())
    );
    let table = user.ok(&["status", &swarm]);
    assert!(table.contains(&format!("swarm {swarm}: running, 3 nodes")), "{table}");

    let inject = user.run(&["inject", &swarm, "--nodes", "0,2", "--prompt", "who are you"]);
    assert_eq!(inject.code, Some(0), "{inject:?}");
    assert_eq!(inject.stdout.matches("who are you").count(), 2, "{}", inject.stdout);
    assert!(!inject.stdout.contains("node 1]"));

    let no_wait = user.run(&[
        "inject",
        &swarm,
        "--nodes",
        "1",
        "--prompt",
        "[[hang]]",
        "--no-wait",
        "--json",
    ]);
    assert_eq!(no_wait.code, Some(0), "{no_wait:?}");
    assert_eq!(no_wait.events()[0]["type"], "inject_ack");
    eventually("the node works", || {
        let status: Value = serde_json::from_str(&user.ok(&["status", &swarm, "--json"])).unwrap();
        status["nodes"][1]["state"] == "busy"
    });
    user.ok(&["interrupt", &swarm, "--nodes", "1"]);
    eventually("the node is idle again", || {
        let status: Value = serde_json::from_str(&user.ok(&["status", &swarm, "--json"])).unwrap();
        status["nodes"][1]["state"] == "idle"
    });

    let all = user.start(&["attach", &swarm, "--since", "0", "--json"]);
    user.ok(&["terminate", &swarm]);
    let all = all.end();
    assert_eq!(all.code, Some(0), "{all:?}");
    for node in 0..3 {
        assert_in_order_and_once(&all.events(), node);
    }
    let ends: Vec<&str> = all
        .stdout
        .lines()
        .filter(|line| line.contains("\"turn_complete\""))
        .collect();
    assert_eq!(ends.len(), 3, "{ends:?}");

    let again = user.run(&["terminate", &swarm]);
    assert_eq!(
        again.code,
        Some(0),
        "the second one is answered like the first: {again:?}"
    );
    let late = user.run(&["inject", &swarm, "--prompt", "x"]);
    assert_eq!(late.code, Some(1), "{late:?}");
    assert!(
        late.stderr.contains("codeswarm launch starts a new swarm"),
        "{}",
        late.stderr
    );
}

#[test]
fn approvals_are_asked_and_answered() {
    let user = User::new();
    user.configure(&serde_json::json!({"agent": {"kind": "echo", "approvals": "ask"}}));
    let swarm = user.launch(&["--wait"]);
    let mut inject = user.start(&[
        "inject",
        &swarm,
        "--prompt",
        "[[approve command=\"rm -rf build\"]] done",
    ]);
    inject.wait_for("may I? (command) rm -rf build");
    let how = inject.wait_for("answer: codeswarm approve");
    let call = how.split("--call ").nth(1).unwrap().split(' ').next().unwrap();
    user.ok(&["approve", &swarm, "--node", "0", "--call", call, "accept"]);
    let ended = inject.end();
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(ended.stdout.contains("accept by client"), "{}", ended.stdout);
}

#[test]
fn many_commands_at_once_start_one_router() {
    let user = User::new();
    let all: Vec<Running> = (0..8).map(|_| user.start(&["ping", "--json"])).collect();
    for ping in all {
        assert_eq!(ping.end().code, Some(75), "a ping starts none");
    }
    let all: Vec<Running> = (0..8).map(|_| user.start(&["list", "--json"])).collect();
    for list in all {
        let ended = list.end();
        assert_eq!(ended.code, Some(0), "{ended:?}");
    }
    let router = user.router();
    assert_eq!(user.router(), router);
}

#[test]
fn a_router_in_the_background_has_its_own_session_and_nothing_of_ours() {
    let user = User::new();
    // The pipe of this test is the command's descriptor 7 only, so it ends when nobody holds that any more.
    let mut shell = Command::new("sh");
    shell
        .arg("-c")
        .arg("exec 7>&1 >/dev/null 2>/dev/null; exec \"$0\" list --config \"$1\"");
    shell.arg(env!("CARGO_BIN_EXE_codeswarm")).arg(user.config());
    shell
        .env("HOME", user.path(""))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    assert_eq!(
        Running::start(&mut shell).end().code,
        Some(0),
        "the router holds a descriptor of ours"
    );
    let router = user.router();
    assert_eq!(rustix::process::getsid(Some(router)).unwrap(), router);
}

#[test]
fn a_router_that_is_killed_in_mid_turn_costs_no_word_and_repeats_none() {
    let user = User::new();
    let mut run = user.start(&[
        "run",
        "--nodes",
        "2",
        "--prompt",
        "[[echo deltas=300 pace_ms=10]]",
        "--json",
    ]);
    let mut router = None;
    for _ in 0..3 {
        for _ in 0..20 {
            run.wait_for("assistant_delta");
        }
        let running = router.map_or_else(|| user.router(), |killed| user.router_after(killed));
        rustix::process::kill_process(running, Signal::KILL).unwrap();
        router = Some(running);
    }
    let ended = run.end();
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert!(
        ended.stderr.contains("the connection to the router is lost"),
        "{}",
        ended.stderr
    );
    let events = ended.events();
    let wholes: BTreeMap<u64, String> = events
        .iter()
        .filter(|event| event["type"] == "assistant")
        .map(|event| {
            (
                event["node_id"].as_u64().unwrap(),
                event["content"].as_str().unwrap().to_owned(),
            )
        })
        .collect();
    assert_eq!(wholes.len(), 2);
    assert_eq!(said(&events), wholes);
    for node in [0, 1] {
        assert_in_order_and_once(&events, node);
    }
}

#[test]
fn an_inject_outlives_its_router_too() {
    let user = User::new();
    let swarm = user.launch(&["--nodes", "2", "--wait"]);
    let mut inject = user.start(&[
        "inject",
        &swarm,
        "--nodes",
        "1",
        "--prompt",
        "[[echo deltas=200 pace_ms=10]]",
        "--json",
    ]);
    for _ in 0..20 {
        inject.wait_for("assistant_delta");
    }
    rustix::process::kill_process(user.router(), Signal::KILL).unwrap();
    let ended = inject.end();
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let events = ended.events();
    assert_eq!(events.iter().filter(|event| event["type"] == "inject_ack").count(), 1);
    assert_eq!(
        events.iter().filter(|event| event["type"] == "turn_complete").count(),
        1
    );
    assert_in_order_and_once(&events, 1);
    let whole = events.iter().find(|event| event["type"] == "assistant").unwrap();
    assert_eq!(said(&events)[&1], whole["content"].as_str().unwrap());
}

#[test]
fn ctrl_c_in_a_run_ends_the_swarm() {
    let user = User::new();
    let mut run = user.start(&["run", "--nodes", "2", "--prompt", "one [[hang]]", "--json"]);
    run.wait_for("assistant_delta");
    run.signal(Signal::INT);
    let ended = run.end();
    assert_eq!(ended.code, Some(130), "{ended:?}");
    assert!(ended.stderr.contains("once more leaves it alone"), "{}", ended.stderr);
    assert_eq!(ended.events().last().unwrap()["type"], "swarm_terminated");
    assert!(user.swarms().values().all(|swarm| swarm["status"] == "terminated"));
}

#[test]
fn ctrl_c_in_an_attach_leaves_and_says_how_to_come_back() {
    let user = User::new();
    let swarm = user.launch(&["--nodes", "2", "--prompt", "[[echo deltas=200 pace_ms=10]]"]);
    let mut first = user.start(&["attach", &swarm, "--since", "0", "--json"]);
    for _ in 0..30 {
        first.wait_for("assistant_delta");
    }
    first.signal(Signal::INT);
    let first = first.end();
    assert_eq!(first.code, Some(130), "{first:?}");
    let since = first.stderr.split("--since ").nth(1).expect(&first.stderr).trim();
    assert!(
        first.stderr.contains(&format!("codeswarm attach {swarm} --config")),
        "{}",
        first.stderr
    );

    let mut second = user.start(&["attach", &swarm, "--since", since, "--json"]);
    for _ in 0..2 {
        second.wait_for("\"turn_complete\"");
    }
    user.ok(&["terminate", &swarm]);
    let second = second.end();
    assert_eq!(second.code, Some(0), "{second:?}");
    let events = [first.events(), second.events()].concat();
    for node in [0, 1] {
        assert_in_order_and_once(&events, node);
        let whole = events
            .iter()
            .find(|event| event["type"] == "assistant" && event["node_id"] == node)
            .unwrap();
        assert_eq!(said(&events)[&node], whole["content"].as_str().unwrap());
    }
}

#[test]
fn a_reader_that_goes_away_ends_the_run_quietly_and_its_swarm_too() {
    let user = User::new();
    let mut command = user.command(&[
        "run",
        "--nodes",
        "2",
        "--prompt",
        "[[echo deltas=5000 pace_ms=5]]",
        "--quiet",
    ]);
    command.stderr(Stdio::null());
    let mut run = Running::start(&mut command);
    run.wait_for("[swarm ");
    assert_eq!(run.close_stdout().code(), Some(141));
    assert!(
        user.swarms().values().all(|swarm| swarm["status"] == "terminated"),
        "{:?}",
        user.swarms()
    );
}

#[test]
fn a_router_that_is_shut_down_is_not_called_back_by_who_follows() {
    let user = User::new();
    let swarm = user.launch(&["--wait"]);
    let mut attach = user.start(&["attach", &swarm, "--json"]);
    attach.wait_for("caught_up");
    user.ok(&["shutdown"]);
    let ended = attach.end();
    assert_eq!(ended.code, Some(75), "{ended:?}");
    let failure: Value = serde_json::from_str(ended.stderr.lines().last().unwrap()).unwrap();
    assert!(
        failure["advice"].as_str().unwrap().contains("codeswarm attach"),
        "{failure}"
    );
    assert_eq!(user.run(&["ping"]).code, Some(75), "no router runs");
    assert_eq!(user.swarms()[&swarm]["status"], "running", "the swarm went on");
}

#[test]
fn a_second_ctrl_c_leaves_a_swarm_that_does_not_want_to_end() {
    let user = User::new();
    // A turn that hears no interrupt ends only with the worker's grace period.
    user.configure(&serde_json::json!({"worker": {"shutdown_grace_seconds": 5}}));
    let mut run = user.start(&["run", "--prompt", "one [[hang deaf]]", "--json"]);
    run.wait_for("assistant_delta");
    run.signal(Signal::INT);
    run.wait_for("\"terminating\"");
    run.signal(Signal::INT);
    let ended = run.end();
    assert_eq!(ended.code, Some(130), "{ended:?}");
    assert!(ended.stderr.contains("left without waiting"), "{}", ended.stderr);
    assert!(!ended.stdout.contains("swarm_terminated"));
}

#[test]
fn a_prompt_may_come_from_standard_input_or_a_file() {
    let user = User::new();
    let text = "Grüße\nin zwei Zeilen";
    std::fs::write(user.path("task.md"), text).unwrap();
    let from_file = user.path("task.md");
    for (file, args) in [
        (None, ["run", "--prompt-file", from_file.to_str().unwrap()]),
        (Some(&from_file), ["run", "--prompt-file", "-"]),
        (Some(&from_file), ["run", "--nodes", "1"]),
    ] {
        let mut command = user.command(&args);
        if let Some(file) = file {
            command.stdin(std::fs::File::open(file).unwrap());
        }
        let ended = Running::start(&mut command).end();
        assert_eq!(ended.code, Some(0), "{ended:?}");
        assert!(ended.stdout.contains("Grüße"), "{args:?}: {}", ended.stdout);
    }
}
