//! How many bytes of outboxes a server took in, and by which way: what was read back came over the same link once more.

use std::time::Duration;

/// Bytes of outboxes.
#[derive(Debug, Default)]
pub(super) struct Carried {
    /// As they were written.
    pub live: u64,
    /// Read back for clients that were behind.
    pub read_back: u64,
    /// In so many parts.
    pub parts: u64,
    /// Handed to such clients from memory.
    pub from_memory: u64,
    /// How long what had come waited for clients to make room.
    pub waited: Duration,
}

impl Carried {
    /// Leaves the sums in the log.
    pub fn log(&self) {
        tracing::info!(
            live = self.live,
            read_back = self.read_back,
            parts = self.parts,
            from_memory = self.from_memory,
            waited = ?self.waited,
            "bytes of outboxes that were taken in"
        );
    }
}
