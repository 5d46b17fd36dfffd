//! Whether the mailbox is still ours, as far as is known. On a network filesystem that is known for a while only: a process
//! that was frozen wakes up with prompts in its pipe, and by then the mailbox may be another follower's.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use codeswarm_mailbox::lease::ANSWER_WITHIN;

/// How long a look at the lease counts. Who is silent for [`ANSWER_WITHIN`] has lost it.
const COUNTS: Duration = Duration::from_secs(ANSWER_WITHIN.as_secs() / 2);

/// How long a writer waits for a look.
const PATIENCE: Duration = Duration::from_secs(30);

/// What is known. Clones share it.
#[derive(Debug, Clone)]
pub struct Holding(Arc<(Mutex<Known>, Condvar)>);

#[derive(Debug)]
struct Known {
    /// The mailbox is somebody else's.
    lost: bool,
    /// When the last look at the lease began that found it ours; absent where a lock keeps it.
    looked: Option<Instant>,
}

impl Holding {
    /// The lease was just taken; `by_asking` where no lock keeps it.
    pub fn begin(by_asking: bool, now: Instant) -> Self {
        let known = Known {
            lost: false,
            looked: by_asking.then_some(now),
        };
        Self(Arc::new((Mutex::new(known), Condvar::new())))
    }

    /// A look that began at `began` has found the lease ours.
    pub fn is_ours(&self, began: Instant) {
        if let Some(looked) = &mut self.known().looked {
            *looked = began;
        }
        self.0.1.notify_all();
    }

    /// From now on nothing may be written.
    pub fn is_lost(&self) {
        self.known().lost = true;
        self.0.1.notify_all();
    }

    /// Whether something may be written now. Where the last look is too old, the next one is waited for.
    pub fn may_write(&self) -> bool {
        self.may_write_within(PATIENCE)
    }

    fn may_write_within(&self, patience: Duration) -> bool {
        let asked = Instant::now();
        let unknown = |known: &mut Known| {
            let counts = |looked: Instant| looked >= asked || asked.duration_since(looked) < COUNTS;
            !known.lost && !known.looked.is_none_or(counts)
        };
        let waited = self.0.1.wait_timeout_while(self.known(), patience, unknown);
        let (known, waited) = waited.unwrap_or_else(PoisonError::into_inner);
        !known.lost && !waited.timed_out()
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn looked_long_ago() -> Holding {
        let long_ago = Instant::now().checked_sub(COUNTS);
        Holding::begin(true, long_ago.unwrap())
    }

    #[test]
    fn what_was_seen_lately_or_is_locked_is_ours() {
        assert!(Holding::begin(true, Instant::now()).may_write());
        let locked = Holding::begin(false, Instant::now());
        assert!(locked.may_write_within(Duration::ZERO));
        locked.is_lost();
        assert!(!locked.may_write());
    }

    #[test]
    fn who_was_frozen_waits_for_a_look_that_began_afterwards() {
        let holding = looked_long_ago();
        assert!(!holding.may_write_within(Duration::from_millis(10)), "nobody looks");
        std::thread::scope(|scope| {
            let writer = scope.spawn(|| holding.may_write());
            while !writer.is_finished() {
                holding.is_ours(Instant::now());
            }
            assert!(writer.join().unwrap());
        });
    }

    #[test]
    fn who_was_frozen_and_has_lost_it_writes_nothing() {
        let holding = looked_long_ago();
        std::thread::scope(|scope| {
            let writer = scope.spawn(|| holding.may_write());
            holding.is_lost();
            assert!(!writer.join().unwrap());
        });
    }
}
