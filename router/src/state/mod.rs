//! What the router keeps that no mailbox file can tell it: swarms, accepted injections, cursors, request names, and what it
//! said itself. One SQLite file; it is a cache of the files wherever the two could disagree.
//!
//! This room stores and finds; it decides nothing.

mod load;
mod schema;

pub use load::Loaded;

use std::collections::BTreeMap;
use std::path::Path;

use rusqlite::{Connection, OptionalExtension, params};

use codeswarm_protocol::event::{RouterEvent, RouterWord};
use codeswarm_protocol::{Place, Position, RequestId, Seq};

use crate::core::{Change, Injection, InjectionState, KnownRequest};

/// The state could not be read or written; the message says which file and why.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// SQLite says no.
    #[error("the router's state {file}: {source}. Check that its disk has space and is writable")]
    Database {
        /// The file.
        file: String,
        /// SQLite's words.
        source: rusqlite::Error,
    },
    /// The file was written by a newer version.
    #[error("the router's state {file} has format {found}, this version knows up to {known}; use the newer codeswarm")]
    TooNew {
        /// The file.
        file: String,
        /// Its format.
        found: i64,
        /// Ours.
        known: i64,
    },
    /// What is kept elsewhere cannot be written.
    #[error("the router's state cannot be written: {0}")]
    Elsewhere(String),
    /// A stored value cannot be read.
    #[error("the router's state {file} holds a {what} that cannot be read: {source}")]
    Value {
        /// The file.
        file: String,
        /// What kind of value.
        what: &'static str,
        /// Why.
        source: serde_json::Error,
    },
}

/// How much a commit has to outlive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Durability {
    /// The death of this process.
    Process,
    /// The loss of power.
    Power,
}

/// The open state.
#[derive(Debug)]
pub struct State {
    connection: Connection,
    file: String,
    synced: Durability,
}

/// What is stored together.
#[derive(Debug, Default)]
pub struct Batch {
    /// In order.
    pub changes: Vec<Change>,
    /// How far each outbox was read, and where its stream ends now.
    pub cursors: BTreeMap<Place, (u64, Position)>,
}

impl Batch {
    /// A request that this batch carries out, if it does.
    pub fn request(&self, wanted: &RequestId) -> Option<KnownRequest> {
        self.changes.iter().find_map(|change| match change {
            Change::Request { request_id, known } if request_id == wanted => Some(known.clone()),
            _ => None,
        })
    }

    /// What this batch says in a node's stream after `from` and up to `until`, in order.
    pub fn said<'a>(
        &'a self,
        wanted: &'a Place,
        from: Position,
        until: Position,
    ) -> impl Iterator<Item = (Position, RouterEvent)> + 'a {
        self.changes.iter().filter_map(move |change| match change {
            Change::Said { place, position, event } if place == wanted && *position > from && *position <= until => {
                Some((*position, event.clone()))
            }
            _ => None,
        })
    }

    /// What was promised outlives the power, and so does what it rests on: that a prompt may be in its inbox, and that one
    /// has failed and will never be. The rest can be read again.
    pub fn durability(&self) -> Durability {
        let promised = |change: &Change| match change {
            Change::Injection(_) | Change::InjectionState(_, InjectionState::Sent) => true,
            Change::Swarm(_) | Change::Submission(_) => true,
            Change::Said { event, .. } => matches!(event.word, RouterWord::InjectFailed { .. }),
            _ => false,
        };
        if self.changes.iter().any(promised) {
            Durability::Power
        } else {
            Durability::Process
        }
    }
}

