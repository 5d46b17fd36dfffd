//! What one client believes of one folder: its names, that a name is not there, and its listing.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::time::{Duration, Instant};

/// Tells one state of a file or folder from the next, as its server does: the changes made through the mounts, and the
/// time and size that a change behind their back shows in.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Version {
    /// Changes through the mounts.
    pub changes: u64,
    /// The last modification, in nanoseconds.
    pub modified: i128,
    /// The size in bytes.
    pub size: u64,
}

/// A file as one number tells it for as long as the server knows it: numbers of inodes are used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Known {
    /// The inode.
    pub ino: u64,
    /// Which of those that had this number.
    pub birth: u64,
}

/// The folder as a client has it in its cache.
#[derive(Debug, Default)]
pub struct FolderView {
    asked: Option<Instant>,
    version: Version,
    /// `None`: there is no such name.
    names: BTreeMap<OsString, Option<Known>>,
    listing: Option<Vec<OsString>>,
}

impl FolderView {
    /// Whether the client asks nobody about this folder now.
    pub fn is_believed(&self, now: Instant, life: Duration) -> bool {
        self.asked
            .is_some_and(|asked| now.saturating_duration_since(asked) < life)
    }

    /// The server has been asked. If the folder has changed, everything that was known of it is forgotten.
    pub fn told(&mut self, version: Version, now: Instant) {
        if self.asked.is_none() || version != self.version {
            self.names.clear();
            self.listing = None;
        }
        self.asked = Some(now);
        self.version = version;
    }

    /// The name as the client knows it: `None` if it must ask, `Some(None)` if it believes that there is none.
    pub fn get(&self, name: &OsStr) -> Option<Option<Known>> {
        self.names.get(name).copied()
    }

    /// What the server said of a name.
    pub fn learn(&mut self, name: &OsStr, found: Option<Known>) {
        self.names.insert(name.to_owned(), found);
    }

    /// A name that has turned out to be stale.
    pub fn forget(&mut self, stale: Known) {
        self.names.retain(|_, known| *known != Some(stale));
    }

    /// The client has changed the folder itself. What it knows stays known if the folder was then as it believed
    /// (RFC 1813, weak cache consistency).
    pub fn changed_by_us(&mut self, before: Version, after: Version) {
        if before != self.version {
            self.names.clear();
            self.asked = None;
        }
        self.listing = None;
        self.version = after;
    }

    /// The listing as the client knows it.
    pub fn listing(&self) -> Option<&[OsString]> {
        self.listing.as_deref()
    }

    /// The listing that the server gave.
    pub fn list(&mut self, names: Vec<OsString>) {
        self.listing = Some(names);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIFE: Duration = Duration::from_secs(3);
    const FILE: Option<Known> = Some(Known { ino: 7, birth: 1 });

    fn version(changes: u64) -> Version {
        Version {
            changes,
            ..Version::default()
        }
    }

    #[test]
    fn that_a_name_is_not_there_is_believed_until_the_folder_is_asked_about_again() {
        let began = Instant::now();
        let mut folder = FolderView::default();
        assert!(!folder.is_believed(began, LIFE));
        folder.told(version(1), began);
        folder.learn(OsStr::new("a"), None);
        // Somebody else makes it meanwhile; nobody tells this client.
        let later = began + Duration::from_millis(2999);
        assert!(folder.is_believed(later, LIFE));
        assert_eq!(folder.get(OsStr::new("a")), Some(None));
        let after = began + LIFE;
        assert!(!folder.is_believed(after, LIFE));
        folder.told(version(2), after);
        assert_eq!(folder.get(OsStr::new("a")), None, "to be asked");
    }

    #[test]
    fn a_folder_that_has_not_changed_keeps_its_names_for_another_life() {
        let began = Instant::now();
        let mut folder = FolderView::default();
        folder.told(version(1), began);
        folder.learn(OsStr::new("a"), FILE);
        folder.list(vec!["a".into()]);
        folder.told(version(1), began + LIFE);
        assert!(folder.is_believed(began + LIFE, LIFE));
        assert_eq!(folder.get(OsStr::new("a")), Some(FILE));
        assert_eq!(folder.listing(), Some(&["a".into()][..]));
    }

    #[test]
    fn ones_own_change_keeps_what_is_known_unless_another_came_between() {
        let now = Instant::now();
        let mut folder = FolderView::default();
        folder.told(version(1), now);
        folder.learn(OsStr::new("absent"), None);
        folder.changed_by_us(version(1), version(2));
        folder.learn(OsStr::new("mine"), FILE);
        assert_eq!(folder.get(OsStr::new("absent")), Some(None));
        folder.changed_by_us(version(3), version(4));
        assert_eq!(folder.get(OsStr::new("absent")), None);
        assert!(!folder.is_believed(now, LIFE));
    }

    #[test]
    fn a_stale_name_is_asked_about_at_once() {
        let mut folder = FolderView::default();
        folder.told(version(1), Instant::now());
        folder.learn(OsStr::new("a"), FILE);
        folder.forget(FILE.unwrap());
        assert_eq!(folder.get(OsStr::new("a")), None);
    }
}
