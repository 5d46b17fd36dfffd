//! The process's side: standard input and output, and the end.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use rmcp::ServiceExt;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use crate::asking::Desk;
use crate::server::Server;

/// Input whose end is told: calls that wait then need not be waited for.
struct TellsItsEnd<R> {
    input: R,
    gone: watch::Sender<bool>,
}

impl<R: AsyncRead + Unpin> AsyncRead for TellsItsEnd<R> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.input).poll_read(context, buffer);
        let ended = match &read {
            Poll::Ready(Ok(())) => buffer.filled().len() == before,
            Poll::Ready(Err(_)) => true,
            Poll::Pending => false,
        };
        if ended {
            self.gone.send_replace(true);
        }
        read
    }
}

/// Serves a client until it closes its end, or a signal ends this process. Returns what kept it from serving.
///
/// # Errors
/// No signals can be listened to, or the client does not speak the protocol.
pub async fn serve<R, W>(desk: Desk, input: R, output: W) -> Result<(), String>
where
    R: AsyncRead + Send + Unpin + 'static,
    W: AsyncWrite + Send + Unpin + 'static,
{
    let told_to = |kind| signal(kind).map_err(|error| format!("signals cannot be listened to: {error}"));
    let (mut terminated, mut interrupted) = (told_to(SignalKind::terminate())?, told_to(SignalKind::interrupt())?);
    let (gone, is_gone) = watch::channel(false);
    let server = Server::new(Arc::new(desk), is_gone.clone());
    let serving = async {
        match server.serve((TellsItsEnd { input, gone }, output)).await {
            Ok(running) => running.waiting().await.map(drop).map_err(|error| error.to_string()),
            // One that looks whether there is a server, and goes.
            Err(_) if *is_gone.borrow() => Ok(()),
            Err(error) => Err(format!("the client does not speak the Model Context Protocol: {error}")),
        }
    };
    tokio::select! {
        served = serving => served,
        _ = terminated.recv() => Ok(()),
        _ = interrupted.recv() => Ok(()),
    }
}
