//! The agent's life as its worker sees it, and how long to wait before it is started again.

use std::time::Duration;

use codeswarm_agents::Now;

/// Where the agent is in its life.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Life {
    /// Not started yet.
    Down,
    /// A session was asked for; when the worker gives up on it.
    Starting {
        /// The moment.
        give_up: Now,
    },
    /// It takes turns.
    Up,
    /// It has ended; its session's last words are on the way.
    Dying,
    /// It died and is started again at this moment.
    Waiting {
        /// The moment.
        until: Now,
    },
    /// It will not come up, whatever we do.
    Unusable {
        /// Why.
        reason: String,
    },
    /// It was told to end, since the worker ends.
    Stopping,
    /// It has ended, and so will the worker.
    Gone,
}

impl Life {
    /// Whether there is a session whose last word has not come yet.
    pub fn has_session(&self) -> bool {
        matches!(self, Self::Starting { .. } | Self::Up | Self::Dying | Self::Stopping)
    }
}

/// The shortest wait before a start.
pub const FIRST_WAIT: Duration = Duration::from_secs(1);

/// The longest wait before a start.
pub const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// How long to wait before the next start: twice as long each time, until a turn has completed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Backoff {
    deaths: u32,
    failed_starts: u32,
}

impl Backoff {
    /// The agent died, `up` or before it came up; how long to wait.
    pub fn died(&mut self, up: bool) -> Duration {
        let wait = FIRST_WAIT.saturating_mul(1_u32.checked_shl(self.deaths).unwrap_or(u32::MAX));
        self.deaths = self.deaths.saturating_add(1).min(31);
        self.failed_starts = if up { 0 } else { self.failed_starts.saturating_add(1) };
        wait.min(LONGEST_WAIT)
    }

    /// It came up.
    pub fn came_up(&mut self) {
        self.failed_starts = 0;
    }

    /// It has completed a turn: whatever troubled it is over.
    pub fn completed(&mut self) {
        *self = Self::default();
    }

    /// How many starts in a row did not come up.
    pub fn failed_starts(&self) -> u32 {
        self.failed_starts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_a_minute_and_start_over_after_a_completed_turn() {
        let mut backoff = Backoff::default();
        let waits: Vec<u64> = (0..9).map(|_| backoff.died(true).as_secs()).collect();
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 60, 60, 60]);
        for _ in 0..100 {
            assert_eq!(backoff.died(false), LONGEST_WAIT);
        }
        assert_eq!(backoff.failed_starts(), 100);
        backoff.came_up();
        assert_eq!((backoff.failed_starts(), backoff.died(true)), (0, LONGEST_WAIT));
        backoff.completed();
        assert_eq!(backoff.died(true), FIRST_WAIT);
    }
}
