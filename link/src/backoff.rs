//! How long to wait before the next attempt. Pure: the chance is handed in.

use std::time::Duration;

/// The first wait after a passing trouble.
const FIRST: Duration = Duration::from_millis(500);

/// The longest wait after a passing trouble.
const LONGEST: Duration = Duration::from_secs(30);

/// The wait after a trouble that needs a person: who has mended it should not wait long, and a login node that refuses must
/// not be asked so often that it takes us for an attacker.
const LASTING: Duration = Duration::from_secs(45);

/// How much chance may change a wait: a third more or less, so that many routers do not come back at one instant.
const JITTER: f64 = 1.0 / 3.0;

/// Waits between attempts: 0.5, 1, 2, 4 … 30 s.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Backoff {
    attempts: u32,
}

impl Backoff {
    /// The wait before the next attempt. `lasting` is whether the last one failed for a reason that a person must mend;
    /// `chance` is a number from 0 to 1.
    pub fn next(&mut self, lasting: bool, chance: f64) -> Duration {
        let plain = if lasting {
            LASTING
        } else {
            let doubled = FIRST.saturating_mul(1_u32.checked_shl(self.attempts).unwrap_or(u32::MAX));
            self.attempts = self.attempts.saturating_add(1).min(16);
            doubled.min(LONGEST)
        };
        let wait = plain.mul_f64(1.0 - JITTER + 2.0 * JITTER * chance.clamp(0.0, 1.0));
        if lasting { wait } else { wait.min(LONGEST) }
    }

    /// Begins from the start: the link was up for a while, or somebody asks for it now.
    pub fn reset(&mut self) {
        self.attempts = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_half_a_minute() {
        let mut backoff = Backoff::default();
        let waits: Vec<u64> = (0..9)
            .map(|_| u64::try_from(backoff.next(false, 0.5).as_millis()).unwrap())
            .collect();
        assert_eq!(waits, [500, 1000, 2000, 4000, 8000, 16_000, 30_000, 30_000, 30_000]);
        for _ in 0..100 {
            assert!(backoff.next(false, 1.0) <= LONGEST);
        }
        backoff.reset();
        assert_eq!(backoff.next(false, 0.5), FIRST);
    }

    #[test]
    fn what_a_person_must_mend_is_tried_again_in_30_to_60_seconds() {
        let mut backoff = Backoff::default();
        for chance in [0.0, 0.3, 1.0, 7.0, -1.0] {
            let wait = backoff.next(true, chance);
            assert!((30.0..=60.0).contains(&wait.as_secs_f64()), "{wait:?}");
        }
        assert_eq!(backoff.next(false, 0.5), FIRST, "lasting troubles do not count");
    }

    #[test]
    fn chance_spreads_the_waits() {
        let at = |chance| Backoff::default().next(false, chance);
        assert!(at(0.0) < at(0.5) && at(0.5) < at(1.0));
    }
}
