//! What time it is for a server.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use codeswarm_protocol::Timestamp;

use crate::core::Moment;

/// Who says what time it is.
#[derive(Debug)]
pub(super) enum Clock {
    /// The machine; the server began at this moment.
    Ours(Instant),
    /// Somebody else, in milliseconds; the server began at the second number of them.
    Played(Arc<AtomicU64>, u64),
}

impl Clock {
    pub(super) fn now(&self) -> Moment {
        match self {
            Self::Ours(began) => Moment {
                now: began.elapsed(),
                wall: Timestamp::from(SystemTime::now()),
            },
            Self::Played(clock, began) => {
                let at = clock.load(Ordering::Relaxed);
                Moment {
                    now: Duration::from_millis(at.saturating_sub(*began)),
                    wall: Timestamp(i64::try_from(at).unwrap_or(i64::MAX)),
                }
            }
        }
    }
}
