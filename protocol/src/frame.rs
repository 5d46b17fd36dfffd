//! What router and follower say to each other. In one process these are values on channels; over ssh each is a frame:
//! one JSON header line, followed by the bytes that the header announces (`follower/` does that encoding).

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::ids::{InjectionId, JobId, Place, Seq, SwarmId};

/// Names one request of the router to the follower, so that its answer is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Ticket(pub u64);

/// Router to follower.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "f", rename_all = "snake_case")]
pub enum Downward {
    /// Make the inbox and the outbox of these nodes, empty, if they are not there (in the outbox or the archive).
    Prepare {
        /// Answered by [`Upward::Prepared`].
        ticket: Ticket,
        /// The job.
        job_id: JobId,
        /// Ranks `0..node_count`.
        node_count: u32,
    },
    /// Write a swarm's launch file, durably, in the place of one that is there; answered by [`Upward::Prepared`].
    Launch {
        /// Answered by [`Upward::Prepared`].
        ticket: Ticket,
        /// Whose.
        swarm_id: SwarmId,
        /// The file's content.
        #[serde(skip)]
        data: Bytes,
    },
    /// Read the heartbeats of a job's nodes; answered by [`Upward::Heartbeats`].
    Heartbeats {
        /// Answered by [`Upward::Heartbeats`].
        ticket: Ticket,
        /// The job.
        job_id: JobId,
        /// Ranks `0..node_count`.
        node_count: u32,
    },
    /// Follow a node's outbox from this byte on, into the archive and to its end.
    Watch {
        /// Whose.
        place: Place,
        /// Bytes that the router already has.
        offset: u64,
    },
    /// No longer.
    Unwatch {
        /// Whose.
        place: Place,
    },
    /// Append one line to a node's inbox; answered when it is durable.
    Append {
        /// Answered by [`Upward::Appended`] or [`Upward::AppendFailed`].
        ticket: Ticket,
        /// Whose inbox.
        place: Place,
        /// If set, look first whether the inbox already has this injection (the outcome of an earlier append is unknown).
        #[serde(default, skip_serializing_if = "Option::is_none")]
        unless_present: Option<InjectionId>,
        /// The line with its newline.
        #[serde(skip)]
        line: Bytes,
    },
    /// Send a part of a node's outbox, from the outbox or the archive; answered by [`Upward::Part`].
    Read {
        /// The request's name.
        ticket: Ticket,
        /// Whose.
        place: Place,
        /// Where to begin.
        from: ReadFrom,
        /// Not beyond this byte (what the router itself has seen); the highest number: to the file's end, as far as it can be
        /// read now.
        until: u64,
        /// About how many bytes at most; at least one whole line is sent.
        max_bytes: u32,
    },
    /// These files are about to move: look soon.
    Hint {
        /// Whose.
        place: Place,
    },
    /// Answered by [`Upward::Pong`].
    Ping {
        /// Echoed.
        ticket: Ticket,
    },
}

/// Where a read begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReadFrom {
    /// At this byte, which is the start of a line.
    Offset(u64),
    /// At the first record whose `seq` is higher.
    AfterSeq(Seq),
}

/// Follower to router.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "f", rename_all = "snake_case")]
pub enum Upward {
    /// The first frame.
    Hello {
        /// Version of the software.
        version: String,
        /// The host it runs on.
        host: String,
        /// Its process id there.
        pid: u32,
        /// The mailbox's folder, resolved.
        root: String,
    },
    /// Whole lines of an outbox.
    Chunk {
        /// Whose.
        place: Place,
        /// Where in the file the first byte stands. May lie beyond the end of the last chunk only after a `Skipped`.
        offset: u64,
        /// Lines, each with its newline.
        #[serde(skip)]
        data: Bytes,
    },
    /// Bytes that are no record (a torn line, NULs that stayed), passed over.
    Skipped {
        /// Whose.
        place: Place,
        /// Where they start.
        offset: u64,
        /// How many.
        length: u64,
        /// The first of them, escaped for reading.
        head: String,
    },
    /// The outbox is in the archive and was read to its end.
    Ended {
        /// Whose.
        place: Place,
        /// The file's size.
        offset: u64,
    },
    /// An outbox that had ended is being written again (the job was requeued): it is followed again.
    Reopened {
        /// Whose.
        place: Place,
    },
    /// The line is in the inbox and durable.
    Appended {
        /// Of which append.
        ticket: Ticket,
        /// Where the line starts.
        offset: u64,
        /// Where the inbox now ends.
        end: u64,
        /// It was there before.
        already: bool,
    },
    /// The line could not be appended.
    AppendFailed {
        /// Of which append.
        ticket: Ticket,
        /// Whether it may be in the inbox all the same.
        may_have_happened: bool,
        /// What failed, where, and what to do.
        error: String,
    },
    /// The mailbox files of a job, or a swarm's launch file, are there, or could not be made.
    Prepared {
        /// Of which request.
        ticket: Ticket,
        /// What failed, where, and what to do.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        error: Option<String>,
    },
    /// An answer to [`Downward::Heartbeats`].
    Heartbeats {
        /// Of which request.
        ticket: Ticket,
        /// For each node that has a heartbeat one line, `{"node_id":3,"beat":{…}}`, with what the worker wrote.
        #[serde(skip)]
        data: Bytes,
    },
    /// An answer to [`Downward::Read`].
    Part {
        /// Of which request.
        ticket: Ticket,
        /// Where the first byte of `data` stands.
        offset: u64,
        /// Where to read on.
        next: u64,
        /// Nothing more before `until`.
        done: bool,
        /// The file could not be read: what, where, what to do.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        error: Option<String>,
        /// Whether that may be different in a moment or in a minute: on a shared filesystem handles go stale, and names and
        /// bytes come late.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        may_pass: bool,
        /// The file has bytes there that cannot be right yet. Whoever follows the file waits for them, much longer than for
        /// other trouble, and passes over them in the end if more stands behind.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        late: bool,
        /// Whole lines.
        #[serde(skip)]
        data: Bytes,
    },
    /// An answer to a ping.
    Pong {
        /// Of which ping.
        ticket: Ticket,
    },
    /// The mailbox makes trouble (no space, permission, stale handle): what, where, what to do. Following goes on.
    Trouble {
        /// Whose, if it is about one node.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        place: Option<Place>,
        /// What failed, where, what to do.
        error: String,
    },
}
