//! The wire to the router: its unix socket, lines in both directions.

use std::io;
use std::path::Path;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::event::Event;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::request::Request;

/// Commands on their way; one at a time is usual.
const COMMANDS_UNDER_WAY: usize = 16;

/// A connection to a router.
#[derive(Debug)]
pub struct Connection {
    reader: BufReader<OwnedReadHalf>,
    /// What has been read of the next line; a read that is given up in the middle goes on from here.
    line: Vec<u8>,
    commands: mpsc::Sender<Vec<u8>>,
    /// Writes beside the reading, so that a router that must be read before it reads on cannot stand against us.
    _writer: JoinSet<()>,
}

impl Connection {
    /// Connects to a router that listens on `socket`.
    pub async fn open(socket: &Path) -> io::Result<Self> {
        let (reader, writer) = UnixStream::connect(socket).await?.into_split();
        let (commands, queue) = mpsc::channel(COMMANDS_UNDER_WAY);
        let mut tasks = JoinSet::new();
        tasks.spawn(write(writer, queue));
        Ok(Self {
            reader: BufReader::with_capacity(64 * 1024, reader),
            line: Vec::new(),
            commands,
            _writer: tasks,
        })
    }

    /// Sends a command. That a connection is gone is told by [`Self::event`], not here.
    pub async fn send(&mut self, request: &Request) -> Result<(), Failure> {
        let line = request.to_line().map_err(|error| {
            Failure::new(
                Exit::Internal,
                format!("the command cannot be written as JSON: {error}"),
                "",
            )
        })?;
        // The task has ended if the connection is gone.
        let _ = self.commands.send(line).await;
        Ok(())
    }

    /// The next event; `None` when the router has closed the connection or it broke. Lines that are no events are passed
    /// over. May be given up and called again without losing anything.
    pub async fn event(&mut self) -> Option<Event> {
        loop {
            match self.reader.read_until(b'\n', &mut self.line).await {
                Ok(0) | Err(_) => return None,
                Ok(_) if !self.line.ends_with(b"\n") => return None,
                Ok(_) => {}
            }
            let mut line = std::mem::take(&mut self.line);
            line.pop();
            match Event::parse(line) {
                Ok(event) => return Some(event),
                Err(error) => tracing::warn!(%error, "a line of the router is no event"),
            }
        }
    }
}

async fn write(mut writer: OwnedWriteHalf, mut queue: mpsc::Receiver<Vec<u8>>) {
    while let Some(line) = queue.recv().await {
        if writer.write_all(&line).await.is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::UnixListener;

    #[tokio::test]
    async fn a_read_that_was_given_up_loses_nothing_and_a_torn_line_is_the_end() {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("s");
        let listener = UnixListener::bind(&socket).unwrap();
        let mut connection = Connection::open(&socket).await.unwrap();
        let (mut router, _) = listener.accept().await.unwrap();
        router.write_all(b"{\"type\":\"po").await.unwrap();
        let given_up = tokio::time::timeout(std::time::Duration::from_millis(50), connection.event()).await;
        assert!(given_up.is_err());
        router
            .write_all(b"ng\"}\nnonsense\n{\"type\":\"caught_up\"}\n{\"type\":\"torn")
            .await
            .unwrap();
        drop(router);
        assert_eq!(connection.event().await.unwrap().head.kind, "pong");
        assert_eq!(connection.event().await.unwrap().head.kind, "caught_up");
        assert!(connection.event().await.is_none());
    }
}
