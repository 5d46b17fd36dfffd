//! Many records, few writes: while one write (and its sync) is under way, later records wait and go in the next one
//! together, in the order in which they were pushed.
//!
//! One thread owns the [`LineFile`]. Trouble that can pass (a full disk, a stalled server) is told on a watch channel
//! and waited out, with backoff; the queue is bounded in bytes, so whoever pushes then waits too. Nothing is dropped.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::{Semaphore, watch};

use crate::append::{AppendError, LineFile};

/// How a write is tried again, and when one that does not return is told as trouble.
#[derive(Debug, Clone, Copy)]
pub struct Retry {
    /// The first pause; each is twice the one before.
    pub first: Duration,
    /// The longest pause.
    pub longest: Duration,
    /// How long one write may take.
    pub stalled_after: Duration,
}

impl Default for Retry {
    fn default() -> Self {
        Self {
            first: Duration::from_millis(100),
            longest: Duration::from_secs(5),
            stalled_after: Duration::from_secs(5),
        }
    }
}

/// Why nothing more will be written.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{0}")]
pub struct CommitError(Arc<str>);

/// Writing does not get on; told on [`GroupCommit::troubles`] until it does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    /// What failed, where, and what to do.
    pub error: Arc<str>,
    /// Since when.
    pub since: Instant,
    /// Whether it is tried again; otherwise writing has ended for good.
    pub retried: bool,
}

#[derive(Debug, Clone, Copy, Default)]
struct Progress {
    /// Records that are durable.
    durable: u64,
    /// The file's size then, in bytes; 0 before the first.
    end: u64,
    /// No record will follow.
    ended: bool,
}

#[derive(Debug, Default)]
struct Queue {
    lines: Vec<Bytes>,
    /// Records pushed since the start.
    pushed: u64,
    closing: bool,
    /// The handle is gone: nobody would hear of trouble, so trouble ends the writing.
    abandoned: bool,
    /// When the present write began.
    writing_since: Option<Instant>,
    ended: Option<CommitError>,
}

struct Shared {
    queue: Mutex<Queue>,
    work: Condvar,
    space: Semaphore,
    limit: u32,
    progress: watch::Sender<Progress>,
    troubles: watch::Sender<Option<Trouble>>,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        // No code panics while it holds the lock, and the queue is whole between any two statements.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits that long, or until the handle is dropped.
    fn pause(&self, pause: Duration) {
        let until = Instant::now() + pause;
        let mut queue = self.lock();
        while !queue.abandoned {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            let waited = self.work.wait_timeout(queue, left);
            queue = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn weight(&self, line: &Bytes) -> u32 {
        u32::try_from(line.len()).unwrap_or(u32::MAX).clamp(1, self.limit)
    }
}

/// The handle to a file whose writes are grouped. Dropping it writes what is queued, as far as that goes at once.
pub struct GroupCommit {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<LineFile>>,
    stall_watch: tokio::task::JoinHandle<()>,
}

impl GroupCommit {
    /// Starts writing; at most about `limit_bytes` wait in the queue. Needs a tokio runtime.
    pub fn spawn(file: LineFile, limit_bytes: usize) -> Result<Self, CommitError> {
        Self::spawn_with(file, limit_bytes, Retry::default())
    }

    /// The same with other pauses between tries.
    pub fn spawn_with(file: LineFile, limit_bytes: usize, retry: Retry) -> Result<Self, CommitError> {
        let limit = u32::try_from(limit_bytes).unwrap_or(u32::MAX).clamp(1, 1 << 28);
        let shared = Arc::new(Shared {
            queue: Mutex::default(),
            work: Condvar::new(),
            space: Semaphore::new(limit as usize),
            limit,
            progress: watch::Sender::new(Progress::default()),
            troubles: watch::Sender::new(None),
        });
        let name = file.path().display().to_string();
        let thread = {
            let shared = shared.clone();
            std::thread::Builder::new()
                .name("group-commit".into())
                .spawn(move || write_until_closed(&shared, file, retry))
                .map_err(|error| CommitError(format!("no thread could be started to write {name}: {error}").into()))?
        };
        let stall_watch = tokio::spawn(tell_of_stalls(shared.clone(), name.into(), retry.stalled_after));
        Ok(Self {
            shared,
            thread: Some(thread),
            stall_watch,
        })
    }

    /// Queues one line (or several), each with its newline. Waits while the queue is full. Lines stand in the file in
    /// the order in which calls return; `Ok` says queued, not durable.
    pub async fn push(&self, line: Bytes) -> Result<(), CommitError> {
        let weight = self.shared.weight(&line);
        let space = self.shared.space.acquire_many(weight).await;
        let mut queue = self.shared.lock();
        if let Some(error) = &queue.ended {
            return Err(error.clone());
        }
        match space {
            Ok(space) => space.forget(),
            Err(_) => return Err(CommitError("the file was closed".into())),
        }
        queue.lines.push(line);
        queue.pushed += 1;
        drop(queue);
        self.shared.work.notify_one();
        Ok(())
    }

    /// Waits until everything pushed so far is durable, through trouble that can pass. Answers with the file's size then, in
    /// bytes (0 if nothing was pushed yet).
    pub async fn flush(&self) -> Result<u64, CommitError> {
        let wanted = self.shared.lock().pushed;
        let mut progress = self.shared.progress.subscribe();
        // The sender lives as long as `shared`, so waiting cannot fail.
        let seen = progress.wait_for(|now| now.durable >= wanted || now.ended).await;
        match seen {
            Ok(now) if now.durable >= wanted => Ok(now.end),
            _ => Err(self.why_ended()),
        }
    }

    /// Flushes and gives the file back.
    pub async fn close(mut self) -> Result<LineFile, CommitError> {
        self.flush().await?;
        self.shared.lock().closing = true;
        self.shared.work.notify_one();
        let Some(thread) = self.thread.take() else {
            return Err(self.why_ended());
        };
        let joined = tokio::task::spawn_blocking(move || thread.join()).await;
        match joined {
            Ok(Ok(file)) => Ok(file),
            _ => Err(CommitError(
                "the writing thread ended in disorder; this is a fault of Codeswarm's".into(),
            )),
        }
    }

    /// What keeps the writing from getting on, and `None` when nothing does.
    pub fn troubles(&self) -> watch::Receiver<Option<Trouble>> {
        self.shared.troubles.subscribe()
    }

    /// Bytes that wait to be written.
    pub fn queued_bytes(&self) -> usize {
        self.shared.limit as usize - self.shared.space.available_permits().min(self.shared.limit as usize)
    }

    fn why_ended(&self) -> CommitError {
        let ended = self.shared.lock().ended.clone();
        ended.unwrap_or_else(|| CommitError("the file was closed".into()))
    }
}

impl Drop for GroupCommit {
    fn drop(&mut self) {
        self.stall_watch.abort();
        let mut queue = self.shared.lock();
        queue.closing = true;
        queue.abandoned = true;
        drop(queue);
        self.shared.work.notify_one();
    }
}

/// Tells everyone who waits that nothing more will be written, also if the thread panics.
struct Ends<'shared>(&'shared Shared);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.space.close();
        self.0.progress.send_modify(|now| now.ended = true);
    }
}

