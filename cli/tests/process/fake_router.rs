//! The command against a router that does what no good router does: closes connections, says things twice, says things
//! that nobody knows. It is a socket in this test, and each connection plays its own scene.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::thread::JoinHandle;

use serde_json::{Value, json};

use crate::support::User;

/// One connection of the client.
struct Client {
    reader: BufReader<UnixStream>,
    writer: UnixStream,
}

impl Client {
    /// The next command, which must be this one.
    fn hears(&mut self, command: &str) -> Value {
        let mut line = String::new();
        self.reader.read_line(&mut line).unwrap();
        let said: Value = serde_json::from_str(&line).unwrap_or_else(|_| panic!("no command {command}: {line:?}"));
        assert_eq!(said["command"], command, "{line}");
        said
    }

    /// Says an event as it is, with what all events have.
    fn says(&mut self, event: Value) {
        let mut event = event;
        event["timestamp"] = "2026-03-01T12:00:00.000Z".into();
        writeln!(self.writer, "{event}").unwrap();
    }

    /// An event of node 0 of swarm s1 for the injection i0.
    fn says_of_node(&mut self, seq: u64, sub: u64, request: &Value, event: Value) {
        let mut event = event;
        event["swarm_id"] = "s1".into();
        event["job_id"] = "7".into();
        event["node_id"] = 0.into();
        event["injection_id"] = "i0".into();
        event["request_id"] = request["request_id"].clone();
        event["seq"] = seq.into();
        if sub > 0 {
            event["sub"] = sub.into();
        }
        self.says(event);
    }

    fn says_delta(&mut self, seq: u64, request: &Value, text: &str) {
        self.says_of_node(seq, 0, request, json!({"type": "assistant_delta", "content": text}));
    }

    fn answers_status(&mut self, seq: u64) {
        let asked = self.hears("swarm_status");
        self.says(
            json!({"type": "swarm_status", "request_id": asked["request_id"], "swarm_id": "s1", "job_id": "7",
            "node_count": 1, "status": "running", "nodes": [{"node_id": 0, "state": "idle", "epoch": 1,
            "open_injections": 0, "turns": 0, "tokens": 0, "seq": seq}]}),
        );
    }
}

/// Plays one scene after another, each on a connection of its own.
fn plays<const N: usize>(user: &User, scenes: [fn(&mut Client, &mut Vec<Value>); N]) -> JoinHandle<()> {
    std::fs::create_dir_all(user.path("state")).unwrap();
    let listener = UnixListener::bind(user.path("state/router.sock")).unwrap();
    std::thread::spawn(move || {
        let mut kept = Vec::new();
        for scene in scenes {
            let (stream, _) = listener.accept().unwrap();
            let mut client = Client {
                reader: BufReader::new(stream.try_clone().unwrap()),
                writer: stream,
            };
            scene(&mut client, &mut kept);
        }
    })
}

#[test]
fn a_command_that_was_cut_off_is_repeated_under_its_name() {
    let user = User::new();
    let router = plays(
        &user,
        [
            |client, _| client.answers_status(4),
            |client, kept| kept.push(client.hears("inject")),
            |client, kept| {
                let again = client.hears("inject");
                assert_eq!(again, kept[0]);
                let subscribe = client.hears("subscribe");
                assert_eq!(subscribe["since"], json!({"0": "4"}));
                client.hears("swarm_status");
                // A repeated command is answered again, and so is the subscription: in either order, once is enough.
                client.says_of_node(4, 1, &again, json!({"type": "inject_ack"}));
                client.says(json!({"type": "subscribed", "request_id": subscribe["request_id"], "swarm_id": "s1"}));
                client.says_of_node(4, 1, &again, json!({"type": "inject_ack"}));
                client.says_delta(5, &again, "one ");
                client.says_delta(5, &again, "one ");
                client.says(json!({"type": "caught_up", "request_id": subscribe["request_id"], "swarm_id": "s1"}));
                client.says_delta(6, &again, "two");
                client.says(json!({"type": "weather", "sunny": true}));
                client.says_of_node(7, 0, &again, json!({"type": "assistant", "content": "one two"}));
                let end = json!({"type": "turn_complete", "status": "completed", "duration_ms": 1500});
                client.says_of_node(8, 0, &again, end);
            },
        ],
    );
    let ended = user.run(&["inject", "s1", "--prompt", "x"]);
    router.join().unwrap();
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert_eq!(ended.stdout, "[swarm s1 | node 0]\none two\n(1.5 s)\n");
    assert!(
        ended.stderr.contains("the connection to the router is lost"),
        "{}",
        ended.stderr
    );
}

