//! How many files this process may hold open.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// More is never needed here; some systems have no limit at all.
const ENOUGH: u64 = 16_384;

/// Raises the process's limit of open files as far as its owner may (and no further than needed); tells what it is then.
pub fn raise_limit() -> usize {
    let limit = getrlimit(Resource::Nofile);
    let current = limit.current.unwrap_or(ENOUGH).min(ENOUGH);
    let wanted = limit.maximum.unwrap_or(ENOUGH).min(ENOUGH);
    let raised = wanted > current
        && setrlimit(
            Resource::Nofile,
            Rlimit {
                current: Some(wanted),
                maximum: limit.maximum,
            },
        )
        .is_ok();
    usize::try_from(if raised { wanted } else { current }).unwrap_or(1024)
}
