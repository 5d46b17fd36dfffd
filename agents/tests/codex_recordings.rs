//! Conversations recorded with the real `codex app-server` 0.169, played to the driver: what it writes, and what it tells.
//!
//! A recording holds both directions. What its client did is turned into the worker's commands, what the server said is fed to
//! the driver (an answer under the id of the driver's own request), and the driver's effects are compared with a snapshot.

use std::fmt::Write;
use std::time::Duration;

use codeswarm_agents::codex::{CodexDriver, CodexSettings};
use codeswarm_agents::{AgentCommand, AgentEvent, Death, Driver, Effect};
use codeswarm_protocol::launch::{AgentSpec, ApprovalPolicy, Approvals, Sandbox};
use codeswarm_protocol::record::Word;
use codeswarm_protocol::turn::Decision;
use serde_json::{Value, json};

/// Plays recordings; each is a test with a snapshot of its own. What stands after the name changes the settings.
macro_rules! recordings {
    ($($test:ident = $file:literal $(, $settings:expr)?;)+) => {$(
        #[test]
        fn $test() {
            let settings = settings();
            $(let settings = changed(settings, $settings);)?
            insta::assert_snapshot!(stringify!($test), play($file, settings));
        }
    )+};
}

recordings! {
    network_down_for_ever = "00_network_down";
    network_down_in_bounds = "85_network_down_bounded";
    approval_accepted_by_policy = "04_approval_exec_accept", |s| asks(s, Approvals::Accept);
    approval_declined_by_policy = "05_approval_exec_decline", |s| asks(s, Approvals::Decline);
    approval_cancelled_by_client = "06_approval_exec_cancel", |s| asks(s, Approvals::Ask);
    approval_untrusted = "07_approval_untrusted", |s| {
        asks(s, Approvals::Ask);
        s.agent.approval_policy = ApprovalPolicy::Untrusted;
    };
    patch = "10_patch_freeform";
    http_500 = "20_http500_always";
    http_429 = "22_http429_always";
    http_429_usage_limit = "23_http429_usage_limit";
    insufficient_quota = "24_stream_insufficient_quota";
    context_length_exceeded = "26_context_length_exceeded";
    http_400 = "28_http400";
    http_401 = "29_http401";
    http_404 = "30_http404";
    http_503 = "31_http503";
    stream_cut_once = "33_cut_once_then_ok";
    empty_answer = "34_empty";
    incomplete_answer = "35_incomplete";
    silent_stream = "36_hang_idle_timeout";
    steer = "42_steer";
    interrupt = "43_interrupt";
    turn_after_failure = "44_turn_after_failure";
    two_threads = "45_two_threads_one_process";
    parallel_calls = "48_parallel_calls_in_one_response";
    end_of_input_in_mid_turn = "51_eof_during_text";
    killed_in_mid_turn = "60_resume_a_killed_midturn";
    resumed_after_a_kill = "61_resume_b_new_process", |s| resumes(s, "01a2005d-1dee-7252-a7b6-974f5c62c6b0");
    resumed_from_its_file = "64_resume_portable_b_rollout_only", |s| resumes(s, "01a2005d-a2ca-7220-b3f9-15815fa8f4af");
    resumed_without_its_file = "66_resume_portable_d_no_rollout", |s| resumes(s, "01a2005d-a2ca-7220-b3f9-15815fa8f4af");
    resumed_while_in_use = "62_resume_c_second_live_process", |s| resumes(s, "01a2005d-1dee-7252-a7b6-974f5c62c6b0");
    bad_value_in_the_configuration = "72_bad_value";
    bad_approval_policy = "73_bad_value_policy";
    unknown_provider = "75_param_provider_nope", |s| s.agent.model_provider = Some("nope".into());
    key_variable_missing = "81_no_env_key";
    background_terminal = "8d_background_terminal";
    login_in_memory = "9g_ephemeral_login_turn", |s| {
        s.api_key = Some("dummy-key".into());
    };
}

fn settings() -> CodexSettings {
    CodexSettings {
        agent: AgentSpec {
            sandbox: Sandbox::DangerFullAccess,
            approval_policy: ApprovalPolicy::Never,
            ..AgentSpec::default()
        },
        cwd: "/home/user/work".into(),
        resume: None,
        api_key: None,
    }
}

