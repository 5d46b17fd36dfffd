//! The router as a child process of a program: what the end of its standard input means, and that any number of
//! routers on one state are one.

use std::time::Duration;

use codeswarm_tests::router::{RouterProcess, Swarm};
use codeswarm_tests::schema::assert_flat_events;
use codeswarm_tests::stream::{assert_every_record_once, assert_in_order};
use codeswarm_tests::workspace::Workspace;
use serde_json::{Value, json};

/// Two seconds are promised; a machine that is busy with other tests has as many again.
const LEAVES_WITHIN: Duration = Duration::from_secs(4);

fn pid_of_router(router: &mut RouterProcess) -> u64 {
    router.ping()["pid"].as_u64().unwrap()
}

fn is_router(router: &mut RouterProcess) -> bool {
    pid_of_router(router) == u64::from(router.pid())
}

/// The events of an injection, each once: fails if a place stands there twice.
fn assert_once(events: &[Value]) {
    let mut places: Vec<_> = events
        .iter()
        .map(|event| (event["seq"].as_u64(), event["sub"].as_u64()))
        .collect();
    let heard = places.len();
    places.sort_unstable();
    places.dedup();
    assert_eq!(places.len(), heard, "{events:#?}");
}

fn count(events: &[Value], kind: &str) -> usize {
    events.iter().filter(|event| event["type"] == kind).count()
}

#[test]
fn the_end_of_stdin_ends_the_router_and_nothing_else() {
    let workspace = Workspace::echo();
    let mut router = RouterProcess::daemon(&workspace);
    let swarm = router.launch_ready(2);
    let workers = workspace.processes_named(" worker ");
    assert_eq!(workers.len(), 2, "{workers:?}");
    let running = router.inject(&swarm, 0, "[[echo deltas=5]] [[hang]]");
    router.event_of(&running, "assistant_delta");
    // A turn runs, a prompt waits, and a command is on its way: none of it holds the router back.
    router.inject(&swarm, 0, "waits behind it");
    let last = router.ask(json!({"command": "swarm_list"}));
    let took = router.leave();
    assert!(took < LEAVES_WITHIN, "{took:?}");
    router.answer(&last, "swarm_list");
    assert_flat_events(&router.lines());
    assert_eq!(
        workspace.processes(),
        workers,
        "only the workers are left, and the same ones"
    );

    let mut next = RouterProcess::daemon(&workspace);
    let status = next.asked(
        json!({"command": "swarm_status", "swarm_id": swarm.swarm_id}),
        "swarm_status",
    );
    assert_eq!(status["nodes"][0]["state"], "busy", "{status:#}");
    assert_eq!(status["nodes"][0]["injection_id"], running.as_str());
    assert_eq!(status["nodes"][0]["open_injections"], 2);
    assert_eq!(next.turn(&swarm, 1, "still there?")["status"], "completed");
    assert_eq!(workspace.processes_named(" worker "), workers);
    next.terminate(&swarm);
    next.leave();
    workspace.wait_until_quiet();
}

#[test]
fn a_second_router_is_a_client_of_the_first() {
    let workspace = Workspace::echo();
    let mut first = RouterProcess::daemon(&workspace);
    let swarm = first.launch_ready(1);
    let mut second = RouterProcess::daemon(&workspace);
    assert_eq!(pid_of_router(&mut second), u64::from(first.pid()));
    for router in [&mut first, &mut second] {
        router.follow_all();
    }
    assert_eq!(second.turn(&swarm, 0, "from the second")["status"], "completed");
    // Both hear everything, whoever has asked for it.
    first.wait_for("the end of the second one's turn", |event| event["type"] == "usage");
    let injection = first.inject(&swarm, 0, "from the first");
    let heard = second.event_of(&injection, "assistant");
    assert_eq!(heard["content"], "from the first");
    second.event_of(&injection, "usage");
    assert!(second.leave() < LEAVES_WITHIN);
    assert!(is_router(&mut first));
    first.terminate(&swarm);
    for router in [&first, &second] {
        assert_flat_events(&router.lines());
        assert_in_order(&router.lines(), &swarm.job_id, 0);
    }
}

