//! Lines of the doorbell: what anybody on the cluster's network may send.

use std::time::Instant;

use codeswarm_follower::rings::{Act, Guest};
use codeswarm_protocol::doorbell::{Line, MAX_LINE, Secret, Splitter};

use crate::pieces::pieces;

/// The token of the follower that is played; a corpus has hellos with it.
const TOKEN: [u8; 24] = [0xab; 24];

/// Lines are the same in whatever pieces they come, and what is read is written as what it was; a follower listens to nothing
/// before a hello with the token, and then to rings of that worker alone.
pub fn doorbell_lines(data: &[u8]) {
    let whole = lines(&[data]);
    let torn = lines(&pieces(data, 500));
    assert_eq!(whole, torn);
    for line in &whole.0 {
        assert!(line.len() <= MAX_LINE);
        if let Ok(line) = Line::parse(line) {
            let written = line.to_line();
            assert!(written.len() <= MAX_LINE, "{} bytes", written.len());
            assert_eq!(Line::parse(&written).unwrap().to_line(), written);
        }
    }
    let token = Secret::of(TOKEN);
    let begin = Instant::now();
    let mut guest = Guest::new(begin);
    let (mut acts, mut ended) = (Vec::new(), false);
    for piece in pieces(data, 500) {
        if guest.hear(piece, &token, begin, &mut acts).is_err() {
            ended = true;
            break;
        }
    }
    let welcomes = acts.iter().filter(|act| matches!(act, Act::Welcome(_))).count();
    assert!(welcomes <= 1 && acts.len() <= 2 * data.len() + 1);
    match acts.first() {
        None => {}
        Some(Act::Welcome(_)) => {
            let has_token = data
                .windows(48)
                .any(|window| window.eq_ignore_ascii_case("ab".repeat(24).as_bytes()));
            // JSON may spell any letter otherwise.
            assert!(has_token || data.contains(&b'\\'), "welcomed without the token");
        }
        Some(other) => panic!("{other:?} before a welcome (ended: {ended})"),
    }
}

/// The lines of a stream, and whether it was one to its end.
fn lines(pieces: &[&[u8]]) -> (Vec<Vec<u8>>, bool) {
    let (mut splitter, mut lines) = (Splitter::default(), Vec::new());
    for piece in pieces {
        let fed = splitter.feed(piece, |line| {
            lines.push(line.to_vec());
            true
        });
        if fed.is_err() {
            return (lines, false);
        }
    }
    (lines, true)
}
