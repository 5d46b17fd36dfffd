//! `codeswarm router`: a program's pipes on one side, the router on the other, whichever process that is.
//!
//! The process that gets the lock is the router and serves its own pipes and the socket. Any other one is a client of it
//! on the socket, passes lines both ways, and takes the router's place when it dies: its own client notices nothing.

mod memory;
mod relay;

use std::process::ExitCode;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{oneshot, watch};

use codeswarm_follower::FollowerError;
use codeswarm_mailbox::LeaseError;

use crate::endpoint::Endpoint;
use crate::lock::{LockError, RouterLock};
use crate::serve::{ClientEnd, Door, ListenError, Options, ServeError, Server, Stop, listen};

use relay::{Relay, Relayed};

/// What becomes of the pipes when standard input ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// The router answers what it has accepted and leaves.
    Daemon,
    /// The router follows what it was asked for to its end, and its exit code tells how that went.
    Batch,
    /// There are no pipes: only the socket is served.
    Background,
}

/// The router cannot be had at all.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The lock's file.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// The socket.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// The state or the mailbox.
    #[error(transparent)]
    Serve(#[from] ServeError),
    /// Another router has the lock and does not answer.
    #[error("router {holder} holds the state but does not answer on {socket}; look into its log, or end it")]
    Silent {
        /// Its process.
        holder: String,
        /// The socket.
        socket: String,
    },
    /// The state folder.
    #[error("the state folder {folder} cannot be used: {source}")]
    Folder {
        /// The folder.
        folder: String,
        /// Why.
        source: std::io::Error,
    },
    /// The pipes.
    #[error("standard input or output broke: {0}")]
    Pipes(#[from] std::io::Error),
}

/// How long an earlier router's process may take to end after it gave up its lock.
const LEASE_PATIENCE: Duration = Duration::from_secs(5);

/// How long the last words of a router to its own client may take.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// How long a router that has the lock may take until it listens.
const SILENT_AFTER: Duration = Duration::from_secs(20);

/// Serves, or relays, until the pipes end.
pub async fn run(options: Options, endpoint: Endpoint, mode: Mode) -> Result<ExitCode, RunError> {
    crate::serve::private_folder(&endpoint.state_dir).map_err(|source| RunError::Folder {
        folder: endpoint.state_dir.display().to_string(),
        source,
    })?;
    let stop = stop_on_signals()?;
    let limit = options.settings.max_prompt_bytes.saturating_mul(6) + 64 * 1024;
    let mut relay = Relay::new(tokio::io::stdin(), tokio::io::stdout(), limit, mode);
    let mut silent_since = None;
    loop {
        match RouterLock::take(&endpoint.lock) {
            Ok(lock) => return serve(options, &endpoint, mode, relay, lock, stop).await,
            Err(LockError::Held { holder }) if mode == Mode::Background => {
                tracing::info!(%holder, "another router serves this state already");
                return Ok(ExitCode::SUCCESS);
            }
            Err(LockError::Held { holder }) => match UnixStream::connect(&endpoint.socket).await {
                Ok(stream) => {
                    silent_since = None;
                    match relay.run(stream, stop.clone()).await? {
                        Relayed::Done(code) => return Ok(code),
                        Relayed::Lost => {
                            tracing::warn!(%holder, "the router is gone; looking for another, or taking its place")
                        }
                    }
                }
                Err(_) => {
                    let since = silent_since.get_or_insert_with(std::time::Instant::now);
                    if since.elapsed() > SILENT_AFTER {
                        let socket = endpoint.socket.display().to_string();
                        return Err(RunError::Silent { holder, socket });
                    }
                    // It has the lock and is on its way up, or on its way out.
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            },
            Err(error) => return Err(error.into()),
        }
    }
}

async fn serve(
    options: Options,
    endpoint: &Endpoint,
    mode: Mode,
    relay: Relay,
    lock: RouterLock,
    stop: watch::Receiver<Stop>,
) -> Result<ExitCode, RunError> {
    let listener = listen(&endpoint.socket)?;
    let server = open_when_free(options).await?;
    let door = server.door();
    let accepting = tokio::spawn(accept(listener, door.clone()));
    let (end_now, stop_now) = watch::channel(Stop::No);
    let mut serving = tokio::spawn(server.run(either(stop.clone(), stop_now)));
    let pipes = pipes(relay, mode, door, stop);
    tokio::pin!(pipes);
    let code = tokio::select! {
        served = &mut serving => {
            served.map_err(|error| std::io::Error::other(error.to_string()))??;
            last_words(mode, &mut pipes).await?
        }
        code = &mut pipes => {
            end_now.send_replace(Stop::Now);
            match tokio::time::timeout(Duration::from_secs(2), serving).await {
                Ok(Ok(served)) => served?,
                Ok(Err(error)) => return Err(std::io::Error::other(error.to_string()).into()),
                Err(_) => tracing::warn!("a client did not take its last lines in time"),
            }
            code?
        }
    };
    accepting.abort();
    // A socket without a router would only make the next one's client wait.
    let _ = std::fs::remove_file(&endpoint.socket);
    drop(lock);
    Ok(code)
}

/// What the server, which has ended, has still to say to this process's own client, among it that it was told to end; and
/// the exit code.
async fn last_words(mode: Mode, pipes: impl Future<Output = Result<ExitCode, RunError>>) -> Result<ExitCode, RunError> {
    if mode == Mode::Background {
        return Ok(ExitCode::SUCCESS);
    }
    let said = tokio::time::timeout(LAST_WORDS, pipes).await;
    said.unwrap_or(Ok(ExitCode::SUCCESS))
}

/// This process's own client, until it is served to its end.
async fn pipes<R, W>(
    mut relay: Relay<R, W>,
    mode: Mode,
    door: Door,
    stop: watch::Receiver<Stop>,
) -> Result<ExitCode, RunError>
where
    R: AsyncRead + Unpin + Send + 'static,
    W: AsyncWrite + Unpin,
{
    if mode == Mode::Background {
        return std::future::pending().await;
    }
    if !relay.has_begun() {
        let (told, end) = oneshot::channel();
        let source = relay.into_stdin();
        door.enter_pipes(source, tokio::io::stdout(), mode == Mode::Daemon, told)
            .await?;
        let failed = matches!(end.await, Ok(ClientEnd { failed: true }));
        return Ok(if failed && mode == Mode::Batch {
            ExitCode::FAILURE
        } else {
            ExitCode::SUCCESS
        });
    }
    // A conversation that another router began goes on as it was.
    loop {
        let (ours, theirs) = UnixStream::pair()?;
        let (source, sink) = theirs.into_split();
        if door.enter(source, sink).await.is_err() {
            return Ok(ExitCode::SUCCESS);
        }
        if let Relayed::Done(code) = relay.run(ours, stop.clone()).await? {
            return Ok(code);
        }
    }
}

/// Opens the state and the mailbox. The router before this one gave up its lock first, and its lease on the mailbox only
/// when its process had ended: that is waited for.
async fn open_when_free(options: Options) -> Result<Server, ServeError> {
    let began = std::time::Instant::now();
    loop {
        match Server::open(options.clone()) {
            Err(ServeError::Follower(FollowerError::Lease(LeaseError::Held { by, .. })))
                if began.elapsed() < LEASE_PATIENCE =>
            {
                tracing::debug!(%by, "the mailbox is still held");
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            opened => return opened,
        }
    }
}

async fn accept(listener: UnixListener, door: Door) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                let (source, sink) = stream.into_split();
                if door.enter(source, sink).await.is_err() {
                    return;
                }
            }
            Err(error) => {
                tracing::warn!(%error, "a client could not be let in");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

fn stop_on_signals() -> std::io::Result<watch::Receiver<Stop>> {
    use tokio::signal::unix::{SignalKind, signal};
    let (told, stop) = watch::channel(Stop::No);
    // Listened for before anything is said: who has heard an answer may signal.
    let (mut term, mut int) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    tokio::spawn(async move {
        tokio::select! {
            _ = term.recv() => {}
            _ = int.recv() => {}
        }
        told.send_replace(Stop::Now);
        std::future::pending::<()>().await;
    });
    Ok(stop)
}

/// One stop from two.
fn either(mut first: watch::Receiver<Stop>, mut second: watch::Receiver<Stop>) -> watch::Receiver<Stop> {
    let (told, stop) = watch::channel(Stop::No);
    tokio::spawn(async move {
        tokio::select! {
            _ = first.wait_for(|stop| *stop == Stop::Now) => {}
            _ = second.wait_for(|stop| *stop == Stop::Now) => {}
        }
        told.send_replace(Stop::Now);
        std::future::pending::<()>().await;
    });
    stop
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEADLINE: Duration = Duration::from_secs(60);

    #[tokio::test]
    async fn a_conversation_that_goes_on_here_ends_with_the_server() {
        let (_told, stop) = watch::channel(Stop::No);
        let (_program, stdin) = tokio::io::duplex(64);
        let mut relay = Relay::new(stdin, tokio::io::sink(), 1000, Mode::Daemon);
        let (ours, theirs) = UnixStream::pair().unwrap();
        theirs.try_write(b"{\"type\":\"pong\"}\n").unwrap();
        drop(theirs);
        assert!(matches!(relay.run(ours, stop.clone()).await, Ok(Relayed::Lost)));
        let ended = tokio::time::timeout(DEADLINE, pipes(relay, Mode::Daemon, Door::closed(), stop)).await;
        assert!(matches!(ended, Ok(Ok(ExitCode::SUCCESS))), "{ended:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_has_ended_waits_a_moment_for_its_own_client_and_takes_its_exit_code() {
        let begun = tokio::time::Instant::now();
        let nobody = std::future::pending();
        assert_eq!(last_words(Mode::Background, nobody).await.unwrap(), ExitCode::SUCCESS);
        assert_eq!(begun.elapsed(), Duration::ZERO, "without pipes nobody is waited for");
        for mode in [Mode::Daemon, Mode::Batch] {
            for code in [ExitCode::SUCCESS, ExitCode::FAILURE] {
                let taken = async move {
                    tokio::time::sleep(LAST_WORDS / 2).await;
                    Ok(code)
                };
                assert_eq!(last_words(mode, taken).await.unwrap(), code);
            }
            let begun = tokio::time::Instant::now();
            let stands_still = std::future::pending();
            assert_eq!(last_words(mode, stands_still).await.unwrap(), ExitCode::SUCCESS);
            assert!(begun.elapsed() >= LAST_WORDS);
            let broken = std::future::ready(Err(RunError::Pipes(std::io::ErrorKind::BrokenPipe.into())));
            assert!(matches!(last_words(mode, broken).await, Err(RunError::Pipes(_))));
        }
    }

    #[tokio::test]
    async fn nobody_is_let_in_to_a_server_that_is_gone() {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("s");
        let accepting = tokio::spawn(accept(UnixListener::bind(&socket).unwrap(), Door::closed()));
        let _client = UnixStream::connect(&socket).await.unwrap();
        tokio::time::timeout(DEADLINE, accepting).await.unwrap().unwrap();
        assert!(
            UnixStream::connect(&socket).await.is_err(),
            "there is nobody to wait for"
        );
    }
}
