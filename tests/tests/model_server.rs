//! The model server as the real Codex sees it: `codex app-server` is driven with raw lines through each kind of turn.

use std::path::Path;
use std::process::Command;

use codeswarm_tests::json_process::JsonProcess;
use codeswarm_tests::model_server::{KEY, KEY_VARIABLE, ModelServer, Usage, answer_to, big_text, stream_text};
use codeswarm_tests::requires;
use serde_json::{Value, json};
use tempfile::TempDir;

/// `codex app-server` with a thread, in a home and a working directory of its own.
struct AppServer {
    process: JsonProcess,
    thread: String,
    next_id: u64,
    home: TempDir,
    work: TempDir,
    model: ModelServer,
}

impl AppServer {
    fn start(codex: &Path, model_name: &str) -> Self {
        let model = ModelServer::start();
        let (home, work) = (TempDir::new().unwrap(), TempDir::new().unwrap());
        std::fs::write(home.path().join("config.toml"), model.codex_config_toml()).unwrap();
        let process = spawn(codex, home.path());
        let mut server = Self {
            process,
            thread: String::new(),
            next_id: 1,
            home,
            work,
            model,
        };
        server.handshake();
        let started = server.request("thread/start", server.thread_params(model_name));
        server.thread = started["thread"]["id"].as_str().unwrap().to_owned();
        server
    }

    fn thread_params(&self, model_name: &str) -> Value {
        json!({"cwd": self.work.path(), "model": model_name, "sandbox": "danger-full-access", "approvalPolicy": "never"})
    }

    fn handshake(&mut self) {
        let client = json!({"name": "codeswarm-tests", "title": "tests", "version": "0"});
        self.request("initialize", json!({"clientInfo": client}));
        self.process.send(&json!({"method": "initialized"}));
    }

    fn request(&mut self, method: &str, params: Value) -> Value {
        let id = self.next_id;
        self.next_id += 1;
        self.process
            .send(&json!({"id": id, "method": method, "params": params}));
        let answered = |line: &Value| line["id"] == id && line.get("method").is_none();
        let answer = self.process.wait_for(&format!("the answer to {method}"), answered);
        assert_eq!(answer.get("error"), None, "{method} was refused");
        answer["result"].clone()
    }

    fn begin_turn(&mut self, prompt: &str) -> String {
        let input = json!([{"type": "text", "text": prompt}]);
        let begun = self.request("turn/start", json!({"threadId": self.thread, "input": input}));
        begun["turn"]["id"].as_str().unwrap().to_owned()
    }

    fn end_of_turn(&self, turn: &str) -> Value {
        let ended = |line: &Value| line["method"] == "turn/completed" && line["params"]["turn"]["id"] == turn;
        self.process.wait_for("turn/completed", ended)["params"]["turn"].clone()
    }

    fn turn(&mut self, prompt: &str) -> Turn {
        let id = self.begin_turn(prompt);
        let end = self.end_of_turn(&id);
        let lines = self.process.lines();
        Turn { id, end, lines }
    }

    /// Ends the process as a crash does and resumes the thread in a new one.
    fn crash_and_resume(&mut self, codex: &Path) {
        self.process.kill();
        self.process = spawn(codex, self.home.path());
        self.handshake();
        let thread = self.thread.clone();
        let resumed = self.request("thread/resume", json!({"threadId": thread, "excludeTurns": true}));
        assert_eq!(resumed["thread"]["id"], thread.as_str());
    }
}

fn spawn(codex: &Path, home: &Path) -> JsonProcess {
    let mut command = Command::new(codex);
    command
        .args(["app-server", "--listen", "stdio://"])
        .env("CODEX_HOME", home)
        .env("HOME", home)
        .env(KEY_VARIABLE, KEY);
    JsonProcess::spawn("codex app-server", command)
}

/// A turn that has ended.
struct Turn {
    id: String,
    end: Value,
    lines: Vec<Value>,
}

impl Turn {
    fn status(&self) -> &str {
        self.end["status"].as_str().unwrap()
    }

    fn notifications<'a>(&'a self, method: &'a str) -> impl Iterator<Item = &'a Value> {
        let ours = move |line: &&Value| line["method"] == method && line["params"]["turnId"] == self.id.as_str();
        self.lines.iter().filter(ours).map(|line| &line["params"])
    }

    fn items(&self, kind: &str) -> Vec<Value> {
        self.notifications("item/completed")
            .map(|params| params["item"].clone())
            .filter(|item| item["type"] == kind)
            .collect()
    }

