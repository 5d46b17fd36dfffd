//! An input in pieces, as a pipe or another machine's writes would bring it. Which pieces is decided by the input itself, so
//! that a corpus file is nothing but what is parsed, and the same file is always cut in the same places.

use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, ReadBuf};

/// Numbers that follow from some bytes alone.
pub struct Dice(u64);

impl Dice {
    /// From the bytes (FNV-1a).
    pub fn of(data: &[u8]) -> Self {
        let mix = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        Self(data.iter().fold(0xcbf2_9ce4_8422_2325, mix))
    }

    /// A number below `limit`, which is not 0.
    pub fn below(&mut self, limit: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap_or(0) % limit
    }
}

/// The input cut in pieces of at least one byte, at most `most` of them.
pub fn pieces(data: &[u8], most: usize) -> Vec<&[u8]> {
    let mut dice = Dice::of(data);
    let longest = match dice.below(3) {
        0 => 3,
        1 => 40,
        _ => data.len().max(1),
    };
    let longest = longest.max(2 * data.len() / most.max(1) + 1);
    let mut rest = data;
    let mut cut = Vec::new();
    while !rest.is_empty() {
        let (piece, after) = rest.split_at(rest.len().min(1 + dice.below(longest)));
        cut.push(piece);
        rest = after;
    }
    cut
}

/// A pipe that brings the pieces one by one, and in between says that nothing is there for the moment.
pub struct Pipe<'data> {
    pieces: std::vec::IntoIter<&'data [u8]>,
    piece: &'data [u8],
    paused: bool,
}

impl<'data> Pipe<'data> {
    /// Brings these bytes.
    pub fn of(data: &'data [u8]) -> Self {
        Self {
            pieces: pieces(data, 1000).into_iter(),
            piece: &[],
            paused: false,
        }
    }
}

impl AsyncRead for Pipe<'_> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        if self.piece.is_empty() {
            self.paused = !self.paused;
            if self.paused {
                context.waker().wake_by_ref();
                return Poll::Pending;
            }
            self.piece = self.pieces.next().unwrap_or_default();
        }
        let taken = self.piece.len().min(buffer.remaining());
        let (now, later) = self.piece.split_at(taken);
        buffer.put_slice(now);
        self.piece = later;
        Poll::Ready(Ok(()))
    }
}

/// Runs a future that waits for nothing but a [`Pipe`].
pub fn run<F: Future>(future: F) -> F::Output {
    let mut future = std::pin::pin!(future);
    let mut context = Context::from_waker(std::task::Waker::noop());
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
            return output;
        }
    }
}
