//! Codex's questions whether it may, and their answers: by policy at once, by a client, or by time.

use std::collections::BTreeMap;
use std::time::Duration;

use codeswarm_protocol::launch::Approvals as Policy;
use codeswarm_protocol::record::Word;
use codeswarm_protocol::turn::Decision;
use serde::Deserialize;
use serde_json::{Value, json};

use super::wire;
use crate::driver::{AgentEvent, Effect, Now};

const COMMAND: &str = "item/commandExecution/requestApproval";
const FILE_CHANGE: &str = "item/fileChange/requestApproval";

/// A question of Codex's.
#[derive(Debug, Clone, PartialEq)]
pub struct Question {
    call_id: String,
    item_id: String,
    kind: String,
    command: Option<String>,
    reason: Option<String>,
    cwd: Option<String>,
    for_session: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct CommandParams {
    item_id: String,
    #[serde(default)]
    approval_id: Option<String>,
    #[serde(default)]
    kind: Option<String>,
    #[serde(default)]
    command: Option<String>,
    #[serde(default)]
    reason: Option<String>,
    #[serde(default)]
    cwd: Option<String>,
    #[serde(default)]
    network_approval_context: Option<NetworkContext>,
    #[serde(default)]
    available_decisions: Option<Vec<Value>>,
}

#[derive(Deserialize)]
struct NetworkContext {
    host: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct FileChangeParams {
    item_id: String,
    #[serde(default)]
    reason: Option<String>,
    #[serde(default)]
    grant_root: Option<String>,
}

impl Question {
    /// Reads a request of the server's; none when it is no question for approval.
    pub fn parse(method: &str, params: &str) -> Option<Self> {
        match method {
            COMMAND => {
                let params: CommandParams = serde_json::from_str(params).ok()?;
                let network = params
                    .network_approval_context
                    .map(|context| format!("network access to {}", context.host));
                // `decline` is taken although it is not always listed; the session-wide yes only where it is.
                let for_session = params
                    .available_decisions
                    .is_none_or(|listed| listed.contains(&json!("acceptForSession")));
                Some(Self {
                    call_id: params.approval_id.unwrap_or_else(|| params.item_id.clone()),
                    item_id: params.item_id,
                    kind: params.kind.unwrap_or_else(|| "command".into()),
                    command: params.command.or(network),
                    reason: params.reason,
                    cwd: params.cwd,
                    for_session,
                })
            }
            FILE_CHANGE => {
                let params: FileChangeParams = serde_json::from_str(params).ok()?;
                let root = params.grant_root.map(|root| format!("write under {root}"));
                Some(Self {
                    call_id: params.item_id.clone(),
                    item_id: params.item_id,
                    kind: "file_change".into(),
                    command: root,
                    reason: params.reason,
                    cwd: None,
                    for_session: true,
                })
            }
            _ => None,
        }
    }

    /// The question as a record. The changes of a patch are not in the question; `changes` holds them where known.
    pub fn word(&self, changes: Option<&str>) -> Word {
        let mut available_decisions = vec![Decision::Accept];
        if self.for_session {
            available_decisions.push(Decision::AcceptForSession);
        }
        available_decisions.extend([Decision::Decline, Decision::Cancel]);
        let asked = [changes, self.command.as_deref()];
        Word::ApprovalRequired {
            call_id: self.call_id.clone(),
            kind: self.kind.clone(),
            command: asked.into_iter().flatten().collect::<Vec<_>>().join("; "),
            reason: self.reason.clone(),
            cwd: self.cwd.clone(),
            available_decisions,
        }
    }
}

/// The questions that are open.
#[derive(Debug)]
pub struct Approvals {
    policy: Policy,
    timeout: Duration,
    open: BTreeMap<String, Open>,
    /// What patches that have begun would change, in short, by the name of their item.
    patches: BTreeMap<String, String>,
}

#[derive(Debug)]
struct Open {
    rpc_id: Value,
    until: Now,
}

impl Approvals {
    /// With this policy, and this time for a client to answer.
    pub fn new(policy: Policy, timeout: Duration) -> Self {
        Self {
            policy,
            timeout,
            open: BTreeMap::new(),
            patches: BTreeMap::new(),
        }
    }

    /// A patch has begun.
    pub fn patch_begins(&mut self, item_id: String, in_short: String) {
        self.patches.insert(item_id, in_short);
    }

    /// A patch is over.
    pub fn patch_ends(&mut self, item_id: &str) {
        self.patches.remove(item_id);
    }

