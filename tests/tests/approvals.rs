//! An agent's questions, answered by clients, by nobody, and too late (P11).

use codeswarm_tests::router::{RouterProcess, Swarm};
use codeswarm_tests::schema::assert_flat_events;
use codeswarm_tests::workspace::Workspace;
use serde_json::{Value, json};

const QUESTION: &str = r#"first [[approve command="rm -rf build"]] then"#;

fn asking() -> Workspace {
    Workspace::echo().configured(|config| config["agent"]["approvals"] = json!("ask"))
}

/// A turn that waits for an answer: the injection and the question.
fn question(router: &mut RouterProcess, swarm: &Swarm, node: u32) -> (String, Value) {
    let injection = router.inject(swarm, node, QUESTION);
    let question = router.event_of(&injection, "approval_required");
    assert_eq!(
        (&question["command"], &question["kind"]),
        (&json!("rm -rf build"), &json!("command"))
    );
    assert!(
        question["available_decisions"]
            .as_array()
            .unwrap()
            .contains(&json!("accept")),
        "{question}"
    );
    (injection, question)
}

fn approve(swarm: &Swarm, question: &Value, decision: &str) -> Value {
    json!({"command": "approve_execution", "swarm_id": swarm.swarm_id, "nodes": question["node_id"],
        "call_id": question["call_id"], "decision": decision})
}

/// What was decided, by whom, and how the command and the turn ended.
fn outcome(router: &RouterProcess, injection: &str) -> [String; 4] {
    let end = router.event_of(injection, "turn_complete");
    let resolved = router.event_of(injection, "approval_resolved");
    let command = router.event_of(injection, "command_completed");
    let words = [
        &resolved["decision"],
        &resolved["by"],
        &command["status"],
        &end["status"],
    ];
    words.map(|word| word.as_str().unwrap_or_default().to_owned())
}

#[test]
fn a_client_accepts_declines_and_cancels() {
    let workspace = asking();
    let mut router = RouterProcess::daemon(&workspace);
    let swarm = router.launch_ready(1);
    for (decision, command, turn) in [
        ("accept", "completed", "completed"),
        ("decline", "declined", "completed"),
        ("cancel", "declined", "interrupted"),
    ] {
        let (injection, question) = question(&mut router, &swarm, 0);
        let ack = router.asked(approve(&swarm, &question, decision), "approval_ack");
        assert_eq!(ack["call_id"], question["call_id"]);
        assert_eq!(outcome(&router, &injection), [decision, "client", command, turn]);
    }
    // In the words of the earlier system: by job, yes or no, and without saying which node asked.
    let (injection, question) = question(&mut router, &swarm, 0);
    let yes = json!({"action": "approve_execution", "job_id": swarm.job_id, "call_id": question["call_id"], "approved": true});
    router.asked(yes, "approval_ack");
    assert_eq!(
        outcome(&router, &injection),
        ["accept", "client", "completed", "completed"]
    );
    assert_flat_events(&router.lines());
}