#[test]
fn p4_a_killed_router_is_replaced_by_its_client_which_hears_every_record_once() {
    let workspace = Workspace::echo();
    let mut first = RouterProcess::daemon(&workspace);
    let swarm = first.launch(2);
    let mut second = RouterProcess::daemon(&workspace);
    second.follow_all();
    first.wait_for("both nodes", |event| {
        event["type"] == "swarm_status" && event["status"] == "running"
    });
    // One turn that was asked for by the second, one by the first, and one that has long been over.
    second.turn(&swarm, 0, "over before it");
    let own = second.inject(&swarm, 0, "[[echo deltas=60 pace_ms=10]]");
    let other = first.inject(&swarm, 1, "[[echo deltas=60 pace_ms=10]]");
    let queued = second.inject(&swarm, 0, "after it");
    for injection in [&own, &other] {
        second.event_of(injection, "assistant_delta");
    }
    first.kill();
    for injection in [&own, &other, &queued] {
        second.event_of(injection, "usage");
    }
    assert!(is_router(&mut second));
    second.terminate(&swarm);
    let events = second.lines();
    assert_flat_events(&events);
    for node in 0..2 {
        assert_in_order(&events, &swarm.job_id, node);
        let records = workspace.records(&swarm.job_id, node);
        // What was there before the second came is not part of its copy.
        let first_seq = events
            .iter()
            .find(|event| event["node_id"] == node && event["sub"].is_null());
        let first_seq = first_seq.and_then(|event| event["seq"].as_u64()).unwrap();
        let rest: Vec<_> = records.into_iter().skip(first_seq as usize - 1).collect();
        assert_every_record_once(&events, &rest, &swarm.job_id, node);
    }
    for injection in [&own, &queued] {
        let events = second.events_of(injection);
        assert_once(&events);
        for kind in ["inject_ack", "inject_delivered", "turn_complete"] {
            assert_eq!(count(&events, kind), 1, "{kind}: {events:#?}");
        }
    }
}

#[test]
fn commands_in_flight_when_the_router_is_killed_are_done_once() {
    let workspace = Workspace::echo();
    let mut first = RouterProcess::daemon(&workspace);
    let swarm = first.launch_ready(1);
    // Not a daemon: it hears of its own prompts only, which must hold over the change as well.
    let mut second = RouterProcess::spawn(&workspace, &[]);
    second.ping();
    let prompts = 200;
    let requests: Vec<String> = (0..prompts)
        .map(|n| {
            if n == prompts / 2 {
                first.kill();
            }
            let content = format!("prompt number {n}");
            second.ask(json!({"command": "inject", "swarm_id": swarm.swarm_id, "nodes": 0, "content": content}))
        })
        .collect();
    second.close_stdin();
    assert!(second.wait_exit().success());
    let events = second.lines();
    assert_flat_events(&events);
    for request in &requests {
        let of_request: Vec<_> = events
            .iter()
            .filter(|event| event["request_id"] == **request)
            .cloned()
            .collect();
        assert_once(&of_request);
        for kind in ["inject_ack", "inject_delivered", "assistant", "turn_complete"] {
            assert_eq!(count(&of_request, kind), 1, "{request}, {kind}: {of_request:#?}");
        }
    }
    let records = workspace.records(&swarm.job_id, 0);
    let answers = records.iter().filter(|record| record["type"] == "assistant");
    let answers: Vec<_> = answers
        .map(|record| record["content"].as_str().unwrap().to_owned())
        .collect();
    let expected: Vec<_> = (0..prompts).map(|n| format!("prompt number {n}")).collect();
    assert_eq!(answers, expected);
}

