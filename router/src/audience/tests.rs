//! The audience against a model: streams of records and of the router's words, clients that follow all of it, a swarm or
//! their own prompts, from now or from some earlier place, that ask again, and that have no room for a while; what they lack
//! is read back in parts of any size while the streams go on. Each of them must have got what it asked for, in order, once.

use std::collections::{BTreeMap, BTreeSet};

use codeswarm_protocol::command::Spelling;
use codeswarm_protocol::frame::ReadFrom;
use codeswarm_protocol::{InjectionId, JobId, NodeId, Place, Position, Seq, SwarmId};

use super::{Audience, Ending, Heard, NodeNow, Piece, Recent};
use crate::core::ClientId;

mod ends;
mod reads;

/// A small generator (splitmix64): the same numbers for the same seed, everywhere.
struct Rng(u64);

impl Rng {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(limit).unwrap()).unwrap()
    }

    fn once_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }
}

/// One event of a stream, and who wants it.
struct Event {
    position: Position,
    injection: Option<InjectionId>,
    /// How often each client has asked for it: 0 or 1 as it happened, and once more whenever it asked for the past.
    asked: BTreeMap<ClientId, usize>,
}

/// A record in its file, or something there that is none.
struct Line {
    seq: Option<Seq>,
    start: u64,
    end: u64,
}

impl Line {
    /// Its number, filled up to its length.
    fn text(&self) -> Vec<u8> {
        let seq = self.seq.map_or(String::new(), |seq| seq.to_string());
        let width = usize::try_from(self.end - self.start - 1).unwrap();
        format!("{seq:<width$}\n").into_bytes()
    }

    fn seqs(text: &[u8]) -> Vec<Seq> {
        let text = std::str::from_utf8(text).unwrap();
        text.lines()
            .filter_map(|line| line.trim().parse().ok().map(Seq))
            .collect()
    }
}

struct Node {
    place: Place,
    swarm: SwarmId,
    end: Position,
    lines: Vec<Line>,
    events: Vec<Event>,
    injections: Vec<(InjectionId, Position)>,
}

impl Node {
    fn size(&self) -> u64 {
        self.lines.last().map_or(0, |line| line.end)
    }

    fn now(&self) -> NodeNow {
        NodeNow {
            place: self.place.clone(),
            swarm_id: Some(self.swarm.clone()),
            end: self.end,
        }
    }

    fn injection_at(&self, position: Position) -> Option<&str> {
        let event = self.events.iter().find(|event| event.position == position).unwrap();
        event.injection.as_ref().map(|id| id.as_str())
    }
}

/// What a client wants as it happens, by what it has asked for.
#[derive(Default)]
struct Wants {
    all: bool,
    swarms: BTreeSet<SwarmId>,
    told_of: BTreeSet<SwarmId>,
    own: BTreeSet<InjectionId>,
}

impl Wants {
    fn wants(&self, swarm: &SwarmId, injection: Option<&InjectionId>) -> bool {
        let as_its_own = match injection {
            Some(id) => self.own.contains(id),
            None => self.told_of.contains(swarm),
        };
        self.all || self.swarms.contains(swarm) || as_its_own
    }
}

struct Reader {
    id: ClientId,
    wants: Wants,
    has_room: bool,
    /// What it was handed of each node, in order.
    got: BTreeMap<Place, Vec<Position>>,
    /// How often it asked for the past of each node: so often its copy may begin again at an earlier place.
    asks: BTreeMap<Place, usize>,
}

/// A part that is being read for a client.
struct UnderWay {
    client: usize,
    place: Place,
    at: Position,
    until: u64,
    records: Vec<Seq>,
    next: u64,
    done: bool,
}

