//! Appending to inboxes: a few threads, each with the inboxes that fall to it, so that one that waits for its disk holds
//! up few others and never the reading.

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::io;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use bytes::Bytes;
use codeswarm_mailbox::{AppendError, Durability, LineFile, Mailbox, Written};
use codeswarm_protocol::frame::{Ticket, Upward};
use codeswarm_protocol::ids::{InjectionId, Place};
use tokio::runtime::Handle;
use tokio::sync::mpsc;

use crate::doorbell::Doorbell;
use crate::holding::Holding;
use crate::presence;
use crate::stalls::Stalls;

/// Threads that append. A network filesystem makes each line wait for its server; four of them wait together.
const THREADS: usize = 4;

/// Lines that may wait for one thread; after that commands wait.
const QUEUE: usize = 1024;

/// An inbox that was not written for so long is closed.
const IDLE: Duration = Duration::from_secs(60);

/// One line for one inbox.
#[derive(Debug)]
pub struct Line {
    /// Names the answer.
    pub ticket: Ticket,
    /// Whose inbox.
    pub place: Place,
    /// Only if the inbox has no prompt of this name.
    pub unless_present: Option<InjectionId>,
    /// The line with its newline.
    pub bytes: Bytes,
}

/// The threads that append. An inbox always falls to the same one, so its lines keep their order.
pub struct Inboxes {
    queues: Vec<mpsc::Sender<Line>>,
    threads: Vec<JoinHandle<()>>,
}

impl Inboxes {
    /// Starts the threads; answers go to `events`. At most `open` inboxes are kept open in all, and nothing is written when
    /// the mailbox is not held any more. Whoever's inbox has grown is rung for.
    ///
    /// # Errors
    /// The system gives no thread.
    pub fn start(
        mailbox: &Mailbox,
        holding: &Holding,
        open: usize,
        stalls: &Stalls,
        doorbell: &Doorbell,
        events: &mpsc::Sender<Upward>,
    ) -> io::Result<Self> {
        let runtime = Handle::current();
        let mut queues = Vec::with_capacity(THREADS);
        let mut threads = Vec::with_capacity(THREADS);
        for number in 0..THREADS {
            let (queue, lines) = mpsc::channel(QUEUE);
            let writer = Writer {
                open: OpenInboxes::new(mailbox.clone(), (open / THREADS).max(1)),
                lines,
                events: events.clone(),
                stalls: stalls.clone(),
                doorbell: doorbell.clone(),
                runtime: runtime.clone(),
                holding: holding.clone(),
            };
            let thread = std::thread::Builder::new().name(format!("inboxes-{number}"));
            threads.push(thread.spawn(move || writer.run())?);
            queues.push(queue);
        }
        Ok(Self { queues, threads })
    }

    /// Hands a line over; waits while too many wait already. It is answered with [`Upward::Appended`] or
    /// [`Upward::AppendFailed`]. False: its thread has ended, since nobody hears answers any more.
    pub async fn append(&self, line: Line) -> bool {
        let mut hasher = DefaultHasher::new();
        line.place.hash(&mut hasher);
        let thread = usize::try_from(hasher.finish() % THREADS as u64).unwrap_or(0);
        match self.queues.get(thread) {
            Some(queue) => queue.send(line).await.is_ok(),
            None => false,
        }
    }

    /// Appends what was handed over, then ends. Blocks.
    pub fn finish(self) {
        drop(self.queues);
        for thread in self.threads {
            if thread.join().is_err() {
                tracing::error!("a thread that appends to inboxes has panicked");
            }
        }
    }
}

/// One of the threads.
struct Writer {
    open: OpenInboxes,
    lines: mpsc::Receiver<Line>,
    events: mpsc::Sender<Upward>,
    stalls: Stalls,
    doorbell: Doorbell,
    runtime: Handle,
    holding: Holding,
}

impl Writer {
    fn run(mut self) {
        while let Some(line) = self.next() {
            let under_way = self
                .stalls
                .begin("appending to the inbox", Some(&line.place), Instant::now());
            let answer = match self.holding.may_write() {
                true => self.open.append(&line),
                false => not_ours(&line),
            };
            drop(under_way);
            if let Upward::Appended { end, .. } = answer {
                self.doorbell.ring(&line.place, end);
            }
            if self.events.blocking_send(answer).is_err() {
                return;
            }
        }
    }

    fn next(&mut self) -> Option<Line> {
        next(&mut self.lines, &mut self.open, &self.runtime, IDLE)
    }
}

