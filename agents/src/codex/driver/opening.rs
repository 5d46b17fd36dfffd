//! From `initialize` to an open thread.

use codeswarm_protocol::record::Word;

use super::{CodexDriver, Phase, said};
use crate::codex::handshake::{self, Opened, ResumeRefusal};
use crate::codex::requests::Asked;
use crate::codex::wire::{self, OVERLOADED, RpcError};
use crate::driver::{AgentEvent, Effect, Now};

impl CodexDriver {
    pub(super) fn answered_opening(&mut self, asked: &Asked, outcome: Result<&str, RpcError>, now: Now) -> Vec<Effect> {
        match (asked, outcome) {
            (Asked::Initialize, Ok(_)) => self.initialized(now),
            (Asked::Login, Ok(_)) => vec![self.open_thread(now)],
            (_, Ok(result)) => self.opened(result, *asked == Asked::ResumeThread, now),
            (Asked::ResumeThread, Err(error)) => match ResumeRefusal::of(&error) {
                ResumeRefusal::Later => {
                    vec![self.end(
                        format!("codex cannot go on with its thread yet: {}", error.message),
                        true,
                    )]
                }
                ResumeRefusal::Gone => {
                    let thread = self.resume.take().unwrap_or_default();
                    self.early.push(format!(
                        "the earlier conversation {thread} cannot be gone on with, so a new one begins: {}",
                        error.message
                    ));
                    vec![self.open_thread(now)]
                }
            },
            (_, Err(error)) => {
                let reason = format!("codex refused {}: {}", asked.method(), error.message);
                vec![self.end(reason, error.code == OVERLOADED)]
            }
        }
    }

    pub(super) fn initialized(&mut self, now: Now) -> Vec<Effect> {
        self.phase = Phase::Opening;
        let mut effects = vec![Effect::Write(wire::notification("initialized"))];
        effects.push(match self.api_key.take() {
            Some(key) => self
                .requests
                .send(Asked::Login, &handshake::login(&key), self.start_timeout, now),
            None => self.open_thread(now),
        });
        effects
    }

    pub(super) fn open_thread(&mut self, now: Now) -> Effect {
        let (asked, params) = match &self.resume {
            Some(thread_id) => (Asked::ResumeThread, self.thread.resume(thread_id)),
            None => (Asked::StartThread, self.thread.start()),
        };
        self.requests.send(asked, &params, self.start_timeout, now)
    }

    pub(super) fn opened(&mut self, result: &str, resumed: bool, now: Now) -> Vec<Effect> {
        let opened: Opened = match serde_json::from_str(result) {
            Ok(opened) => opened,
            Err(error) => {
                let reason = format!("this codex speaks another protocol than version 0.169: {error}");
                return vec![self.end(reason, false)];
            }
        };
        if let Err(difference) = self.thread.check(&opened) {
            return vec![self.end(difference, false)];
        }
        if !resumed {
            self.meter.new_thread();
        }
        self.file = opened.thread.path;
        self.phase = Phase::Open;
        self.thread_id = Some(opened.thread.id.clone());
        let mut effects = vec![Effect::Tell(AgentEvent::Ready {
            thread_id: opened.thread.id,
            resumed,
            agent_version: opened.thread.cli_version,
            model: opened.model,
            cwd: opened.cwd.unwrap_or_default(),
        })];
        for message in std::mem::take(&mut self.early) {
            effects.push(said(Word::Notice { message }));
        }
        effects.extend(self.begin_next(now));
        effects
    }
}
