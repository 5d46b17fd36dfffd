//! An agent that keeps the rules of its driver and dies when it likes: it runs a turn, says a few things, and remembers what
//! it was told to do, which nobody else can take back.

use std::collections::VecDeque;

use codeswarm_agents::{AgentCommand, AgentEvent};
use codeswarm_protocol::record::Word;
use codeswarm_protocol::turn::{ErrorClass, TurnError, TurnStatus, Usage};

use crate::rng::Rng;

#[derive(Debug, PartialEq)]
enum State {
    Opening,
    Idle,
    Turn {
        begun: bool,
        interrupted: bool,
        left: usize,
    },
    Over,
}

/// One session.
#[derive(Debug)]
pub struct Agent {
    state: State,
    steers: VecDeque<u64>,
    stopping: bool,
    resume: Option<String>,
    said: VecDeque<AgentEvent>,
}

impl Agent {
    /// It is being started.
    pub fn new(resume: Option<String>) -> Self {
        Self {
            state: State::Opening,
            steers: VecDeque::new(),
            stopping: false,
            resume,
            said: VecDeque::new(),
        }
    }

    /// Whether it has said its last, and that was heard.
    pub fn is_over(&self) -> bool {
        self.state == State::Over && self.said.is_empty()
    }

    /// Whether it does something by itself, or has something to say.
    pub fn is_busy(&self) -> bool {
        !self.said.is_empty()
            || !self.steers.is_empty()
            || self.stopping
            || !matches!(self.state, State::Idle | State::Over)
    }

    /// Its next word.
    pub fn next_word(&mut self) -> Option<AgentEvent> {
        self.said.pop_front()
    }

    /// The worker asks for something. The prompt, if it is to run one.
    pub fn told(&mut self, command: AgentCommand, rng: &mut Rng) -> Option<String> {
        match command {
            AgentCommand::RunTurn { .. } if self.state == State::Over => {}
            AgentCommand::RunTurn { prompt } => {
                assert_eq!(
                    self.state,
                    State::Idle,
                    "a turn was asked for while the agent was not free"
                );
                self.state = State::Turn {
                    begun: false,
                    interrupted: false,
                    left: rng.below(6),
                };
                return Some(prompt);
            }
            AgentCommand::Steer { token, .. } => self.steers.push_back(token),
            AgentCommand::Interrupt => {
                if let State::Turn { interrupted, .. } = &mut self.state {
                    *interrupted = true;
                }
            }
            AgentCommand::Approve { call_id, .. } => self.say(AgentEvent::ApprovalUnknown { call_id }),
            AgentCommand::Stop => self.stopping = true,
        }
        None
    }

    fn say(&mut self, event: AgentEvent) {
        if self.state != State::Over {
            self.said.push_back(event);
        }
    }

    /// It does the next thing.
    pub fn act(&mut self, rng: &mut Rng) {
        if self.stopping {
            return self.die(true, rng);
        }
        if let Some(token) = self.steers.pop_front() {
            let taken = matches!(self.state, State::Turn { .. });
            let refused = (!taken || rng.once_in(3)).then(|| "not now".to_owned());
            return self.say(AgentEvent::Steered { token, refused });
        }
        match &mut self.state {
            State::Opening => {
                self.state = State::Idle;
                self.say(AgentEvent::Ready {
                    thread_id: self.resume.clone().unwrap_or_else(|| "thread".to_owned()),
                    resumed: self.resume.is_some(),
                    agent_version: None,
                    model: None,
                    cwd: "/".to_owned(),
                });
            }
            State::Turn { begun, .. } if !*begun => {
                *begun = true;
                self.say(AgentEvent::TurnStarted { turn_id: None });
            }
            State::Turn { interrupted: true, .. } => self.end_turn(TurnStatus::Interrupted),
            State::Turn { left: 0, .. } => self.end_turn(TurnStatus::Completed),
            State::Turn { left, .. } => {
                *left -= 1;
                let content = "word ".repeat(1 + rng.below(60));
                self.say(AgentEvent::Said(if rng.once_in(2) {
                    Word::AssistantDelta { content, item_id: None }
                } else {
                    Word::Assistant {
                        content,
                        item_id: None,
                        phase: None,
                    }
                }));
            }
            State::Idle | State::Over => {}
        }
    }

    fn end_turn(&mut self, status: TurnStatus) {
        let usage = (status == TurnStatus::Completed).then(Usage::default);
        self.say(AgentEvent::TurnEnded {
            status,
            error: None,
            usage,
        });
        self.state = State::Idle;
    }

    /// It is gone; its driver says what there is to say.
    pub fn die(&mut self, asked: bool, rng: &mut Rng) {
        if self.state == State::Over {
            return;
        }
        if rng.once_in(2) {
            self.say(AgentEvent::Ending);
        }
        if matches!(self.state, State::Turn { .. }) {
            self.say(AgentEvent::TurnEnded {
                status: TurnStatus::Failed,
                error: Some(TurnError::new(ErrorClass::AgentDied, "gone")),
                usage: None,
            });
        }
        self.say(AgentEvent::Exited {
            code: Some(0),
            signal: None,
            asked,
            message: "gone".to_owned(),
            stderr_tail: None,
            may_restart: true,
        });
        self.state = State::Over;
    }
}
