//! One client's two tasks: a reader that waits while too much is on its way to the client, and a writer.

use std::io::Write;

use bytes::Buf;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};

use super::line_reader::{LineReader, ReadLine};
use super::queue::{ClientQueue, Taken};
use crate::core::ClientId;

/// Where a client's lines go.
pub enum Sink {
    /// A stream of the runtime's.
    Stream(Box<dyn AsyncWrite + Unpin + Send>),
    /// A file that only blocks, such as a pipe that was inherited. It gets a thread of its own: handing each write to one of the
    /// runtime's and waiting for its end takes two more changes of thread.
    Blocking(Box<dyn Write + Send>),
}

impl Sink {
    /// A stream of the runtime's.
    pub fn stream(sink: impl AsyncWrite + Unpin + Send + 'static) -> Self {
        Self::Stream(Box::new(sink))
    }
}

/// What the tasks of a client tell the server.
#[derive(Debug)]
pub(super) enum FromClient {
    /// It sent something.
    Sent(ClientId, ReadLine),
    /// It has room again.
    Room(ClientId),
    /// It does not read any more.
    Gone(ClientId),
}

/// Starts both tasks; they end with the connection, or when the queue is closed and written.
pub(super) fn start<R>(
    id: ClientId,
    source: R,
    sink: Sink,
    queue: ClientQueue,
    limit: usize,
    server: mpsc::Sender<FromClient>,
) -> tokio::task::JoinHandle<()>
where
    R: AsyncRead + Unpin + Send + 'static,
{
    let reader = tokio::spawn(read(id, LineReader::new(source, limit), queue.clone(), server.clone()));
    tokio::spawn(async move {
        let alive = match sink {
            Sink::Stream(sink) => write(id, sink, &queue, &server).await,
            Sink::Blocking(sink) => write_in_a_thread(id, sink, &queue, &server).await,
        };
        queue.close();
        reader.abort();
        if !alive {
            // The server may be gone itself; then nobody needs to know.
            let _ = server.send(FromClient::Gone(id)).await;
        }
    })
}

async fn read<R: AsyncRead + Unpin>(
    id: ClientId,
    mut lines: LineReader<R>,
    queue: ClientQueue,
    server: mpsc::Sender<FromClient>,
) {
    loop {
        let line = lines.next().await.unwrap_or(ReadLine::End);
        let last = line == ReadLine::End;
        // That it sends nothing more is told at once, also of a client that does not read.
        if let ReadLine::Line(line) = &line {
            queue.room().await;
            queue.asked(line.len());
        }
        if server.send(FromClient::Sent(id, line)).await.is_err() || last {
            return;
        }
    }
}

/// Whether the connection was still good at the end.
async fn write<W: AsyncWrite + Unpin>(
    id: ClientId,
    mut sink: W,
    queue: &ClientQueue,
    server: &mpsc::Sender<FromClient>,
) -> bool {
    loop {
        match queue.take().await {
            Taken::Closed => return sink.shutdown().await.is_ok(),
            Taken::Lines(mut lines) => {
                // What is taken counts at once, not when all of it is: what comes next is made ready meanwhile.
                while !lines.is_empty() {
                    let taken = match sink.write(&lines).await {
                        Ok(taken) if taken > 0 => taken,
                        _ => return false,
                    };
                    lines.advance(taken);
                    if queue.written(taken) {
                        // A server that is ending has nothing more for it; what is on its way is still written.
                        let _ = server.send(FromClient::Room(id)).await;
                    }
                }
                if sink.flush().await.is_err() {
                    return false;
                }
            }
        }
    }
}

