//! What the agent says, and its deaths.

use codeswarm_agents::{AgentEvent, Now};
use codeswarm_protocol::record::Word;

use super::life::Life;
use super::turn::Outcome;
use super::{Core, Effect, FAILED_STARTS};

/// How an agent's session ended.
#[derive(Debug, Default)]
pub(super) struct Exit {
    pub code: Option<i32>,
    pub signal: Option<i32>,
    pub message: String,
    pub stderr_tail: Option<String>,
    pub may_restart: bool,
}

impl Core {
    pub(super) fn start_agent(&mut self, now: Now) {
        // The session keeps the deadline itself; this one is for a session that does not.
        let give_up = now + self.settings.start_timeout * 2;
        self.life = Life::Starting { give_up };
        self.effects.push(Effect::StartAgent {
            resume: self.thread.clone(),
        });
    }

    pub(super) fn agent(&mut self, event: AgentEvent, now: Now) {
        match event {
            AgentEvent::Ready {
                thread_id,
                resumed,
                agent_version,
                model,
                cwd,
            } => {
                self.thread = Some(thread_id.clone());
                self.backoff.came_up();
                self.been_up = true;
                if matches!(self.life, Life::Starting { .. }) {
                    self.life = Life::Up;
                }
                let word = Word::AgentReady {
                    agent: self.settings.agent.to_owned(),
                    agent_version,
                    thread_id,
                    resumed,
                    model,
                    cwd,
                };
                self.record(word, None);
            }
            AgentEvent::TurnStarted { turn_id } => {
                if let Some(turn) = &mut self.turn {
                    turn.running = true;
                    turn.turn_id = turn_id;
                }
                self.send_steering();
            }
            AgentEvent::Said(word) => self.record_in_turn(word),
            AgentEvent::Raw(payload) => self.record_in_turn(Word::AgentRaw { payload }),
            AgentEvent::TurnEnded { status, error, usage } => self.end_turn(Outcome { status, error, usage }, now),
            AgentEvent::Steered { token, refused } => self.steered(token, refused.is_some(), now),
            AgentEvent::ApprovalUnknown { call_id } => {
                self.ignore(format!("an answer to {call_id}, a question that is not open"), None);
            }
            AgentEvent::Ending => {
                if self.life == Life::Up {
                    self.life = Life::Dying;
                }
            }
            AgentEvent::Exited {
                code,
                signal,
                asked: _,
                message,
                stderr_tail,
                may_restart,
            } => {
                let exit = Exit {
                    code,
                    signal,
                    message,
                    stderr_tail,
                    may_restart,
                };
                self.agent_gone(exit, now);
            }
        }
    }

    pub(super) fn agent_closed(&mut self, now: Now) {
        // After its last word a session closes; only one that closes without it is news.
        if self.life.has_session() {
            let exit = Exit {
                message: "the agent's session closed without a word".to_owned(),
                may_restart: true,
                ..Exit::default()
            };
            self.agent_gone(exit, now);
        }
    }

    fn record_in_turn(&mut self, word: Word) {
        let injection = self.turn.as_ref().map(|turn| turn.injection.clone());
        self.record(word, injection);
    }

    /// The session is over, whoever ended it.
    pub(super) fn agent_gone(&mut self, exit: Exit, now: Now) {
        let up = matches!(self.life, Life::Up | Life::Dying);
        if matches!(self.life, Life::Waiting { .. } | Life::Unusable { .. } | Life::Gone) {
            return;
        }
        self.end_turn(Outcome::died(&exit.message, exit.stderr_tail.clone()), now);
        self.give_up_steering();
        if self.closing.is_some() {
            self.life = Life::Gone;
            return;
        }
        let wait = exit.may_restart.then(|| self.backoff.died(up));
        let message = exit.message.clone();
        self.record(
            Word::AgentExit {
                code: exit.code,
                signal: exit.signal,
                message: exit.message,
                stderr_tail: exit.stderr_tail,
                restart_in_ms: wait.map(|wait| u64::try_from(wait.as_millis()).unwrap_or(u64::MAX)),
            },
            None,
        );
        match wait {
            Some(wait) => {
                self.life = Life::Waiting { until: now + wait };
                if self.backoff.failed_starts() >= FAILED_STARTS {
                    let reason = self.not_coming_up();
                    self.fail_waiting("agent_unusable", &reason);
                }
            }
            None => {
                let reason = format!("the agent cannot be started: {message}");
                self.life = Life::Unusable { reason: reason.clone() };
                if !self.been_up {
                    self.close("agent_unusable", ("agent_unusable", reason), now);
                } else {
                    self.fail_waiting("agent_unusable", &reason);
                }
            }
        }
    }

    /// Fails every prompt that waits.
    pub(super) fn fail_waiting(&mut self, error: &str, reason: &str) {
        while let Some(prompt) = self.queue.pop() {
            self.fail(prompt.injection, error, reason);
        }
    }
}
