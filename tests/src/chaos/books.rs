//! What a client was told, in little memory: of each node's stream the last place and a number for each record, and of each
//! prompt how far it came. What is wrong with a stream in itself is counted here; what is missing shows beside the files.

use std::collections::{BTreeMap, HashMap};
use std::hash::{DefaultHasher, Hash, Hasher};

use serde_json::{Map, Value, json};

use crate::account::is_end;
use crate::cluster::NODES;

/// Complaints beyond these are counted and not kept.
const COMPLAINTS: usize = 40;

/// How the end of a prompt that was never started begins.
pub const NOT_STARTED: &str = "not started: ";

/// A place in a node's stream.
pub type Place = (u64, u64);

/// One node's stream as it came.
#[derive(Debug, Default)]
pub struct NodeBook {
    /// The last place.
    pub last: Place,
    /// A number for each record, in the order in which they came, with its `seq`.
    pub records: Vec<(u64, u64)>,
    /// Its worker has ended in order, and no other has begun.
    pub exited: bool,
}

/// A prompt from the command on.
#[derive(Debug, Clone)]
pub struct Prompt {
    /// To which node.
    pub node: u32,
    /// How many words are asked for.
    pub words: u64,
    /// The command, to be sent again while it is not acknowledged.
    pub command: Value,
    /// Once it is acknowledged.
    pub injection: Option<String>,
    /// How it ended, each time.
    pub ends: Vec<String>,
}

/// A swarm with its nodes and prompts.
#[derive(Debug, Default)]
pub struct SwarmBook {
    /// Its id.
    pub swarm_id: String,
    /// Its job.
    pub job_id: String,
    /// By rank.
    pub nodes: Vec<NodeBook>,
    /// By [`prompt_name`].
    pub prompts: BTreeMap<String, Prompt>,
    injections: HashMap<String, String>,
    /// All workers are up.
    pub running: bool,
    /// Why it ended, once it did.
    pub ended: Option<String>,
}

/// All that one client was told.
#[derive(Debug, Default)]
pub struct Books {
    /// The client follows all swarms, and not each one that it knows of.
    pub follows_all: bool,
    /// One after the other; the last one is at work.
    pub swarms: Vec<SwarmBook>,
    /// Records passed on.
    pub seen: u64,
    /// Places that came twice.
    pub doubled: u64,
    /// Places that came after a later one, or with a gap before them.
    pub out_of_order: u64,
    /// What was wrong, the first of it.
    pub complaints: Vec<String>,
    /// Troubles that were told, by their kind.
    pub troubles: BTreeMap<String, u64>,
    /// The answers to launches, and refusals.
    pub answers: BTreeMap<String, Value>,
}

impl Books {
    /// The swarm at work, once one is launched.
    pub fn now(&mut self) -> Option<&mut SwarmBook> {
        self.swarms.last_mut()
    }

    /// Takes in an event.
    pub fn take(&mut self, event: &Value) {
        let kind = event["type"].as_str().unwrap_or_default();
        match kind {
            "router_trouble" | "records_skipped" | "worker_error" | "node_lost" | "inject_pending" => {
                *self.troubles.entry(kind.to_owned()).or_default() += 1;
                if kind == "records_skipped" {
                    self.complain(format!("records were skipped: {event}"));
                }
            }
            "link" if event["up"] == false => *self.troubles.entry("link down".to_owned()).or_default() += 1,
            _ => {}
        }
        if let Some(request) = event["request_id"].as_str()
            && (kind == "swarm_launched" || kind == "command_rejected")
        {
            self.answers.insert(request.to_owned(), event.clone());
        }
        if kind == "command_rejected" {
            self.refused(event);
        }
        self.meet(event);
        let Some(at) = self
            .swarms
            .iter()
            .rposition(|swarm| event["job_id"] == *swarm.job_id && !swarm.job_id.is_empty())
        else {
            return;
        };
        match kind {
            "swarm_status" | "swarm_terminated" => {
                self.swarms[at].running = event["status"] == "running";
                if event["status"] == "terminated" || event["status"] == "failed" {
                    let reason = event["reason"].as_str().or(event["status"].as_str());
                    self.swarms[at].ended = reason.map(str::to_owned);
                }
            }
            _ => {}
        }
        if self.take_place(at, event) {
            self.swarms[at].take(event, kind);
        }
    }

