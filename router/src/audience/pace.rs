//! Whether what comes next of the outboxes is taken, or waits a moment for those who listen. Files and link are faster than most
//! readers: taken at once, it would fill a reader's queue, and be read back for it later, over the same link.
//!
//! The pace is that of the fastest who listens. Nobody waits for a client while another one has room: the one without falls
//! behind. Nor does anybody wait for long: who has made no room in [`PATIENCE`] is not waited for until it has, and what is not taken
//! stays in the files. Pure: the time is handed in.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::core::ClientId;

/// How long a client that has no room is waited for.
pub const PATIENCE: Duration = Duration::from_secs(1);

/// A client to which the next frame may matter.
#[derive(Debug, Clone, Copy)]
pub struct Listener {
    /// Which.
    pub id: ClientId,
    /// It has room for what a frame brings.
    pub has_room: bool,
    /// It lacks nothing, so that it is handed what comes. What it hears of a frame otherwise is read back for it anyhow.
    pub live: bool,
}

/// Who is waited for, and since when.
#[derive(Debug, Default)]
pub struct Pace(BTreeMap<ClientId, Duration>);

impl Pace {
    /// Until when the next frame waits, unless somebody has room before; `None`: it is taken now.
    pub fn waits_until(&mut self, listeners: impl Iterator<Item = Listener>, now: Duration) -> Option<Duration> {
        let mut until = None;
        for listener in listeners {
            if listener.has_room {
                return None;
            }
            if listener.live {
                let since = *self.0.entry(listener.id).or_insert(now);
                until = until.max(Some(since + PATIENCE));
            }
        }
        until.filter(|until| *until > now)
    }

    /// A client has room again, or has gone.
    pub fn forget(&mut self, id: ClientId) {
        self.0.remove(&id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listener(id: u64, has_room: bool, live: bool) -> Listener {
        let id = ClientId(id);
        Listener { id, has_room, live }
    }

    fn seconds(seconds: f64) -> Duration {
        Duration::from_secs_f64(seconds)
    }

    #[test]
    fn a_client_alone_is_waited_for_until_it_has_room_and_not_for_long() {
        let mut pace = Pace::default();
        let full = || std::iter::once(listener(1, false, true));
        assert_eq!(pace.waits_until(full(), seconds(5.0)), Some(seconds(6.0)));
        assert_eq!(
            pace.waits_until(full(), seconds(5.9)),
            Some(seconds(6.0)),
            "no longer for being asked again"
        );
        assert_eq!(pace.waits_until(full(), seconds(6.0)), None);
        assert_eq!(
            pace.waits_until(full(), seconds(900.0)),
            None,
            "nor is it waited for again"
        );
        pace.forget(ClientId(1));
        assert_eq!(pace.waits_until(full(), seconds(901.0)), Some(seconds(902.0)));
    }

    #[test]
    fn p8_nobody_who_has_room_waits_for_one_that_has_none() {
        let mut pace = Pace::default();
        for at in [0.0, 0.5, 7.0] {
            let both = [listener(1, false, true), listener(2, true, true)];
            assert_eq!(pace.waits_until(both.into_iter(), seconds(at)), None);
            let one_is_behind = [listener(1, false, true), listener(2, true, false)];
            assert_eq!(pace.waits_until(one_is_behind.into_iter(), seconds(at)), None);
        }
        assert_eq!(
            pace.waits_until(std::iter::empty(), seconds(8.0)),
            None,
            "nobody listens"
        );
    }

    #[test]
    fn one_that_is_behind_and_has_no_room_is_not_waited_for() {
        let mut pace = Pace::default();
        let behind = listener(1, false, false);
        assert_eq!(pace.waits_until([behind].into_iter(), seconds(0.0)), None);
        let both = [behind, listener(2, false, true)];
        assert_eq!(pace.waits_until(both.into_iter(), seconds(1.0)), Some(seconds(2.0)));
    }

    #[test]
    fn p8_however_many_have_no_room_the_wait_is_over_in_a_while_after_the_last_had_some() {
        let mut pace = Pace::default();
        for id in 1..=50 {
            let full = (1..=id).map(|id| listener(id, false, true));
            let at = seconds(0.1 * id as f64);
            assert_eq!(pace.waits_until(full, at), Some(at + PATIENCE));
        }
        let full = (1..=50).map(|id| listener(id, false, true));
        assert_eq!(pace.waits_until(full, seconds(6.0)), None);
    }
}
