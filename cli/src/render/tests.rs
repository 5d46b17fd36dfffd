use super::*;
use insta::assert_snapshot;

fn shown(colours: Colours, events: &[serde_json::Value]) -> (String, Vec<String>) {
    let mut renderer = Renderer::new(colours);
    for event in events {
        let mut event = event.clone();
        event["swarm_id"] = "s1".into();
        event["job_id"] = "7".into();
        event["epoch"] = 1.into();
        event["timestamp"] = "2026-03-01T12:00:00.000Z".into();
        renderer.event(&Event::parse(event.to_string().into_bytes()).unwrap(), Duration::ZERO);
    }
    renderer.finish(Duration::ZERO);
    (renderer.take(), renderer.take_notes())
}

fn text(events: &[serde_json::Value]) -> String {
    shown(Colours::OFF, events).0
}

macro_rules! said {
    ($node:literal, $($json:tt)+) => {{
        let mut event = serde_json::json!({ $($json)+ });
        event["node_id"] = $node.into();
        event["seq"] = 1.into();
        event
    }};
}

#[test]
fn two_nodes_answer() {
    let mut events = Vec::new();
    for word in ["Hello ", "from ", "here"] {
        for node in [0, 1] {
            let mut event = said!(0, "type": "assistant_delta", "content": word);
            event["node_id"] = node.into();
            events.push(event);
        }
    }
    for node in [0, 1] {
        let mut whole = said!(0, "type": "assistant", "content": "Hello from here");
        let usage = serde_json::json!({"total_tokens":30,"input_tokens":20,"cached_input_tokens":5,"output_tokens":10,"reasoning_output_tokens":2});
        let mut end =
            said!(0, "type": "turn_complete", "status": "completed", "duration_ms": 1234, "usage": usage.clone());
        let mut again = usage.clone();
        again["type"] = "usage".into();
        again["seq"] = 1.into();
        for event in [&mut whole, &mut end, &mut again] {
            event["node_id"] = node.into();
        }
        events.extend([whole, end, again]);
    }
    assert_snapshot!(text(&events), @r"
    [swarm s1 | node 0]
    Hello from here
    (1.2 s · 30 tokens: 20 in (5 cached), 10 out (2 reasoning))
    [swarm s1 | node 1]
    Hello from here
    (1.2 s · 30 tokens: 20 in (5 cached), 10 out (2 reasoning))
    ");
}

#[test]
fn an_answer_without_pieces_and_usage_by_itself() {
    let usage = said!(3, "type": "usage", "total_tokens": 7, "input_tokens": 4, "cached_input_tokens": 0,
        "output_tokens": 3, "reasoning_output_tokens": 0);
    assert_snapshot!(text(&[
        said!(3, "type": "turn_started"),
        said!(3, "type": "assistant", "content": "One.\nTwo.\n"),
        said!(3, "type": "turn_complete", "status": "completed", "duration_ms": 61_500),
        usage,
    ]), @r"
    [swarm s1 | node 3]
    One.
    Two.
    (1 min 01 s)
    (7 tokens: 4 in, 3 out)
    ");
}

#[test]
fn commands_files_and_tools() {
    let long: String = (1..=25).map(|n| format!("line {n}\n")).collect();
    assert_snapshot!(text(&[
        said!(0, "type": "assistant_delta", "content": "I look"),
        said!(0, "type": "command_started", "call_id": "c1", "command": "ls -l"),
        said!(0, "type": "command_output_delta", "call_id": "c1", "content": "a\n"),
        said!(0, "type": "command_completed", "call_id": "c1", "command": "ls -l", "status": "completed", "exit_code": 0,
            "output": "a\n\u{1b}[31mb\u{1b}[0m\n", "duration_ms": 12),
        said!(0, "type": "command_completed", "call_id": "c2", "command": "make", "status": "failed", "exit_code": 2,
            "output": long),
        said!(0, "type": "command_completed", "call_id": "c3", "command": "rm -rf /", "status": "declined", "output": ""),
        said!(0, "type": "file_change", "call_id": "f", "status": "completed", "changes": [
            {"path": "src/a.rs", "operation": "update"}, {"path": "b", "operation": "move", "moved_to": "c"}]),
        said!(0, "type": "tool_started", "call_id": "t", "kind": "mcp", "name": "search"),
        said!(0, "type": "tool_completed", "call_id": "t", "kind": "mcp", "name": "search", "status": "failed"),
    ]), @r"
    [swarm s1 | node 0]
    I look
    $ ls -l
      a
      b
      exit 0 · 12 ms
    $ make
      … 5 lines before
      line 6
      line 7
      line 8
      line 9
      line 10
      line 11
      line 12
      line 13
      line 14
      line 15
      line 16
      line 17
      line 18
      line 19
      line 20
      line 21
      line 22
      line 23
      line 24
      line 25
      exit 2
    $ rm -rf /
      not allowed
    changed src/a.rs
    moved b to c
    * mcp search
      failed
    ");
}

#[test]
fn approvals_say_how_to_answer() {
    assert_snapshot!(text(&[
        said!(2, "type": "approval_required", "call_id": "7", "kind": "command", "command": "curl x", "reason": "needs the network",
            "available_decisions": ["accept", "decline", "cancel"]),
        said!(2, "type": "approval_resolved", "call_id": "7", "decision": "decline", "by": "timeout"),
    ]), @r"
    [swarm s1 | node 2]
    may I? (command) curl x
      needs the network
      answer: codeswarm approve s1 --node 2 --call 7 accept|decline|cancel
      decline by timeout
    ");
}

#[test]
fn failures() {
    assert_snapshot!(text(&[
        said!(0, "type": "assistant_delta", "content": "I beg"),
        said!(0, "type": "agent_error", "class": "overloaded", "message": "try later", "will_retry": true),
        said!(0, "type": "turn_complete", "status": "failed", "duration_ms": 5,
            "error": {"class": "rate_limit", "message": "slow down", "http_status": 429, "stderr_tail": "boom\n"}),
        said!(0, "type": "turn_complete", "status": "interrupted", "duration_ms": 5),
        said!(1, "type": "inject_failed", "error": "node_lost", "reason": "the worker is gone", "sub": 1),
        said!(1, "type": "node_lost", "reason": "no heartbeat for 90 s", "sub": 2),
        said!(1, "type": "turn_complete", "status": "failed", "sub": 3, "error": {"class": "worker_died", "message": "gone"}),
        said!(1, "type": "agent_exit", "message": "killed", "signal": 9, "restart_in_ms": 500, "stderr_tail": "x"),
    ]), @r"
    [swarm s1 | node 0]
    I beg
    the agent reports: try later; it tries again
    the turn failed: slow down, HTTP 429; the same prompt may succeed later
      boom
    (5 ms)
    interrupted
    (5 ms)
    [swarm s1 | node 1]
    the prompt was not taken (node_lost): the worker is gone
    the node is lost: no heartbeat for 90 s
    the turn failed: gone
    the agent ended: killed; it is started again in 500 ms
      x
    ");
}

#[test]
fn colours_end_before_the_newline() {
    let (text, _) = shown(
        Colours::ON,
        &[
            said!(0, "type": "turn_complete", "status": "failed", "duration_ms": 5, "error": {"class": "other", "message": "a"}),
        ],
    );
    assert_eq!(
        text,
        "\x1b[1;36m[swarm s1 | node 0]\x1b[0m\n\x1b[31mthe turn failed: a\x1b[0m\n\x1b[2m(5 ms)\x1b[0m\n"
    );
}

#[test]
fn what_is_about_no_node_is_a_note_and_routine_is_silent() {
    let (text, notes) = shown(
        Colours::OFF,
        &[
            serde_json::json!({"type": "link", "up": false, "reason": "ssh ended", "advice": "it is tried again"}),
            serde_json::json!({"type": "link", "up": false, "reason": "copying codeswarm to hpc"}),
            serde_json::json!({"type": "swarm_terminated", "status": "failed", "reason": "the job was cancelled"}),
            serde_json::json!({"type": "caught_up"}),
            serde_json::json!({"type": "weather"}),
            said!(0, "type": "inject_ack", "sub": 1),
            said!(0, "type": "turn_started"),
            said!(0, "type": "worker_exit", "reason": "shutdown", "inbox_offset": 3),
        ],
    );
    assert_eq!(text, "");
    assert_snapshot!(notes.join("\n"), @r"
    the link to the cluster is down: ssh ended; it is tried again; what was accepted waits
    connecting to the cluster: copying codeswarm to hpc
    swarm s1 ended without being asked to: the job was cancelled
    ");
}
