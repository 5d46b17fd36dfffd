//! Commands to the agent that wait until the records before them are durable.
//!
//! A turn is recorded as started before the agent hears of it: a worker that is killed in between finds in its outbox that
//! the prompt may have run, and never runs it twice. Other commands only keep their order.

use std::collections::VecDeque;

use codeswarm_agents::AgentCommand;
use codeswarm_protocol::Seq;

/// Commands in order, each with the record that must be durable first.
#[derive(Debug, Default)]
pub struct Gate {
    held: VecDeque<(Seq, AgentCommand)>,
}

impl Gate {
    /// Takes a command in; `said` is the last record before it.
    pub fn hold(&mut self, command: AgentCommand, said: Seq) {
        let after = match command {
            AgentCommand::RunTurn { .. } => said,
            _ => Seq(0),
        };
        self.held.push_back((after, command));
    }

    /// Whether the next command may go.
    pub fn open(&self, durable: Seq) -> bool {
        self.held.front().is_some_and(|(after, _)| *after <= durable)
    }

    /// The next command, if everything before it is durable.
    pub fn pop(&mut self, durable: Seq) -> Option<AgentCommand> {
        if !self.open(durable) {
            return None;
        }
        self.held.pop_front().map(|(_, command)| command)
    }

    /// The session that the commands were meant for is over.
    pub fn clear(&mut self) {
        self.held.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_turn_waits_for_its_record_and_later_commands_wait_behind_it() {
        let mut gate = Gate::default();
        let run = AgentCommand::RunTurn { prompt: "x".into() };
        gate.hold(run.clone(), Seq(7));
        gate.hold(AgentCommand::Interrupt, Seq(7));
        assert_eq!(gate.pop(Seq(6)), None);
        assert_eq!(gate.pop(Seq(7)), Some(run));
        assert_eq!(gate.pop(Seq(0)), Some(AgentCommand::Interrupt));
        assert_eq!(gate.pop(Seq(9)), None);
    }
}