    /// The last message of the answer, and all deltas joined.
    fn texts(&self) -> (String, String) {
        let messages = self.items("agentMessage");
        let whole = messages.last().map_or("", |message| message["text"].as_str().unwrap());
        let deltas = self.notifications("item/agentMessage/delta");
        let joined = deltas.map(|params| params["delta"].as_str().unwrap()).collect();
        (whole.to_owned(), joined)
    }

    /// The thread's tokens after this turn.
    fn total_tokens(&self) -> u64 {
        let last = self.notifications("thread/tokenUsage/updated").last().unwrap();
        last["tokenUsage"]["total"]["totalTokens"].as_u64().unwrap()
    }
}

const RESPONSE_TOKENS: u64 = 1050;

#[test]
fn a_text_turn_quotes_the_prompt_and_counts_the_tokens() {
    let Some(codex) = requires::codex() else { return };
    let mut server = AppServer::start(&codex, "mock-model");
    let turn = server.turn("hello there");
    assert_eq!(turn.status(), "completed");
    let answer = answer_to("hello there");
    assert_eq!(turn.texts(), (answer.clone(), answer));
    let usage = Usage::default();
    assert_eq!(usage.input + usage.output, RESPONSE_TOKENS);
    assert_eq!(turn.total_tokens(), RESPONSE_TOKENS);

    let turn = server.turn("[[usage input=7 cached=2 output=3 reasoning=1]] again");
    assert_eq!(turn.total_tokens(), RESPONSE_TOKENS + 10);
    let request = server
        .model
        .wait_for_request("the second prompt", |request| request.prompt().ends_with("again"));
    assert_eq!(request.assistant_texts(), [answer_to("hello there")]);
}

#[test]
fn a_stream_comes_in_as_many_deltas_as_asked_for() {
    let Some(codex) = requires::codex() else { return };
    let mut server = AppServer::start(&codex, "mock-model");
    let turn = server.turn("[[reason let me think]] [[stream n=50 pace_ms=1]]");
    assert_eq!(turn.texts(), (stream_text(50), stream_text(50)));
    assert_eq!(turn.notifications("item/agentMessage/delta").count(), 50);
    assert_eq!(turn.items("reasoning")[0]["summary"], json!(["let me think"]));
}

#[test]
fn a_megabyte_arrives_whole() {
    let Some(codex) = requires::codex() else { return };
    let mut server = AppServer::start(&codex, "mock-model");
    let turn = server.turn("[[big bytes=1000000]]");
    let (whole, deltas) = turn.texts();
    assert!(whole == big_text(1_000_000), "{} bytes of another text", whole.len());
    assert!(deltas == whole, "the deltas make {} bytes", deltas.len());
}

#[test]
fn a_command_is_executed_and_its_output_goes_back() {
    let Some(codex) = requires::codex() else { return };
    let mut server = AppServer::start(&codex, "mock-model");
    let turn = server.turn("[[exec echo hi > made-here.txt; pwd; exit 3]] then talk");
    assert_eq!(turn.status(), "completed");
    let made = std::fs::read_to_string(server.work.path().join("made-here.txt")).unwrap();
    assert_eq!(made, "hi\n");
    let commands = turn.items("commandExecution");
    assert_eq!((commands.len(), commands[0]["exitCode"].as_i64()), (1, Some(3)));
    assert_eq!(turn.texts().0, answer_to("then talk"));
    assert_eq!(turn.total_tokens(), 2 * RESPONSE_TOKENS);
    let last = server.model.requests().pop().unwrap();
    let work = server.work.path().to_str().unwrap().to_owned();
    assert!(last.tool_outputs()[0].text.contains(&work), "{:?}", last.tool_outputs());

    // The output of the first turn must not be taken for one of the second.
    let turn = server.turn("[[exec echo one]] [[exec echo two]] done");
    let ran: Vec<_> = turn.items("commandExecution");
    let outputs: Vec<_> = ran
        .iter()
        .map(|item| item["aggregatedOutput"].as_str().unwrap())
        .collect();
    assert_eq!(outputs, ["one\n", "two\n"]);
    assert_eq!(turn.total_tokens(), 5 * RESPONSE_TOKENS);
}

