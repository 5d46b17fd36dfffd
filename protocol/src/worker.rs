//! The worker's process as whoever starts it sees it: what its exit codes mean, and when it is started again.
//!
//! The router's local provider and the worker's own keeper both go by this.

use std::time::Duration;

/// Exit codes of a worker, after sysexits(3).
pub mod exit {
    /// It ended in order (SIGTERM, a shutdown in its inbox), everything said and archived.
    pub const OK: u8 = 0;
    /// Its command line is wrong.
    pub const USAGE: u8 = 2;
    /// Its launch was withdrawn before it began: nothing was done and nothing said.
    pub const WITHDRAWN: u8 = 69;
    /// A fault of Codeswarm's own, or of the system under it.
    pub const INTERNAL: u8 = 70;
    /// The same start may succeed later: a filesystem that does not answer, another worker in this place.
    pub const TEMPORARY: u8 = 75;
    /// Somebody must change the configuration or the installation first; also for an agent that cannot be started.
    pub const CONFIGURATION: u8 = 78;
}

/// What the end of a worker's process means for whoever started it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// In order: there is nothing left to do.
    InOrder,
    /// Its launch was withdrawn: nobody waits for it.
    Withdrawn,
    /// It refuses to run, and will refuse again.
    Hopeless,
    /// Something stands in its way that may go: another worker, a filesystem.
    Held,
    /// Any other end, a signal among them.
    Crashed,
}

impl Ended {
    /// By its exit code; `None`: a signal ended it.
    pub fn of(code: Option<i32>) -> Self {
        match code.and_then(|code| u8::try_from(code).ok()) {
            Some(exit::OK) => Self::InOrder,
            Some(exit::WITHDRAWN) => Self::Withdrawn,
            Some(exit::USAGE | exit::CONFIGURATION) => Self::Hopeless,
            Some(exit::TEMPORARY) => Self::Held,
            _ => Self::Crashed,
        }
    }
}

/// At this many crashes in a row a worker is given up.
pub const MAX_CRASHES: u32 = 5;

/// A worker that ran so long was not crashing at once.
pub const RAN_WELL: Duration = Duration::from_secs(60);

/// How often a worker did not stay up, and how long it is left alone before it is started again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Restarts {
    crashes: u32,
    held: u32,
}

impl Restarts {
    /// The pause after a crash of a worker that ran so long; `None`: it is given up.
    pub fn after_crash(&mut self, ran: Duration) -> Option<Duration> {
        self.crashes = if ran > RAN_WELL { 1 } else { self.crashes + 1 };
        self.held = 0;
        (self.crashes < MAX_CRASHES).then(|| pause(self.crashes))
    }

    /// The pause while something stands in its way.
    pub fn after_held(&mut self) -> Duration {
        self.held = self.held.saturating_add(1);
        pause(self.held)
    }
}

fn pause(times: u32) -> Duration {
    Duration::from_millis(250 << times.min(6))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_is_given_up_at_the_fifth_crash_in_a_row_and_never_for_another_one_that_lives() {
        let mut restarts = Restarts::default();
        for _ in 0..100 {
            assert!(restarts.after_held() <= Duration::from_secs(16));
        }
        let pauses: Vec<_> = (0..5).map(|_| restarts.after_crash(Duration::ZERO)).collect();
        assert!(
            pauses[..4].windows(2).all(|pair| pair[0] < pair[1]) && pauses[4].is_none(),
            "{pauses:?}"
        );
        assert!(restarts.after_crash(RAN_WELL * 2).is_some(), "it ran well in between");
    }

    #[test]
    fn an_exit_code_tells_whether_another_start_can_help() {
        let ends = [
            Some(0),
            Some(2),
            Some(69),
            Some(70),
            Some(75),
            Some(78),
            Some(101),
            Some(-1),
            None,
        ];
        assert_eq!(
            ends.map(Ended::of),
            [
                Ended::InOrder,
                Ended::Hopeless,
                Ended::Withdrawn,
                Ended::Crashed,
                Ended::Held,
                Ended::Hopeless,
                Ended::Crashed,
                Ended::Crashed,
                Ended::Crashed
            ]
        );
    }
}
