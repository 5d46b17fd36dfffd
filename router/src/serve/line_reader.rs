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
    /// A last line without its newline is one.
    unfinished_counts: bool,
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
            unfinished_counts: true,
        }
    }

    /// Lines of a program, which ends each of them: what has no newline is a piece of one, left by its death.
    pub fn of_a_program(source: R) -> Self {
        Self {
            unfinished_counts: false,
            ..Self::new(source, usize::MAX)
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
            _ if !self.unfinished_counts => ReadLine::End,
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
    async fn a_piece_of_a_programs_line_is_no_line() {
        let mut reader = LineReader::of_a_program(b"{}\n{\"type\":\"inject_ack".as_slice());
        assert_eq!(reader.next().await.unwrap(), ReadLine::Line(Bytes::from_static(b"{}")));
        assert_eq!(reader.next().await.unwrap(), ReadLine::End);
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

    /// Hands out bytes in pieces, and now and then nothing for the moment.
    struct Pieces {
        bytes: Vec<u8>,
        at: usize,
        rng: u64,
    }

    impl Pieces {
        fn below(&mut self, limit: usize) -> usize {
            self.rng = self
                .rng
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            usize::try_from(self.rng >> 33).unwrap() % limit
        }
    }

    impl AsyncRead for Pieces {
        fn poll_read(
            mut self: std::pin::Pin<&mut Self>,
            context: &mut std::task::Context<'_>,
            buffer: &mut tokio::io::ReadBuf<'_>,
        ) -> std::task::Poll<std::io::Result<()>> {
            if self.below(3) == 0 {
                context.waker().wake_by_ref();
                return std::task::Poll::Pending;
            }
            let most = 1 + self.below(30);
            let end = (self.at + most.min(buffer.remaining())).min(self.bytes.len());
            buffer.put_slice(&self.bytes[self.at..end]);
            self.at = end;
            std::task::Poll::Ready(Ok(()))
        }
    }

    /// What has to come of an input, said in the simplest way.
    fn expected(input: &[u8], limit: usize) -> Vec<ReadLine> {
        let mut lines: Vec<&[u8]> = input.split(|byte| *byte == b'\n').collect();
        let last = lines.pop().unwrap();
        if !last.iter().all(u8::is_ascii_whitespace) || last.len() > limit {
            lines.push(last);
        }
        let line = |line: &[u8]| match line.len() > limit {
            true => ReadLine::TooLong(line.len() as u64),
            false => ReadLine::Line(Bytes::copy_from_slice(line)),
        };
        lines.into_iter().map(line).collect()
    }

    #[tokio::test]
    async fn p12_any_input_in_any_pieces_is_the_same_lines_though_the_reading_is_cancelled_again_and_again() {
        for seed in 0..2000 {
            let mut pieces = Pieces {
                bytes: Vec::new(),
                at: 0,
                rng: seed,
            };
            for _ in 0..pieces.below(300) {
                let byte = [b'\n', b'a', b' ', 0xff, b'"'][pieces.below(5).min(pieces.below(9))];
                pieces.bytes.push(byte);
            }
            let limit = 1 + pieces.below(20);
            let expected = expected(&pieces.bytes, limit);
            let mut reader = LineReader::new(pieces, limit);
            let mut found = Vec::new();
            loop {
                // Whenever nothing is there for the moment, the reading is given up and begun anew.
                let line = tokio::select! {
                    biased;
                    line = reader.next() => line.unwrap(),
                    () = std::future::ready(()) => continue,
                };
                match line {
                    ReadLine::End => break,
                    line => found.push(line),
                }
            }
            assert_eq!(found, expected, "seed {seed}, limit {limit}");
        }
    }
}
