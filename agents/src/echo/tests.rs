//! The echo agent in simulated time.

use super::*;

/// Plays the driver: time jumps from deadline to deadline.
struct Play {
    driver: EchoDriver,
    now: Now,
    events: Vec<AgentEvent>,
    crashed: bool,
}

impl Play {
    fn with(agent: AgentSpec) -> Self {
        let mut driver = EchoDriver::new(&agent, "t1".into(), false, Path::new("/w"));
        let effects = driver.open(Now::ZERO);
        let mut play = Self {
            driver,
            now: Now::ZERO,
            events: Vec::new(),
            crashed: false,
        };
        play.take(effects);
        play.events.clear();
        play
    }

    fn run(prompt: &str) -> Self {
        let mut play = Self::with(AgentSpec::default());
        play.prompt(prompt);
        play
    }

    fn take(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Tell(event) => self.events.push(event),
                Effect::End { .. } => self.crashed = true,
                other => panic!("{other:?}"),
            }
        }
    }

    fn command(&mut self, command: AgentCommand) -> &mut Self {
        let effects = self.driver.command(command, self.now);
        self.take(effects);
        self
    }

    fn prompt(&mut self, prompt: &str) -> &mut Self {
        self.command(AgentCommand::RunTurn { prompt: prompt.into() });
        self.until(Now::MAX)
    }

    /// Goes on until nothing is due before `end`.
    fn until(&mut self, end: Now) -> &mut Self {
        while let Some(due) = self.driver.deadline().filter(|due| *due <= end && !self.crashed) {
            self.now = self.now.max(due);
            let effects = self.driver.tick(self.now);
            self.take(effects);
        }
        self
    }

    fn gone(&mut self) -> &mut Self {
        let effects = self.driver.gone(&Death::default(), self.now);
        self.take(effects);
        self
    }

    fn deltas(&self) -> Vec<&str> {
        self.events
            .iter()
            .filter_map(|event| match event {
                AgentEvent::Said(Word::AssistantDelta { content, .. }) => Some(content.as_str()),
                _ => None,
            })
            .collect()
    }

    fn answer(&self) -> Option<&str> {
        self.events.iter().find_map(|event| match event {
            AgentEvent::Said(Word::Assistant { content, .. }) => Some(content.as_str()),
            _ => None,
        })
    }

    fn ends(&self) -> Vec<(TurnStatus, Option<ErrorClass>, u64, u64)> {
        self.events
            .iter()
            .filter_map(|event| match event {
                AgentEvent::TurnEnded { status, error, usage } => {
                    let usage = usage.unwrap_or_default();
                    Some((
                        *status,
                        error.as_ref().map(|e| e.class),
                        usage.input_tokens,
                        usage.output_tokens,
                    ))
                }
                _ => None,
            })
            .collect()
    }
}

#[test]
fn a_prompt_comes_back_in_words() {
    let play = Play::run("  Hello  big\nworld ");
    assert_eq!(play.deltas(), ["Hello  ", "big\n", "world"]);
    assert_eq!(play.answer(), Some("Hello  big\nworld"));
    assert_eq!(play.ends(), [(TurnStatus::Completed, None, 3, 3)]);
    assert_eq!(
        play.events.first(),
        Some(&AgentEvent::TurnStarted {
            turn_id: Some("turn-1".into())
        })
    );
}

#[test]
fn deltas_come_at_their_pace_or_at_once() {
    let play = Play::run("[[echo deltas=1000 pace_ms=5]]");
    assert_eq!((play.deltas().len(), play.now), (1000, Duration::from_secs(5)));
    assert_eq!(play.ends(), [(TurnStatus::Completed, None, 3, 1000)]);
    let play = Play::run("[[echo deltas=1000 at once]]");
    assert_eq!((play.deltas().len(), play.now), (1000, Now::ZERO));
    assert_eq!(play.deltas().concat(), play.answer().unwrap());
}

#[test]
fn a_long_answer_has_its_bytes_and_a_slow_one_its_time() {
    let play = Play::run("[[long bytes=1000001]]");
    assert_eq!(play.answer().unwrap().len(), 1_000_001);
    let play = Play::run("a [[slow seconds=30]] b");
    assert_eq!((play.now, play.answer()), (Duration::from_secs(30), Some("ab")));
}

#[test]
fn it_fails_as_asked_and_refuses_a_script_that_it_does_not_understand() {
    let play = Play::run("so [[fail class=rate_limit message=\"slow down\"]] not this");
    assert_eq!(play.deltas(), ["so"]);
    assert_eq!(play.answer(), None);
    assert_eq!(play.ends(), [(TurnStatus::Failed, Some(ErrorClass::RateLimit), 7, 1)]);
    let play = Play::run("[[long]]");
    assert_eq!(play.ends()[0].1, Some(ErrorClass::BadRequest));
}

#[test]
fn a_crash_ends_the_session_and_the_turn_as_agent_died() {
    for (prompt, deltas) in [("[[crash]]", 0), ("a b c d [[crash_after deltas=3]]", 3)] {
        let mut play = Play::run(prompt);
        assert!(play.crashed);
        play.gone();
        assert_eq!(play.deltas().len(), deltas);
        assert_eq!(play.ends().len(), 1);
        assert_eq!(play.ends()[0].1, Some(ErrorClass::AgentDied));
    }
}

