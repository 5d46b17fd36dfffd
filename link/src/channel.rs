//! The follower on the login node: a remote command that speaks frames, made to look like a follower in this process.
//!
//! One task carries both directions: reading goes on while a write waits, and each waits for its own consumer only. Nothing is
//! ever said twice; when the channel ends, `events` ends, and whoever asked for something settles it over the next one.

mod ending;
mod frames;
#[cfg(test)]
mod tests;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::BytesMut;
use codeswarm_follower::wire::Decoder;
use codeswarm_follower::{Follower, Listen, WatchMode};
use codeswarm_protocol::frame::Upward;
use openssh::{Child, ChildStderr, Stdio};
use tokio::io::AsyncReadExt;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::channel::ending::Ended;
pub(crate) use crate::channel::ending::{Start, at_start};
pub use crate::channel::ending::{no_greeting, of_refusal};
use crate::channel::frames::{Stop, read, write};
use crate::liveness::{Liveness, PING_EVERY, PING_TIMEOUT};
use crate::session::{Session, system};
use crate::trouble::{Trouble, TroubleKind};

/// Commands that wait to be sent.
const COMMANDS: usize = 1024;

/// Events that wait for a slow consumer before reading stops.
const EVENTS: usize = 32;

/// How long a follower may take until it greets: on a shared filesystem it waits up to 16 s for an earlier holder of the
/// mailbox to answer.
const GREETING: Duration = Duration::from_secs(45);

/// How long a follower may take to finish what it was told after its input has ended. It gives itself 5 s.
const LAST_WORDS: Duration = Duration::from_secs(6);

/// How long an ssh whose stream has ended may take to end itself.
const LAST_BREATH: Duration = Duration::from_secs(2);

/// How long a master whose connection broke takes to end.
const MASTER_ENDS: Duration = Duration::from_millis(200);

/// How much of what it says on standard error is kept, in bytes.
const TAIL: usize = 8 * 1024;

/// What runs there, in one line that any login shell passes on (csh too: no `!`, no newline). Where the program is missing, it
/// says so in words that [`ending`] knows.
const SCRIPT: &str = r#"if [ -x "$0" ] && [ -f "$0" ]; then exec "$0" follower --root "$1" --watch "$2" --ping-timeout "$3" --doorbell "$4"; fi; if [ -e "$0" ]; then echo "codeswarm-link: not executable" >&2; else echo "codeswarm-link: missing" >&2; fi; exit 66"#;

/// A follower on the login node.
#[derive(Debug)]
pub struct RemoteFollower {
    /// Driven like one in this process. Its first event is [`Upward::Hello`]. `task` ends when the channel is closed.
    pub follower: Follower,
    /// The host that it runs on, by its own word.
    pub host: String,
    /// The mailbox's folder there, resolved.
    pub root: String,
    /// Why the channel ended; told once, when it has. Dropping it is allowed.
    pub ended: oneshot::Receiver<Trouble>,
}

/// A channel that is open, before it is known what is at its other end.
struct Channel {
    session: Session,
    child: Child<Arc<openssh::Session>>,
    program: String,
    tail: Arc<Mutex<Vec<u8>>>,
    stderr: JoinHandle<()>,
}

