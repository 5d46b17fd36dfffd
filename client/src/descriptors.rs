//! What a process in the background must not take along.
//!
//! This is the one place of the crate with unsafe code: a descriptor that was inherited is known by its number only, and
//! the safe interfaces begin with descriptors that somebody owns.

use std::os::fd::{BorrowedFd, RawFd};

use rustix::io::{FdFlags, fcntl_getfd, fcntl_setfd};

/// Keeps the descriptors that this process has, but for the standard three, from the programs that it starts: someone
/// may wait for the end of a pipe that a router in the background would hold open for days.
pub fn keep_from_children() {
    let Ok(entries) = std::fs::read_dir("/dev/fd") else {
        return;
    };
    let numbers = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<RawFd>().ok());
    for number in numbers.filter(|number| *number > 2).collect::<Vec<_>>() {
        // SAFETY: the number is used for two calls of fcntl that neither close nor read nor write. Should it have been
        // closed since it was listed (as the listing's own has), they fail with EBADF; should it have been used again,
        // it belongs to this process, which wants all of its own closed in children.
        #[expect(unsafe_code, reason = "an inherited descriptor has no owner to borrow it from")]
        let descriptor = unsafe { BorrowedFd::borrow_raw(number) };
        if let Ok(flags) = fcntl_getfd(descriptor) {
            let _ = fcntl_setfd(descriptor, flags | FdFlags::CLOEXEC);
        }
    }
}
