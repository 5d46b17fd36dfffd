//! The functions that every record passes through on its way from an agent to a client, each with an input of its own, so that
//! their time (`cargo bench -p codeswarm-hot-functions`) and their instructions (`tests/instructions`) can be counted.
//!
//! It knows what to call and with what, and neither counts nor judges. A call that does not do what it is there for is an
//! [`Failed`], so that nobody is pleased about a function that has become fast by doing nothing.

mod records;

use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use codeswarm_follower::wire::{Decoder, Encoder};
use codeswarm_mailbox::{Mailbox, Tail, TailStep};
use codeswarm_protocol::command::{Request, Spelling};
use codeswarm_protocol::frame::Upward;
use codeswarm_protocol::line::{Added, write_event};
use codeswarm_protocol::record::RecordHead;
use codeswarm_protocol::{Epoch, Place, Seq, SwarmId, Timestamp};
use codeswarm_worker::core::outbound::Outbound;
use codeswarm_worker::outbox::write_line;
use tempfile::TempDir;

/// A call did not do what it is there for.
#[derive(Debug)]
pub struct Failed(pub String);

impl Failed {
    fn of(error: impl std::fmt::Display) -> Self {
        Self(error.to_string())
    }
}

/// How many records an input has.
pub const RECORDS: u64 = 1000;

/// One function with its input.
pub trait Hot {
    /// Calls it once for its whole input; answers how many units (records, commands) that were.
    ///
    /// # Errors
    /// It did not do what it is there for.
    fn call(&mut self) -> Result<u64, Failed>;
}

/// Makes a function's input.
pub type Make = fn() -> Result<Box<dyn Hot>, Failed>;

/// All of them: the name, and what is counted.
pub const ALL: [(&str, &str, Make); 8] = [
    ("outbox-write", "a worker numbers a record and makes its line", || {
        OutboxWrite::make()
    }),
    ("tail-read", "a follower reads a record's line from its file", || {
        TailRead::make()
    }),
    (
        "frame-encode",
        "a chunk of 1,000 records becomes a frame, compressed",
        || FrameEncode::make(false),
    ),
    ("frame-encode-line", "a chunk of one record becomes a frame", || {
        FrameEncode::make(true)
    }),
    ("frame-decode", "a frame of 1,000 records is read back", || {
        FrameDecode::make()
    }),
    ("record-head", "a record's head is parsed", || RecordHeads::make()),
    (
        "client-event",
        "a record becomes a client's event, its head parsed",
        || ClientEvents::make(),
    ),
    (
        "client-command",
        "a client's command is parsed, flat and in an envelope",
        || ClientCommands::make(),
    ),
];

struct OutboxWrite {
    place: Place,
}

impl OutboxWrite {
    fn make() -> Result<Box<dyn Hot>, Failed> {
        let place = records::place()?;
        Ok(Box::new(Self { place }))
    }
}

impl Hot for OutboxWrite {
    fn call(&mut self) -> Result<u64, Failed> {
        let mut outbound = Outbound::new(self.place.clone(), Epoch(1), Seq(0));
        let mut lines = Vec::new();
        for number in 0..RECORDS {
            outbound.push(
                records::word(number),
                records::injection(),
                Timestamp(1_790_000_000_000),
            );
            for record in outbound.take(1 << 20) {
                write_line(record, &mut lines);
            }
        }
        match outbound.last() {
            Seq(RECORDS) => Ok(RECORDS),
            last => Err(Failed(format!("{last} records were numbered"))),
        }
    }
}

struct TailRead {
    mailbox: Mailbox,
    place: Place,
    size: u64,
    _folder: TempDir,
}

impl TailRead {
    fn make() -> Result<Box<dyn Hot>, Failed> {
        let folder = tempfile::tempdir().map_err(Failed::of)?;
        let mailbox = Mailbox::at(folder.path().join("root"));
        let place = records::place()?;
        let made = mailbox.create().and_then(|()| mailbox.prepare(&place.job_id, 1));
        made.map_err(Failed::of)?;
        let lines = records::lines()?.concat();
        std::fs::write(mailbox.outbox(&place), &lines).map_err(Failed::of)?;
        Ok(Box::new(Self {
            mailbox,
            place,
            size: lines.len() as u64,
            _folder: folder,
        }))
    }
}

impl Hot for TailRead {
    fn call(&mut self) -> Result<u64, Failed> {
        let mut tail = Tail::outbox(&self.mailbox, self.place.clone(), 0);
        loop {
            match tail.step(256 << 10, Instant::now() + Duration::ZERO) {
                Ok(TailStep::Lines { .. } | TailStep::Reopened) => {}
                Ok(TailStep::Nothing) if tail.offset() == self.size => return Ok(RECORDS),
                Ok(step) => return Err(Failed(format!("{step:?} at byte {}", tail.offset()))),
                Err(error) => return Err(Failed::of(error)),
            }
        }
    }
}