/// Where the router keeps what it must not forget. [`State`] is the real one; a simulation has its own.
pub trait Store: Send {
    /// What an earlier life left.
    fn load(&self) -> Result<Loaded, StateError>;
    /// Stores all of it or nothing, and returns when it is as durable as asked for.
    fn commit(&mut self, batch: &Batch, durability: Durability) -> Result<(), StateError>;
    /// What is stored about a request.
    fn request(&self, request_id: &RequestId) -> Result<Option<KnownRequest>, StateError>;
    /// The request that caused an injection.
    fn request_of(&self, injection_id: &str) -> Result<Option<RequestId>, StateError>;
    /// What the router said in a node's stream after `from` and up to `until`, in order, at most `limit` of them.
    fn said(
        &self,
        place: &Place,
        from: Position,
        until: Position,
        limit: u32,
    ) -> Result<Vec<(Position, RouterEvent)>, StateError>;
    /// From now on nothing can be stored, or can again.
    #[cfg(test)]
    fn refuse_writes(&self, refused: bool);
}

impl Store for State {
    fn load(&self) -> Result<Loaded, StateError> {
        Self::load(self)
    }

    fn commit(&mut self, batch: &Batch, durability: Durability) -> Result<(), StateError> {
        Self::commit(self, batch, durability)
    }

    fn request(&self, request_id: &RequestId) -> Result<Option<KnownRequest>, StateError> {
        Self::request(self, request_id)
    }

    fn request_of(&self, injection_id: &str) -> Result<Option<RequestId>, StateError> {
        Self::request_of(self, injection_id)
    }

    fn said(
        &self,
        place: &Place,
        from: Position,
        until: Position,
        limit: u32,
    ) -> Result<Vec<(Position, RouterEvent)>, StateError> {
        Self::said(self, place, from, until, limit)
    }

    #[cfg(test)]
    fn refuse_writes(&self, refused: bool) {
        Self::refuse_writes(self, refused);
    }
}

impl State {
    /// Opens the state, or makes it; the caller holds the router's lock.
    pub fn open(path: &Path) -> Result<Self, StateError> {
        let file = path.display().to_string();
        make_private(path);
        let connection = Connection::open(path).map_err(|source| StateError::Database {
            file: file.clone(),
            source,
        })?;
        let state = Self {
            connection,
            file,
            synced: Durability::Process,
        };
        schema::prepare(&state)?;
        Ok(state)
    }

    fn database<T>(&self, result: rusqlite::Result<T>) -> Result<T, StateError> {
        result.map_err(|source| StateError::Database {
            file: self.file.clone(),
            source,
        })
    }

    fn json<T: serde::Serialize>(&self, what: &'static str, value: &T) -> Result<String, StateError> {
        serde_json::to_string(value).map_err(|source| StateError::Value {
            file: self.file.clone(),
            what,
            source,
        })
    }

    fn value<T: serde::de::DeserializeOwned>(&self, what: &'static str, text: &str) -> Result<T, StateError> {
        serde_json::from_str(text).map_err(|source| StateError::Value {
            file: self.file.clone(),
            what,
            source,
        })
    }

    fn run(&self, sql: &str, values: impl rusqlite::Params) -> Result<(), StateError> {
        let ran = self
            .connection
            .prepare_cached(sql)
            .and_then(|mut statement| statement.execute(values));
        self.database(ran).map(drop)
    }

    /// Stores all of it or nothing, and returns when it is as durable as asked for. Storing nothing costs nothing.
    pub fn commit(&mut self, batch: &Batch, durability: Durability) -> Result<(), StateError> {
        if batch.changes.is_empty() && batch.cursors.is_empty() {
            return Ok(());
        }
        if self.synced != durability {
            let level = if durability == Durability::Power {
                "FULL"
            } else {
                "NORMAL"
            };
            self.run(&format!("PRAGMA synchronous = {level}"), [])?;
            self.synced = durability;
        }
        self.run("BEGIN IMMEDIATE", [])?;
        let stored = self.store(batch).and_then(|()| self.run("COMMIT", []));
        if stored.is_err() && !self.connection.is_autocommit() {
            self.run("ROLLBACK", [])?;
        }
        stored
    }