/// The same for a file that blocks.
async fn write_in_a_thread(
    id: ClientId,
    mut sink: Box<dyn Write + Send>,
    queue: &ClientQueue,
    server: &mpsc::Sender<FromClient>,
) -> bool {
    let (done, alive) = oneshot::channel();
    let (runtime, queue, server) = (Handle::current(), queue.clone(), server.clone());
    let writing = move || {
        let alive = loop {
            match runtime.block_on(queue.take()) {
                Taken::Closed => break sink.flush().is_ok(),
                Taken::Lines(lines) => {
                    if sink.write_all(&lines).and_then(|()| sink.flush()).is_err() {
                        break false;
                    }
                    if queue.written(lines.len()) {
                        let _ = runtime.block_on(server.send(FromClient::Room(id)));
                    }
                }
            }
        };
        // Whoever waited may have given up.
        let _ = done.send(alive);
    };
    if let Err(error) = std::thread::Builder::new().name("client-out".into()).spawn(writing) {
        tracing::error!(%error, "the system gives no thread to write to a client");
        return false;
    }
    alive.await.unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use tokio::io::AsyncReadExt;

    use super::*;

    #[tokio::test]
    async fn what_is_on_its_way_is_written_also_when_the_server_does_not_want_to_know_of_room_any_more() {
        let queue = ClientQueue::with_limit(100);
        queue.push(Bytes::from(vec![b'x'; 1000]));
        assert!(!queue.has_room(0));
        queue.push(Bytes::from_static(b"last"));
        queue.close();
        let (server, ended) = mpsc::channel(1);
        drop(ended);
        let (mut read, sink) = tokio::io::duplex(1 << 16);
        assert!(write(ClientId(1), sink, &queue, &server).await);
        let mut all = Vec::new();
        read.read_to_end(&mut all).await.unwrap();
        assert!(all.len() == 1004 && all.ends_with(b"last"));
    }

    #[tokio::test]
    async fn a_client_that_goes_away_while_lines_are_on_their_way_is_seen_to_be_gone() {
        let queue = ClientQueue::with_limit(100);
        queue.push(Bytes::from_static(b"{}\n"));
        let (server, _hears) = mpsc::channel(1);
        let (read, sink) = tokio::io::duplex(1);
        drop(read);
        assert!(!write(ClientId(1), sink, &queue, &server).await);
    }

    /// A client whose lines are written by a thread.
    async fn written(
        sink: impl Write + Send + 'static,
        fill: impl FnOnce(&ClientQueue),
    ) -> (ClientQueue, Vec<FromClient>) {
        let queue = ClientQueue::with_limit(100);
        let (server, mut told) = mpsc::channel(8);
        fill(&queue);
        let sink = Sink::Blocking(Box::new(sink));
        let writer = start(ClientId(1), tokio::io::empty(), sink, queue.clone(), 1000, server);
        writer.await.unwrap();
        let mut all = Vec::new();
        while let Ok(from) = told.try_recv() {
            all.push(from);
        }
        (queue, all)
    }

    #[tokio::test]
    async fn a_pipe_that_blocks_gets_every_line_in_order_and_the_server_hears_of_room() {
        let (mut read, sink) = std::io::pipe().unwrap();
        let reading = std::thread::spawn(move || {
            let mut all = Vec::new();
            std::io::Read::read_to_end(&mut read, &mut all).unwrap();
            all
        });
        let numbers = || (0..20_000_u32).map(|number| format!("{number}\n"));
        let (_, told) = written(sink, |queue| {
            for line in numbers() {
                queue.push(line.into());
            }
            assert!(!queue.has_room(0));
            queue.close();
        })
        .await;
        assert_eq!(reading.join().unwrap(), numbers().collect::<String>().into_bytes());
        assert!(told.iter().any(|from| matches!(from, FromClient::Room(_))), "{told:?}");
        assert!(!told.iter().any(|from| matches!(from, FromClient::Gone(_))), "{told:?}");
    }

    #[tokio::test]
    async fn a_pipe_that_nobody_reads_any_more_is_a_client_that_is_gone() {
        let (read, sink) = std::io::pipe().unwrap();
        drop(read);
        let (queue, told) = written(sink, |queue| queue.push(Bytes::from_static(b"{}\n"))).await;
        assert!(told.iter().any(|from| matches!(from, FromClient::Gone(_))), "{told:?}");
        tokio::time::timeout(std::time::Duration::from_secs(60), queue.closed())
            .await
            .unwrap();
    }
}
