//! Keeps a link up: connects, brings the program there, starts the follower, and begins again whenever it ends.

use std::hash::{BuildHasher, RandomState};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use codeswarm_follower::{Follower, Listen, WatchMode};
use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use crate::backoff::Backoff;
use crate::channel::RemoteFollower;
use crate::deploy::{Binary, Program};
use crate::login::Login;
use crate::login_node::LoginNode;
use crate::session::Session;
use crate::trouble::{Trouble, TroubleKind};

/// Events that wait for whoever listens.
const EVENTS: usize = 16;

/// How long a mailbox may be held before that is told: our own follower of before ends when it has heard nothing for 9 s.
const HELD: Duration = Duration::from_secs(15);

/// A link that was up so long has worked: the next trouble begins with the shortest wait.
const WORKED: Duration = Duration::from_secs(10);

/// The shortest wait after a trouble, when somebody asks for another attempt at once.
const LEAST: Duration = Duration::from_millis(300);

/// The same after a trouble that a person must mend.
const LEAST_LASTING: Duration = Duration::from_secs(2);

/// How long closing the connection may take.
const CLOSING: Duration = Duration::from_millis(800);

/// What a link is told at its start.
#[derive(Debug, Clone)]
pub struct LinkSettings {
    /// How to get there.
    pub login: Login,
    /// The mailbox's root folder there, absolute.
    pub root: String,
    /// The follower's program.
    pub binary: Binary,
    /// How the follower learns that a file moved.
    pub watch: WatchMode,
    /// Where it hears the rings of workers.
    pub doorbell: Listen,
}

/// What happens to a link.
#[derive(Debug)]
pub enum LinkEvent {
    /// A follower is there. When it ends, so do its `events`, and [`LinkEvent::Down`] follows.
    Up {
        /// Driven like one in this process. Letting it go makes the link begin again.
        follower: Follower,
        /// The login host that was reached, by its own word.
        host: String,
        /// The mailbox's folder there, resolved.
        root: String,
        /// The program's path there; workers are started with it, too.
        binary: String,
    },
    /// There is none, and why. The same trouble is not told again while it lasts. It is tried again, for ever.
    Down(Trouble),
    /// What takes its time.
    Progress(String),
}

/// A link that keeps itself up.
///
/// It ends when `events` is dropped: the follower's channel is closed, then the connection if it is ours, within a second.
#[derive(Debug)]
pub struct Link {
    /// Where commands run, while the connection stands.
    pub login_node: LoginNode,
    /// What happens.
    pub events: mpsc::Receiver<LinkEvent>,
    /// Ends when the link has ended.
    pub task: JoinHandle<()>,
}

impl Link {
    /// Starts one in the current tokio runtime.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn start(settings: LinkSettings) -> Self {
        let (event, events) = mpsc::channel(EVENTS);
        let not_yet = Trouble::new(
            TroubleKind::Closed,
            format!("no connection to {} has been made yet", settings.login.ssh.login_alias),
            "it is being made",
        );
        let (now, seen) = watch::channel(Err(not_yet));
        let asked = Arc::new(Notify::new());
        let keeper = Keeper {
            settings,
            events: event,
            now,
            asked: asked.clone(),
            session: None,
            deployed: None,
            told: None,
        };
        Self {
            login_node: LoginNode::linked(seen, asked),
            events,
            task: tokio::spawn(keeper.keep()),
        }
    }
}

struct Keeper {
    settings: LinkSettings,
    events: mpsc::Sender<LinkEvent>,
    now: watch::Sender<Result<Session, Trouble>>,
    asked: Arc<Notify>,
    session: Option<Session>,
    /// The path of the file that was deployed, and its own there: what is running is not read again.
    deployed: Option<(PathBuf, String)>,
    told: Option<Trouble>,
}

/// Nobody listens any more.
struct Gone;

impl Keeper {
    async fn keep(mut self) {
        let events = self.events.clone();
        tokio::select! {
            () = events.closed() => {}
            Gone = self.go_on_for_ever() => {}
        }
        let ending = Trouble::new(TroubleKind::Closed, "the link has ended", "the router is ending");
        self.close(ending).await;
    }

