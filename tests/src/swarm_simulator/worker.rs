//! One played worker: its outbox, written with the worker's own numbering and the mailbox's own appending.

use std::io;
use std::time::SystemTime;

use codeswarm_mailbox::{LineFile, Mailbox};
use codeswarm_protocol::record::{RECORD_VERSION, Word};
use codeswarm_protocol::turn::TurnStatus;
use codeswarm_protocol::{Epoch, InjectionId, Place, Seq, Timestamp};
use codeswarm_worker::core::outbound::Outbound;
use codeswarm_worker::doorbell::Doorbell;
use codeswarm_worker::outbox::write_line;

/// The worker.
pub struct PlayedWorker {
    outbound: Outbound,
    file: LineFile,
    lines: Vec<u8>,
    bell: Option<Doorbell>,
}

impl PlayedWorker {
    /// Takes an outbox that nobody has written yet, and says that it is ready.
    ///
    /// # Errors
    /// The outbox cannot be written, or is not new.
    pub fn start(mailbox: &Mailbox, place: Place) -> io::Result<Self> {
        let file = LineFile::open_in(mailbox, mailbox.outbox(&place)).map_err(io::Error::other)?;
        if file.end() > 0 {
            return Err(io::Error::other(format!(
                "{} was written before",
                file.path().display()
            )));
        }
        let mut worker = Self {
            outbound: Outbound::new(place, Epoch(1), Seq(0)),
            file,
            lines: Vec::new(),
            bell: None,
        };
        worker.push(
            Word::WorkerStart {
                v: RECORD_VERSION,
                version: codeswarm_protocol::VERSION.to_owned(),
                host: "played".to_owned(),
                pid: std::process::id(),
                pid_started: None,
                agent: "echo".to_owned(),
                recovered: Vec::new(),
            },
            None,
        );
        worker.push(
            Word::AgentReady {
                agent: "echo".to_owned(),
                agent_version: None,
                thread_id: "played".to_owned(),
                resumed: false,
                model: None,
                cwd: "/".to_owned(),
            },
            None,
        );
        worker.write()?;
        Ok(worker)
    }

    /// Rings from now on, also for what it has said before.
    pub fn connect(&mut self, bell: Doorbell) {
        bell.ring(self.file.end());
        self.bell = Some(bell);
    }

    /// How many records it has said.
    pub fn said(&self) -> u64 {
        self.outbound.last().0
    }

    /// Says one thing, at once.
    ///
    /// # Errors
    /// The outbox cannot be written.
    pub fn say(&mut self, word: Word, injection: Option<InjectionId>) -> io::Result<()> {
        self.push(word, injection);
        self.write()
    }

    /// Answers a prompt with a short turn, in one write as a worker's group commit does.
    ///
    /// # Errors
    /// The outbox cannot be written.
    pub fn answer(&mut self, injection: InjectionId) -> io::Result<()> {
        let item_id = Some("answer".to_owned());
        let words = [
            Word::InjectReceived { queued_behind: 0 },
            Word::TurnStarted {
                turn_id: None,
                steered_into: None,
            },
            Word::AssistantDelta {
                content: "as you say".to_owned(),
                item_id: item_id.clone(),
            },
            Word::Assistant {
                content: "as you say".to_owned(),
                item_id,
                phase: None,
            },
            Word::TurnComplete {
                status: TurnStatus::Completed,
                error: None,
                duration_ms: 0,
                usage: None,
                steered_into: None,
            },
        ];
        for word in words {
            self.push(word, Some(injection.clone()));
        }
        self.write()
    }

    fn push(&mut self, word: Word, injection: Option<InjectionId>) {
        self.outbound.push(word, injection, Timestamp::from(SystemTime::now()));
    }

    fn write(&mut self) -> io::Result<()> {
        self.lines.clear();
        for record in self.outbound.take(usize::MAX) {
            write_line(record, &mut self.lines);
        }
        self.file.append(&self.lines).map_err(io::Error::other)?;
        if let Some(bell) = &self.bell {
            bell.ring(self.file.end());
        }
        Ok(())
    }
}
