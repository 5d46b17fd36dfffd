//! `codeswarm mcp` as a client of the Model Context Protocol meets it: the contract that OpenClaw and others hold a server to.

use std::time::{Duration, Instant};

use codeswarm_tests::mcp_client::McpSession;
use codeswarm_tests::router::RouterProcess;
use codeswarm_tests::workspace::Workspace;
use rustix::process::Signal;
use serde_json::{Value, json};

/// Two seconds are promised; a machine that is busy with other tests has as many again.
const LEAVES_WITHIN: Duration = Duration::from_secs(4);

fn end(workspace: &Workspace, session: &mut McpSession, swarm: &str) {
    session.call(
        "terminate",
        json!({"swarm_id": swarm, "idempotency_key": format!("end-{swarm}")}),
    );
    loop {
        let ended = session.call("wait", json!({"swarm_id": swarm, "cursor": "", "timeout_s": 50}));
        if ended["status"] == "terminated" {
            break;
        }
    }
    session.close_stdin();
    assert!(session.wait_exit().success());
    workspace.command(&["shutdown"]).output().unwrap();
    workspace.wait_until_quiet();
}

fn nodes_of(news: &[Value]) -> Vec<u64> {
    let mut nodes: Vec<u64> = news.iter().map(|one| one["node"].as_u64().unwrap()).collect();
    nodes.sort_unstable();
    nodes
}

#[test]
fn a_prompt_goes_to_all_nodes_and_each_answer_is_told_once() {
    let workspace = Workspace::echo();
    let mut session = McpSession::open(&workspace);
    let swarm = session.launch(3, "l");
    let prompt = json!({"swarm_id": swarm, "nodes": "all", "text": "six times seven", "idempotency_key": "p"});
    let sent = session.call("prompt", prompt.clone());
    assert_eq!(
        (&sent["turns"], &sent["nodes"], &sent["prompt"]),
        (&json!(3), &json!("0-2"), &json!("p"))
    );
    let news = session.wait_until_done("p");
    assert_eq!(nodes_of(&news), [0, 1, 2]);
    for one in &news {
        assert_eq!(
            (&one["status"], &one["answer"]),
            (&json!("completed"), &json!("six times seven"))
        );
    }
    // What OpenClaw does when a call timed out, and what models do anyway: the same once more.
    assert_eq!(session.call("prompt", prompt), sent);
    let again = session.call("launch", json!({"nodes": 3, "idempotency_key": "l"}));
    assert_eq!(again["swarm_id"], json!(swarm));
    let status = session.call("status", json!({"swarm_id": swarm}));
    for node in status["nodes"].as_array().unwrap() {
        assert_eq!((&node["turns"], &node["waiting"]), (&json!(1), &json!(0)), "{status:#}");
    }
    let page = session.call("output", json!({"prompt": "p", "node": 2}));
    assert_eq!((&page["text"], &page["eof"]), (&json!("six times seven"), &json!(true)));
    let other = json!({"swarm_id": swarm, "nodes": "all", "text": "another", "idempotency_key": "p"});
    assert!(session.failed("prompt", other).contains("was used for another command"));
    end(&workspace, &mut session, &swarm);
}

#[test]
fn a_cursor_tells_each_end_once_and_a_wait_without_news_comes_back() {
    let workspace = Workspace::echo();
    let mut session = McpSession::open(&workspace);
    let swarm = session.launch(2, "l");
    let prompt = |key: &str, nodes: &str, text: &str| json!({"swarm_id": swarm, "nodes": nodes, "text": text, "idempotency_key": key});
    session.call("prompt", prompt("stuck", "1", "[[hang]]"));
    session.call("prompt", prompt("p", "all", "quick"));
    let first = session.call("wait", json!({"prompt": "p"}));
    assert_eq!(
        (nodes_of(first["news"].as_array().unwrap()), &first["done"]),
        (vec![0], &json!(false))
    );
    assert_eq!(first["cursor"], "0");
    let begun = Instant::now();
    let second = session.call(
        "wait",
        json!({"prompt": "p", "cursor": first["cursor"], "timeout_s": 1}),
    );
    assert!(begun.elapsed() >= Duration::from_secs(1));
    assert_eq!((&second["news"], &second["pending"]), (&json!([]), &json!(1)));
    assert_eq!(second["cursor"], first["cursor"]);
    assert_eq!(second["going_on"][0]["node"], 1, "{second:#}");
    session.call(
        "interrupt",
        json!({"swarm_id": swarm, "nodes": 1, "idempotency_key": "stop"}),
    );
    let third = session.call("wait", json!({"prompt": "p", "cursor": second["cursor"]}));
    assert_eq!(
        (nodes_of(third["news"].as_array().unwrap()), &third["done"]),
        (vec![1], &json!(true))
    );
    let stopped = session.call("wait", json!({"prompt": "stuck"}));
    assert_eq!(stopped["news"][0]["status"], "interrupted");
    end(&workspace, &mut session, &swarm);
}