#[test]
fn an_interrupt_ends_any_turn_but_a_deaf_one() {
    let mut play = Play::with(AgentSpec::default());
    for prompt in ["[[echo deltas=9 pace_ms=1000]]", "[[hang]]", "[[slow seconds=9]]", "x"] {
        play.events.clear();
        play.command(AgentCommand::RunTurn { prompt: prompt.into() });
        let soon = play.now + Duration::from_millis(if prompt == "x" { 0 } else { 2500 });
        if prompt != "x" {
            play.until(soon);
        }
        play.command(AgentCommand::Interrupt);
        assert_eq!(play.ends().len(), 1, "{prompt}");
        assert_eq!(play.ends()[0].0, TurnStatus::Interrupted, "{prompt}");
        assert_eq!(play.answer(), None);
        play.command(AgentCommand::Interrupt).until(Now::MAX);
        assert_eq!(play.ends().len(), 1, "{prompt}");
    }
    play.events.clear();
    play.prompt("[[hang deaf]]").command(AgentCommand::Interrupt);
    assert_eq!(play.ends(), []);
    play.command(AgentCommand::Stop).gone();
    assert_eq!(play.ends(), [(TurnStatus::Interrupted, None, 2, 0)]);
}

#[test]
fn steering_adds_to_the_running_answer_and_to_nothing_else() {
    let mut play = Play::with(AgentSpec::default());
    play.command(AgentCommand::Steer {
        token: 1,
        prompt: "x".into(),
    });
    play.command(AgentCommand::RunTurn {
        prompt: "one [[slow seconds=1]]".into(),
    })
    .until(Duration::from_millis(10))
    .command(AgentCommand::Steer {
        token: 2,
        prompt: "two three".into(),
    })
    .until(Now::MAX);
    assert_eq!(play.answer(), Some("one two three"));
    assert_eq!(play.ends(), [(TurnStatus::Completed, None, 5, 3)]);
    let steered: Vec<_> = play
        .events
        .iter()
        .filter_map(|event| match event {
            AgentEvent::Steered { token, refused } => Some((*token, refused.is_some())),
            _ => None,
        })
        .collect();
    assert_eq!(steered, [(1, true), (2, false)]);
}

fn approvals(play: &Play) -> Vec<String> {
    play.events
        .iter()
        .filter_map(|event| match event {
            AgentEvent::Said(Word::ApprovalRequired { call_id, command, .. }) => Some(format!("{call_id}? {command}")),
            AgentEvent::Said(Word::ApprovalResolved { decision, by, .. }) => Some(format!("{decision:?} by {by}")),
            AgentEvent::Said(Word::CommandCompleted { status, .. }) => Some(format!("{status:?}")),
            AgentEvent::ApprovalUnknown { call_id } => Some(format!("unknown {call_id}")),
            _ => None,
        })
        .collect()
}

#[test]
fn policy_answers_at_once_and_a_client_in_its_time() {
    let prompt = "[[approve command=\"make all\"]] done";
    let mut play = Play::with(AgentSpec {
        approvals: Approvals::Accept,
        ..AgentSpec::default()
    });
    play.prompt(prompt);
    assert_eq!(
        approvals(&play),
        ["turn-1-call-1? make all", "Accept by policy", "Completed"]
    );
    assert_eq!(play.answer(), Some("done"));

    let ask = AgentSpec {
        approvals: Approvals::Ask,
        approval_timeout_seconds: 60,
        ..AgentSpec::default()
    };
    let mut play = Play::with(ask.clone());
    play.prompt(prompt);
    assert_eq!(play.now, Duration::from_secs(60));
    assert_eq!(
        approvals(&play),
        ["turn-1-call-1? make all", "Decline by timeout", "Declined"]
    );
    assert_eq!(play.answer(), Some("done"));

    let mut play = Play::with(ask);
    play.command(AgentCommand::RunTurn { prompt: prompt.into() })
        .until(Duration::from_secs(1));
    for call_id in ["nope", "turn-1-call-1", "turn-1-call-1"] {
        play.command(AgentCommand::Approve {
            call_id: call_id.into(),
            decision: Decision::Cancel,
            by: "client",
        });
    }
    assert_eq!(
        approvals(&play),
        [
            "turn-1-call-1? make all",
            "unknown nope",
            "Cancel by client",
            "Declined",
            "unknown turn-1-call-1"
        ]
    );
    assert_eq!(play.ends()[0].0, TurnStatus::Interrupted);
}

#[test]
fn noise_says_one_of_everything_and_an_answer_may_be_empty() {
    let play = Play::run("[[noise]]");
    assert_eq!(play.events.len(), 12);
    assert_eq!(play.answer(), None);
    assert_eq!(play.ends(), [(TurnStatus::Completed, None, 1, 0)]);
}

#[test]
fn every_prompt_has_one_end_also_after_the_session_s() {
    let mut play = Play::with(AgentSpec::default());
    for _ in 0..3 {
        play.command(AgentCommand::RunTurn {
            prompt: "[[slow seconds=1]] x".into(),
        });
    }
    play.until(Duration::from_millis(1500)).gone();
    play.command(AgentCommand::RunTurn { prompt: "y".into() });
    let classes: Vec<_> = play.ends().iter().map(|end| end.1).collect();
    let died = Some(ErrorClass::AgentDied);
    assert_eq!(classes, [None, died, died, died]);
    assert_eq!(play.driver.deadline(), None);
}

#[test]
fn words_keep_their_gaps() {
    for (text, want) in [
        ("a b", "a "),
        (" a b", " a "),
        ("a", "a"),
        ("ä\n\nö", "ä\n\n"),
        ("", ""),
    ] {
        assert_eq!(next_word(text), want);
    }
}
