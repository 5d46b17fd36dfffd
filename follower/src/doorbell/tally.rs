//! What was not listened to, counted, and told now and then.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::guest::Fault;

/// It is not told more often.
const TOLD_EVERY: Duration = Duration::from_secs(600);

/// Counts by reason.
#[derive(Debug, Default)]
pub struct Tally {
    counts: BTreeMap<&'static str, u64>,
    told: Option<Instant>,
}

impl Tally {
    /// Something was not listened to.
    pub fn fault(&mut self, fault: Fault) {
        let name = match fault {
            Fault::Stranger => "connections without the mailbox's token",
            Fault::Malformed => "lines that are no rings",
            Fault::Forged => "rings for files of others",
            Fault::Flood => "rings beyond the rate",
        };
        self.add(name);
    }

    /// A connection was not taken, since there are too many.
    pub fn refused(&mut self) {
        self.add("connections for which there was no room");
    }

    fn add(&mut self, name: &'static str) {
        let count = self.counts.entry(name).or_default();
        *count = count.saturating_add(1);
    }

    /// What is to be told now, if anything: all that was counted since it was last told.
    pub fn tell(&mut self, now: Instant) -> Option<String> {
        let lately = self
            .told
            .is_some_and(|told| now.saturating_duration_since(told) < TOLD_EVERY);
        if lately || self.counts.is_empty() {
            return None;
        }
        self.told = Some(now);
        let counts: Vec<String> = std::mem::take(&mut self.counts)
            .into_iter()
            .map(|(name, count)| format!("{count} {name}"))
            .collect();
        Some(format!(
            "the doorbell has dropped {}; prompts and answers are not affected, but somebody on the cluster's network sends what \
             no worker of ours does: find out who, or switch it off (cluster.doorbell)",
            counts.join(", ")
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_told_together_and_seldom() {
        let mut tally = Tally::default();
        let begin = Instant::now();
        assert_eq!(tally.tell(begin), None);
        for _ in 0..3 {
            tally.fault(Fault::Forged);
        }
        tally.fault(Fault::Malformed);
        tally.fault(Fault::Stranger);
        tally.refused();
        let told = tally.tell(begin).unwrap();
        assert!(
            told.contains("dropped 1 connections for which there was no room, 1 connections without the mailbox's token, 1 lines that are no \
                 rings, 3 rings for files of others;"),
            "{told}"
        );
        tally.fault(Fault::Flood);
        assert_eq!(tally.tell(begin + TOLD_EVERY / 2), None);
        assert!(tally.tell(begin + TOLD_EVERY).unwrap().contains("1 rings beyond"));
        assert_eq!(tally.tell(begin + TOLD_EVERY * 3), None);
    }
}
