//! Nodes that say something, a router that tells it, and a consumer's processes with one file and one reader.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex};

use codeswarm_client::event::Event;
use codeswarm_client::exit::Exit;
use codeswarm_client::failure::Failure;
use codeswarm_client::request::{Names, Request};
use codeswarm_events::cursor::{Cursor, Mark};
use codeswarm_events::following::{Following, Line, Wanted};
use codeswarm_events::kinds::Kinds;
use codeswarm_events::line::Json;
use codeswarm_events::start::LeftOut;
use codeswarm_events::telling::{Burst, Keep, Output, Teller, Unwritten};
use codeswarm_protocol::command::{Command, Since};
use codeswarm_protocol::{Position, RequestId};
use serde_json::{Value, json};

const STATES: [&str; 4] = ["running", "pending", "terminating", "terminated"];

/// Something that happens.
#[derive(Debug, Clone)]
pub enum Step {
    /// A node says something.
    Says { node: u32, chosen: bool },
    /// A swarm is otherwise.
    Changes { swarm: usize, state: usize },
    /// A swarm of two nodes begins.
    Launches,
    /// The consumer hears so many events.
    Hears(usize),
    /// It tells what it heard.
    Tells,
    /// It is connected to nobody, and connects anew.
    RouterDies,
    /// It starts, if it does not run.
    Starts,
    /// It is killed after so many operations on its file or its output; in a write, after so many bytes.
    DiesAfter { operations: usize, bytes: usize },
}

/// What came of it.
pub struct History {
    pub whole_lines: Vec<String>,
    pub chosen: BTreeSet<String>,
    pub states: BTreeMap<String, String>,
    pub in_doubt: BTreeSet<String>,
    pub deaths: usize,
    pub from_now: bool,
}

/// What outlives a process, and how long it has to live.
#[derive(Default)]
struct Disk {
    cursor: Option<Vec<u8>>,
    /// Where each node stood when the consumer began with it; 0 for one that came later.
    began: BTreeMap<String, Position>,
    has_begun: bool,
    asked: Asked,
    /// Of each life, what reached the reader.
    read: Vec<Vec<u8>>,
    dies_after: Option<(usize, usize)>,
    dead: bool,
}

impl Disk {
    /// One more operation; `Some(bytes)` when it is the last one, and how far it gets.
    fn operates(&mut self) -> Option<usize> {
        match &mut self.dies_after {
            Some((0, bytes)) => Some(*bytes),
            Some((operations, _)) => {
                *operations -= 1;
                None
            }
            None => None,
        }
    }
}

impl Disk {
    fn kept(&mut self, cursor: &Cursor) {
        // Of all swarms, now is where the first subscription stands; of named ones it comes one by one.
        let begins = self.asked.named || (!self.has_begun && cursor.left_out.is_none());
        if self.asked.from_now && begins {
            self.has_begun = true;
            for (place, position) in &cursor.told.nodes {
                self.began.entry(place.stem()).or_insert(*position);
            }
        }
        self.cursor = Some(cursor.write().unwrap());
    }
}

#[derive(Clone, Default)]
struct Shared(Arc<Mutex<Disk>>);

fn killed() -> Failure {
    Failure::new(Exit::Internal, "killed", "")
}

impl Keep for Shared {
    fn keep(&mut self, cursor: &Cursor) -> Result<(), Failure> {
        let mut disk = self.0.lock().unwrap();
        if disk.dead {
            return Err(killed());
        }
        if let Some(bytes) = disk.operates() {
            // Right before the rename, or right after it.
            if bytes % 2 == 1 {
                disk.kept(cursor);
            }
            disk.dead = true;
            return Err(killed());
        }
        disk.kept(cursor);
        Ok(())
    }
}

