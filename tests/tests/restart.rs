//! What dies in mid-turn and comes back: the router, a worker, an agent. Nothing is lost, nothing is done twice.

use codeswarm_tests::router::{RouterProcess, Swarm};
use codeswarm_tests::schema::assert_flat_events;
use codeswarm_tests::stream::{assert_every_record_once, assert_in_order, position};
use codeswarm_tests::workspace::{Workspace, wait_until};
use rustix::process::Signal;
use serde_json::{Value, json};

/// A turn that takes about a second, so that there is time to kill something in its middle.
const LONG: &str = "[[echo deltas=200 pace_ms=5]]";

/// Follows a swarm from a place on, and waits until everything before is there.
fn subscribe(router: &mut RouterProcess, swarm: &Swarm, since: Value) {
    let command = json!({"command": "subscribe", "swarm_id": swarm.swarm_id, "since": since});
    let request = router.ask(command);
    router.answer(&request, "subscribed");
    router.answer(&request, "caught_up");
}

fn inject(swarm: &Swarm, request: &str, content: &str) -> Value {
    json!({"command": "inject", "request_id": request, "swarm_id": swarm.swarm_id, "nodes": 0, "content": content})
}

fn ends_of(events: &[Value], injection: &str) -> Vec<Value> {
    let of_injection = events.iter().filter(|event| event["injection_id"] == injection);
    of_injection
        .filter(|event| event["type"] == "turn_complete" || event["type"] == "inject_failed")
        .cloned()
        .collect()
}

#[test]
fn p4_a_router_killed_in_mid_turn_goes_on_where_the_clients_copy_ended() {
    let workspace = Workspace::echo();
    let mut router = RouterProcess::daemon(&workspace);
    router.follow_all();
    let swarm = router.launch(2);
    let mut copy = Vec::new();
    let mut injections = Vec::new();
    // Killed three times in one life: in the middle of a turn each time.
    for round in 0..3 {
        injections.push(router.inject(&swarm, 0, LONG));
        injections.push(router.inject(&swarm, 1, LONG));
        let turn = injections[injections.len() - 1 - round % 2].clone();
        let deltas = 20 * (round + 1);
        wait_until("some deltas", || {
            let heard = router.events_of(&turn).len();
            if heard > deltas {
                Ok(())
            } else {
                Err(format!("{heard} events"))
            }
        });
        router.kill();
        copy.extend(router.lines());
        router = RouterProcess::daemon(&workspace);
        let since = json!({
            format!("{}_00", swarm.job_id): position(&copy, &swarm.job_id, 0),
            format!("{}_01", swarm.job_id): position(&copy, &swarm.job_id, 1),
        });
        subscribe(&mut router, &swarm, since);
    }
    // Some turns may have ended in an earlier life of the router.
    for injection in &injections {
        if !copy
            .iter()
            .any(|event| event["type"] == "usage" && event["injection_id"] == injection.as_str())
        {
            router.event_of(injection, "usage");
        }
    }
    router.terminate(&swarm);
    copy.extend(router.lines());
    assert_flat_events(&copy);
    for node in 0..2 {
        assert_in_order(&copy, &swarm.job_id, node);
        assert_every_record_once(&copy, &workspace.records(&swarm.job_id, node), &swarm.job_id, node);
    }
    for injection in &injections {
        let ends = ends_of(&copy, injection);
        assert_eq!(ends.len(), 1, "{ends:#?}");
    }
}

