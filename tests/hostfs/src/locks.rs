//! Who holds which file's flock(2), where it holds for all clients.

use std::collections::BTreeMap;

/// An open file of a client, as the kernel names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Owner {
    /// Which client.
    pub client: usize,
    /// The kernel's number for the owner.
    pub number: u64,
}

/// All locks, by inode.
#[derive(Debug, Default)]
pub struct Locks {
    held: BTreeMap<u64, Vec<(Owner, bool)>>,
}

impl Locks {
    /// Takes a lock, or turns it into one of the other kind; false if another owner's is in the way.
    pub fn take(&mut self, ino: u64, owner: Owner, exclusive: bool) -> bool {
        let held = self.held.entry(ino).or_default();
        let in_the_way = held
            .iter()
            .any(|(other, theirs)| *other != owner && (exclusive || *theirs));
        if !in_the_way {
            held.retain(|(other, _)| *other != owner);
            held.push((owner, exclusive));
        }
        !in_the_way
    }

    /// Gives a lock back.
    pub fn release(&mut self, ino: u64, owner: Owner) {
        if let Some(held) = self.held.get_mut(&ino) {
            held.retain(|(other, _)| *other != owner);
            if held.is_empty() {
                self.held.remove(&ino);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_exclusive_or_many_shared() {
        let owner = |client, number| Owner { client, number };
        let mut locks = Locks::default();
        assert!(locks.take(1, owner(0, 5), false));
        assert!(
            locks.take(1, owner(1, 5), false),
            "the same number at another client is another owner"
        );
        assert!(!locks.take(1, owner(0, 5), true));
        locks.release(1, owner(1, 5));
        assert!(locks.take(1, owner(0, 5), true));
        assert!(!locks.take(1, owner(0, 6), false));
        assert!(locks.take(2, owner(0, 6), true), "another file");
        locks.release(1, owner(0, 5));
        assert!(locks.take(1, owner(0, 6), true));
    }
}
