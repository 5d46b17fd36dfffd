//! When a worker tries to reach the follower's doorbell, and what it says when it cannot. No socket, no clock.

use std::time::Duration;

/// The first pause after an attempt that came to nothing; each is twice the one before. The inbox is looked at as often.
const FIRST: Duration = Duration::from_secs(2);

/// The longest pause.
const LONGEST: Duration = Duration::from_secs(60);

/// A connection that lasted so long was a good one.
const GOOD: Duration = Duration::from_secs(60);

/// So many failures in a row, with nobody else to blame, are the network's.
const TELLING: u32 = 3;

/// What came of an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Nobody listens, by the mailbox's own word; or it cannot be read now.
    Nobody,
    /// Nobody listens where the mailbox says: that follower is gone.
    Refused,
    /// There is no way to where the mailbox says, for this reason.
    NoWay(String),
    /// Somebody else answers there, or speaks otherwise.
    Stranger,
    /// It was connected for so long.
    Lost(Duration),
}

/// The pauses between attempts.
#[derive(Debug)]
pub struct Calling {
    pause: Duration,
    failures: u32,
    told: bool,
    random: u64,
}

impl Calling {
    /// The first attempt is due now; `seed` sets the jitter.
    pub fn new(seed: u64) -> Self {
        Self {
            pause: Duration::ZERO,
            failures: 0,
            told: false,
            random: seed | 1,
        }
    }

    /// How long to wait before the next attempt: a fifth more or less, so that a thousand workers do not come at once.
    pub fn pause(&mut self) -> Duration {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        let thousandths = u32::try_from(800 + self.random % 401).unwrap_or(1000);
        self.pause * thousandths / 1000
    }

    /// An attempt is over. Answers with what a person should know, once in a worker's life.
    pub fn ended(&mut self, outcome: Outcome) -> Option<String> {
        let reason = match outcome {
            Outcome::Lost(lasted) if lasted >= GOOD => {
                self.failures = 0;
                self.pause = FIRST;
                return None;
            }
            Outcome::Nobody | Outcome::Refused | Outcome::Lost(_) => None,
            Outcome::NoWay(reason) => Some(reason),
            Outcome::Stranger => Some("whoever answers there is not the follower".to_owned()),
        };
        self.pause = (self.pause * 2).clamp(FIRST, LONGEST);
        self.failures = match reason {
            Some(_) => self.failures + 1,
            None => 0,
        };
        let reason = reason.filter(|_| self.failures >= TELLING && !self.told)?;
        self.told = true;
        Some(format!(
            "the doorbell cannot be reached, so the inbox is looked at every two seconds, and the outbox is found by looking: \
             {reason}; to have it, open the way from the compute nodes to the login node, or say with cluster.doorbell at which \
             of its addresses to listen"
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn no_way() -> Outcome {
        Outcome::NoWay("10.0.0.7:4711: no route to host".into())
    }

    #[test]
    fn attempts_become_rare_and_are_spread() {
        for seed in 0..200 {
            let mut calling = Calling::new(seed * 7_919);
            assert_eq!(calling.pause(), Duration::ZERO);
            let mut expected = FIRST;
            for outcome in [Outcome::Nobody, Outcome::Refused, no_way(), Outcome::Stranger]
                .into_iter()
                .cycle()
                .take(40)
            {
                calling.ended(outcome);
                let pause = calling.pause();
                assert!(
                    pause >= expected * 4 / 5 && pause <= expected * 6 / 5,
                    "{pause:?} for {expected:?}"
                );
                expected = (expected * 2).min(LONGEST);
            }
            calling.ended(Outcome::Lost(GOOD));
            assert!(calling.pause() <= FIRST * 6 / 5);
            calling.ended(Outcome::Lost(Duration::from_secs(1)));
            assert!(calling.pause() > FIRST * 6 / 5, "one that does not last is no good one");
        }
        let pauses = (0..100).map(|seed| {
            let mut calling = Calling::new(seed * 104_729);
            calling.ended(Outcome::Nobody);
            calling.pause()
        });
        assert!(pauses.collect::<std::collections::BTreeSet<_>>().len() > 50);
    }

    #[test]
    fn that_there_is_no_way_is_said_once() {
        let mut calling = Calling::new(1);
        let mut told = Vec::new();
        for _ in 0..100 {
            told.extend(calling.ended(no_way()));
        }
        assert_eq!(told.len(), 1);
        assert!(
            told[0].contains("no route to host") && told[0].contains("cluster.doorbell"),
            "{}",
            told[0]
        );
    }

    #[test]
    fn that_the_follower_is_gone_is_nothing_to_say() {
        let mut calling = Calling::new(1);
        for _ in 0..100 {
            for outcome in [
                Outcome::Nobody,
                Outcome::Refused,
                no_way(),
                no_way(),
                Outcome::Lost(GOOD),
            ] {
                assert_eq!(calling.ended(outcome), None);
            }
        }
    }
}