#[test]
fn p4_a_client_that_kept_nothing_gets_everything_also_from_the_archive() {
    let workspace = Workspace::echo();
    let mut router = RouterProcess::daemon(&workspace);
    let swarm = router.launch_ready(2);
    router.turn(&swarm, 0, "one [[long bytes=300000]]");
    router.turn(&swarm, 1, "two");
    router.terminate(&swarm);
    for _ in 0..2 {
        let mut reader = RouterProcess::spawn(&workspace, &[]);
        subscribe(&mut reader, &swarm, json!(0));
        let all = reader.lines();
        let middle = position(&all, &swarm.job_id, 0);
        assert_flat_events(&all);
        for node in 0..2 {
            assert_in_order(&all, &swarm.job_id, node);
            assert_every_record_once(&all, &workspace.records(&swarm.job_id, node), &swarm.job_id, node);
        }
        // The same client may ask again, for all or for a part.
        let mark = reader.mark();
        subscribe(&mut reader, &swarm, json!({"0": middle, "1": 0}));
        reader.wait_after(mark, "the second caught_up", |event| event["type"] == "caught_up");
        let again = reader.lines().split_off(mark);
        assert_every_record_once(&again, &workspace.records(&swarm.job_id, 1), &swarm.job_id, 1);
        assert_eq!(
            position(&again, &swarm.job_id, 0),
            "0",
            "node 0 has nothing after its end"
        );
        // Then once more from the state that another router has left.
        router.kill();
    }
}

/// Its relay has heard nothing of the second swarm when the router dies, since it was behind.
#[test]
fn p4_a_relayed_client_of_all_swarms_gets_one_from_its_beginning_that_was_launched_while_it_was_behind() {
    let workspace = Workspace::echo();
    let mut first = RouterProcess::daemon(&workspace);
    first.ping();
    let (mut client, mut next) = (RouterProcess::daemon(&workspace), RouterProcess::daemon(&workspace));
    client.follow_all();
    next.ping();
    let long = first.launch_ready(1);
    client.signal(Signal::STOP);
    // More than a socket holds.
    first.turn(&long, 0, "[[long bytes=4000000]]");
    let swarm = first.launch_ready(1);
    first.turn(&swarm, 0, "unheard of");
    first.kill();
    let second = next.turn(&swarm, 0, "[[echo deltas=5]]");
    client.signal(Signal::CONT);
    let injection = second["injection_id"].as_str().unwrap();
    client.event_of(injection, "usage");
    next.terminate(&swarm);
    next.terminate(&long);
    for ended in [&swarm, &long] {
        client.wait_for("the end of both", |event| {
            event["type"] == "worker_exit" && event["job_id"] == ended.job_id.as_str()
        });
        assert_in_order(&client.lines(), &ended.job_id, 0);
        assert_every_record_once(&client.lines(), &workspace.records(&ended.job_id, 0), &ended.job_id, 0);
    }
}

#[test]
fn p1_p2_a_prompt_acknowledged_before_the_kill_is_delivered_once() {
    let workspace = Workspace::echo();
    let mut router = RouterProcess::daemon(&workspace);
    let swarm = router.launch_ready(1);
    let mut requests = Vec::new();
    for round in 0..10 {
        let request = format!("p1-{round}");
        router.ask(inject(&swarm, &request, &format!("prompt {round}")));
        router.answer(&request, "inject_ack");
        router.kill();
        requests.push(request);
        router = RouterProcess::daemon(&workspace);
        router.ping();
    }
    for (round, request) in requests.iter().enumerate() {
        // The client does not know what became of it, and sends the same line.
        router.ask(inject(&swarm, request, &format!("prompt {round}")));
        let end = router.answer(request, "turn_complete");
        assert_eq!(end["status"], "completed");
    }
    router.terminate(&swarm);
    let records = workspace.records(&swarm.job_id, 0);
    let answers = records.iter().filter(|record| record["type"] == "assistant");
    let answers: Vec<_> = answers
        .map(|record| record["content"].as_str().unwrap().to_owned())
        .collect();
    let expected: Vec<_> = (0..10).map(|round| format!("prompt {round}")).collect();
    assert_eq!(answers, expected, "each once, in order");
}

