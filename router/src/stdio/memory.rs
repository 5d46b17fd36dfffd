//! What a relay remembers of its client's conversation, so that it can go on with another router as if nothing had
//! happened: what is not answered or not over, what is subscribed to, and where the client's copy of each stream ends. Pure.
//!
//! Two things make that exact. Subscriptions are made again from the places where the copy ends. And what comes again of
//! the client's own prompts, whose requests are sent again too, is held against the last place that it has of each.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};

use serde::Deserialize;
use serde_json::{Map, Value};

use codeswarm_protocol::command::{Since, Spelling};
use codeswarm_protocol::{JobId, NodeId, Place, Position, ROUTER_PROTOCOL, Seq, SwarmId};

/// The fields of an event that matter here, in either spelling.
#[derive(Deserialize)]
struct Fields {
    #[serde(rename = "type")]
    kind: Option<String>,
    event: Option<String>,
    data: Option<Box<Fields>>,
    request_id: Option<String>,
    swarm_id: Option<SwarmId>,
    injection_id: Option<String>,
    job_id: Option<JobId>,
    node_id: Option<NodeId>,
    seq: Option<Seq>,
    sub: Option<u32>,
    status: Option<Value>,
    #[serde(default)]
    positions: BTreeMap<String, Position>,
    of: Option<String>,
    #[serde(default)]
    injections: Vec<Recalled>,
}

/// A prompt in `recalled`.
#[derive(Deserialize)]
struct Recalled {
    injection_id: String,
}

impl Fields {
    fn place(&self) -> Option<(Place, Position)> {
        let place = Place::new(self.job_id.clone()?, self.node_id?);
        let sub = self.sub.unwrap_or(0);
        self.seq.map(|seq| (place, Position { seq, sub }))
    }
}

/// A command on its way.
#[derive(Debug)]
struct Sent {
    name: String,
    line: Vec<u8>,
    subscribe: Option<(Option<SwarmId>, Option<Since>)>,
}

/// A command of which more is to come.
#[derive(Debug)]
struct Open {
    /// Its turn among all of them.
    number: u64,
    line: Vec<u8>,
    /// Of a recall: the request whose name its prompts carry.
    of: Option<String>,
    /// Of a recall: the client was told that it has heard all that was.
    caught_up: bool,
    awaits: Awaits,
}

#[derive(Debug, PartialEq)]
enum Awaits {
    /// The ends of these prompts.
    Ends(Prompts),
    /// The end of this swarm, which it asked for.
    EndOf(SwarmId),
    /// News of the swarm that it launched, whose first prompts these are.
    News(SwarmId, Prompts),
}

/// Prompts of one command, also those that are over: when the command is sent again, all of them are told again.
type Prompts = BTreeMap<String, Prompt>;

/// What the client has of a prompt.
#[derive(Debug, Default, PartialEq)]
struct Prompt {
    /// Its last place.
    at: Position,
    /// The end was among it.
    over: bool,
}

/// What the client subscribed to.
#[derive(Debug)]
struct Subscription {
    name: String,
    swarm_id: Option<SwarmId>,
    caught_up: bool,
}

/// What becomes of an event on its way to the client.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Heard {
    /// It is handed on, as this line.
    New(Vec<u8>),
    /// The client has it already, or it is nothing to the client.
    Known,
}

/// One conversation.
#[derive(Debug)]
pub(super) struct Memory {
    /// Begins every name that is given here and not by the client.
    given: String,
    given_out: u64,
    begun: bool,
    spelling: Spelling,
    unanswered: VecDeque<Sent>,
    open: HashMap<String, Open>,
    opened: u64,
    subscriptions: Vec<Subscription>,
    positions: BTreeMap<Place, (Option<SwarmId>, Position)>,
    /// Of prompts of commands that were sent again to another router: the last place that the client has, and the request.
    had: HashMap<String, (Position, String)>,
    /// Requests that were sent again without being answered. Their prompts may be told twice, by a subscription and as
    /// the answer.
    sent_again: HashSet<String>,
    /// Something that was asked for went wrong.
    pub failed: bool,
    /// The router was told to end.
    pub shut_down: bool,
}

impl Memory {
    /// A conversation that has not begun; `given` begins the names of commands to which the client gives none.
    pub(super) fn new(given: String) -> Self {
        Self {
            given,
            given_out: 0,
            begun: false,
            spelling: Spelling::default(),
            unanswered: VecDeque::new(),
            open: HashMap::new(),
            opened: 0,
            subscriptions: Vec::new(),
            positions: BTreeMap::new(),
            had: HashMap::new(),
            sent_again: HashSet::new(),
            failed: false,
            shut_down: false,
        }
    }

