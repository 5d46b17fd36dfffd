//! How often something happened, over all histories.

macro_rules! tally {
    ($($(#[doc = $what:literal])* $name:ident,)*) => {
        /// Counts; the names are those of the table.
        #[derive(Debug, Default, Clone, Copy)]
        pub struct Tally {
            $($(#[doc = $what])* pub $name: u64,)*
        }

        impl Tally {
            /// Adds another's counts.
            pub fn add(&mut self, other: &Self) {
                $(self.$name += other.$name;)*
            }

            /// What happened too seldom for so many histories: a simulation that never reaches a path tests nothing there.
            pub fn too_seldom(&self) -> Vec<String> {
                let enough = self.histories / 200;
                let rows = self.rows().into_iter().filter(|(_, count)| *count < enough);
                rows.map(|(what, count)| format!("only {count} {what} in {} histories", self.histories)).collect()
            }

            /// Each count with its name.
            pub fn rows(&self) -> Vec<(String, u64)> {
                vec![$((concat!($($what),*).trim().trim_end_matches('.').to_owned(), self.$name),)*]
            }
        }
    };
}

tally! {
    /// histories.
    histories,
    /// steps.
    steps,
    /// simulated seconds.
    seconds,
    /// kills of the router.
    router_kills,
    /// commits that failed.
    failed_commits,
    /// kills of the follower.
    follower_kills,
    /// cuts of the link.
    link_cuts,
    /// kills of a worker.
    worker_kills,
    /// appends torn by a kill.
    torn_appends,
    /// deaths of an agent.
    agent_deaths,
    /// losses of a machine.
    lost_machines,
    /// pages lost with a machine.
    lost_pages,
    /// jobs run again.
    requeues,
    /// jobs ended by their time limit.
    time_limits,
    /// Slurm's answers lost or wrong.
    bad_answers,
    /// requests said again.
    repeats,
    /// clients cut off.
    client_cuts,
    /// frames that waited for a client.
    waits,
    /// pages handed over late and out of order.
    late_pages,
    /// gaps of NULs.
    gaps,
    /// stale names met.
    stale_names,
    /// stale pages met.
    stale_pages,
    /// full disk met.
    full_disk,
    /// errors of a write.
    bad_writes,
    /// writes that came up short.
    short_writes,
    /// errors of a sync.
    bad_syncs,
    /// errors of a read or look-up.
    bad_reads,
    /// renames that failed.
    bad_renames,
    /// renames that failed and had happened.
    renames_happened,
    /// stalls of a machine's filesystem.
    stalls,
    /// swarms.
    swarms,
    /// prompts accepted.
    prompts,
    /// prompts failed by the router.
    failed_prompts,
    /// turns run.
    turns,
    /// records written.
    records,
    /// events heard by the watching client.
    events,
    /// promises checked.
    checks,
}