    fn store(&self, batch: &Batch) -> Result<(), StateError> {
        for change in &batch.changes {
            self.apply(change)?;
        }
        for (place, (offset, position)) in &batch.cursors {
            self.run(
                "UPDATE nodes SET offset = ?3, seq = ?4, sub = ?5 WHERE job_id = ?1 AND node_id = ?2",
                params![
                    place.job_id.as_str(),
                    place.node_id.rank(),
                    offset,
                    position.seq.0,
                    position.sub
                ],
            )?;
        }
        Ok(())
    }

    fn apply(&self, change: &Change) -> Result<(), StateError> {
        match change {
            Change::Swarm(swarm) => self.run(
                "INSERT INTO swarms(swarm_id, json) VALUES (?1, ?2) \
                 ON CONFLICT(swarm_id) DO UPDATE SET json = excluded.json",
                params![swarm.swarm_id.as_str(), self.json("swarm", swarm)?],
            ),
            Change::Node(place, node) => self.run(
                "INSERT INTO nodes(job_id, node_id, json, offset, seq, sub) VALUES (?1, ?2, ?3, ?4, ?5, ?6) \
                 ON CONFLICT(job_id, node_id) DO UPDATE SET json = excluded.json, offset = excluded.offset, \
                 seq = excluded.seq, sub = excluded.sub",
                params![
                    place.job_id.as_str(),
                    place.node_id.rank(),
                    self.json("node", node)?,
                    node.offset,
                    node.position.seq.0,
                    node.position.sub
                ],
            ),
            Change::Injection(injection) => self.insert_injection(injection),
            Change::InjectionState(id, state) => self.move_injection(id.as_str(), *state),
            Change::Submission(submission) => self.run(
                "INSERT OR REPLACE INTO submissions(swarm_id, json) VALUES (?1, ?2)",
                params![
                    submission.swarm.swarm_id.as_str(),
                    self.json("submission", submission)?
                ],
            ),
            Change::SubmissionOver(swarm_id) => {
                self.run("DELETE FROM submissions WHERE swarm_id = ?1", [swarm_id.as_str()])
            }
            Change::Request { request_id, known } => self.run(
                "INSERT OR REPLACE INTO requests(request_id, fingerprint, swarm_id, injections) VALUES (?1, ?2, ?3, ?4)",
                params![
                    request_id.as_str(),
                    known.fingerprint,
                    known.swarm_id.as_ref().map(|id| id.as_str()),
                    self.json("request", &known.injections)?
                ],
            ),
            Change::Said { place, position, event } => self.run(
                "INSERT OR REPLACE INTO said(job_id, node_id, seq, sub, json) VALUES (?1, ?2, ?3, ?4, ?5)",
                params![
                    place.job_id.as_str(),
                    place.node_id.rank(),
                    position.seq.0,
                    position.sub,
                    self.json("event", event)?
                ],
            ),
        }
    }

    fn insert_injection(&self, injection: &Injection) -> Result<(), StateError> {
        self.run(
            "INSERT OR IGNORE INTO prompts(number, content) VALUES (?1, ?2)",
            params![injection.prompt_number, injection.content.as_deref()],
        )?;
        self.run(
            "INSERT INTO injections(injection_id, job_id, node_id, request_id, prompt_number, steer, state, number, \
             ack_seq, ack_sub, accepted) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
            params![
                injection.injection_id.as_str(),
                injection.place.job_id.as_str(),
                injection.place.node_id.rank(),
                injection.request_id.as_ref().map(|id| id.as_str()),
                injection.prompt_number,
                injection.steer,
                state_number(injection.state),
                injection.number,
                injection.acknowledged_at.seq.0,
                injection.acknowledged_at.sub,
                injection.accepted.0
            ],
        )
    }

    fn move_injection(&self, id: &str, state: InjectionState) -> Result<(), StateError> {
        self.run(
            "UPDATE injections SET state = ?2 WHERE injection_id = ?1",
            params![id, state_number(state)],
        )?;
        if state >= InjectionState::Delivered {
            // The text is in the inbox now; it goes when no other node waits for it.
            self.run(
                "DELETE FROM prompts WHERE number = (SELECT prompt_number FROM injections WHERE injection_id = ?1) \
                 AND NOT EXISTS (SELECT 1 FROM injections WHERE prompt_number = prompts.number AND state < 2)",
                params![id],
            )?;
        }
        Ok(())
    }

