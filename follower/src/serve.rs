//! The follower as a process: frames in on one descriptor, frames out on another, and an end that always comes: when the
//! input ends, when nobody takes the output, or when nothing was heard for too long. So no follower is left behind on a
//! login node.

use std::io::{self, PipeReader};
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use bytes::BytesMut;
use codeswarm_protocol::frame::{Downward, Upward};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use tokio::runtime::Handle;
use tokio::signal::unix::{self, SignalKind};
use tokio::sync::{mpsc, oneshot};

use crate::config::{FollowerConfig, FollowerError};
use crate::lines::write_all;
use crate::wire::{Decoder, Encoder, WireError};
use crate::{Follower, spawn};

/// How long what was taken may still be finished after the input has ended.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// Bytes that are gathered before a write, where that many are ready.
const GATHERED: usize = 256 * 1024;

/// Why a follower's process could not begin or go on.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// It did not start.
    #[error(transparent)]
    Start(#[from] FollowerError),
    /// The system gives no thread, no timer, no second descriptor.
    #[error("the system refuses what a follower needs: {0}")]
    System(#[source] io::Error),
    /// The input is no stream of frames.
    #[error("the frames on standard input do not read: {0}")]
    Input(#[from] WireError),
    /// The input could not be read.
    #[error("standard input could not be read: {0}")]
    Read(#[source] io::Error),
}

/// Why a follower's process ended as it should.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// The input has ended.
    InputEnded,
    /// Nothing was heard for the whole of the ping timeout, or nothing could be done about what was heard.
    Silence,
    /// Nobody takes the output any more.
    OutputClosed,
    /// A signal asked for it (SIGTERM, SIGINT, SIGHUP).
    Signal,
}

/// Follows a mailbox for whoever speaks on `input` and listens on `output`, until one of them is gone.
///
/// # Errors
/// It cannot start, or what comes in is not frames.
pub fn serve(config: FollowerConfig, silence: Duration, input: OwnedFd, output: OwnedFd) -> Result<Ending, ServeError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(ServeError::System)?;
    let ending = runtime.block_on(converse(config, silence, input, output));
    // A look that hangs in a filesystem must not keep the process.
    runtime.shutdown_background();
    ending
}

async fn converse(
    config: FollowerConfig,
    silence: Duration,
    input: OwnedFd,
    output: OwnedFd,
) -> Result<Ending, ServeError> {
    // Before anything is said: who has heard the greeting may signal.
    let signal = signal().map_err(ServeError::System)?;
    let Follower {
        commands,
        events,
        mut task,
    } = spawn(config)?;
    let (asked, ask) = io::pipe().map_err(ServeError::System)?;
    let input = Input {
        frames: input,
        asked,
        silence,
        runtime: Handle::current(),
    };
    let mut heard = in_a_thread("frames-in", move || input.hear(&commands))?;
    let said = in_a_thread("frames-out", move || say(&output, events))?;
    let panicked = || ServeError::System(io::Error::other("the thread that reads commands has panicked"));
    let ending = tokio::select! {
        heard = &mut heard => heard.unwrap_or_else(|_| Err(panicked())),
        _ = said => Ok(Ending::OutputClosed),
        _ = &mut task => Ok(Ending::OutputClosed),
        () = signal => {
            // The thread that reads lets go of the commands, and so the follower ends in order.
            drop(ask);
            heard.await.unwrap_or_else(|_| Err(panicked()))
        }
    };
    if !task.is_finished() && tokio::time::timeout(LAST_WORDS, task).await.is_err() {
        tracing::warn!("what was begun could not be finished in {LAST_WORDS:?}; ending without it");
    }
    ending
}

/// Runs `work` in a named thread; its result comes through the channel.
fn in_a_thread<T: Send + 'static>(
    name: &str,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<oneshot::Receiver<T>, ServeError> {
    let (done, result) = oneshot::channel();
    std::thread::Builder::new()
        .name(name.to_owned())
        .spawn(move || {
            let _nobody_waits = done.send(work());
        })
        .map_err(ServeError::System)?;
    Ok(result)
}

/// Ends with the first signal that asks for an end.
fn signal() -> io::Result<impl Future<Output = ()>> {
    let mut terminate = unix::signal(SignalKind::terminate())?;
    let mut interrupt = unix::signal(SignalKind::interrupt())?;
    let mut hang_up = unix::signal(SignalKind::hangup())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
            _ = hang_up.recv() => {}
        }
    })
}

/// Where commands come from.
struct Input {
    frames: OwnedFd,
    /// Its other end is closed when the process is asked to end.
    asked: PipeReader,
    silence: Duration,
    runtime: Handle,
}

/// What there is to read.
enum Ready {
    Frames,
    Ending(Ending),
}

impl Input {
    /// Reads commands until the input ends or is silent, or the process is asked to end.
    fn hear(&self, commands: &mpsc::Sender<Downward>) -> Result<Ending, ServeError> {
        let mut decoder = Decoder::<Downward>::bare();
        let mut buffer = BytesMut::new();
        let mut block = vec![0; 64 * 1024];
        loop {
            if let Ready::Ending(ending) = self.wait().map_err(ServeError::Read)? {
                return Ok(ending);
            }
            let count = match rustix::io::read(&self.frames, block.as_mut_slice()) {
                Ok(0) => {
                    if !decoder.at_a_border(&buffer) {
                        tracing::warn!("the input ended inside a frame, which is dropped");
                    }
                    return Ok(Ending::InputEnded);
                }
                Ok(count) => count,
                Err(Errno::INTR | Errno::AGAIN) => continue,
                Err(error) => return Err(ServeError::Read(error.into())),
            };
            buffer.extend_from_slice(block.get(..count).unwrap_or_default());
            while let Some(command) = decoder.decode(&mut buffer)? {
                if let Some(ending) = self.hand_on(command, commands) {
                    return Ok(ending);
                }
            }
            if buffer.is_empty() {
                // The bodies that were cut from it keep what they need.
                buffer = BytesMut::new();
            }
        }
    }

