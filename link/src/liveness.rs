//! Whether the follower at the other end still lives. Pure: the time is handed in.
//!
//! A ping that was written is owed a sign of life: any byte from there will do. It is not judged while whoever takes our
//! events lets us wait, since then nobody reads. And bytes that cannot be written for as long mean the same as silence.

use std::time::Duration;

use tokio::time::Instant;

/// How often a ping is sent. The follower there ends when it hears nothing for [`PING_TIMEOUT`].
pub(crate) const PING_EVERY: Duration = Duration::from_secs(3);

/// What the follower there is told to wait for us, in seconds: three pings, and so that it is gone in ten.
pub(crate) const PING_TIMEOUT: u64 = 9;

/// How long silence may last.
pub(crate) const SILENCE: Duration = Duration::from_secs(20);

/// What was last seen of both directions.
#[derive(Debug, Default)]
pub(crate) struct Liveness {
    owed_since: Option<Instant>,
    writing_since: Option<Instant>,
    handing_on: bool,
}

impl Liveness {
    /// Bytes came from there.
    pub fn heard(&mut self) {
        self.owed_since = None;
    }

    /// Bytes are about to be written, or some were and more follow.
    pub fn writing(&mut self, now: Instant) {
        self.writing_since = Some(now);
    }

    /// All of them were written, perhaps a ping among them.
    pub fn written(&mut self, now: Instant, ping: bool) {
        self.writing_since = None;
        if ping {
            self.owed_since.get_or_insert(now);
        }
    }

    /// Somebody lets us wait with what we have read.
    pub fn handing_on(&mut self) {
        self.handing_on = true;
    }

    /// Reading goes on; what came meanwhile is still to be read.
    pub fn reading(&mut self, now: Instant) {
        if std::mem::take(&mut self.handing_on) {
            self.owed_since = self.owed_since.map(|_| now);
        }
    }

    /// Why the link counts as dead, if it does.
    pub fn dead(&self, now: Instant) -> Option<&'static str> {
        let too_long = |since: Option<Instant>| since.is_some_and(|since| now.duration_since(since) >= SILENCE);
        if too_long(self.writing_since) {
            Some("takes nothing any more")
        } else if !self.handing_on && too_long(self.owed_since) {
            Some("answers nothing any more")
        } else {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(start: Instant, seconds: u64) -> Instant {
        start + Duration::from_secs(seconds)
    }

    #[test]
    fn a_ping_without_a_sign_of_life_is_the_end_after_twenty_seconds() {
        let start = Instant::now();
        let mut alive = Liveness::default();
        assert_eq!(alive.dead(at(start, 1000)), None, "nothing is owed");
        alive.written(at(start, 1), true);
        alive.written(at(start, 4), true);
        assert_eq!(alive.dead(at(start, 20)), None);
        assert!(alive.dead(at(start, 21)).is_some(), "the oldest ping counts");
        alive.heard();
        assert_eq!(alive.dead(at(start, 100)), None);
        alive.written(at(start, 100), false);
        assert_eq!(alive.dead(at(start, 200)), None, "commands are owed no sign at once");
    }

    #[test]
    fn a_slow_upload_is_life_as_long_as_it_moves() {
        let start = Instant::now();
        let mut alive = Liveness::default();
        for second in (0..120).step_by(10) {
            alive.writing(at(start, second));
            assert_eq!(alive.dead(at(start, second + 9)), None);
        }
        assert!(alive.dead(at(start, 110 + 20)).is_some(), "it stands still");
        alive.written(at(start, 131), false);
        assert_eq!(alive.dead(at(start, 300)), None);
    }

    #[test]
    fn a_consumer_that_lets_us_wait_is_not_a_dead_link() {
        let start = Instant::now();
        let mut alive = Liveness::default();
        alive.written(at(start, 0), true);
        alive.handing_on();
        assert_eq!(alive.dead(at(start, 500)), None);
        alive.reading(at(start, 500));
        assert_eq!(
            alive.dead(at(start, 519)),
            None,
            "what waits in the pipe is still to be read"
        );
        assert!(alive.dead(at(start, 520)).is_some());
    }
}
