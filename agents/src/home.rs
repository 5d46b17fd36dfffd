//! An agent's home on node-local disk, and the copy of its thread's file that outlives the node.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// How much of two files is compared to tell that one is the beginning of the other.
const COMPARED: u64 = 4 << 10;

/// Trouble with a file or folder.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} {}: {source}", path.display())]
pub struct HomeError {
    action: &'static str,
    path: PathBuf,
    source: io::Error,
}

fn failed<'a>(action: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> HomeError + 'a {
    move |source| HomeError {
        action,
        path: path.to_owned(),
        source,
    }
}

/// Makes a folder for its owner alone (0700), also when it is there already.
pub fn make_private(folder: &Path) -> Result<(), HomeError> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
        .map_err(failed("make the folder", folder))?;
    let found = fs::symlink_metadata(folder).map_err(failed("look at", folder))?;
    if !found.is_dir() {
        return Err(failed("use", folder)(io::Error::new(
            io::ErrorKind::NotADirectory,
            "it is a link or a file, not a folder",
        )));
    }
    fs::set_permissions(folder, fs::Permissions::from_mode(0o700)).map_err(failed("make private", folder))
}

/// Writes a file of a home, readable by its owner alone.
pub fn write_private(path: &Path, content: &[u8]) -> Result<(), HomeError> {
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)
        .map_err(failed("write", path))?;
    file.write_all(content).map_err(failed("write", path))
}

/// Puts the kept files of a thread back: those under `keep` whose names hold `thread_id`, at the same relative paths
/// under `home`. A file that is there already and longer is left: such files only grow.
pub fn restore(keep: &Path, home: &Path, thread_id: &str) -> Result<u32, HomeError> {
    let mut restored = 0;
    let mut folders = vec![PathBuf::new()];
    while let Some(relative) = folders.pop() {
        let folder = keep.join(&relative);
        let entries = match fs::read_dir(&folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(failed("read the folder", &folder)(error)),
        };
        for entry in entries {
            let entry = entry.map_err(failed("read the folder", &folder))?;
            let kind = entry.file_type().map_err(failed("look at", &folder))?;
            let relative = relative.join(entry.file_name());
            if kind.is_dir() {
                folders.push(relative);
            } else if kind.is_file() && entry.file_name().to_string_lossy().contains(thread_id) {
                copy_longer(&entry.path(), &home.join(&relative))?;
                restored += 1;
            }
        }
    }
    Ok(restored)
}

fn copy_longer(from: &Path, to: &Path) -> Result<(), HomeError> {
    let length = fs::metadata(from).map_err(failed("look at", from))?.len();
    if fs::metadata(to).is_ok_and(|there| there.len() >= length) {
        return Ok(());
    }
    if let Some(folder) = to.parent() {
        make_private(folder)?;
    }
    // An interrupted copy must not pass for the whole.
    let unfinished = to.with_extension("restoring");
    fs::copy(from, &unfinished).map_err(failed("copy", from))?;
    fs::rename(&unfinished, to).map_err(failed("put in place", to))
}

/// Copies a file of the home to the same relative path under `keep`, and syncs it. Only what was added since the last
/// time is written, when the copy is the beginning of the file. A file that is not there (yet) is nothing to keep.
pub fn keep_file(home: &Path, file: &Path, keep: &Path) -> Result<(), HomeError> {
    let home = home.canonicalize().map_err(failed("find", home))?;
    let found = match file.canonicalize() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        found => found.map_err(failed("find", file))?,
    };
    let relative = found.strip_prefix(&home).map_err(|_| {
        failed("keep", file)(io::Error::new(
            io::ErrorKind::InvalidInput,
            "it is outside the agent's home",
        ))
    })?;
    let copy = keep.join(relative);
    if let Some(folder) = copy.parent() {
        make_private(folder)?;
    }
    append_rest(&found, &copy).map_err(failed("write", &copy))
}