    /// How the client spells.
    pub(super) fn spelling(&self) -> Spelling {
        self.spelling
    }

    /// A command on its way; it is given a `request_id` if it has none, so that it can be sent again safely.
    pub(super) fn sent(&mut self, line: &[u8]) -> Vec<u8> {
        self.begun = true;
        let Ok(fields) = serde_json::from_slice::<Map<String, Value>>(line) else {
            return line.to_vec();
        };
        let enveloped = fields.contains_key("protocol") || fields.contains_key("payload");
        self.spelling = if enveloped { Spelling::Enveloped } else { Spelling::Flat };
        let (name, line) = match fields.get("request_id") {
            Some(Value::String(name)) => (name.clone(), line.to_vec()),
            Some(_) => return line.to_vec(),
            None => {
                self.given_out += 1;
                let name = format!("{}{}", self.given, self.given_out);
                (name.clone(), with_name(line, &name, fields.is_empty()))
            }
        };
        // Asked for anew by the client itself: all of it comes again.
        self.had.retain(|_, (_, request)| *request != name);
        self.sent_again.remove(&name);
        let subscribe = subscription_in(&fields, enveloped);
        self.unanswered.push_back(Sent {
            name,
            line: line.clone(),
            subscribe,
        });
        line
    }

    /// An event on its way to the client.
    pub(super) fn heard(&mut self, line: &[u8]) -> Heard {
        self.begun = true;
        let Ok(outer) = serde_json::from_slice::<Fields>(line) else {
            return Heard::New(line.to_vec());
        };
        let (kind, fields) = match outer.data {
            Some(data) => (outer.event, *data),
            None => (outer.kind.clone(), outer),
        };
        let kind = kind.unwrap_or_default();
        if !self.is_new(&fields) || !self.takes_answer(&kind, &fields) {
            return Heard::Known;
        }
        self.remember_places(&kind, &fields);
        let failed = match kind.as_str() {
            "inject_failed" | "command_rejected" => true,
            "turn_complete" => fields.status != Some(Value::from("completed")),
            _ => false,
        };
        self.failed |= failed;
        self.shut_down |= kind == "shutting_down";
        self.settle(&kind, &fields);
        match fields.request_id {
            Some(name) if name.starts_with(&self.given) => Heard::New(without_name(line, &name)),
            _ => Heard::New(line.to_vec()),
        }
    }

    /// Whether an event of an own prompt lies behind the last one that the client has.
    fn is_new(&mut self, fields: &Fields) -> bool {
        let (Some(id), Some((_, position))) = (&fields.injection_id, fields.place()) else {
            return true;
        };
        if let Some((had, _)) = self.had.get_mut(id) {
            let new = position > *had;
            *had = position.max(*had);
            return new;
        }
        if let Some(name) = fields
            .request_id
            .as_ref()
            .filter(|name| self.sent_again.contains(*name))
        {
            self.had.insert(id.clone(), (position, name.clone()));
        }
        true
    }

    /// Takes the answer of a command; `false` if it is one that the client has.
    fn takes_answer(&mut self, kind: &str, fields: &Fields) -> bool {
        let Some(name) = &fields.request_id else { return true };
        let at = self.unanswered.iter().position(|sent| sent.name == *name);
        let Some(sent) = at.and_then(|at| self.unanswered.remove(at)) else {
            // What is said again for a command that was sent again by the relay alone.
            return match kind {
                "subscribed" => false,
                "caught_up" => {
                    let subscription = self.subscriptions.iter_mut().find(|kept| kept.name == *name);
                    let subscription = subscription.map(|kept| &mut kept.caught_up);
                    match subscription.or_else(|| self.open.get_mut(name).map(|open| &mut open.caught_up)) {
                        Some(caught_up) => !std::mem::replace(caught_up, true),
                        None => !name.starts_with(&self.given),
                    }
                }
                "swarm_launched" | "recalled" => !self.open.contains_key(name),
                "swarm_status" => !matches!(self.open.get(name).map(|open| &open.awaits), Some(Awaits::EndOf(_))),
                _ => true,
            };
        };
        let swarm_id = fields.swarm_id.clone();
        let awaits = match (kind, swarm_id) {
            ("inject_ack", _) => Some(Awaits::Ends(Prompts::new())),
            ("recalled", _) if !fields.injections.is_empty() => {
                let prompts = fields.injections.iter();
                let prompts = prompts.map(|one| (one.injection_id.clone(), Prompt::default()));
                Some(Awaits::Ends(prompts.collect()))
            }
            ("swarm_launched", Some(swarm_id)) => Some(Awaits::News(swarm_id, Prompts::new())),
            ("swarm_status", Some(swarm_id)) if fields.status == Some(Value::from("terminating")) => {
                Some(Awaits::EndOf(swarm_id))
            }
            _ => None,
        };
        self.open.remove(name);
        match (awaits, sent.subscribe) {
            (Some(awaits), _) => {
                self.opened += 1;
                let (number, line) = (self.opened, sent.line);
                let of = fields.of.clone();
                self.open.insert(
                    sent.name,
                    Open {
                        number,
                        line,
                        of,
                        caught_up: false,
                        awaits,
                    },
                );
            }
            (None, Some((swarm_id, since))) if kind == "subscribed" => {
                self.reset_places(swarm_id.as_ref(), since.as_ref());
                self.begin_places(swarm_id.as_ref(), since.is_some(), fields);
                self.subscriptions.push(Subscription {
                    name: sent.name,
                    swarm_id,
                    caught_up: false,
                });
            }
            _ => {}
        }
        true
    }

