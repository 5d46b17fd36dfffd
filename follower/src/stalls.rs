//! Noticing that a filesystem stands still: file work that has begun and does not come back.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use codeswarm_protocol::frame::Upward;
use codeswarm_protocol::ids::Place;

/// File work that takes so long is reported.
pub const LONG: Duration = Duration::from_secs(10);

/// All file work that is under way. Cheap to clone; all clones are one.
#[derive(Debug, Clone, Default)]
pub struct Stalls(Arc<Mutex<Works>>);

#[derive(Debug, Default)]
struct Works {
    under_way: HashMap<u64, Work>,
    numbers: u64,
}

#[derive(Debug)]
struct Work {
    doing: &'static str,
    place: Option<Place>,
    since: Instant,
    told: bool,
}

/// Work under way until it is dropped.
#[derive(Debug)]
pub struct UnderWay {
    stalls: Stalls,
    number: u64,
}

impl Stalls {
    /// Work begins: a verb and its object, such as `reading the outbox`.
    pub fn begin(&self, doing: &'static str, place: Option<&Place>, now: Instant) -> UnderWay {
        let mut works = self.works();
        works.numbers += 1;
        let number = works.numbers;
        let work = Work {
            doing,
            place: place.cloned(),
            since: now,
            told: false,
        };
        works.under_way.insert(number, work);
        UnderWay {
            stalls: self.clone(),
            number,
        }
    }

    /// What has been under way for longer than [`LONG`] and was not told before.
    pub fn overdue(&self, now: Instant) -> Vec<Upward> {
        let mut works = self.works();
        let late = works
            .under_way
            .values_mut()
            .filter(|work| !work.told && now.saturating_duration_since(work.since) >= LONG);
        late.map(Work::tell).collect()
    }

    fn works(&self) -> MutexGuard<'_, Works> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Work {
    fn tell(&mut self) -> Upward {
        self.told = true;
        let whose = self
            .place
            .as_ref()
            .map_or(String::new(), |place| format!(" of {place}"));
        Upward::Trouble {
            place: self.place.clone(),
            error: format!(
                "{}{whose} has taken more than {} s: the mailbox's filesystem stalls, or its server is away; it goes on when \
                 that comes back",
                self.doing,
                LONG.as_secs()
            ),
        }
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.stalls.works().under_way.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p9_what_does_not_come_back_is_told_once() {
        let stalls = Stalls::default();
        let place = Place::from_stem("7_00").unwrap();
        let begun = Instant::now();
        let quick = stalls.begin("reading the outbox", Some(&place), begun);
        let _stuck = stalls.begin("writing the inbox", Some(&place), begun);
        assert_eq!(stalls.overdue(begun + LONG / 2), []);
        drop(quick);
        let told = stalls.overdue(begun + LONG);
        let [Upward::Trouble { place: whose, error }] = told.as_slice() else {
            panic!("{told:?}")
        };
        assert_eq!(whose.as_ref(), Some(&place));
        assert!(
            error.starts_with("writing the inbox of 7_00 has taken more than 10 s"),
            "{error}"
        );
        assert_eq!(stalls.overdue(begun + LONG * 2), []);
    }
}
