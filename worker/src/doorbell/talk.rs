//! One connection to the follower: the hello, then rings both ways. A server that does not know the answer, sends what is no
//! line of ours, or too many, is let go.

use std::time::Duration;

use codeswarm_mailbox::Rings;
use codeswarm_mailbox::doorbell::Doorbell;
use codeswarm_protocol::Place;
use codeswarm_protocol::doorbell::{Line, Ring, Splitter, WhichBox};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout, timeout_at};

/// How long the answer to a hello may take.
const ANSWER: Duration = Duration::from_secs(5);

/// How long the system may take to take a line.
const TAKEN: Duration = Duration::from_secs(5);

/// How often the follower is asked whether it lives, and does not stand still. That its host is gone the system finds sooner
/// (`ends_with_its_host` in mailbox/src/doorbell.rs), without waking anybody.
const PING: Duration = Duration::from_secs(30);

/// It is heard at least so often.
const SILENCE: Duration = Duration::from_secs(50);

/// Rings are not sent more often; what comes meanwhile is said with the next one.
const APART: Duration = Duration::from_millis(10);

/// More lines between two pings are nothing that a follower sends.
const LINES: u32 = 10_000;

const NOT_OURS: &str = "what came is no ring for this worker";

/// A connection whose other end is the follower.
pub struct Talk<S> {
    stream: S,
    splitter: Splitter,
    /// What came right behind the welcome.
    behind: Vec<Vec<u8>>,
}

/// Says hello; `None` if what answers is not the follower.
pub async fn hello<S: AsyncRead + AsyncWrite + Unpin>(
    mut stream: S,
    doorbell: &Doorbell,
    place: &Place,
) -> Option<Talk<S>> {
    let hello = Line::Hello {
        token: doorbell.token.clone(),
        place: place.clone(),
    };
    let until = Instant::now() + ANSWER;
    timeout_at(until, stream.write_all(&hello.to_line())).await.ok()?.ok()?;
    let mut splitter = Splitter::default();
    let mut data = [0; 256];
    let (mut answer, mut behind) = (None, Vec::new());
    while answer.is_none() {
        let count = timeout_at(until, stream.read(&mut data)).await.ok()?.ok()?;
        let data = data.get(..count).filter(|data| !data.is_empty())?;
        let lines = |line: &[u8]| {
            match answer {
                None => answer = Some(Line::parse(line)),
                Some(_) => behind.push(line.to_vec()),
            }
            true
        };
        splitter.feed(data, lines).ok()?;
    }
    match answer {
        Some(Ok(Line::Welcome { answer })) if answer.is(&doorbell.answer) => Some(Talk {
            stream,
            splitter,
            behind,
        }),
        _ => None,
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Talk<S> {
    /// Tells `rings` of the inbox, and the follower of the outbox, until the connection ends; answers why.
    pub async fn go_on(mut self, place: &Place, rings: &Rings, outbox: &mut watch::Receiver<u64>) -> &'static str {
        // What was said before this connection is said anew.
        outbox.mark_changed();
        let mut may_ring = Instant::now();
        let mut ping = Instant::now() + PING;
        let mut heard = Instant::now();
        let mut lines = 0_u32;
        let mut data = [0; 1024];
        let understood = |line: &[u8]| match Line::parse(line) {
            Ok(Line::Ring(ring)) if ring.which == WhichBox::Inbox && ring.place == *place => {
                rings.rang(place, ring.size);
                true
            }
            Ok(Line::Pong) => true,
            _ => false,
        };
        if !self.behind.iter().all(|line| understood(line)) {
            return NOT_OURS;
        }
        loop {
            tokio::select! {
                read = timeout_at(heard + SILENCE, self.stream.read(&mut data)) => {
                    let data = match read {
                        Ok(Ok(count)) if count > 0 => data.get(..count).unwrap_or_default(),
                        Ok(_) => return "the follower has closed it",
                        Err(_) => return "the follower does not answer",
                    };
                    heard = Instant::now();
                    let mut ours = true;
                    let fed = self.splitter.feed(data, |line| {
                        lines += 1;
                        ours = understood(line);
                        ours
                    });
                    if fed.is_err() || !ours {
                        return NOT_OURS;
                    }
                    if lines > LINES {
                        return "the follower rings without end";
                    }
                }
                Some(size) = next_size(outbox, may_ring) => {
                    let (which, place) = (WhichBox::Outbox, place.clone());
                    if size > 0 && !self.say(&Line::Ring(Ring { which, place, size })).await {
                        return "the follower takes nothing";
                    }
                    may_ring = Instant::now() + APART;
                }
                () = sleep_until(ping) => {
                    if !self.say(&Line::Ping).await {
                        return "the follower takes nothing";
                    }
                    lines = 0;
                    ping = Instant::now() + PING;
                }
            }
        }
    }

    /// Whether it was taken.
    async fn say(&mut self, line: &Line) -> bool {
        matches!(timeout(TAKEN, self.stream.write_all(&line.to_line())).await, Ok(Ok(())))
    }
}

/// The outbox's next size, not before that moment.
async fn next_size(outbox: &mut watch::Receiver<u64>, not_before: Instant) -> Option<u64> {
    sleep_until(not_before).await;
    outbox.changed().await.ok()?;
    Some(*outbox.borrow_and_update())
}
