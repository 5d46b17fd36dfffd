//! What the follower says: records go through the core and on to their hearers, answers to the core.

use std::time::Duration;

use bytes::Bytes;

use codeswarm_protocol::event::{RouterEvent, RouterWord};
use codeswarm_protocol::frame::Upward;
use codeswarm_protocol::line::Added;
use codeswarm_protocol::record::RecordHead;
use codeswarm_protocol::{Place, Position};

use super::history::Unread;
use super::outputs::ending_of_record;
use super::server::Server;
use crate::audience::Heard;
use crate::core::{self, Context, Effect, Input, Passage, Whom};

impl Server {
    pub(super) fn follower_said(&mut self, up: Upward) {
        match up {
            Upward::Hello { host, pid, root, .. } => tracing::info!(%host, pid, %root, "the mailbox is followed"),
            Upward::Chunk { place, offset, data } => {
                self.carried.live += data.len() as u64;
                self.chunk(&place, offset, &data);
            }
            Upward::Skipped {
                place,
                offset,
                length,
                head,
            } => {
                self.core.read_to(&place, offset + length);
                self.tell_skipped(&place, offset, length, head);
            }
            Upward::Ended { place, .. } => self.input(Input::OutboxEnded { place }),
            Upward::Reopened { place } => self.input(Input::OutboxReopened { place }),
            Upward::Appended { ticket, offset, .. } => self.input(Input::Appended { ticket, offset }),
            Upward::AppendFailed {
                ticket,
                may_have_happened,
                error,
            } => {
                self.input(Input::AppendFailed {
                    ticket,
                    may_have_happened,
                    error,
                });
            }
            Upward::Prepared { ticket, error } => self.input(Input::Prepared { ticket, error }),
            Upward::Part {
                ticket,
                next,
                done,
                error,
                may_pass,
                late,
                data,
                ..
            } => match self.reads.remove(&ticket) {
                Some(under_way) => {
                    self.carried.read_back += data.len() as u64;
                    self.carried.parts += 1;
                    let unread = error.map(|error| Unread { error, may_pass });
                    self.part(under_way, next, done, unread, &data);
                }
                None => self.input(Input::OutboxRead {
                    ticket,
                    next,
                    done,
                    unread: error.map(|_| if late { core::Unread::Late } else { core::Unread::Failed }),
                }),
            },
            Upward::Heartbeats { ticket, data } => self.input(Input::Heartbeats { ticket, data }),
            Upward::Pong { .. } => {}
            Upward::Trouble { place, error } => {
                let message = match place {
                    Some(place) => format!("node {place}: {error}"),
                    None => error,
                };
                tracing::warn!(%message, "trouble with the mailbox");
                let event = RouterEvent::new(RouterWord::RouterTrouble { message }, self.now().wall);
                self.carry_out(vec![Effect::Tell {
                    whom: Whom::Everybody,
                    event,
                }]);
            }
        }
    }

    fn chunk(&mut self, place: &Place, offset: u64, data: &Bytes) {
        let mut start = 0;
        let mut effects = Vec::new();
        let at = self.now();
        while let Some(length) = data.get(start..).and_then(|rest| memchr::memchr(b'\n', rest)) {
            let line = data.slice(start..=start + length);
            let begins = offset + start as u64;
            start += length + 1;
            let end = offset + start as u64;
            let head = match RecordHead::parse(&line) {
                Ok(head) if head.seq.0 > 0 => head,
                _ => {
                    self.core.read_to(place, end);
                    let head = String::from_utf8_lossy(line.get(..line.len().min(80)).unwrap_or_default()).into_owned();
                    self.tell_skipped(place, begins, line.len() as u64, head);
                    continue;
                }
            };
            let mut context = Context {
                at,
                names: &mut *self.names,
                effects: &mut effects,
            };
            self.core.before_record(place, &head, &mut context);
            self.carry_out(std::mem::take(&mut effects));
            let before = self.core.stream_end(place).0;
            let mut context = Context {
                at,
                names: &mut *self.names,
                effects: &mut effects,
            };
            if let Passage::Next(position) = self.core.record(place, &line, &head, end, &mut context) {
                self.pass_on(place, before, (position, begins), &line, &head);
            }
            self.carry_out(std::mem::take(&mut effects));
        }
        if self.audience.somebody_lacks(place) {
            self.recent.keep(place, offset, data.get(..start).unwrap_or_default());
        }
        let (position, offset) = self.core.stream_end(place);
        self.batch.cursors.insert(place.clone(), (offset, position));
    }

    /// Until when the next frame waits for who listens; `None`: it is taken.
    pub(super) fn held_until(&mut self) -> Option<Duration> {
        let now = self.now().now;
        let has_room = |id| self.outputs.has_much_room(id);
        let listeners = self.audience.listeners(has_room, |id| self.core.owes_an_answer(id));
        self.pace.waits_until(listeners, now)
    }

    fn pass_on(
        &mut self,
        place: &Place,
        before: Position,
        (position, offset): (Position, u64),
        line: &[u8],
        head: &RecordHead<'_>,
    ) {
        let swarm_id = self.core.swarm_of(&place.job_id);
        let injection_id = head.injection_id.as_deref();
        let ending = ending_of_record(&head.kind, line);
        let heard = Heard {
            place,
            swarm_id,
            position,
            before,
            offset,
            injection_id,
            ending,
        };
        let hearers = self.audience.hear(heard, |id| self.outputs.has_room(id));
        let request_id = injection_id.and_then(|id| self.core.request_of(place, id));
        for id in hearers {
            self.outputs.line(
                id,
                self.audience.spelling(id),
                line,
                head,
                Added { swarm_id, request_id },
            );
        }
    }

    fn tell_skipped(&mut self, place: &Place, offset: u64, length: u64, head: String) {
        // Its name while the worker lives; then it is in the archive.
        let file = format!("mailbox/outbox/{}.jsonl", place.stem());
        let word = RouterWord::RecordsSkipped {
            file,
            offset,
            length,
            head,
        };
        let mut event = RouterEvent::new(word, self.now().wall);
        event.swarm_id = self.core.swarm_of(&place.job_id).cloned();
        event.job_id = Some(place.job_id.clone());
        event.node_id = Some(place.node_id);
        let whom = event.swarm_id.clone().map_or(Whom::Everybody, Whom::Swarm);
        self.carry_out(vec![Effect::Tell { whom, event }]);
    }
}
