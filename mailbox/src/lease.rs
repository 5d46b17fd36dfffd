//! One follower a mailbox: who holds it, and how a second one finds out.
//!
//! On a local filesystem a lock (flock(2)) on `mailbox/follower.lease` decides, and the kernel frees it when its holder dies.
//!
//! Shared filesystems lock between machines, only on one machine, or not at all (N12, L3 of the facts: flock(2), nfs(5),
//! mount.lustre(8)), and none of them says which. There the lease is *renewed when somebody asks*: a newcomer adds a byte to
//! `follower.claims` and waits; a holder that lives calls [`Lease::attend`] every second or two, sees that the claims
//! have grown, and answers in the lease file. Silence for [`ANSWER_WITHIN`] means that the holder is gone. So an idle
//! holder writes nothing. A holder that was only frozen finds on its next `attend` that the lease is another's, and must
//! stop before it writes anything. What this cannot exclude is a holder frozen between `attend` and a write; its
//! append then meets the other's, which readers stand (a torn line is skipped) and injection ids sort out.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::FlockOperation;
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use crate::error::MailboxError;
use crate::layout::Mailbox;
use crate::open::{self, How};

/// How long a holder on a shared filesystem may take to answer a claim.
pub const ANSWER_WITHIN: Duration = Duration::from_secs(15);

/// How often a newcomer looks for the answer.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// How long a newcomer waits before it looks whether another newcomer has overwritten it.
const SETTLE: Duration = Duration::from_secs(1);

/// Who holds a mailbox.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// Its host.
    pub host: String,
    /// Its process id there.
    pub pid: u32,
    /// What it is, such as `follower of router at laptop`.
    pub holder: String,
}

impl std::fmt::Display for Holder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} (process {} on {})", self.holder, self.pid, self.host)
    }
}

/// What the lease file says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Lines {
    #[serde(flatten)]
    holder: Holder,
    /// Tells one holding from the next, also of one process.
    taken: u64,
    /// Claims that were answered: bytes of the claims file.
    answered: u64,
    /// Given back in order.
    released: bool,
}

/// Why a mailbox is not ours.
#[derive(Debug, thiserror::Error)]
pub enum LeaseError {
    /// Another follower holds it.
    #[error("the mailbox {} is held by {by}; end that process, or use it", root.display())]
    Held {
        /// The mailbox.
        root: PathBuf,
        /// Who.
        by: String,
    },
    /// It was ours, and another follower has taken it after we had not answered. Nothing may be written any more.
    #[error("the mailbox {} was taken over by {by} while we did not answer", root.display())]
    Lost {
        /// The mailbox.
        root: PathBuf,
        /// By whom.
        by: String,
    },
    /// The lease could not be read or written.
    #[error(transparent)]
    Mailbox(#[from] MailboxError),
}

/// The right to write inboxes. Given back when dropped.
#[derive(Debug)]
pub struct Lease {
    mailbox: Mailbox,
    lines: Lines,
    /// Holds the lock, on local filesystems.
    lock: Option<File>,
}

impl Lease {
    /// Takes the lease or says who holds it. On a shared filesystem this waits up to [`ANSWER_WITHIN`] if an earlier
    /// holder did not give it back in order; call it where blocking is allowed.
    pub fn take(mailbox: &Mailbox, host: &str, pid: u32, holder: &str) -> Result<Self, LeaseError> {
        let holder = Holder {
            host: host.to_owned(),
            pid,
            holder: holder.to_owned(),
        };
        if mailbox.filesystem().is_network() {
            Self::take_by_asking(mailbox, holder, ANSWER_WITHIN)
        } else {
            Self::take_by_lock(mailbox, holder)
        }
    }

    fn take_by_lock(mailbox: &Mailbox, holder: Holder) -> Result<Self, LeaseError> {
        let path = lease_path(mailbox);
        let file = open::open(&path, How::Create(mailbox.access().file_mode()))?;
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => {
                let told = read_lease(&path)?.map(|lines| lines.holder.to_string());
                let by = told
                    .or_else(|| holder_of_lock(&file))
                    .unwrap_or_else(|| "another process".into());
                return Err(LeaseError::Held {
                    root: mailbox.root().to_owned(),
                    by,
                });
            }
            Err(error) => return Err(MailboxError::io("lock", &path)(error.into()).into()),
        }
        let lines = Lines {
            holder,
            taken: token(),
            answered: 0,
            released: false,
        };
        let text = to_text(&path, &lines)?;
        file.set_len(0).map_err(MailboxError::io("write", &path))?;
        file.write_all_at(&text, 0).map_err(MailboxError::io("write", &path))?;
        Ok(Self {
            mailbox: mailbox.clone(),
            lines,
            lock: Some(file),
        })
    }