fn changed(mut settings: CodexSettings, change: fn(&mut CodexSettings)) -> CodexSettings {
    change(&mut settings);
    settings
}

fn asks(settings: &mut CodexSettings, approvals: Approvals) {
    settings.agent.approvals = approvals;
    settings.agent.approval_policy = ApprovalPolicy::OnRequest;
    settings.agent.sandbox = Sandbox::WorkspaceWrite;
}

fn resumes(settings: &mut CodexSettings, thread_id: &str) {
    settings.resume = Some(thread_id.to_owned());
}

/// A request of the driver's that the recording has not answered yet.
struct Asked {
    id: u64,
    method: String,
    params: Value,
}

struct Player {
    driver: CodexDriver,
    asked: Vec<Asked>,
    ready_thread: Option<String>,
    turn: Option<String>,
    question: Option<String>,
    prompts: usize,
    ends: usize,
    deltas: (String, usize),
    told: String,
}

fn play(file: &str, settings: CodexSettings) -> String {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/codex");
    let path = format!("{folder}/{file}.jsonl");
    let recording = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    let lines: Vec<Value> = recording
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{path}: {error}")))
        .collect();
    let mut player = Player {
        driver: CodexDriver::new(settings),
        asked: Vec::new(),
        ready_thread: None,
        turn: None,
        question: None,
        prompts: 0,
        ends: 0,
        deltas: (String::new(), 0),
        told: String::new(),
    };
    let mut now = Duration::ZERO;
    let effects = player.driver.open(now);
    player.take(effects);
    for line in &lines {
        now = Duration::from_secs_f64(line["t"].as_f64().unwrap_or_default());
        while player.driver.deadline().is_some_and(|deadline| deadline <= now) {
            let effects = player.driver.tick(now);
            player.take(effects);
        }
        match line["dir"].as_str() {
            Some("in") => player.client_did(&line["msg"], now),
            Some("out") => player.server_said(&line["msg"], &lines, now),
            _ => {}
        }
    }
    if player.prompts > player.ends {
        let death = lines
            .iter()
            .rev()
            .find_map(|line| line["msg"].get("exit").map(|_| &line["msg"]));
        let signal = death.and_then(|death| death["sig"].as_i64());
        let death = Death {
            code: if signal.is_some() { None } else { Some(0) },
            signal: signal.and_then(|signal| i32::try_from(signal).ok()),
            stderr_tail: None,
        };
        let effects = player.driver.gone(&death, now);
        player.take(effects);
    }
    player.flush_deltas();
    player.told
}

impl Player {
    /// Does what the recording's client did, in a worker's words.
    fn client_did(&mut self, message: &Value, now: Duration) {
        let params = &message["params"];
        let prompt = params["input"][0]["text"].as_str().unwrap_or_default().to_owned();
        let ours = self.ready_thread.as_deref() == params["threadId"].as_str();
        let command = match message["method"].as_str() {
            Some("turn/start") if ours => {
                self.prompts += 1;
                AgentCommand::RunTurn { prompt }
            }
            Some("turn/interrupt") if self.is_turn(&params["turnId"]) => AgentCommand::Interrupt,
            Some("turn/steer") if self.is_turn(&params["expectedTurnId"]) => AgentCommand::Steer { token: 7, prompt },
            None => {
                let decision = serde_json::from_value::<Decision>(message["result"]["decision"].clone());
                match (decision, self.question.take()) {
                    (Ok(decision), Some(call_id)) => AgentCommand::Approve {
                        call_id,
                        decision,
                        by: "client",
                    },
                    _ => return,
                }
            }
            _ => return,
        };
        let effects = self.driver.command(command, now);
        self.take(effects);
    }

    fn is_turn(&self, id: &Value) -> bool {
        self.turn.is_some() && self.turn.as_deref() == id.as_str()
    }

    fn server_said(&mut self, message: &Value, lines: &[Value], now: Duration) {
        let mut message = message.clone();
        if message.get("method").is_none() {
            let Some(id) = self.own_id(&message["id"], lines) else {
                return;
            };
            message["id"] = id.into();
        }
        self.feed(&message, now);
    }

