//! follower
pub mod wire;
