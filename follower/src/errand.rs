//! Whose work a command of the router is.

use codeswarm_protocol::frame::{Downward, Ticket};

use crate::history::Request;
use crate::inboxes::Line;
use crate::watching::Order;

/// A command, as the part of the follower takes it that carries it out.
#[derive(Debug)]
pub enum Errand {
    /// For whoever follows outboxes.
    Order(Order),
    /// For whoever appends to inboxes.
    Append(Line),
    /// File work on request.
    Request(Request),
    /// A ping, which is answered at once.
    Ping(Ticket),
}

impl From<Downward> for Errand {
    fn from(command: Downward) -> Self {
        match command {
            Downward::Watch { place, offset } => Self::Order(Order::Watch(place, offset)),
            Downward::Unwatch { place } => Self::Order(Order::Unwatch(place)),
            Downward::Hint { place } => Self::Order(Order::Hint(place)),
            Downward::Append {
                ticket,
                place,
                unless_present,
                line: bytes,
            } => Self::Append(Line {
                ticket,
                place,
                unless_present,
                bytes,
            }),
            Downward::Prepare {
                ticket,
                job_id,
                node_count,
            } => Self::Request(Request::Prepare {
                ticket,
                job_id,
                node_count,
            }),
            Downward::Launch { ticket, swarm_id, data } => Self::Request(Request::Launch { ticket, swarm_id, data }),
            Downward::Heartbeats {
                ticket,
                job_id,
                node_count,
            } => Self::Request(Request::Heartbeats {
                ticket,
                job_id,
                node_count,
            }),
            Downward::Read {
                ticket,
                place,
                from,
                until,
                max_bytes,
            } => Self::Request(Request::Read {
                ticket,
                place,
                from,
                until,
                max_bytes,
            }),
            Downward::Ping { ticket } => Self::Ping(ticket),
        }
    }
}
