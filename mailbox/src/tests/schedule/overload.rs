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
    // With pauses that are not kept, and three fifths of the cap for a tenth of the files, it was 19 s.
    assert!(answers < Duration::from_secs(15), "{answers:?}");
    // Half of a round over all files is 17 s.
    assert!(quiet < Duration::from_secs(17), "{quiet:?}");
}
