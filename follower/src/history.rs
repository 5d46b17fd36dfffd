//! Parts of an outbox on request, heartbeats, the empty files of a new job, a swarm's launch file: file work that a ticket
//! asks for, a few at a time, beside the following.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use codeswarm_mailbox::storage::ReadFile;
use codeswarm_mailbox::{Located, Mailbox, MailboxError, Tail, TailError, TailStep, seek};
use codeswarm_protocol::frame::{ReadFrom, Ticket, Upward};
use codeswarm_protocol::ids::{JobId, NodeId, Place, Seq, SwarmId};
use serde_json::value::RawValue;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::stalls::Stalls;

/// How many requests are worked on at once.
const AT_ONCE: usize = 4;

/// The most that one part brings, whatever was asked for; one line may still be longer.
const MAX_PART: u32 = 4 * 1024 * 1024;

/// Something that a ticket asks for.
#[derive(Debug)]
pub enum Request {
    /// Make a job's empty files.
    Prepare {
        /// Names the answer.
        ticket: Ticket,
        /// The job.
        job_id: JobId,
        /// Ranks below this.
        node_count: u32,
    },
    /// Write a swarm's launch file.
    Launch {
        /// Names the answer.
        ticket: Ticket,
        /// Whose.
        swarm_id: SwarmId,
        /// What is in it.
        data: Bytes,
    },
    /// The heartbeats of a job's nodes.
    Heartbeats {
        /// Names the answer.
        ticket: Ticket,
        /// The job.
        job_id: JobId,
        /// Ranks below this.
        node_count: u32,
    },
    /// A part of an outbox.
    Read {
        /// Names the answer.
        ticket: Ticket,
        /// Whose.
        place: Place,
        /// Where it begins.
        from: ReadFrom,
        /// Where it ends at the latest.
        until: u64,
        /// About how many bytes.
        max_bytes: u32,
    },
}

/// Works on requests until there are no more; each is answered on `events`.
pub async fn answer(
    mailbox: Mailbox,
    mut requests: mpsc::Receiver<Request>,
    stalls: Stalls,
    events: mpsc::Sender<Upward>,
) {
    let mut work = JoinSet::new();
    while let Some(request) = requests.recv().await {
        while work.len() >= AT_ONCE {
            work.join_next().await;
        }
        let (mailbox, stalls, events) = (mailbox.clone(), stalls.clone(), events.clone());
        work.spawn(async move {
            let answered = tokio::task::spawn_blocking(move || {
                let _under_way = match &request {
                    Request::Prepare { .. } => stalls.begin("making a job's files", None, Instant::now()),
                    Request::Launch { .. } => stalls.begin("writing a launch file", None, Instant::now()),
                    Request::Heartbeats { .. } => stalls.begin("reading heartbeats", None, Instant::now()),
                    Request::Read { place, .. } => stalls.begin("reading the outbox", Some(place), Instant::now()),
                };
                carry_out(&mailbox, request)
            });
            match answered.await {
                Ok(answer) => {
                    let _nobody_listens = events.send(answer).await;
                }
                Err(error) => tracing::error!(%error, "a request to the mailbox has panicked and is not answered"),
            }
        });
    }
    while work.join_next().await.is_some() {}
}

/// Does it, and answers.
pub fn carry_out(mailbox: &Mailbox, request: Request) -> Upward {
    match request {
        Request::Prepare {
            ticket,
            job_id,
            node_count,
        } => Upward::Prepared {
            ticket,
            error: mailbox
                .prepare(&job_id, node_count)
                .err()
                .map(|error| error.to_string()),
        },
        Request::Launch { ticket, swarm_id, data } => Upward::Prepared {
            ticket,
            error: codeswarm_mailbox::launch::write(mailbox, &swarm_id, &data)
                .err()
                .map(|error| error.to_string()),
        },
        Request::Heartbeats {
            ticket,
            job_id,
            node_count,
        } => Upward::Heartbeats {
            ticket,
            data: heartbeats(mailbox, &job_id, node_count),
        },
        Request::Read {
            ticket,
            place,
            from,
            until,
            max_bytes,
        } => {
            let part = read(mailbox, &place, from, until, max_bytes.clamp(1, MAX_PART) as usize);
            let (part, unread) = match part {
                Ok(part) => (part, None),
                Err((at, unread)) => (Part::nothing_at(at, false), Some(unread)),
            };
            let (may_pass, late) = unread
                .as_ref()
                .map_or((false, false), |unread| (unread.may_pass, unread.late));
            Upward::Part {
                ticket,
                offset: part.offset,
                next: part.next,
                done: part.done,
                error: unread.map(|unread| unread.error),
                may_pass,
                late,
                data: part.data,
            }
        }
    }
}

/// What each worker wrote last, one line each. One that cannot be read is as good as none: nobody waits for it.
fn heartbeats(mailbox: &Mailbox, job_id: &JobId, node_count: u32) -> Bytes {
    let mut lines = Vec::new();
    for node_id in (0..node_count).filter_map(|rank| NodeId::new(rank).ok()) {
        let place = Place::new(job_id.clone(), node_id);
        let beat = codeswarm_mailbox::heartbeat::read(mailbox, &place).ok().flatten();
        let beat = beat.and_then(|beat| serde_json::from_slice::<Box<RawValue>>(&beat).ok());
        if let Some(beat) = beat
            && !beat.get().contains('\n')
        {
            lines.extend_from_slice(format!("{{\"node_id\":{node_id},\"beat\":{}}}\n", beat.get()).as_bytes());
        }
    }
    lines.into()
}