    pub(crate) fn take_by_asking(
        mailbox: &Mailbox,
        holder: Holder,
        answer_within: Duration,
    ) -> Result<Self, LeaseError> {
        let path = lease_path(mailbox);
        let mut claims = claims_size(mailbox)?;
        let held = match find_lease(&path)? {
            Found::Nothing => None,
            // Its bytes may be on their way (N15), so somebody may hold it.
            Found::Garbled => Some(None),
            Found::Lease(lines) if lines.released || is_dead_here(&lines.holder, &holder.host) => None,
            Found::Lease(lines) => Some(Some(lines.taken)),
        };
        if let Some(held) = held {
            claims = claim(mailbox)?;
            let until = Instant::now() + answer_within;
            while Instant::now() < until {
                std::thread::sleep(LOOK_EVERY.min(answer_within));
                if let Some(now) = read_lease(&path)?
                    && !now.released
                    && (now.answered >= claims || Some(now.taken) != held)
                {
                    return Err(LeaseError::Held {
                        root: mailbox.root().to_owned(),
                        by: now.holder.to_string(),
                    });
                }
            }
        }
        let lines = Lines {
            holder,
            taken: token(),
            answered: claims,
            released: false,
        };
        write_lease(mailbox, &lines)?;
        std::thread::sleep(SETTLE.min(answer_within));
        let mut lease = Self {
            mailbox: mailbox.clone(),
            lines,
            lock: None,
        };
        match lease.attend() {
            Err(LeaseError::Lost { root, by }) => Err(LeaseError::Held { root, by }),
            Err(error) => Err(error),
            Ok(()) => Ok(lease),
        }
    }

    /// Answers newcomers and makes sure that the lease is still ours. On a shared filesystem to be called every second
    /// or two (two look-ups, no write unless somebody asks); on a local one it does nothing.
    pub fn attend(&mut self) -> Result<(), LeaseError> {
        if self.lock.is_some() {
            return Ok(());
        }
        match read_lease(&lease_path(&self.mailbox))? {
            Some(now) if now.taken == self.lines.taken => {}
            now => {
                let by = now.map_or_else(|| "somebody who removed the lease".into(), |now| now.holder.to_string());
                return Err(LeaseError::Lost {
                    root: self.mailbox.root().to_owned(),
                    by,
                });
            }
        }
        let claims = claims_size(&self.mailbox)?;
        if claims > self.lines.answered {
            self.lines.answered = claims;
            write_lease(&self.mailbox, &self.lines)?;
        }
        Ok(())
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.lines.released = true;
        let path = lease_path(&self.mailbox);
        let outcome = match &self.lock {
            Some(file) => file.set_len(0).map_err(MailboxError::io("write", &path)),
            None => match self.attend() {
                Ok(()) => write_lease(&self.mailbox, &self.lines),
                // Another's by now: nothing of ours to give back.
                Err(_) => Ok(()),
            },
        };
        if let Err(error) = outcome {
            tracing::warn!(%error, "the mailbox lease was not given back in order; the next follower waits a little");
        }
    }
}

/// Who holds the mailbox, without asking for it; `None`: nobody, or nobody that lives. What a holder on another machine
/// that died without a word has left cannot be told from one that lives.
pub fn holder(mailbox: &Mailbox) -> Result<Option<String>, MailboxError> {
    let path = lease_path(mailbox);
    let Some(lines) = read_lease(&path)?.filter(|lines| !lines.released) else {
        return Ok(None);
    };
    if !mailbox.filesystem().is_network() {
        // The kernel frees the lock of a holder that died; its lines stay.
        let file = open::open(&path, How::Read)?;
        return Ok(holder_of_lock(&file).map(|_| lines.holder.to_string()));
    }
    let us = rustix::system::uname().nodename().to_string_lossy().into_owned();
    Ok((!is_dead_here(&lines.holder, &us)).then(|| lines.holder.to_string()))
}

fn lease_path(mailbox: &Mailbox) -> PathBuf {
    mailbox.folder().join("follower.lease")
}

fn claims_path(mailbox: &Mailbox) -> PathBuf {
    mailbox.folder().join("follower.claims")
}

