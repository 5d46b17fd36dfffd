//! Starting a follower, and handing each command to whoever carries it out.

use std::io;
use std::time::Instant;

use codeswarm_mailbox::{Lease, Limits, Mailbox, Wakes, WatchMode};
use codeswarm_protocol::doorbell::Listen;
use codeswarm_protocol::frame::{Downward, Upward};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval};

use crate::config::{FollowerConfig, FollowerError};
use crate::doorbell::Doorbell;
use crate::history::{self, Request};
use crate::holding::Holding;
use crate::inboxes::Inboxes;
use crate::stalls::{self, Stalls};
use crate::tenancy::Tenancy;
use crate::watching::{Order, Watching};

/// Commands that wait for the follower.
const COMMANDS: usize = 1024;

/// Looks at once on a local filesystem, where none waits, and on a network one, where each waits for a server.
const LANES: (usize, usize) = (2, 8);

/// A running follower.
///
/// Whoever holds it takes `events` all the time, also while sending commands: what is not taken stops the reading, and
/// before long the commands. It ends when `commands` is dropped (what was taken is then finished and answered, and
/// `events` ends after the last answer) or when `events` is dropped.
#[derive(Debug)]
pub struct Follower {
    /// What it is told.
    pub commands: mpsc::Sender<Downward>,
    /// What it says; the first is [`Upward::Hello`].
    pub events: mpsc::Receiver<Upward>,
    /// Ends when the follower has ended and given back the lease.
    pub task: JoinHandle<()>,
}

/// Starts a follower in the current tokio runtime. It makes the mailbox's folders and takes its lease, which is file
/// work: on a network filesystem call it where blocking is allowed (`spawn_blocking`).
///
/// # Errors
/// The mailbox is held by another follower, is not safe, or cannot be made or watched.
///
/// # Panics
/// Outside a tokio runtime.
pub fn spawn(config: FollowerConfig) -> Result<Follower, FollowerError> {
    spawn_on(Mailbox::at(&config.root), config)
}

fn spawn_on(mailbox: Mailbox, config: FollowerConfig) -> Result<Follower, FollowerError> {
    mailbox.create()?;
    let host = host();
    let pid = std::process::id();
    let lease = match config.lease {
        true => Some(Lease::take(&mailbox, &host, pid, "codeswarm follower")?),
        false => None,
    };
    let wakes = wakes(&config, &mailbox)?;
    let polls = wakes.why_polling().is_some();
    let listen = if config.lease { config.doorbell } else { Listen::Off };
    let opened = Doorbell::open(listen, polls, &mailbox, wakes.rings(), &host);
    let (event, events) = mpsc::channel(config.events.max(1));
    let (commands, command) = mpsc::channel(COMMANDS);
    let root = std::fs::canonicalize(mailbox.root()).unwrap_or_else(|_| mailbox.root().to_owned());
    let _has_room = event.try_send(Upward::Hello {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        host,
        pid,
        root: root.to_string_lossy().into_owned(),
    });
    let lanes = if mailbox.filesystem().is_network() {
        LANES.1
    } else {
        LANES.0
    };
    let (doorbell, hearing) = opened.unwrap_or_else(|none| {
        tracing::warn!("{none}");
        let error = none.to_string();
        let _has_room = event.try_send(Upward::Trouble { place: None, error });
        (Doorbell::default(), None)
    });
    let (orders, order) = mpsc::channel(COMMANDS);
    let (requests, request) = mpsc::channel(COMMANDS);
    let stalls = Stalls::default();
    let by_asking = mailbox.filesystem().is_network();
    let holding = Holding::begin(by_asking && lease.is_some(), Instant::now());
    let inboxes = Inboxes::start(&mailbox, &holding, config.open_inboxes, &stalls, &doorbell, &event)
        .map_err(FollowerError::System)?;
    let watching = Watching::new(mailbox.clone(), wakes, lanes, config.chunk_bytes, stalls.clone());
    let watching = watching.rung_by(doorbell.clone());
    let watching = in_its_thread(watching, order, event.clone()).map_err(FollowerError::System)?;
    let history = history::answer(mailbox.clone(), request, stalls.clone(), event.clone());
    let desk = Desk {
        orders,
        requests,
        inboxes,
        events: event,
    };
    let task = tokio::spawn(run(
        command,
        desk,
        Parts {
            watching,
            history: tokio::spawn(history),
            tenancy: Tenancy::begin(lease, by_asking, holding),
            stalls,
            doorbell: Hearing {
                mailbox,
                doorbell,
                task: hearing,
            },
        },
    ));
    Ok(Follower { commands, events, task })
}

/// Runs the watching in a thread of its own; how it ended comes through the channel.
fn in_its_thread(
    watching: Watching,
    orders: mpsc::Receiver<Order>,
    events: mpsc::Sender<Upward>,
) -> io::Result<oneshot::Receiver<Result<(), String>>> {
    let (ended, how) = oneshot::channel();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    std::thread::Builder::new().name("following".into()).spawn(move || {
        let end = runtime.block_on(watching.run(orders, events));
        // A look that hangs in a filesystem is not waited for.
        runtime.shutdown_background();
        let _nobody_asks = ended.send(end.map_err(|error| error.to_string()));
    })?;
    Ok(how)
}

