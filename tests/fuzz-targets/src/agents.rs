//! What agents say.

use std::time::Duration;

use codeswarm_agents::codex::{CodexDriver, CodexSettings, words_of_message};
use codeswarm_agents::echo::script::{LONGEST_ANSWER, Script, Step};
use codeswarm_agents::lines::LineReader;
use codeswarm_agents::{AgentCommand, AgentEvent, Death, Driver, Effect, Now};
use codeswarm_protocol::launch::{AgentSpec, Approvals};
use codeswarm_protocol::record::{Word, WorkerRecord};
use codeswarm_protocol::turn::Decision;
use codeswarm_protocol::{Epoch, Place, Seq, Timestamp};
use serde_json::{Value, json};

use crate::lines;
use crate::pieces::{Pipe, run};

/// An agent's output is the same lines in whatever pieces it comes; the last one counts without its newline.
pub fn agent_output(data: &[u8]) {
    let mut wanted: Vec<&[u8]> = data.split(|byte| *byte == b'\n').collect();
    if wanted.last().is_some_and(|last| last.is_empty()) {
        wanted.pop();
    }
    let mut reader = LineReader::new(Pipe::of(data));
    let mut heard: Vec<Vec<u8>> = Vec::new();
    run(async {
        loop {
            while let Some(line) = reader.line() {
                heard.push(line.to_vec());
            }
            if reader.ended() {
                break;
            }
            reader.fill().await.unwrap();
        }
    });
    assert_eq!(heard, wanted);
}

/// A message that an earlier worker recorded becomes words that can be written and read back.
pub fn codex_messages(data: &[u8]) {
    for line in lines(data) {
        let line = String::from_utf8_lossy(line);
        let words = words_of_message(&line);
        assert!(words.len() <= 1);
        words.into_iter().for_each(can_be_recorded);
    }
}

fn can_be_recorded(word: Word) {
    let place = Place::from_stem("7_00").unwrap();
    let record = WorkerRecord {
        word,
        seq: Seq(1),
        epoch: Epoch(1),
        timestamp: Timestamp(0),
        job_id: place.job_id,
        node_id: place.node_id,
        injection_id: None,
    };
    let mut line = Vec::new();
    record.write_line(&mut line).unwrap();
    assert_eq!(line.iter().filter(|byte| **byte == b'\n').count(), 1);
    assert_eq!(serde_json::from_slice::<WorkerRecord>(&line).unwrap(), record);
}

/// A script asks for no more than an answer may have, and says no text that was not in it.
pub fn echo_scripts(data: &[u8]) {
    let Ok(prompt) = std::str::from_utf8(data) else { return };
    match Script::parse(prompt) {
        Ok(script) => {
            assert!(script.steps.len() <= prompt.len());
            let mut said = 0;
            for step in &script.steps {
                match step {
                    Step::Text(text, _) => said += text.len(),
                    Step::Numbered(from, to) => assert!(*from == 1 && *to <= LONGEST_ANSWER / 8),
                    Step::Long(bytes) => assert!(*bytes <= LONGEST_ANSWER),
                    _ => {}
                }
            }
            assert!(said <= prompt.len());
        }
        Err(wrong) => {
            assert!(
                wrong.starts_with("[[") && wrong.len() <= 8 * prompt.len() + 200,
                "{wrong}"
            );
        }
    }
}

/// A session with Codex, a step a line:
///
/// ```text
/// >run TEXT   >steer TEXT   >interrupt   >approve CALL   >decline CALL   >stop   >tick   what the worker asks, or time passes
/// =METHOD {"result":…}     the answer to the oldest request of that method that was not answered
/// anything else            a line of Codex's as it is
/// ```
///
/// Whatever Codex says: what is written to it is one JSON message a line, each turn asked for has exactly one end, each
/// steering text exactly one answer, and what is said can be recorded.
pub fn codex_session(data: &[u8]) {
    for approvals in [Approvals::Decline, Approvals::Ask] {
        let mut session = Session::open(approvals);
        for line in lines(data) {
            session.step(line);
            if session.ended {
                break;
            }
        }
        session.gone();
    }
}

struct Session {
    driver: CodexDriver,
    now: Now,
    asked: Vec<(Value, String)>,
    turns: usize,
    ends: usize,
    steers: u64,
    steered: Vec<u64>,
    ended: bool,
    ready: usize,
}

impl Session {
    fn open(approvals: Approvals) -> Self {
        let driver = CodexDriver::new(CodexSettings {
            agent: AgentSpec {
                approvals,
                raw_events: approvals == Approvals::Ask,
                ..AgentSpec::default()
            },
            cwd: "/work".into(),
            resume: None,
            api_key: None,
        });
        let mut session = Self {
            driver,
            now: Now::ZERO,
            asked: Vec::new(),
            turns: 0,
            ends: 0,
            steers: 0,
            steered: Vec::new(),
            ended: false,
            ready: 0,
        };
        let effects = session.driver.open(session.now);
        session.take(effects);
        session
    }

