//! Tests that need several of this room's modules together.

mod tail_model;