    /// The client says where its copy ends; it is handed what follows, whatever it had.
    fn reset_places(&mut self, swarm: Option<&SwarmId>, since: Option<&Since>) {
        let Some(since) = since else { return };
        for (place, (of, position)) in &mut self.positions {
            if swarm.is_none() || swarm == of.as_ref() {
                *position = match since {
                    Since::Everywhere(position) => *position,
                    Since::ByNode(named) => {
                        let names = [place.stem(), place.node_id.to_string()];
                        names
                            .iter()
                            .find_map(|name| named.get(name))
                            .copied()
                            .unwrap_or_default()
                    }
                };
            }
        }
    }

    /// Nodes of which nothing has come yet have their places, too: a subscription that is made again without one of them
    /// would bring all of that one again.
    fn begin_places(&mut self, swarm: Option<&SwarmId>, anew: bool, fields: &Fields) {
        for (stem, position) in &fields.positions {
            let Ok(place) = Place::from_stem(stem) else { continue };
            let (of, at) = self.positions.entry(place).or_insert((None, *position));
            if swarm.is_some() {
                *of = swarm.cloned();
            }
            if anew {
                *at = *position;
            }
        }
    }

    fn remember_places(&mut self, kind: &str, fields: &Fields) {
        if let Some((place, position)) = fields.place() {
            let (swarm_id, at) = self.positions.entry(place).or_default();
            swarm_id.clone_from(&fields.swarm_id);
            *at = position.max(*at);
        }
        if kind == "caught_up" {
            for (stem, position) in &fields.positions {
                if let Ok(place) = Place::from_stem(stem) {
                    let (swarm_id, at) = self.positions.entry(place).or_default();
                    if fields.swarm_id.is_some() {
                        swarm_id.clone_from(&fields.swarm_id);
                    }
                    *at = (*position).max(*at);
                }
            }
        }
    }

    /// Notes what an event means for the commands of which more is to come.
    fn settle(&mut self, kind: &str, fields: &Fields) {
        if kind == "swarm_terminated" {
            self.open.retain(|_, open| match &open.awaits {
                Awaits::EndOf(swarm) | Awaits::News(swarm, _) => fields.swarm_id.as_ref() != Some(swarm),
                Awaits::Ends(_) => true,
            });
        }
        let (Some(name), Some(id), Some((_, position))) = (&fields.request_id, &fields.injection_id, fields.place())
        else {
            return;
        };
        self.open.retain(|command, open| {
            let (Awaits::Ends(prompts) | Awaits::News(_, prompts)) = &mut open.awaits else {
                return true;
            };
            if command != name && open.of.as_ref() != Some(name) {
                return true;
            }
            if kind == "inject_ack" || prompts.contains_key(id) {
                let prompt = prompts.entry(id.clone()).or_default();
                prompt.at = position.max(prompt.at);
                prompt.over |= matches!(kind, "inject_failed" | "turn_complete");
            }
            let all_over = prompts.values().all(|prompt| prompt.over);
            !(all_over && matches!(open.awaits, Awaits::Ends(_)))
        });
    }

    /// What to say first to another router: subscriptions, from where the client's copy ends, then what is not over, then
    /// what is not answered, in the order in which it was asked.
    pub(super) fn again(&mut self) -> Vec<u8> {
        for (name, open) in &self.open {
            if let Awaits::Ends(prompts) | Awaits::News(_, prompts) = &open.awaits {
                let had = prompts
                    .iter()
                    .map(|(id, prompt)| (id.clone(), (prompt.at, name.clone())));
                self.had.extend(had);
            }
        }
        let mut lines: Vec<Vec<u8>> = Vec::new();
        let everything = self.subscriptions.iter().any(|kept| kept.swarm_id.is_none());
        let mut covered: Vec<Option<&SwarmId>> = Vec::new();
        for kept in &self.subscriptions {
            let again = kept.caught_up && everything && kept.swarm_id.is_some();
            if again || (kept.caught_up && covered.contains(&kept.swarm_id.as_ref())) {
                continue;
            }
            covered.push(kept.swarm_id.as_ref());
            lines.push(self.subscribe_again(kept));
        }
        let mut open: Vec<&Open> = self.open.values().collect();
        open.sort_by_key(|open| open.number);
        self.sent_again
            .extend(self.unanswered.iter().map(|sent| sent.name.clone()));
        let waiting = self.unanswered.iter().map(|sent| &sent.line);
        lines.extend(open.iter().map(|open| &open.line).chain(waiting).cloned());
        lines
            .iter()
            .flat_map(|line| [line.as_slice(), b"\n"].concat())
            .collect()
    }