    fn step(&mut self, line: &[u8]) {
        self.now += Duration::from_millis(1);
        let effects = match line {
            [b'>', rest @ ..] => {
                let text = String::from_utf8_lossy(rest).into_owned();
                match self.worker(&text) {
                    Some(command) => self.driver.command(command, self.now),
                    None => return self.tick(),
                }
            }
            [b'=', rest @ ..] => {
                let Some(answer) = self.answer(rest) else { return };
                self.driver.line(&answer, self.now)
            }
            line => self.driver.line(line, self.now),
        };
        self.take(effects);
    }

    fn worker(&mut self, text: &str) -> Option<AgentCommand> {
        let (verb, rest) = text.split_once(' ').unwrap_or((text, ""));
        let answered = |decision| AgentCommand::Approve {
            call_id: rest.to_owned(),
            decision,
            by: "client",
        };
        Some(match verb {
            // The worker has at most one turn under way.
            "run" if self.turns == self.ends => {
                self.turns += 1;
                AgentCommand::RunTurn {
                    prompt: rest.to_owned(),
                }
            }
            "steer" => {
                self.steers += 1;
                AgentCommand::Steer {
                    token: self.steers,
                    prompt: rest.to_owned(),
                }
            }
            "interrupt" => AgentCommand::Interrupt,
            "approve" => answered(Decision::Accept),
            "decline" => answered(Decision::Decline),
            "stop" => AgentCommand::Stop,
            _ => return None,
        })
    }

    fn answer(&mut self, rest: &[u8]) -> Option<Vec<u8>> {
        let space = rest.iter().position(|byte| *byte == b' ')?;
        let (method, body) = (std::str::from_utf8(&rest[..space]).ok()?, &rest[space + 1..]);
        let at = self.asked.iter().position(|(_, asked)| asked == method)?;
        let mut answer: Value = serde_json::from_slice(body).ok()?;
        let (id, _) = self.asked.remove(at);
        *answer.as_object_mut()?.entry("id").or_insert(Value::Null) = id;
        serde_json::to_vec(&answer).ok()
    }

    /// Lets the next deadline pass.
    fn tick(&mut self) {
        let Some(due) = self.driver.deadline() else { return };
        self.now = self.now.max(due);
        // Whatever is due now is done after a few steps; else a worker would spin.
        for _ in 0..64 {
            if self.driver.deadline().is_none_or(|due| due > self.now) {
                return;
            }
            let effects = self.driver.tick(self.now);
            self.take(effects);
        }
        panic!("something is due for ever");
    }

    fn take(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Write(bytes) => {
                    let line = bytes.strip_suffix(b"\n").unwrap();
                    assert!(!line.contains(&b'\n'));
                    let message: Value = serde_json::from_slice(line).unwrap();
                    if let (Some(id), Some(method)) = (message.get("id"), message.get("method").and_then(Value::as_str))
                    {
                        self.asked.push((id.clone(), method.to_owned()));
                    }
                }
                Effect::Tell(event) => self.told(event),
                // The shell keeps only what lies in the agent's home.
                Effect::Keep(_) => {}
                Effect::End { reason, .. } => {
                    assert!(!reason.is_empty());
                    self.ended = true;
                }
            }
        }
    }

    fn told(&mut self, event: AgentEvent) {
        match event {
            AgentEvent::Ready { .. } => {
                self.ready += 1;
                assert_eq!(self.ready, 1, "ready twice");
            }
            AgentEvent::TurnEnded { .. } => {
                self.ends += 1;
                assert!(self.ends <= self.turns, "an end without a turn");
            }
            AgentEvent::Steered { token, .. } => {
                assert!(
                    token >= 1 && token <= self.steers && !self.steered.contains(&token),
                    "steered {token}"
                );
                self.steered.push(token);
            }
            AgentEvent::Said(word) => can_be_recorded(word),
            AgentEvent::Raw(payload) => can_be_recorded(Word::AgentRaw { payload }),
            AgentEvent::TurnStarted { .. } => assert!(self.turns > self.ends, "a start without a turn"),
            AgentEvent::ApprovalUnknown { .. } | AgentEvent::Ending => {}
            AgentEvent::Exited { .. } => panic!("the shell says that, not the driver"),
        }
    }

    fn gone(mut self) {
        let death = Death {
            code: Some(0),
            ..Death::default()
        };
        let effects = self.driver.gone(&death, self.now);
        self.take(effects);
        assert_eq!(self.ends, self.turns, "turns asked for and ends");
        assert_eq!(self.steered.len() as u64, self.steers, "steering texts and answers");
        // A prompt that comes too late is answered as well.
        self.turns += 1;
        let late = AgentCommand::RunTurn { prompt: "late".into() };
        let effects = self.driver.command(late, self.now);
        self.take(effects);
        assert_eq!(self.ends, self.turns);
        assert!(self.driver.deadline().is_none(), "{}", json!({"still": "waits"}));
    }
}
