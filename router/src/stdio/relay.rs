//! Passing lines between this process's pipes and a router in another process.

use std::process::ExitCode;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt, Stdin, Stdout};
use tokio::net::UnixStream;
use tokio::sync::watch;

use super::Mode;
use super::memory::Memory;
use crate::serve::{LineReader, ReadLine, Stop};

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
    stdout: Stdout,
    memory: Memory,
    mode: Mode,
    stdin_ended: bool,
}

impl Relay {
    pub(super) fn new(stdin: LineReader<Stdin>, mode: Mode) -> Self {
        Self {
            stdin,
            stdout: tokio::io::stdout(),
            memory: Memory::default(),
            mode,
            stdin_ended: false,
        }
    }

    /// For a router in this process: what to say first, and the rest of standard input.
    pub(super) fn into_stdin(self) -> (Vec<u8>, impl tokio::io::AsyncRead + Unpin + Send + 'static) {
        let again = if self.memory.has_begun() {
            self.memory.again(self.mode == Mode::Daemon)
        } else {
            Vec::new()
        };
        let (unread, stdin) = self.stdin.into_parts();
        (again, std::io::Cursor::new(unread).chain(stdin))
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
        if daemon && !self.memory.has_begun() {
            let subscribe = b"{\"command\":\"subscribe\"}\n";
            if sink.write_all(subscribe).await.is_err() {
                return Ok(Relayed::Lost);
            }
        }
        let again = self.memory.again(daemon && self.memory.has_begun());
        if sink.write_all(&again).await.is_err() {
            return Ok(Relayed::Lost);
        }
        let mut last_call: Option<tokio::time::Instant> = None;
        if self.stdin_ended {
            last_call = self.end_of_input(&mut sink).await;
        }
        loop {
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
                    ReadLine::TooLong(length) => {
                        let reason = format!("the line has {length} bytes; that is too long, and it was read away");
                        let refused = serde_json::json!({"type": "command_rejected", "code": "line_too_long", "reason": reason});
                        self.memory.failed = true;
                        self.print(format!("{refused}\n").as_bytes()).await?;
                    }
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
                        if self.memory.heard(&line) {
                            self.print(&[&line, b"\n".as_slice()].concat()).await?;
                        }
                    }
                    Ok(_) | Err(_) if self.stdin_ended && (daemon || !self.memory.has_open()) => return Ok(self.done()),
                    Ok(_) | Err(_) => return Ok(Relayed::Lost),
                },
                () = waiting => return Ok(self.done()),
                _ = stop.wait_for(|stop| *stop == Stop::Now) => return Ok(self.done()),
            }
        }
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
