//! The sign of life: one small file, written over at a steady pace whatever the worker does.

use std::time::{Duration, SystemTime};

use codeswarm_mailbox::{Mailbox, heartbeat};
use codeswarm_protocol::{Epoch, Place, Seq, Timestamp};
use serde::Serialize;
use tokio::task::JoinHandle;
use tokio::time::{Interval, MissedTickBehavior};

use crate::core::Identity;

/// What the file says.
#[derive(Debug, Serialize)]
pub struct Beat<'a> {
    /// The host.
    pub host: &'a str,
    /// The process id there.
    pub pid: u32,
    /// When that process started, in ticks since boot.
    pub pid_started: Option<u64>,
    /// The life.
    pub epoch: Epoch,
    /// The last durable record.
    pub seq: Seq,
    /// `starting`, `idle`, `turn`, `agent_unusable` or `ending`.
    pub doing: &'static str,
    /// How many prompts wait.
    pub waiting: usize,
    /// When, by this node's clock.
    pub timestamp: Timestamp,
}

/// When to write it, and the write under way.
#[derive(Debug)]
pub struct Heartbeat {
    interval: Interval,
    writing: Option<JoinHandle<()>>,
}

impl Heartbeat {
    /// Beats at once and then at this pace.
    pub fn every(pace: Duration) -> Self {
        let mut interval = tokio::time::interval(pace.max(Duration::from_secs(1)));
        interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self {
            interval,
            writing: None,
        }
    }

    /// Waits for the next beat.
    pub async fn due(&mut self) {
        self.interval.tick().await;
    }

    /// Writes the file, unless the last write has not come back yet.
    pub fn beat(
        &mut self,
        mailbox: &Mailbox,
        place: &Place,
        identity: &Identity,
        says: (Epoch, Seq, &'static str, usize),
    ) {
        if self.writing.as_ref().is_some_and(|writing| !writing.is_finished()) {
            return;
        }
        let (epoch, seq, doing, waiting) = says;
        let beat = Beat {
            host: &identity.host,
            pid: identity.pid,
            pid_started: identity.pid_started,
            epoch,
            seq,
            doing,
            waiting,
            timestamp: Timestamp::from(SystemTime::now()),
        };
        let Ok(json) = serde_json::to_vec(&beat) else { return };
        let (mailbox, place) = (mailbox.clone(), place.clone());
        self.writing = Some(tokio::task::spawn_blocking(move || {
            if let Err(error) = heartbeat::write(&mailbox, &place, &json) {
                tracing::warn!(%error, "the heartbeat could not be written");
            }
        }));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seq_of(mailbox: &Mailbox, place: &Place) -> Option<serde_json::Value> {
        let text = heartbeat::read(mailbox, place).unwrap()?;
        let beat: serde_json::Value = serde_json::from_slice(&text).unwrap();
        beat.get("seq").cloned()
    }

    /// On a filesystem that stands still beats do not pile up.
    #[test]
    fn p9_while_a_beat_is_being_written_the_next_one_is_left_out() {
        let folder = tempfile::tempdir().unwrap();
        let mailbox = Mailbox::at(folder.path().join("root"));
        mailbox.create().unwrap();
        let place = Place::from_stem("7_00").unwrap();
        mailbox.make_folder(&mailbox.job_dir(&place.job_id)).unwrap();
        let identity = crate::node::identity();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .max_blocking_threads(1)
            .build()
            .unwrap();
        runtime.block_on(async {
            let mut heartbeat = Heartbeat::every(Duration::from_secs(3600));
            heartbeat.due().await;
            let mut beat = |seq| heartbeat.beat(&mailbox, &place, &identity, (Epoch(1), Seq(seq), "idle", 0));
            // The one thread that may write waits.
            let (go_on, waits) = std::sync::mpsc::channel::<()>();
            let waiting = tokio::task::spawn_blocking(move || waits.recv());
            beat(1);
            beat(2);
            drop(go_on);
            assert!(waiting.await.unwrap().is_err());
            tokio::task::spawn_blocking(|| ()).await.unwrap();
            assert_eq!(seq_of(&mailbox, &place), Some(1.into()));
            beat(3);
            tokio::task::spawn_blocking(|| ()).await.unwrap();
            assert_eq!(seq_of(&mailbox, &place), Some(3.into()));
        });
    }
}