#[test]
fn a_stream_that_breaks_in_the_middle_of_a_line_goes_on_where_it_was() {
    let user = User::new();
    let router = plays(
        &user,
        [
            |client, _| client.answers_status(4),
            |client, _| {
                let inject = client.hears("inject");
                client.says_of_node(4, 1, &inject, json!({"type": "inject_ack"}));
                client.says_delta(5, &inject, "one ");
                client
                    .writer
                    .write_all(b"{\"type\":\"assistant_delta\",\"content\":\"tw")
                    .unwrap();
            },
            |client, _| {
                let inject = client.hears("inject");
                let subscribe = client.hears("subscribe");
                assert_eq!(subscribe["since"], json!({"0": "5"}));
                client.says(json!({"type": "subscribed", "request_id": subscribe["request_id"], "swarm_id": "s1"}));
                client.says_delta(6, &inject, "two");
                let end = json!({"type": "turn_complete", "status": "interrupted", "duration_ms": 2});
                client.says_of_node(7, 0, &inject, end);
            },
        ],
    );
    let ended = user.run(&["inject", "s1", "--prompt", "x", "--json"]);
    router.join().unwrap();
    assert_eq!(ended.code, Some(1), "an interrupted turn: {ended:?}");
    let deltas: Vec<String> = ended
        .events()
        .iter()
        .filter_map(|event| Some(event["content"].as_str()?.to_owned()))
        .collect();
    assert_eq!(deltas, ["one ", "two"]);
    assert_eq!(ended.events().len(), 4, "{}", ended.stdout);
}

#[test]
fn a_refusal_is_told_to_people_and_to_programs() {
    let refuse: fn(&mut Client, &mut Vec<Value>) = |client, _| {
        let asked = client.hears("swarm_status");
        client.says(
            json!({"type": "command_rejected", "request_id": asked["request_id"], "code": "unknown_swarm",
            "field": "swarm_id", "reason": "swarm_id: no swarm s1 is known here"}),
        );
    };
    let user = User::new();
    let router = plays(&user, [refuse, refuse]);
    let ended = user.run(&["status", "s1"]);
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(1), ""));
    assert_eq!(
        ended.stderr,
        "codeswarm: the router refused the command: swarm_id: no swarm s1 is known here\n  \
         codeswarm list shows the swarms that this router knows; another --config means another router\n"
    );
    let ended = user.run(&["status", "s1", "--json"]);
    router.join().unwrap();
    assert_eq!(ended.events()[0]["type"], "command_rejected");
    let failure: Value = serde_json::from_str(&ended.stderr).unwrap();
    assert_eq!(failure["exit_code"], 1);
}

#[test]
fn a_router_of_another_version_is_pointed_out() {
    let user = User::new();
    let router = plays(
        &user,
        [
            |_, _| {},
            |client, _| {
                let ping = client.hears("ping");
                client.says(
                    json!({"type": "pong", "request_id": ping["request_id"], "version": "9.9.9", "pid": 1,
                    "live_swarms": 0}),
                );
            },
        ],
    );
    let ended = user.run(&["ping"]);
    router.join().unwrap();
    assert_eq!(
        (ended.code, ended.stdout.as_str()),
        (Some(0), "router 9.9.9, process 1, 0 live swarms\n")
    );
    assert!(ended.stderr.contains("codeswarm shutdown"), "{}", ended.stderr);
}

#[test]
fn a_router_that_closes_every_connection_is_given_up_with_75() {
    let user = User::new();
    let router = plays(&user, [|_, _| {}; 8]);
    let ended = user.run(&["list"]);
    assert_eq!(ended.code, Some(75), "{ended:?}");
    assert!(ended.stderr.contains("closes every connection"), "{}", ended.stderr);
    drop(router);
}
