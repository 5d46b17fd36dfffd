use super::*;
use codeswarm_protocol::command::{Inject, SwarmLaunch, Target};
use serde_json::{Value, json};

const T: Duration = Duration::from_secs(1);

/// Names `r1`, `r2`, …
#[derive(Default)]
struct CountedNames(u32);

impl Names for CountedNames {
    fn next(&mut self) -> RequestId {
        self.0 += 1;
        RequestId::new(&format!("r{}", self.0)).unwrap()
    }
}

fn run() -> Follow {
    let mut names = CountedNames::default();
    let launch = SwarmLaunch {
        nodes: 2,
        system_prompt: Some("hi".into()),
        ..SwarmLaunch::default()
    };
    let launch = Request::new(&mut names, Command::SwarmLaunch(launch));
    Follow::run(launch, Box::new(names), " --config c.json".into())
}

fn inject() -> Follow {
    let mut names = CountedNames::default();
    let swarm: SwarmId = "s1".parse().unwrap();
    let target = Target {
        swarm_id: Some(swarm.clone()),
        nodes: Some("1-2".parse().unwrap()),
        ..Target::default()
    };
    let inject = Request::new(
        &mut names,
        Command::Inject(Inject {
            target,
            content: "hi".into(),
            steer: false,
        }),
    );
    let node = |rank| NodeId::new(rank).unwrap();
    let positions = (0..4).map(|rank| (node(rank), "10".parse().unwrap())).collect();
    Follow::inject(
        swarm,
        inject,
        vec![node(1), node(2)],
        positions,
        Box::new(names),
        String::new(),
    )
}

fn attach(since: &str) -> Follow {
    let positions = since.parse::<positions::SinceArgument>().unwrap().positions([]);
    Follow::attach(
        "s1".parse().unwrap(),
        positions,
        Box::new(CountedNames::default()),
        String::new(),
    )
}

/// The swarm is s1 and the time 1 s.
fn hear(follow: &mut Follow, mut event: Value) -> Reaction {
    event["swarm_id"] = event.get("swarm_id").cloned().unwrap_or("s1".into());
    event["timestamp"] = "2026-03-01T12:00:00.000Z".into();
    follow.heard(&Event::parse(event.to_string().into_bytes()).unwrap(), T)
}

fn of_node(kind: &str, node: u32, position: &str) -> Value {
    let position: codeswarm_protocol::Position = position.parse().unwrap();
    let mut event = json!({"type": kind, "node_id": node, "seq": position.seq.0, "injection_id": format!("i{node}")});
    if position.sub > 0 {
        event["sub"] = position.sub.into();
    }
    event
}

fn turn_complete(node: u32, position: &str, status: &str) -> Value {
    let mut event = of_node("turn_complete", node, position);
    event["status"] = status.into();
    event["duration_ms"] = 1.into();
    event
}

fn sent(reaction: &Reaction) -> Vec<String> {
    reaction
        .send
        .iter()
        .map(|request| format!("{} {}", request.id, request.command.name()))
        .collect()
}

fn launched() -> Value {
    json!({"type": "swarm_launched", "request_id": "r1", "job_id": "7", "node_count": 2, "status": "pending", "provider": "local"})
}

/// A run whose swarm is up and whose two prompts are accepted.
fn running() -> Follow {
    let mut follow = run();
    assert_eq!(sent(&follow.connected()), ["r1 swarm_launch"]);
    let reaction = hear(&mut follow, launched());
    assert_eq!(sent(&reaction), ["r2 subscribe", "r3 swarm_status"]);
    assert_eq!(reaction.notes, ["launched swarm s1: 2 nodes, local, job 7"]);
    assert!(
        !hear(&mut follow, of_node("inject_ack", 0, "0.1")).show,
        "it comes again with the subscription"
    );
    assert!(hear(&mut follow, json!({"type": "subscribed", "request_id": "r2"})).show);
    for node in [0, 1] {
        assert!(hear(&mut follow, of_node("inject_ack", node, "0.1")).show);
    }
    hear(&mut follow, json!({"type": "caught_up", "request_id": "r2"}));
    follow
}

#[test]
fn a_run_ends_its_swarm_when_all_turns_have_ended() {
    let mut follow = running();
    assert_eq!(follow.waiting_for(), "0 of 2 nodes up");
    let queued = json!({"type": "swarm_status", "node_count": 2, "status": "pending", "slurm_state": "PENDING"});
    assert!(hear(&mut follow, queued).show);
    assert_eq!(follow.waiting_for(), "the job is PENDING, 0 of 2 nodes up");
    assert_eq!(sent(&hear(&mut follow, turn_complete(0, "5", "completed"))), [""; 0]);
    assert_eq!(follow.waiting_for(), "1 of 2 turns ended; waiting for node 1");
    let reaction = hear(&mut follow, turn_complete(1, "5", "completed"));
    assert_eq!(sent(&reaction), ["r4 swarm_terminate"]);
    assert_eq!(reaction.end, None);
    assert!(hear(&mut follow, of_node("usage", 1, "6")).show);
    let end = hear(&mut follow, json!({"type": "swarm_terminated", "status": "terminated"}));
    assert!(end.show);
    assert_eq!(end.end, Some(Ok(Exit::Done)));
}

