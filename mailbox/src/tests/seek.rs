//! Finding the first record after a `seq`.

use std::fs;

use codeswarm_protocol::Seq;
use proptest::prelude::*;

use crate::seek::find_after_seq;

/// A file of records and garbage, and where each record starts.
fn file_of(parts: &[Part]) -> (Vec<u8>, Vec<(u64, u64)>) {
    let mut bytes = Vec::new();
    let mut records = Vec::new();
    let mut seq = 0;
    for part in parts {
        match part {
            Part::Record { gap, size } => {
                seq += gap;
                records.push((seq, bytes.len() as u64));
                let text = "\\\"seq\\\":9999,".repeat(size / 12);
                bytes.extend(
                    format!("{{\"type\":\"notice\",\"message\":\"{text}\",\"seq\":{seq},\"epoch\":1}}\n").bytes(),
                );
            }
            Part::Torn(size) => {
                bytes.extend(format!("{{\"type\":\"notice\",\"message\":\"{}\n", "y".repeat(*size)).bytes());
            }
            Part::Nuls(size) => {
                bytes.extend(vec![0; *size]);
                bytes.push(b'\n');
            }
        }
    }
    (bytes, records)
}

#[derive(Debug, Clone)]
enum Part {
    Record { gap: u64, size: usize },
    Torn(usize),
    Nuls(usize),
}

fn part() -> impl Strategy<Value = Part> {
    prop_oneof![
        8 => (1u64..3, 0usize..3_000).prop_map(|(gap, size)| Part::Record { gap, size }),
        1 => (0usize..30_000).prop_map(Part::Torn),
        1 => (0usize..30_000).prop_map(Part::Nuls),
    ]
}

proptest! {
    #[test]
    fn the_record_after_a_seq_is_found_among_torn_lines(
        parts in prop::collection::vec(part(), 0..300),
        wanted in 0u64..600,
        torn_end in any::<bool>(),
    ) {
        let (mut bytes, records) = file_of(&parts);
        if torn_end {
            bytes.extend_from_slice(b"{\"type\":\"notice\",\"seq\":100000");
        }
        let folder = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
        let path = folder.path().join("27_01.jsonl");
        fs::write(&path, &bytes).unwrap();
        let file = fs::File::open(&path).unwrap();
        let length = bytes.len() as u64;
        let expected = records.iter().find(|(seq, _)| *seq > wanted).map_or(length, |(_, offset)| *offset);
        prop_assert_eq!(find_after_seq(&file, length, Seq(wanted)).unwrap(), expected);
        // What was appended after `len` was taken is not looked at.
        let known = records.get(records.len() / 2).map_or(0, |(_, offset)| *offset);
        let expected = records.iter().find(|(seq, offset)| *seq > wanted && *offset < known).map_or(known, |(_, offset)| *offset);
        prop_assert_eq!(find_after_seq(&file, known, Seq(wanted)).unwrap(), expected);
    }
}