#[test]
fn p11_a_second_or_late_answer_changes_nothing() {
    let workspace = asking();
    let mut router = RouterProcess::daemon(&workspace);
    let swarm = router.launch_ready(2);
    let (injection, first) = question(&mut router, &swarm, 0);
    // Two answers at once, from two clients: the first counts.
    let mut other = RouterProcess::spawn(&workspace, &[]);
    other.ping();
    router.asked(approve(&swarm, &first, "decline"), "approval_ack");
    other.asked(approve(&swarm, &first, "accept"), "approval_ack");
    let ignored = router.wait_for("the second answer's outcome", |event| {
        event["type"] == "control_ignored"
    });
    assert!(
        ignored["reason"]
            .as_str()
            .unwrap()
            .contains(first["call_id"].as_str().unwrap()),
        "{ignored}"
    );
    assert_eq!(
        outcome(&router, &injection),
        ["decline", "client", "declined", "completed"]
    );

    // An answer to a question that is over, while another one waits.
    let (injection, second) = question(&mut router, &swarm, 0);
    assert_ne!(first["call_id"], second["call_id"]);
    let mark = router.mark();
    router.asked(approve(&swarm, &first, "accept"), "approval_ack");
    router.wait_after(mark, "its outcome", |event| event["type"] == "control_ignored");
    let status = router.asked(
        json!({"command": "swarm_status", "swarm_id": swarm.swarm_id}),
        "swarm_status",
    );
    assert_eq!(status["nodes"][0]["state"], "busy");
    // An answer for the wrong node.
    let mark = router.mark();
    let mut wrong = approve(&swarm, &second, "accept");
    wrong["nodes"] = json!(1);
    router.asked(wrong, "approval_ack");
    let ignored = router.wait_after(mark, "its outcome", |event| event["type"] == "control_ignored");
    assert_eq!(ignored["node_id"], 1);
    router.asked(approve(&swarm, &second, "accept"), "approval_ack");
    assert_eq!(
        outcome(&router, &injection),
        ["accept", "client", "completed", "completed"]
    );

    // The same request once more does not answer the next question.
    let (injection, third) = question(&mut router, &swarm, 0);
    let mut answer = approve(&swarm, &third, "decline");
    answer["request_id"] = json!("answer");
    router.asked(answer.clone(), "approval_ack");
    assert_eq!(
        outcome(&router, &injection),
        ["decline", "client", "declined", "completed"]
    );
    let mark = router.mark();
    router.ask(answer);
    router.wait_after(mark, "the same answer", |event| {
        event["request_id"] == "answer" && event["type"] == "approval_ack"
    });
    let unknown = json!({"command": "approve_execution", "swarm_id": swarm.swarm_id, "call_id": "nobody-asked", "approved": true});
    let request = router.ask(unknown);
    assert_eq!(router.refusal(&request)["field"], "call_id");
    let records = workspace.records(&swarm.job_id, 0);
    let resolved = records
        .iter()
        .filter(|record| record["type"] == "approval_resolved")
        .count();
    assert_eq!(resolved, 3, "each question is answered once");
    assert_flat_events(&router.lines());
}

#[test]
fn a_question_outlives_the_router() {
    let workspace = asking();
    let mut router = RouterProcess::daemon(&workspace);
    let swarm = router.launch_ready(1);
    let (injection, question) = question(&mut router, &swarm, 0);
    router.kill();
    let mut router = RouterProcess::daemon(&workspace);
    router.ask(json!({"command": "subscribe", "swarm_id": swarm.swarm_id, "since": 0}));
    // It can be answered by its name alone.
    let yes = json!({"command": "approve_execution", "swarm_id": swarm.swarm_id, "call_id": question["call_id"], "approved": true});
    router.asked(yes, "approval_ack");
    assert_eq!(
        outcome(&router, &injection),
        ["accept", "client", "completed", "completed"]
    );
}

#[test]
fn nobodys_answer_means_no_and_a_policy_needs_nobody() {
    let silent = asking().configured(|config| config["agent"]["approval_timeout_seconds"] = json!(1));
    let accepting = Workspace::echo().configured(|config| config["agent"]["approvals"] = json!("accept"));
    for (workspace, expected) in [
        (silent, ["decline", "timeout", "declined", "completed"]),
        (accepting, ["accept", "policy", "completed", "completed"]),
        (Workspace::echo(), ["decline", "policy", "declined", "completed"]),
    ] {
        let mut router = RouterProcess::daemon(&workspace);
        let swarm = router.launch_ready(1);
        let injection = router.inject(&swarm, 0, QUESTION);
        assert_eq!(outcome(&router, &injection), expected);
        let answer = router.event_of(&injection, "assistant");
        assert!(answer["content"].as_str().unwrap().ends_with("then"), "{answer}");
    }
}
