//! What is kept, against a model: files that grow, are cut back, and have gaps that were passed over.

use codeswarm_protocol::{JobId, NodeId};

use super::*;

fn place(rank: u32) -> Place {
    Place::new(JobId::new("j").unwrap(), NodeId::new(rank).unwrap())
}

fn part(recent: &Recent, from: u64, until: u64, wanted: usize) -> Option<(String, u64)> {
    let part = recent.part(&place(0), from, until, wanted)?;
    Some((String::from_utf8(part.lines.to_vec()).unwrap(), part.next))
}

fn some(lines: &str, next: u64) -> Option<(String, u64)> {
    Some((lines.to_owned(), next))
}

#[test]
fn a_part_is_whole_lines_across_pieces_up_to_a_byte_and_at_least_one() {
    let mut recent = Recent::new(10_000);
    recent.keep(&place(0), 100, b"aa\nbb\n");
    recent.keep(&place(1), 106, b"another\n");
    recent.keep(&place(0), 106, b"cccc\n");
    assert_eq!(part(&recent, 100, 111, 1000), some("aa\nbb\ncccc\n", 111));
    assert_eq!(part(&recent, 103, 111, 1000), some("bb\ncccc\n", 111));
    assert_eq!(part(&recent, 103, 110, 1000), some("bb\n", 106), "not beyond the byte");
    assert_eq!(part(&recent, 100, 111, 1), some("aa\n", 103), "one line at least");
    assert_eq!(part(&recent, 100, 111, 5), some("aa\n", 103));
    assert_eq!(part(&recent, 97, 111, 1000), None, "before what is kept");
    assert_eq!(part(&recent, 111, 200, 1000), None, "behind it");
    assert_eq!(part(&recent, 106, 106, 1000), None);
}

#[test]
fn bytes_that_were_passed_over_end_a_part() {
    let mut recent = Recent::new(10_000);
    recent.keep(&place(0), 0, b"aa\n");
    recent.keep(&place(0), 7, b"bb\n");
    assert_eq!(part(&recent, 0, 10, 1000), some("aa\n", 3));
    assert_eq!(part(&recent, 3, 10, 1000), None);
    assert_eq!(part(&recent, 7, 10, 1000), some("bb\n", 10));
}

#[test]
fn what_is_read_again_from_an_earlier_byte_takes_the_place_of_all_of_it() {
    let mut recent = Recent::new(10_000);
    recent.keep(&place(0), 0, b"aa\nbb\n");
    recent.keep(&place(0), 3, b"cc\ndd\n");
    assert_eq!(part(&recent, 0, 9, 1000), None);
    assert_eq!(part(&recent, 3, 9, 1000), some("cc\ndd\n", 9));
    recent.clear();
    assert_eq!(part(&recent, 3, 9, 1000), None);
    assert_eq!(recent.cost, 0);
}

#[test]
fn a_chunk_without_a_line_is_not_kept() {
    let mut recent = Recent::new(10_000);
    recent.keep(&place(0), 0, b"aa\n");
    let cost = recent.cost;
    recent.keep(&place(0), 3, b"");
    assert_eq!((recent.cost, part(&recent, 0, 3, 1000)), (cost, some("aa\n", 3)));
}

/// A small generator (splitmix64).
fn next(state: &mut u64) -> usize {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    usize::try_from((z ^ (z >> 31)) >> 40).unwrap()
}

#[test]
fn p8_never_more_than_the_limit_and_never_other_bytes_than_the_file_has() {
    let mut served = 0;
    for seed in 0..300 {
        let mut state = seed;
        let limit = 200 + next(&mut state) % 3000;
        let mut recent = Recent::new(limit);
        let mut files = vec![Vec::new(); 3];
        for _ in 0..200 {
            let rank = next(&mut state) % files.len();
            let file: &mut Vec<u8> = &mut files[rank];
            let whose = place(u32::try_from(rank).unwrap());
            match next(&mut state) % 12 {
                0 => {
                    let lines = file.iter().filter(|byte| **byte == b'\n').count();
                    let keep = next(&mut state) % (lines + 1);
                    let cut = file
                        .split_inclusive(|byte| *byte == b'\n')
                        .take(keep)
                        .map(<[u8]>::len)
                        .sum();
                    file.truncate(cut);
                    // It is noticed when it is read on, not before: until then nobody asks beyond what was read.
                    let line = format!("{rank} again {}\n", next(&mut state));
                    recent.keep(&whose, file.len() as u64, line.as_bytes());
                    file.extend_from_slice(line.as_bytes());
                }
                1 => file.extend_from_slice(b"passed over\n"),
                2..8 => {
                    let mut lines = Vec::new();
                    for _ in 0..1 + next(&mut state) % 4 {
                        let padding = "x".repeat(next(&mut state) % 60);
                        lines.extend_from_slice(format!("{rank} {padding} {}\n", next(&mut state)).as_bytes());
                    }
                    recent.keep(&whose, file.len() as u64, &lines);
                    file.extend_from_slice(&lines);
                }
                _ => {
                    let starts = std::iter::once(0).chain(memchr::memchr_iter(b'\n', file).map(|newline| newline + 1));
                    let starts: Vec<usize> = starts.collect();
                    let from = starts[next(&mut state) % starts.len()];
                    let until = starts[next(&mut state) % starts.len()];
                    let wanted = 1 + next(&mut state) % 300;
                    if let Some(part) = recent.part(&whose, from as u64, until as u64, wanted) {
                        served += 1;
                        let end = usize::try_from(part.next).unwrap();
                        assert_eq!(part.lines, file[from..end]);
                        assert!(end <= until && end > from && file[end - 1] == b'\n');
                        let lines = memchr::memchr_iter(b'\n', &part.lines).count();
                        assert!(part.lines.len() <= wanted || lines == 1);
                    }
                }
            }
            let kept: usize = recent.pieces.values().flatten().map(Kept::cost).sum();
            assert!(recent.cost == kept && kept <= limit, "seed {seed}: {kept} of {limit}");
            let pieces: usize = recent.pieces.values().map(VecDeque::len).sum();
            assert_eq!(recent.order.len(), pieces, "seed {seed}");
        }
    }
    assert!(served > 1000, "only {served} parts were served");
}
