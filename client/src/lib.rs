//! What every client of the router needs: to find the one that belongs to a configuration, to start it in the background when
//! none runs, and to exchange commands and events with it.
//!
//! It knows the client protocol and the router's socket. It must never know who the client is: a person at a terminal, a model
//! that calls tools, a script.

pub mod background;
pub mod configuration;
pub mod connection;
mod descriptors;
pub mod event;
pub mod exit;
pub mod failure;
pub mod plain;
pub mod rejection;
pub mod request;
pub mod swarm;
