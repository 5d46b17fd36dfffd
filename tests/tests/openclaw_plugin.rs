//! The native plugin in the real OpenClaw: its tools, the router that it owns, the sessions that it wakes, its command.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use codeswarm_tests::chat_model::{ChatModel, ChatRequest, Move};
use codeswarm_tests::cli::{cli, run_within};
use codeswarm_tests::openclaw::{Gateway, OPENCLAW_PATIENCE, OpenClaw, TOKEN};
use codeswarm_tests::processes::Process;
use codeswarm_tests::requires;
use codeswarm_tests::workspace::{Workspace, wait_until};
use rustix::process::Signal;
use serde_json::{Value, json};

/// The longest reply that a model is shown whole by every client, in characters.
const LONGEST_REPLY: usize = 12_000;
/// A Gateway that waits for a call of a tool takes minutes; one that does not, seconds, on a busy machine too.
const STOPS_WITHIN: Duration = Duration::from_secs(45);

fn plugin() -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../integrations/openclaw-plugin");
    folder.canonicalize().unwrap()
}

/// Installs the plugin as its README says, for the router of this workspace.
fn install(openclaw: &OpenClaw) {
    let folder = plugin();
    let flags = ["--force", "--accept-capabilities"];
    let command = ["plugins", "install", "--link", folder.to_str().unwrap()];
    openclaw.run(&[&command[..], &flags[..]].concat()).success();
    let program = requires::codeswarm().canonicalize().unwrap();
    let settings = json!({"program": program, "configuration": openclaw.workspace().config_path()}).to_string();
    let key = "plugins.entries.codeswarm.config";
    openclaw
        .run(&["config", "set", key, &settings, "--strict-json"])
        .success();
}

/// Calls a tool that must succeed.
fn call(gateway: &Gateway, tool: &str, arguments: &Value) -> Value {
    let (status, body) = gateway.invoke(tool, arguments);
    let text = body["result"]["content"][0]["text"].as_str();
    let text = text.unwrap_or_else(|| panic!("{tool}: {status} {body:#}"));
    assert!(text.chars().count() <= LONGEST_REPLY, "{tool}: {text}");
    let value = body.pointer("/result/details/codeswarm").cloned();
    let value = value.unwrap_or_else(|| panic!("{tool}: {text}"));
    assert_eq!(serde_json::from_str::<Value>(text).unwrap(), value);
    value
}

/// Calls a tool that must fail; returns the sentence.
fn failed(gateway: &Gateway, tool: &str, arguments: &Value) -> String {
    let (_, body) = gateway.invoke(tool, arguments);
    let details = &body["result"]["details"];
    assert_eq!(details["status"], "failed", "{tool}: {body:#}");
    assert_eq!(
        details["error"], body["result"]["content"][0]["text"],
        "{tool}: {body:#}"
    );
    details["error"].as_str().unwrap().to_owned()
}

fn launch(gateway: &Gateway, nodes: u32) -> (String, String) {
    let launched = call(
        gateway,
        "codeswarm_launch",
        &json!({"nodes": nodes, "idempotency_key": "launch"}),
    );
    let word = |name: &str| launched[name].as_str().unwrap().to_owned();
    (word("swarm_id"), word("job_id"))
}

/// The router that the plugin owns.
fn router(workspace: &Workspace) -> Process {
    wait_until("the plugin's router", || {
        let routers = workspace.processes_named("--daemon");
        routers.first().cloned().ok_or_else(|| "none runs".to_owned())
    })
}

/// Waits until a node has begun to answer, and makes sure that it has not ended.
fn wait_until_in_mid_turn(workspace: &Workspace, job: &str, node: u32) {
    wait_until("a turn that goes on", || {
        let records = workspace.records_if_any(job, node).ok_or("no outbox")?;
        let count = |kind: &str| records.iter().filter(|record| record["type"] == kind).count();
        match (count("assistant_delta") >= 3, count("turn_complete")) {
            (true, 0) => Ok(()),
            (true, _) => panic!("the turn ended before anything could be done to it"),
            (false, _) => Err(format!("{} records", records.len())),
        }
    });
}

fn words(count: u32) -> String {
    (1..=count).map(|number| format!("word{number} ")).collect()
}

fn silent_model() -> ChatModel {
    ChatModel::playing(|_| Move::Say("Nothing to do.".into()))
}

