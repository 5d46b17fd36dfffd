//! The texts of prompts that wait for their inboxes. They are in memory until they are delivered, so there is a limit to
//! them all together; nodes of one command share a text.

use std::collections::HashMap;

use codeswarm_protocol::{Rejection, RejectionCode};

/// So many bytes may wait. More are refused until some of them are delivered.
pub(super) const MAX_WAITING_BYTES: usize = 256 * 1024 * 1024;

/// What waits, by the number that names the text in the store.
#[derive(Debug)]
pub(super) struct Texts {
    waiting: HashMap<u64, Text>,
    bytes: usize,
    limit: usize,
}

#[derive(Debug)]
struct Text {
    bytes: usize,
    prompts: usize,
}

impl Texts {
    pub(super) fn limited_to(limit: usize) -> Self {
        Self {
            waiting: HashMap::new(),
            bytes: 0,
            limit,
        }
    }

    /// Refuses a text for which there is no room. One text finds room whatever its length.
    pub(super) fn check_room(&self, text: &str) -> Result<(), Rejection> {
        if self.bytes == 0 || self.bytes + text.len() <= self.limit {
            return Ok(());
        }
        let reason = format!(
            "prompts of {} bytes wait for their inboxes, which is the most that is kept; inject again when some of them are delivered",
            self.bytes
        );
        Err(Rejection::new(RejectionCode::Overloaded, reason))
    }

    /// One more prompt of this text waits.
    pub(super) fn add(&mut self, number: u64, bytes: usize) {
        let text = self.waiting.entry(number).or_insert_with(|| {
            self.bytes += bytes;
            Text { bytes, prompts: 0 }
        });
        text.prompts += 1;
    }

    /// One prompt of this text waits no longer.
    pub(super) fn remove(&mut self, number: u64) {
        if let Some(text) = self.waiting.get_mut(&number) {
            text.prompts -= 1;
            if text.prompts == 0 {
                self.bytes -= text.bytes;
                self.waiting.remove(&number);
            }
        }
    }

    #[cfg(test)]
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }
}