    async fn go_on_for_ever(&mut self) -> Gone {
        let mut backoff = Backoff::default();
        loop {
            let trouble = match self.attempt().await {
                Ok((binary, remote)) => {
                    let RemoteFollower {
                        follower,
                        host,
                        root,
                        ended,
                    } = remote;
                    let began = Instant::now();
                    let up = LinkEvent::Up {
                        follower,
                        host,
                        root,
                        binary,
                    };
                    if self.events.send(up).await.is_err() {
                        return Gone;
                    }
                    self.told = None;
                    let trouble = why(ended).await;
                    if began.elapsed() >= WORKED {
                        backoff.reset();
                    }
                    trouble
                }
                Err(trouble) => trouble,
            };
            if self.down(&trouble).await.is_err() {
                return Gone;
            }
            let wait = backoff.next(trouble.kind.is_lasting(), chance());
            tracing::info!(%trouble, ?wait, "the link is down");
            // However often somebody asks, the login node must not take us for an attacker.
            let least = if trouble.kind.is_lasting() {
                LEAST_LASTING
            } else {
                LEAST
            };
            sleep(least.min(wait)).await;
            tokio::select! {
                () = sleep(wait.saturating_sub(least)) => {}
                // Whoever asks hears how it goes now, also if that is as before.
                () = self.asked.notified() => self.told = None,
            }
        }
    }

    /// Closes what does not help any more, and tells the trouble unless it was told.
    async fn down(&mut self, trouble: &Trouble) -> Result<(), mpsc::error::SendError<LinkEvent>> {
        if trouble.kind != TroubleKind::FollowerEnded {
            self.close(trouble.clone()).await;
        }
        if !self.told.as_ref().is_some_and(|told| told.is_like(trouble)) {
            self.told = Some(trouble.clone());
            self.events.send(LinkEvent::Down(trouble.clone())).await?;
        }
        Ok(())
    }

    async fn close(&mut self, why: Trouble) {
        let _before = self.now.send_replace(Err(why));
        if let Some(session) = self.session.take()
            && tokio::time::timeout(CLOSING, session.close()).await.is_err()
        {
            tracing::warn!("the ssh master does not end; it ends by itself a few seconds after its last channel");
        }
    }

    /// One attempt: a connection, unless one still stands, and a follower on it.
    async fn attempt(&mut self) -> Result<(String, RemoteFollower), Trouble> {
        let session = self.connect().await?;
        let path = match (&self.settings.binary, &self.deployed) {
            (Binary::Installed(path), _) => path.clone(),
            (Binary::Deploy { file }, Some((known, path))) if known == file => path.clone(),
            (Binary::Deploy { file }, _) => {
                let (program, _) = Program::read(file).await?;
                let path = program.path_below(&self.settings.root);
                self.deployed = Some((file.clone(), path.clone()));
                path
            }
        };
        match self.follow(&session, &path).await {
            Err(trouble)
                if trouble.kind == TroubleKind::ProgramMissing
                    && matches!(self.settings.binary, Binary::Deploy { .. }) =>
            {
                self.progress(format!("copying codeswarm to {}", session.alias())).await;
                let path = session.deploy(&self.settings.root, &self.settings.binary).await?;
                if let Binary::Deploy { file } = &self.settings.binary {
                    self.deployed = Some((file.clone(), path.clone()));
                }
                let remote = self.follow(&session, &path).await?;
                Ok((path, remote))
            }
            other => other.map(|remote| (path, remote)),
        }
    }

    async fn connect(&mut self) -> Result<Session, Trouble> {
        if let Some(session) = &self.session {
            if session.is_open().await {
                return Ok(session.clone());
            }
            self.session = None;
        }
        let session = Session::open(&self.settings.login).await?;
        self.session = Some(session.clone());
        let _before = self.now.send_replace(Ok(session.clone()));
        Ok(session)
    }

    /// Starts the follower; while another one holds the mailbox, again and again for a while.
    async fn follow(&self, session: &Session, path: &str) -> Result<RemoteFollower, Trouble> {
        let began = Instant::now();
        let mut told = false;
        loop {
            let LinkSettings {
                root, watch, doorbell, ..
            } = &self.settings;
            match session.follow(path, root, *watch, *doorbell).await {
                Err(trouble) if trouble.kind == TroubleKind::MailboxHeld && began.elapsed() < HELD => {
                    if !std::mem::replace(&mut told, true) {
                        self.progress(format!("waiting for the mailbox: {}", trouble.what))
                            .await;
                    }
                    sleep(Duration::from_millis(500).mul_f64(1.0 + chance())).await;
                }
                other => return other,
            }
        }
    }

    async fn progress(&self, what: String) {
        tracing::info!("{what}");
        let _ends_elsewhere = self.events.send(LinkEvent::Progress(what)).await;
    }
}

async fn why(ended: oneshot::Receiver<Trouble>) -> Trouble {
    ended.await.unwrap_or_else(|_| {
        Trouble::new(
            TroubleKind::FollowerEnded,
            "the follower's channel was dropped",
            "it is started again",
        )
    })
}

/// A number from 0 to 1. The standard library's hash keys are random for each process and instance.
fn chance() -> f64 {
    let random = RandomState::new().hash_one(Instant::now());
    f64::from(u32::try_from(random >> 32).unwrap_or(0)) / f64::from(u32::MAX)
}