/// Why nothing was read.
struct Unread {
    error: String,
    may_pass: bool,
    /// Bytes that the file has and does not show yet.
    late: bool,
}

impl Unread {
    fn of(error: &TailError) -> Self {
        Self {
            error: error.to_string(),
            may_pass: matches!(error, TailError::Later { .. }),
            late: false,
        }
    }

    /// On a shared filesystem it may be there: that a name was not is remembered for a while.
    fn missing(mailbox: &Mailbox, place: &Place) -> Self {
        Self {
            error: format!("there is no outbox of {place}, neither in the outbox nor in the archive"),
            may_pass: mailbox.filesystem().is_network(),
            late: false,
        }
    }
}

impl From<MailboxError> for Unread {
    fn from(error: MailboxError) -> Self {
        Self {
            may_pass: error.may_pass(),
            late: false,
            error: error.to_string(),
        }
    }
}

/// Whole lines of an outbox.
struct Part {
    offset: u64,
    next: u64,
    done: bool,
    data: Bytes,
}

impl Part {
    fn nothing_at(offset: u64, done: bool) -> Self {
        Self {
            offset,
            next: offset,
            done,
            data: Bytes::new(),
        }
    }
}

/// Reads whole lines before `until`. What is no record is left out; the data then ends before it, so that every byte's
/// place is known.
fn read(mailbox: &Mailbox, place: &Place, from: ReadFrom, until: u64, max_bytes: usize) -> Result<Part, (u64, Unread)> {
    let start = match from {
        ReadFrom::Offset(offset) => offset,
        ReadFrom::AfterSeq(seq) => offset_after(mailbox, place, seq, until).map_err(|error| (0, error))?,
    };
    let mut tail = Tail::outbox(mailbox, place.clone(), start);
    // What cannot be right yet is looked at once more, with a fresh copy of its bytes. Then, up to where the asker has seen:
    // whatever cannot be a record was given up once, and what stands behind it was read. Of a file to its very end it is not
    // history yet: whoever follows it will hear of it, and until then this is not the end.
    tail.set_patience(Duration::MAX);
    let mut doubted = false;
    while tail.offset() < until {
        let wanted = usize::try_from(until - tail.offset())
            .unwrap_or(max_bytes)
            .min(max_bytes);
        let at = tail.offset();
        match tail
            .step(wanted, Instant::now())
            .map_err(|error| (at, Unread::of(&error)))?
        {
            TailStep::Lines { offset, data } => return Ok(lines_before(until, offset, data)),
            TailStep::Skipped { .. } | TailStep::Reopened => {}
            TailStep::Missing => {
                return Err((at, Unread::missing(mailbox, place)));
            }
            TailStep::Nothing if tail.in_doubt() && !doubted => {
                doubted = true;
                if until != u64::MAX {
                    tail.set_patience(Duration::ZERO);
                }
            }
            TailStep::Nothing if tail.in_doubt() && until == u64::MAX => {
                let error = format!("bytes of the outbox of {place} have not come yet, from byte {at} on");
                let unread = Unread {
                    error,
                    may_pass: true,
                    late: true,
                };
                return Err((at, unread));
            }
            TailStep::Nothing | TailStep::Ended { .. } | TailStep::Shrunk { .. } => break,
        }
    }
    Ok(Part::nothing_at(tail.offset(), true))
}

/// Cuts off the lines that end beyond `until`.
fn lines_before(until: u64, offset: u64, mut data: Bytes) -> Part {
    let room = usize::try_from(until.saturating_sub(offset)).unwrap_or(usize::MAX);
    if let Some(before) = data.get(..room) {
        data.truncate(memchr::memrchr(b'\n', before).map_or(0, |newline| newline + 1));
    }
    let next = offset + data.len() as u64;
    let done = next >= until || data.is_empty();
    // A part is kept by others for a while; a cut must not keep the whole of what was read.
    if data.len() < room / 2 {
        data = BytesMut::from(data.as_ref()).freeze();
    }
    Part {
        offset,
        next,
        done,
        data,
    }
}

/// Where the first record after `seq` starts.
fn offset_after(mailbox: &Mailbox, place: &Place, seq: Seq, until: u64) -> Result<u64, Unread> {
    let Some((file, path)) = open(mailbox, place)? else {
        return Err(Unread::missing(mailbox, place));
    };
    let trouble = |error: std::io::Error| Unread {
        error: format!(
            "the record after {seq} could not be looked for in {}: {error}",
            path.display()
        ),
        may_pass: true,
        late: false,
    };
    if mailbox.filesystem().is_network() {
        // A record in a page whose copy is old would not be one, and the next would be taken for the first.
        file.forget_copy(0);
    }
    let size = file.size().map_err(trouble)?;
    seek::find_after_seq(&*file, size.min(until), seq).map_err(trouble)
}

/// A file and the name it was found under.
type Opened = (Box<dyn ReadFile>, PathBuf);

/// The outbox wherever it is; twice, since it may be renamed between looking and opening.
fn open(mailbox: &Mailbox, place: &Place) -> Result<Option<Opened>, Unread> {
    for _ in 0..2 {
        let (located, path, _) = mailbox.locate_file(place)?;
        if located == Located::Nowhere {
            return Ok(None);
        }
        match mailbox.storage().open_to_read(&path) {
            Ok(file) => return Ok(Some((file, path))),
            Err(MailboxError::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests;
