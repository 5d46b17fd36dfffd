//! The doorbell, the follower's side: workers connect and ring when their outbox has grown, and are rung for when their inbox
//! has. Hints alone go over it: what is heard changes when a file is looked at, and never what is read.
//!
//! Everything is bounded: connections, the time for a hello, a line, lines a second ([`guest`]). For each worker only the
//! latest size is kept, so nobody ever waits for one that does not listen.

mod addresses;
pub(crate) mod guest;
mod hearing;
mod tally;

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use codeswarm_mailbox::{Mailbox, MailboxError, Rings, doorbell};
use codeswarm_protocol::doorbell::Listen;
use codeswarm_protocol::ids::Place;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::descriptors;
use tally::Tally;

/// Connections beside one for each file that is watched: workers of jobs that are not watched yet, or not any more.
const BESIDE: usize = 64;

/// Open files that the rest of the process may need: inboxes and outboxes that are held open, and all that is read back.
const OTHERS: usize = 512;

/// The doorbell of a follower. Clones share it; one that is off does nothing.
#[derive(Debug, Clone, Default)]
pub struct Doorbell(Option<Arc<Shared>>);

#[derive(Debug)]
struct Shared {
    told: doorbell::Doorbell,
    rings: Rings,
    workers: Mutex<Workers>,
    /// How many outboxes are watched.
    watched: AtomicUsize,
    /// How many connections the system allows this process, and whether it was told that they are too few.
    most: usize,
    is_short: AtomicBool,
    tally: Mutex<Tally>,
}

/// Who is connected.
#[derive(Debug, Default)]
struct Workers {
    /// Each connection has another number.
    numbers: u64,
    here: HashMap<Place, Here>,
}

/// The connection of one worker.
#[derive(Debug)]
struct Here {
    number: u64,
    /// Its inbox's size, to be passed on. When a newer connection takes its place, this ends.
    inbox: watch::Sender<u64>,
}

/// Why there is no doorbell.
#[derive(Debug, thiserror::Error)]
pub enum NoDoorbell {
    /// The system does not let us listen there.
    #[error(
        "cannot listen for rings at {address}: {source}; the mailbox is polled (cluster.doorbell says where to listen)"
    )]
    Listen {
        /// Where.
        address: SocketAddr,
        /// The system's word.
        source: io::Error,
    },
    /// The system gives no random numbers.
    #[error("the system gives no random numbers for the doorbell: {0}; the mailbox is polled")]
    Random(#[source] io::Error),
    /// Workers cannot be told.
    #[error("workers cannot be told where to ring: {0}; the mailbox is polled")]
    Tell(#[from] MailboxError),
}

impl Doorbell {
    /// Listens where `listen` says, and writes that into the mailbox, which must be ours. `polls`: files must be looked at,
    /// since nothing else tells of growth. What an earlier follower has left in the mailbox is taken back where this one
    /// does not listen. The task hears whoever rings; it ends when it is aborted.
    ///
    /// # Errors
    /// There is no doorbell, and all goes on without.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn open(
        listen: Listen,
        polls: bool,
        mailbox: &Mailbox,
        rings: Rings,
        host: &str,
    ) -> Result<(Self, Option<JoinHandle<()>>), NoDoorbell> {
        let opened = match (listen, polls) {
            (Listen::Off, _) | (Listen::Auto, false) => None,
            (Listen::Auto, true) => Some(anywhere()),
            (Listen::At(address), _) => Some(at(address)),
        };
        let Some(opened) = opened else {
            doorbell::clear(mailbox)?;
            return Ok((Self(None), None));
        };
        let (listener, addresses) =
            opened.or_else(|error| doorbell::clear(mailbox).map_err(Into::into).and(Err(error)))?;
        tracing::info!(?addresses, "listening for rings of workers");
        let told =
            doorbell::Doorbell::new(addresses, host.to_owned(), std::process::id()).map_err(NoDoorbell::Random)?;
        doorbell::write(mailbox, &told)?;
        let shared = Arc::new(Shared {
            told,
            rings,
            workers: Mutex::default(),
            watched: AtomicUsize::new(0),
            most: descriptors::raise_limit().saturating_sub(OTHERS),
            is_short: AtomicBool::new(false),
            tally: Mutex::default(),
        });
        let hearing = tokio::spawn(hearing::listen(listener, shared.clone()));
        Ok((Self(Some(shared)), Some(hearing)))
    }

    /// This worker's inbox has so many bytes, and they are durable.
    pub fn ring(&self, place: &Place, size: u64) {
        if let Some(shared) = &self.0
            && let Some(here) = shared.workers().here.get(place)
        {
            here.inbox.send_replace(size);
        }
    }

    /// So many outboxes are watched now.
    pub fn watched(&self, outboxes: usize) {
        if let Some(shared) = &self.0 {
            shared.watched.store(outboxes, Ordering::Relaxed);
        }
    }

    /// What was not listened to, when that is to be told; and once that there are more workers than can be.
    pub fn trouble(&self, now: Instant) -> Option<String> {
        let shared = self.0.as_ref()?;
        shared.shortage().or_else(|| shared.tally().tell(now))
    }

    /// Workers need not try any more. Blocks; the mailbox must still be ours.
    pub fn withdraw(&self, mailbox: &Mailbox) {
        if let Some(shared) = &self.0
            && let Err(error) = doorbell::withdraw(mailbox, &shared.told)
        {
            tracing::warn!(%error, "workers could not be told that nobody hears their rings any more");
        }
    }
}

