//! Frames of router and follower.

use bytes::{Bytes, BytesMut};
use codeswarm_follower::wire::{Decoder, Encoder, Frame, MAX_BANNER, MAX_BODY, MAX_HEADER};
use codeswarm_protocol::frame::{Downward, Upward};

use crate::pieces::{Dice, pieces};

/// Bodies up to this size are written again.
const SMALL: usize = 1 << 20;

/// What a follower sends: a banner, a greeting, frames.
pub fn frames_upward(data: &[u8]) {
    same_in_any_pieces(data, Decoder::<Upward>::behind_a_greeting);
}

/// What a router sends.
pub fn frames_downward(data: &[u8]) {
    same_in_any_pieces(data, Decoder::<Downward>::bare);
}

/// What came of a stream: for each frame its fields, and its body's size and mark; then how it ended.
#[derive(Debug, PartialEq)]
struct Heard<F> {
    frames: Vec<(F, usize, usize)>,
    error: Option<String>,
    at_a_border: bool,
}

fn same_in_any_pieces<F: Frame + Clone + PartialEq + std::fmt::Debug>(data: &[u8], decoder: fn() -> Decoder<F>) {
    let whole = hear(decoder(), &[data]);
    assert!(whole.frames.len() <= data.len());
    let torn = hear(decoder(), &pieces(data, 500));
    if whole.error.is_none() || torn.error.is_none() {
        assert_eq!(whole, torn);
    } else {
        // The words of an error may show more or less of what had come; the frames before it are the same.
        assert_eq!(whole.frames, torn.frames);
    }
}

fn hear<F: Frame + Clone + PartialEq + std::fmt::Debug>(mut decoder: Decoder<F>, data: &[&[u8]]) -> Heard<F> {
    let mut buffer = BytesMut::new();
    let mut heard = Heard {
        frames: Vec::new(),
        error: None,
        at_a_border: false,
    };
    for piece in data {
        buffer.extend_from_slice(piece);
        loop {
            match decoder.decode(&mut buffer) {
                Ok(Some(frame)) => heard.frames.push(looked_at(frame)),
                Ok(None) => break,
                Err(error) => {
                    let said = error.to_string();
                    assert!(!said.is_empty() && said.len() <= 4000, "{} bytes of words", said.len());
                    heard.error.get_or_insert(said);
                    assert!(decoder.decode(&mut buffer).is_err(), "a broken stream is read on");
                    return heard;
                }
            }
        }
        // What is not yet a frame is held once: a header or banner is bounded, and a body has the room that it announced.
        assert!(buffer.capacity() <= 2 * (MAX_BODY + MAX_HEADER + MAX_BANNER));
    }
    heard.at_a_border = decoder.at_a_border(&buffer);
    heard
}

/// A frame without its body, which may be large though it came in a few bytes, and what tells the body.
fn looked_at<F: Frame + Clone + PartialEq + std::fmt::Debug>(mut frame: F) -> (F, usize, usize) {
    let size = frame.body().map_or(0, Bytes::len);
    assert!(size <= MAX_BODY);
    if size <= SMALL {
        let mut written = BytesMut::new();
        Encoder::new().encode(&frame, &mut written).unwrap();
        let mut decoder = Decoder::<F>::bare();
        assert_eq!(decoder.decode(&mut written).unwrap().as_ref(), Some(&frame));
        assert!(decoder.at_a_border(&written));
    }
    let mark = frame
        .body()
        .map_or(0, |body| Dice::of(&body[..body.len().min(4096)]).below(1 << 30));
    if let Some(body) = frame.body_mut() {
        *body = Bytes::new();
    }
    (frame, size, mark)
}
