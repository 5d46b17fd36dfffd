//! Two clients, each with a process of its own in front of it: one of these is the router, the other one passes its lines on,
//! and takes its place when it dies. A client whose process ends starts another and goes on where its copy ended.

use std::time::{Duration, Instant};

use serde_json::Value;

use super::books::SwarmBook;
use super::client::{Client, SharedBooks, open};
use super::plan::Chance;
use crate::workspace::Workspace;

/// How many clients.
const CLIENTS: usize = 2;

/// A client with its books, which outlive its processes.
struct Seat {
    books: SharedBooks,
    client: Option<Client>,
    due: Option<Instant>,
}

/// The clients. The first one gives the prompts.
pub struct Seats {
    seats: [Seat; CLIENTS],
    delays: Chance,
}

/// The processes that run in front of clients.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Routers {
    /// The one that serves.
    pub router: Option<u32>,
    /// One that passes lines on.
    pub relay: Option<u32>,
}

impl Seats {
    /// Empty ones; processes are started by [`Seats::keep`].
    pub fn new(seed: u64, now: Instant) -> Self {
        let seat = |follows_all| {
            let books = SharedBooks::default();
            open(&books).follows_all = follows_all;
            Seat {
                books,
                client: None,
                due: Some(now),
            }
        };
        Self {
            seats: [false, true].map(seat),
            delays: Chance::new(seed ^ 0xc11e),
        }
    }

    /// The first client's books.
    pub fn books(&self) -> &SharedBooks {
        &self.seats[0].books
    }

    /// The other client's.
    pub fn other_books(&self) -> &SharedBooks {
        &self.seats[1].books
    }

    /// A process that has ended is followed by another, at once or some seconds later.
    pub fn keep(&mut self, workspace: &Workspace, now: Instant) {
        for seat in &mut self.seats {
            if seat.client.as_mut().is_some_and(Client::is_over) {
                seat.client = None;
                let delay = [0, 200, 1500, 5000][self.delays.below(4) as usize];
                seat.due = Some(now + Duration::from_millis(delay));
            }
            if seat.due.take_if(|due| *due <= now).is_some() {
                seat.client = Some(Client::start(workspace, &seat.books));
            }
        }
    }

    /// Whether all have their processes.
    pub fn are_taken(&self) -> bool {
        self.seats.iter().all(|seat| seat.client.is_some())
    }

    /// Sends a command of the first client's, if it has a process.
    pub fn send(&mut self, command: &Value) -> bool {
        match &mut self.seats[0].client {
            Some(client) => {
                client.send(command);
                true
            }
            None => false,
        }
    }

    /// The first client follows a swarm from its beginning; the other one follows all.
    pub fn follow(&mut self, swarm_id: &str, job_id: &str, nodes: u32) {
        let book = SwarmBook::new(swarm_id, job_id, nodes);
        let subscription = book.subscription();
        open(self.books()).swarms.push(book);
        self.send(&subscription);
    }

    /// A client reads nothing, or reads on.
    pub fn pause(&mut self, which: usize, pause: bool) {
        if let Some(client) = &self.seats[which % CLIENTS].client {
            client.pause(pause);
        }
    }

    /// Which process is what. The router's lock has its number.
    pub fn routers(&self, workspace: &Workspace) -> Routers {
        let lock = std::fs::read_to_string(workspace.state_dir().join("router.lock")).unwrap_or_default();
        let holder = lock.trim().parse::<u32>().ok();
        let pids = self
            .seats
            .iter()
            .filter_map(|seat| seat.client.as_ref().map(Client::pid));
        let mut routers = Routers::default();
        for pid in pids {
            if Some(pid) == holder {
                routers.router = Some(pid);
            } else {
                routers.relay = Some(pid);
            }
        }
        routers
    }

    /// Whether the other client has come as far as the first one.
    pub fn agree(&self) -> bool {
        let mut ends = self.seats.iter().map(|seat| {
            let books = open(&seat.books);
            let nodes = books.swarms.iter().flat_map(|swarm| &swarm.nodes);
            nodes.map(|node| node.last).collect::<Vec<_>>()
        });
        let first = ends.next();
        ends.all(|other| Some(other) == first)
    }

    /// Ends all processes.
    pub fn leave(&mut self) {
        for seat in &mut self.seats {
            seat.client = None;
        }
    }
}
