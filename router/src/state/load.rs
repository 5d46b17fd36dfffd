//! Everything that was stored, read at the start.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use codeswarm_protocol::{IdError, InjectionId, JobId, NodeId, Place, Position, RequestId, Seq, Timestamp};

use super::{State, StateError, open_state_from};
use crate::core::{Injection, Node, Submission, Swarm};

/// What an earlier life left.
#[derive(Debug, Default)]
pub struct Loaded {
    /// All swarms.
    pub swarms: Vec<Swarm>,
    /// All nodes.
    pub nodes: Vec<(Place, Node)>,
    /// Injections that have not ended.
    pub injections: Vec<Injection>,
    /// Launches that were handed to Slurm and are no swarms yet.
    pub submissions: Vec<Submission>,
    /// The highest number given out.
    pub last_number: u64,
}

impl State {
    /// Reads everything that is needed to go on.
    pub fn load(&self) -> Result<Loaded, StateError> {
        let mut loaded = Loaded::default();
        for json in self.rows("SELECT json FROM swarms", |row| row.get::<_, String>(0))? {
            loaded.swarms.push(self.value("swarm", &json)?);
        }
        for json in self.rows("SELECT json FROM submissions", |row| row.get::<_, String>(0))? {
            loaded.submissions.push(self.value("submission", &json)?);
        }
        // A stream ends behind the router's last word in it, of which the node's own row need not know.
        let streams = "SELECT job_id, node_id, json, offset, seq, max(sub, coalesce((SELECT max(said.sub) FROM said \
                       WHERE (said.job_id, said.node_id, said.seq) = (nodes.job_id, nodes.node_id, nodes.seq)), 0)) \
                       FROM nodes";
        let nodes = self.rows(streams, |row| {
            let position = Position {
                seq: Seq(row.get(4)?),
                sub: row.get(5)?,
            };
            let id = place(&row.get::<_, String>(0)?, row.get(1)?);
            Ok((id, row.get::<_, String>(2)?, row.get::<_, u64>(3)?, position))
        })?;
        for (place, json, offset, position) in nodes {
            let Ok(place) = place else { continue };
            let mut node: Node = self.value("node", &json)?;
            (node.offset, node.position) = (offset, position);
            loaded.nodes.push((place, node));
        }
        let prompts: HashMap<u64, Arc<str>> = self
            .rows("SELECT number, content FROM prompts WHERE content IS NOT NULL", |row| {
                Ok((row.get::<_, u64>(0)?, Arc::from(row.get::<_, String>(1)?)))
            })?
            .into_iter()
            .collect();
        let injections = self.rows(
            "SELECT injection_id, job_id, node_id, request_id, prompt_number, steer, state, number, ack_seq, ack_sub, \
             accepted FROM injections WHERE state < 4",
            |row| {
                let request: Option<String> = row.get(3)?;
                let prompt_number = row.get(4)?;
                let ids = (
                    InjectionId::new(&row.get::<_, String>(0)?),
                    place(&row.get::<_, String>(1)?, row.get(2)?),
                );
                let (Ok(injection_id), Ok(place)) = ids else {
                    return Ok(None);
                };
                Ok(Some(Injection {
                    injection_id,
                    place,
                    request_id: request.and_then(|text| RequestId::new(&text).ok()),
                    content: prompts.get(&prompt_number).cloned(),
                    prompt_number,
                    steer: row.get(5)?,
                    state: open_state_from(row.get(6)?),
                    number: row.get(7)?,
                    acknowledged_at: Position {
                        seq: Seq(row.get(8)?),
                        sub: row.get(9)?,
                    },
                    accepted: Timestamp(row.get(10)?),
                    deadline: Duration::ZERO,
                    told_pending: false,
                }))
            },
        )?;
        loaded.injections = injections.into_iter().flatten().collect();
        let highest = "SELECT max(coalesce((SELECT max(number) FROM injections), 0), \
                       coalesce((SELECT max(prompt_number) FROM injections), 0))";
        loaded.last_number = self.rows(highest, |row| row.get(0))?.first().copied().unwrap_or(0);
        Ok(loaded)
    }

    fn rows<T>(
        &self,
        sql: &str,
        read: impl FnMut(&rusqlite::Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Vec<T>, StateError> {
        let rows = self
            .connection
            .prepare(sql)
            .and_then(|mut statement| statement.query_map([], read)?.collect::<rusqlite::Result<Vec<_>>>());
        self.database(rows)
    }
}

fn place(job_id: &str, node_id: u32) -> Result<Place, IdError> {
    Ok(Place::new(JobId::new(job_id)?, NodeId::new(node_id)?))
}