/// Ends the Gateway, then the swarm, and leaves nothing.
fn end(gateway: Gateway, workspace: &Workspace, swarm: &str) {
    let end = gateway.stop();
    assert!(end.status.success() && end.took < STOPS_WITHIN, "{end:?}");
    cli(workspace, &["terminate", swarm]).success();
    cli(workspace, &["shutdown"]).success();
    workspace.wait_until_quiet();
}

#[test]
fn the_plugins_own_tests_pass() {
    let Some(installed) = requires::openclaw() else { return };
    let mut command = Command::new(installed.join("node_modules/node/bin/node"));
    command.args(["--test", "test/*.test.js"]).current_dir(plugin());
    let output = run_within(command, b"", OPENCLAW_PATIENCE);
    assert!(output.status.success(), "{}\n{}", output.stdout, output.stderr);
    assert!(output.stdout.contains("pass "), "{}", output.stdout);
}

#[test]
fn tools_work_without_a_model_and_a_router_that_is_killed_in_mid_turn_loses_and_doubles_nothing() {
    let Some(installed) = requires::openclaw() else { return };
    let workspace = Workspace::echo();
    let model = silent_model();
    let openclaw = OpenClaw::fresh(&installed, &workspace, &model);
    install(&openclaw);
    let gateway = openclaw.gateway();
    // It is there before anybody has asked for it.
    let first = router(&workspace);
    let (swarm, job) = launch(&gateway, 2);
    let prompt = json!({"swarm_id": swarm, "nodes": "all", "text": "[[echo deltas=100 pace_ms=200]]",
        "idempotency_key": "counted", "wait_s": 200});
    let answered = std::thread::scope(|scope| {
        let asking = scope.spawn(|| call(&gateway, "codeswarm_prompt", &prompt));
        for node in [0, 1] {
            wait_until_in_mid_turn(&workspace, &job, node);
        }
        workspace.signal(&first, Signal::KILL);
        asking.join().unwrap()
    });
    assert_eq!(
        (&answered["done"], &answered["pending"]),
        (&json!(true), &json!(0)),
        "{answered:#}"
    );
    let news = answered["news"].as_array().unwrap();
    assert_eq!(news.len(), 2, "{answered:#}");
    for one in news {
        assert_eq!(
            (&one["status"], &one["answer"]),
            (&json!("completed"), &json!(words(100)))
        );
    }
    assert_ne!(router(&workspace).pid, first.pid);
    // The same again does nothing again, and tells the same.
    assert_eq!(call(&gateway, "codeswarm_prompt", &prompt)["news"], answered["news"]);
    let status = call(&gateway, "codeswarm_status", &json!({"swarm_id": swarm}));
    for node in status["nodes"].as_array().unwrap() {
        assert_eq!((&node["turns"], &node["waiting"]), (&json!(1), &json!(0)), "{status:#}");
    }
    let page = call(
        &gateway,
        "codeswarm_output",
        &json!({"prompt": "counted", "node": 1, "offset": 6, "limit": 11}),
    );
    assert_eq!(
        (&page["text"], &page["eof"]),
        (&json!("word2 word3"), &json!(false)),
        "{page:#}"
    );

    let sentence = failed(&gateway, "codeswarm_wait", &json!({"prompt": "never asked"}));
    assert!(
        sentence.contains("nothing was asked here under the idempotency_key"),
        "{sentence}"
    );
    let sentence = failed(&gateway, "codeswarm_launch", &json!({"nodes": 2}));
    assert_eq!(sentence, "codeswarm_launch: idempotency_key is missing");
    let beyond = json!({"swarm_id": swarm, "nodes": "7", "text": "x", "idempotency_key": "beyond"});
    let sentence = failed(&gateway, "codeswarm_prompt", &beyond);
    assert!(sentence.contains("out of range"), "{sentence}");

    let ended = call(
        &gateway,
        "codeswarm_terminate",
        &json!({"swarm_id": swarm, "idempotency_key": "end"}),
    );
    assert_eq!(ended["state"], "terminating");
    let mut cursor = Value::Null;
    loop {
        let mut wait = json!({"swarm_id": swarm, "timeout_s": 50});
        if cursor.is_string() {
            wait["cursor"] = cursor;
        }
        let wait = call(&gateway, "codeswarm_wait", &wait);
        if wait["status"] == "terminated" {
            break;
        }
        cursor = wait["cursor"].clone();
    }
    // A Gateway that is killed leaves no router behind.
    gateway.kill();
    workspace.wait_until_quiet();
}