    /// The first word of a swarm that a client who follows all has not heard of.
    fn meet(&mut self, event: &Value) {
        if !self.follows_all || event["seq"].is_null() {
            return;
        }
        if let (Some(swarm), Some(job)) = (event["swarm_id"].as_str(), event["job_id"].as_str())
            && !self.swarms.iter().any(|known| known.job_id == job)
        {
            self.swarms.push(SwarmBook::new(swarm, job, NODES));
        }
    }

    /// The commands that go on where this copy ends.
    pub fn subscriptions(&self) -> Vec<Value> {
        if !self.follows_all {
            let swarms = self.swarms.iter().filter(|swarm| swarm.ended.is_none());
            return swarms.map(SwarmBook::subscription).collect();
        }
        let mut since = Map::from_iter([("*".to_owned(), json!(0))]);
        for swarm in &self.swarms {
            for (node, book) in swarm.nodes.iter().enumerate() {
                let begun = book.last != (0, 0);
                since.extend(begun.then(|| (format!("{}_{node:02}", swarm.job_id), json!(spelled(book.last)))));
            }
        }
        vec![json!({"command": "subscribe", "since": since})]
    }

    /// A prompt that is refused has changed nothing, and counts as never given.
    fn refused(&mut self, event: &Value) {
        let request = event["request_id"].as_str().unwrap_or_default();
        for swarm in &mut self.swarms {
            let names = (0..NODES).map(|node| prompt_name(request, node));
            for prompt in names.filter_map(|name| swarm.prompts.remove(&name)).collect::<Vec<_>>() {
                let code = event["code"].as_str().unwrap_or_default();
                *self.troubles.entry(format!("prompt refused, {code}")).or_default() += 1;
                if prompt.injection.is_some() {
                    self.complaints.push(format!("acknowledged, then refused: {event}"));
                }
            }
        }
    }

    /// Whether the event stands where it should in its node's stream.
    fn take_place(&mut self, at: usize, event: &Value) -> bool {
        let (Some(seq), Some(node)) = (event["seq"].as_u64(), event["node_id"].as_u64()) else {
            return false;
        };
        let Some(book) = self.swarms[at].nodes.get_mut(node as usize) else {
            self.complain(format!("a node that is not there: {event}"));
            return false;
        };
        let place = (seq, event["sub"].as_u64().unwrap_or(0));
        let last = book.last;
        if place <= last {
            let doubled = place == last || book.records.iter().rev().any(|(old, _)| *old == seq && place.1 == 0);
            let count = if doubled {
                &mut self.doubled
            } else {
                &mut self.out_of_order
            };
            *count += 1;
            self.complain(format!("node {node}: {place:?} after {last:?}: {event}"));
            return false;
        }
        let next = [(last.0, last.1 + 1), (last.0 + 1, 0)];
        book.last = place;
        if place.1 == 0 {
            book.records.push((seq, fingerprint(event)));
            self.seen += 1;
        }
        if !next.contains(&place) {
            self.out_of_order += 1;
            self.complain(format!("node {node}: a gap between {last:?} and {place:?}: {event}"));
        }
        true
    }

    /// Keeps what is wrong.
    pub fn complain(&mut self, complaint: String) {
        if self.complaints.len() < COMPLAINTS {
            self.complaints.push(complaint);
        }
    }
}

impl SwarmBook {
    /// One that is launched.
    pub fn new(swarm_id: &str, job_id: &str, nodes: u32) -> Self {
        Self {
            swarm_id: swarm_id.to_owned(),
            job_id: job_id.to_owned(),
            nodes: (0..nodes).map(|_| NodeBook::default()).collect(),
            ..Self::default()
        }
    }