impl Output for Shared {
    fn write(&mut self, bytes: &[u8]) -> Result<(), Unwritten> {
        let mut disk = self.0.lock().unwrap();
        assert!(!disk.dead);
        let last = disk.operates();
        let written = last.map_or(bytes.len(), |most| most.min(bytes.len()));
        disk.read.last_mut().unwrap().extend(&bytes[..written]);
        match last {
            None => Ok(()),
            Some(_) => {
                disk.dead = true;
                Err(Unwritten {
                    written,
                    failure: killed(),
                })
            }
        }
    }

    fn reader_is_gone(&self) -> bool {
        false
    }
}

struct Numbers(u64);

impl Names for Numbers {
    fn next(&mut self) -> RequestId {
        self.0 += 1;
        RequestId::new(&format!("r{}", self.0)).unwrap()
    }
}

struct Swarm {
    id: String,
    job: String,
    state: usize,
    nodes: [Vec<Value>; 2],
}

impl Swarm {
    fn event(&self) -> Value {
        match STATES[self.state] {
            "terminated" => json!({"type": "swarm_terminated", "swarm_id": self.id, "status": "terminated"}),
            state => {
                json!({"type": "swarm_status", "swarm_id": self.id, "node_count": 2, "status": state, "reason": "so it is"})
            }
        }
    }

    fn end(&self, node: usize) -> Position {
        Position::at(codeswarm_protocol::Seq(self.nodes[node].len() as u64))
    }
}

struct Process {
    following: Following,
    teller: Teller,
    lines: Vec<Line>,
    /// What the router has sent and the process has not read.
    on_the_way: VecDeque<Value>,
    follows_all: bool,
    follows: BTreeSet<String>,
}

/// What the consumer asks for.
#[derive(Debug, Clone, Copy, Default)]
pub struct Asked {
    /// The two swarms by name, which are there from the start.
    pub named: bool,
    /// Only what happens from now on.
    pub from_now: bool,
}

#[derive(Default)]
pub struct World {
    asked: Asked,
    swarms: Vec<Swarm>,
    disk: Shared,
    process: Option<Process>,
    in_doubt: BTreeSet<String>,
    deaths: usize,
}

impl World {
    pub fn new(asked: Asked) -> Self {
        let mut world = Self {
            asked,
            ..Self::default()
        };
        if asked.named {
            world.launches();
            world.launches();
        }
        world
    }

    pub fn step(&mut self, step: Step) {
        match step {
            Step::Says { node, chosen } => self.says(node as usize, chosen),
            Step::Changes { swarm, state } => self.changes(swarm, state),
            Step::Launches => self.launches(),
            Step::Hears(most) => {
                self.start();
                for _ in 0..most {
                    self.hears();
                }
            }
            Step::Tells => self.tells(),
            Step::RouterDies => {
                if self.process.is_some() {
                    self.tells();
                    self.connects();
                }
            }
            Step::Starts => self.start(),
            Step::DiesAfter { operations, bytes } => {
                self.start();
                self.disk.0.lock().unwrap().dies_after = Some((operations, bytes));
            }
        }
    }

    /// Nobody dies any more, and all that there is is told.
    pub fn finish(mut self) -> History {
        self.disk.0.lock().unwrap().dies_after = None;
        // Words of a swarm that was over are told by the next process, when this one has ended with it.
        for _ in 0..2 {
            self.start();
            while self
                .process
                .as_ref()
                .is_some_and(|process| !process.on_the_way.is_empty())
            {
                self.hears();
            }
            self.tells();
        }
        let disk = self.disk.0.lock().unwrap();
        let mut whole_lines = Vec::new();
        for life in &disk.read {
            let text = String::from_utf8(life.clone()).unwrap();
            whole_lines.extend(
                text.split_inclusive('\n')
                    .filter(|line| line.ends_with('\n'))
                    .map(str::to_owned),
            );
        }
        let said = self.swarms.iter().flat_map(|swarm| swarm.nodes.iter().flatten());
        let asked_for = |event: &&Value| {
            let began = disk.began.get(&stem(event)).map_or(0, |began| began.seq.0);
            event["type"] == "turn_complete" && event["seq"].as_u64() > Some(began)
        };
        let chosen = said.filter(asked_for).map(name).collect();
        let states = self.swarms.iter().map(|swarm| {
            let event = swarm.event();
            (swarm.id.clone(), format!("{} {}", event["status"], event["reason"]))
        });
        History {
            whole_lines,
            chosen,
            states: states.collect(),
            in_doubt: self.in_doubt,
            deaths: self.deaths,
            from_now: self.asked.from_now,
        }
    }