struct FrameEncode {
    frame: Upward,
    records: u64,
    encoder: Encoder,
}

impl FrameEncode {
    fn make(one: bool) -> Result<Box<dyn Hot>, Failed> {
        let lines = records::lines()?;
        let data = if one { lines[0].clone() } else { lines.concat() };
        Ok(Box::new(Self {
            frame: chunk(data)?,
            records: if one { 1 } else { RECORDS },
            encoder: Encoder::new(),
        }))
    }
}

fn chunk(data: Vec<u8>) -> Result<Upward, Failed> {
    Ok(Upward::Chunk {
        place: records::place()?,
        offset: 0,
        data: Bytes::from(data),
    })
}

impl Hot for FrameEncode {
    fn call(&mut self) -> Result<u64, Failed> {
        let mut out = BytesMut::new();
        self.encoder.encode(&self.frame, &mut out).map_err(Failed::of)?;
        match out.is_empty() {
            false => Ok(self.records),
            true => Err(Failed("an empty frame".to_owned())),
        }
    }
}

struct FrameDecode {
    bytes: BytesMut,
    frame: Upward,
}

impl FrameDecode {
    fn make() -> Result<Box<dyn Hot>, Failed> {
        let frame = chunk(records::lines()?.concat())?;
        let mut bytes = BytesMut::new();
        Encoder::new().encode(&frame, &mut bytes).map_err(Failed::of)?;
        Ok(Box::new(Self { bytes, frame }))
    }
}

impl Hot for FrameDecode {
    fn call(&mut self) -> Result<u64, Failed> {
        let mut decoder = Decoder::<Upward>::bare();
        let mut buffer = self.bytes.clone();
        match decoder.decode(&mut buffer).map_err(Failed::of)? {
            Some(frame) if frame == self.frame => Ok(RECORDS),
            other => Err(Failed(format!("another frame came out: {}", other.is_some()))),
        }
    }
}

struct RecordHeads {
    lines: Vec<Vec<u8>>,
}

impl RecordHeads {
    fn make() -> Result<Box<dyn Hot>, Failed> {
        let lines = records::lines()?;
        Ok(Box::new(Self { lines }))
    }
}

impl Hot for RecordHeads {
    fn call(&mut self) -> Result<u64, Failed> {
        let mut last = Seq(0);
        for line in &self.lines {
            last = RecordHead::parse(line).map_err(Failed::of)?.seq;
        }
        match last {
            Seq(RECORDS) => Ok(RECORDS),
            last => Err(Failed(format!("the last head has the number {last}"))),
        }
    }
}

struct ClientEvents {
    lines: Vec<Vec<u8>>,
    swarm_id: SwarmId,
}

impl ClientEvents {
    fn make() -> Result<Box<dyn Hot>, Failed> {
        let lines = records::lines()?;
        let swarm_id = SwarmId::new("sw-19d4ed8b3c").map_err(Failed::of)?;
        Ok(Box::new(Self { lines, swarm_id }))
    }
}

impl Hot for ClientEvents {
    fn call(&mut self) -> Result<u64, Failed> {
        let mut out = Vec::new();
        let mut length = 0;
        for line in &self.lines {
            let head = RecordHead::parse(line).map_err(Failed::of)?;
            let added = Added {
                swarm_id: Some(&self.swarm_id),
                request_id: None,
            };
            write_event(&mut out, Spelling::Flat, line, &head, added).map_err(Failed::of)?;
            length += line.len();
        }
        match out.len() > length {
            true => Ok(RECORDS),
            false => Err(Failed("the events are shorter than the records".to_owned())),
        }
    }
}

struct ClientCommands {
    lines: [&'static [u8]; 2],
}

impl ClientCommands {
    fn make() -> Result<Box<dyn Hot>, Failed> {
        Ok(Box::new(Self {
            lines: [
                br#"{"command":"inject","request_id":"r1","swarm_id":"sw-19d4ed8b3c","nodes":"0,2-4","content":"Run the tests and tell which fail."}"#,
                br#"{"protocol":"codeswarm.router.v1","type":"command","command":"inject","request_id":"r2","payload":{"swarm_id":"sw-19d4ed8b3c","nodes":"all","content":"Run the tests and tell which fail."}}"#,
            ],
        }))
    }
}

impl Hot for ClientCommands {
    fn call(&mut self) -> Result<u64, Failed> {
        for line in self.lines {
            Request::parse(line).map_err(|bad| Failed(format!("{:?}", bad.rejection)))?;
        }
        Ok(2)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_does_what_it_is_there_for_and_again() {
        for (name, _, make) in ALL {
            let mut hot = make().unwrap();
            for _ in 0..2 {
                let units = hot.call().unwrap_or_else(|failed| panic!("{name}: {failed:?}"));
                assert!(units > 0, "{name}");
            }
        }
    }
}