#[test]
fn a_repeated_request_is_the_same_one() {
    let workspace = Workspace::echo();
    let mut router = RouterProcess::daemon(&workspace);
    let launch = json!({"command": "swarm_launch", "request_id": "launch", "nodes": 1, "system_prompt": "first"});
    let launched = router.asked(launch.clone(), "swarm_launched");
    router.answer("launch", "usage");
    let swarm = Swarm {
        swarm_id: launched["swarm_id"].as_str().unwrap().to_owned(),
        job_id: launched["job_id"].as_str().unwrap().to_owned(),
        nodes: 1,
    };
    router.ask(inject(&swarm, "prompt", "once"));
    router.answer("prompt", "usage");
    let story = |events: &[Value], request: &str| -> Vec<(String, Value, Value)> {
        // How the swarm is does not belong to a stream, and is not told again.
        let of_request = events
            .iter()
            .filter(|event| event["request_id"] == request && event["type"] != "swarm_status");
        of_request
            .map(|event| {
                (
                    event["type"].as_str().unwrap().to_owned(),
                    event["seq"].clone(),
                    event["sub"].clone(),
                )
            })
            .collect()
    };
    let told = (story(&router.lines(), "launch"), story(&router.lines(), "prompt"));
    let records = workspace.records(&swarm.job_id, 0);

    // Again on the same connection, on another one, and after a restart of the router.
    let mut relaying = RouterProcess::spawn(&workspace, &[]);
    relaying.ping();
    let repeat = |router: &mut RouterProcess| {
        let mark = router.mark();
        router.ask(launch.clone());
        router.ask(inject(&swarm, "prompt", "once"));
        for request in ["launch", "prompt"] {
            router.wait_after(mark, "the last of it again", |event| {
                event["request_id"] == request && event["type"] == "usage"
            });
        }
        let again = router.lines().split_off(mark);
        assert_eq!((story(&again, "launch"), story(&again, "prompt")), told);
    };
    repeat(&mut router);
    repeat(&mut relaying);
    router.kill();
    let mut router = RouterProcess::daemon(&workspace);
    repeat(&mut router);
    let list = router.asked(json!({"command": "swarm_list"}), "swarm_list");
    assert_eq!(list["swarms"].as_object().unwrap().len(), 1, "{list}");
    assert_eq!(workspace.records(&swarm.job_id, 0), records, "nothing was done twice");

    for other in [
        inject(&swarm, "prompt", "another text"),
        json!({"command": "swarm_launch", "request_id": "prompt", "nodes": 1}),
    ] {
        let mark = router.mark();
        router.ask(other);
        let refusal = router.wait_after(mark, "the refusal", |event| event["type"] == "command_rejected");
        assert_eq!(
            (&refusal["code"], &refusal["request_id"]),
            (&json!("request_id_reused"), &json!("prompt"))
        );
    }
}

#[test]
fn a_request_sent_five_times_at_once_is_done_once() {
    let workspace = Workspace::echo();
    let mut router = RouterProcess::daemon(&workspace);
    let launch = json!({"command": "swarm_launch", "request_id": "launch", "nodes": 1});
    for _ in 0..5 {
        router.ask(launch.clone());
    }
    let launched = router.answer("launch", "swarm_launched");
    let swarm = Swarm {
        swarm_id: launched["swarm_id"].as_str().unwrap().to_owned(),
        job_id: launched["job_id"].as_str().unwrap().to_owned(),
        nodes: 1,
    };
    let mut relaying = RouterProcess::daemon(&workspace);
    relaying.ping();
    for client in [&mut router, &mut relaying] {
        let prompt = inject(
            &swarm,
            &format!("prompt of {}", client.pid()),
            "once [[echo deltas=30 pace_ms=2]]",
        );
        for _ in 0..5 {
            client.ask(prompt.clone());
        }
        client.answer(prompt["request_id"].as_str().unwrap(), "usage");
        let mark = client.mark();
        let again = client.ask(prompt);
        client.wait_after(mark, "the end again", |event| {
            event["request_id"] == again.as_str() && event["type"] == "usage"
        });
    }
    let list = router.asked(json!({"command": "swarm_list"}), "swarm_list");
    assert_eq!(list["swarms"].as_object().unwrap().len(), 1, "{list}");
    let records = workspace.records(&swarm.job_id, 0);
    assert_eq!(
        records.iter().filter(|record| record["type"] == "turn_started").count(),
        2
    );
    assert_eq!(
        records
            .iter()
            .filter(|record| record["type"] == "inject_received")
            .count(),
        2
    );
    for client in [&router, &relaying] {
        assert_flat_events(&client.lines());
    }
}

