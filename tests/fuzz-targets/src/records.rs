//! Lines of mailbox files, and the small files beside them.

use std::cell::RefCell;

use bytes::Bytes;
use codeswarm_mailbox::{FilesystemKind, Mailbox, heartbeat, lease};
use codeswarm_protocol::command::Spelling;
use codeswarm_protocol::inbox::InboxRecord;
use codeswarm_protocol::line::{Added, write_event};
use codeswarm_protocol::record::{RecordHead, WorkerRecord};
use codeswarm_protocol::{Place, RequestId, SwarmId};
use codeswarm_worker::core::Input;
use codeswarm_worker::core::recovery::Reading;
use codeswarm_worker::inbox;
use serde::de::IgnoredAny;

use crate::lines;

/// What a worker wrote, or what stands in its file instead: a record becomes one line of JSON for a client in either
/// spelling, reads back as it was, and a worker that recovers from it counts each injection in one place.
pub fn outbox_lines(data: &[u8]) {
    let mut reading = Reading::default();
    let mut count = 0;
    for line in lines(data) {
        reading.line(line);
        count += 1;
        if let Ok(record) = serde_json::from_slice::<WorkerRecord>(line) {
            let mut written = Vec::new();
            record.write_line(&mut written).unwrap();
            assert_eq!(serde_json::from_slice::<WorkerRecord>(&written).unwrap(), record);
            assert!(RecordHead::parse(&written).is_ok_and(|head| head.seq == record.seq));
        }
        if let Ok(head) = RecordHead::parse(line) {
            becomes_an_event(line, &head);
        }
    }
    let unread = reading.unread();
    assert!(unread <= count);
    let told = reading.end();
    // There is a next number and a next life, and the router's database holds them.
    assert!(i64::try_from(told.last_seq.next().0).is_ok() && told.last_epoch.0 < u32::MAX);
    assert!(told.started.len() + told.waiting.len() + told.ended.len() <= (count - unread) as usize);
    assert!(told.waiting.is_disjoint(&told.ended));
    for cut in &told.started {
        assert!(!told.ended.contains(&cut.injection) && !told.waiting.contains(&cut.injection));
    }
}

fn becomes_an_event(line: &[u8], head: &RecordHead<'_>) {
    let (swarm, request) = (SwarmId::new("s-1").unwrap(), RequestId::new("r \"1\"").unwrap());
    for spelling in [Spelling::Flat, Spelling::Enveloped] {
        for added in [
            Added::default(),
            Added {
                swarm_id: Some(&swarm),
                request_id: Some(&request),
            },
        ] {
            let mut event = b"before\n".to_vec();
            write_event(&mut event, spelling, line, head, added).unwrap();
            let event = event.strip_prefix(b"before\n").unwrap();
            let (newline, text) = event.split_last().unwrap();
            assert_eq!(*newline, b'\n');
            assert!(!text.contains(&b'\n'), "two lines of one record");
            assert!(event.len() <= line.len() + 6 * head.timestamp.len() + 6 * head.kind.len() + 300);
            serde_json::from_slice::<IgnoredAny>(text).unwrap_or_else(|error| {
                panic!("{error}: {}", String::from_utf8_lossy(text));
            });
            if spelling == Spelling::Flat {
                let again = RecordHead::parse(text).unwrap();
                assert_eq!(again, *head);
            }
        }
    }
}

/// What the router wrote for a worker, or what stands in the inbox instead: each line becomes one input, and their
/// places lie one behind the other without a gap.
pub fn inbox_lines(data: &[u8]) {
    const START: u64 = 1000;
    let mut bytes = data.to_vec();
    if !bytes.ends_with(b"\n") {
        bytes.push(b'\n');
    }
    let whole = bytes.len() as u64;
    let count = bytes.iter().filter(|byte| **byte == b'\n').count();
    let mut at = START;
    let mut seen = 0;
    for input in inbox::inputs(START, Bytes::from(bytes)) {
        seen += 1;
        at = match input {
            Input::Inbox { record, end } => {
                let line = record.to_line().unwrap();
                assert_eq!(line.iter().filter(|byte| **byte == b'\n').count(), 1);
                assert_eq!(serde_json::from_slice::<InboxRecord>(&line).unwrap(), record);
                assert!(end > at);
                end
            }
            Input::InboxBad {
                offset, end, reason, ..
            } => {
                assert_eq!(offset, at);
                assert!(!reason.is_empty() && reason.chars().count() <= 300, "{reason}");
                end
            }
            other => panic!("{other:?}"),
        };
    }
    assert_eq!((seen, at), (count, START + whole));
}

/// The small files that another process wrote: a heartbeat, the lease. Whatever is in them, looking at them ends,
/// and takes no more than they may hold.
pub fn state_files(data: &[u8]) {
    thread_local! {
        static FOLDER: RefCell<Option<tempfile::TempDir>> = const { RefCell::new(None) };
    }
    let root = FOLDER.with_borrow_mut(|folder| {
        let folder = folder.get_or_insert_with(|| tempfile::tempdir().unwrap());
        folder.path().join("root")
    });
    let place = Place::from_stem("7_00").unwrap();
    for kind in [FilesystemKind::Local, FilesystemKind::Network("nfs")] {
        let mailbox = Mailbox::at(&root).on(kind);
        if !root.join("mailbox").exists() {
            mailbox.create().unwrap();
            mailbox.prepare(&place.job_id, 1).unwrap();
            heartbeat::write(&mailbox, &place, b"{}").unwrap();
            drop(lease::Lease::take(&mailbox, "h", 1, "x").unwrap());
        }
        std::fs::write(mailbox.heartbeat(&place), data).unwrap();
        if let Some(beat) = heartbeat::read(&mailbox, &place).unwrap() {
            assert!(beat.len() <= 1024 && beat.starts_with(b"{") && beat.ends_with(b"}"));
        }
        std::fs::write(mailbox.folder().join("follower.lease"), data).unwrap();
        if let Some(holder) = lease::holder(&mailbox).unwrap() {
            assert!(holder.len() <= 20 * 1024);
            assert!(kind.is_network(), "nobody holds the lock, and {holder} is told");
        }
    }
}
