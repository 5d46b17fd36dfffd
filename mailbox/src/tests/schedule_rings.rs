//! What the doorbell says of a file while it is being looked at.

use std::time::{Duration, Instant};

use crate::schedule::{Limits, Next, Outcome, PollSchedule};

/// A schedule of one file whose writer is connected, the look at which has just begun.
fn looking() -> (PollSchedule<&'static str>, Instant) {
    let start = Instant::now();
    let mut schedule = PollSchedule::new(Limits::default(), 1);
    schedule.add("a", start);
    schedule.connected(&"a", start);
    assert_eq!(schedule.next(start), Next::Look("a"));
    (schedule, start)
}

#[test]
fn p4_a_ring_during_a_look_causes_another_at_once_unless_that_look_has_read_it() {
    for (outcome, read, again) in [
        (Outcome::Nothing, 0, true),
        (Outcome::Data, 40, true),
        (Outcome::Data, 100, false),
    ] {
        let (mut schedule, now) = looking();
        schedule.rung(&"a", 100, now);
        assert_eq!(schedule.next(now), Next::Idle, "one look at a time");
        schedule.read_to(&"a", read);
        schedule.looked(&"a", outcome, Duration::ZERO, now);
        match schedule.next(now) {
            Next::Look(_) => assert!(again, "{read} bytes are all that was rung for"),
            Next::Wait(_) | Next::Idle => assert!(!again, "{read} of 100 bytes were read"),
        }
    }
}

#[test]
fn p4_a_writer_that_connects_during_a_look_is_looked_for_once_more() {
    let (mut schedule, now) = looking();
    // It is connected anew: what it did between its two connections may have come behind this look.
    schedule.connected(&"a", now);
    schedule.looked(&"a", Outcome::Nothing, Duration::ZERO, now);
    assert_eq!(schedule.next(now), Next::Look("a"));
    schedule.looked(&"a", Outcome::Nothing, Duration::ZERO, now);
    let Next::Wait(sweep) = schedule.next(now) else {
        panic!("it is at rest")
    };
    assert!(sweep - now > Duration::from_secs(100));
}