    /// A question came with the id `rpc_id`.
    pub fn ask(&mut self, rpc_id: Value, mut question: Question, now: Now) -> Vec<Effect> {
        if self.open.contains_key(&question.call_id) {
            question.call_id = format!("{}#{rpc_id}", question.call_id);
        }
        let patch = self.patches.get(&question.item_id);
        let mut effects = vec![said(question.word(patch.map(String::as_str)))];
        match self.policy.by_policy() {
            Some(decision) => effects.extend(answer(&rpc_id, question.call_id, decision, "policy")),
            None => {
                let until = now.saturating_add(self.timeout);
                self.open.insert(question.call_id, Open { rpc_id, until });
            }
        }
        effects
    }

    /// An answer came from the worker; none when no such question is open.
    pub fn answer(&mut self, call_id: &str, decision: Decision, by: &str) -> Option<Vec<Effect>> {
        let (call_id, open) = self.open.remove_entry(call_id)?;
        Some(answer(&open.rpc_id, call_id, decision, by))
    }

    /// Codex says that a question is settled; if we have not answered it, Codex has withdrawn it.
    pub fn resolved(&mut self, rpc_id: &Value) -> Option<Effect> {
        let call_id = self
            .open
            .iter()
            .find(|(_, open)| open.rpc_id == *rpc_id)
            .map(|(call_id, _)| call_id.clone())?;
        self.open.remove(&call_id);
        Some(said(resolved(call_id, Decision::Cancel, "agent")))
    }

    /// The turn is over: nothing is open any more.
    pub fn close(&mut self) -> Vec<Effect> {
        self.patches.clear();
        std::mem::take(&mut self.open)
            .into_keys()
            .map(|call_id| said(resolved(call_id, Decision::Cancel, "agent")))
            .collect()
    }

    /// When the first question has waited long enough.
    pub fn deadline(&self) -> Option<Now> {
        self.open.values().map(|open| open.until).min()
    }

    /// Says no to the questions that have waited long enough.
    pub fn tick(&mut self, now: Now) -> Vec<Effect> {
        let mut effects = Vec::new();
        while let Some(call_id) = self
            .open
            .iter()
            .find(|(_, open)| open.until <= now)
            .map(|(call_id, _)| call_id.clone())
        {
            effects.extend(
                self.answer(&call_id, Decision::Decline, "timeout")
                    .into_iter()
                    .flatten(),
            );
        }
        effects
    }
}

fn answer(rpc_id: &Value, call_id: String, decision: Decision, by: &str) -> Vec<Effect> {
    let word = match decision {
        Decision::Accept => "accept",
        Decision::AcceptForSession => "acceptForSession",
        Decision::Decline => "decline",
        Decision::Cancel => "cancel",
    };
    vec![
        Effect::Write(wire::answer(rpc_id, &json!({"decision": word}))),
        said(resolved(call_id, decision, by)),
    ]
}

fn resolved(call_id: String, decision: Decision, by: &str) -> Word {
    Word::ApprovalResolved {
        call_id,
        decision,
        by: by.to_owned(),
    }
}

fn said(word: Word) -> Effect {
    Effect::Tell(AgentEvent::Said(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_patch_is_described_by_what_began() {
        let mut approvals = Approvals::new(Policy::Ask, Duration::from_secs(1));
        approvals.patch_begins("c1".into(), "add a.txt".into());
        let params = r#"{"threadId":"t","turnId":"u","itemId":"c1","reason":null,"grantRoot":"/r"}"#;
        let question = Question::parse(FILE_CHANGE, params).unwrap();
        let effects = approvals.ask(json!(0), question.clone(), Now::ZERO);
        let [Effect::Tell(AgentEvent::Said(Word::ApprovalRequired { command, kind, .. }))] = &effects[..] else {
            panic!("{effects:?}");
        };
        assert_eq!(
            (command.as_str(), kind.as_str()),
            ("add a.txt; write under /r", "file_change")
        );
        // A second question about the same item has a name of its own.
        approvals.ask(json!("x"), question, Now::ZERO);
        assert!(approvals.answer("c1#\"x\"", Decision::Accept, "client").is_some());
        assert!(approvals.answer("c1#\"x\"", Decision::Accept, "client").is_none());
        assert!(approvals.resolved(&json!(0)).is_some());
        assert!(approvals.resolved(&json!(0)).is_none());
        assert_eq!(approvals.close(), []);
    }

    #[test]
    fn a_question_about_the_network_names_the_host() {
        let params =
            r#"{"itemId":"c1","approvalId":"a1","networkApprovalContext":{"host":"h:443","protocol":"https"}}"#;
        let word = Question::parse(COMMAND, params).unwrap().word(None);
        let Word::ApprovalRequired { call_id, command, .. } = word else {
            panic!("{word:?}");
        };
        assert_eq!((call_id.as_str(), command.as_str()), ("a1", "network access to h:443"));
        assert_eq!(Question::parse("item/tool/call", params), None);
        assert_eq!(Question::parse(COMMAND, "{}"), None);
    }
}