#[test]
fn a_failed_turn_or_a_prompt_not_taken_fails_the_run() {
    for bad in [turn_complete(1, "5", "failed"), of_node("inject_failed", 1, "5")] {
        let mut follow = running();
        hear(&mut follow, turn_complete(0, "5", "completed"));
        assert_eq!(sent(&hear(&mut follow, bad)), ["r4 swarm_terminate"]);
        let end = hear(&mut follow, json!({"type": "swarm_terminated", "status": "terminated"}));
        assert_eq!(end.end, Some(Ok(Exit::Failed)));
    }
}

#[test]
fn a_swarm_that_dies_fails_the_run() {
    let mut follow = running();
    let end = hear(
        &mut follow,
        json!({"type": "swarm_terminated", "status": "failed", "reason": "cancelled"}),
    );
    assert_eq!(end.end, Some(Ok(Exit::Failed)));
}

#[test]
fn a_new_connection_resumes_without_repeating_or_losing() {
    let mut follow = running();
    assert!(hear(&mut follow, of_node("assistant_delta", 0, "4")).show);
    assert_eq!(follow.lost(), None);
    let reaction = follow.connected();
    assert_eq!(sent(&reaction), ["r4 subscribe", "r5 swarm_status"]);
    let Command::Subscribe(subscribe) = &reaction.send[0].command else {
        panic!()
    };
    assert_eq!(
        serde_json::to_value(subscribe).unwrap()["since"],
        json!({"0": "4", "1": "0.1"})
    );
    assert!(
        !hear(&mut follow, of_node("assistant_delta", 0, "5")).show,
        "before the subscription stands"
    );
    assert!(
        !hear(&mut follow, json!({"type": "subscribed", "request_id": "r4"})).show,
        "nobody asked for it twice"
    );
    assert!(!hear(&mut follow, of_node("assistant_delta", 0, "4")).show);
    assert!(hear(&mut follow, of_node("assistant_delta", 0, "5")).show);
    let status = json!({"type": "swarm_status", "request_id": "r5", "node_count": 2, "status": "running"});
    assert!(!hear(&mut follow, status).show);
    hear(&mut follow, turn_complete(0, "6", "completed"));
    hear(&mut follow, turn_complete(1, "6", "completed"));
    assert_eq!(
        sent(&follow.connected()),
        ["r7 subscribe", "r8 swarm_status", "r6 swarm_terminate"],
        "the terminate is repeated under its name"
    );
}

#[test]
fn a_lost_launch_is_repeated_under_its_name() {
    let mut follow = run();
    assert_eq!(sent(&follow.connected()), ["r1 swarm_launch"]);
    assert_eq!(sent(&follow.connected()), ["r1 swarm_launch"]);
    assert_eq!(
        sent(&hear(&mut follow, launched())),
        ["r2 subscribe", "r3 swarm_status"]
    );
}

#[test]
fn an_end_that_was_missed_is_learnt_from_the_status() {
    let mut follow = running();
    hear(&mut follow, turn_complete(0, "5", "completed"));
    hear(&mut follow, turn_complete(1, "5", "completed"));
    follow.connected();
    let status = json!({"type": "swarm_status", "request_id": "r6", "node_count": 2, "status": "terminated"});
    let reaction = hear(&mut follow, status);
    assert!(
        reaction.show && reaction.end.is_none(),
        "what came before is still to come"
    );
    hear(&mut follow, json!({"type": "subscribed", "request_id": "r5"}));
    assert_eq!(
        hear(&mut follow, json!({"type": "caught_up"})).end,
        Some(Ok(Exit::Done))
    );
}

#[test]
fn the_first_interrupt_ends_the_swarm_and_the_second_leaves() {
    let mut follow = running();
    let first = follow.interrupted(T);
    assert_eq!(sent(&first), ["r4 swarm_terminate"]);
    assert_eq!(first.end, None);
    let second = follow.interrupted(T);
    assert_eq!(second.end, Some(Ok(Exit::Interrupted)));
    assert_eq!(
        second.notes,
        ["left without waiting; swarm s1 goes on; come back: codeswarm attach s1 --config c.json --since 0-1=0.1"]
    );

    let mut follow = running();
    follow.interrupted(T);
    let end = hear(&mut follow, json!({"type": "swarm_terminated", "status": "terminated"}));
    assert_eq!(end.end, Some(Ok(Exit::Interrupted)));
}

#[test]
fn an_interrupt_before_the_launch_is_answered_is_remembered() {
    let mut follow = run();
    follow.connected();
    assert_eq!(sent(&follow.interrupted(T)), [""; 0]);
    assert_eq!(
        sent(&hear(&mut follow, launched())),
        ["r2 subscribe", "r3 swarm_status", "r4 swarm_terminate"]
    );
}

#[test]
fn a_swarm_that_does_not_end_is_not_waited_for_for_ever() {
    let mut follow = running();
    follow.interrupted(T);
    let deadline = follow.deadline().unwrap();
    assert_eq!(follow.passed(T).end, None);
    let Some(Err(failure)) = follow.passed(deadline).end else {
        panic!()
    };
    assert_eq!(failure.exit, Exit::Unreachable);
}