#[test]
fn a_worker_killed_in_mid_turn_is_started_again_and_the_turn_has_failed() {
    let workspace = Workspace::echo();
    let mut router = RouterProcess::daemon(&workspace);
    router.follow_all();
    let swarm = router.launch_ready(1);
    router.turn(&swarm, 0, "before");
    let running = router.inject(&swarm, 0, "[[echo deltas=3]] [[hang]]");
    let waiting = router.inject(&swarm, 0, "waits");
    router.event_of(&waiting, "inject_received");
    router.event_of(&running, "assistant_delta");
    let worker = workspace.processes_named(" worker ").pop().unwrap();
    workspace.signal(&worker, Signal::KILL);
    let end = router.event_of(&running, "turn_complete");
    assert_eq!(
        (&end["status"], &end["error"]["class"]),
        (&json!("failed"), &json!("worker_died")),
        "{end}"
    );
    // What had not been started is not lost with the worker.
    assert_eq!(router.event_of(&waiting, "turn_complete")["status"], "completed");
    let after = router.turn(&swarm, 0, "after");
    assert_eq!((&after["status"], &after["epoch"]), (&json!("completed"), &json!(2)));
    let status = router.asked(
        json!({"command": "swarm_status", "swarm_id": swarm.swarm_id}),
        "swarm_status",
    );
    assert_eq!(
        (&status["nodes"][0]["state"], &status["nodes"][0]["epoch"]),
        (&json!("idle"), &json!(2))
    );
    router.terminate(&swarm);
    let events = router.lines();
    assert_flat_events(&events);
    assert_in_order(&events, &swarm.job_id, 0);
    assert_every_record_once(&events, &workspace.records(&swarm.job_id, 0), &swarm.job_id, 0);
    for injection in [&running, &waiting] {
        assert_eq!(ends_of(&events, injection).len(), 1);
    }
    router.leave();
    workspace.wait_until_quiet();
}

#[test]
fn router_and_worker_killed_together_come_back_together() {
    let workspace = Workspace::echo();
    let mut router = RouterProcess::daemon(&workspace);
    let swarm = router.launch_ready(2);
    let running = router.inject(&swarm, 0, "[[echo deltas=3]] [[hang]]");
    router.event_of(&running, "assistant_delta");
    let copy = router.lines();
    router.kill();
    for worker in workspace.processes_named(" worker ") {
        workspace.signal(&worker, Signal::KILL);
    }
    workspace.wait_until_quiet();
    let mut router = RouterProcess::daemon(&workspace);
    subscribe(
        &mut router,
        &swarm,
        json!({"0": position(&copy, &swarm.job_id, 0), "1": position(&copy, &swarm.job_id, 1)}),
    );
    let end = router.event_of(&running, "turn_complete");
    assert_eq!(
        (&end["status"], &end["error"]["class"]),
        (&json!("failed"), &json!("worker_died")),
        "{end}"
    );
    for node in 0..2 {
        assert_eq!(router.turn(&swarm, node, "after")["epoch"], 2);
    }
    router.terminate(&swarm);
    router.leave();
    workspace.wait_until_quiet();
}

#[test]
fn an_agent_that_crashes_is_started_again_on_its_thread() {
    let workspace = Workspace::echo();
    let mut router = RouterProcess::daemon(&workspace);
    router.follow_all();
    let swarm = router.launch_ready(1);
    let crash = router.turn(&swarm, 0, "[[crash_after deltas=2]] [[echo deltas=5]]");
    assert_eq!(
        (&crash["status"], &crash["error"]["class"]),
        (&json!("failed"), &json!("agent_died")),
        "{crash}"
    );
    let after = router.turn(&swarm, 0, "after");
    assert_eq!((&after["status"], &after["epoch"]), (&json!("completed"), &json!(1)));
    let events = router.lines();
    let ready: Vec<_> = events.iter().filter(|event| event["type"] == "agent_ready").collect();
    assert_eq!(ready.len(), 2, "{ready:#?}");
    assert_eq!(ready[0]["thread_id"], ready[1]["thread_id"]);
    assert_eq!(
        (&ready[0]["resumed"], &ready[1]["resumed"]),
        (&json!(false), &json!(true))
    );
    assert!(events.iter().any(|event| event["type"] == "agent_exit"));
    assert_flat_events(&events);
}