impl Session {
    /// Starts the follower `program` (a path there) on the mailbox at `root`, and waits for its greeting.
    ///
    /// # Errors
    /// [`TroubleKind::ProgramMissing`] when there is no such program, [`TroubleKind::MailboxHeld`] when another follower has
    /// the mailbox, and whatever else keeps it from greeting.
    pub async fn follow(
        &self,
        program: &str,
        root: &str,
        watch: WatchMode,
        doorbell: Listen,
    ) -> Result<RemoteFollower, Trouble> {
        let watch = match watch {
            WatchMode::Inotify => "inotify",
            WatchMode::Poll => "poll",
            _ => "auto",
        };
        let mut command = self.shared.ssh.clone().arc_command("sh");
        command
            .args(["-c", SCRIPT, program, root, watch, &PING_TIMEOUT.to_string()])
            .arg(doorbell.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().await.map_err(|error| system(&error.to_string()))?;
        let streams = (child.stdin().take(), child.stdout().take(), child.stderr().take());
        let (Some(stdin), Some(mut stdout), Some(stderr)) = streams else {
            return Err(system("a process has no pipes"));
        };
        let tail = Arc::new(Mutex::new(Vec::new()));
        let channel = Channel {
            session: self.clone(),
            child,
            program: program.to_owned(),
            tail: tail.clone(),
            stderr: tokio::spawn(keep_tail(stderr, tail)),
        };
        let mut decoder = Decoder::behind_a_greeting();
        let mut buffer = BytesMut::new();
        let greeted = tokio::time::timeout(GREETING, hear_hello(&mut stdout, &mut decoder, &mut buffer)).await;
        let hello = match greeted {
            Ok(Ok(hello)) => hello,
            Ok(Err(Some(wire))) => return Err(channel.no_greeting(&wire).await),
            Ok(Err(None)) => return Err(channel.ended_at_start(decoder.banner()).await),
            Err(_) => {
                let said = decoder.banner().unwrap_or_default();
                return Err(channel
                    .no_greeting(&format!("nothing but {said:?} in {GREETING:?}"))
                    .await);
            }
        };
        let Upward::Hello {
            version, host, root, ..
        } = &hello
        else {
            return Err(channel.no_greeting("a frame before the greeting").await);
        };
        if version != codeswarm_protocol::VERSION {
            return Err(versions_differ(&channel.program, version, host));
        }
        let (host, root) = (host.clone(), root.clone());
        let (commands, command) = mpsc::channel(COMMANDS);
        let (event, events) = mpsc::channel(EVENTS);
        let (end, ended) = oneshot::channel();
        let _has_room = event.try_send(hello);
        let alive = Arc::new(Mutex::new(Liveness::default()));
        let reader = read(stdout, decoder, buffer, event.clone(), alive.clone());
        let writer = write(stdin, command, alive.clone());
        let called = host.clone();
        let task = tokio::spawn(async move {
            let stop = carry(reader, writer, &event, &alive).await;
            // Who listens learns it before we find out why.
            drop(event);
            let trouble = channel.ended(stop, &called).await;
            let _nobody_asks = end.send(trouble);
        });
        Ok(RemoteFollower {
            follower: Follower { commands, events, task },
            host,
            root,
            ended,
        })
    }
}

/// Carries both directions until one of them cannot go on.
async fn carry(
    reader: impl Future<Output = Stop>,
    writer: impl Future<Output = ()>,
    event: &mpsc::Sender<Upward>,
    alive: &Mutex<Liveness>,
) -> Stop {
    tokio::pin!(reader, writer);
    let mut clock = tokio::time::interval(PING_EVERY);
    clock.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut last_words = None;
    loop {
        let over = async {
            match last_words {
                Some(when) => tokio::time::sleep_until(when).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            stop = &mut reader => return stop,
            () = &mut writer, if last_words.is_none() => {
                // Its input has ended; its answers to what it was told before are still to come.
                last_words = Some(Instant::now() + LAST_WORDS);
            }
            () = event.closed() => return Stop::NobodyListens,
            () = over => return Stop::Silent("does not end"),
            _ = clock.tick() => {
                if let Some(how) = locked(alive).dead(Instant::now()) {
                    return Stop::Silent(how);
                }
            }
        }
    }
}

impl Channel {
    /// The channel ended before a greeting.
    async fn ended_at_start(self, banner: Option<String>) -> Trouble {
        let (code, words, session, program) = self.last_breath().await;
        if code.is_none() && !session.stands().await {
            return session.broken(&words);
        }
        ending::at_start(&Start {
            alias: session.alias(),
            program: &program,
            code,
            stderr: &words,
            stdout: banner.as_deref().unwrap_or_default(),
        })
    }

    /// What came is no follower's stream.
    async fn no_greeting(self, what: &str) -> Trouble {
        let alias = self.session.alias().to_owned();
        let _killed = self.child.disconnect().await;
        self.stderr.abort();
        ending::no_greeting(&alias, what)
    }

    /// The channel ended after it had worked.
    async fn ended(self, stop: Stop, host: &str) -> Trouble {
        let (code, words, session, _) = match stop {
            Stop::Ended => self.last_breath().await,
            _ => {
                let Self {
                    session,
                    child,
                    program,
                    stderr,
                    ..
                } = self;
                let _killed = child.disconnect().await;
                stderr.abort();
                (None, String::new(), session, program)
            }
        };
        if matches!(stop, Stop::Ended) && code.is_none() && !session.stands().await {
            return session.broken(&words);
        }
        ending::after_it_worked(
            host,
            match stop {
                Stop::Ended => Ended::ByItself { code, stderr: &words },
                Stop::Wire(error) => Ended::NoFrames(error),
                Stop::Silent(how) => Ended::Silent(how),
                Stop::NobodyListens => Ended::NotWanted,
            },
        )
    }

    /// The exit status of the ssh whose stream has ended (`None`: 255, or none in time), and what came on standard error.
    async fn last_breath(self) -> (Option<i32>, String, Session, String) {
        let Self {
            session,
            child,
            program,
            tail,
            stderr,
        } = self;
        let waited = tokio::time::timeout(LAST_BREATH, child.wait()).await;
        let code = match waited {
            Ok(Ok(status)) => status.code(),
            Ok(Err(openssh::Error::Remote(_))) => Some(127),
            Ok(Err(_)) | Err(_) => None,
        };
        // A child of the follower may hold it open.
        let mut stderr = stderr;
        if tokio::time::timeout(LAST_BREATH / 4, &mut stderr).await.is_err() {
            stderr.abort();
        }
        let words = String::from_utf8_lossy(&locked(&tail)).into_owned();
        (code, words, session, program)
    }
}

impl Session {
    /// Whether the connection outlives a channel of its own that has just ended: the master learns of a broken connection
    /// at the same time as the channels, and takes a moment to end.
    async fn stands(&self) -> bool {
        tokio::time::sleep(MASTER_ENDS).await;
        self.is_open().await
    }

    /// The connection itself has ended.
    fn broken(&self, words: &str) -> Trouble {
        let all = format!("{}\n{words}", self.log());
        let trouble = crate::trouble::of_ssh(self.alias(), &all, crate::trouble::Moment::Channel);
        match trouble.kind {
            TroubleKind::Unknown => crate::trouble::of_ssh(
                self.alias(),
                "Could not resolve hostname none",
                crate::trouble::Moment::Channel,
            ),
            _ => trouble,
        }
    }
}

/// Of two versions neither is taken for the other.
pub(crate) fn versions_differ(program: &str, theirs: &str, host: &str) -> Trouble {
    let ours = codeswarm_protocol::VERSION;
    Trouble::new(
        TroubleKind::VersionsDiffer,
        format!("the follower on {host} is codeswarm {theirs} ({program}) and this router is codeswarm {ours}"),
        "install the same version on both, or leave cluster.remote_binary out so that this one is copied there",
    )
}

/// Reads until the first frame. `Err(None)`: the stream ended; `Err(Some)`: it is no stream of frames.
async fn hear_hello(
    stdout: &mut openssh::ChildStdout,
    decoder: &mut Decoder<Upward>,
    buffer: &mut BytesMut,
) -> Result<Upward, Option<String>> {
    loop {
        match decoder.decode(buffer) {
            Ok(Some(frame)) => return Ok(frame),
            Ok(None) => {}
            Err(error) => return Err(Some(error.to_string())),
        }
        match stdout.read_buf(buffer).await {
            Ok(0) | Err(_) => return Err(None),
            Ok(_) => {}
        }
    }
}

/// Drains standard error, so that nobody waits for it, and keeps its end.
async fn keep_tail(mut stderr: ChildStderr, tail: Arc<Mutex<Vec<u8>>>) {
    let mut block = vec![0; 4096];
    while let Ok(count) = stderr.read(&mut block).await {
        if count == 0 {
            return;
        }
        let mut tail = locked(&tail);
        tail.extend_from_slice(block.get(..count).unwrap_or_default());
        let surplus = tail.len().saturating_sub(TAIL);
        tail.drain(..surplus);
    }
}

/// A lock is only held for a few instructions that cannot panic.
fn locked<T>(lock: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    lock.lock().unwrap_or_else(PoisonError::into_inner)
}
