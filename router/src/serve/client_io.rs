//! One client's two tasks: a reader that waits while too much is on its way to the client, and a writer.

use bytes::Buf;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc;

use super::line_reader::{LineReader, ReadLine};
use super::queue::{ClientQueue, Taken};
use crate::core::ClientId;

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
pub(super) fn start<R, W>(
    id: ClientId,
    source: R,
    sink: W,
    queue: ClientQueue,
    limit: usize,
    server: mpsc::Sender<FromClient>,
) -> tokio::task::JoinHandle<()>
where
    R: AsyncRead + Unpin + Send + 'static,
    W: AsyncWrite + Unpin + Send + 'static,
{
    let reader = tokio::spawn(read(id, LineReader::new(source, limit), queue.clone(), server.clone()));
    tokio::spawn(async move {
        let alive = write(id, sink, &queue, &server).await;
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
            Taken::Lines(lines) => {
                for mut lines in lines {
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
                }
                if sink.flush().await.is_err() {
                    return false;
                }
            }
        }
    }
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
}
