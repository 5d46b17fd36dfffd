//! How clients come in: from the socket, and this process's own.

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{mpsc, oneshot};

use super::client_io::Sink;
use super::options::ServeError;

/// How it went for a client, told when its last line is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClientEnd {
    /// A command was refused, a prompt failed, or a turn did not complete.
    pub failed: bool,
}

/// The pipes of this process's own client.
pub(super) struct Pipes {
    /// Nothing is waited for when it has said its last.
    pub daemon: bool,
    /// Told when it is served to its end.
    pub end: oneshot::Sender<ClientEnd>,
}

/// A client at the door.
pub(super) struct Connection {
    pub source: Box<dyn AsyncRead + Unpin + Send>,
    pub sink: Sink,
    pub pipes: Option<Pipes>,
}

/// Brings new clients to a running server.
#[derive(Debug, Clone)]
pub struct Door(pub(super) mpsc::Sender<Connection>);

impl Door {
    /// A client on these two streams. Fails when the server is gone.
    pub async fn enter<R, W>(&self, source: R, sink: W) -> Result<(), ServeError>
    where
        R: AsyncRead + Unpin + Send + 'static,
        W: AsyncWrite + Unpin + Send + 'static,
    {
        self.send(Connection {
            source: Box::new(source),
            sink: Sink::stream(sink),
            pipes: None,
        })
        .await
    }

    /// This process's own client. A daemon is served until its last command is answered, a batch until all that it asked
    /// for is over.
    pub async fn enter_pipes<R>(
        &self,
        source: R,
        sink: Sink,
        daemon: bool,
        end: oneshot::Sender<ClientEnd>,
    ) -> Result<(), ServeError>
    where
        R: AsyncRead + Unpin + Send + 'static,
    {
        let pipes = Some(Pipes { daemon, end });
        self.send(Connection {
            source: Box::new(source),
            sink,
            pipes,
        })
        .await
    }

    /// The door of a server that is gone.
    #[cfg(test)]
    pub(crate) fn closed() -> Self {
        Self(mpsc::channel(1).0)
    }

    async fn send(&self, connection: Connection) -> Result<(), ServeError> {
        self.0.send(connection).await.map_err(|_| ServeError::Gone)
    }
}
