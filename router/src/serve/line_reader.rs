//! Lines of a client, none longer than a limit: a longer one is read away and reported, never kept.

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt};

/// What a client sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReadLine {
    /// One line, without its newline.
    Line(Bytes),
    /// A line of so many bytes; it is gone.
    TooLong(u64),
    /// Nothing more.
    End,
}

/// Reads lines from anything.
#[derive(Debug)]
pub struct LineReader<R> {
    source: R,
    buffer: BytesMut,
    searched: usize,
    limit: usize,
    /// Bytes of a line that is being read away.
    skipping: Option<u64>,
}

impl<R: AsyncRead + Unpin> LineReader<R> {
    /// Lines of at most `limit` bytes.
    pub fn new(source: R, limit: usize) -> Self {
        Self {
            source,
            buffer: BytesMut::new(),
            searched: 0,
            limit,
            skipping: None,
        }
    }

    /// What was read and not handed out, and where more comes from.
    pub fn into_parts(self) -> (BytesMut, R) {
        (self.buffer, self.source)
    }

    /// The next line. Safe to cancel: nothing that was read is lost.
    pub async fn next(&mut self) -> std::io::Result<ReadLine> {
        loop {
            if let Some(line) = self.whole_line() {
                return Ok(line);
            }
            if self.buffer.capacity() - self.buffer.len() < 4096 {
                self.buffer.reserve(64 * 1024);
            }
            if self.source.read_buf(&mut self.buffer).await? == 0 {
                return Ok(self.last_line());
            }
        }
    }

    fn whole_line(&mut self) -> Option<ReadLine> {
        let unseen = self.buffer.get(self.searched..).unwrap_or_default();
        if let Some(at) = unseen.iter().position(|byte| *byte == b'\n') {
            let end = self.searched + at;
            self.searched = 0;
            let line = self.buffer.split_to(end).freeze();
            self.buffer.advance(1);
            let before = self.skipping.take();
            return Some(match before {
                Some(before) => ReadLine::TooLong(before + line.len() as u64),
                None if line.len() > self.limit => ReadLine::TooLong(line.len() as u64),
                None => ReadLine::Line(line),
            });
        }
        self.searched = self.buffer.len();
        if self.buffer.len() > self.limit || self.skipping.is_some() {
            *self.skipping.get_or_insert(0) += self.buffer.len() as u64;
            self.buffer.clear();
            self.searched = 0;
        }
        None
    }

    /// A last line without its newline counts: a person's `printf` may have left it out.
    fn last_line(&mut self) -> ReadLine {
        self.searched = 0;
        let rest = self.buffer.split().freeze();
        match self.skipping.take() {
            Some(before) => ReadLine::TooLong(before + rest.len() as u64),
            None if rest.iter().all(u8::is_ascii_whitespace) => ReadLine::End,
            None => ReadLine::Line(rest),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn lines(input: &[u8], limit: usize) -> Vec<ReadLine> {
        let mut reader = LineReader::new(input, limit);
        let mut lines = Vec::new();
        loop {
            match reader.next().await.unwrap() {
                ReadLine::End => return lines,
                line => lines.push(line),
            }
        }
    }

    #[tokio::test]
    async fn lines_are_read_also_a_last_one_without_newline() {
        let line = |text: &'static str| ReadLine::Line(Bytes::from_static(text.as_bytes()));
        assert_eq!(lines(b"a\n\nbc", 10).await, [line("a"), line(""), line("bc")]);
        assert_eq!(lines(b"a\n  ", 10).await, [line("a")]);
    }

    #[tokio::test]
    async fn a_line_beyond_the_limit_is_gone_and_the_next_one_is_read() {
        let mut input = vec![b'x'; 1_000_000];
        input.extend_from_slice(b"\nok\n");
        input.extend_from_slice(&[b'y'; 300_000]);
        let found = lines(&input, 1000).await;
        let ok = ReadLine::Line(Bytes::from_static(b"ok"));
        assert_eq!(found, [ReadLine::TooLong(1_000_000), ok, ReadLine::TooLong(300_000)]);
    }
}