#[test]
fn an_inject_follows_its_own_turns_only() {
    let mut follow = inject();
    assert_eq!(sent(&follow.connected()), ["r1 inject"]);
    for node in [1, 2] {
        let mut ack = of_node("inject_ack", node, "10.1");
        ack["request_id"] = "r1".into();
        assert!(hear(&mut follow, ack).show);
    }
    let mut other = of_node("assistant_delta", 1, "11");
    other["injection_id"] = "somebody-elses".into();
    assert!(!hear(&mut follow, other).show);
    assert!(hear(&mut follow, of_node("assistant_delta", 1, "12")).show);
    assert_eq!(hear(&mut follow, turn_complete(1, "13", "completed")).end, None);
    assert_eq!(
        hear(&mut follow, turn_complete(2, "13", "interrupted")).end,
        Some(Ok(Exit::Failed))
    );
}

#[test]
fn an_inject_waits_a_moment_for_the_usage_that_was_promised() {
    let mut follow = inject();
    follow.connected();
    for node in [1, 2] {
        let mut ack = of_node("inject_ack", node, "10.1");
        ack["request_id"] = "r1".into();
        hear(&mut follow, ack);
    }
    hear(&mut follow, turn_complete(1, "13", "completed"));
    let mut last = turn_complete(2, "13", "completed");
    last["usage"] = json!({"total_tokens":1,"input_tokens":1,"cached_input_tokens":0,"output_tokens":0,"reasoning_output_tokens":0});
    assert_eq!(hear(&mut follow, last).end, None);
    let deadline = follow.deadline().unwrap();
    assert_eq!(follow.passed(deadline).end, Some(Ok(Exit::Done)));
    assert_eq!(hear(&mut follow, of_node("usage", 2, "14")).end, Some(Ok(Exit::Done)));
}

#[test]
fn an_inject_over_two_connections_asks_again_under_its_name_and_resumes() {
    let mut follow = inject();
    follow.connected();
    let reaction = follow.connected();
    assert_eq!(sent(&reaction), ["r1 inject", "r2 subscribe", "r3 swarm_status"]);
    let Command::Subscribe(subscribe) = &reaction.send[1].command else {
        panic!()
    };
    assert_eq!(
        serde_json::to_value(subscribe).unwrap()["since"],
        json!({"0": "10", "1": "10", "2": "10", "3": "10"})
    );
    let mut ack = of_node("inject_ack", 1, "10.1");
    ack["request_id"] = "r1".into();
    assert!(!hear(&mut follow, ack.clone()).show);
    hear(&mut follow, json!({"type": "subscribed", "request_id": "r2"}));
    assert!(hear(&mut follow, ack.clone()).show);
    assert!(!hear(&mut follow, ack).show);
}

#[test]
fn leaving_an_inject_says_how_to_come_back() {
    let mut follow = inject();
    follow.connected();
    let reaction = follow.interrupted(T);
    assert_eq!(reaction.end, Some(Ok(Exit::Interrupted)));
    assert_eq!(
        reaction.notes,
        ["left; swarm s1 goes on; come back: codeswarm attach s1 --since 0-3=10"]
    );
}

#[test]
fn an_attach_sees_everything_of_its_swarm_until_it_is_over() {
    let mut follow = attach("0=3");
    let reaction = follow.connected();
    assert_eq!(sent(&reaction), ["r1 subscribe", "r2 swarm_status"]);
    hear(&mut follow, json!({"type": "subscribed", "request_id": "r1"}));
    assert!(!hear(&mut follow, of_node("notice", 0, "3")).show);
    assert!(hear(&mut follow, of_node("notice", 0, "4")).show);
    let mut other = of_node("notice", 0, "9");
    other["swarm_id"] = "s2".into();
    assert!(!hear(&mut follow, other).show);
    hear(&mut follow, json!({"type": "caught_up"}));
    let end = hear(&mut follow, json!({"type": "swarm_terminated", "status": "failed"}));
    assert_eq!(end.end, Some(Ok(Exit::Failed)));
}

#[test]
fn a_refusal_of_ours_ends_it_and_one_of_others_does_not() {
    let mut follow = run();
    follow.connected();
    let refusal = |id: &str| json!({"type": "command_rejected", "request_id": id, "code": "launch_failed", "reason": "sbatch: no such partition"});
    assert_eq!(hear(&mut follow, refusal("zz")).end, None);
    let reaction = hear(&mut follow, refusal("r1"));
    assert!(reaction.show);
    let Some(Err(failure)) = reaction.end else { panic!() };
    assert_eq!(failure.exit, Exit::Failed);
    assert!(failure.what.contains("no such partition"), "{failure}");
}

#[test]
fn a_router_that_was_shut_down_is_not_called_back() {
    let mut follow = running();
    hear(&mut follow, json!({"type": "shutting_down"}));
    let failure = follow.lost().unwrap();
    assert_eq!(failure.exit, Exit::Unreachable);
    assert!(failure.advice.contains("codeswarm attach s1"), "{failure}");
}