/// Codex gives a model that it knows a tool for patches; for others a patch is a command that it recognises.
#[test]
fn a_patch_changes_a_file_with_either_kind_of_model() {
    let Some(codex) = requires::codex() else { return };
    for model_name in ["mock-model", "gpt-5.5"] {
        let mut server = AppServer::start(&codex, model_name);
        let turn = server.turn("[[patch *** Add File: note.txt\n+hello\n+world]] patched");
        assert_eq!(turn.status(), "completed");
        let made = std::fs::read_to_string(server.work.path().join("note.txt")).unwrap();
        assert_eq!(made, "hello\nworld\n", "{model_name}");
        let changes = turn.items("fileChange");
        assert_eq!(changes.len(), 1, "{model_name}: {:?}", turn.lines);
        assert_eq!(changes[0]["changes"][0]["kind"]["type"], "add");
        assert_eq!(turn.texts().0, answer_to("patched"));
    }
}

#[test]
fn troubles_fail_the_turn_and_the_next_one_works() {
    let Some(codex) = requires::codex() else { return };
    let mut server = AppServer::start(&codex, "mock-model");
    for (prompt, info) in [
        ("[[http 500]]", json!("internalServerError")),
        (
            "[[http 429]]",
            json!({"responseTooManyFailedAttempts": {"httpStatusCode": 429}}),
        ),
        ("[[http 429 code=usage_limit_reached]]", json!("usageLimitExceeded")),
        ("[[fail code=context_length_exceeded]]", json!("contextWindowExceeded")),
        ("[[cut]] some words to be cut", json!("other")),
        ("[[no-such-marker]]", json!("other")),
    ] {
        let turn = server.turn(prompt);
        assert_eq!(
            (turn.status(), &turn.end["error"]["codexErrorInfo"]),
            ("failed", &info),
            "{prompt}: {}",
            turn.end
        );
    }
    let turn = server.turn("[[empty]]");
    assert_eq!((turn.status(), turn.texts().0.as_str()), ("completed", ""));
}

#[test]
fn trouble_that_passes_is_retried_by_codex() {
    let Some(codex) = requires::codex() else { return };
    let mut server = AppServer::start(&codex, "mock-model");
    for trouble in ["[[http 500 times=1]]", "[[cut times=1]]"] {
        let turn = server.turn(&format!("{trouble} hello"));
        assert_eq!(
            (turn.status(), turn.texts().0),
            ("completed", answer_to("hello")),
            "{trouble}"
        );
    }
}

#[test]
fn silence_and_slowness_can_be_interrupted() {
    let Some(codex) = requires::codex() else { return };
    let mut server = AppServer::start(&codex, "mock-model");
    for prompt in ["[[hang]]", "[[slow]]"] {
        let turn = server.begin_turn(prompt);
        server
            .model
            .wait_for_request(prompt, |request| request.prompt() == prompt);
        let begun =
            |line: &Value| line["method"] == "item/agentMessage/delta" && line["params"]["turnId"] == turn.as_str();
        if prompt == "[[slow]]" {
            server.process.wait_for("a delta", begun);
        }
        let thread = server.thread.clone();
        server.request("turn/interrupt", json!({"threadId": thread, "turnId": turn}));
        assert_eq!(server.end_of_turn(&turn)["status"], "interrupted");
    }
    assert_eq!(server.turn("and on").texts().0, answer_to("and on"));
}

#[test]
fn a_resumed_thread_shows_the_model_what_was_said_before() {
    let Some(codex) = requires::codex() else { return };
    let mut server = AppServer::start(&codex, "mock-model");
    server.turn("the word is heron");
    server.crash_and_resume(&codex);
    let turn = server.turn("which word?");
    assert_eq!(turn.status(), "completed");
    let last = server.model.requests().pop().unwrap();
    assert!(last.user_texts().contains(&"the word is heron".to_owned()));
    assert_eq!(last.assistant_texts(), [answer_to("the word is heron")]);
    assert_eq!(turn.total_tokens(), 2 * RESPONSE_TOKENS);
}

#[test]
fn a_wrong_key_is_refused() {
    let Some(codex) = requires::codex() else { return };
    let mut server = AppServer::start(&codex, "mock-model");
    server.process.kill();
    let mut command = Command::new(&codex);
    command
        .args(["app-server", "--listen", "stdio://"])
        .env("CODEX_HOME", server.home.path())
        .env("HOME", server.home.path())
        .env(KEY_VARIABLE, "another");
    server.process = JsonProcess::spawn("codex app-server", command);
    server.handshake();
    let started = server.request("thread/start", server.thread_params("mock-model"));
    server.thread = started["thread"]["id"].as_str().unwrap().to_owned();
    let turn = server.turn("hello");
    assert_eq!(turn.status(), "failed");
    assert!(server.model.requests().is_empty());
}