#[test]
fn a_gateway_stops_within_seconds_although_a_call_waits_and_the_swarm_goes_on() {
    let Some(installed) = requires::openclaw() else { return };
    let workspace = Workspace::echo();
    let model = silent_model();
    let openclaw = OpenClaw::fresh(&installed, &workspace, &model);
    install(&openclaw);
    let gateway = openclaw.gateway();
    let (swarm, job) = launch(&gateway, 1);

    // The command, to which no model is asked.
    let (_, said) = say(&openclaw, "/swarm");
    assert!(
        said.contains(&format!("{swarm}: running, 1 × echo (local, job {job})")),
        "{said}"
    );
    let (_, said) = say(&openclaw, &format!("/swarm {}", &swarm[..6]));
    assert!(said.contains("node 0: idle"), "{said}");
    let router_pid = router(&workspace).pid;
    let (_, said) = say(&openclaw, "/swarm router");
    assert!(said.contains(&format!("process {router_pid}, 1 live swarms")), "{said}");
    assert_eq!(model.requests().len(), 0);

    let prompt = json!({"swarm_id": swarm, "nodes": "all", "text": "[[echo deltas=100 pace_ms=200]]",
        "idempotency_key": "goes-on", "wait_s": 300});
    let ended = std::thread::scope(|scope| {
        let port = openclaw.port();
        let asking = scope.spawn(move || post(port, "codeswarm_prompt", &prompt));
        wait_until_in_mid_turn(&workspace, &job, 0);
        let stopped = gateway.stop();
        let heard = asking.join().unwrap();
        assert!(heard.contains("OpenClaw is stopping; the swarm goes on"), "{heard}");
        stopped
    });
    assert!(ended.status.success() && ended.took < STOPS_WITHIN, "{ended:?}");
    assert_eq!(workspace.processes_named("--daemon").len(), 0, "its router has left");
    assert_eq!(workspace.processes_named("worker").len(), 1, "the swarm is left alone");

    // The session that asked is woken by the next Gateway, although another router runs for the same state by then: the plugin's
    // process passes lines through to that one, and takes its place when it dies.
    let listed = cli(&workspace, &["list"]).success();
    assert!(listed.stdout.contains(&swarm), "{listed:#?}");
    let other = workspace.processes_named("--background").remove(0);
    let gateway = openclaw.gateway();
    model.wait_for_request("the end of the prompt", OPENCLAW_PATIENCE, |request| {
        wakes(request, "goes-on") == 1
    });
    let through = router(&workspace).pid;
    let (_, said) = say(&openclaw, "/swarm router");
    let expected = format!(
        "process {}, reached through process {through}, 1 live swarms",
        other.pid
    );
    assert!(said.contains(&expected), "{said}");
    workspace.signal(&other, Signal::KILL);
    let (_, said) = say(&openclaw, "/swarm router");
    assert!(said.contains(&format!("process {through}, 1 live swarms")), "{said}");
    end(gateway, &workspace, &swarm);
}

/// Says something in the main session's chat: what tools showed meanwhile, and what was answered in the end.
fn say(openclaw: &OpenClaw, message: &str) -> (Vec<String>, String) {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("clients/openclaw_stream.mjs");
    let mut command = Command::new("node");
    openclaw.set_environment(&mut command);
    let port = openclaw.port().to_string();
    command.arg(script).args([&port, TOKEN, "agent:main:main", message]);
    let output = run_within(command, b"", OPENCLAW_PATIENCE).success();
    let lines = output.stdout.lines().map(|line| serde_json::from_str(line).unwrap());
    let (mut shown, mut said) = (Vec::new(), None);
    for line in lines {
        let line: Value = line;
        let content = line.pointer("/shown/partialResult/content/0/text");
        shown.extend(content.and_then(Value::as_str).map(str::to_owned));
        said = line
            .pointer("/said/content/0/text")
            .and_then(Value::as_str)
            .map(str::to_owned);
    }
    (shown, said.unwrap_or_else(|| panic!("no answer: {output:#?}")))
}

