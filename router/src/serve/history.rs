//! Reading back what a client lacks: parts of outboxes from the follower, with the router's own words between them.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use bytes::Bytes;

use codeswarm_protocol::event::{RouterEvent, RouterWord};
use codeswarm_protocol::frame::{Downward, ReadFrom, Ticket};
use codeswarm_protocol::line::Added;
use codeswarm_protocol::record::RecordHead;
use codeswarm_protocol::{InjectionId, Place, Position, RequestId, SwarmId};

use super::outputs::{before, ending_of, ending_of_record};
use super::server::Server;
use crate::audience::{Behind, Client, Heard, Piece, Read};
use crate::core::ClientId;

/// Bytes of an outbox that are read back at once, at most.
const PART_BYTES: usize = 512 * 1024;

/// A read for a client.
#[derive(Debug)]
pub(super) struct UnderWay {
    client: ClientId,
    place: Place,
    /// Where the client's copy ended when it was asked for.
    at: Position,
    /// The end of the outbox, as far as it was passed on then.
    until: u64,
}

/// Why a part could not be read.
pub(super) struct Unread {
    pub error: String,
    pub may_pass: bool,
}

/// How long a read that fails is tried again: longer than a shared filesystem remembers a name or a page.
const PATIENCE: Duration = Duration::from_secs(75);

/// How soon.
const AGAIN: Duration = Duration::from_millis(500);

/// Reads that have failed for now: since when, and when each is tried again.
#[derive(Debug, Default)]
pub(super) struct FailedReads(BTreeMap<(ClientId, Place), (Duration, Duration)>);

impl FailedReads {
    /// Whether this read waits for its next try.
    fn waits(&self, client: ClientId, place: &Place, now: Duration) -> bool {
        let read = self.0.get(&(client, place.clone()));
        read.is_some_and(|(_, next)| *next > now)
    }

    /// It failed again. Whether it is to be tried once more.
    fn failed(&mut self, client: ClientId, place: &Place, now: Duration) -> bool {
        let read = self.0.entry((client, place.clone())).or_insert((now, now));
        read.1 = now + AGAIN;
        now < read.0 + PATIENCE
    }

    /// It is over, one way or the other.
    fn over(&mut self, client: ClientId, place: &Place) {
        self.0.remove(&(client, place.clone()));
    }

    pub(super) fn client_left(&mut self, client: ClientId) {
        self.0.retain(|(other, _), _| *other != client);
    }

    /// When the next one is due that is not due yet.
    pub(super) fn next(&self, now: Duration) -> Option<Duration> {
        self.0.values().map(|(_, next)| *next).filter(|next| *next > now).min()
    }
}

impl Server {
    /// Starts the reads that are wanted, for clients that have room, and says what is complete.
    pub(super) fn pump_history(&mut self) {
        if self.follower.is_none() {
            return;
        }
        let now = self.now().now;
        let audience = &mut self.audience;
        self.failed_reads.0.retain(|(id, place), _| {
            let client = audience.client(*id);
            client.is_some_and(|client| client.behind.contains_key(place))
        });
        for id in self.audience.ids() {
            while self.outputs.has_room(id) && self.read_on(id, now) {}
            self.tell_what_is_complete(id);
        }
        if !self.audience.somebody_is_behind() {
            self.recent.clear();
        }
    }

    /// Hands a client the next part of what it lacks, if it is at hand, or asks for it; whether there may be more to do.
    fn read_on(&mut self, id: ClientId, now: Duration) -> bool {
        let room = self.outputs.room_left(id);
        let client = self.audience.client(id);
        let client = client.and_then(|client| client.may_read(room).map(|bytes| (client, bytes.min(PART_BYTES))));
        let Some((client, wanted)) = client else {
            return false;
        };
        let failed = &self.failed_reads;
        let Some(Read { place, at, from }) = client.next_read(|place| failed.waits(id, place, now)) else {
            return false;
        };
        let (end, until) = self.core.stream_end(&place);
        let under_way = UnderWay {
            client: id,
            place: place.clone(),
            at,
            until,
        };
        let rest = match from {
            ReadFrom::Offset(offset) => until.saturating_sub(offset),
            ReadFrom::AfterSeq(seq) if seq >= end.seq => 0,
            ReadFrom::AfterSeq(_) => u64::MAX,
        };
        if rest == 0 {
            self.part(under_way, until, true, None, &Bytes::new());
            return true;
        }
        if let ReadFrom::Offset(offset) = from
            && let Some(part) = self.recent.part(&place, offset, until, wanted)
        {
            self.carried.from_memory += part.lines.len() as u64;
            self.part(under_way, part.next, part.next >= until, None, &part.lines);
            return true;
        }
        let wanted = usize::try_from(rest).unwrap_or(usize::MAX).min(wanted);
        client.reading.insert(place.clone(), wanted);
        self.last_ticket += 1;
        let ticket = Ticket(self.last_ticket);
        self.reads.insert(ticket, under_way);
        self.down.push_back(Downward::Read {
            ticket,
            place,
            from,
            until,
            max_bytes: u32::try_from(wanted).unwrap_or(u32::MAX),
        });
        true
    }

