//! Bytes to frames, in whatever pieces they come.

use bytes::{Bytes, BytesMut};
use serde::Deserialize;

use super::{FORMAT, Frame, GREETING, MAX_BANNER, MAX_BODY, MAX_HEADER, WireError, head_of};

/// A header as it is read.
#[derive(Deserialize)]
#[serde(bound = "F: Frame")]
struct Header<F> {
    #[serde(flatten)]
    frame: F,
    #[serde(default)]
    len: u64,
    #[serde(default)]
    z: Option<u64>,
}

/// Reads frames from a buffer that its owner fills. Holds at most one header; bodies stay in the owner's buffer.
pub struct Decoder<F> {
    phase: Phase<F>,
    unpacker: Option<zstd::bulk::Decompressor<'static>>,
}

/// What comes next in the stream.
enum Phase<F> {
    /// The greeting, perhaps behind a banner: so much was passed over, and so it began.
    Greeting { passed: usize, head: Vec<u8> },
    /// A header; so many bytes of the buffer are known to have no newline.
    Header { searched: usize },
    /// The body of this frame: its size, and its size on the wire where it is compressed.
    Body {
        frame: F,
        len: usize,
        packed: Option<usize>,
    },
    /// Nothing: the stream had an error.
    Broken,
}

/// What one look at the buffer gave.
enum Progress<F> {
    Frame(F),
    NextPhase(Phase<F>),
    NeedsMore(Phase<F>),
}

impl<F: Frame> Decoder<F> {
    /// For a stream that begins with a greeting: what a follower sends.
    pub fn behind_a_greeting() -> Self {
        Self::beginning_with(Phase::Greeting {
            passed: 0,
            head: Vec::new(),
        })
    }

    /// For a stream of frames alone: what a router sends.
    pub fn bare() -> Self {
        Self::beginning_with(Phase::Header { searched: 0 })
    }

    fn beginning_with(phase: Phase<F>) -> Self {
        Self { phase, unpacker: None }
    }

    /// The next frame, taken off the front of `buffer`; `None` when more bytes are needed. Room for what is known to be
    /// missing has then been reserved.
    ///
    /// # Errors
    /// What is wrong with the stream, which cannot be read on: every later call answers [`WireError::Broken`].
    pub fn decode(&mut self, buffer: &mut BytesMut) -> Result<Option<F>, WireError> {
        loop {
            let phase = std::mem::replace(&mut self.phase, Phase::Broken);
            match self.look(phase, buffer)? {
                Progress::Frame(frame) => {
                    self.phase = Phase::Header { searched: 0 };
                    return Ok(Some(frame));
                }
                Progress::NextPhase(phase) => self.phase = phase,
                Progress::NeedsMore(phase) => {
                    self.phase = phase;
                    return Ok(None);
                }
            }
        }
    }

    /// While the greeting has not come: how the stream began, such as a shell's error message. For whoever must say why
    /// no follower answered.
    pub fn banner(&self) -> Option<String> {
        match &self.phase {
            Phase::Greeting { head, .. } => Some(head_of(head)),
            _ => None,
        }
    }

    /// Whether the stream may end here: between two frames, with nothing begun in `buffer`.
    pub fn at_a_border(&self, buffer: &BytesMut) -> bool {
        matches!(self.phase, Phase::Header { .. }) && buffer.is_empty()
    }

    fn look(&mut self, phase: Phase<F>, buffer: &mut BytesMut) -> Result<Progress<F>, WireError> {
        match phase {
            Phase::Greeting { passed, head } => look_for_greeting(passed, head, buffer),
            Phase::Header { searched } => look_for_header(searched, buffer),
            Phase::Body { frame, len, packed } => {
                let on_the_wire = packed.unwrap_or(len);
                if buffer.len() < on_the_wire {
                    buffer.reserve(on_the_wire - buffer.len());
                    return Ok(Progress::NeedsMore(Phase::Body { frame, len, packed }));
                }
                let bytes = buffer.split_to(on_the_wire).freeze();
                let body = match packed {
                    None => bytes,
                    Some(_) => self.unpack(&bytes, len)?,
                };
                Ok(Progress::Frame(with_body(frame, body)))
            }
            Phase::Broken => Err(WireError::Broken),
        }
    }