fn wakes(config: &FollowerConfig, mailbox: &Mailbox) -> Result<Wakes, FollowerError> {
    let cannot = |reason| FollowerError::Watch {
        root: config.root.clone(),
        reason,
    };
    let folders = [mailbox.outbox_folder(), mailbox.archive_folder()];
    let kind = mailbox.filesystem();
    let wakes = Wakes::new(config.watch, kind, &folders).map_err(cannot)?;
    let Some(why) = wakes.why_polling() else {
        return Ok(wakes);
    };
    tracing::info!(why, "outboxes are polled");
    let limits = Limits {
        empty_looks_per_second: config.lookups_per_second,
        ..Limits::default()
    };
    Wakes::with_limits(WatchMode::Poll, kind, &folders, Some(limits)).map_err(cannot)
}

fn host() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// Where commands are handed in.
struct Desk {
    orders: mpsc::Sender<Order>,
    requests: mpsc::Sender<Request>,
    inboxes: Inboxes,
    events: mpsc::Sender<Upward>,
}

impl Desk {
    /// Says what there is room for; what the consumer has no room for, it would not see in time.
    fn tell(&self, troubles: Vec<Upward>) {
        for trouble in troubles {
            tracing::warn!(?trouble, "the filesystem stalls");
            if self.events.try_send(trouble).is_err() {
                return;
            }
        }
    }

    /// Hands a command to whoever carries it out; waits while too many wait there. One whose taker has gone is dropped:
    /// the follower is about to end.
    async fn hand_in(&self, command: Downward) {
        use crate::errand::Errand;
        let _ending_otherwise: bool = match Errand::from(command) {
            Errand::Order(order) => self.orders.send(order).await.is_ok(),
            Errand::Append(line) => self.inboxes.append(line).await,
            Errand::Request(request) => self.requests.send(request).await.is_ok(),
            Errand::Ping(ticket) => self.events.send(Upward::Pong { ticket }).await.is_ok(),
        };
    }
}

/// What works beside the desk.
struct Parts {
    watching: oneshot::Receiver<Result<(), String>>,
    history: JoinHandle<()>,
    tenancy: Tenancy,
    stalls: Stalls,
    doorbell: Hearing,
}

/// The doorbell, and the task that hears it.
struct Hearing {
    mailbox: Mailbox,
    doorbell: Doorbell,
    task: Option<JoinHandle<()>>,
}

impl Hearing {
    /// Nobody hears it any more. If the mailbox is still `ours`, workers are told.
    async fn end(self, ours: bool) {
        let Self {
            mailbox,
            doorbell,
            task,
        } = self;
        let Some(task) = task else { return };
        task.abort();
        if ours
            && tokio::task::spawn_blocking(move || doorbell.withdraw(&mailbox))
                .await
                .is_err()
        {
            tracing::error!("taking back the doorbell has panicked");
        }
    }
}

/// Takes commands until there are no more, nobody listens, or the follower may not go on; then ends in order.
async fn run(mut commands: mpsc::Receiver<Downward>, desk: Desk, mut parts: Parts) {
    let mut clock = interval(stalls::LONG / 2);
    clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut ours = true;
    let trouble = loop {
        tokio::select! {
            command = commands.recv() => match command {
                Some(command) => desk.hand_in(command).await,
                None => break None,
            },
            () = desk.events.closed() => break None,
            _ = clock.tick() => {
                desk.tell(parts.stalls.overdue(Instant::now()));
                if let Some(error) = parts.doorbell.doorbell.trouble(Instant::now()) {
                    tracing::warn!("{error}");
                    let _has_room = desk.events.try_send(Upward::Trouble { place: None, error });
                }
            }
            ended = &mut parts.watching => break match ended {
                Ok(Ok(())) => None,
                Ok(Err(error)) => Some(format!("the follower has a fault and ends: {error}")),
                Err(_) => Some("the follower has a fault and ends: the thread that follows has panicked".into()),
            },
            lost = parts.tenancy.lost() => {
                ours = false;
                break Some(format!("{lost}; this follower ends"));
            }
        }
    };
    let Desk {
        orders,
        requests,
        inboxes,
        events,
    } = desk;
    if let Some(error) = trouble {
        tracing::error!("{error}");
        let _nobody_listens = events.send(Upward::Trouble { place: None, error }).await;
    }
    drop((commands, orders, requests, events));
    // Only when nothing writes any more does the lease go back.
    if tokio::task::spawn_blocking(|| inboxes.finish()).await.is_err() || parts.history.await.is_err() {
        tracing::error!("a part of the follower has panicked");
    }
    parts.doorbell.end(ours).await;
    parts.tenancy.give_back().await;
    if !parts.watching.is_terminated() {
        let _told_by_itself = parts.watching.await;
    }
}

#[cfg(test)]
mod tests;
