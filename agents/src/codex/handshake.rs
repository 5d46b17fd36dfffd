//! Opening: what Codex is told, and whether it does what it was told.

use codeswarm_protocol::launch::{AgentSpec, ApprovalPolicy, Sandbox};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::notification::UNHEARD;
use super::wire::{OVERLOADED, RpcError};

/// What of the agent's specification a thread is opened with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ThreadSettings {
    cwd: String,
    model: Option<String>,
    model_provider: Option<String>,
    sandbox: Sandbox,
    approval_policy: ApprovalPolicy,
}

/// An answer to `thread/start` or `thread/resume`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Opened {
    /// The thread.
    pub thread: Thread,
    /// The model that it uses.
    #[serde(default)]
    pub model: Option<String>,
    /// Its working directory.
    #[serde(default)]
    pub cwd: Option<String>,
    #[serde(default)]
    approval_policy: Value,
    #[serde(default)]
    sandbox: Value,
}

/// A thread as the server describes it.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Thread {
    /// Its name.
    pub id: String,
    /// Its file, which a resume needs; there after the first turn.
    #[serde(default)]
    pub path: Option<String>,
    /// The server's version.
    #[serde(default)]
    pub cli_version: Option<String>,
}

/// `initialize`: who we are, and what we do not want to hear. `experimentalApi` is what ends a command that an interrupted
/// turn has left running.
pub fn initialize() -> Value {
    json!({
        "clientInfo": {
            "name": "codeswarm",
            "title": "Codeswarm",
            "version": codeswarm_protocol::VERSION,
        },
        "capabilities": {
            "experimentalApi": true,
            "requestAttestation": false,
            "optOutNotificationMethods": UNHEARD,
        },
    })
}

/// `account/login/start` with a key, which stays in the server's memory.
pub fn login(api_key: &str) -> Value {
    json!({"type": "apiKey", "apiKey": api_key})
}

impl ThreadSettings {
    /// From the specification, for this working directory.
    pub fn new(agent: &AgentSpec, cwd: String) -> Self {
        Self {
            cwd,
            model: agent.model.clone(),
            model_provider: agent.model_provider.clone(),
            sandbox: agent.sandbox,
            approval_policy: agent.approval_policy,
        }
    }

    /// `thread/start`.
    pub fn start(&self) -> Value {
        Value::Object(self.params())
    }

    /// `thread/resume`, without the history, which we have.
    pub fn resume(&self, thread_id: &str) -> Value {
        let mut params = self.params();
        params.insert("threadId".into(), thread_id.into());
        params.insert("excludeTurns".into(), true.into());
        Value::Object(params)
    }

    fn params(&self) -> Map<String, Value> {
        let mut params = Map::new();
        params.insert("cwd".into(), self.cwd.as_str().into());
        params.insert("sandbox".into(), sandbox_word(self.sandbox).0.into());
        params.insert("approvalPolicy".into(), policy_word(self.approval_policy).into());
        if let Some(model) = &self.model {
            params.insert("model".into(), model.as_str().into());
        }
        if let Some(provider) = &self.model_provider {
            params.insert("modelProvider".into(), provider.as_str().into());
        }
        params
    }

    /// Whether the thread is as it was asked for; else a sentence about the difference. Codex changes some values
    /// without a word, and an unattended agent would then wait for an approval that nobody gives, or write where it
    /// must not.
    pub fn check(&self, opened: &Opened) -> Result<(), String> {
        let wanted = policy_word(self.approval_policy);
        if opened.approval_policy != wanted {
            return Err(format!(
                "agent.approval_policy is {wanted:?}, but codex uses {}",
                opened.approval_policy
            ));
        }
        let (wanted, answered) = sandbox_word(self.sandbox);
        let got = opened.sandbox.get("type").unwrap_or(&opened.sandbox);
        if got != answered && got != wanted {
            return Err(format!("agent.sandbox is {wanted:?}, but codex uses {got}"));
        }
        Ok(())
    }
}

fn policy_word(policy: ApprovalPolicy) -> &'static str {
    match policy {
        ApprovalPolicy::Untrusted => "untrusted",
        ApprovalPolicy::OnRequest => "on-request",
        ApprovalPolicy::Never => "never",
    }
}

/// The word in a request, and the one in its answer.
fn sandbox_word(sandbox: Sandbox) -> (&'static str, &'static str) {
    match sandbox {
        Sandbox::ReadOnly => ("read-only", "readOnly"),
        Sandbox::WorkspaceWrite => ("workspace-write", "workspaceWrite"),
        Sandbox::DangerFullAccess => ("danger-full-access", "dangerFullAccess"),
    }
}

/// What a refused `thread/resume` means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ResumeRefusal {
    /// Another process has the thread open, or the server is busy: it may work later.
    Later,
    /// The thread cannot be gone on with: a new one is started. (Wrong settings are refused again then.)
    Gone,
}

impl ResumeRefusal {
    /// By the error's words, which are those of version 0.169.
    pub fn of(error: &RpcError) -> Self {
        if error.code == OVERLOADED || error.message.contains("already has an active writer") {
            Self::Later
        } else {
            Self::Gone
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn opened(policy: &str, sandbox: &str) -> Opened {
        serde_json::from_value(json!({
            "thread": {"id": "t"},
            "approvalPolicy": policy,
            "sandbox": {"type": sandbox},
        }))
        .unwrap()
    }

    #[test]
    fn a_thread_that_is_not_as_asked_for_is_noticed() {
        let settings = ThreadSettings::new(&AgentSpec::default(), "/w".into());
        assert_eq!(settings.check(&opened("never", "workspaceWrite")), Ok(()));
        assert_eq!(
            settings.check(&opened("on-request", "workspaceWrite")),
            Err("agent.approval_policy is \"never\", but codex uses \"on-request\"".into())
        );
        assert_eq!(
            settings.check(&opened("never", "dangerFullAccess")),
            Err("agent.sandbox is \"workspace-write\", but codex uses \"dangerFullAccess\"".into())
        );
    }

    #[test]
    fn a_thread_in_use_may_be_free_later_and_another_refusal_is_final() {
        let refusal = |code, message: &str| {
            ResumeRefusal::of(&RpcError {
                code,
                message: message.into(),
            })
        };
        assert_eq!(
            refusal(-32600, "thread t already has an active writer"),
            ResumeRefusal::Later
        );
        assert_eq!(refusal(OVERLOADED, "Server overloaded"), ResumeRefusal::Later);
        assert_eq!(refusal(-32600, "no rollout found for thread id t"), ResumeRefusal::Gone);
    }
}