fn to_text(path: &Path, lines: &Lines) -> Result<Vec<u8>, MailboxError> {
    serde_json::to_vec(lines).map_err(|error| MailboxError::refused(path, format!("it cannot be spelled: {error}")))
}

/// What stands under the lease's name.
enum Found {
    Nothing,
    /// Something that is no lease: it is empty, was cut off when its disk was full, or has not all come.
    Garbled,
    Lease(Lines),
}

/// The lease, where it can be read. What cannot be read holds nothing.
fn read_lease(path: &Path) -> Result<Option<Lines>, MailboxError> {
    Ok(match find_lease(path)? {
        Found::Lease(lines) => Some(lines),
        Found::Nothing | Found::Garbled => None,
    })
}

fn find_lease(path: &Path) -> Result<Found, MailboxError> {
    use std::io::Read;
    let file = match open::open(path, How::Read) {
        Ok(file) => file,
        Err(MailboxError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => return Ok(Found::Nothing),
        Err(error) => return Err(error),
    };
    let mut text = Vec::new();
    file.take(16 * 1024)
        .read_to_end(&mut text)
        .map_err(MailboxError::io("read", path))?;
    Ok(serde_json::from_slice(&text).map_or(Found::Garbled, Found::Lease))
}

/// Replaces the lease file as a whole, so that no reader sees half of it.
fn write_lease(mailbox: &Mailbox, lines: &Lines) -> Result<(), MailboxError> {
    let path = lease_path(mailbox);
    let beside = mailbox.folder().join(format!("follower.lease.{:016x}", lines.taken));
    let failed = MailboxError::io("write", &path);
    let written = (|| {
        let text = to_text(&path, lines).map_err(|error| io::Error::other(error.to_string()))?;
        let mut file = open::open(&beside, How::Create(mailbox.access().file_mode()))
            .map_err(|error| io::Error::other(error.to_string()))?;
        file.set_len(0)?;
        file.write_all(&text)?;
        file.sync_data()?;
        open::rename(&beside, &path)
    })();
    written.map_err(failed)
}

fn claims_size(mailbox: &Mailbox) -> Result<u64, MailboxError> {
    let path = claims_path(mailbox);
    let size = open::size_by_name(&path, true).map_err(MailboxError::io("look at", &path))?;
    match size {
        Some(size) => Ok(size),
        // Made before anyone waits for its name to appear.
        None => open::open(&path, How::Append(mailbox.access().file_mode())).map(|_| 0),
    }
}

/// Adds a byte to the claims; returns their size after it.
fn claim(mailbox: &Mailbox) -> Result<u64, MailboxError> {
    let path = claims_path(mailbox);
    let mut file = open::open(&path, How::Append(mailbox.access().file_mode()))?;
    let failed = |error| MailboxError::io("write", &path)(error);
    file.write_all(b"?").map_err(failed)?;
    file.sync_data().map_err(failed)?;
    Ok(file.metadata().map_err(failed)?.len())
}

fn is_dead_here(holder: &Holder, host: &str) -> bool {
    let pid = i32::try_from(holder.pid).ok().and_then(rustix::process::Pid::from_raw);
    holder.host == host && pid.is_some_and(|pid| rustix::process::test_kill_process(pid) == Err(Errno::SRCH))
}

/// A number that no other holding has.
fn token() -> u64 {
    use std::hash::{BuildHasher, Hasher};
    std::collections::hash_map::RandomState::new().build_hasher().finish()
}

/// Which process holds the lock on this file, from /proc/locks (proc_locks(5)).
#[cfg(target_os = "linux")]
pub(crate) fn holder_of_lock(file: &File) -> Option<String> {
    let inode = file.metadata().ok()?.ino();
    let locks = std::fs::read_to_string("/proc/locks").ok()?;
    let pid = locks.lines().find_map(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [_, "FLOCK", _, _, pid, device_and_inode, ..] = words[..] else {
            return None;
        };
        let same = device_and_inode.rsplit(':').next() == Some(inode.to_string().as_str());
        same.then(|| pid.to_owned())
    })?;
    match std::fs::read_to_string(format!("/proc/{pid}/comm")) {
        Ok(name) => Some(format!("process {pid} ({})", name.trim())),
        Err(_) => Some(format!("process {pid}")),
    }
}

/// Which process holds the lock on this file; this system does not tell.
#[cfg(not(target_os = "linux"))]
pub(crate) fn holder_of_lock(file: &File) -> Option<String> {
    let _ = file.metadata().map(|seen| seen.ino());
    None
}