#[test]
fn tools_are_listed_without_asking_anybody_and_a_late_cancel_of_the_first_request_is_nothing() {
    let workspace = Workspace::echo().configured(|config| {
        // No such host: whoever asks Slurm for anything now waits for ssh.
        config["ssh"] = json!({"login_alias": "nobody@203.0.113.1"});
        config["cluster"] = json!({"workspace_root": "/scratch/x"});
    });
    let mut session = McpSession::open(&workspace);
    session.notify(
        "notifications/cancelled",
        json!({"requestId": 0, "reason": "TimeoutError"}),
    );
    let begun = Instant::now();
    let listed = session.request("tools/list", json!({}));
    // OpenClaw gives 1.5 s.
    assert!(begun.elapsed() < Duration::from_millis(1500), "{:?}", begun.elapsed());
    let names: Vec<&str> = listed["result"]["tools"]
        .as_array()
        .unwrap()
        .iter()
        .map(|tool| tool["name"].as_str().unwrap())
        .collect();
    assert_eq!(
        names,
        [
            "launch",
            "prompt",
            "wait",
            "status",
            "output",
            "steer",
            "interrupt",
            "approve",
            "terminate",
            "doctor"
        ]
    );
    assert!(!workspace.socket().exists(), "no router was started");
    session.close_stdin();
    assert!(session.wait_exit().success());
}

#[test]
fn a_wrong_call_is_a_result_that_says_what_is_wrong() {
    let workspace = Workspace::echo();
    let mut session = McpSession::open(&workspace);
    let swarm = session.launch(1, "l");
    let table = [
        ("launch", json!({"nodes": 1}), "idempotency_key"),
        ("launch", json!({"nodes": 0, "idempotency_key": "x"}), "nodes"),
        (
            "launch",
            json!({"nodes": 1, "idempotency_key": "x", "colour": "red"}),
            "colour",
        ),
        ("launch", json!({"nodes": 1, "idempotency_key": ""}), "empty"),
        (
            "prompt",
            json!({"swarm_id": swarm, "nodes": "5", "text": "x", "idempotency_key": "x"}),
            "0 to 0",
        ),
        (
            "prompt",
            json!({"swarm_id": "sw-none", "nodes": "all", "text": "x", "idempotency_key": "x"}),
            "sw-none",
        ),
        (
            "prompt",
            json!({"swarm_id": swarm, "nodes": "some", "text": "x", "idempotency_key": "x"}),
            "ranges",
        ),
        (
            "prompt",
            json!({"swarm_id": swarm, "nodes": "all", "text": "", "idempotency_key": "x"}),
            "empty",
        ),
        ("wait", json!({}), "say prompt"),
        ("wait", json!({"prompt": "never"}), "\"never\""),
        ("output", json!({"prompt": "never"}), "\"never\""),
        ("status", json!({"swarm_id": "sw-none"}), "sw-none"),
        (
            "interrupt",
            json!({"swarm_id": swarm, "nodes": 3, "idempotency_key": "x"}),
            "0 to 0",
        ),
        (
            "terminate",
            json!({"swarm_id": "sw-none", "idempotency_key": "x"}),
            "sw-none",
        ),
        ("dance", json!({}), "launch, prompt, wait"),
    ];
    for (tool, arguments, words) in table {
        let sentence = session.failed(tool, arguments.clone());
        assert!(sentence.contains(words), "{tool} {arguments}: {sentence}");
    }
    assert!(
        session.lines().iter().all(|line| line.get("error").is_none()),
        "three errors in a row pause a server"
    );
    let status = session.call("status", json!({"swarm_id": swarm}));
    assert_eq!(status["nodes"][0]["turns"], 0, "nothing was done");
    end(&workspace, &mut session, &swarm);
}