    fn take(&mut self, event: &Value, kind: &str) {
        let node = event["node_id"].as_u64().unwrap_or(0) as usize;
        match kind {
            "worker_start" => self.nodes[node].exited = false,
            "worker_exit" => self.nodes[node].exited = true,
            _ => {}
        }
        let Some(injection) = event["injection_id"].as_str() else {
            return;
        };
        if kind == "inject_ack"
            && let Some(request) = event["request_id"].as_str()
            && let name = prompt_name(request, node as u32)
            && let Some(prompt) = self.prompts.get_mut(&name)
        {
            prompt.injection = Some(injection.to_owned());
            self.injections.insert(injection.to_owned(), name);
        }
        if is_end(event)
            && let Some(name) = self.injections.get(injection)
            && let Some(prompt) = self.prompts.get_mut(name)
        {
            prompt.ends.push(how_it_ended(event));
        }
    }

    /// The commands of which no prompt is acknowledged, once each.
    pub fn unanswered(&self) -> Vec<Value> {
        let mut commands = BTreeMap::new();
        for prompt in self.prompts.values() {
            let request = prompt.command["request_id"].as_str().unwrap_or_default();
            let (_, acknowledged) = commands.entry(request).or_insert((&prompt.command, false));
            *acknowledged |= prompt.injection.is_some();
        }
        let unanswered = commands.into_values().filter(|(_, acknowledged)| !acknowledged);
        unanswered.map(|(command, _)| command.clone()).collect()
    }

    /// Prompts of a node that have not ended.
    pub fn open(&self, node: u32) -> usize {
        let open = |prompt: &&Prompt| prompt.node == node && prompt.ends.is_empty();
        self.prompts.values().filter(open).count()
    }

    /// The command that goes on where this copy ends.
    pub fn subscription(&self) -> Value {
        let since: Map<String, Value> = self
            .nodes
            .iter()
            .enumerate()
            .map(|(node, book)| (node.to_string(), json!(spelled(book.last))))
            .collect();
        json!({"command": "subscribe", "swarm_id": self.swarm_id, "since": since})
    }
}

/// The name of the prompt to one of the nodes that a command gives one to.
pub fn prompt_name(request: &str, node: u32) -> String {
    format!("{request}/{node}")
}

/// As the table has it.
fn how_it_ended(event: &Value) -> String {
    let word = |value: &Value| value.as_str().unwrap_or("?").to_owned();
    if event["type"] == "inject_failed" {
        return format!("{NOT_STARTED}{}", word(&event["error"]));
    }
    let status = word(&event["status"]);
    match event["error"]["class"].as_str() {
        Some(class) => format!("{status}: {class}"),
        None => status,
    }
}

fn spelled((seq, sub): Place) -> String {
    match sub {
        0 => seq.to_string(),
        sub => format!("{seq}.{sub}"),
    }
}

/// A number that two records share only if they are the same, without what the router adds.
pub fn fingerprint(record: &Value) -> u64 {
    let mut hasher = DefaultHasher::new();
    let fields = record.as_object().into_iter().flatten();
    let mut fields: Vec<_> = fields
        .filter(|(key, _)| *key != "swarm_id" && *key != "request_id")
        .collect();
    fields.sort_by_key(|(key, _)| key.as_str());
    for (key, value) in fields {
        key.hash(&mut hasher);
        value.to_string().hash(&mut hasher);
    }
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(seq: u64) -> Value {
        json!({"type": "notice", "message": "m", "job_id": "7", "node_id": 0, "seq": seq, "swarm_id": "s"})
    }

    fn books() -> Books {
        let mut books = Books::default();
        books.swarms.push(SwarmBook::new("s", "7", 1));
        books
    }

    #[test]
    fn what_comes_twice_late_or_after_a_gap_is_counted() {
        let mut books = books();
        for seq in [1, 2, 2, 5, 4] {
            books.take(&record(seq));
        }
        assert_eq!((books.seen, books.doubled, books.out_of_order), (3, 1, 2));
        assert_eq!(books.swarms[0].subscription()["since"]["0"], "5");
    }

    #[test]
    fn a_record_has_the_same_number_with_and_without_the_router_s_additions() {
        let mut bare = record(1);
        bare.as_object_mut().unwrap().remove("swarm_id");
        assert_eq!(fingerprint(&record(1)), fingerprint(&bare));
        assert_ne!(fingerprint(&record(2)), fingerprint(&bare));
    }
}
