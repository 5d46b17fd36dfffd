//! How many bytes of outboxes a server took in, and by which way: what was read back came over the same link once more.

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
}

impl Carried {
    /// Leaves the sums in the log.
    pub fn log(&self) {
        let Self {
            live,
            read_back,
            parts,
            from_memory,
        } = self;
        tracing::info!(
            live,
            read_back,
            parts,
            from_memory,
            "bytes of outboxes that were taken in"
        );
    }
}
