//! An agent as bad as they come: slow, deaf, dying, with late answers and missing last words.

use std::collections::VecDeque;

use codeswarm_agents::{AgentCommand, AgentEvent};
use codeswarm_protocol::record::Word;
use codeswarm_protocol::turn::{Decision, ErrorClass, TurnError, TurnStatus, Usage};

use super::Rng;

#[derive(Debug, PartialEq)]
enum State {
    Opening,
    Idle,
    Turn { begun: bool, interrupted: bool },
    Over,
}

/// One session.
#[derive(Debug)]
pub struct FakeAgent {
    state: State,
    steers: Vec<u64>,
    deaf: bool,
    stopping: bool,
    resume: Option<String>,
    /// What it has said and nobody has heard yet; at its end the session closes.
    pub said: VecDeque<AgentEvent>,
}

impl FakeAgent {
    pub fn new(resume: Option<String>, deaf: bool) -> Self {
        Self {
            state: State::Opening,
            steers: Vec::new(),
            deaf,
            stopping: false,
            resume,
            said: VecDeque::new(),
        }
    }

    pub fn over(&self) -> bool {
        self.state == State::Over && self.said.is_empty()
    }

    pub fn command(&mut self, command: AgentCommand) {
        match command {
            AgentCommand::RunTurn { .. } if self.state == State::Over => {}
            AgentCommand::RunTurn { .. } => {
                assert_eq!(
                    self.state,
                    State::Idle,
                    "a turn was asked for while the agent was not free"
                );
                self.state = State::Turn {
                    begun: false,
                    interrupted: false,
                };
            }
            AgentCommand::Steer { token, .. } => self.steers.push(token),
            AgentCommand::Interrupt => {
                if let State::Turn { interrupted, .. } = &mut self.state {
                    *interrupted = true;
                }
            }
            AgentCommand::Approve { call_id, decision, by } => self.say(if decision == Decision::Accept {
                AgentEvent::Said(Word::ApprovalResolved {
                    call_id,
                    decision,
                    by: by.to_owned(),
                })
            } else {
                AgentEvent::ApprovalUnknown { call_id }
            }),
            AgentCommand::Stop => self.stopping = true,
        }
    }

    fn say(&mut self, event: AgentEvent) {
        if self.state != State::Over {
            self.said.push_back(event);
        }
    }

    /// Something it does by itself; `calm` agents do their work and nothing else.
    pub fn act(&mut self, rng: &mut Rng, calm: bool) {
        if self.state == State::Over || (self.deaf && !calm) {
            return;
        }
        if !calm && rng.once_in(400) {
            self.deaf = true;
            return;
        }
        let fragile = if self.state == State::Opening { 8 } else { 60 };
        if !calm && rng.once_in(fragile) {
            let may_restart = !rng.once_in(4);
            return self.die(rng, may_restart);
        }
        if self.stopping && (calm || rng.once_in(2)) {
            return self.die(rng, true);
        }
        if !self.steers.is_empty() && rng.once_in(2) {
            let token = self.steers.remove(0);
            let taken = matches!(self.state, State::Turn { .. }) || rng.once_in(2);
            let refused = (!taken || rng.once_in(3)).then(|| "not now".to_owned());
            return self.say(AgentEvent::Steered { token, refused });
        }
        match self.state {
            State::Opening => {
                self.say(AgentEvent::Ready {
                    thread_id: self.resume.clone().unwrap_or_else(|| format!("thread-{}", rng.next())),
                    resumed: self.resume.is_some(),
                    agent_version: None,
                    model: None,
                    cwd: "/".to_owned(),
                });
                self.state = State::Idle;
            }
            State::Turn {
                begun: false,
                interrupted,
            } => {
                self.say(AgentEvent::TurnStarted { turn_id: None });
                self.state = State::Turn {
                    begun: true,
                    interrupted,
                };
            }
            State::Turn { interrupted: true, .. } => self.end_turn(TurnStatus::Interrupted),
            State::Turn { .. } => match rng.below(6) {
                0 => self.end_turn(TurnStatus::Failed),
                1 | 2 => self.end_turn(TurnStatus::Completed),
                3 => self.say(AgentEvent::Said(Word::ApprovalRequired {
                    call_id: format!("call-{}", rng.below(3)),
                    kind: "command".to_owned(),
                    command: "true".to_owned(),
                    reason: None,
                    cwd: None,
                    available_decisions: vec![Decision::Accept],
                })),
                _ => self.say(AgentEvent::Said(Word::AssistantDelta {
                    content: "x".to_owned(),
                    item_id: None,
                })),
            },
            State::Idle | State::Over => {}
        }
    }

    fn end_turn(&mut self, status: TurnStatus) {
        let error = (status == TurnStatus::Failed).then(|| TurnError::new(ErrorClass::Overloaded, "busy"));
        let usage = (status == TurnStatus::Completed).then(Usage::default);
        self.say(AgentEvent::TurnEnded { status, error, usage });
        self.state = State::Idle;
    }

    fn die(&mut self, rng: &mut Rng, may_restart: bool) {
        if !rng.once_in(3) {
            self.say(AgentEvent::Ending);
        }
        // Some leave without ending their turn, some without a last word at all.
        if matches!(self.state, State::Turn { .. }) && !rng.once_in(3) {
            self.say(AgentEvent::TurnEnded {
                status: TurnStatus::Failed,
                error: Some(TurnError::new(ErrorClass::AgentDied, "gone")),
                usage: None,
            });
        }
        if !rng.once_in(5) {
            self.say(AgentEvent::Exited {
                code: Some(0),
                signal: None,
                asked: self.stopping,
                message: "gone".to_owned(),
                stderr_tail: None,
                may_restart,
            });
        }
        self.state = State::Over;
    }
}
