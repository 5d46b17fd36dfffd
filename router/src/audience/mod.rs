//! Who among the clients hears which event, and where each one's copy of each node's stream ends.
//!
//! A client that follows a node is either *live* (it is handed every event as it comes) or *behind* (it is handed
//! nothing, until what it lacks has been read back from the files). Falling behind is how a client asks for history, and
//! also what happens to one that reads too slowly: the files are the buffer, so memory stays bounded and nobody else
//! waits. This room decides only; it holds no sockets and reads no files.

mod behind;
mod client;
mod pace;
mod recent;

pub use behind::{Behind, Piece, Read};
pub use client::{Client, Ending};
pub use pace::{Listener, Pace};
pub use recent::{Part, Recent};

use std::collections::{BTreeMap, BTreeSet};

use codeswarm_protocol::command::Spelling;
use codeswarm_protocol::{InjectionId, Place, Position, RequestId, SwarmId};

use crate::core::ClientId;

/// An event of a node's stream, as far as it matters for who hears it.
#[derive(Debug, Clone, Copy)]
pub struct Heard<'a> {
    /// Whose stream.
    pub place: &'a Place,
    /// The swarm.
    pub swarm_id: Option<&'a SwarmId>,
    /// Where in the stream.
    pub position: Position,
    /// Where the stream ended before it.
    pub before: Position,
    /// The byte of the outbox behind which everything after that place stands.
    pub offset: u64,
    /// The injection it belongs to.
    pub injection_id: Option<&'a str>,
    /// Whether it is the injection's end.
    pub ending: Ending,
}

/// A node's stream as it is now.
#[derive(Debug, Clone)]
pub struct NodeNow {
    /// Whose.
    pub place: Place,
    /// The swarm.
    pub swarm_id: Option<SwarmId>,
    /// Where it ends.
    pub end: Position,
}

/// All clients.
#[derive(Debug, Default)]
pub struct Audience {
    clients: BTreeMap<ClientId, Client>,
}

impl Audience {
    /// A client has come.
    pub fn join(&mut self, id: ClientId) {
        self.clients.insert(id, Client::default());
    }

    /// A client has gone.
    pub fn leave(&mut self, id: ClientId) {
        self.clients.remove(&id);
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.clients.is_empty()
    }

    /// One of them.
    pub fn client(&mut self, id: ClientId) -> Option<&mut Client> {
        self.clients.get_mut(&id)
    }

    /// How a client spells.
    pub fn spelling(&self, id: ClientId) -> Spelling {
        self.clients.get(&id).map(|client| client.spelling).unwrap_or_default()
    }

    /// All of them.
    pub fn ids(&self) -> Vec<ClientId> {
        self.clients.keys().copied().collect()
    }

    /// Who hears this event now. A client without room for it falls behind there instead.
    pub fn hear(&mut self, event: Heard<'_>, has_room: impl Fn(ClientId) -> bool) -> Vec<ClientId> {
        let mut hearers = Vec::new();
        for (id, client) in &mut self.clients {
            if client.behind.contains_key(event.place) {
                continue;
            }
            client.passes(&event);
            if !client.wants(&event) {
                continue;
            }
            if has_room(*id) {
                client.heard(&event);
                hearers.push(*id);
            } else {
                client.fall_behind(&event);
            }
        }
        hearers
    }

    /// Whether somebody lacks something of this node.
    pub fn somebody_lacks(&self, place: &Place) -> bool {
        self.clients.values().any(|client| client.behind.contains_key(place))
    }

    /// Whether somebody lacks something of any node.
    pub fn somebody_is_behind(&self) -> bool {
        self.clients.values().any(|client| !client.behind.is_empty())
    }

    /// To whom what comes next may matter. `awaits` tells of whom else: one that is owed an answer.
    pub fn listeners(
        &self,
        has_room: impl Fn(ClientId) -> bool,
        awaits: impl Fn(ClientId) -> bool,
    ) -> impl Iterator<Item = Listener> {
        let listens = move |(id, client): &(&ClientId, &Client)| client.listens() || awaits(**id);
        self.clients.iter().filter(listens).map(move |(id, client)| Listener {
            id: *id,
            has_room: has_room(*id),
            live: client.behind.is_empty(),
        })
    }

    /// Who hears how a swarm is. A client without room is told later, as it is then.
    pub fn hear_swarm(&mut self, swarm_id: &SwarmId, has_room: impl Fn(ClientId) -> bool) -> Vec<ClientId> {
        let mut hearers = Vec::new();
        for (id, client) in &mut self.clients {
            if !client.follows_swarm(swarm_id) {
                continue;
            }
            if has_room(*id) {
                hearers.push(*id);
            } else {
                client.stale.insert(swarm_id.clone());
            }
        }
        hearers
    }

    /// A client follows a swarm, or all, from now on or from `since` on; `nodes` are the ones that there are now, each with
    /// where the client's copy of it ends (absent: it wants only what is new).
    pub fn subscribe(
        &mut self,
        id: ClientId,
        swarm_id: Option<&SwarmId>,
        nodes: Vec<(NodeNow, Option<Position>)>,
        request_id: Option<RequestId>,
        spelling: Spelling,
    ) {
        let Some(client) = self.clients.get_mut(&id) else {
            return;
        };
        let mut remaining = BTreeSet::new();
        for (node, since) in nodes {
            if let Some(since) = since {
                client.replay_all(&node, since);
                remaining.insert(node.place);
            } else {
                client.also_all_from_now(&node);
            }
        }
        match swarm_id {
            Some(swarm_id) => {
                client.swarms.insert(swarm_id.clone());
            }
            None => client.everything = true,
        }
        client.catching_up.push(client::CatchingUp {
            request_id,
            spelling,
            swarm_id: swarm_id.cloned(),
            remaining,
        });
    }

    /// A client is told when it has heard all that it lacks of these nodes now.
    pub fn catch_up(
        &mut self,
        id: ClientId,
        swarm_id: Option<SwarmId>,
        places: Vec<Place>,
        request_id: Option<RequestId>,
    ) {
        if let Some(client) = self.clients.get_mut(&id) {
            let lacks = |place: &Place| client.behind.contains_key(place);
            let remaining = places.into_iter().filter(lacks).collect();
            client.catching_up.push(client::CatchingUp {
                request_id,
                spelling: client.spelling,
                swarm_id,
                remaining,
            });
        }
    }

    /// A client hears how a swarm is from now on, and what happens to these, its nodes, outside of any prompt.
    pub fn follow_swarm(&mut self, id: ClientId, swarm_id: &SwarmId, nodes: Vec<NodeNow>) {
        let Some(client) = self.clients.get_mut(&id) else {
            return;
        };
        if client.told_of.insert(swarm_id.clone()) {
            for node in nodes {
                client.also_lifecycle_from_now(&node);
            }
        }
    }

    /// A client follows one injection, from now on or from `from` on.
    pub fn follow(&mut self, id: ClientId, injection_id: InjectionId, node: &NodeNow, from: Option<Position>) {
        let Some(client) = self.clients.get_mut(&id) else {
            return;
        };
        match from {
            Some(from) => client.replay_one(node, &injection_id, from),
            None => client.also_one_from_now(node, &injection_id),
        }
        client.open.insert(injection_id.clone());
        client.own.insert(injection_id, node.place.clone());
    }
}

#[cfg(test)]
mod tests;
