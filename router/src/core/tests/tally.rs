//! How often something happened. A simulation that never reaches a rare path tests nothing there.

/// Counts over one history, or over all of them.
#[derive(Debug, Default, Clone, Copy)]
pub struct Tally {
    pub router_deaths: u64,
    pub decisions_lost: u64,
    pub worker_deaths: u64,
    pub workers_lost: u64,
    pub unknown_outcomes: u64,
    pub settled_as_there: u64,
    pub never_answered: u64,
    pub refused_appends: u64,
    pub timeouts: u64,
    pub pending_told: u64,
    pub withdrawn: u64,
    pub rejected: u64,
    pub repeats: u64,
    pub reused_names: u64,
    pub second_terminates: u64,
    pub late_words: u64,
    pub failed_launches: u64,
    pub unprepared: u64,
    pub faster_than_the_answer: u64,
    pub exits_without_archive: u64,
    pub link_drops: u64,
    pub appends_after_a_drop: u64,
}

impl Tally {
    fn counts(&mut self) -> [(&'static str, &mut u64); 22] {
        [
            ("deaths of the router", &mut self.router_deaths),
            (
                "deaths of the router with decisions not stored",
                &mut self.decisions_lost,
            ),
            ("deaths of workers", &mut self.worker_deaths),
            ("workers lost for good", &mut self.workers_lost),
            ("appends with an unknown outcome", &mut self.unknown_outcomes),
            ("unknown appends that had happened", &mut self.settled_as_there),
            ("appends that were never answered", &mut self.never_answered),
            ("appends that were refused", &mut self.refused_appends),
            ("prompts that waited too long", &mut self.timeouts),
            ("prompts told to be pending", &mut self.pending_told),
            ("prompts withdrawn before they were sent", &mut self.withdrawn),
            ("commands refused", &mut self.rejected),
            ("requests repeated", &mut self.repeats),
            ("names used for another command", &mut self.reused_names),
            ("second terminates", &mut self.second_terminates),
            ("late words of an earlier life", &mut self.late_words),
            ("launches that failed", &mut self.failed_launches),
            ("mailbox files that could not be made", &mut self.unprepared),
            (
                "workers faster than the answer about the append",
                &mut self.faster_than_the_answer,
            ),
            (
                "workers whose outbox could not be archived",
                &mut self.exits_without_archive,
            ),
            ("drops of the link", &mut self.link_drops),
            (
                "appends that happened and whose answer was lost with the link",
                &mut self.appends_after_a_drop,
            ),
        ]
    }

    pub fn add(&mut self, mut other: Self) {
        for ((_, sum), (_, more)) in self.counts().into_iter().zip(other.counts()) {
            *sum += *more;
        }
    }

    pub fn everything_happened(mut self) {
        for (what, count) in self.counts() {
            assert!(*count >= 100, "only {count} {what} in all histories");
        }
    }
}
