//! A filesystem of a few megabytes that a test can fill, free and make read-only.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The filesystem, mounted on a folder until it is dropped. Needs the right to mount: see `requires::small_disk`.
///
/// Declare it after the workspace whose folder it is mounted in.
pub struct SmallDisk {
    at: PathBuf,
}

impl SmallDisk {
    /// Mounts an empty one on a folder, which is made if need be.
    pub fn mount(at: &Path, megabytes: u32) -> Self {
        std::fs::create_dir_all(at).unwrap_or_else(|error| panic!("{}: {error}", at.display()));
        let options = format!("size={megabytes}m,mode=700");
        let outcome = mount(&["-t", "tmpfs", "-o", &options, "tmpfs"], at);
        if let Err(complaint) = outcome {
            panic!("{} cannot be mounted: {complaint}", at.display());
        }
        Self { at: at.to_owned() }
    }

    /// Whether this process may mount one at all.
    pub fn is_possible() -> bool {
        let Ok(folder) = tempfile::tempdir() else { return false };
        let mounted = mount(&["-t", "tmpfs", "-o", "size=1m", "tmpfs"], folder.path()).is_ok();
        if mounted {
            unmount(folder.path());
        }
        mounted
    }

    /// Leaves no byte free, not even at the end of a file's last page.
    pub fn fill(&self) {
        let file = File::create(self.filler());
        let mut file = file.unwrap_or_else(|error| panic!("{}: {error}", self.filler().display()));
        let zeros = [0; 4096];
        while matches!(file.write(&zeros), Ok(1..)) {}
    }

    /// How much of it is used, in kilobytes.
    pub fn used_kilobytes(&self) -> u32 {
        let about = rustix::fs::statvfs(&self.at).unwrap_or_else(|error| panic!("{}: {error}", self.at.display()));
        u32::try_from((about.f_blocks - about.f_bfree) * about.f_frsize / 1024).unwrap_or(u32::MAX)
    }

    /// Makes it larger, or as small as what is in it allows.
    pub fn resize(&self, kilobytes: u32) {
        let option = format!("remount,size={kilobytes}k");
        if let Err(complaint) = mount(&["-o", &option], &self.at) {
            panic!("{} cannot be resized: {complaint}", self.at.display());
        }
    }

    /// Gives the space back.
    pub fn free(&self) {
        std::fs::remove_file(self.filler()).unwrap_or_else(|error| panic!("{}: {error}", self.filler().display()));
    }

    /// Nothing can be written any more. Fails while anything is open for writing.
    pub fn make_read_only(&self) {
        if let Err(complaint) = mount(&["-o", "remount,ro"], &self.at) {
            panic!("{} cannot be made read-only: {complaint}", self.at.display());
        }
    }

    fn filler(&self) -> PathBuf {
        self.at.join("filler")
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        unmount(&self.at);
    }
}

fn mount(arguments: &[&str], at: &Path) -> Result<(), String> {
    let output = Command::new("mount").args(arguments).arg(at).output();
    match output {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
        Err(error) => Err(error.to_string()),
    }
}

/// Lazily: what still has a file open there keeps it until its end.
fn unmount(at: &Path) {
    let outcome = Command::new("umount").arg("--lazy").arg(at).output();
    if !outcome.is_ok_and(|output| output.status.success()) {
        eprintln!("{} could not be unmounted", at.display());
    }
}