    fn tell_what_is_complete(&mut self, id: ClientId) {
        let at = self.now();
        let caught_up = self.audience.client(id).map(Client::caught_up);
        for done in caught_up.unwrap_or_default() {
            let positions = self.positions(id, done.swarm_id.as_ref());
            let mut event = RouterEvent::new(RouterWord::CaughtUp { positions }, at.wall);
            event.request_id = done.request_id;
            event.swarm_id.clone_from(&done.swarm_id);
            self.outputs.event(id, done.spelling, &event);
            if let Some(event) = done.swarm_id.and_then(|swarm_id| self.core.swarm_event(&swarm_id, at)) {
                self.tell_client(id, &event);
            }
        }
        if !self.outputs.has_room(id) {
            return;
        }
        let stale = self
            .audience
            .client(id)
            .map(|client| std::mem::take(&mut client.stale))
            .unwrap_or_default();
        for swarm_id in stale {
            if let Some(event) = self.core.swarm_event(&swarm_id, at) {
                self.tell_client(id, &event);
            }
        }
    }

    /// Where a client's copy of each node's stream ends, of one swarm or of all.
    fn positions(&mut self, id: ClientId, swarm_id: Option<&SwarmId>) -> BTreeMap<String, Position> {
        let swarms: Vec<SwarmId> = match swarm_id {
            Some(swarm_id) => vec![swarm_id.clone()],
            None => self.core.swarms().map(|swarm| swarm.swarm_id.clone()).collect(),
        };
        let places = swarms.iter().flat_map(|swarm_id| self.core.places(swarm_id));
        let mut positions: BTreeMap<String, Position> = places
            .map(|place| (place.stem(), self.core.stream_end(&place).0))
            .collect();
        if let Some(client) = self.audience.client(id) {
            // It may have fallen behind again elsewhere.
            for (place, behind) in &client.behind {
                positions.entry(place.stem()).and_modify(|at| *at = behind.at);
            }
        }
        positions.retain(|_, at| *at > Position::START);
        positions
    }

    /// A part has come.
    pub(super) fn part(&mut self, under_way: UnderWay, next: u64, done: bool, unread: Option<Unread>, data: &Bytes) {
        let UnderWay {
            client: id,
            place,
            at,
            until,
        } = under_way;
        let now = self.now().now;
        let Some(client) = self.audience.client(id) else { return };
        client.reading.remove(&place);
        // Asked for anew from an earlier place meanwhile: this part is not the next one.
        let Some(behind) = client.behind.get(&place).filter(|behind| behind.at == at).cloned() else {
            return;
        };
        if unread.as_ref().is_some_and(|unread| unread.may_pass) && self.failed_reads.failed(id, &place, now) {
            return;
        }
        self.failed_reads.over(id, &place);
        if let Some(Unread { error, .. }) = unread {
            client.is_live_at(&place);
            if client.cannot_hear(&place, |id| self.core.is_open(id)) {
                self.outputs.note_failure(id);
            }
            let message =
                format!("node {place}: its earlier records could not be read, so they are missing here: {error}");
            let event = RouterEvent::new(RouterWord::RouterTrouble { message }, self.now().wall);
            return self.tell_client(id, &event);
        }
        let (end, end_offset) = self.core.stream_end(&place);
        let at_the_end = done && until >= end_offset;
        let heads = heads(data);
        let upper = behind.reach(heads.iter().map(|(head, _)| head.seq).max(), at_the_end, end);
        let stored = self.state.said(&place, at, upper, u32::MAX);
        let unreadable = stored.as_ref().err().map(ToString::to_string);
        let mut said = stored.unwrap_or_default();
        // What is about to be stored was said as well, and this client has not heard it while it was behind.
        said.extend(self.batch.said(&place, at, upper));
        self.replay(id, &place, &behind, &heads, &said);
        if let Some(client) = self.audience.client(id) {
            client.has_read(&place, upper, next, at_the_end);
            // An end may have been among the words that are missing here.
            if unreadable.is_some() && client.cannot_hear(&place, |id| self.core.is_open(id)) {
                self.outputs.note_failure(id);
            }
        }
        if let Some(error) = unreadable {
            let message = format!("node {place}: the router's own words could not be read back: {error}");
            let event = RouterEvent::new(RouterWord::RouterTrouble { message }, self.now().wall);
            self.tell_client(id, &event);
        }
    }

