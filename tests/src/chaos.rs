//! Everything is killed, stopped and cut while agents stream and a client counts: what was promised holds all the same.
//!
//! One run: a swarm of four nodes on the test cluster whose agents count aloud ([`agent`]), two clients, each with a
//! router or a relay as its child, that keep books ([`client`], [`seats`], [`books`]), faults in an order that a seed decides ([`plan`]), struck where they hit
//! ([`field`]); in the end the books are laid beside the files ([`verdict`]) and a table is printed ([`report`]).
//!
//! The next fault strikes when so many more records have been seen, not when so much time has passed: what is slow is
//! waited for, and a system that does not come back shows as one that stands still.

pub mod agent;
pub mod books;
pub mod client;
pub mod field;
pub mod memory;
pub mod plan;
pub mod report;
pub mod run;
pub mod seats;
pub mod verdict;
