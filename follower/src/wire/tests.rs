use bytes::{Bytes, BytesMut};
use codeswarm_protocol::frame::{Downward, ReadFrom, Ticket, Upward};
use codeswarm_protocol::ids::{InjectionId, JobId, NodeId, Place, Seq, SwarmId};
use proptest::prelude::*;

use super::*;

fn place() -> impl Strategy<Value = Place> {
    ("[A-Za-z0-9_-][A-Za-z0-9._-]{0,20}", 0u32..1_000_000)
        .prop_map(|(job, rank)| Place::new(JobId::new(&job).unwrap(), NodeId::new(rank).unwrap()))
}

/// Bytes that compress, bytes that do not, small and large, with newlines and NULs in them.
fn body() -> impl Strategy<Value = Bytes> {
    prop_oneof![
        Just(Bytes::new()),
        proptest::collection::vec(any::<u8>(), 0..200).prop_map(Bytes::from),
        proptest::collection::vec(any::<u8>(), 4000..9000).prop_map(Bytes::from),
        (any::<u8>(), 1usize..300_000).prop_map(|(byte, count)| Bytes::from(vec![byte; count])),
    ]
}

fn downward() -> impl Strategy<Value = Downward> {
    let ticket = any::<u64>().prop_map(Ticket);
    prop_oneof![
        (ticket.clone(), place(), proptest::option::of("[a-z0-9]{1,40}"), body()).prop_map(
            |(ticket, place, id, line)| {
                Downward::Append {
                    ticket,
                    place,
                    unless_present: id.map(|id| InjectionId::new(&id).unwrap()),
                    line,
                }
            }
        ),
        (ticket.clone(), "[a-z0-9-]{1,40}", body()).prop_map(|(ticket, id, data)| {
            Downward::Launch {
                ticket,
                swarm_id: SwarmId::new(&id).unwrap(),
                data,
            }
        }),
        (place(), any::<u64>()).prop_map(|(place, offset)| Downward::Watch { place, offset }),
        place().prop_map(|place| Downward::Unwatch { place }),
        place().prop_map(|place| Downward::Hint { place }),
        ticket.clone().prop_map(|ticket| Downward::Ping { ticket }),
        (ticket, place(), any::<u64>(), any::<bool>(), any::<u32>()).prop_map(|(ticket, place, at, seq, max_bytes)| {
            Downward::Read {
                ticket,
                place,
                from: if seq {
                    ReadFrom::AfterSeq(Seq(at.min(Seq::MAX.0)))
                } else {
                    ReadFrom::Offset(at)
                },
                until: at,
                max_bytes,
            }
        }),
    ]
}

fn upward() -> impl Strategy<Value = Upward> {
    let ticket = any::<u64>().prop_map(Ticket);
    prop_oneof![
        (place(), any::<u64>(), body()).prop_map(|(place, offset, data)| Upward::Chunk { place, offset, data }),
        (ticket.clone(), any::<u64>(), proptest::option::of(".*"), body()).prop_map(|(ticket, offset, error, data)| {
            Upward::Part {
                ticket,
                offset,
                next: offset,
                done: true,
                error,
                may_pass: false,
                late: false,
                data,
            }
        }),
        (ticket.clone(), body()).prop_map(|(ticket, data)| Upward::Heartbeats { ticket, data }),
        (proptest::option::of(place()), ".*").prop_map(|(place, error)| Upward::Trouble { place, error }),
        (place(), any::<u64>()).prop_map(|(place, offset)| Upward::Ended { place, offset }),
        ticket.prop_map(|ticket| Upward::Pong { ticket }),
    ]
}

fn encoded<F: Frame>(frames: &[F]) -> BytesMut {
    let mut out = BytesMut::new();
    let mut encoder = Encoder::new();
    for frame in frames {
        encoder.encode(frame, &mut out).unwrap();
    }
    out
}

