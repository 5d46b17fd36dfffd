//! Keeping the mailbox's lease for as long as the follower may write, and giving it back.

use std::time::{Duration, Instant};

use codeswarm_mailbox::{Lease, LeaseError};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval};

use crate::holding::Holding;

/// How often a newcomer's claim on the lease is looked for, where the filesystem's locks cannot be relied on.
const ATTEND_EVERY: Duration = Duration::from_millis(1500);

/// The task that keeps the lease, if there is one to keep.
pub struct Tenancy(Option<(JoinHandle<Option<LeaseError>>, oneshot::Sender<()>)>);

impl Tenancy {
    /// Keeps `lease` from now on, and says to `holding` what each look finds; `by_asking` where newcomers ask for it instead
    /// of trying a lock.
    pub fn begin(lease: Option<Lease>, by_asking: bool, holding: Holding) -> Self {
        Self(lease.map(|lease| {
            let (give_back, given_back) = oneshot::channel();
            (tokio::spawn(keep(lease, by_asking, holding, given_back)), give_back)
        }))
    }

    /// Returns only when the lease has become another's: from then on nothing may be written.
    pub async fn lost(&mut self) -> LeaseError {
        if let Some((task, _)) = &mut self.0 {
            let ended = task.await;
            self.0 = None;
            if let Ok(Some(lost)) = ended {
                return lost;
            }
        }
        std::future::pending().await
    }

    /// Gives it back, if it is still ours.
    pub async fn give_back(self) {
        if let Some((task, give_back)) = self.0 {
            drop(give_back);
            if task.await.is_err() {
                tracing::error!("the keeping of the lease has panicked");
            }
        }
    }
}

/// Answers newcomers until the lease is to be given back (`None`) or is lost.
async fn keep(
    mut lease: Lease,
    by_asking: bool,
    holding: Holding,
    mut given_back: oneshot::Receiver<()>,
) -> Option<LeaseError> {
    let mut clock = interval(ATTEND_EVERY);
    clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = &mut given_back => {
                let _dropped = tokio::task::spawn_blocking(move || drop(lease)).await;
                return None;
            }
            _ = clock.tick(), if by_asking => {}
        }
        let began = Instant::now();
        let attended = tokio::task::spawn_blocking(move || {
            let attended = lease.attend();
            (lease, attended)
        });
        match attended.await {
            Ok((kept, Ok(()))) => {
                holding.is_ours(began);
                lease = kept;
            }
            Ok((_, Err(lost @ LeaseError::Lost { .. }))) => {
                holding.is_lost();
                return Some(lost);
            }
            Ok((kept, Err(error))) => {
                tracing::warn!(%error, "the lease could not be looked at; it is tried again");
                lease = kept;
            }
            Err(error) => {
                tracing::error!(%error, "the keeping of the lease has panicked");
                return None;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use codeswarm_mailbox::{FilesystemKind, Mailbox};

    use super::*;

    #[tokio::test]
    async fn a_lease_that_cannot_be_looked_at_for_a_while_is_kept_and_given_back() {
        let folder = tempfile::tempdir().unwrap();
        let mailbox = Mailbox::at(folder.path().join("root")).on(FilesystemKind::Network("nfs"));
        mailbox.create().unwrap();
        let lease = Lease::take(&mailbox, "login1", 1, "a follower").unwrap();
        let (path, aside) = (mailbox.folder().join("follower.lease"), folder.path().join("aside"));
        fs::rename(&path, &aside).unwrap();
        fs::create_dir(&path).unwrap();
        let long_ago = Instant::now().checked_sub(Duration::from_secs(60)).unwrap();
        let holding = Holding::begin(true, long_ago);
        let mut tenancy = Tenancy::begin(Some(lease), true, holding.clone());
        // The first look comes at once.
        let lost = tokio::time::timeout(ATTEND_EVERY * 2, tenancy.lost()).await;
        assert!(lost.is_err(), "{lost:?}");
        fs::remove_dir(&path).unwrap();
        fs::rename(&aside, &path).unwrap();
        let writer = tokio::task::spawn_blocking(move || holding.may_write());
        assert!(writer.await.unwrap(), "who waits to write hears of the next look");
        tenancy.give_back().await;
        assert!(fs::read_to_string(&path).unwrap().contains("\"released\":true"));
    }
}
