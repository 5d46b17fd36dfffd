//! The doorbell, the worker's side: a connection to the follower over which both say that a file has grown. Hints alone go
//! over it; without it all goes on by looking.

mod calling;
mod talk;

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use codeswarm_mailbox::{Mailbox, Rings, doorbell};
use codeswarm_protocol::Place;
use tokio::net::TcpStream;
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::{sleep, timeout};

use calling::{Calling, Outcome};

/// How long connecting to one address may take.
const CONNECTING: Duration = Duration::from_secs(2);

/// The task that keeps the connection. It ends with this.
#[derive(Debug)]
pub struct Doorbell {
    outbox: watch::Sender<u64>,
    /// What a person should know.
    pub notices: mpsc::Receiver<String>,
    task: JoinHandle<()>,
}

impl Doorbell {
    /// Looks in the mailbox for where to ring, now and again. `rings` hears of the inbox. Needs a Tokio runtime.
    pub fn start(mailbox: &Mailbox, place: &Place, rings: Rings) -> Self {
        let (outbox, size) = watch::channel(0);
        let (notice, notices) = mpsc::channel(1);
        let worker = Caller {
            mailbox: mailbox.clone(),
            place: place.clone(),
            rings,
            outbox: size,
        };
        Self {
            outbox,
            notices,
            task: tokio::spawn(worker.call(notice)),
        }
    }

    /// The outbox has so many bytes, and they are durable. Never waits; only the latest size is kept.
    pub fn ring(&self, size: u64) {
        self.outbox
            .send_if_modified(|said| std::mem::replace(said, size) != size);
    }
}

impl Drop for Doorbell {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Caller {
    mailbox: Mailbox,
    place: Place,
    rings: Rings,
    outbox: watch::Receiver<u64>,
}

impl Caller {
    async fn call(mut self, notices: mpsc::Sender<String>) {
        let mut calling = Calling::new(RandomState::new().hash_one(&self.place));
        loop {
            sleep(calling.pause()).await;
            let outcome = self.attempt().await;
            tracing::debug!(?outcome, "not connected to the doorbell");
            if let Some(message) = calling.ended(outcome) {
                tracing::warn!("{message}");
                let _nobody_asks = notices.send(message).await;
            }
        }
    }

    /// One attempt, and the connection that comes of it until it ends.
    async fn attempt(&mut self) -> Outcome {
        let mailbox = self.mailbox.clone();
        let doorbell = match spawn_blocking(move || doorbell::read(&mailbox)).await {
            Ok(Ok(Some(doorbell))) => doorbell,
            Ok(Err(error)) => {
                tracing::debug!(%error, "the doorbell's file cannot be read");
                return Outcome::Nobody;
            }
            // No word, or no thread to read it.
            Ok(Ok(None)) | Err(_) => return Outcome::Nobody,
        };
        let mut outcome = Outcome::Nobody;
        for address in &doorbell.addresses {
            let failed = match timeout(CONNECTING, connect(*address)).await {
                Ok(Ok(stream)) => match talk::hello(stream, &doorbell, &self.place).await {
                    Some(talk) => return self.connected(talk).await,
                    None => Outcome::Stranger,
                },
                Ok(Err(error)) if error.kind() == ErrorKind::ConnectionRefused => Outcome::Refused,
                Ok(Err(error)) => Outcome::NoWay(format!("{address}: {error}")),
                Err(_) => Outcome::NoWay(format!("{address} does not answer within {CONNECTING:?}")),
            };
            // One that was reached says more than those that were not.
            if matches!(outcome, Outcome::Nobody | Outcome::NoWay(_)) {
                outcome = failed;
            }
        }
        outcome
    }

    async fn connected(&mut self, talk: talk::Talk<TcpStream>) -> Outcome {
        let since = Instant::now();
        tracing::info!("connected to the follower's doorbell");
        self.rings.connected(&self.place);
        let why = talk.go_on(&self.place, &self.rings, &mut self.outbox).await;
        self.rings.gone(&self.place);
        tracing::info!(
            why,
            "the connection to the doorbell has ended; the inbox is looked at again"
        );
        Outcome::Lost(since.elapsed())
    }
}

async fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(address).await?;
    // Without these all works, only later.
    let _ = stream.set_nodelay(true);
    #[cfg(target_os = "linux")]
    let _ = doorbell::ends_with_its_host(&stream);
    Ok(stream)
}

#[cfg(test)]
mod tests;
