//! The signals that end a worker in order, and the one that it does not mind.

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::error::WorkerError;

/// What this process listens to from now on.
#[derive(Debug)]
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
    /// Heard and ignored: a terminal that closes does not end a worker.
    hangup: Signal,
}

impl Signals {
    /// Starts listening. Needs a Tokio runtime.
    pub fn listen() -> Result<Self, WorkerError> {
        let listen = |kind| {
            signal(kind).map_err(|source| WorkerError::System {
                what: "a signal handler",
                source,
            })
        };
        Ok(Self {
            terminate: listen(SignalKind::terminate())?,
            interrupt: listen(SignalKind::interrupt())?,
            hangup: listen(SignalKind::hangup())?,
        })
    }

    /// The reason to end that comes next. May be dropped and called again.
    pub async fn next(&mut self) -> &'static str {
        loop {
            tokio::select! {
                biased;
                Some(()) = self.terminate.recv() => return "sigterm",
                Some(()) = self.interrupt.recv() => return "sigint",
                Some(()) = self.hangup.recv() => {}
                else => return std::future::pending().await,
            }
        }
    }
}