    fn says(&mut self, node: usize, chosen: bool) {
        let Some(swarm) = self.swarms.get_mut(node / 2) else {
            return;
        };
        let said = &mut swarm.nodes[node % 2];
        let kind = if chosen { "turn_complete" } else { "assistant_delta" };
        let event = json!({"type": kind, "swarm_id": swarm.id, "job_id": swarm.job, "node_id": node % 2,
            "seq": said.len() + 1, "status": "completed", "duration_ms": 1, "content": ""});
        said.push(event.clone());
        self.goes_out(event);
    }

    fn changes(&mut self, swarm: usize, state: usize) {
        let Some(swarm) = self.swarms.get_mut(swarm) else {
            return;
        };
        if STATES[swarm.state] != "terminated" && swarm.state != state {
            swarm.state = state;
            let event = swarm.event();
            self.goes_out(event);
        }
    }

    fn launches(&mut self) {
        let number = self.swarms.len();
        if number < 2 {
            let (id, job) = (format!("s-{number}"), format!("j-{number}"));
            let event = json!({"type": "swarm_launched", "swarm_id": id, "node_count": 2, "status": "pending", "provider": "local"});
            self.swarms.push(Swarm {
                id,
                job,
                state: 1,
                nodes: [Vec::new(), Vec::new()],
            });
            self.goes_out(event);
        }
    }

    fn goes_out(&mut self, event: Value) {
        let swarm = event["swarm_id"].as_str().unwrap();
        if let Some(process) = &mut self.process
            && (process.follows_all || process.follows.contains(swarm))
        {
            process.on_the_way.push_back(event);
        }
    }

    fn start(&mut self) {
        if self.process.is_some() {
            return;
        }
        let cursor = {
            let mut disk = self.disk.0.lock().unwrap();
            disk.dead = false;
            disk.dies_after = None;
            disk.asked = self.asked;
            disk.read.push(Vec::new());
            let kept = disk.cursor.as_ref().map(|text| Cursor::read(text).unwrap());
            let swarms = ["s-0", "s-1"]
                .iter()
                .filter(|_| self.asked.named)
                .map(|id| id.parse().unwrap());
            let left_out = self.asked.from_now.then_some(LeftOut::BeforeNow);
            kept.unwrap_or_else(|| Cursor::new(swarms.collect(), left_out))
        };
        let wanted = Wanted {
            kinds: Kinds::chosen(&[]),
            follow: true,
            wording: Box::new(Json),
        };
        self.process = Some(Process {
            following: Following::new(&cursor, wanted, Box::new(Numbers(0))),
            teller: Teller::new(cursor, Some(Box::new(self.disk.clone())), Box::new(self.disk.clone())),
            lines: Vec::new(),
            on_the_way: VecDeque::new(),
            follows_all: false,
            follows: BTreeSet::new(),
        });
        self.connects();
    }

    fn connects(&mut self) {
        let Some(process) = &mut self.process else { return };
        process.on_the_way.clear();
        process.follows_all = false;
        process.follows.clear();
        let requests = process.following.connected();
        self.asked(requests);
    }