fn append_rest(from: &Path, to: &Path) -> io::Result<()> {
    let mut from = File::open(from)?;
    let mut to = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(to)?;
    let have = to.metadata()?.len();
    let want = from.metadata()?.len();
    let begins = have <= want
        && same(&mut from, &mut to, 0, have.min(COMPARED))?
        && same(&mut from, &mut to, have.saturating_sub(COMPARED), have)?;
    let start = if begins { have } else { 0 };
    if !begins {
        to.set_len(0)?;
    } else if have == want {
        return Ok(());
    }
    from.seek(SeekFrom::Start(start))?;
    to.seek(SeekFrom::Start(start))?;
    io::copy(&mut from.take(want - start), &mut to)?;
    to.sync_data()
}

fn same(one: &mut File, other: &mut File, start: u64, end: u64) -> io::Result<bool> {
    let length = usize::try_from(end - start).unwrap_or(0);
    let (mut first, mut second) = (vec![0; length], vec![0; length]);
    one.seek(SeekFrom::Start(start))?;
    other.seek(SeekFrom::Start(start))?;
    one.read_exact(&mut first)?;
    other.read_exact(&mut second)?;
    Ok(first == second)
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Room {
        _folder: tempfile::TempDir,
        home: PathBuf,
        keep: PathBuf,
    }

    fn room() -> Room {
        let folder = tempfile::tempdir().unwrap();
        let (home, keep) = (folder.path().join("home"), folder.path().join("keep"));
        make_private(&home.join("sessions/2026")).unwrap();
        Room {
            _folder: folder,
            home,
            keep,
        }
    }

    #[test]
    fn a_growing_file_is_kept_by_what_was_added_and_comes_back() {
        let room = room();
        let file = room.home.join("sessions/2026/rollout-t1.jsonl");
        let copy = room.keep.join("sessions/2026/rollout-t1.jsonl");
        fs::write(&file, "a".repeat(10_000)).unwrap();
        keep_file(&room.home, &file, &room.keep).unwrap();
        fs::write(&file, "a".repeat(10_000) + "bc").unwrap();
        keep_file(&room.home, &file, &room.keep).unwrap();
        assert_eq!(fs::read(&copy).unwrap(), fs::read(&file).unwrap());
        assert_eq!(fs::metadata(&copy).unwrap().permissions().mode() & 0o777, 0o600);

        fs::write(room.keep.join("sessions/rollout-t2.jsonl"), "x").unwrap();
        let other = room.home.with_file_name("other");
        make_private(&other).unwrap();
        assert_eq!(restore(&room.keep, &other, "t1").unwrap(), 1);
        assert_eq!(
            fs::read(other.join("sessions/2026/rollout-t1.jsonl")).unwrap(),
            fs::read(&file).unwrap()
        );
        assert!(!other.join("sessions/rollout-t2.jsonl").exists());
    }

    #[test]
    fn another_beginning_is_copied_whole_and_a_shorter_file_too() {
        let room = room();
        let file = room.home.join("f-t1");
        for content in ["first version", "another one, longer than it", "short"] {
            fs::write(&file, content).unwrap();
            keep_file(&room.home, &file, &room.keep).unwrap();
            assert_eq!(fs::read_to_string(room.keep.join("f-t1")).unwrap(), content);
        }
    }

    #[test]
    fn a_longer_local_file_is_not_replaced_by_an_older_copy() {
        let room = room();
        fs::create_dir_all(&room.keep).unwrap();
        fs::write(room.keep.join("f-t1"), "old").unwrap();
        fs::write(room.home.join("f-t1"), "old and new").unwrap();
        restore(&room.keep, &room.home, "t1").unwrap();
        assert_eq!(fs::read_to_string(room.home.join("f-t1")).unwrap(), "old and new");
        assert_eq!(restore(&room.home.join("nowhere"), &room.home, "t1").unwrap(), 0);
    }

    #[test]
    fn a_file_outside_the_home_is_not_kept_and_a_home_is_private() {
        let room = room();
        let outside = room.home.with_file_name("outside");
        fs::write(&outside, "x").unwrap();
        let error = keep_file(&room.home, &outside, &room.keep).unwrap_err();
        assert!(error.to_string().contains("outside the agent's home"), "{error}");
        assert_eq!(fs::metadata(&room.home).unwrap().permissions().mode() & 0o777, 0o700);
        let link = room.home.with_file_name("link");
        std::os::unix::fs::symlink(&room.home, &link).unwrap();
        assert!(make_private(&link).is_err());
    }
}
