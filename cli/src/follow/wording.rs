//! What following says to a person: what it waits for, and how to come back to it.

use codeswarm_protocol::NodeSelector;

use super::{Errand, Follow};

impl Follow {
    /// What is waited for, in a few words.
    pub fn waiting_for(&self) -> String {
        if self.ending.is_some() {
            return "waiting for the swarm to end".to_owned();
        }
        let Some(turns) = &self.turns else {
            return match self.errand {
                Errand::Run { .. } => "waiting for the launch".to_owned(),
                _ => "waiting for events".to_owned(),
            };
        };
        let tally = turns.tally();
        let open = NodeSelector::Ranks(tally.open.into_iter().collect()).to_string();
        if tally.started == 0 && matches!(self.errand, Errand::Run { .. }) && self.up.len() < tally.expected {
            let job = self
                .provider_state
                .as_deref()
                .map(|state| format!("the job is {state}, "))
                .unwrap_or_default();
            return format!("{job}{} of {} nodes up", self.up.len(), tally.expected);
        }
        if tally.ended == tally.expected {
            return "waiting for the last words".to_owned();
        }
        format!(
            "{} of {} turns ended; waiting for node {}",
            tally.ended,
            tally.expected,
            shorten(open)
        )
    }

    /// How to come back, as a sentence.
    pub(super) fn detached(&self, before: &str) -> String {
        let options = &self.options;
        match &self.swarm {
            Some(swarm) if self.over.is_none() => format!(
                "{before}swarm {swarm} goes on; come back: codeswarm attach {swarm}{options} --since {}",
                self.positions
            ),
            Some(swarm) => format!(
                "{before}swarm {swarm} is over; read on: codeswarm attach {swarm}{options} --since {}",
                self.positions
            ),
            None => format!("{before}whether the swarm was launched is not known: codeswarm list{options} shows it"),
        }
    }
}

fn shorten(nodes: String) -> String {
    if nodes.chars().count() <= 30 {
        nodes
    } else {
        nodes.chars().take(29).chain(['…']).collect()
    }
}
