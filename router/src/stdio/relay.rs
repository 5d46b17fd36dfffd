//! Passing lines between this process's pipes and a router in another process.

use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, Stdin, Stdout};
use tokio::net::UnixStream;
use tokio::sync::watch;
use tokio::time::Instant;

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

/// Bytes that wait for the router, or for standard output, before no more are read from the other side.
const AHEAD: usize = 256 * 1024;

/// A program's pipes and what was said on them.
///
/// Nothing here waits for one side alone: a router that does not read before its own words are taken, and a program that
/// does not read at all, hold up only what goes to them.
pub(super) struct Relay<R = Stdin, W = Stdout> {
    stdin: LineReader<R>,
    limit: usize,
    stdout: W,
    /// On its way to standard output.
    printing: BytesMut,
    memory: Memory,
    mode: Mode,
    stdin_ended: bool,
    /// When the last answers have to be there, in a daemon whose standard input has ended.
    last_call: Option<Instant>,
}

impl<R: AsyncRead + Unpin, W: AsyncWrite + Unpin> Relay<R, W> {
    /// `limit` is the longest line that is taken.
    pub(super) fn new(stdin: R, stdout: W, limit: usize, mode: Mode) -> Self {
        Self {
            stdin: LineReader::new(stdin, limit),
            limit,
            stdout,
            printing: BytesMut::new(),
            memory: Memory::new(format!("relay-{}-", uuid::Uuid::new_v4().simple())),
            mode,
            stdin_ended: false,
            last_call: None,
        }
    }

    /// Whether anything was said yet.
    pub(super) fn has_begun(&self) -> bool {
        self.memory.has_begun() || self.stdin_ended
    }

    /// For a router in this process that serves the pipes itself: standard input, of which nothing may have been said yet.
    pub(super) fn into_stdin(self) -> impl AsyncRead + Unpin + Send + 'static
    where
        R: Send + 'static,
    {
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
        let mut events = LineReader::of_a_program(source);
        let mut commands = BytesMut::from(self.memory.again().as_slice());
        let mut hears = true;
        loop {
            if hears && self.stdin_ended && commands.is_empty() {
                hears = false;
                // If it fails the router is gone, which the reading side sees.
                let _ = sink.shutdown().await;
            }
            if self.mode == Mode::Daemon && self.stdin_ended && !self.memory.has_unanswered() {
                break;
            }
            tokio::select! {
                line = self.stdin.next(), if !self.stdin_ended && commands.len() < AHEAD => self.take(line?, &mut commands)?,
                written = sink.write_buf(&mut commands), if !commands.is_empty() => if written.is_err() {
                    // What it said last may still be there to be read; what it did not hear is said again to the next one.
                    hears = false;
                    commands.clear();
                },
                event = events.next(), if self.printing.len() < AHEAD => match event {
                    Ok(ReadLine::Line(line)) => {
                        if let Heard::New(line) = self.memory.heard(&line) {
                            self.printing.extend_from_slice(&line);
                            self.printing.extend_from_slice(b"\n");
                        }
                    }
                    _ if self.memory.shut_down => break,
                    _ if self.stdin_ended && (self.mode == Mode::Daemon || !self.memory.has_open()) => break,
                    _ => return Ok(Relayed::Lost),
                },
                printed = self.stdout.write_buf(&mut self.printing), if !self.printing.is_empty() => {
                    printed?;
                }
                () = until(self.last_call) => break,
                () = told(&mut stop) => break,
            }
        }
        self.done(&mut stop).await
    }

    /// Takes what standard input brings.
    fn take(&mut self, line: ReadLine, commands: &mut BytesMut) -> std::io::Result<()> {
        match line {
            ReadLine::End => {
                self.stdin_ended = true;
                self.last_call = (self.mode == Mode::Daemon).then(|| Instant::now() + LAST_ANSWERS);
            }
            ReadLine::TooLong(length) => self.refuse(length)?,
            ReadLine::Line(line) if line.iter().all(u8::is_ascii_whitespace) => {}
            ReadLine::Line(line) => {
                commands.extend_from_slice(&self.memory.sent(&line));
                commands.extend_from_slice(b"\n");
            }
        }
        Ok(())
    }

