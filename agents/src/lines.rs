//! Lines of an agent's standard output, read into one buffer that is used again.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt};

/// A longer line is taken for trouble, not for a message.
pub const LONGEST_LINE: usize = 64 << 20;

/// How much is asked of the pipe at once; what a Linux pipe holds.
const READ: usize = 64 << 10;

/// The buffer is given back to the system when it has grown beyond this and is empty.
const KEEP: usize = 1 << 20;

/// Splits what a pipe gives into lines, without their newline.
#[derive(Debug)]
pub struct LineReader<R> {
    source: R,
    buffer: Vec<u8>,
    /// Bytes before this were handed out.
    taken: usize,
    /// Bytes before this hold no newline that was not handed out.
    searched: usize,
    ended: bool,
}

/// Why no further line can be read.
#[derive(Debug, thiserror::Error)]
pub enum LineError {
    /// The line has no end.
    #[error("a line of its output is longer than {LONGEST_LINE} bytes")]
    TooLong,
    /// The pipe failed.
    #[error("its output cannot be read: {0}")]
    Read(#[from] io::Error),
}

impl<R: AsyncRead + Unpin> LineReader<R> {
    /// Reads from `source`.
    pub fn new(source: R) -> Self {
        Self {
            source,
            buffer: Vec::new(),
            taken: 0,
            searched: 0,
            ended: false,
        }
    }

    /// Whether the source has ended; what is left without a newline is then handed out as the last line.
    pub fn ended(&self) -> bool {
        self.ended
    }

    /// The next whole line that is here already.
    pub fn line(&mut self) -> Option<&[u8]> {
        let start = self.taken;
        let found = memchr::memchr(b'\n', &self.buffer[self.searched..]).map(|at| self.searched + at);
        match found {
            Some(end) => {
                self.taken = end + 1;
                self.searched = end + 1;
                Some(&self.buffer[start..end])
            }
            None if self.ended && start < self.buffer.len() => {
                self.taken = self.buffer.len();
                self.searched = self.taken;
                Some(&self.buffer[start..])
            }
            None => {
                self.searched = self.buffer.len();
                None
            }
        }
    }

    /// Reads more; safe to drop at any moment without losing a byte. To be called when [`LineReader::line`] had none.
    pub async fn fill(&mut self) -> Result<(), LineError> {
        self.buffer.drain(..self.taken);
        self.searched -= self.taken;
        self.taken = 0;
        if self.buffer.is_empty() && self.buffer.capacity() > KEEP {
            self.buffer = Vec::new();
        }
        if self.buffer.len() > LONGEST_LINE {
            self.ended = true;
            self.buffer = Vec::new();
            self.searched = 0;
            return Err(LineError::TooLong);
        }
        self.buffer.reserve(READ);
        let read = self.source.read_buf(&mut self.buffer).await;
        self.ended = !matches!(read, Ok(1..));
        read.map(|_| ()).map_err(LineError::Read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn lines_of(mut reader: LineReader<impl AsyncRead + Unpin>) -> Vec<String> {
        let mut lines = Vec::new();
        loop {
            while let Some(line) = reader.line() {
                lines.push(String::from_utf8_lossy(line).into_owned());
            }
            if reader.ended() {
                return lines;
            }
            reader.fill().await.unwrap();
        }
    }

    #[tokio::test]
    async fn pieces_become_lines_and_a_torn_last_one_is_handed_out_at_the_end() {
        let (mut into, from) = tokio::io::duplex(7);
        let writer = tokio::spawn(async move {
            use tokio::io::AsyncWriteExt;
            into.write_all(b"one\n\ntwo is longer than the pipe\nto").await.unwrap();
            into.write_all(b"rn").await.unwrap();
        });
        assert_eq!(
            lines_of(LineReader::new(from)).await,
            ["one", "", "two is longer than the pipe", "torn"]
        );
        writer.await.unwrap();
    }

    #[tokio::test]
    async fn a_line_without_end_is_refused_in_bounded_memory() {
        let mut reader = LineReader::new(tokio::io::repeat(b'x'));
        let error = loop {
            assert!(reader.line().is_none());
            if let Err(error) = reader.fill().await {
                break error;
            }
        };
        assert!(matches!(error, LineError::TooLong), "{error}");
        assert!(reader.ended() && reader.line().is_none());
    }
}