#[test]
fn a_batch_outlives_the_router_that_it_was_a_client_of() {
    let workspace = Workspace::echo();
    let mut first = RouterProcess::daemon(&workspace);
    let swarm = first.launch_ready(1);
    let mut batch = RouterProcess::spawn(&workspace, &[]);
    let prompt = json!({"command": "inject", "swarm_id": swarm.swarm_id, "nodes": 0, "content": "[[echo deltas=60 pace_ms=10]]"});
    let request = batch.ask(prompt);
    batch.ask(json!({"command": "swarm_terminate", "swarm_id": "nobody"}));
    batch.answer(&request, "assistant_delta");
    batch.close_stdin();
    first.kill();
    // A command of it was refused, which it has not forgotten over the change.
    assert_eq!(batch.wait_exit().code(), Some(1), "{}", batch.stderr());
    let events = batch.lines();
    assert_flat_events(&events);
    assert_in_order(&events, &swarm.job_id, 0);
    let life: Vec<_> = events
        .iter()
        .filter(|event| event["request_id"] == request.as_str())
        .cloned()
        .collect();
    assert_once(&life);
    // On a busy machine the worker joins deltas that come together; their text is all there.
    let text_of = |kind| {
        let events = life.iter().filter(|event| event["type"] == kind);
        events.filter_map(|event| event["content"].as_str()).collect::<String>()
    };
    assert!(!text_of("assistant").is_empty());
    assert_eq!(text_of("assistant_delta"), text_of("assistant"));
    assert_eq!((count(&life, "turn_complete"), count(&life, "usage")), (1, 1));
}

#[test]
fn a_shutdown_ends_all_routers_and_no_swarm() {
    let workspace = Workspace::echo();
    let swarm = Swarm::left_running(&workspace, 1);
    for asking in [0, 1] {
        let mut routers = [RouterProcess::daemon(&workspace), RouterProcess::daemon(&workspace)];
        routers[0].ping();
        routers[1].ping();
        routers[asking].asked(json!({"command": "shutdown"}), "shutting_down");
        for router in &mut routers {
            assert!(router.wait_exit().success(), "{}", router.stderr());
            assert_flat_events(&router.lines());
            assert_eq!(count(&router.lines(), "shutting_down"), 1);
        }
        assert_eq!(workspace.processes().len(), 1, "the worker alone");
    }
    let mut router = RouterProcess::daemon(&workspace);
    assert_eq!(router.turn(&swarm, 0, "still here")["status"], "completed");
}

#[test]
fn three_routers_started_at_once_are_one() {
    let workspace = Workspace::echo();
    let mut routers: Vec<_> = (0..3).map(|_| RouterProcess::daemon(&workspace)).collect();
    let pids: Vec<_> = routers.iter_mut().map(pid_of_router).collect();
    assert!(pids.iter().all(|pid| *pid == pids[0]), "{pids:?}");
    assert!(
        routers.iter().any(|router| u64::from(router.pid()) == pids[0]),
        "{pids:?}"
    );
    let swarm = routers[0].launch_ready(1);
    for router in &mut routers {
        assert_eq!(router.turn(&swarm, 0, "hello")["status"], "completed");
    }
    routers[0].terminate(&swarm);
    // Whoever serves leaves first: the next one takes its place, and then the last one.
    for left in (0..3).rev() {
        let serving = routers.iter_mut().position(is_router).unwrap();
        let mut leaving = routers.remove(serving);
        assert!(leaving.leave() < LEAVES_WITHIN);
        assert_flat_events(&leaving.lines());
        assert_eq!(routers.len(), left);
    }
    workspace.wait_until_quiet();
}

#[test]
fn a_swarm_is_named_to_whoever_comes_later() {
    let workspace = Workspace::echo();
    let swarm = Swarm::left_running(&workspace, 1);
    let mut router = RouterProcess::daemon(&workspace);
    let list = router.asked(json!({"command": "swarm_list"}), "swarm_list");
    let found = &list["swarms"][&swarm.swarm_id];
    assert_eq!(
        (&found["job_id"], &found["status"]),
        (&json!(swarm.job_id), &json!("running"))
    );
    let answer = router.asked(json!({"command": "shutdown"}), "shutting_down");
    assert!(answer["request_id"].is_string());
    assert!(router.wait_exit().success());
    assert_eq!(workspace.processes_named(" worker ").len(), 1);
}