    fn feed(&mut self, message: &Value, now: Duration) {
        let effects = self.driver.line(message.to_string().as_bytes(), now);
        self.take(effects);
        // The recordings' client could not end background terminals; the driver's wish is answered as by a server that has none.
        while let Some(at) = self
            .asked
            .iter()
            .position(|asked| asked.method.contains("backgroundTerminals"))
        {
            let id = self.asked.remove(at).id;
            self.feed(&json!({"id": id, "result": {"terminated": false}}), now);
        }
    }

    /// The driver's request that corresponds to the one that the recording's client sent with this id.
    fn own_id(&mut self, id: &Value, lines: &[Value]) -> Option<u64> {
        let request = lines
            .iter()
            .find(|line| line["dir"] == "in" && line["msg"]["id"] == *id && line["msg"].get("method").is_some())?;
        let (method, params) = (&request["msg"]["method"], &request["msg"]["params"]);
        let at = self.asked.iter().position(|asked| {
            asked.method == *method
                && ["threadId", "turnId", "expectedTurnId"]
                    .iter()
                    .all(|key| asked.params.get(key) == params.get(key))
        })?;
        Some(self.asked.remove(at).id)
    }

    fn take(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Write(bytes) => self.wrote(&bytes),
                Effect::Tell(event) => self.heard(&event),
                Effect::Keep(path) => self.note(&format!("keep {}", path.display())),
                Effect::End { reason, may_restart } => {
                    self.note(&format!("END may_restart={may_restart}: {reason}"));
                }
            }
        }
    }

    fn wrote(&mut self, bytes: &[u8]) {
        let Some(line) = bytes.strip_suffix(b"\n") else {
            panic!("a line has no end");
        };
        let mut message: Value = serde_json::from_slice(line).unwrap_or_else(|error| panic!("{error}"));
        let params = message.get("params").cloned().unwrap_or_default();
        if let (Some(id), Some(method)) = (
            message.get("id").and_then(Value::as_u64),
            message.get("method").and_then(Value::as_str),
        ) {
            self.asked.push(Asked {
                id,
                method: method.to_owned(),
                params,
            });
            if method == "initialize" {
                message["params"] = "...".into();
            }
        }
        self.note(&format!("> {message}"));
    }

    fn heard(&mut self, event: &AgentEvent) {
        match event {
            AgentEvent::Ready { thread_id, .. } => self.ready_thread = Some(thread_id.clone()),
            AgentEvent::TurnStarted { turn_id } => self.turn.clone_from(turn_id),
            AgentEvent::TurnEnded { .. } => self.ends += 1,
            AgentEvent::Said(Word::ApprovalRequired { call_id, .. }) => self.question = Some(call_id.clone()),
            AgentEvent::Said(Word::ApprovalResolved { .. }) => self.question = None,
            AgentEvent::Said(Word::AssistantDelta { content, .. }) => {
                self.deltas.0.push_str(content);
                self.deltas.1 += 1;
                return;
            }
            _ => {}
        }
        match event {
            AgentEvent::Said(word) => {
                let word = serde_json::to_string(word).unwrap_or_else(|error| panic!("{error}"));
                self.note(&format!("said {word}"));
            }
            AgentEvent::TurnEnded { status, error, usage } => {
                let error = error.as_ref().map_or(String::new(), |error| {
                    format!(
                        " {:?}{}: {}",
                        error.class,
                        error.http_status.map_or(String::new(), |status| format!(" ({status})")),
                        error.message
                    )
                });
                let usage = usage.map_or("none".to_owned(), |usage| {
                    format!(
                        "{}={}+{} cached {} reasoning {}",
                        usage.total_tokens,
                        usage.input_tokens,
                        usage.output_tokens,
                        usage.cached_input_tokens,
                        usage.reasoning_output_tokens
                    )
                });
                self.note(&format!("TURN ENDED {status:?}{error}; tokens {usage}"));
            }
            other => self.note(&format!("{other:?}")),
        }
    }

    fn note(&mut self, what: &str) {
        self.flush_deltas();
        let _ = writeln!(self.told, "{what}");
    }

    fn flush_deltas(&mut self) {
        let (text, count) = std::mem::take(&mut self.deltas);
        if count > 0 {
            let _ = writeln!(self.told, "said {count} assistant deltas: {text:?}");
        }
    }
}
