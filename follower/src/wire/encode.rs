//! Frames to bytes.

use bytes::{BufMut, BytesMut};
use serde::Serialize;

use super::{COMPRESS_FROM, FORMAT, Frame, GREETING, MAX_BODY, MAX_HEADER, WireError, head_of};

/// A header as it is written.
#[derive(Serialize)]
struct Header<'a, F> {
    #[serde(flatten)]
    frame: &'a F,
    #[serde(skip_serializing_if = "Option::is_none")]
    len: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    z: Option<usize>,
}

/// Writes frames. Keeps the compressor and its buffer, which are made when a body first needs them.
#[derive(Default)]
pub struct Encoder {
    compressor: Option<zstd::bulk::Compressor<'static>>,
    packed: Vec<u8>,
}

impl Encoder {
    /// A writer of frames.
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends the greeting, with which a follower's stream begins.
    pub fn greet(out: &mut BytesMut) {
        out.put_slice(GREETING.as_bytes());
        out.put_slice(FORMAT.to_string().as_bytes());
        out.put_u8(b'\n');
    }

    /// Appends a frame. After an error `out` is as it was, and the stream may go on with other frames.
    ///
    /// # Errors
    /// A header beyond [`MAX_HEADER`] or a body beyond [`MAX_BODY`].
    pub fn encode<F: Frame>(&mut self, frame: &F, out: &mut BytesMut) -> Result<(), WireError> {
        let body = frame.body().map_or(&[] as &[u8], |body| body.as_ref());
        if body.len() > MAX_BODY {
            return Err(WireError::BodyTooLong {
                bytes: body.len() as u64,
            });
        }
        let packed = self.pack(body)?;
        let header = serde_json::to_vec(&Header {
            frame,
            len: (!body.is_empty()).then_some(body.len()),
            z: packed.map(<[u8]>::len),
        })
        .map_err(|error| WireError::Header {
            reason: error.to_string(),
            head: String::new(),
        })?;
        if header.len() > MAX_HEADER {
            return Err(WireError::HeaderTooLong { head: head_of(&header) });
        }
        let behind = packed.unwrap_or(body);
        out.reserve(header.len() + 1 + behind.len());
        out.put_slice(&header);
        out.put_u8(b'\n');
        out.put_slice(behind);
        Ok(())
    }

    /// The body compressed, if that makes it smaller.
    fn pack(&mut self, body: &[u8]) -> Result<Option<&[u8]>, WireError> {
        if body.len() < COMPRESS_FROM {
            return Ok(None);
        }
        let damaged = |error: std::io::Error| WireError::Body {
            reason: format!("it could not be compressed: {error}"),
        };
        let compressor = match &mut self.compressor {
            Some(compressor) => compressor,
            none => none.insert(zstd::bulk::Compressor::new(1).map_err(damaged)?),
        };
        self.packed.clear();
        self.packed.reserve(zstd::zstd_safe::compress_bound(body.len()));
        compressor.compress_to_buffer(body, &mut self.packed).map_err(damaged)?;
        let smaller = self.packed.len() < body.len();
        // A rare huge line must not hold its memory for ever.
        if self.packed.capacity() > 4 * 1024 * 1024 {
            self.packed.shrink_to(self.packed.len());
        }
        Ok(smaller.then_some(self.packed.as_slice()))
    }
}