/// Feeds `stream` in pieces of the given sizes, over and over, and collects the frames.
fn decoded<F: Frame>(mut decoder: Decoder<F>, stream: &[u8], pieces: &[usize]) -> Result<Vec<F>, WireError> {
    let mut frames = Vec::new();
    let mut buffer = BytesMut::new();
    let mut rest = stream;
    let mut sizes = pieces.iter().cycle();
    while !rest.is_empty() {
        let size = (*sizes.next().unwrap()).clamp(1, rest.len());
        let (piece, after) = rest.split_at(size);
        buffer.extend_from_slice(piece);
        rest = after;
        while let Some(frame) = decoder.decode(&mut buffer)? {
            frames.push(frame);
        }
    }
    assert!(decoder.at_a_border(&buffer), "the stream ended inside a frame");
    Ok(frames)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn any_split_of_the_stream_gives_the_same_frames(
        frames in proptest::collection::vec(upward(), 1..8),
        pieces in proptest::collection::vec(prop_oneof![1usize..10, 1usize..100_000], 1..40),
        banner in "[ -~\n]{0,300}",
    ) {
        let mut stream = BytesMut::from(banner.replace('#', " ").as_bytes());
        Encoder::greet(&mut stream);
        stream.unsplit(encoded(&frames));
        prop_assert_eq!(decoded(Decoder::<Upward>::behind_a_greeting(), &stream, &pieces).unwrap(), frames);
    }

    #[test]
    fn commands_travel_too(
        frames in proptest::collection::vec(downward(), 1..8),
        pieces in proptest::collection::vec(1usize..5000, 1..40),
    ) {
        prop_assert_eq!(decoded(Decoder::<Downward>::bare(), &encoded(&frames), &pieces).unwrap(), frames);
    }

    #[test]
    fn rubbish_is_an_error_and_neither_a_panic_nor_memory(
        rubbish in proptest::collection::vec(any::<u8>(), 0..2000),
        good in upward(),
        cut in any::<prop::sample::Index>(),
    ) {
        // A true frame, damaged from some byte on.
        let mut stream = encoded(&[good]);
        stream.truncate(cut.index(stream.len().max(1)));
        stream.extend_from_slice(&rubbish);
        let mut decoder = Decoder::<Upward>::bare();
        let size = stream.len();
        let mut ended = false;
        while !ended {
            match decoder.decode(&mut stream) {
                Ok(Some(_)) => {}
                Ok(None) => ended = true,
                Err(_) => {
                    prop_assert_eq!(decoder.decode(&mut stream), Err(WireError::Broken));
                    ended = true;
                }
            }
        }
        prop_assert!(stream.len() <= size);
    }
}

fn chunk(data: Vec<u8>) -> Upward {
    Upward::Chunk {
        place: Place::from_stem("1_00").unwrap(),
        offset: 0,
        data: data.into(),
    }
}

/// Bytes without a pattern (xorshift).
fn noise(count: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let bytes = std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    });
    bytes.take(count).collect()
}

#[test]
fn a_huge_line_travels_whole_and_so_does_what_follows_it() {
    let frames = [chunk(noise(5 * 1024 * 1024)), chunk(b"a line\n".repeat(1000))];
    assert_eq!(
        decoded(Decoder::<Upward>::bare(), &encoded(&frames), &[100_000]).unwrap(),
        frames
    );
}

#[test]
fn what_compresses_travels_small_and_what_does_not_travels_as_it_is() {
    assert!(encoded(&[chunk(b"{\"type\":\"notice\"}\n".repeat(1000))]).len() < 1000);

    let noise = noise(COMPRESS_FROM);
    let stream = encoded(&[chunk(noise.clone())]);
    assert!(stream.ends_with(&noise));
    assert!(!stream.windows(4).any(|window| window == b"\"z\":"));
}

#[test]
fn a_stream_without_a_greeting_says_how_it_began() {
    let mut decoder = Decoder::<Upward>::behind_a_greeting();
    let mut buffer = BytesMut::from(&b"bash: codeswarm: command not found\n"[..]);
    assert_eq!(decoder.decode(&mut buffer), Ok(None));
    assert!(decoder.banner().unwrap().starts_with("bash: codeswarm: command"));

    let mut kept = 0;
    let error = loop {
        buffer.extend_from_slice(&[b'x'; 10_000]);
        match decoder.decode(&mut buffer) {
            Ok(None) => kept = kept.max(buffer.len()),
            Ok(Some(frame)) => panic!("{frame:?} out of nothing"),
            Err(error) => break error,
        }
    };
    assert!(kept < GREETING.len(), "a banner is not kept");
    assert!(matches!(error, WireError::NoGreeting { head } if head.starts_with("bash:")));
}

