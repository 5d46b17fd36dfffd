//! The two directions of a follower's channel.

use std::sync::{Arc, Mutex};

use bytes::BytesMut;
use codeswarm_follower::wire::{Decoder, Encoder};
use codeswarm_protocol::frame::{Downward, Ticket, Upward};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval_at};

use super::locked;
use crate::liveness::{Liveness, PING_EVERY};

/// Bytes that are gathered before a write, where that many are ready.
const GATHERED: usize = 256 * 1024;

/// Bytes that a read makes room for.
const BLOCK: usize = 256 * 1024;

/// Our own pings have tickets from here on; the router's are below.
const FIRST_PING: u64 = 1 << 63;

/// Why a channel's stream does not go on.
#[derive(Debug)]
pub(super) enum Stop {
    /// It ended.
    Ended,
    /// What came is not frames.
    Wire(String),
    /// The other end is there no more, though nobody says so: how that shows.
    Silent(&'static str),
    /// Nobody takes the events any more.
    NobodyListens,
}

/// Hands on what the follower says until there is no more.
pub(super) async fn read(
    mut stdout: impl AsyncRead + Unpin,
    mut decoder: Decoder<Upward>,
    mut buffer: BytesMut,
    events: mpsc::Sender<Upward>,
    alive: Arc<Mutex<Liveness>>,
) -> Stop {
    loop {
        loop {
            let event = match decoder.decode(&mut buffer) {
                Ok(Some(Upward::Pong { ticket })) if ticket.0 >= FIRST_PING => continue,
                Ok(Some(event)) => event,
                Ok(None) => break,
                Err(error) => return Stop::Wire(error.to_string()),
            };
            let event = match events.try_send(event) {
                Ok(()) => continue,
                Err(mpsc::error::TrySendError::Full(event)) => event,
                Err(mpsc::error::TrySendError::Closed(_)) => return Stop::NobodyListens,
            };
            locked(&alive).handing_on();
            if events.send(event).await.is_err() {
                return Stop::NobodyListens;
            }
            locked(&alive).reading(Instant::now());
        }
        if buffer.is_empty() && buffer.capacity() < BLOCK {
            // The bodies that were cut from it keep what they need.
            buffer = BytesMut::with_capacity(BLOCK);
        }
        match stdout.read_buf(&mut buffer).await {
            Ok(0) | Err(_) => return Stop::Ended,
            Ok(_) => locked(&alive).heard(),
        }
    }
}

/// Sends commands, and pings beside them, until there are no more commands; then ends the follower's input.
pub(super) async fn write(
    mut stdin: impl AsyncWrite + Unpin,
    mut commands: mpsc::Receiver<Downward>,
    alive: Arc<Mutex<Liveness>>,
) {
    let mut encoder = Encoder::new();
    let mut out = BytesMut::new();
    let mut clock = interval_at(Instant::now(), PING_EVERY);
    clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut ticket = FIRST_PING;
    loop {
        let mut ping = false;
        let mut next = tokio::select! {
            command = commands.recv() => match command {
                Some(command) => Some(command),
                None => break,
            },
            _ = clock.tick() => {
                ping = true;
                ticket += 1;
                Some(Downward::Ping { ticket: Ticket(ticket) })
            }
        };
        while let Some(command) = next {
            if let Err(error) = encoder.encode(&command, &mut out) {
                tracing::error!(%error, "a command could not be sent and is dropped");
            }
            next = (out.len() < GATHERED).then(|| commands.try_recv().ok()).flatten();
        }
        while !out.is_empty() {
            locked(&alive).writing(Instant::now());
            // One that cannot be written to has also ended its output, which tells more.
            match stdin.write_buf(&mut out).await {
                Ok(0) | Err(_) => return,
                Ok(_) => {}
            }
        }
        locked(&alive).written(Instant::now(), ping);
        if out.capacity() > 4 * GATHERED {
            out = BytesMut::new();
        }
    }
    let _ended_already = stdin.shutdown().await;
}
