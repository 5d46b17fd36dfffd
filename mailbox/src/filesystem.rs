//! Whether a folder is on this machine's own disk or shared with other machines.
//!
//! It decides three things: shared filesystems raise no inotify event for what another machine did, show a write to
//! others only after it was synced, and cache sizes and names (open(2), nfs(5), inotify(7)).

use std::io;
use std::path::Path;

/// What kind of filesystem a path is on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FilesystemKind {
    /// Only this machine writes it, through one kernel.
    Local,
    /// Other machines may write it; the name is what statfs(2) knows it by.
    Network(&'static str),
}

impl FilesystemKind {
    /// Asks statfs(2) about `path`, or about the nearest folder above it that exists.
    pub fn of(path: &Path) -> io::Result<Self> {
        let mut told = Err(io::ErrorKind::NotFound.into());
        for folder in path.ancestors() {
            let here = folder.as_os_str().is_empty();
            told = kind_of(if here { Path::new(".") } else { folder });
            if !matches!(&told, Err(error) if error.kind() == io::ErrorKind::NotFound) {
                break;
            }
        }
        told
    }

    /// Whether other machines may write it.
    pub fn is_network(self) -> bool {
        matches!(self, Self::Network(_))
    }
}

#[cfg(target_os = "linux")]
fn kind_of(path: &Path) -> io::Result<FilesystemKind> {
    let told = rustix::fs::statfs(path)?;
    // The field's width and sign differ between architectures; all magics fit 32 bits.
    #[expect(
        clippy::cast_sign_loss,
        clippy::cast_possible_truncation,
        reason = "magics are 32-bit patterns"
    )]
    let magic = told.f_type as u32;
    Ok(kind_of_magic(magic))
}

/// The magics are from linux/magic.h and from the filesystems' own headers (Lustre, GPFS, BeeGFS, PanFS).
#[cfg(target_os = "linux")]
fn kind_of_magic(magic: u32) -> FilesystemKind {
    let name = match magic {
        0x0000_6969 => "nfs",
        0x0BD0_0BD0 => "lustre",
        0x4750_4653 => "gpfs",
        0xFF53_4D42 => "cifs",
        0xFE53_4D42 => "smb2",
        0x0000_517B => "smb",
        0x6573_5546 => "fuse",
        0x1983_0326 => "beegfs",
        0x00C3_6400 => "ceph",
        0x0102_1997 => "9p",
        0xAAD7_AAEA => "panfs",
        0x5346_414F => "afs",
        0x6B41_4653 => "kafs",
        0x7375_7245 => "coda",
        0x0116_1970 => "gfs2",
        0x7461_636F => "ocfs2",
        0x2003_0528 => "orangefs",
        0x786F_4256 => "vboxsf",
        _ => return FilesystemKind::Local,
    };
    FilesystemKind::Network(name)
}

#[cfg(not(target_os = "linux"))]
fn kind_of(path: &Path) -> io::Result<FilesystemKind> {
    // Mailboxes of clusters are on Linux; elsewhere only the local provider runs, beside its files.
    std::fs::metadata(path).map(|_| FilesystemKind::Local)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_that_is_not_there_yet_is_judged_by_its_parent() {
        let here = tempfile::tempdir().unwrap();
        let expected = FilesystemKind::of(here.path()).unwrap();
        assert_eq!(FilesystemKind::of(&here.path().join("a/b/c")).unwrap(), expected);
        assert!(FilesystemKind::of(Path::new("not/there/at/all")).is_ok());
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn shared_filesystems_are_known_by_their_magic() {
        for (magic, name) in [
            (0x6969, "nfs"),
            (0x0BD0_0BD0, "lustre"),
            (0x4750_4653, "gpfs"),
            (0xFF53_4D42, "cifs"),
            (0xFE53_4D42, "smb2"),
            (0x517B, "smb"),
            (0x6573_5546, "fuse"),
            (0x1983_0326, "beegfs"),
            (0x00C3_6400, "ceph"),
            (0x0102_1997, "9p"),
            (0xAAD7_AAEA, "panfs"),
            (0x5346_414F, "afs"),
            (0x6B41_4653, "kafs"),
            (0x7375_7245, "coda"),
            (0x0116_1970, "gfs2"),
            (0x7461_636F, "ocfs2"),
            (0x2003_0528, "orangefs"),
            (0x786F_4256, "vboxsf"),
        ] {
            assert_eq!(kind_of_magic(magic), FilesystemKind::Network(name));
        }
        assert_eq!(kind_of_magic(0xEF53), FilesystemKind::Local, "ext4");
        assert_eq!(kind_of_magic(0x794C_7630), FilesystemKind::Local, "overlayfs");
        assert_eq!(FilesystemKind::of(Path::new("/proc")).unwrap(), FilesystemKind::Local);
    }
}
