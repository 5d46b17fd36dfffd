//! More files move than the cap can follow.

use super::*;

/// 15 prompts a second to 900 files, of which the router hints; each is answered within two seconds, with a word every 50 ms for a
/// second. Answers how late they were seen, on the whole, and how late the words of the hundred files that are quiet otherwise.
fn prompts_to_nearly_all() -> (Duration, Duration) {
    let mut world = World::new(1_000, Limits::default());
    world.run(60.0);
    for prompt in 0..15 * 180 {
        let file = prompt % 900;
        let hinted = 60.0 + prompt as f64 / 15.0;
        world.run(hinted);
        world.schedule.hint(&file, world.now);
        let answered = hinted + 0.2 + (prompt * 7 % 10) as f64 * 0.18;
        world.grow(file, answered, 0.05, 20);
        if prompt % 15 == 0 {
            world.grow(900 + prompt / 15 % 100, answered, 1.0, 1);
        }
    }
    world.run(400.0);
    assert!(world.most_in_a_second <= CAP, "{}", world.most_in_a_second);
    assert!(world.unseen.is_empty(), "{:?}", world.unseen);
    (
        world.mean_delay(|file| file < 900),
        world.mean_delay(|file| file >= 900),
    )
}

#[test]
fn answers_of_more_files_than_can_be_followed_are_seen_soon_and_quiet_files_in_their_turn() {
    let (answers, quiet) = prompts_to_nearly_all();
    // With pauses that are not kept, and three fifths of the cap for a tenth of the files, it was 19 s; where each that had to wait
    // counted as quiet, 10.5 s.
    assert!(answers < Duration::from_secs(5), "{answers:?}");
    // Half of a round over all files is 17 s.
    assert!(quiet < Duration::from_secs(17), "{quiet:?}");
}

/// How late what is said is seen where all of so many files grow at random, so many times a second each and for so many seconds: the
/// middle, and 99 %. It begins on a mailbox that was quiet for long, ends, and comes twice again.
fn all_talk(files: usize, rate: f64, seconds: f64) -> [Duration; 2] {
    let mut world = World::new(files, Limits::default());
    let mut state = 88_172_645_463_325_252_u64;
    world.run(20.0);
    let mut now = 20.0;
    let times = (seconds * rate) as usize;
    for storm in 1..=3 {
        for file in 0..files {
            let mut at = now;
            for _ in 0..times {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                let part = (state >> 11) as f64 / (1_u64 << 53) as f64;
                at -= part.max(1e-9).ln() / rate;
                world.grow(file, at, 1.0, 1);
            }
        }
        while world.delays.values().map(Vec::len).sum::<usize>() < files * times * storm {
            now += 0.5;
            world.run(now);
            assert!(now < 1_000.0, "never seen: {:?}", world.unseen);
        }
        now += 10.0;
        world.run(now);
    }
    assert!(world.most_in_a_second <= CAP, "{}", world.most_in_a_second);
    let mut delays: Vec<Duration> = world.delays.into_values().flatten().collect();
    delays.sort();
    [50, 99].map(|percent| delays[delays.len() * percent / 100])
}

#[test]
fn files_that_wait_for_their_turn_since_all_talk_are_not_taken_for_quiet_ones() {
    // With pauses as long as a file had waited, three short storms of 1,024 were seen after 4.9 s in the middle. At the best each of them
    // would be looked at every 2.25 s, so that one look in ten finds nothing; the 99 % are far from that, most likely since a file
    // that has just moved goes before one that has waited for long.
    for (files, rate, seconds, middle, late) in [
        (64, 16.0, 3.0, 0.25, 2.0),
        (64, 16.0, 30.0, 0.1, 1.2),
        (1_024, 1.0, 3.0, 2.5, 21.0),
        (1_024, 1.0, 30.0, 1.8, 17.0),
    ] {
        let found = all_talk(files, rate, seconds);
        let bound = [middle, late].map(Duration::from_secs_f64);
        assert!(
            found[0] < bound[0] && found[1] < bound[1],
            "{files} files, {seconds} s: {found:?}"
        );
    }
}
