//! What happens because time has passed.

use codeswarm_agents::Now;

use super::agent::Exit;
use super::life::Life;
use super::turn::Cause;
use super::{Core, Effect};

impl Core {
    /// When [`super::Input::Tick`] is wanted next, if nothing else happens before.
    pub fn deadline(&self) -> Option<Now> {
        if self.finished() {
            return None;
        }
        let life = match self.life {
            Life::Starting { give_up } => Some(give_up),
            Life::Waiting { until } => Some(until),
            _ => None,
        };
        let turn = self
            .turn
            .as_ref()
            .map(|turn| turn.ending.map_or(turn.deadline, |ending| ending.kill_at));
        let closing = self.closing.as_ref().map(|closing| closing.deadline(&self.life));
        [life, turn, self.steering.give_up(), closing]
            .into_iter()
            .flatten()
            .min()
    }

    /// Does what is due by `now`.
    pub(super) fn due(&mut self, now: Now) {
        if matches!(self.life, Life::Waiting { until } if until <= now) && self.closing.is_none() {
            self.start_agent(now);
        }
        if matches!(self.life, Life::Starting { give_up } if give_up <= now) {
            self.kill("it did not come up in time and was killed", now);
        }
        self.turn_due(now);
        if self.steering.give_up().is_some_and(|moment| moment <= now) {
            self.give_up_steering();
        }
        if self.closing.as_ref().is_some_and(|closing| closing.kill_due(now)) {
            self.kill("the worker ends and it did not end in time", now);
        }
    }

    fn turn_due(&mut self, now: Now) {
        let Some(turn) = &self.turn else { return };
        match turn.ending {
            None if turn.deadline <= now => {
                self.interrupt_turn(Cause::Deadline, now);
            }
            Some(ending) if ending.kill_at <= now => {
                self.kill("it did not end its turn when it was interrupted, and was killed", now);
            }
            _ => {}
        }
    }

    fn kill(&mut self, message: &str, now: Now) {
        if self.life.has_session() {
            self.effects.push(Effect::KillAgent);
            let exit = Exit {
                signal: Some(9),
                message: message.to_owned(),
                may_restart: true,
                ..Exit::default()
            };
            self.agent_gone(exit, now);
        }
    }
}
