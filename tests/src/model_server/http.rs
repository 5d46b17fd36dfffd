//! HTTP/1.1 over TCP, as much of it as agents speak to a model server.

use std::io;
use std::sync::Arc;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinSet;

use super::answer::Answer;
use super::response::Step;

/// The longest body that is read, in bytes.
const BODY_LIMIT: usize = 64 << 20;
/// Events without a pause between them are written together up to this many bytes.
const WRITE_TOGETHER: usize = 16 << 10;

/// What a request is answered with.
pub type Route = Arc<dyn Fn(Request) -> Reply + Send + Sync>;

/// Serves until `stopped` is dropped; what is still open then is closed.
pub async fn serve(listener: std::net::TcpListener, route: Route, mut stopped: oneshot::Receiver<()>) {
    let listener =
        TcpListener::from_std(listener).unwrap_or_else(|error| panic!("the listening socket cannot be used: {error}"));
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            _ = &mut stopped => return,
            Some(ended) = connections.join_next() => {
                if let Err(error) = ended && error.is_panic() {
                    std::panic::resume_unwind(error.into_panic());
                }
            }
            accepted = listener.accept() => {
                if let Ok((stream, _)) = accepted {
                    connections.spawn(connection(stream, Arc::clone(&route)));
                }
            }
        }
    }
}

/// One connection, over several requests. An error means that the client is gone, which is its right.
async fn connection(stream: TcpStream, route: Route) {
    let _ = stream.set_nodelay(true);
    let (reader, mut writer) = stream.into_split();
    let mut reader = BufReader::new(reader);
    while let Ok(Some(request)) = read_request(&mut reader).await {
        let outcome = match route(request) {
            Reply::Json(status, retry_after, body) => write_json(&mut writer, status, retry_after, &body).await,
            Reply::Stream(steps) => write_stream(&mut reader, &mut writer, steps).await,
        };
        if outcome.is_err() {
            return;
        }
    }
}

/// A request as it came.
pub struct Request {
    /// `GET`, `POST` …
    pub method: String,
    /// With its query.
    pub path: String,
    /// The header of that name.
    pub authorization: Option<String>,
    /// What came with it.
    pub body: Vec<u8>,
}

/// What goes back.
pub enum Reply {
    /// A status, the seconds of `retry-after`, a body.
    Json(u16, Option<u32>, Value),
    /// Server-sent events.
    Stream(Vec<Step>),
}

impl From<Answer> for Reply {
    fn from(answer: Answer) -> Self {
        match answer {
            Answer::Refusal {
                status,
                retry_after,
                body,
            } => Self::Json(status, retry_after, body),
            Answer::Stream(steps) => Self::Stream(steps),
        }
    }
}

/// Reads the next request; `None` when the client has closed the connection.
async fn read_request(reader: &mut BufReader<OwnedReadHalf>) -> io::Result<Option<Request>> {
    let mut line = String::new();
    if reader.read_line(&mut line).await? == 0 {
        return Ok(None);
    }
    let mut words = line.split_whitespace().map(str::to_owned);
    let (Some(method), Some(path)) = (words.next(), words.next()) else {
        return Err(io::Error::other("no request line"));
    };
    let (mut length, mut authorization) = (0, None);
    loop {
        let mut header = String::new();
        reader.read_line(&mut header).await?;
        let Some((name, value)) = header.trim().split_once(':') else {
            break;
        };
        match name.to_ascii_lowercase().as_str() {
            "content-length" => length = value.trim().parse().map_err(io::Error::other)?,
            "authorization" => authorization = Some(value.trim().to_owned()),
            _ => {}
        }
    }
    if length > BODY_LIMIT {
        return Err(io::Error::other("the body is too long"));
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).await?;
    Ok(Some(Request {
        method,
        path,
        authorization,
        body,
    }))
}

async fn write_json(
    writer: &mut OwnedWriteHalf,
    status: u16,
    retry_after: Option<u32>,
    body: &Value,
) -> io::Result<()> {
    let body = body.to_string();
    let retry_after = retry_after.map_or_else(String::new, |seconds| format!("retry-after: {seconds}\r\n"));
    let answer = format!(
        "HTTP/1.1 {status} Scripted\r\ncontent-type: application/json\r\n{retry_after}content-length: {}\r\n\r\n{body}",
        body.len()
    );
    writer.write_all(answer.as_bytes()).await
}

async fn write_stream(
    reader: &mut BufReader<OwnedReadHalf>,
    writer: &mut OwnedWriteHalf,
    steps: Vec<Step>,
) -> io::Result<()> {
    let mut pending =
        b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n".to_vec();
    for step in steps {
        if !matches!(step, Step::Event(_)) || pending.len() >= WRITE_TOGETHER {
            writer.write_all(&pending).await?;
            pending.clear();
        }
        match step {
            Step::Event(event) => push_chunk(&mut pending, &event),
            Step::Wait(duration) => tokio::time::sleep(duration).await,
            Step::Break => return Err(io::Error::other("broken on purpose")),
            Step::Silence => {
                // Ends when the client goes away; nothing else is expected of it meanwhile.
                reader.fill_buf().await?;
                return Err(io::Error::other("the client left"));
            }
        }
    }
    pending.extend_from_slice(b"0\r\n\r\n");
    writer.write_all(&pending).await
}

/// Appends an event as one chunk of the body.
fn push_chunk(out: &mut Vec<u8>, event: &Value) {
    let kind = event["type"].as_str().unwrap_or_default();
    let text = format!("event: {kind}\ndata: {event}\n\n");
    out.extend_from_slice(format!("{:x}\r\n{text}\r\n", text.len()).as_bytes());
}