struct World {
    rng: Rng,
    audience: Audience,
    recent: Recent,
    from_memory: usize,
    nodes: Vec<Node>,
    readers: Vec<Reader>,
    reads: Vec<UnderWay>,
    injections: usize,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut rng = Rng(seed);
        let limit = [0, 600, 100_000][rng.below(3)];
        let mut world = Self {
            rng,
            audience: Audience::default(),
            recent: Recent::new(limit),
            from_memory: 0,
            nodes: Vec::new(),
            readers: Vec::new(),
            reads: Vec::new(),
            injections: 0,
        };
        for number in 1..=3 {
            let id = ClientId(number);
            world.audience.join(id);
            world.readers.push(Reader {
                id,
                wants: Wants::default(),
                has_room: true,
                got: BTreeMap::new(),
                asks: BTreeMap::new(),
            });
        }
        world.launch();
        world
    }

    fn play(&mut self) {
        for _ in 0..40 + self.rng.below(160) {
            match self.rng.below(40) {
                0 if self.nodes.len() < 4 => self.launch(),
                0..10 => self.record(),
                10..12 => self.garbage(),
                12..18 => self.words(),
                18..22 => self.inject(),
                22..25 => self.subscribe(),
                25..27 => self.ask_again(),
                27 => self.hear_of_a_swarm(),
                28..32 => {
                    let at = self.rng.below(self.readers.len());
                    self.readers[at].has_room ^= true;
                }
                32..36 => self.pump(),
                _ => self.deliver(),
            }
        }
        for reader in &mut self.readers {
            reader.has_room = true;
        }
        self.pump();
        if !self.audience.somebody_is_behind() {
            self.recent.clear();
        }
        loop {
            self.pump();
            if self.reads.is_empty() {
                break;
            }
            self.deliver();
        }
        self.check();
    }

    fn launch(&mut self) {
        let number = self.nodes.len();
        let swarm = SwarmId::new(&format!("sw-{}", number / 2)).unwrap();
        let job = JobId::new(&format!("job-{}", number / 2)).unwrap();
        let place = Place::new(job, NodeId::new(u32::try_from(number % 2).unwrap()).unwrap());
        self.nodes.push(Node {
            place,
            swarm,
            end: Position::START,
            lines: Vec::new(),
            events: Vec::new(),
            injections: Vec::new(),
        });
    }

    fn some_injection(&mut self, node: usize) -> Option<InjectionId> {
        let known = self.nodes[node].injections.len();
        let at = self.rng.below(known + 1);
        self.nodes[node].injections.get(at).map(|(id, _)| id.clone())
    }

    /// A record is read and passed on.
    fn record(&mut self) {
        let node = self.rng.below(self.nodes.len());
        let injection = self.some_injection(node);
        let length = 8 + self.rng.below(50) as u64;
        let Node { end, lines, .. } = &mut self.nodes[node];
        let (before, seq) = (*end, end.seq.next());
        let start = lines.last().map_or(0, |line| line.end);
        lines.push(Line {
            seq: Some(seq),
            start,
            end: start + length,
        });
        *end = Position::at(seq);
        self.happens(node, Position::at(seq), (before, start), injection);
        self.keep(node);
    }

    /// The last line may be lacked by somebody.
    fn keep(&mut self, node: usize) {
        let Node { place, lines, .. } = &self.nodes[node];
        if self.audience.somebody_lacks(place) {
            let line = lines.last().unwrap();
            self.recent.keep(place, line.start, &line.text());
        }
    }

    /// Bytes that are no record are passed over.
    fn garbage(&mut self) {
        let node = self.rng.below(self.nodes.len());
        let start = self.nodes[node].size();
        // Sometimes it is a line that was there before.
        let seq = self.nodes[node]
            .lines
            .first()
            .and_then(|line| line.seq)
            .filter(|_| self.rng.once_in(2));
        let end = start + 7;
        self.nodes[node].lines.push(Line { seq, start, end });
        // Or the follower has passed over it.
        if self.rng.once_in(2) {
            self.keep(node);
        }
    }

    /// The router says a few things in one step: the stream has its new end before the first of them is heard.
    fn words(&mut self) {
        let node = self.rng.below(self.nodes.len());
        let words = 1 + u32::try_from(self.rng.below(3)).unwrap();
        let first = self.nodes[node].end.sub + 1;
        self.nodes[node].end.sub += words;
        for sub in first..first + words {
            let injection = self.some_injection(node);
            self.word(node, sub, injection);
        }
    }

    fn word(&mut self, node: usize, sub: u32, injection: Option<InjectionId>) {
        let seq = self.nodes[node].end.seq;
        let before = Position { seq, sub: sub - 1 };
        let offset = self.nodes[node].size();
        self.happens(node, Position { seq, sub }, (before, offset), injection);
    }

    fn happens(
        &mut self,
        node: usize,
        position: Position,
        (before, offset): (Position, u64),
        injection: Option<InjectionId>,
    ) {
        let Node {
            place, swarm, events, ..
        } = &mut self.nodes[node];
        let wanting = self
            .readers
            .iter()
            .filter(|reader| reader.wants.wants(swarm, injection.as_ref()));
        events.push(Event {
            position,
            asked: wanting.map(|reader| (reader.id, 1)).collect(),
            injection: injection.clone(),
        });
        let heard = Heard {
            place,
            swarm_id: Some(swarm),
            position,
            before,
            offset,
            injection_id: injection.as_ref().map(|id| id.as_str()),
            ending: Ending::No,
        };
        let has_room = |id: ClientId| self.readers.iter().any(|reader| reader.id == id && reader.has_room);
        for id in self.audience.hear(heard, has_room) {
            let reader = self.readers.iter_mut().find(|reader| reader.id == id).unwrap();
            reader.got.entry(place.clone()).or_default().push(position);
        }
    }

    /// A client injects: it follows that injection, whose acknowledgement is the next word.
    fn inject(&mut self) {
        let (node, reader) = (self.rng.below(self.nodes.len()), self.rng.below(self.readers.len()));
        self.injections += 1;
        let id = InjectionId::new(&format!("i-{}", self.injections)).unwrap();
        let now = self.nodes[node].now();
        let acknowledged_at = Position {
            seq: now.end.seq,
            sub: now.end.sub + 1,
        };
        self.nodes[node].end = acknowledged_at;
        self.nodes[node].injections.push((id.clone(), now.end));
        self.readers[reader].wants.own.insert(id.clone());
        self.audience.follow(self.readers[reader].id, id.clone(), &now, None);
        self.word(node, acknowledged_at.sub, Some(id));
    }

    /// A request is repeated, by its client or another one.
    fn ask_again(&mut self) {
        let (node, reader) = (self.rng.below(self.nodes.len()), self.rng.below(self.readers.len()));
        let at = self.rng.below(self.nodes[node].injections.len().max(1));
        let Some((id, from)) = self.nodes[node].injections.get(at).cloned() else {
            return;
        };
        let now = self.nodes[node].now();
        self.readers[reader].wants.own.insert(id.clone());
        self.ask(reader, node, from, |_, injection| injection == Some(&id));
        self.audience.follow(self.readers[reader].id, id, &now, Some(from));
    }

    /// The past of a node is asked for.
    fn ask(&mut self, reader: usize, node: usize, from: Position, of: impl Fn(&SwarmId, Option<&InjectionId>) -> bool) {
        let reader = &mut self.readers[reader];
        let Node {
            place, swarm, events, ..
        } = &mut self.nodes[node];
        *reader.asks.entry(place.clone()).or_default() += 1;
        for event in events.iter_mut().filter(|event| event.position > from) {
            if of(swarm, event.injection.as_ref()) {
                *event.asked.entry(reader.id).or_default() += 1;
            }
        }
    }

    fn subscribe(&mut self) {
        let reader = self.rng.below(self.readers.len());
        let swarm = self.rng.once_in(2).then(|| {
            let at = self.rng.below(self.nodes.len());
            self.nodes[at].swarm.clone()
        });
        let with_past = !self.rng.once_in(3);
        let mut nodes = Vec::new();
        for at in 0..self.nodes.len() {
            if swarm.as_ref().is_some_and(|swarm| *swarm != self.nodes[at].swarm) {
                continue;
            }
            let since = with_past.then(|| self.some_position(at));
            if let Some(since) = since {
                self.ask(reader, at, since, |_, _| true);
            }
            nodes.push((self.nodes[at].now(), since));
        }
        let reader = &mut self.readers[reader];
        match &swarm {
            Some(swarm) => drop(reader.wants.swarms.insert(swarm.clone())),
            None => reader.wants.all = true,
        }
        self.audience
            .subscribe(reader.id, swarm.as_ref(), nodes, None, Spelling::Flat);
    }

    /// A place that a client may name: an event's, the beginning, or one between two events.
    fn some_position(&mut self, node: usize) -> Position {
        let at = self.rng.below(self.nodes[node].events.len() + 1);
        let mut position = self.nodes[node]
            .events
            .get(at)
            .map_or(Position::START, |event| event.position);
        if self.rng.once_in(4) {
            position.sub = 0;
        }
        position
    }

    fn hear_of_a_swarm(&mut self) {
        let (node, reader) = (self.rng.below(self.nodes.len()), self.rng.below(self.readers.len()));
        let swarm = self.nodes[node].swarm.clone();
        let nodes = self
            .nodes
            .iter()
            .filter(|node| node.swarm == swarm)
            .map(Node::now)
            .collect();
        self.audience.follow_swarm(self.readers[reader].id, &swarm, nodes);
        self.readers[reader].wants.told_of.insert(swarm);
    }

    /// As the server does it: for each client that has room, what it lacks is asked for.
    fn pump(&mut self) {
        for client in 0..self.readers.len() {
            let id = self.readers[client].id;
            while self.readers[client].has_room {
                let Some(read) = self.audience.client(id).unwrap().next_read(|_| false) else {
                    break;
                };
                let node = self.nodes.iter().find(|node| node.place == read.place).unwrap();
                let until = node.size();
                let nothing_more = match read.from {
                    ReadFrom::Offset(offset) => offset >= until,
                    ReadFrom::AfterSeq(seq) => seq >= node.end.seq,
                };
                let mut under_way = UnderWay {
                    client,
                    place: read.place.clone(),
                    at: read.at,
                    until,
                    records: Vec::new(),
                    next: until,
                    done: true,
                };
                if nothing_more {
                    self.part(under_way);
                    continue;
                }
                if let ReadFrom::Offset(offset) = read.from
                    && let Some(part) = self.recent.part(&read.place, offset, until, 1 + self.rng.below(200))
                {
                    under_way.records = Line::seqs(&part.lines);
                    (under_way.next, under_way.done) = (part.next, part.next >= until);
                    self.from_memory += 1;
                    self.part(under_way);
                    continue;
                }
                let after = |line: &&Line| match read.from {
                    ReadFrom::Offset(offset) => line.start >= offset,
                    ReadFrom::AfterSeq(seq) => line.seq.is_some_and(|at| at > seq),
                };
                let first = node
                    .lines
                    .iter()
                    .position(|line| after(&line))
                    .unwrap_or(node.lines.len());
                let wanted = 1 + self.rng.below(6);
                let lines = node.lines[first..].iter().take(wanted);
                under_way.records = lines.clone().filter_map(|line| line.seq).collect();
                under_way.next = lines.clone().next_back().map_or(until, |line| line.end);
                under_way.done = under_way.next >= until;
                self.reads.push(under_way);
                self.audience.client(id).unwrap().reading.insert(read.place, wanted);
            }
        }
    }

    fn deliver(&mut self) {
        if !self.reads.is_empty() {
            let at = self.rng.below(self.reads.len());
            let part = self.reads.remove(at);
            self.part(part);
        }
    }

    fn part(&mut self, part: UnderWay) {
        let reader = &mut self.readers[part.client];
        let node = self.nodes.iter().find(|node| node.place == part.place).unwrap();
        let client = self.audience.client(reader.id).unwrap();
        client.reading.remove(&part.place);
        let Some(behind) = client.behind.get(&part.place).filter(|behind| behind.at == part.at) else {
            return;
        };
        let at_the_end = part.done && part.until >= node.size();
        let up_to = behind.reach(part.records.iter().max().copied(), at_the_end, node.end);
        let words = node.events.iter().filter(|event| event.position.sub > 0);
        let words = words.filter(|event| event.position > part.at && event.position <= up_to);
        let said: Vec<_> = words
            .map(|event| (event.position, event.injection.as_ref().map(|id| id.as_str())))
            .collect();
        let records: Vec<_> = part
            .records
            .iter()
            .map(|seq| (*seq, node.injection_at(Position::at(*seq))))
            .collect();
        let got = reader.got.entry(part.place.clone()).or_default();
        for piece in behind.lacking(&records, &said) {
            got.push(match piece {
                Piece::Record(at) => Position::at(records[at].0),
                Piece::Said(at) => said[at].0,
            });
        }
        client.has_read(&part.place, up_to, part.next, at_the_end);
    }

    fn check(&mut self) {
        for reader in &self.readers {
            let client = self.audience.client(reader.id).unwrap();
            assert!(client.behind.is_empty() && client.caught_up().iter().all(|done| done.remaining.is_empty()));
            for node in &self.nodes {
                let got = reader.got.get(&node.place).cloned().unwrap_or_default();
                for event in &node.events {
                    let asked = event.asked.get(&reader.id).copied().unwrap_or(0);
                    let times = got.iter().filter(|position| **position == event.position).count();
                    assert!(
                        times <= asked && (times > 0 || asked == 0),
                        "client {:?} got {} of {} {times} times, having asked {asked} times: {got:?}",
                        reader.id,
                        event.position,
                        node.place,
                    );
                }
                let steps_back = got.windows(2).filter(|pair| pair[0] >= pair[1]).count();
                let asks = reader.asks.get(&node.place).copied().unwrap_or(0);
                assert!(
                    steps_back <= asks,
                    "client {:?} got {} in disorder: {got:?}",
                    reader.id,
                    node.place
                );
            }
        }
    }
}

const HISTORIES: u64 = 5_000;

#[test]
fn p4_p8_p10_every_client_gets_what_it_asked_for_once_and_in_order() {
    let seeds = match std::env::var("CODESWARM_SEED") {
        Ok(seed) => {
            let seed: u64 = seed.parse().unwrap();
            seed..seed + 1
        }
        Err(_) => 0..HISTORIES,
    };
    let many = seeds.end - seeds.start > 1;
    let mut from_memory = 0;
    for seed in seeds {
        let mut world = World::new(seed);
        let played = std::panic::AssertUnwindSafe(|| world.play());
        if let Err(cause) = std::panic::catch_unwind(played) {
            eprintln!("history {seed} broke a promise; play it again with CODESWARM_SEED={seed}");
            std::panic::resume_unwind(cause);
        }
        from_memory += world.from_memory;
    }
    assert!(!many || from_memory > 1000, "only {from_memory} parts came from memory");
}
