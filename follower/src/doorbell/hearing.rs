//! Taking connections and hearing them out: the sockets around [`super::guest`].

use std::io;
use std::sync::Arc;
use std::time::Duration;

use codeswarm_protocol::doorbell::{Line, MAX_LINE, Ring, WhichBox};
use codeswarm_protocol::ids::Place;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::Shared;
use super::guest::{Act, Fault, Guest};

/// Who has connected says hello in this time.
const HELLO: Duration = Duration::from_secs(5);

/// So many may be about to say hello.
const ARRIVING: usize = 256;

/// A worker is heard at least so often, or it stands still: it sends a ping every 30 s or so. That its host is gone the system
/// finds sooner.
const SILENCE: Duration = Duration::from_secs(75);

/// What is sent is taken in this time.
const TAKEN: Duration = Duration::from_secs(5);

/// A pause after a connection that could not be taken.
const PAUSE: Duration = Duration::from_millis(20);

/// Hears whoever connects, until it is aborted.
pub async fn listen(listener: TcpListener, shared: Arc<Shared>) {
    let listener = Arc::new(listener);
    let next = || {
        let listener = listener.clone();
        async move { listener.accept().await.map(|(stream, _)| with_patience(stream)) }
    };
    take(next, shared).await;
}

/// Without these all works, only later.
fn with_patience(stream: TcpStream) -> TcpStream {
    let _ = stream.set_nodelay(true);
    #[cfg(target_os = "linux")]
    let _ = codeswarm_mailbox::doorbell::ends_with_its_host(&stream);
    stream
}

/// Hears each connection that `next` brings. It may be asked again before it has brought one.
async fn take<S, F>(mut next: impl FnMut() -> F, shared: Arc<Shared>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    F: Future<Output = io::Result<S>>,
{
    let arriving = Arc::new(Semaphore::new(ARRIVING));
    let mut connections = JoinSet::new();
    loop {
        // While many are about to say hello, others wait in the system's queue: a thousand workers may come at once.
        let coming = async {
            let place = arriving.clone().acquire_owned().await;
            (place, next().await)
        };
        tokio::select! {
            coming = coming => match coming {
                (Ok(place), Ok(stream)) if connections.len() < shared.room() => {
                    drop(connections.spawn(attend(stream, shared.clone(), place)));
                }
                (_, Ok(_)) => refuse(&shared).await,
                (_, Err(error)) => {
                    tracing::debug!(%error, "a connection could not be taken");
                    sleep(PAUSE).await;
                }
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn refuse(shared: &Shared) {
    shared.tally().refused();
    sleep(PAUSE).await;
}

/// A worker that has said hello.
struct Worker {
    place: Place,
    number: u64,
    inbox: watch::Receiver<u64>,
}

/// One connection, from its beginning to its end.
async fn attend(mut stream: impl AsyncRead + AsyncWrite + Unpin, shared: Arc<Shared>, arriving: OwnedSemaphorePermit) {
    let mut worker = None;
    if let Err(fault) = hear_out(&mut stream, &shared, &mut worker, arriving).await {
        shared.tally().fault(fault);
    }
    if let Some(Worker { place, number, .. }) = worker {
        shared.leaves(&place, number);
    }
}

/// Hears a connection until it ends.
///
/// # Errors
/// It is ended because of what was heard.
async fn hear_out(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    shared: &Shared,
    worker: &mut Option<Worker>,
    arriving: OwnedSemaphorePermit,
) -> Result<(), Fault> {
    let mut guest = Guest::new(Instant::now().into_std());
    let mut arriving = Some(arriving);
    let mut data = [0; MAX_LINE];
    let mut acts = Vec::new();
    let mut deadline = Instant::now() + HELLO;
    loop {
        tokio::select! {
            read = timeout_at(deadline, stream.read(&mut data)) => {
                let count = match read {
                    Ok(Ok(count)) if count > 0 => count,
                    Err(_) if worker.is_none() => return Err(Fault::Stranger),
                    _ => return Ok(()),
                };
                let now = Instant::now();
                let heard = guest.hear(data.get(..count).unwrap_or_default(), &shared.told.token, now.into_std(), &mut acts);
                for act in acts.drain(..) {
                    let answer = match act {
                        Act::Welcome(place) => {
                            drop(arriving.take());
                            // Before it is welcomed, so that nothing falls between its first look and the first ring.
                            let (number, inbox) = shared.arrives(&place);
                            *worker = Some(Worker { place, number, inbox });
                            Some(Line::Welcome { answer: shared.told.answer.clone() })
                        }
                        Act::Rang(size) => {
                            if let Some(worker) = &worker {
                                shared.rings.rang(&worker.place, size);
                            }
                            None
                        }
                        Act::Pong => Some(Line::Pong),
                        Act::Dropped(fault) => {
                            shared.tally().fault(fault);
                            None
                        }
                    };
                    if let Some(line) = answer && !say(stream, &line).await {
                        return Ok(());
                    }
                }
                heard?;
                if worker.is_some() {
                    deadline = now + SILENCE;
                }
            }
            ring = next_ring(worker) => {
                let Some(ring) = ring else { return Ok(()) };
                if !say(stream, &Line::Ring(ring)).await {
                    return Ok(());
                }
            }
        }
    }
}

/// The next ring for this worker; `None` when a newer connection has taken its place.
async fn next_ring(worker: &mut Option<Worker>) -> Option<Ring> {
    let Some(Worker { place, inbox, .. }) = worker else {
        return std::future::pending().await;
    };
    inbox.changed().await.ok()?;
    let size = *inbox.borrow_and_update();
    let (which, place) = (WhichBox::Inbox, place.clone());
    Some(Ring { which, place, size })
}

/// Whether it was taken.
async fn say(stream: &mut (impl AsyncWrite + Unpin), line: &Line) -> bool {
    matches!(timeout(TAKEN, stream.write_all(&line.to_line())).await, Ok(Ok(())))
}

#[cfg(test)]
mod tests;