    /// What is stored about a request.
    pub fn request(&self, request_id: &RequestId) -> Result<Option<KnownRequest>, StateError> {
        let found = self
            .connection
            .prepare_cached("SELECT fingerprint, swarm_id, injections FROM requests WHERE request_id = ?1")
            .and_then(|mut statement| {
                let row = |row: &rusqlite::Row<'_>| {
                    Ok((
                        row.get::<_, String>(0)?,
                        row.get::<_, Option<String>>(1)?,
                        row.get::<_, String>(2)?,
                    ))
                };
                statement.query_row([request_id.as_str()], row).optional()
            });
        let Some((fingerprint, swarm_id, injections)) = self.database(found)? else {
            return Ok(None);
        };
        let injections = self.value("request", &injections)?;
        Ok(Some(KnownRequest {
            fingerprint,
            swarm_id: swarm_id.and_then(|id| id.parse().ok()),
            injections,
        }))
    }

    /// The request that caused an injection.
    pub fn request_of(&self, injection_id: &str) -> Result<Option<RequestId>, StateError> {
        let found = self
            .connection
            .prepare_cached("SELECT request_id FROM injections WHERE injection_id = ?1")
            .and_then(|mut statement| {
                statement
                    .query_row([injection_id], |row| row.get::<_, Option<String>>(0))
                    .optional()
            });
        Ok(self
            .database(found)?
            .flatten()
            .and_then(|text| RequestId::new(&text).ok()))
    }

    /// What the router said in a node's stream after `from` and up to `until`, in order, at most `limit` of them.
    pub fn said(
        &self,
        place: &Place,
        from: Position,
        until: Position,
        limit: u32,
    ) -> Result<Vec<(Position, RouterEvent)>, StateError> {
        let rows = self
            .connection
            .prepare_cached(
                "SELECT seq, sub, json FROM said WHERE job_id = ?1 AND node_id = ?2 AND (seq, sub) > (?3, ?4) \
                 AND (seq, sub) <= (?5, ?6) ORDER BY seq, sub LIMIT ?7",
            )
            .and_then(|mut statement| {
                let (job, node) = (place.job_id.as_str(), place.node_id.rank());
                let values = params![job, node, from.seq.0, from.sub, until.seq.0, until.sub, limit];
                let rows = statement.query_map(values, |row| {
                    let position = Position {
                        seq: Seq(row.get(0)?),
                        sub: row.get(1)?,
                    };
                    Ok((position, row.get::<_, String>(2)?))
                })?;
                rows.collect::<rusqlite::Result<Vec<_>>>()
            });
        let rows = self.database(rows)?;
        rows.into_iter()
            .map(|(position, json)| Ok((position, self.value("event", &json)?)))
            .collect()
    }
}

/// Prompts are for their owner alone, wherever the folder is; SQLite gives its other files the mode of this one.
fn make_private(path: &Path) {
    use std::os::unix::fs::OpenOptionsExt;
    // Whatever is wrong with the file, SQLite says it better.
    let _ = std::fs::OpenOptions::new()
        .create_new(true)
        .write(true)
        .mode(0o600)
        .open(path);
}

/// Stored as numbers, in order, so that 'not delivered yet' is a comparison.
fn state_number(state: InjectionState) -> i64 {
    match state {
        InjectionState::Accepted => 0,
        InjectionState::Sent => 1,
        InjectionState::Delivered => 2,
        InjectionState::Started => 3,
        InjectionState::Ended => 4,
    }
}

/// Of one that has not ended.
fn open_state_from(number: i64) -> InjectionState {
    match number {
        0 => InjectionState::Accepted,
        1 => InjectionState::Sent,
        2 => InjectionState::Delivered,
        _ => InjectionState::Started,
    }
}

#[cfg(test)]
mod tests;