impl Shared {
    fn workers(&self) -> MutexGuard<'_, Workers> {
        self.workers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tally(&self) -> MutexGuard<'_, Tally> {
        self.tally.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many connections there may be.
    fn room(&self) -> usize {
        self.most.min(self.watched.load(Ordering::Relaxed) + BESIDE)
    }

    fn shortage(&self) -> Option<String> {
        let (most, watched) = (self.most, self.watched.load(Ordering::Relaxed));
        if watched <= most || self.is_short.swap(true, Ordering::Relaxed) {
            return None;
        }
        Some(format!(
            "{} of {watched} workers cannot be connected to the doorbell, since the system lets the follower have no more than {} files open; \
             their files are polled, so their prompts and answers come later; a higher hard limit (ulimit -Hn) where the follower runs \
             would do it",
            watched - most,
            most + OTHERS
        ))
    }

    /// A worker has said hello: from now on it is rung for. An earlier connection of its ends.
    fn arrives(&self, place: &Place) -> (u64, watch::Receiver<u64>) {
        let (inbox, size) = watch::channel(0);
        let mut workers = self.workers();
        workers.numbers += 1;
        let number = workers.numbers;
        workers.here.insert(place.clone(), Here { number, inbox });
        // Under the lock, so that an earlier connection's end cannot come after it.
        self.rings.connected(place);
        (number, size)
    }

    /// This connection has ended.
    fn leaves(&self, place: &Place, number: u64) {
        let mut workers = self.workers();
        if workers.here.get(place).is_some_and(|here| here.number == number) {
            workers.here.remove(place);
            self.rings.gone(place);
        }
    }
}

type Opened = (TcpListener, Vec<SocketAddr>);

/// Listens at one address, or at all of the host's if it names none.
fn at(address: SocketAddr) -> Result<Opened, NoDoorbell> {
    let cannot = |source| NoDoorbell::Listen { address, source };
    let listen = || {
        let listener = std::net::TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        Ok((TcpListener::from_std(listener)?, address))
    };
    let (listener, address) = listen().map_err(cannot)?;
    let addresses = match address.ip().is_unspecified() {
        true => addresses::of_this_host()
            .into_iter()
            .filter(|own| own.is_ipv4() || address.is_ipv6())
            .map(|own| SocketAddr::new(own, address.port()))
            .collect(),
        false => vec![address],
    };
    Ok((listener, addresses))
}

/// Listens at all addresses of this host, or at its loopback if it has no other.
fn anywhere() -> Result<Opened, NoDoorbell> {
    at(SocketAddr::new(where_to_listen(&addresses::of_this_host()), 0))
}

/// What reaches all of a host's `own` addresses, or those of IPv4 if it has such: a socket for both may be forbidden.
fn where_to_listen(own: &[IpAddr]) -> IpAddr {
    match own.iter().any(IpAddr::is_ipv4) {
        true => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        false if own.is_empty() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        false => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    }
}

#[cfg(test)]
mod tests;