/// A call that is on its way while its Gateway is told to stop; its answer, as far as one comes.
fn post(port: u16, tool: &str, arguments: &Value) -> String {
    use std::io::{Read, Write};
    let body = json!({"tool": tool, "args": arguments, "sessionKey": "agent:main:main"}).to_string();
    let request = format!(
        "POST /tools/invoke HTTP/1.1\r\nhost: 127.0.0.1\r\nauthorization: Bearer {TOKEN}\r\nconnection: close\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    let mut connection = std::net::TcpStream::connect(("127.0.0.1", port)).unwrap();
    connection.set_read_timeout(Some(OPENCLAW_PATIENCE)).unwrap();
    connection.write_all(request.as_bytes()).unwrap();
    let mut answer = Vec::new();
    let _until_it_ends = connection.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

/// How often a request tells that this prompt has ended.
fn wakes(request: &ChatRequest, prompt: &str) -> usize {
    let told = format!("of prompt \"{prompt}\" to swarm");
    let text = request.body.to_string().replace('\\', "");
    text.matches(&told).count()
}

/// What the model does: it calls the tool that its user spells out as `CALL TOOL ARGUMENTS`, then ends its turn.
fn obedient(request: &ChatRequest) -> Move {
    let messages = request.body["messages"].as_array().unwrap();
    let since = messages.iter().rposition(|message| message["role"] != "user");
    let new = &messages[since.map_or(0, |at| at + 1)..];
    for message in new {
        let text = match &message["content"] {
            Value::String(text) => text.clone(),
            parts => parts[0]["text"].as_str().unwrap_or_default().to_owned(),
        };
        if let Some((_, spelled)) = text.split_once("CALL ")
            && let Some((tool, rest)) = spelled.split_once(' ')
            && let Some(Ok(arguments)) = serde_json::Deserializer::from_str(rest).into_iter::<Value>().next()
        {
            return request.call(tool, arguments);
        }
    }
    Move::Say("Done.".into())
}

#[test]
fn a_session_is_woken_once_when_all_turns_of_its_prompt_have_ended_unless_it_waited() {
    let Some(installed) = requires::openclaw() else { return };
    let workspace = Workspace::echo();
    let model = ChatModel::playing(obedient);
    let openclaw = OpenClaw::fresh(&installed, &workspace, &model);
    install(&openclaw);
    let gateway = openclaw.gateway();
    let (swarm, _) = launch(&gateway, 3);
    let ask = |text: &str, key: &str, seconds: u32| {
        let arguments =
            json!({"swarm_id": swarm, "nodes": "all", "text": text, "idempotency_key": key, "wait_s": seconds});
        gateway.ask("main", &format!("CALL codeswarm_prompt {arguments}"));
    };
    // It waits, so it knows; and who watches its chat sees the answers as they are written.
    let arguments = json!({"swarm_id": swarm, "nodes": "all", "text": "[[echo deltas=30 pace_ms=100]]",
        "idempotency_key": "waited-for", "wait_s": 200});
    let (updates, _) = say(&openclaw, &format!("CALL codeswarm_prompt {arguments}"));
    let in_part = updates
        .iter()
        .filter(|text| text.contains("word1") && text.contains("of 3 turns have ended"));
    assert!(in_part.count() >= 2, "{updates:#?}");
    assert_eq!(updates.last().map(String::as_str), Some("3 of 3 turns have ended"));
    let heard = model.wait_for_request("the answers", OPENCLAW_PATIENCE, |request| {
        request.body.to_string().contains("all turns have ended")
    });
    assert!(
        heard.tools().contains(&"codeswarm_prompt") || heard.tools().contains(&"tool_call"),
        "{:?}",
        heard.tools()
    );
    // It does not wait; then three nodes end one after the other, and it is told once.
    ask("[[slow seconds=2]] slow", "woken-for", 0);
    model.wait_for_request("the wake", OPENCLAW_PATIENCE, |request| {
        wakes(request, "woken-for") == 1
    });
    // Whatever the first one or a further node's end had caused would have come before the wake of this one.
    ask("[[slow seconds=2]] again", "woken-again", 0);
    let last = model.wait_for_request("the second wake", OPENCLAW_PATIENCE, |request| {
        wakes(request, "woken-again") == 1
    });
    let text = last.body.to_string().replace('\\', "");
    assert!(
        text.contains("codeswarm: all 3 turns of prompt \"woken-again\""),
        "{text}"
    );
    let woken_by = |prompt: &str| {
        let requests = model.requests();
        let turns = requests
            .iter()
            .filter(|request| wakes(request, prompt) > 0 && is_wake(request));
        turns.count()
    };
    assert_eq!(woken_by("waited-for"), 0);
    assert_eq!(woken_by("woken-for"), 1);
    assert_eq!(woken_by("woken-again"), 1);
    end(gateway, &workspace, &swarm);
}

/// Whether the system has just told the model something about a prompt.
fn is_wake(request: &ChatRequest) -> bool {
    let messages = request.body["messages"].as_array().unwrap();
    let since = messages.iter().rposition(|message| message["role"] != "user");
    let new = &messages[since.map_or(0, |at| at + 1)..];
    new.iter().any(|message| message.to_string().contains("codeswarm: all"))
}