    /// Hands a command to the follower, which may have to wait with it; not for ever, or the end of the input would go
    /// unnoticed.
    fn hand_on(&self, command: Downward, commands: &mpsc::Sender<Downward>) -> Option<Ending> {
        let taken = async { tokio::time::timeout(self.silence, commands.send(command)).await };
        match self.runtime.block_on(taken) {
            Ok(Ok(())) => None,
            Ok(Err(_)) => Some(Ending::OutputClosed),
            Err(_) => {
                tracing::error!(
                    "no command was taken for {:?}: the mailbox's filesystem or the reader of our output stands still",
                    self.silence
                );
                Some(Ending::Silence)
            }
        }
    }

    /// Waits for input, for at most the silence that is allowed.
    fn wait(&self) -> io::Result<Ready> {
        let timeout = Timespec::try_from(self.silence).map_err(io::Error::other)?;
        loop {
            let mut either = [
                PollFd::new(&self.asked, PollFlags::IN),
                PollFd::new(&self.frames, PollFlags::IN),
            ];
            match poll(&mut either, Some(&timeout)) {
                Ok(0) => return Ok(Ready::Ending(Ending::Silence)),
                Ok(_) if !either[0].revents().is_empty() => return Ok(Ready::Ending(Ending::Signal)),
                Ok(_) => return Ok(Ready::Frames),
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

/// Writes events until there are no more, or nobody reads them.
fn say(output: &OwnedFd, mut events: mpsc::Receiver<Upward>) {
    let mut encoder = Encoder::new();
    let mut out = BytesMut::new();
    Encoder::greet(&mut out);
    while let Some(event) = events.blocking_recv() {
        let mut next = Some(event);
        while let Some(event) = next {
            if let Err(error) = encoder.encode(&event, &mut out) {
                tracing::error!(%error, "an event could not be sent and is dropped");
            }
            next = if out.len() < GATHERED {
                events.try_recv().ok()
            } else {
                None
            };
        }
        if let Err(error) = write_all(output.as_fd(), &out) {
            if error.kind() != io::ErrorKind::BrokenPipe {
                tracing::error!(%error, "standard output could not be written");
            }
            return;
        }
        out.clear();
        if out.capacity() > 4 * GATHERED {
            out = BytesMut::new();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};

    use codeswarm_protocol::frame::Ticket;
    use codeswarm_protocol::ids::Place;

    use super::*;
    use crate::wire::Frame;

    fn encoded<F: Frame>(frame: &F) -> BytesMut {
        let mut out = BytesMut::new();
        Encoder::new().encode(frame, &mut out).unwrap();
        out
    }

    /// What the reading of commands comes to when two of them are said and then the input stays open; `silence` is
    /// how long the follower may take none.
    fn heard(commands: mpsc::Sender<Downward>, silence: Duration) -> Ending {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let (frames, mut router) = io::pipe().unwrap();
        let (asked, _ask) = io::pipe().unwrap();
        for number in 0..2 {
            let ticket = Ticket(number);
            router.write_all(&encoded(&Downward::Ping { ticket })).unwrap();
        }
        let input = Input {
            frames: frames.into(),
            asked,
            silence,
            runtime: runtime.handle().clone(),
        };
        input.hear(&commands).unwrap()
    }

    #[test]
    fn commands_that_are_not_taken_end_the_process_and_so_does_a_follower_that_has_ended() {
        let (commands, mut taken) = mpsc::channel(1);
        assert_eq!(heard(commands, Duration::from_millis(50)), Ending::Silence);
        assert_eq!(taken.try_recv(), Ok(Downward::Ping { ticket: Ticket(0) }));
        assert!(taken.try_recv().is_err(), "the second had no room");

        let (commands, taken) = mpsc::channel(1);
        drop(taken);
        assert_eq!(heard(commands, Duration::from_secs(3600)), Ending::OutputClosed);
    }

    #[test]
    fn an_event_of_many_bytes_goes_out_whole_and_so_does_what_follows() {
        let mut state = 1_u64;
        let noise = std::iter::repeat_with(|| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            state.to_be_bytes()[0]
        });
        let chunk = Upward::Chunk {
            place: Place::from_stem("7_00").unwrap(),
            offset: 0,
            data: noise.take(5 * GATHERED).collect::<Vec<u8>>().into(),
        };
        let said = [chunk, Upward::Pong { ticket: Ticket(1) }];
        let (mut hearing, output) = io::pipe().unwrap();
        let (events, taken) = mpsc::channel(2);
        for event in said.clone() {
            events.try_send(event).unwrap();
        }
        drop(events);
        let saying = std::thread::spawn(move || say(&output.into(), taken));
        let mut bytes = Vec::new();
        hearing.read_to_end(&mut bytes).unwrap();
        saying.join().unwrap();
        let (mut decoder, mut buffer) = (Decoder::<Upward>::behind_a_greeting(), BytesMut::from(bytes.as_slice()));
        for event in said {
            assert_eq!(decoder.decode(&mut buffer), Ok(Some(event)));
        }
        assert!(decoder.at_a_border(&buffer));
    }
}
