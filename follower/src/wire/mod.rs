//! Frames as bytes: what router and follower send each other over ssh.
//!
//! A stream begins, from the follower's side only, with a [greeting](GREETING), so that what a login shell prints before
//! it is passed over. Then frames: a header, which is one line of JSON (the frame's own fields, with `len`, the size of
//! its body in bytes, and `z`, the size on the wire where the body is compressed), and the body's bytes behind it.
//!
//! ```text
//! #codeswarm-frames 1
//! {"f":"hello","version":"0.1.0","host":"login1","pid":4711,"root":"/home/u/codeswarm"}
//! {"f":"chunk","place":{"job_id":"272900","node_id":0},"offset":0,"len":19}
//! {"type":"notice"…}
//! ```
//!
//! A body of [`COMPRESS_FROM`] bytes or more goes compressed by zstd, level 1, where that makes it smaller.
//! This module knows nothing of files, mailboxes or ssh; both ends of the link use it.

mod decode;
mod encode;
#[cfg(test)]
mod tests;

pub use decode::Decoder;
pub use encode::Encoder;

use bytes::Bytes;
use codeswarm_protocol::frame::{Downward, Upward};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// What a follower's stream begins with; the number of the format and a newline follow.
pub const GREETING: &str = "#codeswarm-frames ";

/// The number of this format. It changes when an older reader could misunderstand.
pub const FORMAT: u32 = 1;

/// The longest header, in bytes, without its newline.
pub const MAX_HEADER: usize = 64 * 1024;

/// The largest body, in bytes: the longest line of a mailbox file (64 MiB) and its neighbours in a chunk.
pub const MAX_BODY: usize = 65 * 1024 * 1024;

/// The most that is passed over before a greeting, in bytes.
pub const MAX_BANNER: usize = 1024 * 1024;

/// Bodies from this size on are compressed where it pays.
pub const COMPRESS_FROM: usize = 4 * 1024;

/// Why bytes are no frames, or a frame cannot become bytes. A stream with such an error cannot go on: close it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// The other side is no follower, or its shell printed without end.
    #[error("no follower's greeting in the first {MAX_BANNER} bytes; they began with {head:?}")]
    NoGreeting {
        /// How the stream began.
        head: String,
    },
    /// Another version of the software.
    #[error("the follower speaks format {theirs:?} and this side {FORMAT}; deploy the same version on both")]
    Format {
        /// What it named.
        theirs: String,
    },
    /// A header that does not end.
    #[error("a frame's header has more than {MAX_HEADER} bytes; it began with {head:?}")]
    HeaderTooLong {
        /// How it began.
        head: String,
    },
    /// A header that is no frame.
    #[error("a frame's header does not read: {reason}; it began with {head:?}")]
    Header {
        /// What is wrong.
        reason: String,
        /// How it began.
        head: String,
    },
    /// More than [`MAX_BODY`].
    #[error("a frame's body has {bytes} bytes; at most {MAX_BODY} are allowed")]
    BodyTooLong {
        /// Its size.
        bytes: u64,
    },
    /// A body that does not decompress to what its header announced, or that could not be compressed.
    #[error("a frame's body is damaged: {reason}")]
    Body {
        /// What is wrong.
        reason: String,
    },
    /// The stream had an error before.
    #[error("the stream had an error before this byte and cannot be read on")]
    Broken,
}

/// A frame that can travel: its fields in the header, one of them perhaps as the body.
pub trait Frame: Serialize + DeserializeOwned {
    /// The bytes that travel behind the header.
    fn body(&self) -> Option<&Bytes>;

    /// Where the bytes behind the header belong; `None` for a frame that has none.
    fn body_mut(&mut self) -> Option<&mut Bytes>;
}

impl Frame for Downward {
    fn body(&self) -> Option<&Bytes> {
        match self {
            Self::Append { line: body, .. } | Self::Launch { data: body, .. } => Some(body),
            _ => None,
        }
    }

    fn body_mut(&mut self) -> Option<&mut Bytes> {
        match self {
            Self::Append { line: body, .. } | Self::Launch { data: body, .. } => Some(body),
            _ => None,
        }
    }
}

impl Frame for Upward {
    fn body(&self) -> Option<&Bytes> {
        match self {
            Self::Chunk { data, .. } | Self::Part { data, .. } | Self::Heartbeats { data, .. } => Some(data),
            _ => None,
        }
    }

    fn body_mut(&mut self) -> Option<&mut Bytes> {
        match self {
            Self::Chunk { data, .. } | Self::Part { data, .. } | Self::Heartbeats { data, .. } => Some(data),
            _ => None,
        }
    }
}

/// The beginning of bytes, for an error that a person reads.
fn head_of(bytes: &[u8]) -> String {
    const SHOWN: usize = 200;
    let cut = bytes.get(..SHOWN).unwrap_or(bytes);
    String::from_utf8_lossy(cut).into_owned()
}
