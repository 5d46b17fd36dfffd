//! Passing lines between this process's pipes and a router in another process.

use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use tokio::io::{AsyncReadExt, AsyncWriteExt, Stdin, Stdout};
use tokio::net::UnixStream;
use tokio::sync::watch;

use codeswarm_protocol::event::{RouterEvent, RouterWord};
use codeswarm_protocol::line::{Added, write_event};
use codeswarm_protocol::record::RecordHead;
use codeswarm_protocol::{Rejection, Timestamp};

use super::Mode;
use super::memory::{Heard, Memory};
use crate::serve::{LineReader, ReadLine, Stop, too_long};

/// How a relay ended.
pub(super) enum Relayed {
    /// All is said.
    Done(ExitCode),
    /// The router is gone in the middle.
    Lost,
}

/// How long the last answers may take after the end of standard input, in a daemon.
const LAST_ANSWERS: Duration = Duration::from_millis(1800);

/// A program's pipes and what was said on them.
pub(super) struct Relay {
    stdin: LineReader<Stdin>,
    limit: usize,
    stdout: Stdout,
    memory: Memory,
    mode: Mode,
    stdin_ended: bool,
}

impl Relay {
    /// `limit` is the longest line that is taken.
    pub(super) fn new(stdin: Stdin, limit: usize, mode: Mode) -> Self {
        Self {
            stdin: LineReader::new(stdin, limit),
            limit,
            stdout: tokio::io::stdout(),
            memory: Memory::new(format!("relay-{}-", uuid::Uuid::new_v4().simple())),
            mode,
            stdin_ended: false,
        }
    }

    /// Whether anything was said yet.
    pub(super) fn has_begun(&self) -> bool {
        self.memory.has_begun() || self.stdin_ended
    }

    /// For a router in this process that serves the pipes itself: standard input, of which nothing may have been said yet.
    pub(super) fn into_stdin(self) -> impl tokio::io::AsyncRead + Unpin + Send + 'static {
        let (unread, stdin) = self.stdin.into_parts();
        std::io::Cursor::new(unread).chain(stdin)
    }

    /// Relays until standard input and its answers end, or the router goes.
    pub(super) async fn run(
        &mut self,
        stream: UnixStream,
        mut stop: watch::Receiver<Stop>,
    ) -> std::io::Result<Relayed> {
        let (source, mut sink) = stream.into_split();
        let mut events = LineReader::new(source, usize::MAX);
        let daemon = self.mode == Mode::Daemon;
        if sink.write_all(&self.memory.again()).await.is_err() {
            return Ok(Relayed::Lost);
        }
        let mut last_call: Option<tokio::time::Instant> = None;
        if self.stdin_ended {
            last_call = self.end_of_input(&mut sink).await;
        }
        loop {
            if daemon && self.stdin_ended && !self.memory.has_unanswered() {
                return Ok(self.done());
            }
            let waiting = async {
                match last_call {
                    Some(when) => tokio::time::sleep_until(when).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                line = self.stdin.next(), if !self.stdin_ended => match line? {
                    ReadLine::End => {
                        self.stdin_ended = true;
                        last_call = self.end_of_input(&mut sink).await;
                    }
                    ReadLine::TooLong(length) => self.refuse(length).await?,
                    ReadLine::Line(line) if line.iter().all(u8::is_ascii_whitespace) => {}
                    ReadLine::Line(line) => {
                        let mut line = self.memory.sent(&line);
                        line.push(b'\n');
                        if sink.write_all(&line).await.is_err() {
                            return Ok(Relayed::Lost);
                        }
                    }
                },
                event = events.next() => match event {
                    Ok(ReadLine::Line(line)) => {
                        if let Heard::New(mut line) = self.memory.heard(&line) {
                            line.push(b'\n');
                            self.print(&line).await?;
                        }
                    }
                    Ok(_) | Err(_) if self.memory.shut_down => return Ok(self.done()),
                    Ok(_) | Err(_) if self.stdin_ended && (daemon || !self.memory.has_open()) => return Ok(self.done()),
                    Ok(_) | Err(_) => return Ok(Relayed::Lost),
                },
                () = waiting => return Ok(self.done()),
                _ = stop.wait_for(|stop| *stop == Stop::Now) => return Ok(self.done()),
            }
        }
    }

    /// Refuses a line that was read away, in the router's words.
    async fn refuse(&mut self, length: u64) -> std::io::Result<()> {
        self.memory.failed = true;
        let Rejection { code, field, reason } = too_long(length, self.limit);
        let word = RouterWord::CommandRejected { code, field, reason };
        let event = RouterEvent::new(word, Timestamp::from(SystemTime::now()));
        let line = serde_json::to_vec(&event)?;
        let head = RecordHead::parse(&line)?;
        let mut out = Vec::new();
        write_event(&mut out, self.memory.spelling(), &line, &head, Added::default())?;
        self.print(&out).await
    }

    fn done(&self) -> Relayed {
        let failed = self.mode == Mode::Batch && self.memory.failed;
        Relayed::Done(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
    }

    /// Tells the router that nothing more comes; in a daemon the last answers have a little time.
    async fn end_of_input(&self, sink: &mut tokio::net::unix::OwnedWriteHalf) -> Option<tokio::time::Instant> {
        // If it fails the router is gone, which the reading side sees.
        let _ = sink.shutdown().await;
        (self.mode == Mode::Daemon).then(|| tokio::time::Instant::now() + LAST_ANSWERS)
    }

    async fn print(&mut self, line: &[u8]) -> std::io::Result<()> {
        self.stdout.write_all(line).await?;
        self.stdout.flush().await
    }
}