/// The thread: takes what is queued, writes it, and again.
fn write_until_closed(shared: &Shared, mut file: LineFile, retry: Retry) -> LineFile {
    let _ends = Ends(shared);
    let mut together = Vec::new();
    loop {
        let batch = {
            let mut queue = shared.lock();
            while queue.lines.is_empty() && !queue.closing {
                queue = shared.work.wait(queue).unwrap_or_else(PoisonError::into_inner);
            }
            if queue.lines.is_empty() {
                break;
            }
            queue.writing_since = Some(Instant::now());
            std::mem::take(&mut queue.lines)
        };
        let joined = join(&batch, &mut together);
        let outcome = write_with_retry(shared, &mut file, joined, retry);
        let weight: usize = batch.iter().map(|line| shared.weight(line) as usize).sum();
        let mut queue = shared.lock();
        queue.writing_since = None;
        if let Err(error) = outcome {
            let error = CommitError(error.to_string().into());
            queue.ended = Some(error);
            break;
        }
        drop(queue);
        shared.space.add_permits(weight);
        shared.progress.send_modify(|now| {
            now.durable += batch.len() as u64;
            now.end = file.end();
        });
        shared.troubles.send_if_modified(|trouble| trouble.take().is_some());
        together.clear();
        together.shrink_to(1 << 20);
    }
    file
}

/// All lines of a batch as one slice; a batch of one is not copied.
fn join<'a>(batch: &'a [Bytes], into: &'a mut Vec<u8>) -> &'a [u8] {
    if let [one] = batch {
        return one;
    }
    into.clear();
    for line in batch {
        into.extend_from_slice(line);
    }
    into
}

/// The tries to write one batch: once the file has taken it, it is never appended again.
#[derive(Debug, Default)]
pub struct Attempts {
    taken: bool,
}

impl Attempts {
    /// Tries it, again.
    pub fn next(&mut self, file: &mut LineFile, lines: &[u8]) -> Result<(), AppendError> {
        let outcome = if self.taken {
            file.resume()
        } else {
            file.append(lines).map(|_| ())
        };
        self.taken |= outcome.as_ref().is_err_and(AppendError::taken);
        outcome
    }
}

fn write_with_retry(shared: &Shared, file: &mut LineFile, lines: &[u8], retry: Retry) -> Result<(), AppendError> {
    let since = Instant::now();
    let mut pause = retry.first;
    let mut attempts = Attempts::default();
    loop {
        let Err(error) = attempts.next(file, lines) else {
            return Ok(());
        };
        let may_pass = error.may_pass() && !shared.lock().abandoned;
        shared.troubles.send_replace(Some(Trouble {
            error: error.to_string().into(),
            since,
            retried: may_pass,
        }));
        if !may_pass {
            return Err(error);
        }
        tracing::warn!(path = %file.path().display(), %error, "writing is tried again");
        shared.pause(pause);
        pause = (pause * 2).min(retry.longest);
    }
}

/// Reports a write that hangs; the thread that hangs in it cannot.
async fn tell_of_stalls(shared: Arc<Shared>, name: Arc<str>, stalled_after: Duration) {
    loop {
        tokio::time::sleep(stalled_after).await;
        // Under the lock, so that this cannot come after the write's end has taken the trouble back.
        let queue = shared.lock();
        let Some(since) = queue.writing_since.filter(|since| since.elapsed() >= stalled_after) else {
            continue;
        };
        shared.troubles.send_if_modified(|trouble| {
            let silent = trouble.is_none();
            if silent {
                let seconds = since.elapsed().as_secs();
                let error =
                    format!("a write to {name} has not returned for {seconds} s; its filesystem does not answer");
                *trouble = Some(Trouble {
                    error: error.into(),
                    since,
                    retried: true,
                });
            }
            silent
        });
    }
}