    fn unpack(&mut self, packed: &[u8], len: usize) -> Result<Bytes, WireError> {
        let damaged = |error: std::io::Error| WireError::Body {
            reason: format!("it does not decompress: {error}"),
        };
        let unpacker = match &mut self.unpacker {
            Some(unpacker) => unpacker,
            none => none.insert(zstd::bulk::Decompressor::new().map_err(damaged)?),
        };
        let plain = unpacker.decompress(packed, len).map_err(damaged)?;
        if plain.len() != len {
            return Err(WireError::Body {
                reason: format!("{len} bytes were announced and {} came", plain.len()),
            });
        }
        Ok(plain.into())
    }
}

fn look_for_greeting<F: Frame>(
    mut passed: usize,
    mut head: Vec<u8>,
    buffer: &mut BytesMut,
) -> Result<Progress<F>, WireError> {
    const HEAD: usize = 200;
    const NUMBER: usize = 20;
    let mark = GREETING.as_bytes();
    let found = buffer.windows(mark.len()).position(|window| window == mark);
    // What cannot be the start of a greeting is passed over at once, so that a banner costs no memory.
    let begun = || (1..mark.len()).rev().find(|size| buffer.ends_with(&mark[..*size]));
    let pass = found.unwrap_or_else(|| buffer.len() - begun().unwrap_or(0));
    let banner = buffer.split_to(pass);
    head.extend(banner.iter().take(HEAD.saturating_sub(head.len())));
    passed += pass;
    if passed > MAX_BANNER {
        return Err(WireError::NoGreeting { head: head_of(&head) });
    }
    if found.is_some() {
        let behind = buffer.get(mark.len()..).unwrap_or_default();
        let end = behind.iter().take(NUMBER + 1).position(|byte| *byte == b'\n');
        match end {
            Some(end) => {
                let number = String::from_utf8_lossy(behind.get(..end).unwrap_or_default()).into_owned();
                if number.trim_end_matches('\r').parse() != Ok(FORMAT) {
                    return Err(WireError::Format { theirs: number });
                }
                let _greeting = buffer.split_to(mark.len() + end + 1);
                return Ok(Progress::NextPhase(Phase::Header { searched: 0 }));
            }
            None if behind.len() > NUMBER => {
                return Err(WireError::Format {
                    theirs: head_of(behind),
                });
            }
            None => {}
        }
    }
    Ok(Progress::NeedsMore(Phase::Greeting { passed, head }))
}

fn look_for_header<F: Frame>(searched: usize, buffer: &mut BytesMut) -> Result<Progress<F>, WireError> {
    let fresh = buffer.get(searched..).unwrap_or_default();
    // One byte more than a header may have is its newline.
    let allowed = (MAX_HEADER + 1).saturating_sub(searched);
    let Some(end) = fresh.iter().take(allowed).position(|byte| *byte == b'\n') else {
        if buffer.len() > MAX_HEADER {
            return Err(WireError::HeaderTooLong { head: head_of(buffer) });
        }
        let searched = buffer.len();
        return Ok(Progress::NeedsMore(Phase::Header { searched }));
    };
    let line = buffer.split_to(searched + end + 1);
    let header: Header<F> = serde_json::from_slice(&line).map_err(|error| WireError::Header {
        reason: error.to_string(),
        head: head_of(&line),
    })?;
    let len = allowed_size(header.len)?;
    let packed = header.z.map(allowed_size).transpose()?;
    if len == 0 && packed.is_none() {
        return Ok(Progress::Frame(header.frame));
    }
    if header.frame.body().is_none() {
        return Err(WireError::Header {
            reason: "this kind of frame has no body".into(),
            head: head_of(&line),
        });
    }
    Ok(Progress::NextPhase(Phase::Body {
        frame: header.frame,
        len,
        packed,
    }))
}

fn allowed_size(bytes: u64) -> Result<usize, WireError> {
    usize::try_from(bytes)
        .ok()
        .filter(|size| *size <= MAX_BODY)
        .ok_or(WireError::BodyTooLong { bytes })
}

fn with_body<F: Frame>(mut frame: F, bytes: Bytes) -> F {
    if let Some(body) = frame.body_mut() {
        *body = bytes;
    }
    frame
}
