//! The workspace on the login node, or on this machine.

use codeswarm_link::of_refusal;

use super::{size, span, trouble};
use crate::check::Verdict;
use crate::facts::{Lock, Space, WorkspaceFacts};

/// Less room than this is told, in bytes.
const LEAST_FREE: u64 = 1 << 30;

/// The folders.
pub fn folders(seen: &WorkspaceFacts, program: &str) -> Verdict {
    if let Some(refused) = &seen.refused {
        return trouble(&of_refusal(&seen.host, program, refused));
    }
    let kind = match &seen.shared {
        Some(name) => format!("{name}, which is shared between machines"),
        None => "a filesystem that this host takes for its own disk".to_owned(),
    };
    let written = seen.write_ms.map_or(String::new(), |ms| {
        format!("; a small file is written durably in {}", span(ms / 1000.0))
    });
    Verdict::ok(format!(
        "{} on {}: ours alone, on {kind}{written}",
        seen.root, seen.host
    ))
}

/// Room and locks.
pub fn storage(seen: &WorkspaceFacts) -> Verdict {
    let mut findings = vec![room(&seen.host, seen.space)];
    match &seen.lock {
        Lock::Excludes => findings.push(Verdict::ok("flock works")),
        // On a shared filesystem nothing depends on it.
        Lock::DoesNotExclude | Lock::Fails(_) | Lock::Untried if seen.shared.is_some() => {
            findings.push(Verdict::ok("flock does not work there, and is not needed"));
        }
        Lock::DoesNotExclude => findings.push(Verdict::failure(
            "two processes can lock the same file at once (flock)",
            "the mailbox needs locks on a local disk; choose another cluster.workspace_root",
        )),
        Lock::Fails(error) => findings.push(Verdict::failure(
            format!("files cannot be locked (flock): {error}"),
            "the mailbox needs locks on a local disk; choose another cluster.workspace_root",
        )),
        Lock::Untried => {}
    }
    Verdict::all(findings)
}

/// Free space and files.
pub fn room(whose: &str, space: Option<Space>) -> Verdict {
    let Some(space) = space else {
        return Verdict::warning(
            format!("{whose} does not tell how much room there is"),
            "look at `df -h` and `df -i` there",
        );
    };
    let told = format!(
        "{} of {} free on {whose}",
        size(space.free_bytes),
        size(space.total_bytes)
    );
    let advice = "make room there (`df -h`, `df -i`, `quota`), or choose another cluster.workspace_root";
    let inodes_low = space.total_inodes > 0 && space.free_inodes < space.total_inodes / 100;
    if space.free_bytes == 0 || (space.total_inodes > 0 && space.free_inodes == 0) {
        return Verdict::failure(
            format!("nothing more can be stored: {told}, {} files left", space.free_inodes),
            advice,
        );
    }
    if inodes_low {
        return Verdict::warning(
            format!(
                "{told}, but only {} of {} files can still be made",
                space.free_inodes, space.total_inodes
            ),
            advice,
        );
    }
    if space.free_bytes < LEAST_FREE || space.free_bytes < space.total_bytes / 100 {
        return Verdict::warning(format!("only {told}"), advice);
    }
    Verdict::ok(told)
}

/// Whether a follower can have the mailbox; `None`: it was started and has greeted.
pub fn mailbox(held_by: Option<&str>) -> Verdict {
    match held_by {
        Some(holder) => Verdict::ok(format!("in use by {holder}, as it is while a router runs")),
        None => Verdict::ok("nobody holds it, and a follower starts and ends again"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::Status;

    fn facts() -> WorkspaceFacts {
        WorkspaceFacts {
            host: "login1".into(),
            root: "/scratch/me/codeswarm".into(),
            refused: None,
            shared: Some("nfs".into()),
            write_ms: Some(3.0),
            lock: Lock::Excludes,
            space: None,
            held_by: None,
        }
    }

    #[test]
    fn a_refusal_is_told_as_a_link_tells_it() {
        assert_eq!(folders(&facts(), "codeswarm").status, Status::Ok);
        let refused = WorkspaceFacts {
            refused: Some("/work is refused: others may write it (mode 777)".into()),
            ..facts()
        };
        let verdict = folders(&refused, "codeswarm");
        assert_eq!(verdict.status, Status::Failure);
        assert!(verdict.seen.contains("mode 777"), "{verdict:?}");
        let full = WorkspaceFacts {
            refused: Some("could not create /scratch/x: No space left on device (os error 28)".into()),
            ..facts()
        };
        assert!(folders(&full, "codeswarm").advice.contains("make room"));
    }

    #[test]
    fn little_room_is_a_warning_and_none_a_failure() {
        let space = |free_bytes, free_inodes| Space {
            free_bytes,
            total_bytes: 10 << 30,
            free_inodes,
            total_inodes: 10_000,
        };
        let status = |free_bytes, free_inodes| room("h", Some(space(free_bytes, free_inodes))).status;
        assert_eq!(status(5 << 30, 5000), Status::Ok);
        assert_eq!(status(1 << 29, 5000), Status::Warning);
        assert_eq!(status(5 << 30, 99), Status::Warning);
        assert_eq!(status(0, 5000), Status::Failure);
        assert_eq!(status(5 << 30, 0), Status::Failure);
        let uncounted = Space {
            total_inodes: 0,
            ..space(5 << 30, 0)
        };
        assert_eq!(room("h", Some(uncounted)).status, Status::Ok);
        assert_eq!(room("h", None).status, Status::Warning);
    }

    #[test]
    fn locks_matter_on_a_disk_only() {
        let with = |shared: Option<&str>, lock| {
            let space = Some(Space {
                free_bytes: 5 << 30,
                total_bytes: 5 << 30,
                free_inodes: 0,
                total_inodes: 0,
            });
            let shared = shared.map(str::to_owned);
            storage(&WorkspaceFacts {
                shared,
                lock,
                space,
                ..facts()
            })
            .status
        };
        assert_eq!(with(None, Lock::Excludes), Status::Ok);
        assert_eq!(with(None, Lock::DoesNotExclude), Status::Failure);
        assert_eq!(with(None, Lock::Fails("ENOLCK".into())), Status::Failure);
        assert_eq!(with(Some("nfs"), Lock::DoesNotExclude), Status::Ok);
    }
}
