//! What clients were told that was not so any more: a test that wants them deceived can make sure that they were.

/// Counted since the filesystem was mounted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Told {
    /// A size that was smaller than the file.
    pub stale_sizes: u64,
    /// That there is no such name, when there was one.
    pub stale_absences: u64,
    /// A name that its file did not have any more.
    pub stale_names: u64,
    /// Bytes with a NUL among them.
    pub nul_reads: u64,
}

impl std::fmt::Display for Told {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            stale_sizes,
            stale_absences,
            stale_names,
            nul_reads,
        } = self;
        write!(
            f,
            "stale_sizes={stale_sizes} stale_absences={stale_absences} stale_names={stale_names} nul_reads={nul_reads}"
        )
    }
}