#[test]
fn a_cancelled_wait_and_a_closed_session_stop_the_waiting_and_never_the_work() {
    let workspace = Workspace::echo();
    let mut session = McpSession::open(&workspace);
    let swarm = session.launch(1, "l");
    session.call(
        "prompt",
        json!({"swarm_id": swarm, "nodes": 0, "text": "[[slow seconds=3]] made it", "idempotency_key": "p"}),
    );
    let waiting = session.begin("wait", json!({"prompt": "p", "timeout_s": 50}));
    session.notify(
        "notifications/cancelled",
        json!({"requestId": waiting, "reason": "timed out"}),
    );
    session.begin("wait", json!({"prompt": "p", "timeout_s": 50}));
    session.close_stdin();
    let begun = Instant::now();
    assert!(session.wait_exit().success());
    assert!(begun.elapsed() < LEAVES_WITHIN, "{:?}", begun.elapsed());
    let cancelled = session.lines().into_iter().find(|line| line["id"] == waiting);
    assert!(
        cancelled.is_none(),
        "a cancelled request has no response: {cancelled:?}"
    );

    let mut next = McpSession::open(&workspace);
    let news = next.wait_until_done("p");
    assert_eq!(news[0]["answer"], "made it", "{news:#?}");
    end(&workspace, &mut next, &swarm);
}

#[test]
fn sessions_share_one_router_which_outlives_them_and_holds_none_of_their_descriptors() {
    let workspace = Workspace::echo();
    let fifo = workspace.path().join("inherited");
    rustix::fs::mkfifoat(rustix::fs::CWD, &fifo, rustix::fs::Mode::from_raw_mode(0o600)).unwrap();
    let program = workspace.command(&["mcp"]);
    let mut command = std::process::Command::new("/bin/sh");
    command
        .arg("-c")
        .arg("exec \"$0\" \"$@\" 9>\"$FIFO\"")
        .arg(program.get_program())
        .args(program.get_args());
    workspace.set_environment(&mut command);
    command.env("FIFO", &fifo);
    let reader = std::thread::spawn({
        let fifo = fifo.clone();
        move || std::fs::read(fifo)
    });
    let mut first = McpSession::start(command);
    let swarm = first.launch(1, "l");
    let mut second = McpSession::open(&workspace);
    assert_eq!(second.call("status", json!({}))["swarms"][0]["swarm_id"], json!(swarm));
    assert_eq!(workspace.processes_named(" router ").len(), 1);
    first.close_stdin();
    assert!(first.wait_exit().success());
    // The pipe ends with the session, although the router that it started goes on.
    assert!(reader.join().unwrap().unwrap().is_empty());
    assert_eq!(workspace.processes_named(" router ").len(), 1);
    second.call(
        "prompt",
        json!({"swarm_id": swarm, "nodes": "all", "text": "still there", "idempotency_key": "p"}),
    );
    assert_eq!(second.wait_until_done("p")[0]["answer"], "still there");
    end(&workspace, &mut second, &swarm);
}

#[test]
fn p3_p8_a_router_that_is_killed_in_mid_turn_loses_no_answer_and_starts_nothing_twice() {
    let workspace = Workspace::echo();
    let mut session = McpSession::open(&workspace);
    let swarm = session.launch(2, "l");
    let prompt =
        json!({"swarm_id": swarm, "nodes": "all", "text": "[[slow seconds=2]] after all", "idempotency_key": "p"});
    session.call("prompt", prompt.clone());
    let waiting = session.begin("wait", json!({"prompt": "p", "timeout_s": 50}));
    let router = workspace.processes_named(" router ").pop().unwrap();
    workspace.signal(&router, Signal::KILL);
    let response = session.response(waiting);
    assert_eq!(response["result"]["isError"], false, "{response:#}");
    session.call("prompt", prompt);
    let news = session.wait_until_done("p");
    assert_eq!(nodes_of(&news), [0, 1]);
    assert!(news.iter().all(|one| one["answer"] == "after all"), "{news:#?}");
    let status = session.call("status", json!({"swarm_id": swarm}));
    assert!(
        status["nodes"]
            .as_array()
            .unwrap()
            .iter()
            .all(|node| node["turns"] == 1),
        "{status:#}"
    );
    end(&workspace, &mut session, &swarm);
}