    /// Refuses a line that was read away, in the router's words.
    fn refuse(&mut self, length: u64) -> std::io::Result<()> {
        self.memory.failed = true;
        let Rejection { code, field, reason } = too_long(length, self.limit);
        let word = RouterWord::CommandRejected { code, field, reason };
        let event = RouterEvent::new(word, Timestamp::from(SystemTime::now()));
        let line = serde_json::to_vec(&event)?;
        let head = RecordHead::parse(&line)?;
        let mut out = Vec::new();
        write_event(&mut out, self.memory.spelling(), &line, &head, Added::default())?;
        self.printing.extend_from_slice(&out);
        Ok(())
    }

    /// All is said; what is on its way to standard output gets there, if it is taken: a batch waits for that until it is told
    /// to stop, a daemon until its time is up.
    async fn done(&mut self, stop: &mut watch::Receiver<Stop>) -> std::io::Result<Relayed> {
        let told_to_stop = *stop.borrow() == Stop::Now;
        let limit = self
            .last_call
            .or_else(|| told_to_stop.then(|| Instant::now() + LAST_ANSWERS));
        let drained = async {
            self.stdout.write_all_buf(&mut self.printing).await?;
            self.stdout.flush().await
        };
        tokio::select! {
            drained = drained => drained?,
            () = until(limit) => {}
            () = told(stop), if !told_to_stop => {}
        }
        let failed = self.mode == Mode::Batch && self.memory.failed;
        Ok(Relayed::Done(if failed {
            ExitCode::FAILURE
        } else {
            ExitCode::SUCCESS
        }))
    }
}

/// Waits until this process is told to stop.
async fn told(stop: &mut watch::Receiver<Stop>) {
    let _nobody_can_tell_any_more = stop.wait_for(|stop| *stop == Stop::Now).await.is_err();
}

