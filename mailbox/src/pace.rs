//! How many looks a second that find nothing a filesystem bears: the cap where it answers at once, fewer where it does not.
//!
//! Additive increase, multiplicative decrease. Looks are *slow* when so many of them as are allowed now, each as long as these,
//! would keep a process waiting for more than its share of the time: then half as many are allowed, at once. Every look
//! that is not slow lets them grow again, from nothing to the cap in [`BACK`]. So whoever overloads a server gives way within a few
//! looks, and a thousand of them come back to it one by one, also where nobody can say how fast it usually is. Pure: the
//! clock is handed in.

use std::time::{Duration, Instant};

/// So many looks a second are never too many.
const FLOOR: f64 = 1.0;

/// Within this time, at the longest, as many looks as the cap has are allowed again, once none is slow.
const BACK: Duration = Duration::from_secs(60);

/// What brings data takes time for its bytes, too: it is a word about the filesystem when it took longer than this.
const READING: Duration = Duration::from_millis(20);

/// What is allowed now.
#[derive(Debug)]
pub(crate) struct Pace {
    cap: f64,
    /// The share of the time that may be spent waiting.
    share: f64,
    /// Looks a second.
    allowed: f64,
    /// How long a look takes, of late.
    mean: Duration,
    halved: Option<Instant>,
    /// The last word about the filesystem.
    heard: Option<Instant>,
}

impl Pace {
    pub(crate) fn new(cap: u32, busy_permille: u32) -> Self {
        let cap = f64::from(cap);
        Self {
            cap,
            share: f64::from(busy_permille) / 1000.0,
            allowed: cap,
            mean: Duration::ZERO,
            halved: None,
            heard: None,
        }
    }

    /// Looks a second.
    pub(crate) fn allowed(&self) -> f64 {
        self.allowed
    }

    /// A look has taken that long.
    pub(crate) fn answered(&mut self, took: Duration, brought_data: bool, now: Instant) {
        if brought_data && took < READING {
            return;
        }
        self.mean = (self.mean * 7 + took) / 8;
        let before = self.heard.replace(now).unwrap_or(now);
        // Both: one look that takes long is no slow filesystem, and one that does not is none any more.
        if took.min(self.mean).as_secs_f64() * self.allowed <= self.share {
            let grows = self.cap * now.saturating_duration_since(before).as_secs_f64() / BACK.as_secs_f64();
            self.allowed = (self.allowed + grows).min(self.cap);
            return;
        }
        // Of several at once all say the same: only what began since says that there are still too many.
        let is_news = self
            .halved
            .is_none_or(|halved| now.saturating_duration_since(halved) >= took);
        if is_news {
            self.halved = Some(now);
            self.allowed = (self.allowed / 2.0).max(FLOOR.min(self.cap));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FAST: Duration = Duration::from_micros(300);
    const SLOW: Duration = Duration::from_millis(30);

    /// Looks, as many as are allowed, one after the other.
    struct Looks {
        pace: Pace,
        now: Instant,
    }

    impl Looks {
        fn new() -> Self {
            Self {
                pace: Pace::new(50, 100),
                now: Instant::now(),
            }
        }

        fn look(&mut self, took: Duration) {
            self.now += took.max(Duration::from_secs_f64(1.0 / self.pace.allowed()));
            self.pace.answered(took, false, self.now);
        }

        /// For so many seconds; how many were made.
        fn go_on(&mut self, took: Duration, seconds: u64) -> u32 {
            let until = self.now + Duration::from_secs(seconds);
            let mut looks = 0;
            while self.now < until {
                self.look(took);
                looks += 1;
            }
            looks
        }
    }

    #[test]
    fn a_filesystem_that_becomes_a_hundred_times_slower_is_asked_less_at_once_and_more_again_when_it_is_back() {
        let mut looks = Looks::new();
        looks.go_on(FAST, 60);
        assert_eq!(looks.pace.allowed(), 50.0);
        for _ in 0..10 {
            looks.look(SLOW);
        }
        assert!(looks.pace.allowed() <= 6.25, "{}", looks.pace.allowed());
        let made = looks.go_on(SLOW, 60);
        let waited = SLOW.as_secs_f64() * f64::from(made) / 60.0;
        assert!(waited <= 0.11, "{made} looks in a minute, {waited} of the time");
        assert!(made >= 60, "{made} looks in a minute");
        // It is back; others may not be done with it.
        looks.go_on(FAST, 6);
        assert!((5.0..12.0).contains(&looks.pace.allowed()), "{}", looks.pace.allowed());
        looks.go_on(FAST, 60);
        assert_eq!(looks.pace.allowed(), 50.0);
    }

    #[test]
    fn one_slow_look_halves_once_and_the_looks_beside_it_say_the_same() {
        let mut looks = Looks::new();
        looks.go_on(FAST, 10);
        looks.look(Duration::from_millis(200));
        assert_eq!(looks.pace.allowed(), 25.0);
        for _ in 0..7 {
            // They had begun before.
            looks.now += Duration::from_millis(1);
            looks.pace.answered(Duration::from_millis(200), false, looks.now);
        }
        assert_eq!(looks.pace.allowed(), 25.0);
        looks.look(FAST);
        assert!(looks.pace.allowed() >= 25.0, "the mean alone halves nothing");
        looks.go_on(FAST, 30);
        assert_eq!(looks.pace.allowed(), 50.0);
    }

    #[test]
    fn what_takes_long_now_and_then_changes_nothing() {
        let mut looks = Looks::new();
        looks.go_on(FAST, 10);
        for _ in 0..100 {
            looks.look(Duration::from_millis(8));
            looks.go_on(FAST, 1);
            assert_eq!(looks.pace.allowed(), 50.0);
        }
    }

    #[test]
    fn what_brings_data_says_how_slow_it_is_but_not_by_the_time_of_its_bytes() {
        for (took, slow) in [(Duration::from_millis(5), false), (Duration::from_millis(60), true)] {
            let mut looks = Looks::new();
            for _ in 0..100 {
                looks.now += took;
                looks.pace.answered(took, true, looks.now);
            }
            assert_eq!(looks.pace.allowed() < 3.5, slow, "{took:?}: {}", looks.pace.allowed());
        }
    }

    #[test]
    fn there_is_a_floor_and_a_smaller_cap_is_kept_to() {
        let mut looks = Looks::new();
        looks.go_on(Duration::from_secs(5), 600);
        assert_eq!(looks.pace.allowed(), FLOOR);
        looks.go_on(FAST, 70);
        assert_eq!(looks.pace.allowed(), 50.0);
        let mut modest = Pace::new(1, 100);
        modest.answered(Duration::from_secs(1), false, looks.now);
        assert_eq!(modest.allowed(), 1.0);
    }
}