#[test]
fn a_long_answer_comes_in_pages_that_make_it_whole() {
    let workspace = Workspace::echo();
    let mut session = McpSession::open(&workspace);
    let swarm = session.launch(1, "l");
    session.call(
        "prompt",
        json!({"swarm_id": swarm, "nodes": 0, "text": "[[long bytes=30000]]", "idempotency_key": "p"}),
    );
    let news = session.wait_until_done("p");
    assert_eq!(news[0]["cut"], true);
    let job = session.call("status", json!({"swarm_id": swarm}))["job_id"]
        .as_str()
        .unwrap()
        .to_owned();
    let records = workspace.records(&job, 0);
    let said: Vec<&str> = records
        .iter()
        .filter(|record| record["type"] == "assistant")
        .map(|record| record["content"].as_str().unwrap())
        .collect();
    let (mut text, mut offset, mut pages) = (String::new(), 0, 0);
    loop {
        let page = session.call("output", json!({"prompt": "p", "offset": offset}));
        text += page["text"].as_str().unwrap();
        offset = page["next_offset"].as_u64().unwrap();
        pages += 1;
        if page["eof"] == true {
            break;
        }
    }
    assert!(pages > 3, "{pages}");
    assert_eq!(text.trim_end(), said.join("\n\n").trim_end());
    end(&workspace, &mut session, &swarm);
}

#[test]
fn an_agent_that_asks_is_told_and_answered() {
    let workspace = Workspace::echo().configured(|config| config["agent"]["approvals"] = json!("ask"));
    let mut session = McpSession::open(&workspace);
    let swarm = session.launch(1, "l");
    let text = "[[approve command=\"make install\"]] built";
    session.call(
        "prompt",
        json!({"swarm_id": swarm, "nodes": 0, "text": text, "idempotency_key": "p"}),
    );
    let asks = session.call("wait", json!({"prompt": "p"}));
    let question = &asks["questions"][0];
    assert_eq!(question["asks"], "make install", "{asks:#}");
    let told = session.call("wait", json!({"prompt": "p", "cursor": asks["cursor"], "timeout_s": 0}));
    assert_eq!(told["questions"], json!([]));
    let answer = json!({"swarm_id": swarm, "node": 0, "call_id": question["call_id"], "decision": "accept", "idempotency_key": "yes"});
    session.call("approve", answer);
    let news = session.wait_until_done("p");
    assert_eq!(news[0]["status"], "completed");
    end(&workspace, &mut session, &swarm);
}

#[test]
fn progress_is_told_to_who_asks_for_it_and_to_nobody_else() {
    let workspace = Workspace::echo();
    let mut session = McpSession::open(&workspace);
    let swarm = session.launch(1, "l");
    session.call(
        "prompt",
        json!({"swarm_id": swarm, "nodes": 0, "text": "[[slow seconds=1]] x", "idempotency_key": "p"}),
    );
    session.wait_until_done("p");
    let progress = |session: &McpSession| {
        session
            .lines()
            .into_iter()
            .filter(|line| line["method"] == "notifications/progress")
            .collect::<Vec<_>>()
    };
    assert!(progress(&session).is_empty());
    session.call(
        "prompt",
        json!({"swarm_id": swarm, "nodes": 0, "text": "[[slow seconds=1]] x", "idempotency_key": "q"}),
    );
    let arguments = json!({"name": "wait", "arguments": {"prompt": "q"}, "_meta": {"progressToken": "t"}});
    session.request("tools/call", arguments);
    let told = progress(&session);
    assert!(!told.is_empty());
    assert!(
        told.iter()
            .all(|step| step["params"]["progressToken"] == "t" && step["params"]["total"] == 1.0),
        "{told:#?}"
    );
    end(&workspace, &mut session, &swarm);
}

#[test]
fn what_a_model_began_a_program_sees_and_the_other_way_round() {
    let workspace = Workspace::echo();
    let mut session = McpSession::open(&workspace);
    let swarm = session.launch(1, "l");
    let mut router = RouterProcess::daemon(&workspace);
    let request = router.ask(
        json!({"command": "inject", "request_id": "from-a-program", "swarm_id": swarm, "nodes": 0, "content": "hi"}),
    );
    router.answer(&request, "turn_complete");
    assert_eq!(session.wait_until_done("from-a-program")[0]["answer"], "hi");
    session.call(
        "prompt",
        json!({"swarm_id": swarm, "nodes": 0, "text": "ho", "idempotency_key": "from-a-model"}),
    );
    session.wait_until_done("from-a-model");
    let recalled = router.ask(json!({"command": "recall", "of": "from-a-model"}));
    assert_eq!(
        router.answer(&recalled, "recalled")["injections"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
    router.answer(&recalled, "caught_up");
    router.answer("from-a-model", "turn_complete");
    router.leave();
    end(&workspace, &mut session, &swarm);
}