/// Waits for this moment; for ever if there is none.
async fn until(moment: Option<Instant>) {
    match moment {
        Some(moment) => tokio::time::sleep_until(moment).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, duplex};

    /// Longer than anything here takes.
    const DEADLINE: Duration = Duration::from_secs(60);

    fn never() -> (watch::Sender<Stop>, watch::Receiver<Stop>) {
        watch::channel(Stop::No)
    }

    /// So many commands whose answers nobody waits for.
    fn commands(count: usize) -> Vec<u8> {
        (0..count)
            .flat_map(|number| format!("{{\"command\":\"ping\",\"request_id\":\"{number:0>60}\"}}\n").into_bytes())
            .collect()
    }

    fn events(count: usize) -> Vec<u8> {
        b"{\"type\":\"router_trouble\",\"message\":\"so much of it that it does not fit into any buffer\"}\n"
            .repeat(count)
    }

    fn answers(count: usize) -> Vec<u8> {
        (0..count)
            .flat_map(|number| format!("{{\"type\":\"pong\",\"request_id\":\"{number:0>60}\"}}\n").into_bytes())
            .collect()
    }

    #[tokio::test]
    async fn a_router_that_reads_nothing_before_its_own_words_are_taken_is_no_deadlock() {
        let (_told, stop) = never();
        let (ours, mut router) = UnixStream::pair().unwrap();
        let (stdout, mut printed) = duplex(4096);
        let input = commands(20_000);
        let mut relay = Relay::new(input.as_slice(), stdout, 1 << 20, Mode::Batch);
        let playing = tokio::spawn(async move {
            // There are so many events on their way that it reads no commands before they are taken.
            router.write_all(&events(20_000)).await.unwrap();
            let mut heard = Vec::new();
            router.read_to_end(&mut heard).await.unwrap();
            router.write_all(&answers(20_000)).await.unwrap();
            heard
        });
        let printing = tokio::spawn(async move {
            let mut all = Vec::new();
            printed.read_to_end(&mut all).await.unwrap();
            all
        });
        let relayed = tokio::time::timeout(DEADLINE, relay.run(ours, stop)).await;
        assert!(
            matches!(relayed, Ok(Ok(Relayed::Done(_)))),
            "the relay and the router wait for each other"
        );
        drop(relay);
        assert_eq!(playing.await.unwrap(), input);
        assert_eq!(printing.await.unwrap(), [events(20_000), answers(20_000)].concat());
    }

    #[tokio::test]
    async fn a_program_that_does_not_read_keeps_no_relay_from_ending() {
        for (mode, told) in [(Mode::Daemon, false), (Mode::Batch, true)] {
            let (stopping, stop) = never();
            let (ours, mut router) = UnixStream::pair().unwrap();
            let (stdout, _not_read) = duplex(16);
            let (stdin, program) = duplex(16);
            let mut relay = Relay::new(stdin, stdout, 1 << 20, mode);
            let playing = tokio::spawn(async move { router.write_all(&answers(20_000)).await });
            if told {
                stopping.send_replace(Stop::Now);
            } else {
                drop(program);
            }
            let relayed = tokio::time::timeout(DEADLINE, relay.run(ours, stop)).await;
            assert!(matches!(relayed, Ok(Ok(Relayed::Done(_)))), "{mode:?} does not end");
            playing.abort();
        }
    }

    #[tokio::test]
    async fn the_last_words_of_a_router_that_takes_no_more_are_heard() {
        let (_told, stop) = never();
        let (ours, mut router) = UnixStream::pair().unwrap();
        let (stdout, mut printed) = duplex(1 << 20);
        router.write_all(b"{\"type\":\"shutting_down\"}\n").await.unwrap();
        drop(router);
        let (mut program, stdin) = duplex(1 << 20);
        program.write_all(&commands(100)).await.unwrap();
        let mut relay = Relay::new(stdin, stdout, 1 << 20, Mode::Daemon);
        let relayed = tokio::time::timeout(DEADLINE, relay.run(ours, stop)).await;
        assert!(
            matches!(relayed, Ok(Ok(Relayed::Done(_)))),
            "it would take the place of a router that was shut down"
        );
        drop(relay);
        let mut all = String::new();
        printed.read_to_string(&mut all).await.unwrap();
        assert_eq!(all, "{\"type\":\"shutting_down\"}\n");
    }

    #[tokio::test]
    async fn a_daemon_whose_router_answers_nothing_leaves_when_its_time_is_up() {
        let (_told, stop) = never();
        let (ours, mut router) = UnixStream::pair().unwrap();
        let input = commands(1);
        let mut relay = Relay::new(input.as_slice(), tokio::io::sink(), 1 << 20, Mode::Daemon);
        let relayed = tokio::time::timeout(DEADLINE, relay.run(ours, stop)).await;
        assert!(
            matches!(relayed, Ok(Ok(Relayed::Done(ExitCode::SUCCESS)))),
            "it waits for ever"
        );
        let mut heard = Vec::new();
        router.read_to_end(&mut heard).await.unwrap();
        assert_eq!(heard, input, "it was asked");
    }

    #[tokio::test]
    async fn a_batch_that_waits_for_its_program_to_read_ends_when_it_is_told_to() {
        for failed in [false, true] {
            let (stopping, mut stop) = never();
            let (stdout, _not_read) = duplex(16);
            let mut relay = Relay::new(tokio::io::empty(), stdout, 1 << 20, Mode::Batch);
            relay.printing.extend_from_slice(&events(10));
            relay.memory.failed = failed;
            let done = relay.done(&mut stop);
            tokio::pin!(done);
            tokio::select! {
                biased;
                _ = &mut done => panic!("nobody has read it"),
                () = std::future::ready(()) => {}
            }
            stopping.send_replace(Stop::Now);
            let Ok(Ok(Relayed::Done(code))) = tokio::time::timeout(DEADLINE, done).await else {
                panic!("it does not end")
            };
            assert_eq!(code, if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS });
        }
    }

    #[tokio::test]
    async fn p12_empty_lines_are_nothing_and_too_long_ones_are_refused_here() {
        let (_told, stop) = never();
        let (ours, mut router) = UnixStream::pair().unwrap();
        let (stdout, mut printed) = duplex(1 << 20);
        let input = [b"\n \t\r\n".as_slice(), &[b'x'; 500], b"\n", &commands(1), b"  \n"].concat();
        let mut relay = Relay::new(input.as_slice(), stdout, 200, Mode::Batch);
        let playing = tokio::spawn(async move {
            let mut heard = Vec::new();
            router.read_to_end(&mut heard).await.unwrap();
            router.write_all(&answers(1)).await.unwrap();
            heard
        });
        let relayed = tokio::time::timeout(DEADLINE, relay.run(ours, stop)).await;
        assert!(
            matches!(relayed, Ok(Ok(Relayed::Done(ExitCode::FAILURE)))),
            "one was refused"
        );
        drop(relay);
        assert_eq!(playing.await.unwrap(), commands(1));
        let mut all = String::new();
        printed.read_to_string(&mut all).await.unwrap();
        let (refused, answered) = all.split_once('\n').unwrap();
        assert!(
            refused.contains("command_rejected") && refused.contains("500 bytes"),
            "{refused}"
        );
        assert_eq!(answered.as_bytes(), answers(1));
    }
}