/// The next line. When none comes for a while, the inboxes are closed.
fn next(lines: &mut mpsc::Receiver<Line>, open: &mut OpenInboxes, runtime: &Handle, idle: Duration) -> Option<Line> {
    if !open.is_empty() {
        match runtime.block_on(async { tokio::time::timeout(idle, lines.recv()).await }) {
            Ok(line) => return line,
            Err(_) => open.close_all(),
        }
    }
    lines.blocking_recv()
}

fn not_ours(line: &Line) -> Upward {
    Upward::AppendFailed {
        ticket: line.ticket,
        // An earlier append of it may; whoever asks again asks the new holder.
        may_have_happened: line.unless_present.is_some(),
        error: format!(
            "the line for {} was not written: another follower has taken over the mailbox, or it is not known whether",
            line.place
        ),
    }
}

/// Inboxes that are kept open, the least recently used one first.
pub struct OpenInboxes {
    mailbox: Mailbox,
    files: Vec<(Place, LineFile)>,
    limit: usize,
}

impl OpenInboxes {
    /// None yet; at most `limit` at once.
    pub fn new(mailbox: Mailbox, limit: usize) -> Self {
        Self {
            mailbox,
            files: Vec::new(),
            limit,
        }
    }

    fn is_empty(&self) -> bool {
        self.files.is_empty()
    }

    /// Closes what owes nothing to the disk.
    pub fn close_all(&mut self) {
        self.files.retain(|(_, file)| file.is_behind());
    }

    /// Appends a line, and answers.
    pub fn append(&mut self, line: &Line) -> Upward {
        let ticket = line.ticket;
        match self.try_append(line) {
            Ok((Written { offset, end }, already)) => Upward::Appended {
                ticket,
                offset,
                end,
                already,
            },
            Err(Refusal {
                may_have_happened,
                error,
            }) => Upward::AppendFailed {
                ticket,
                may_have_happened,
                error,
            },
        }
    }

    fn try_append(&mut self, line: &Line) -> Result<(Written, bool), Refusal> {
        if !line.bytes.ends_with(b"\n") || line.bytes.iter().filter(|byte| **byte == b'\n').count() != 1 {
            return Err(Refusal::no(format!(
                "an append to the inbox of {} must be one line ended by a newline; nothing was written",
                line.place
            )));
        }
        let mut file = self.take(&line.place).map_err(|error| Refusal {
            // An earlier append of it may be there: that cannot be seen now.
            may_have_happened: line.unless_present.is_some(),
            error: error.to_string(),
        })?;
        let done = append_unless_present(&mut file, &self.mailbox, line);
        self.put_back(line.place.clone(), file);
        done
    }

    fn take(&mut self, place: &Place) -> Result<LineFile, AppendError> {
        match self.files.iter().position(|(open, _)| open == place) {
            Some(at) => Ok(self.files.remove(at).1),
            None => LineFile::open_in(&self.mailbox, self.mailbox.inbox(place)),
        }
    }

    fn put_back(&mut self, place: Place, file: LineFile) {
        if self.files.len() >= self.limit {
            // One that owes lines to the disk knows what only it knows: it stays as long as another can go.
            let oldest = self.files.iter().position(|(_, file)| !file.is_behind()).unwrap_or(0);
            self.files.remove(oldest);
        }
        self.files.push((place, file));
    }
}

/// Why a line was not appended.
struct Refusal {
    may_have_happened: bool,
    error: String,
}

impl Refusal {
    fn no(error: String) -> Self {
        Self {
            may_have_happened: false,
            error,
        }
    }
}

fn append_unless_present(file: &mut LineFile, mailbox: &Mailbox, line: &Line) -> Result<(Written, bool), Refusal> {
    if let Some(id) = &line.unless_present {
        // What an earlier append left half done is finished first, and what is found is made durable (again): only then
        // does the inbox tell the truth. Whoever asks does not know, and a failure here leaves it at that.
        let unknown = |error: String| Refusal {
            may_have_happened: true,
            error,
        };
        file.resume().map_err(|error| unknown(error.to_string()))?;
        if let Some(offset) = presence::find(mailbox, &line.place, id).map_err(unknown)? {
            if file.durability() == Durability::Synced {
                file.sync().map_err(|error| unknown(error.to_string()))?;
            }
            return Ok((
                Written {
                    offset,
                    end: file.end(),
                },
                true,
            ));
        }
    }
    match file.append(&line.bytes) {
        Ok(written) => Ok((written, false)),
        Err(error) => Err(Refusal {
            may_have_happened: error.taken(),
            error: error.to_string(),
        }),
    }
}

#[cfg(test)]
mod tests;