    fn hears(&mut self) {
        let Some(process) = &mut self.process else { return };
        let Some(event) = process.on_the_way.pop_front() else {
            return;
        };
        let event = Event::parse(event.to_string().into_bytes()).unwrap();
        let reaction = process.following.heard(&event);
        assert!(
            reaction.failed.is_none() && (self.asked.named || !reaction.done),
            "{reaction:?}"
        );
        process.lines.extend(reaction.tell);
        if reaction.keep || reaction.done {
            self.tells();
        }
        if reaction.done {
            self.process = None;
        }
        self.asked(reaction.send);
    }

    fn tells(&mut self) {
        let Some(process) = &mut self.process else { return };
        let lines = std::mem::take(&mut process.lines);
        let named = |line: &Line| match &line.mark {
            Mark::Node(place, position) => Some(format!("{}_{} {}", place.job_id, place.node_id, position.seq)),
            _ => None,
        };
        let names: Vec<String> = lines.iter().filter_map(named).collect();
        let burst = Burst {
            lines,
            taken: process.following.taken().clone(),
            left_out: process.following.left_out(),
        };
        if process.teller.tell(burst).is_err() {
            self.deaths += 1;
            self.in_doubt.extend(names);
            self.process = None;
        }
    }

    /// What the router answers.
    fn asked(&mut self, requests: Vec<Request>) {
        let Some(process) = &mut self.process else { return };
        for request in requests {
            match request.command {
                Command::SwarmList(_) => {
                    let swarms: BTreeMap<&str, Value> = self
                        .swarms
                        .iter()
                        .map(|swarm| {
                            let summary = json!({"job_id": swarm.job, "node_count": 2, "status": STATES[swarm.state],
                                "provider": "local", "agent": "echo", "created": "2026-03-01T12:00:00Z"});
                            (swarm.id.as_str(), summary)
                        })
                        .collect();
                    process
                        .on_the_way
                        .push_back(json!({"type": "swarm_list", "request_id": request.id, "swarms": swarms}));
                }
                Command::Subscribe(wanted) => {
                    let of = |swarm: &&Swarm| wanted.swarm_id.as_ref().is_none_or(|id| id.as_str() == swarm.id);
                    let mut positions = BTreeMap::new();
                    let mut begins = BTreeMap::new();
                    let mut past = Vec::new();
                    for swarm in self.swarms.iter().filter(of) {
                        for (node, said) in swarm.nodes.iter().enumerate() {
                            let stem = format!("{}_{node:02}", swarm.job);
                            positions.insert(stem.clone(), swarm.end(node).to_string());
                            let from = match &wanted.since {
                                None => swarm.end(node),
                                Some(Since::Everywhere(from)) => *from,
                                Some(Since::ByNode(from)) => {
                                    let others = wanted.swarm_id.is_some().then_some(&Position::START);
                                    *from.get(&stem).or(from.get("*")).or(others).unwrap()
                                }
                            };
                            begins.insert(stem, from.to_string());
                            past.extend(said[from.seq.0 as usize..].iter().cloned());
                        }
                    }
                    process
                        .on_the_way
                        .push_back(json!({"type": "subscribed", "request_id": request.id, "positions": begins}));
                    process.on_the_way.extend(past);
                    process
                        .on_the_way
                        .push_back(json!({"type": "caught_up", "request_id": request.id, "positions": positions}));
                    if let Some(id) = &wanted.swarm_id {
                        let swarm = self.swarms.iter().find(|swarm| swarm.id == id.as_str()).unwrap();
                        process.on_the_way.push_back(swarm.event());
                        if self.asked.named {
                            process.follows.insert(id.to_string());
                        }
                    } else {
                        process.follows_all = true;
                    }
                }
                other => panic!("nobody asked for {other:?}"),
            }
        }
    }
}

fn stem(event: &Value) -> String {
    format!(
        "{}_{:02}",
        event["job_id"].as_str().unwrap(),
        event["node_id"].as_u64().unwrap()
    )
}

fn name(event: &Value) -> String {
    format!(
        "{}_{} {}",
        event["job_id"].as_str().unwrap(),
        event["node_id"],
        event["seq"]
    )
}
