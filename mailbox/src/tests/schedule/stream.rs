//! A single file that streams.

use super::*;

/// Of deltas that come every so many milliseconds, or with pauses of that mean, as an agent says them.
fn median_of_a_stream(milliseconds: f64, steady: bool) -> Duration {
    let mut world = World::new(1, Limits::default());
    world.schedule.hint(&0, world.now);
    let (mut at, mut state) = (0.0, 88_172_645_463_325_252_u64);
    for _ in 0..1000 {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        let part = (state >> 11) as f64 / (1_u64 << 53) as f64;
        at += milliseconds / 1000.0 * if steady { 1.0 } else { -part.max(1e-9).ln() };
        world.grow(0, at, 1.0, 1);
    }
    world.run(at + 1.0);
    assert!(
        world.most_in_a_second <= CAP,
        "{} empty looks in a second",
        world.most_in_a_second
    );
    let mut delays = world.delays[&0].clone();
    assert_eq!(delays.len(), 1000);
    delays.sort();
    delays[500]
}

#[test]
fn a_stream_of_deltas_is_seen_within_half_the_pause_of_a_hot_file_and_three_milliseconds() {
    for (milliseconds, steady) in [(20.0, true), (17.0, true), (23.0, true), (10.0, false), (20.0, false)] {
        let median = median_of_a_stream(milliseconds, steady);
        assert!(median <= Duration::from_millis(8), "{milliseconds} ms: {median:?}");
    }
}