    fn replay(
        &mut self,
        id: ClientId,
        place: &Place,
        behind: &Behind,
        heads: &[(RecordHead<'_>, &[u8])],
        said: &[(Position, RouterEvent)],
    ) {
        let records: Vec<_> = heads
            .iter()
            .map(|(head, _)| (head.seq, head.injection_id.as_deref()))
            .collect();
        let words: Vec<_> = said
            .iter()
            .map(|(position, event)| (*position, event.injection_id.as_ref().map(InjectionId::as_str)))
            .collect();
        let mut requests = HashMap::new();
        for piece in behind.lacking(&records, &words) {
            match piece {
                Piece::Record(at) => {
                    if let Some((head, line)) = heads.get(at) {
                        self.replay_record(id, place, head, line, &mut requests);
                    }
                }
                Piece::Said(at) => {
                    if let Some((position, event)) = said.get(at) {
                        self.replay_said(id, place, *position, event);
                    }
                }
            }
        }
    }

    fn replay_record(
        &mut self,
        id: ClientId,
        place: &Place,
        head: &RecordHead<'_>,
        line: &[u8],
        requests: &mut HashMap<String, Option<RequestId>>,
    ) {
        let swarm_id = self.core.swarm_of(&place.job_id).cloned();
        let request_id = head.injection_id.as_deref().and_then(|injection| {
            if let Some(found) = requests.get(injection) {
                return found.clone();
            }
            let found = self.state.request_of(injection).unwrap_or_default();
            requests.insert(injection.to_owned(), found.clone());
            found
        });
        let added = Added {
            swarm_id: swarm_id.as_ref(),
            request_id: request_id.as_ref(),
        };
        self.outputs.line(id, self.audience.spelling(id), line, head, added);
        let position = Position::at(head.seq);
        let heard = Heard {
            place,
            swarm_id: swarm_id.as_ref(),
            position,
            before: position,
            offset: 0,
            injection_id: head.injection_id.as_deref(),
            ending: ending_of_record(&head.kind, line),
        };
        if let Some(client) = self.audience.client(id) {
            client.heard(&heard);
        }
    }

    fn replay_said(&mut self, id: ClientId, place: &Place, position: Position, event: &RouterEvent) {
        self.outputs.event(id, self.audience.spelling(id), event);
        let heard = Heard {
            place,
            swarm_id: event.swarm_id.as_ref(),
            position,
            before: before(position),
            offset: 0,
            injection_id: event.injection_id.as_ref().map(InjectionId::as_str),
            ending: ending_of(&event.word),
        };
        if let Some(client) = self.audience.client(id) {
            client.heard(&heard);
        }
    }
}

/// The records of a part, with their lines.
fn heads(data: &Bytes) -> Vec<(RecordHead<'_>, &[u8])> {
    let mut heads = Vec::new();
    let mut start = 0;
    for newline in memchr::memchr_iter(b'\n', data) {
        let line = data.get(start..=newline).unwrap_or_default();
        start = newline + 1;
        heads.extend(
            RecordHead::parse(line)
                .ok()
                .filter(|head| head.seq.0 > 0)
                .map(|head| (head, line)),
        );
    }
    heads
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_that_leaves_takes_its_failed_reads_along_and_no_others() {
        let (mut failed, place) = (FailedReads::default(), Place::from_stem("7_00").unwrap());
        let now = Duration::from_secs(9);
        for client in [1, 2] {
            assert!(failed.failed(ClientId(client), &place, now));
        }
        failed.client_left(ClientId(1));
        assert!(!failed.waits(ClientId(1), &place, now) && failed.waits(ClientId(2), &place, now));
        assert_eq!(failed.next(now), Some(now + AGAIN));
        failed.client_left(ClientId(2));
        assert_eq!(failed.next(now), None);
    }
}