    fn subscribe_again(&self, kept: &Subscription) -> Vec<u8> {
        let of = |(swarm_id, _): &(Option<SwarmId>, Position)| {
            kept.swarm_id.is_none() || swarm_id.is_none() || *swarm_id == kept.swarm_id
        };
        let ends = self.positions.iter().filter(|(_, at)| of(at));
        let mut since: BTreeMap<String, Position> = ends.map(|(place, (_, at))| (place.stem(), *at)).collect();
        if kept.swarm_id.is_none() {
            // All that there was when the client subscribed has its place; what has none is of a later swarm.
            since.insert(Since::ALL_OTHERS.to_owned(), Position::START);
        }
        let mut payload = serde_json::json!({"since": since});
        if let Some(swarm_id) = &kept.swarm_id {
            payload["swarm_id"] = Value::from(swarm_id.as_str());
        }
        let name = if kept.caught_up {
            format!("{}again", self.given)
        } else {
            kept.name.clone()
        };
        let mut command = match self.spelling {
            Spelling::Flat => payload,
            Spelling::Enveloped => {
                serde_json::json!({"protocol": ROUTER_PROTOCOL, "type": "command", "payload": payload})
            }
        };
        command["command"] = Value::from("subscribe");
        command["request_id"] = Value::from(name);
        command.to_string().into_bytes()
    }

    /// Whether a command is not answered.
    pub(super) fn has_unanswered(&self) -> bool {
        !self.unanswered.is_empty()
    }

    /// Whether something that was asked for is not answered or not over.
    pub(super) fn has_open(&self) -> bool {
        let awaited = |open: &Open| match &open.awaits {
            Awaits::News(_, prompts) => prompts.values().any(|prompt| !prompt.over),
            Awaits::Ends(_) | Awaits::EndOf(_) => true,
        };
        self.has_unanswered() || self.open.values().any(awaited)
    }

    /// Whether a conversation has begun.
    pub(super) fn has_begun(&self) -> bool {
        self.begun
    }
}

/// The swarm and the place of a `subscribe`.
fn subscription_in(fields: &Map<String, Value>, enveloped: bool) -> Option<(Option<SwarmId>, Option<Since>)> {
    let name = fields.get("command").or_else(|| fields.get("action"))?;
    let payload = match enveloped {
        true => fields.get("payload").and_then(Value::as_object),
        false => Some(fields),
    };
    let field = |name: &str| payload.and_then(|payload| payload.get(name)).cloned();
    (name == "subscribe").then(|| {
        let swarm_id = field("swarm_id").and_then(|id| serde_json::from_value(id).ok());
        let since = field("since").and_then(|since| serde_json::from_value(since).ok());
        (swarm_id, since)
    })
}

/// Puts a `request_id` in, and leaves the rest as it is spelled.
fn with_name(line: &[u8], name: &str, empty: bool) -> Vec<u8> {
    let brace = line.iter().position(|byte| *byte == b'{').map_or(0, |at| at + 1);
    let (before, rest) = line.split_at(brace);
    let comma = if empty { "" } else { "," };
    [before, format!("\"request_id\":\"{name}\"{comma}").as_bytes(), rest].concat()
}

/// Takes a `request_id` out that the client did not give. A quote inside a text is always escaped, so the pattern is the
/// field itself.
fn without_name(line: &[u8], name: &str) -> Vec<u8> {
    let field = format!("\"request_id\":\"{name}\"");
    let Some(at) = line.windows(field.len()).position(|window| window == field.as_bytes()) else {
        return line.to_vec();
    };
    let (before, rest) = (&line[..at], &line[at + field.len()..]);
    match (rest.strip_prefix(b","), before.strip_suffix(b",")) {
        (Some(rest), _) => [before, rest].concat(),
        (None, Some(before)) => [before, rest].concat(),
        (None, None) => [before, rest].concat(),
    }
}

#[cfg(test)]
#[path = "memory/tests.rs"]
mod tests;