#[test]
fn another_format_is_named_and_one_that_does_not_end_as_well() {
    let endless = "x".repeat(21);
    for (theirs, behind) in [("2", "2\n"), (endless.as_str(), endless.as_str())] {
        let mut buffer = BytesMut::from(format!("welcome\n{GREETING}{behind}").as_bytes());
        let error = Decoder::<Upward>::behind_a_greeting().decode(&mut buffer).unwrap_err();
        let theirs = theirs.to_owned();
        assert_eq!(error, WireError::Format { theirs });
    }
}

#[test]
fn a_greeting_in_pieces_is_waited_for_and_ends_the_banner() {
    let mut decoder = Decoder::<Upward>::behind_a_greeting();
    let mut buffer = BytesMut::from(GREETING.as_bytes());
    assert_eq!(decoder.decode(&mut buffer), Ok(None));
    assert_eq!(decoder.banner().as_deref(), Some(""));
    assert!(!decoder.at_a_border(&buffer));
    buffer.extend_from_slice(format!("{FORMAT}\n").as_bytes());
    assert_eq!(decoder.decode(&mut buffer), Ok(None));
    assert_eq!(decoder.banner(), None);
    assert!(decoder.at_a_border(&buffer));
}

#[test]
fn a_stream_that_ends_before_a_body_or_in_a_header_does_not_end_at_a_border() {
    let stream = encoded(&[chunk(b"a line\n".to_vec())]);
    let header = stream.len() - b"a line\n".len();
    for cut in [header - 1, header, header + 1] {
        let mut decoder = Decoder::<Upward>::bare();
        let mut buffer = BytesMut::from(&stream[..cut]);
        assert_eq!(decoder.decode(&mut buffer), Ok(None));
        assert!(!decoder.at_a_border(&buffer), "after {cut} of {} bytes", stream.len());
    }
}

#[test]
fn limits_are_kept() {
    let refused = |header: &str| {
        let mut buffer = BytesMut::from(header.as_bytes());
        Decoder::<Upward>::bare().decode(&mut buffer).unwrap_err()
    };
    let chunk = |sizes: &str| {
        refused(&format!(
            "{{\"f\":\"chunk\",\"place\":{{\"job_id\":\"1\",\"node_id\":0}},\"offset\":0,{sizes}}}\n"
        ))
    };
    assert!(matches!(chunk("\"len\":99999999999"), WireError::BodyTooLong { .. }));
    assert!(matches!(
        chunk("\"len\":1,\"z\":99999999999"),
        WireError::BodyTooLong { .. }
    ));
    assert!(matches!(chunk("\"len\":-1"), WireError::Header { .. }));
    assert!(matches!(
        refused(&"x".repeat(MAX_HEADER + 1)),
        WireError::HeaderTooLong { .. }
    ));
    assert!(matches!(
        refused("{\"f\":\"pong\",\"ticket\":1,\"len\":5}\n"),
        WireError::Header { .. }
    ));
    assert!(matches!(refused("{\"f\":\"unheard_of\"}\n"), WireError::Header { .. }));

    // A body that becomes more or less than its header said.
    let packed = zstd::bulk::compress(&[b'a'; 100_000], 1).unwrap();
    for announced in [10, 100_001] {
        let mut buffer = BytesMut::from(
            format!(
                "{{\"f\":\"chunk\",\"place\":{{\"job_id\":\"1\",\"node_id\":0}},\"offset\":0,\"len\":{announced},\"z\":{}}}\n",
                packed.len()
            )
            .as_bytes(),
        );
        buffer.extend_from_slice(&packed);
        let refused = Decoder::<Upward>::bare().decode(&mut buffer);
        assert!(
            matches!(refused, Err(WireError::Body { .. })),
            "{announced}: {refused:?}"
        );
    }
}

#[test]
fn a_frame_that_is_too_large_leaves_the_stream_as_it_was() {
    let mut out = BytesMut::from(&b"before"[..]);
    let huge = Upward::Trouble {
        place: None,
        error: "x".repeat(MAX_HEADER),
    };
    assert!(matches!(
        Encoder::new().encode(&huge, &mut out),
        Err(WireError::HeaderTooLong { .. })
    ));
    let bytes = MAX_BODY + 1;
    assert_eq!(
        Encoder::new().encode(&chunk(vec![0; bytes]), &mut out),
        Err(WireError::BodyTooLong { bytes: bytes as u64 })
    );
    assert_eq!(&out[..], b"before");
}
